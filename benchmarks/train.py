"""Training speed beside transformers' own Trainer: the same optimiser steps, in turn.

In each round every way trains on the same rows, and the median of the ratios is taken.
*plain* is padded, dropout as PyTorch draws it; *grouped* is the best that Trainer's own options give
(rows of like length together, bfloat16 where the hardware has it); *ours* is what `fine_tune` does.
The table goes to `benchmarks/results/train.json`.

    python benchmarks/train.py --data DATA
"""

import argparse
import json
import platform
import resource
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from transformers import (
    AutoModelForTokenClassification,
    DataCollatorForTokenClassification,
    MegatronBertConfig,
)
from transformers.models.megatron_bert import modeling_megatron_bert as megatron

from clinical_ner.core import open_atomic
from clinical_ner.corpora import medmentions
from clinical_ner.encoders import (
    MegatronBertForTokenClassification,
    has_bfloat16,
    packaged_encoder,
    speed_up,
)
from clinical_ner.formats import read_conll
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
        print(f"  {way:8} {row['tokens_per_second']:7,} tokens/s  {row['ratio']:.2f} x plain")
    return {"padding": round(waste, 3), "ways": table}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, type=Path, help="folder of the real corpora")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--layers", type=int, default=6, help="of the MegatronBERT")
    args = parser.parse_args()
    sentences = read_conll(args.data / "ncbi_disease" / "iob" / "train.tsv")
    abstracts = next(iter(medmentions(args.data / "medmentions" / "conll").values()))
    results = {
        "machine": f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads",
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU",
        "bfloat16": has_bfloat16(),
        "torch": torch.__version__,
    }
    corpora = {"NCBI-disease sentences": sentences, "MedMentions abstracts": abstracts}
    for name, docs in corpora.items():
        labels = sorted({span.label for doc in docs for span in doc.spans})
        tagger = Tagger.create(packaged_encoder(), labels)
        rows, _ = training_rows(tagger, docs)
        steps = 25 if "NCBI" in name else 5
        table = measure(minilm_ways(tagger), rows, args.rounds, steps)
        results[name] = report(name, rows, table)
    tagger = Tagger.create(packaged_encoder(), ["Disease"])
    rows, _ = training_rows(tagger, sentences)
    name = f"MegatronBERT of {args.layers} layers, NCBI-disease sentences"
    table = measure(megatron_ways(tagger, args.layers), rows, args.rounds, 3)
    results[name] = report(name, rows, table)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    results["peak_gib_of_the_script"] = round(peak, 2)
    with open_atomic(HERE / "results" / "train.json") as file:
        json.dump(results, file, indent=1)


if __name__ == "__main__":
    main()
