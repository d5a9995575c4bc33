"""From brat folders in the n2c2 2018 format to official scores, by the commands of the shell.

prepare (split by document) -> train -> annotate the texts of the test part -> `n2c2_scores`, beside
a dictionary of the training mentions; for the derived corpus as it is, for the same corpus with
hard-wrapped lines, and for the notes of PHEE. All settings but the epochs are the defaults. The
table goes to `benchmarks/results/n2c2_format.json`, corpus by corpus.

    python benchmarks/n2c2_format.py --data DATA
"""

import argparse
import json
import shutil
from dataclasses import replace
from pathlib import Path

from tables import machine

from clinical_ner.cli import (
    clinical_ner_annotate,
    clinical_ner_prepare,
    clinical_ner_train,
    read_corpus,
)
from clinical_ner.core import Document, open_atomic
from clinical_ner.encoders import packaged_encoder
from clinical_ner.formats import read_brat
from clinical_ner.metrics import dictionary_baseline, encoding_ceiling, evaluate, n2c2_scores

HERE = Path(__file__).parent


CORPORA = {  # name to folder below DATA
    "unwrapped": "n2c2_format_derived/gold",
    "wrapped": "n2c2_format_wrapped/gold",
    "PHEE": "n2c2_format_phee",
}


def write_texts(docs: list[Document], target: Path):
    """The texts of some documents, without annotations."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for doc in docs:
        (target / f"{doc.id}.txt").write_text(doc.text, encoding="utf-8", newline="")


def ceiling_and_hulls(docs: list[Document]) -> dict:
    """What tags can hold of the gold mentions, and how their outer hulls score against them."""
    hulls = [replace(doc, spans=[replace(s, fragments=()) for s in doc.spans]) for doc in docs]
    return {
        "documents": len(docs),
        "mentions": sum(len(doc.spans) for doc in docs),
        "discontinuous": sum(bool(span.fragments) for doc in docs for span in doc.spans),
        "over_a_line_end": sum("\n" in doc.text[s.start : s.end] for doc in docs for s in doc.spans),
        "encoding_ceiling": encoding_ceiling(docs).f1,
        "hulls_strict_f1": evaluate(docs, hulls)["micro", "strict_f1"],
        "hulls_official_strict_f1": n2c2_scores(docs, hulls)["micro", "strict_f1"],
    }


def run_commands(source: Path, runs: Path, args) -> dict[str, dict]:
    """prepare, train and annotate; the counts of the parts by file name."""
    clinical_ner_prepare(
        input_dir=str(source),
        target_dir=str(runs / "prepared"),
        tokenizer=args.encoder,
        max_seq_len=128,
        dev_split=0.1,
        test_split=0.2,
        seed=args.seed,
    )
    clinical_ner_train(
        data_dir=str(runs / "prepared"),
        model_name=args.encoder,
        new_model_dir=str(runs / "model"),
        num_train_epochs=args.epochs,
        max_seq_len=128,
        seed=args.seed,
        resume=True,
    )
    return json.loads((runs / "prepared" / "prepared.json").read_text())["parts"]


def measure(source: Path, runs: Path, args) -> dict:
    """The scores of the model and of the dictionary on the test part of one corpus."""
    parts = run_commands(source, runs, args)
    docs = {doc.id: doc for part in read_corpus(source).values() for doc in part}
    train, test = ([docs[i] for i in parts[name]["ids"]] for name in ("train.tsv", "test.tsv"))
    write_texts(test, runs / "texts")
    clinical_ner_annotate(
        model_name=str(runs / "model"),
        input_dir=str(runs / "texts"),
        target_dir=str(runs / "predicted"),
    )
    results = {"documents": {name: part["documents"] for name, part in parts.items()}}
    results["types"] = sorted({span.label for doc in test for span in doc.spans})
    results |= {"all": ceiling_and_hulls([*docs.values()]), "test": ceiling_and_hulls(test)}
    for name, pred in (
        ("model", read_brat(runs / "predicted")),
        ("dictionary", dictionary_baseline(train, test)),
    ):
        official = n2c2_scores(test, pred)
        print(f"{source}, {name}, official scores\n{official}\n")
        one_to_one = evaluate(test, pred).to_dict()
        results[name] = {"n2c2_official": official.to_dict(), "one_to_one": one_to_one}
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, type=Path, help="folder of the real corpora")
    parser.add_argument("--corpora", nargs="*", default=[*CORPORA], choices=CORPORA)
    parser.add_argument("--encoder", default=packaged_encoder())
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    path, here = HERE / "results" / "n2c2_format.json", machine("torch", "transformers")
    results = json.loads(path.read_text()) if path.exists() else {}
    if results.get("machine") != here:  # one table is of one machine
        results = {"machine": here}
    for name in args.corpora:
        own = measure(args.data / CORPORA[name], HERE / "runs" / f"n2c2_format_{name}", args)
        results[name] = {"seed": args.seed, "epochs": args.epochs} | own
        with open_atomic(path) as file:
            json.dump(results, file, indent=1)


if __name__ == "__main__":
    main()
