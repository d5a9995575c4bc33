"""Scores beside seqeval and nervaluate: the same numbers, and the time they take.

MedMentions dev (semantic types, sentences of the CoNLL file) against seeded mistakes, once and ten
times over. Times are CPU seconds of one process: the best of five runs for ours, one run for the
others. The table goes to `benchmarks/results/metrics.json`.

    python benchmarks/metrics.py --data DATA/medmentions/conll/mm_ner_sts.dev.conll
"""

import argparse
import gc
import json
import random
import time
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
from tables import machine

from clinical_ner.core import Document, open_atomic
from clinical_ner.metrics import (
    Scores,
    bootstrap,
    compare_systems,
    evaluate,
    semeval_modes,
    seqeval_report,
)
from clinical_ner.tags import repair_tags, tags_to_spans

HERE = Path(__file__).parent
MODES = {"strict": "strict", "exact": "exact", "partial": "partial", "type": "ent_type"}


def read_tags(path: Path) -> list[list[str]]:
    """The tags of each sentence of a CoNLL file, the last column of its lines."""
    blocks = path.read_text(encoding="utf-8").strip("\n").split("\n\n")
    rows = [block.split("\n") for block in blocks if not block.startswith("-DOCSTART-")]
    return [[line.split("\t")[-1] for line in row] for row in rows]


def spoil(tags: list[str], types: list[str], rng: random.Random) -> list[str]:
    """Found tags: of the gold mentions some are missed, retyped or cut; some words are spurious."""
    found = list(tags)
    for i, tag in enumerate(tags):
        chance = rng.random()
        if tag == "O":
            if chance < 0.03:
                found[i] = f"B-{rng.choice(types)}"
        elif chance < 0.1:
            found[i] = "O"
        elif chance < 0.2:
            found[i] = f"{tag[0]}-{rng.choice(types)}"
    return found


def as_documents(sequences: list[list[str]]) -> list[Document]:
    """One document a sentence, with a blank text in which each word is one character."""
    docs = []
    for i, tags in enumerate(sequences):
        words = [(2 * k, 2 * k + 1) for k in range(len(tags))]
        docs.append(Document(str(i), "  " * len(tags), tags_to_spans(repair_tags(tags), words)))
    return docs


def seconds(function, runs: int) -> tuple[float, object]:
    """The fewest CPU seconds that `function` took, and its result."""
    times = []
    gc.collect()
    gc.freeze()  # what is there already is not searched for garbage again and again
    for _ in range(runs):
        begin = time.process_time()
        result = function()
        times.append(time.process_time() - begin)
    return min(times), result


def measure_seqeval(true: list, pred: list) -> dict:
    """seqeval's report beside ours, from strings and from ids; the numbers must be the same."""
    from seqeval.metrics import classification_report

    labels = sorted({tag for tags in true + pred for tag in tags})
    number = {label: i for i, label in enumerate(labels)}
    ids = [[np.array([number[tag] for tag in tags]) for tags in side] for side in (true, pred)]
    strings, ours = seconds(lambda: seqeval_report(true, pred), 5)
    from_ids, same = seconds(lambda: seqeval_report(*ids, labels=labels), 5)
    theirs, report = seconds(lambda: classification_report(true, pred, output_dict=True), 1)
    assert ours == same == report
    return {
        "seqeval": theirs,
        "seqeval_report": strings,
        "seqeval_report_ids": from_ids,
        "ratio_strings": theirs / strings,
        "ratio_ids": theirs / from_ids,
    }


def measure_nervaluate(gold: list[Document], pred: list[Document]) -> dict:
    """nervaluate's four modes beside ours; the numbers must be the same."""
    from nervaluate.evaluator import Evaluator

    sides = [
        [
            [{"label": s.label, "start": s.start, "end": s.end - 1} for s in doc.spans]
            for doc in docs
        ]
        for docs in (gold, pred)
    ]
    labels = sorted({span.label for doc in gold + pred for span in doc.spans})
    ours, tables = seconds(lambda: semeval_modes(gold, pred, modes=list(MODES)), 5)
    theirs, results = seconds(lambda: Evaluator(*sides, tags=labels, loader="dict").evaluate(), 1)
    for table, mode in zip(tables.values(), MODES.values()):
        rows = {label: results["entities"][label][mode] for label in labels}
        for name, row in (rows | {"micro": results["overall"][mode]}).items():
            assert table[name] == {key: getattr(row, key) for key in table.columns}
    return {"nervaluate": theirs, "semeval_modes": ours, "ratio_semeval": theirs / ours}


def measure_own(gold: list[Document], pred: list[Document]) -> dict:
    """What else a report calls: 10,000 resamples are of 1,000 documents."""
    some, found, better = gold[:1000], pred[:1000], gold[500:1000]
    return {
        "evaluate": seconds(lambda: evaluate(gold, pred), 5)[0],
        "bootstrap_1000_documents": seconds(lambda: bootstrap(some, found), 3)[0],
        "bootstrap_bca_1000_documents": seconds(lambda: bootstrap(some, found, method="bca"), 3)[0],
        "compare_systems_1000_documents": seconds(
            lambda: compare_systems(some, found, found[:500] + better), 3
        )[0],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="a CoNLL file")
    parser.add_argument("--times", type=int, nargs="+", default=[1, 10], help="copies of the file")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    rng = random.Random(0)
    true = read_tags(args.data)
    types = sorted({tag[2:] for tags in true for tag in tags if tag != "O"})
    pred = [spoil(tags, types, rng) for tags in true]
    rows = {}
    for times in args.times:
        row = {"sentences": len(true) * times, "words": sum(map(len, true)) * times}
        row |= measure_seqeval(true * times, pred * times)
        gold, found = as_documents(true * times), as_documents(pred * times)
        rows[f"{times} x"] = row | measure_nervaluate(gold, found) | measure_own(gold, found)
    table = Scores(rows, f"CPU seconds; seqeval {version('seqeval')}, nervaluate 1.2.1")
    for name in table.columns:
        print(f"{name:32}" + "".join(f"{row[name]:>14,.2f}" for row in rows.values()))
    with open_atomic(HERE / "results" / "metrics.json") as file:
        on = machine("numpy", "seqeval", "nervaluate")
        json.dump(
            {"caption": table.caption, "machine": on, "rows": table.to_dict()}, file, indent=1
        )


if __name__ == "__main__":
    main()
