"""Training speed beside transformers' own Trainer: the same optimiser steps, in turn.

In each round every way trains on the same rows, and the median of the ratios is taken.
*plain* is padded, dropout as PyTorch draws it; *grouped* is the best that Trainer's own options give
(rows of like length together, bfloat16 where the hardware has it); *ours* is what `fine_tune` does.
The peak of memory of each way is that of a process of its own, which runs the longest rows.
With `--f1`, whole runs of each way follow, three seeds each, scored on test documents by seqeval;
they take hours and are kept under `benchmarks/runs/`: started again, the script does only what is
missing. The table goes to `benchmarks/results/train.json`.

    python benchmarks/train.py --data DATA
    python benchmarks/train.py --data DATA --f1
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from ncbi_disease import run_once
from transformers import (
    AutoModelForTokenClassification,
    DataCollatorForTokenClassification,
    MegatronBertConfig,
)
from transformers.models.megatron_bert import modeling_megatron_bert as megatron

from clinical_ner.core import open_atomic, split_docs
from clinical_ner.corpora import medmentions
from clinical_ner.encoders import (
    MegatronBertForTokenClassification,
    has_bfloat16,
    packaged_encoder,
    speed_up,
)
from clinical_ner.formats import read_conll, read_pubtator, write_conll
from clinical_ner.tagger import Tagger, best_device
from clinical_ner.train import training_rows, word_loss
from clinical_ner.windows import pack_windows

HERE = Path(__file__).parent
BATCH = 16


class Way:
    """A network, its optimiser, and how a batch of rows becomes a step."""

    def __init__(self, net, collate, half: bool):
        self.net = net.to(best_device()).train()
        self.collate, self.half = collate, half
        self.optimiser = torch.optim.AdamW(self.net.parameters(), lr=1e-9, fused=True)

    def step(self, rows: list[dict]) -> float:
        """Seconds of a step: forward, backward, clipping, AdamW."""
        device = self.net.device
        start = time.perf_counter()
        batch = {name: row.to(device) for name, row in self.collate([*map(dict, rows)]).items()}
        labels = batch.pop("labels")
        with torch.autocast(device.type, torch.bfloat16, enabled=self.half):
            loss = word_loss(self.net(**batch), labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start


def batches(rows: list[dict], grouped: bool) -> list[list[dict]]:
    """Rows in batches, in their order; `grouped`: those of like length together, as Trainer does."""
    if grouped:
        rows = sorted(rows, key=lambda row: -len(row["input_ids"]))
    return [rows[i : i + BATCH] for i in range(0, len(rows), BATCH)]


def tokens(rows: list[dict]) -> int:
    """Real tokens of rows."""
    return sum(len(row["input_ids"]) for row in rows)


def padding(rows: list[dict]) -> float:
    """Share of random batches that is padding."""
    room = sum(len(b) * max(len(row["input_ids"]) for row in b) for b in batches(rows, False))
    return 1 - tokens(rows) / room


def measure(ways: dict[str, Way], rows: list[dict], rounds: int, steps: int) -> dict:
    """Real tokens a second of each way, and the median of the ratios to the first, round by round.

    In a round all ways train on the same rows, `steps` batches of them, one way after the other.
    """
    order = np.random.default_rng(0).permutation(len(rows))
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds):
        some = [rows[i] for i in order[number * steps * BATCH :][: steps * BATCH]]
        for name, way in ways.items():
            if not number:
                way.step(some[:BATCH])  # warms up
            seconds = sum(way.step(batch) for batch in batches(some, name == "grouped"))
            speeds[name].append(tokens(some) / seconds)
    first = next(iter(speeds.values()))
    return {
        name: {
            "tokens_per_second": round(statistics.median(speed)),
            "ratio": round(statistics.median(a / b for a, b in zip(speed, first)), 2),
        }
        for name, speed in speeds.items()
    }


def minilm_ways(tagger: Tagger) -> dict[str, Way]:
    """The three ways of training the packaged encoder."""
    pad = DataCollatorForTokenClassification(tagger.tokenizer)

    def plain() -> torch.nn.Module:
        return AutoModelForTokenClassification.from_pretrained(
            packaged_encoder(), num_labels=len(tagger.tags), dtype=torch.float32
        )

    return {
        "plain": Way(plain(), pad, False),
        "grouped": Way(plain(), pad, has_bfloat16()),
        "ours": Way(tagger.net, pack_windows, has_bfloat16()),
    }


def megatron_ways(tagger: Tagger, layers: int) -> dict[str, Way]:
    """A MegatronBERT of GatorTron-base's width: transformers' eager code, and ours."""
    shape = {
        "vocab_size": tagger.net.config.vocab_size,
        "hidden_size": 1024,
        "num_hidden_layers": layers,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
        "num_labels": len(tagger.tags),
    }
    pad = DataCollatorForTokenClassification(tagger.tokenizer)
    torch.manual_seed(0)
    slow = megatron.MegatronBertForTokenClassification(MegatronBertConfig(**shape))
    fast = MegatronBertForTokenClassification(
        MegatronBertConfig(**shape, attention_probs_dropout_prob=0.0)
    )
    return {
        "plain": Way(slow, pad, False),
        "ours": Way(speed_up(fast), pack_windows, has_bfloat16()),
    }


def report(name: str, rows: list[dict], table: dict) -> dict:
    """Print one comparison and return it with what it was measured on."""
    waste = padding(rows)
    print(f"\n{name}: {waste:.0%} of a random batch is padding", flush=True)
    for way, row in table.items():
        print(
            f"  {way:8} {row['tokens_per_second']:7,} tokens/s  {row['ratio']:.2f} x plain"
            f"  {row['peak_gb']:.2f} GB"
        )
    return {"padding": round(waste, 3), "ways": table}


# what is trained on: rows and the ways to train on them


def ncbi_sentences(data: Path) -> list:
    """Training sentences of NCBI-disease."""
    return read_conll(data / "ncbi_disease" / "iob" / "train.tsv")


def ncbi_abstracts(data: Path) -> list:
    """Training abstracts of NCBI-disease."""
    [path] = (data / "ncbi_disease" / "pubtator").glob("*train*")
    return read_pubtator(path)


def medmentions_abstracts(data: Path) -> list:
    """The abstracts of MedMentions that are there."""
    return next(docs for docs in medmentions(data / "medmentions" / "conll").values() if docs)


CASES = {  # name: documents, tokens of a window at most, ways, batches of a round
    "NCBI-disease sentences": (ncbi_sentences, None, minilm_ways, 25),
    "MedMentions abstracts": (medmentions_abstracts, None, minilm_ways, 5),
    "MegatronBERT, NCBI-disease sentences": (ncbi_sentences, None, megatron_ways, 3),
} | {
    f"MegatronBERT, NCBI-disease abstracts, windows of {size}": (
        ncbi_abstracts,
        size,
        megatron_ways,
        1,
    )
    for size in (128, 256, 512)
}


def prepare(name: str, args: argparse.Namespace) -> tuple[list[dict], dict[str, Way]]:
    """The rows of a case, and the ways to train on them."""
    read, max_length, make_ways, _ = CASES[name]
    docs = read(args.data)
    labels = sorted({span.label for doc in docs for span in doc.spans})
    tagger = Tagger.create(packaged_encoder(), labels, max_length=max_length)
    rows, _ = training_rows(tagger, docs)
    if make_ways is megatron_ways:
        make_ways = partial(megatron_ways, layers=args.layers)
    return rows, make_ways(tagger)


def print_peak(name: str, way: str, args: argparse.Namespace):
    """Bytes that a step of the longest rows takes at most, in this process."""
    rows, ways = prepare(name, args)
    chosen = ways.pop(way)
    ways.clear()
    chosen.step(sorted(rows, key=lambda row: -len(row["input_ids"]))[:BATCH])
    if torch.cuda.is_available():
        print("peak", torch.cuda.max_memory_allocated())
        return
    status = Path("/proc/self/status").read_text().splitlines()
    [line] = [line for line in status if line.startswith("VmHWM")]
    print("peak", int(line.split()[1]) * 1024)


def peak_gb(name: str, way: str, args: argparse.Namespace) -> float:
    """The peak of memory of a way, from a process of its own."""
    command = [sys.executable, __file__, f"--data={args.data}", f"--layers={args.layers}"]
    done = subprocess.run(
        [*command, "--peak", name, way], check=True, capture_output=True, text=True
    )
    return round(int(done.stdout.split("peak ")[-1]) / 1e9, 2)


def measure_case(name: str, args: argparse.Namespace) -> dict:
    """Speed and memory of every way on one kind of rows."""
    rows, ways = prepare(name, args)
    table = measure(ways, rows, args.rounds, CASES[name][-1])
    ways.clear()
    for way, row in table.items():
        row["peak_gb"] = peak_gb(name, way, args)
    return report(name, rows, table)


# whole runs


def split_medmentions(data: Path) -> Path:
    """The abstracts as train, devel and test.tsv, split by document; the folder."""
    folder = HERE / "runs" / "medmentions_tsv"
    folder.mkdir(parents=True, exist_ok=True)
    parts = split_docs(medmentions_abstracts(data), (0.6, 0.2, 0.2), seed=0)
    for name, docs in zip(("train", "devel", "test"), parts):
        if not (folder / f"{name}.tsv").exists():
            write_conll(docs, folder / f"{name}.tsv")
    return folder


def whole_runs(args: argparse.Namespace) -> dict:
    """Test F1 of whole runs, and the mean of the seeds."""
    folders = {
        "ncbi_disease": args.data / "ncbi_disease" / "iob",
        "medmentions": split_medmentions(args.data),
    }
    shared = {"encoder": packaged_encoder(), "epochs": 3, "batch_size": BATCH, "lr": 1e-4}
    table = {}
    for corpus, folder in folders.items():
        settings = argparse.Namespace(data=str(folder), **shared)
        for way in ("ours", "grouped", "plain"):
            seeds = [run_once(way, seed, settings, corpus)["f1"] for seed in range(args.seeds)]
            table[f"{corpus}, {way}"] = {"f1": seeds, "mean": statistics.mean(seeds)}
            print(f"{corpus}, {way}: mean F1 {statistics.mean(seeds):.4f}", flush=True)
    return table


def parse_flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, type=Path, help="folder of the real corpora")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--layers", type=int, default=6, help="of the MegatronBERT")
    parser.add_argument("--f1", action="store_true", help="whole runs too")
    parser.add_argument("--seeds", type=int, default=3, help="of whole runs")
    parser.add_argument("--peak", nargs=2, help=argparse.SUPPRESS)  # for its own processes
    return parser.parse_args()


def main():
    args = parse_flags()
    if args.peak:
        print_peak(*args.peak, args)
        return
    results = {
        "machine": f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads",
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU",
        "bfloat16": has_bfloat16(),
        "torch": torch.__version__,
    }
    results |= {name: measure_case(name, args) for name in CASES}
    if args.f1:
        results["f1"] = whole_runs(args)
    with open_atomic(HERE / "results" / "train.json") as file:
        json.dump(results, file, indent=1)


if __name__ == "__main__":
    main()
