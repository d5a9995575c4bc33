"""Training speed beside transformers' own Trainer: the same optimiser steps, in turn.

In each round every way trains on the same rows, and the median of the ratios is taken.
*plain* is padded, dropout as PyTorch draws it; *grouped* is the best that Trainer's own options give
(rows of like length together, bfloat16 where the hardware has it); *ours* is what `fine_tune` does.
The peak of memory of each way is that of a process of its own, which runs the longest rows.
With `--f1`, whole runs of each way follow, three seeds each, scored on test documents by seqeval;
they take hours, and what they found is kept in `benchmarks/results/runs.json`: started again, the
script does only what is missing (`--cases` without a name leaves the steps out). On a GPU the
network has all 24 layers of GatorTron-base and the batches 32 rows, beside transformers' own code
in float32 and in float16. The table goes to `benchmarks/results/train.json`, or `train_gpu.json`.

    python benchmarks/train.py --data DATA
    python benchmarks/train.py --data DATA --f1
    python benchmarks/train.py --data DATA --cases "GatorTron-base, MedMentions abstracts"
"""

import argparse
import gc
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from hardware import describe_hardware, forward_flops, peak_bytes, peak_flops
from ncbi_disease import Run, make_runs
from transformers import (
    AutoModelForTokenClassification,
    DataCollatorForTokenClassification,
    MegatronBertConfig,
)
from transformers.models.megatron_bert import modeling_megatron_bert as megatron

from clinical_ner.core import Document, open_atomic, relabel, split_docs
from clinical_ner.corpora import ST21PV_TYPES, medmentions
from clinical_ner.encoders import (
    MegatronBertForTokenClassification,
    has_bfloat16,
    packaged_encoder,
    speed_up,
)
from clinical_ner.formats import read_conll, read_pubtator
from clinical_ner.tagger import Tagger, best_device
from clinical_ner.tags import doc_words, fit_spans, spans_to_tags
from clinical_ner.train import training_rows, word_loss
from clinical_ner.windows import PACK_MULTIPLE, pack_windows

HERE = Path(__file__).parent
pack = partial(pack_windows, multiple=PACK_MULTIPLE)  # as `fine_tune` makes batches


class Way:
    """A network, its optimiser, and how a batch of rows becomes a step."""

    def __init__(self, net, collate, half: bool = False):
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


def batches(rows: list[dict], size: int, grouped: bool) -> list[list[dict]]:
    """Rows in batches, in their order; `grouped`: those of like length together, as Trainer does."""
    if grouped:
        rows = sorted(rows, key=lambda row: -len(row["input_ids"]))
    return [rows[i : i + size] for i in range(0, len(rows), size)]


def lengths(rows: list[dict]) -> list[int]:
    """Real tokens of each row."""
    return [len(row["input_ids"]) for row in rows]


def padding(rows: list[dict], size: int) -> float:
    """Share of random batches that is padding."""
    room = sum(len(batch) * max(lengths(batch)) for batch in batches(rows, size, False))
    return 1 - sum(lengths(rows)) / room


def measure(ways: dict[str, Way], rows: list[dict], case: "Case", rounds: int) -> dict:
    """Real tokens a second of each way, and the median of the ratios to the first, round by round.

    In a round all ways train on the same rows, one way after the other.
    """
    order, count = np.random.default_rng(0).permutation(len(rows)), case.batches * case.batch_size
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    shares: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds):
        some = [rows[i] for i in np.resize(order, rounds * count)[number * count :][:count]]
        for name, way in ways.items():
            if not number:
                way.step(some[: case.batch_size])  # warms up
            parts = batches(some, case.batch_size, name == "grouped")
            seconds = sum(way.step(batch) for batch in parts)
            speeds[name].append(sum(lengths(some)) / seconds)
            shares[name].append(3 * forward_flops(way.net.config, lengths(some)) / seconds)
    first = next(iter(speeds.values()))
    return {
        name: {
            "tokens_per_second": round(statistics.median(speed)),
            "ratio": round(statistics.median(a / b for a, b in zip(speed, first)), 2),
            "share_of_peak": round(
                statistics.median(shares[name])
                / peak_flops(
                    best_device(), ways[name].half or ways[name].net.dtype != torch.float32
                ),
                3,
            ),
        }
        for name, speed in speeds.items()
    }


# ways of training


def minilm_ways(tagger: Tagger) -> dict[str, Way]:
    """The three ways of training the packaged encoder."""
    pad = DataCollatorForTokenClassification(tagger.tokenizer)

    def plain() -> torch.nn.Module:
        return AutoModelForTokenClassification.from_pretrained(
            packaged_encoder(), num_labels=len(tagger.tags), dtype=torch.float32
        )

    return {
        "plain": Way(plain(), pad),
        "grouped": Way(plain(), pad, has_bfloat16()),
        "ours": Way(tagger.net, pack, has_bfloat16()),
    }


def gatortron_shape(tags: int, vocabulary: int, layers: int, **more) -> MegatronBertConfig:
    """The shape of GatorTron-base, which has 24 layers."""
    return MegatronBertConfig(
        vocab_size=vocabulary,
        hidden_size=1024,
        num_hidden_layers=layers,
        num_attention_heads=16,
        intermediate_size=4096,
        num_labels=tags,
        **more,
    )


def megatron_ways(tagger: Tagger, layers: int = 6) -> dict[str, Way]:
    """A MegatronBERT of GatorTron-base's width: transformers' eager code, and ours."""
    shape = (len(tagger.tags), tagger.net.config.vocab_size, layers)
    pad = DataCollatorForTokenClassification(tagger.tokenizer)
    torch.manual_seed(0)
    plain = partial(megatron.MegatronBertForTokenClassification, gatortron_shape(*shape))
    ours = MegatronBertForTokenClassification(
        gatortron_shape(*shape, attention_probs_dropout_prob=0.0)
    )
    ways = {"plain": Way(plain(), pad)}
    if torch.cuda.is_available():
        ways["plain, float16"] = Way(plain().half(), pad)  # as GatorTron's files are
    return ways | {"ours": Way(speed_up(ours), pack, has_bfloat16())}


def gatortron_tagger(layers: int = 24) -> Tagger:
    """A tagger of diseases in the shape of GatorTron-base, with random weights."""
    small = Tagger.create(packaged_encoder(), ["Disease"])
    config = gatortron_shape(
        len(small.tags),
        small.net.config.vocab_size,
        layers,
        id2label=small.net.config.id2label,
        label2id=small.net.config.label2id,
    )
    return Tagger(speed_up(MegatronBertForTokenClassification(config)), small.tokenizer)


# what is trained on


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


@dataclass(frozen=True)
class Case:
    """What is trained on, and how."""

    read: Callable[[Path], list]  # a folder of corpora to documents
    make_ways: Callable[[Tagger], dict[str, Way]]
    batches: int  # of a round
    max_length: int | None = None  # tokens of a window; None: as the encoder has it
    batch_size: int = 16  # windows


CASES = {
    "NCBI-disease sentences": Case(ncbi_sentences, minilm_ways, 25),
    "MedMentions abstracts": Case(medmentions_abstracts, minilm_ways, 5),
    "MegatronBERT, NCBI-disease sentences": Case(ncbi_sentences, megatron_ways, 3),
} | {
    f"MegatronBERT, NCBI-disease abstracts, windows of {size}": Case(
        ncbi_abstracts, megatron_ways, 1, size
    )
    for size in (128, 256, 512)
}
GPU_CASES = {
    "GatorTron-base, MedMentions abstracts": Case(
        medmentions_abstracts, partial(megatron_ways, layers=24), 5, 512, 32
    )
}


def prepare(name: str, data: Path) -> tuple[list[dict], dict[str, Way]]:
    """The rows of a case, and the ways to train on them."""
    case = (CASES | GPU_CASES)[name]
    docs = case.read(data)
    labels = sorted({span.label for doc in docs for span in doc.spans})
    tagger = Tagger.create(packaged_encoder(), labels, max_length=case.max_length)
    rows, _ = training_rows(tagger, docs)
    return rows, case.make_ways(tagger)


def print_peak(name: str, way: str, data: Path):
    """Bytes that a step of the longest rows takes at most, in this process.

    Two steps: only in the second is the optimiser's state there while activations are kept.
    """
    rows, ways = prepare(name, data)
    chosen = ways.pop(way)
    ways.clear()
    size = (CASES | GPU_CASES)[name].batch_size
    for _ in range(2):
        chosen.step(sorted(rows, key=lambda row: -len(row["input_ids"]))[:size])
    print("peak", peak_bytes())


def peak_gb(name: str, way: str, data: Path) -> float:
    """The peak of memory of a way, from a process of its own."""
    command = [sys.executable, __file__, f"--data={data}", "--peak", name, way]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return round(int(done.stdout.split("peak ")[-1]) / 1e9, 2)


def measure_case(name: str, args: argparse.Namespace) -> dict:
    """Speed and memory of every way on one kind of rows."""
    case = (CASES | GPU_CASES)[name]
    rows, ways = prepare(name, args.data)
    table = measure(ways, rows, case, args.rounds)
    ways.clear()  # and the memory of a GPU, for the processes that follow
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    waste = padding(rows, case.batch_size)
    print(f"\n{name}: {waste:.0%} of a random batch is padding", flush=True)
    for way, row in table.items():
        row["peak_gb"] = peak_gb(name, way, args.data)
        print(
            f"  {way:15} {row['tokens_per_second']:7,} tokens/s  {row['ratio']:5.2f} x plain"
            f"  {row['peak_gb']:5.2f} GB  {row['share_of_peak']:4.0%} of peak",
            flush=True,
        )
    settings = {"batch_size": case.batch_size, "rounds": args.rounds}
    return {"padding": round(waste, 3), **settings, "ways": table}


# whole runs


def write_words(docs: list[Document], path: Path):
    """A word and its tag a line, a blank line behind each document: what every way reads."""
    with open_atomic(path) as file:
        for doc in docs:
            words = doc_words(doc)
            tags = spans_to_tags(fit_spans(doc, words)[0], words)
            file.writelines(f"{doc.text[a:b]}\t{tag}\n" for (a, b), tag in zip(words, tags))
            file.write("\n")


def medmentions_parts(data: Path) -> list[list[Document]]:
    """Training, validation and test abstracts with the mentions of the 21 types of ST21pv."""
    wanted = {label: label for label in ST21PV_TYPES}
    docs = relabel(medmentions_abstracts(data), wanted.get)
    return split_docs(docs, (0.6, 0.2, 0.2), seed=0)


def split_medmentions(data: Path) -> Path:
    """A folder of the abstracts as train, devel and test.tsv, split by document."""
    folder = HERE / "runs" / "medmentions_words"
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in zip(("train", "devel", "test"), medmentions_parts(data)):
        write_words(part, folder / f"{name}.tsv")
    return folder


def whole_runs(args: argparse.Namespace) -> dict:
    """Test F1 of whole runs, and the mean of the seeds."""
    corpora = {
        "ncbi_disease": (args.data / "ncbi_disease" / "iob", 16, 5e-5),
        "medmentions": (split_medmentions(args.data), 4, 4e-4),  # as plain did best (recipe.py)
    }
    shared, wanted = {"encoder": packaged_encoder(), "epochs": 3}, {}
    for corpus, (folder, batch_size, lr) in corpora.items():
        settings = argparse.Namespace(data=str(folder), lr=lr, batch_size=batch_size, **shared)
        for way in ("ours", "grouped", "plain"):
            runs = [Run(corpus, way, seed, settings) for seed in range(args.seeds)]
            wanted[f"{corpus}, {way}"] = runs
    made = iter(make_runs([run for runs in wanted.values() for run in runs], args.workers))
    table = {}
    for name, runs in wanted.items():
        seeds = [next(made)["f1"] for _ in runs]
        table[name] = {"f1": seeds, "mean": statistics.mean(seeds)}
        print(f"{name}: mean F1 {table[name]['mean']:.4f}", flush=True)
    return table


def parse_flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, type=Path, help="folder of the real corpora")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cases", nargs="*", choices=[*CASES, *GPU_CASES], help="default: all")
    parser.add_argument("--f1", action="store_true", help="whole runs too")
    parser.add_argument("--seeds", type=int, default=3, help="of whole runs")
    parser.add_argument("--workers", type=int, default=1, help="whole runs at a time")
    parser.add_argument("--peak", nargs=2, help=argparse.SUPPRESS)  # for its own processes
    return parser.parse_args()


def keep(name: str, made: dict):
    """Put what was measured into the file of results, beside what this machine gave before."""
    path = HERE / "results" / ("train_gpu.json" if torch.cuda.is_available() else "train.json")
    before = json.loads(path.read_text()) if path.exists() else {}
    now = {"machine": describe_hardware("accelerate")}
    results = before if before.get("machine") == now["machine"] else now
    with open_atomic(path) as file:
        json.dump(results | {name: made}, file, indent=1)


def main():
    args = parse_flags()
    if args.peak:
        return print_peak(*args.peak, args.data)
    names = GPU_CASES if torch.cuda.is_available() else CASES
    for name in args.cases if args.cases is not None else names:
        keep(name, measure_case(name, args))
    if args.f1:
        keep("f1", whole_runs(args))


if __name__ == "__main__":
    main()
