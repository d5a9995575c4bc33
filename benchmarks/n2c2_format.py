"""From a brat folder in the n2c2 2018 format to official scores, by the commands of the shell.

prepare (split by document) -> train -> annotate the texts of the test part -> `n2c2_scores`, beside
a dictionary of the training mentions. The table goes to `benchmarks/results/n2c2_format.json`.

    python benchmarks/n2c2_format.py --data DATA/n2c2_format_derived/gold
"""

import argparse
import json
import shutil
from pathlib import Path

from tables import machine

from clinical_ner.cli import clinical_ner_annotate, clinical_ner_prepare, clinical_ner_train
from clinical_ner.core import open_atomic
from clinical_ner.encoders import packaged_encoder
from clinical_ner.formats import read_brat
from clinical_ner.metrics import dictionary_baseline, evaluate, n2c2_scores

HERE = Path(__file__).parent


def copy_texts(ids: list[str], source: Path, target: Path):
    """The texts of some documents, without annotations."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for doc_id in ids:
        shutil.copy(source / f"{doc_id}.txt", target)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, type=Path, help="folder of .txt and .ann files")
    parser.add_argument("--encoder", default=packaged_encoder())
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--lr", type=float, default=1e-4)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    runs = HERE / "runs" / "n2c2_format"
    clinical_ner_prepare(
        input_dir=str(args.data),
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
        learning_rate=args.lr,
        batch_size=8,
        max_seq_len=128,
        seed=args.seed,
        resume=True,
    )
    parts = json.loads((runs / "prepared" / "prepared.json").read_text())["parts"]
    copy_texts(parts["test.tsv"]["ids"], args.data, runs / "texts")
    clinical_ner_annotate(
        model_name=str(runs / "model"),
        input_dir=str(runs / "texts"),
        target_dir=str(runs / "found"),
    )
    docs = {doc.id: doc for doc in read_brat(args.data)}
    train, test = ([docs[i] for i in parts[name]["ids"]] for name in ("train.tsv", "test.tsv"))
    results = {"machine": machine("torch", "transformers")}
    results |= {"seed": args.seed, "epochs": args.epochs, "lr": args.lr}
    results["documents"] = {name: part["documents"] for name, part in parts.items()}
    for name, found in (
        ("model", read_brat(runs / "found")),
        ("dictionary", dictionary_baseline(train, test)),
    ):
        official = n2c2_scores(test, found)
        print(f"{name}, official scores\n{official}\n")
        results[name] = {
            "n2c2_official": official.to_dict(),
            "one_to_one": evaluate(test, found).to_dict(),
        }
    with open_atomic(HERE / "results" / "n2c2_format.json") as file:
        json.dump(results, file, indent=1)


if __name__ == "__main__":
    main()
