"""How fast `explore` answers: 5,000 made-up notes, each kind of click, without the browser.

A system with scores is made from gold by chance: spans are dropped, relabelled or cut. What is
timed is the answer of the kernel to one message: filters, scores, all parts of the page that
changed, as JSON. The median and the slowest of the repeats are kept.

    python benchmarks/widgets.py --documents 5000
"""

import argparse
import json
import random
import statistics
import time
from dataclasses import replace
from pathlib import Path

from tables import machine

from clinical_ner.core import Document, open_atomic
from clinical_ner.samples import sample_notes
from clinical_ner.widgets import explore

HERE = Path(__file__).parent


def with_faults(doc: Document, rng: random.Random, labels: list[str]) -> Document:
    """A copy with a fifth of its spans dropped, relabelled or cut, and scores for all."""
    spans = []
    for span in doc.spans:
        kind = rng.choice(["drop", "type", "cut"]) if rng.random() < 0.2 else "keep"
        if kind == "type":
            span = replace(span, label=rng.choice(labels))
        elif kind == "cut" and span.end - span.start > 3:
            span = replace(span, start=span.start + 2)
        if kind != "drop":
            spans.append(replace(span, score=rng.random()))
    return replace(doc, spans=spans)


def measure(gold: list[Document], repeats: int) -> dict:
    """Seconds to build the page, and milliseconds of each answer."""
    rng = random.Random(0)
    labels = sorted({span.label for doc in gold[:50] for span in doc.spans})
    pred = [with_faults(doc, rng, labels) for doc in gold]
    begin = time.perf_counter()
    explorer = explore(gold, pred, train=gold[:500])
    built = time.perf_counter() - begin
    sent: list[int] = []
    explorer.pane.send = lambda message: sent.append(len(json.dumps(message)))
    times: dict[str, list[float]] = {}
    for _ in range(repeats):
        for name, action, value in clicks(explorer, rng, labels):
            begin = time.perf_counter()
            explorer.pane.receive({"action": action, "value": value})
            times.setdefault(name, []).append(1000 * (time.perf_counter() - begin))
    spans = sum(len(doc.spans) for doc in gold)
    return {"documents": len(gold), "gold_spans": spans, "build_seconds": round(built, 1)} | {
        f"{name}_ms": {"median": round(statistics.median(row), 1), "slowest": round(max(row), 1)}
        for name, row in times.items()
    }


def clicks(explorer, rng: random.Random, labels: list[str]):
    """One of each thing that can be done on the page: name, action, value."""
    yield "all", "ready", ""
    yield "threshold", "threshold", str(rng.randrange(101))
    yield "cell", "cell", json.dumps(rng.sample(labels, 2))
    yield "type", "label", rng.choice(labels)
    yield "kind", "kind", rng.choice(["missed", "boundary", "type"])
    yield "seen", "seen", rng.choice(["seen", "unseen"])
    yield "length", "length", "2 words"
    yield "reset", "reset", ""
    yield "rare_words", "search", "metformin 500"
    yield "common_word", "search", "daily"
    yield "reset", "reset", ""
    yield "mistake", "item", str(rng.choice(explorer.numbers().tolist()))
    yield "page", "page", "1"


def main():
    """Measure and write benchmarks/results/widgets.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=5000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    result = measure(sample_notes(options.documents), options.repeats)
    result["machine"] = machine("ipywidgets", "anywidget")
    with open_atomic(HERE / "results" / "widgets.json") as file:
        json.dump(result, file, indent=1)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
