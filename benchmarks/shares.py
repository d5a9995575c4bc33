"""How evenly the processes of one training share its batches: what waits for the slowest.

Windows of real corpora in batches, dealt out to several processes as they come, by transformers'
own `train_sampling_strategy="batch_rebalance"`, and by ours. A step takes as long as the process
with the most tokens; *idle* is the share of all processes' time that the others wait, if time goes
with tokens. Nothing is trained. The table goes to `benchmarks/results/shares.json`.

    python benchmarks/shares.py --data DATA
"""

import argparse
import json
from collections.abc import Iterable
from pathlib import Path

import torch
from tables import RESULTS, machine
from torch.utils.data import BatchSampler
from train import medmentions_abstracts, ncbi_sentences
from transformers.trainer_pt_utils import BatchRebalanceSampler

from clinical_ner.core import open_atomic
from clinical_ner.encoders import load_tokenizer, packaged_encoder
from clinical_ner.train import EvenSampler
from clinical_ner.windows import make_windows

CORPORA = {
    "NCBI-disease sentences": ncbi_sentences,
    "MedMentions abstracts": medmentions_abstracts,
}
SHAPES = ((2, 8), (4, 4), (8, 2), (8, 4))  # processes, and windows of each in a step


def in_steps(sampler: Iterable[int], size: int, processes: int) -> list[list[list[int]]]:
    """The rows of each process in each step, as accelerate takes them from a sampler."""
    batches = list(BatchSampler(sampler, size, drop_last=False))
    return [batches[i : i + processes] for i in range(0, len(batches), processes)]


def ways(sizes: list[int], size: int, processes: int) -> dict[str, list[list[list[int]]]]:
    """Steps of an epoch, dealt out in three ways."""
    order = torch.randperm(len(sizes), generator=torch.Generator().manual_seed(0)).tolist()
    rebalanced = [
        BatchRebalanceSampler(sizes, size * processes, processes, 1, rank=rank)
        for rank in range(processes)
    ]
    return {
        "as they come": in_steps(order, size, processes),
        "batch_rebalance": [list(step) for step in zip(*rebalanced)],
        "ours": in_steps(EvenSampler(sizes, size, processes, seed=0), size, processes),
    }


def idle(steps: list[list[list[int]]], sizes: list[int], processes: int) -> float:
    """The share of time that processes wait for the one with the most tokens."""
    tokens = [[sum(sizes[row] for row in share) for share in step] for step in steps]
    return 1 - sum(map(sum, tokens)) / (processes * sum(map(max, tokens)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, type=Path, help="folder of the real corpora")
    args = parser.parse_args()
    table = {}
    for corpus, read in CORPORA.items():
        windows = make_windows(read(args.data), load_tokenizer(packaged_encoder()))
        sizes = [len(window.input_ids) for window in windows]
        for processes, size in SHAPES:
            name = f"{corpus}, {processes} processes, {size} windows each"
            found = ways(sizes, size, processes)
            table[name] = {way: idle(steps, sizes, processes) for way, steps in found.items()}
            print(name, *(f"{way} {share:.1%}" for way, share in table[name].items()), sep="  ")
    with open_atomic(RESULTS / "shares.json") as file:
        told = {"machine": machine("torch", "transformers", "accelerate")}
        json.dump(told | {"idle": table}, file, indent=1)


if __name__ == "__main__":
    main()
