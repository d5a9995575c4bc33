"""Fine-tuning on NCBI-disease: a plain `transformers.Trainer` beside `clinical_ner.fine_tune`.

Same encoder, epochs, batch size and learning rate, on the same IOB files, scored on the words of
the test file by seqeval. *grouped* is the plain Trainer with the best that its own options give:
rows of like length together, and bfloat16 where the hardware has it. What each run found is
kept in `benchmarks/results/runs.json`; started again, the script does only what is missing. The
table goes to `benchmarks/results/ncbi_disease.json`.

    python benchmarks/ncbi_disease.py --data DATA/ncbi_disease/iob --seeds 0 1 2
"""

import argparse
import json
import os
import statistics
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from itertools import product
from multiprocessing import get_context
from pathlib import Path

from tables import machine

from clinical_ner.core import open_atomic
from clinical_ner.encoders import has_bfloat16, packaged_encoder

HERE = Path(__file__).parent


def read_words(path: Path) -> tuple[list[list[str]], list[list[str]]]:
    """Words and tags of each sentence, by nothing but splitting lines: the baseline's reader."""
    words, tags = [], []
    for block in path.read_text(encoding="utf-8").strip("\n").split("\n\n"):
        rows = [line.split("\t") for line in block.split("\n")]
        words.append([row[0] for row in rows])
        tags.append([row[1] for row in rows])
    return words, tags


def word_scores(gold: list[list[str]], pred: list[list[str]]) -> dict[str, float]:
    """seqeval's entity F1, in its default and in its strict mode."""
    from seqeval.metrics import f1_score
    from seqeval.scheme import IOB2

    return {
        "f1": float(f1_score(gold, pred)),
        "f1_strict": float(f1_score(gold, pred, mode="strict", scheme=IOB2)),
    }


def encode(tokenizer, names: list[str], words: list, tags: list) -> list[dict]:
    """Token ids and labels as the token classification example of transformers makes them."""
    rows = []
    for sentence, sentence_tags in zip(words, tags):
        row = tokenizer(sentence, is_split_into_words=True, truncation=True, max_length=512)
        ids = row.word_ids()
        row["labels"] = [
            -100 if word is None or word == before else names.index(sentence_tags[word])
            for word, before in zip(ids, [None, *ids])
        ]
        rows.append(dict(row))
    return rows


def tag_names(rows: list[list[str]]) -> list[str]:
    """The names of the classes: "O" first, then all tags that begin or continue a mention."""
    labels = sorted({tag[2:] for row in rows for tag in row if tag != "O"})
    return ["O", *(f"{letter}-{label}" for label in labels for letter in "BI")]


def run_plain(args: argparse.Namespace, seed: int, folder: Path, *, grouped: bool = False) -> dict:
    """What most people do: the token classification example of transformers."""
    import torch
    from transformers import (
        AutoModelForTokenClassification,
        AutoTokenizer,
        DataCollatorForTokenClassification,
        Trainer,
        TrainingArguments,
        set_seed,
    )

    words, tags = read_words(Path(args.data, "train.tsv"))
    names = tag_names(tags)
    tokenizer = AutoTokenizer.from_pretrained(args.encoder)
    set_seed(seed)
    net = AutoModelForTokenClassification.from_pretrained(
        args.encoder, num_labels=len(names), dtype=torch.float32
    )
    options = {
        "train_sampling_strategy": "group_by_length",
        "bf16": has_bfloat16(),
        "use_cpu": not torch.cuda.is_available(),
    }
    settings = TrainingArguments(
        output_dir=str(folder / "checkpoints"),
        num_train_epochs=args.epochs,
        per_device_train_batch_size=args.batch_size,
        per_device_eval_batch_size=64,
        learning_rate=args.lr,
        save_strategy="epoch",
        save_total_limit=1,
        logging_steps=100,
        report_to="none",
        seed=seed,
        **(options if grouped else {}),
    )
    train = encode(tokenizer, names, words, tags)
    collator = DataCollatorForTokenClassification(tokenizer)
    trainer = Trainer(net, settings, data_collator=collator, train_dataset=train)
    trainer.train(resume_from_checkpoint=any(folder.glob("checkpoints/*/trainer_state.json")))
    words, gold = read_words(Path(args.data, "test.tsv"))
    trainer.args.train_sampling_strategy = "random"  # else predictions come in another order
    output = trainer.predict(encode(tokenizer, names, words, gold))
    pred = [
        [names[tag] for tag, label in zip(row, labels) if label != -100]
        for row, labels in zip(output.predictions.argmax(-1), output.label_ids)
    ]  # of a text over 512 tokens, which this way cuts, the rest has no tags
    pred = [row + ["O"] * (len(tags) - len(row)) for row, tags in zip(pred, gold)]
    return word_scores(gold, pred)


def run_ours(args: argparse.Namespace, seed: int, folder: Path) -> dict:
    """The same with this library: read, fine-tune, predict."""
    from clinical_ner.formats import read_conll
    from clinical_ner.tagger import predict
    from clinical_ner.tags import doc_words, spans_to_tags
    from clinical_ner.train import fine_tune

    names = {"train": "train", "validation": "devel", "test": "test"}
    corpus = {part: read_conll(Path(args.data, f"{name}.tsv")) for part, name in names.items()}
    tagger, _ = fine_tune(
        corpus,
        args.encoder,
        epochs=args.epochs,
        lr=args.lr,
        batch_size=args.batch_size,
        weight_decay=0.0,  # as the plain Trainer has it by default, and so for the next three
        warmup=0.0,
        head_rate=1.0,
        layer_decay=1.0,
        seed=seed,
        output=folder,
        resume=True,
    )
    found = predict(tagger, corpus["test"])
    _, gold = read_words(Path(args.data, "test.tsv"))
    return word_scores(gold, [spans_to_tags(doc.spans, doc_words(doc)) for doc in found])


RUNNERS = {"plain": run_plain, "grouped": partial(run_plain, grouped=True), "ours": run_ours}


KEPT = HERE / "results" / "runs.json"


@dataclass(frozen=True)
class Run:
    """A training to be made, and what it is kept under."""

    corpus: str
    system: str
    seed: int
    args: argparse.Namespace  # data, encoder, epochs, batch_size, lr

    @property
    def name(self) -> str:
        """System, seed and settings."""
        args = self.args
        return (
            f"{self.system}-seed{self.seed}-epochs{args.epochs}-batch{args.batch_size}"
            f"-lr{args.lr:g}"
        )

    @property
    def key(self) -> str:
        """Its name in the file of results."""
        return f"{self.corpus}, {self.name}"


def make_run(run: Run, threads: int) -> dict:
    """Train and score, in a process of its own."""
    import torch

    torch.set_num_threads(threads)
    folder = HERE / "runs" / run.corpus / run.name
    folder.mkdir(parents=True, exist_ok=True)
    made = RUNNERS[run.system](run.args, run.seed, folder)
    told = {"encoder": "/".join(Path(run.args.encoder).parts[-2:])}
    told["machine"] = machine("torch", "transformers")
    return made | {"system": run.system, "seed": run.seed} | told


def keep_run(run: Run, result: dict, kept: dict):
    """Put a result into the file, beside those that are kept."""
    kept[run.key] = result
    with open_atomic(KEPT) as file:
        json.dump(kept, file, indent=1)
    print(f"{run.key}  F1 {result['f1']:.4f}  strict {result['f1_strict']:.4f}", flush=True)


def make_runs(runs: list[Run], workers: int = 1) -> list[dict]:
    """The results of runs: those that are missing in the file are made, some at a time, and kept."""
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    threads = max(1, os.cpu_count() // workers)
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        missing = [run for run in runs if run.key not in kept]
        made = {pool.submit(make_run, run, threads): run for run in missing}
        try:
            for future in as_completed(made):
                keep_run(made[future], future.result(), kept)
        finally:  # an error ends the runs that have not begun
            pool.shutdown(cancel_futures=True)
    return [kept[run.key] for run in runs]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, help="folder with train, devel and test.tsv")
    parser.add_argument("--encoder", default=packaged_encoder())
    parser.add_argument("--systems", nargs="+", default=["plain", "ours"], choices=list(RUNNERS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--lr", type=float, default=5e-5)
    parser.add_argument("--workers", type=int, default=1, help="runs at a time")
    args = parser.parse_args()
    wanted = product(args.systems, args.seeds)
    runs = make_runs([Run("ncbi_disease", *both, args) for both in wanted], args.workers)
    means = {
        system: statistics.mean(run["f1"] for run in runs if run["system"] == system)
        for system in args.systems
    }
    for system, mean in means.items():
        print(f"{system:6} mean F1 {mean:.4f}")
    if {"plain", "ours"} <= means.keys():
        print(f"ours - plain: {100 * (means['ours'] - means['plain']):+.2f} F1")
        settings = {name: getattr(args, name) for name in ("epochs", "batch_size", "lr")}
        with open_atomic(HERE / "results" / "ncbi_disease.json") as file:
            told = {"machine": machine("torch", "transformers"), "settings": settings}
            json.dump(told | {"mean_f1": means, "runs": runs}, file, indent=1)


if __name__ == "__main__":
    main()
