"""Which way of fine-tuning learns best: trials on validation data, then the chosen one on test data.

*plain* is the recipe of transformers' examples: learning rate falling to 0, dropout of attention
weights, the best tag of each word; it has trials of three batch sizes, three learning rates, warm-up
and weight decay, in all combinations. First come these trials and those of ours, then one change at
a time of the best of ours, then all changes that paid together. Trials are judged by strict F1 on validation documents, the mean of both corpora,
with a third of the training sentences of NCBI-disease. What came of it is what *fine_tune* does
where no setting is given: it is a trial too, and is then trained on all sentences and tested, beside
plain at its own best rate and batch and the same epochs, with three seeds.
Every run is kept in `benchmarks/results/recipe.json`; started again, the script does only what is
missing. Two runs go side by side, a core each (`--workers`). Needs `pip install pytorch-crf`.

    OMP_NUM_THREADS=1 python benchmarks/recipe.py --data DATA  # trials
    OMP_NUM_THREADS=1 python benchmarks/recipe.py --data DATA --test  # trials, then the tests
"""

import argparse
import inspect
import json
import statistics
import tempfile
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from functools import partial
from itertools import product
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from crf import add_crf, crf_loss, crf_tags
from tables import machine
from train import medmentions_parts
from transformers import TrainerCallback, TrainingArguments, set_seed

from clinical_ner.core import Document, open_atomic, relabel
from clinical_ner.encoders import choose_precision, packaged_encoder
from clinical_ner.formats import read_conll, read_pubtator
from clinical_ner.inference import decode_tags, tags_to_scored_spans, word_scores
from clinical_ner.tagger import Tagger
from clinical_ner.tags import doc_words, tags_to_spans
from clinical_ner.train import EntityTrainer, choose_batch_size, fine_tune, training_rows
from clinical_ner.windows import IGNORED, make_windows

RESULTS = Path(__file__).parent / "results" / "recipe.json"
PLAIN = {
    "lr": 1e-4,
    "batch_size": 16,  # windows; None: as many as leave 1,000 steps
    "schedule": "linear",
    "warmup": 0.0,
    "weight_decay": 0.0,
    "dropout": 0.1,
    "attention_dropout": 0.1,
    "layer_decay": 1.0,  # the rate of each layer, as a share of the one above it
    "head_rate": 1.0,  # the rate of the classifier, in rates of the encoder
    "class_weight": 1.0,  # of words outside of mentions
    "average": 0.0,  # of weights over steps: how much stays at each; 0: none
    "decoding": "best tag",  # or "valid tags", or "CRF", which learns to
    "window": 512,  # tokens of context, at most
}
OURS = PLAIN | {"attention_dropout": 0.0, "decoding": "valid tags"}
GRID = {
    f"plain, {f'batch {size}' if size else '1,000 steps'}, lr {lr:g}, warm-up {warmup:g},"
    f" weight decay {decay:g}": PLAIN
    | {"batch_size": size, "lr": lr, "warmup": warmup, "weight_decay": decay}
    for size, lr, warmup, decay in product(
        (4, 16, None), (1e-4, 2e-4, 4e-4), (0.0, 0.1), (0.0, 0.01)
    )
}
GRID |= {
    f"ours, 1,000 steps, lr {lr:g}": OURS | {"batch_size": None, "lr": lr} for lr in (2e-4, 4e-4)
}
GRID |= {f"ours, batch 4, lr {lr:g}": OURS | {"batch_size": 4, "lr": lr} for lr in (2e-4, 4e-4)}
GRID |= {
    f"windows of 128, batch 4, lr {lr:g}": OURS | {"batch_size": 4, "lr": lr, "window": 128}
    for lr in (2e-4, 4e-4)
}
DEFAULT = {
    name: inspect.signature(fine_tune).parameters[name].default
    for name in ("lr", "batch_size", "weight_decay", "warmup", "head_rate", "layer_decay")
}
GRID |= {"fine_tune": {"fine_tune": DEFAULT, "decoding": "valid tags"}}
CHANGES = {
    "warm-up 0.1": {"warmup": 0.1},
    "cosine": {"schedule": "cosine"},
    "dropout 0.05": {"dropout": 0.05},
    "layer decay 0.9": {"layer_decay": 0.9},
    "classifier at 10 times the rate": {"head_rate": 10.0},
    "weights averaged, 0.98": {"average": 0.98},
    "O weighs 0.5": {"class_weight": 0.5},
    "CRF": {"decoding": "CRF"},
    "sentence by sentence": {"context": "sentences"},  # NCBI-disease already is
    "whole abstracts": {"context": "abstracts"},  # MedMentions already is
}
SHARES = {"NCBI-disease": 1 / 3, "MedMentions": 1.0}  # of the training documents, in trials


def by_sentence(doc: Document) -> list[Document]:
    """The sentences of a document from a CoNLL file, each a document."""
    words, sentences = doc.meta["words"], []
    for first, past in doc.meta["sentences"]:
        start, end = words[first][0], words[past - 1][1]
        spans = [
            replace(span, start=span.start - start, end=span.end - start)
            for span in doc.spans
            if start <= span.start < end
        ]
        sentences.append(Document(f"{doc.id} {first}", doc.text[start:end], spans))
    return sentences


def read_ncbi(data: Path) -> dict[str, dict[str, list[Document]]]:
    """NCBI-disease as sentences; as abstracts too, which have no test documents here."""
    folder = data / "ncbi_disease"
    names = {"train": "train", "validation": "devel", "test": "test"}
    sentences = {part: read_conll(folder / "iob" / f"{name}.tsv") for part, name in names.items()}
    paths = {part: [*(folder / "pubtator").glob(f"*{names[part]}*")] for part in list(names)[:2]}
    abstracts = {
        part: relabel(read_pubtator(path), lambda label: "Disease")
        for part, [path] in paths.items()
    }
    return {"sentences": sentences, "abstracts": abstracts}


def read_medmentions(data: Path) -> dict[str, dict[str, list[Document]]]:
    """MedMentions dev (the mentions of the 21 types of ST21pv) split by document; also as sentences."""
    parts = dict(zip(("train", "validation", "test"), medmentions_parts(data)))
    sentences = {part: [s for doc in own for s in by_sentence(doc)] for part, own in parts.items()}
    abstracts = {
        part: [Document(doc.id, doc.text, doc.spans) for doc in own] for part, own in parts.items()
    }
    return {"abstracts": abstracts, "sentences": sentences}


def read_corpora(data: Path) -> dict[str, dict[str, dict[str, list[Document]]]]:
    """Each corpus in its two forms; the first is the one that trials train on."""
    return {"NCBI-disease": read_ncbi(data), "MedMentions": read_medmentions(data)}


class Average(TrainerCallback):
    """A moving average of the weights, which takes their place at the end."""

    def __init__(self, stays: float):
        self.stays, self.mean = stays, None

    def on_step_end(self, args, state, control, model=None, **kwargs):
        with torch.no_grad():
            if self.mean is None:
                self.mean = [weight.clone() for weight in model.parameters()]
            share = min(self.stays, 1 - 1 / (state.global_step + 1))
            torch._foreach_lerp_(self.mean, list(model.parameters()), 1 - share)

    def on_train_end(self, args, state, control, model=None, **kwargs):
        with torch.no_grad():
            torch._foreach_copy_(list(model.parameters()), self.mean)


def make_optimiser(net: torch.nn.Module, recipe: dict) -> torch.optim.Optimizer:
    """AdamW with a learning rate for each layer."""
    layers = net.config.num_hidden_layers
    groups = []
    for name, weight in net.named_parameters():
        depth = layers + 1  # the classifier
        if name.startswith(net.base_model_prefix + "."):
            number = [int(part) for part in name.split(".") if part.isdigit()]
            depth = number[0] + 1 if number else 0
        rate = recipe["lr"] * recipe["layer_decay"] ** (layers + 1 - depth)
        rate *= recipe["head_rate"] if depth > layers else 1.0
        decay = recipe["weight_decay"] if weight.dim() > 1 else 0.0
        groups.append({"params": [weight], "lr": rate, "weight_decay": decay})
    return torch.optim.AdamW(groups, lr=recipe["lr"], fused=True)


def weighted_loss(outputs, labels, num_items_in_batch=None, *, weights: torch.Tensor):
    """Cross-entropy in which the words of some classes count less."""
    return torch.nn.functional.cross_entropy(
        outputs.logits.float().flatten(0, 1), labels.flatten(), weights, ignore_index=IGNORED
    )


def set_dropout(net: torch.nn.Module, recipe: dict):
    """The dropout of a recipe, of attention weights and of all else."""
    for name, part in net.named_modules():
        if isinstance(part, torch.nn.Dropout):
            kind = "attention_dropout" if name.endswith("attention.self.dropout") else "dropout"
            part.p = recipe[kind]


def train_by_default(corpus: dict, seed: int, args: argparse.Namespace) -> Tagger:
    """A tagger of the training documents, as `fine_tune` makes it."""
    with tempfile.TemporaryDirectory() as folder:
        tagger, _ = fine_tune(corpus, args.encoder, epochs=args.epochs, seed=seed, output=folder)
    return tagger


def train(corpus: dict, recipe: dict, seed: int, args: argparse.Namespace) -> Tagger:
    """A tagger of the training documents."""
    if "fine_tune" in recipe:
        return train_by_default(corpus, seed, args)
    set_seed(seed)
    labels = sorted({span.label for doc in corpus["train"] for span in doc.spans})
    tagger = Tagger.create(args.encoder, labels, max_length=recipe["window"])
    set_dropout(tagger.net, recipe)
    if recipe["decoding"] == "CRF":
        add_crf(tagger.net, tagger.tags)
    rows, _ = training_rows(tagger, corpus["train"])
    size = recipe["batch_size"] or choose_batch_size(len(rows), args.epochs)
    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(
            output_dir=folder,
            num_train_epochs=args.epochs,
            per_device_train_batch_size=size,
            lr_scheduler_type=recipe["schedule"],
            warmup_steps=recipe["warmup"],
            bf16=choose_precision("auto") == "bfloat16",
            use_cpu=not torch.cuda.is_available(),
            save_strategy="no",
            remove_unused_columns=False,
            report_to="none",
            disable_tqdm=True,
            logging_strategy="no",
            seed=seed,
        )
        trainer = EntityTrainer(
            tagger,
            corpus["validation"],
            model=tagger.net,
            args=settings,
            train_dataset=rows,
            callbacks=[Average(recipe["average"])] if recipe["average"] else [],
            optimizers=(make_optimiser(tagger.net, recipe), None),
        )
        if recipe["decoding"] == "CRF":
            trainer.compute_loss_func = partial(crf_loss, net=tagger.net)
        if recipe["class_weight"] != 1.0:
            weights = torch.ones(len(tagger.tags), device=settings.device)
            weights[0] = recipe["class_weight"]
            trainer.compute_loss_func = partial(weighted_loss, weights=weights)
        trainer.train()
    return tagger


def count(tagger: Tagger, docs: list[Document], decoding: str) -> list[list[int]]:
    """Right, found and gold mentions of each document."""
    scores = word_scores(tagger.net, make_windows(docs, tagger.tokenizer), docs)
    counts = []
    for doc, rows in zip(docs, scores):
        words = doc_words(doc)
        if decoding != "valid tags":
            best = rows.argmax(-1) if decoding == "best tag" else crf_tags(tagger.net, rows)
            found = tags_to_spans([tagger.tags[i] for i in best], words)
        else:
            found = tags_to_scored_spans(decode_tags(rows, tagger.tags), rows, words, tagger.tags)
        counts.append([len({*found} & {*doc.spans}), len({*found}), len({*doc.spans})])
    return counts


def micro_f1(counts: np.ndarray) -> np.ndarray:
    """Micro F1 of counts (..., 3) of right, found and gold."""
    right, found, gold = np.moveaxis(counts, -1, 0)
    return 2 * right / np.maximum(1, found + gold)


class Runs:
    """What was run, kept in a file."""

    def __init__(self, corpora: dict, args: argparse.Namespace):
        self.corpora, self.args, self.trials = corpora, args, dict(GRID)
        self.kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"runs": {}}

    def key(self, name: str, corpus: str, seed: int, test: bool) -> str:
        """What a run is kept under: all that its outcome depends on."""
        settings = {"epochs": self.args.epochs, "share": 1.0 if test else SHARES[corpus]}
        if self.args.encoder != packaged_encoder():
            settings["encoder"] = self.args.encoder
        part = "test" if test else "validation"
        return f"{corpus}, {part}, seed {seed}: {json.dumps(self.recipe(name, corpus) | settings)}"

    def form(self, corpus: str, recipe: dict) -> dict[str, list[Document]]:
        """A corpus as a trial wants it: sentences or abstracts."""
        forms = self.corpora[corpus]
        return forms[recipe.get("context", next(iter(forms)))]

    def recipe(self, name: str, corpus: str) -> dict:
        """The settings of a trial, without a form that the corpus has anyway."""
        settings = self.trials[name]
        usual = settings.get("context") == next(iter(self.corpora[corpus]))
        return {key: value for key, value in settings.items() if not (usual and key == "context")}

    def counts(self, name: str, corpus: str, seed: int, test: bool) -> np.ndarray:
        """Right, found and gold mentions of the documents (D, 3); of all in one row on validation."""
        return np.array(self.kept["runs"][self.key(name, corpus, seed, test)]["counts"])

    def make(self, wanted: list[tuple[str, str, int, bool]]):
        """Make the runs (trial, corpus, seed, test) that are missing, some at a time."""
        missing = [run for run in wanted if self.key(*run) not in self.kept["runs"]]
        with ProcessPoolExecutor(self.args.workers, get_context("spawn")) as pool:
            made = {
                pool.submit(
                    run_trial,
                    self.form(corpus, self.trials[name]),
                    corpus,
                    self.recipe(name, corpus),
                    seed,
                    test,
                    self.args,
                ): (name, corpus, seed, test)
                for name, corpus, seed, test in missing
            }
            try:
                for future in as_completed(made):
                    self.put(*made[future], future.result())
            finally:  # an error ends the runs that have not begun
                pool.shutdown(cancel_futures=True)

    def put(self, name: str, corpus: str, seed: int, test: bool, counts: list[list[int]]):
        """Keep a run, and print its F1."""
        kept = {"name": name, "precision": choose_precision("auto"), "counts": counts}
        self.kept["runs"][self.key(name, corpus, seed, test)] = kept
        self.save()
        score = micro_f1(np.sum(counts, 0))
        print(f"{corpus:14} seed {seed}  F1 {score:.4f}  {name}", flush=True)

    def table(self) -> dict[str, dict[str, float]]:
        """F1 on validation documents of every trial made, on each corpus and on the mean."""
        rows = {}
        for name in self.trials:
            if all(self.key(name, corpus, 0, False) in self.kept["runs"] for corpus in SHARES):
                counts = {corpus: self.counts(name, corpus, 0, False) for corpus in SHARES}
                row = {corpus: float(micro_f1(found.sum(0))) for corpus, found in counts.items()}
                rows[name] = row | {"mean": statistics.mean(row.values())}
        return rows

    def save(self):
        """Write what is kept."""
        self.kept["machine"] = machine("torch", "transformers")
        self.kept["validation"] = self.table()
        with open_atomic(RESULTS) as file:
            file.write(json.dumps(self.kept, indent=1).replace("\n    ", " "))


def run_trial(corpus: dict, name: str, recipe: dict, seed: int, test: bool, args) -> list:
    """Train as a recipe says and count; by document on test documents, else of all in one row."""
    if args.workers > 1:  # a core each
        torch.set_num_threads(1)
    some = corpus["train"][:: 1 if test else round(1 / SHARES[name])]
    tagger = train(corpus | {"train": some}, recipe, seed, args)
    counts = count(tagger, corpus["test" if test else "validation"], recipe["decoding"])
    return counts if test else np.sum(counts, 0, keepdims=True).tolist()


def validate(runs: Runs) -> dict[str, dict[str, float]]:
    """Make the trials that are missing; the table of all."""
    runs.make([(name, corpus, 0, False) for name in runs.trials for corpus in runs.corpora])
    return runs.table()


def search(runs: Runs) -> dict[str, dict[str, float]]:
    """Trials of the grid, of every change of its best, and of all changes that paid together."""
    start = best(validate(runs), "ours")
    changes = {f"{start}, {name}": change for name, change in CHANGES.items()}
    runs.trials |= {name: GRID[start] | change for name, change in changes.items()}
    table = validate(runs)
    least = table[start]["mean"] + 0.005  # one seed tells no less apart
    paid = [name for name in changes if table[name]["mean"] > least]
    if len(paid) > 1:
        both = {key: value for name in paid for key, value in changes[name].items()}
        runs.trials[f"{start}, all that paid"] = GRID[start] | both
    return validate(runs)


def best(table: dict, start: str) -> str:
    """The trial with the best mean among those whose name begins with `start`."""
    return max((name for name in table if name.startswith(start)), key=lambda n: table[n]["mean"])


def test(runs: Runs, plain: str, ours: str, seeds: int, resamples: int = 10_000) -> dict:
    """Test F1 of two recipes, and the difference of the means with its interval over documents."""
    rng = np.random.default_rng(0)
    rows, drawn, differences = {}, 0.0, []
    runs.make([*product((plain, ours), runs.corpora, range(seeds), [True])])
    for corpus in runs.corpora:
        both = np.stack(
            [
                [runs.counts(name, corpus, seed, True) for seed in range(seeds)]
                for name in (plain, ours)
            ]
        )  # (2, seeds, D, 3)
        scores = micro_f1(both.sum(2))
        rows[corpus] = {"plain": scores[0].tolist(), "ours": scores[1].tolist()}
        differences.append(float(scores[1].mean() - scores[0].mean()))
        weights = rng.multinomial(
            both.shape[2], np.full(both.shape[2], 1 / both.shape[2]), resamples
        )
        again = micro_f1(np.einsum("rd,asdk->asrk", weights, both)).mean(1)
        drawn = drawn + (again[1] - again[0]) / len(runs.corpora)
    low, high = np.quantile(drawn, [0.025, 0.975])
    mean = statistics.mean(differences)
    return {"plain": plain, "ours": ours, "f1": rows, "difference": mean, "interval": [low, high]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, type=Path, help="folder of the real corpora")
    parser.add_argument("--encoder", default=packaged_encoder())
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3, help="of the tests")
    parser.add_argument("--workers", type=int, default=2, help="runs at a time")
    parser.add_argument("--test", action="store_true", help="test the best trial, once")
    parser.add_argument("--only", help="make only the trials of the grid whose name begins so")
    args = parser.parse_args()
    runs = Runs(read_corpora(args.data), args)
    if args.only:
        names = [name for name in runs.trials if name.startswith(args.only)]
        runs.make([(name, corpus, 0, False) for name in names for corpus in runs.corpora])
        return
    table = search(runs)
    for name, row in sorted(table.items(), key=lambda item: -item[1]["mean"]):
        print("  ".join(f"{value:.4f}" for value in row.values()), name)
    if args.test:
        made = test(runs, best(table, "plain"), "fine_tune", args.seeds)
        runs.kept["test"] = made
        runs.save()
        print(f"{made['ours']} beside {made['plain']}: {100 * made['difference']:+.2f} F1")
        print("95 % interval", *(f"{100 * end:+.2f}" for end in made["interval"]))


if __name__ == "__main__":
    main()
