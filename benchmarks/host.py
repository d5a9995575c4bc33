"""How fast the host's part of annotating is: notes cut into windows, and scores made spans.

Of made-up notes, with the packaged encoder's tokenizer, in groups of 256 notes as `predict_stream`
makes them. Scores are those of a network that is sure of the gold tags, but for two words in a
hundred. Once with one thread, once with one for each core; the best of the repeats is kept.

The table goes to `benchmarks/results/host.json`.

    python benchmarks/host.py --notes 2000
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tables import RESULTS, machine

from clinical_ner.core import Document, open_atomic
from clinical_ner.encoders import load_tokenizer, packaged_encoder
from clinical_ner.inference import spans_from_scores
from clinical_ner.samples import sample_notes
from clinical_ner.tags import doc_words, fit_spans, spans_to_tags
from clinical_ner.windows import make_windows, tag_names

GROUP = 256  # notes


def made_scores(doc: Document, tags: list[str], rng: np.random.Generator) -> np.ndarray:
    """(words, L) log-probabilities that are sure of the gold tags, but for 2 words in 100."""
    words = doc_words(doc)
    gold = np.array([tags.index(tag) for tag in spans_to_tags(fit_spans(doc, words)[0], words)])
    gold = np.where(rng.random(len(gold)) < 0.02, rng.integers(0, len(tags), len(gold)), gold)
    scores = rng.normal(size=(len(words), len(tags))).astype(np.float32)
    scores[np.arange(len(words)), gold] += 12
    return scores - np.log(np.exp(scores).sum(-1, keepdims=True))


def seconds(work: Callable, groups: list, threads: int, repeats: int) -> tuple[float, float]:
    """Wall-clock and processor seconds of `work` on all groups, of the quickest repeat."""
    times = []
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(repeats):
            wall, processor = time.perf_counter(), time.process_time()
            for _ in pool.map(work, groups):
                pass
            times.append((time.perf_counter() - wall, time.process_time() - processor))
    return min(times)


def measure(docs: list[Document], threads: int, repeats: int) -> dict:
    """Notes a second of both steps, and tokens a second of the first."""
    tokenizer, rng = load_tokenizer(packaged_encoder()), np.random.default_rng(0)
    tags = tag_names(sorted({span.label for doc in docs for span in doc.spans}))
    groups = [docs[first : first + GROUP] for first in range(0, len(docs), GROUP)]
    tokens = sum(len(window.input_ids) for window in make_windows(docs, tokenizer))
    scored = [
        (group, [made_scores(doc, tags, rng) for doc in group], [doc_words(doc) for doc in group])
        for group in groups
    ]
    steps = {
        "windows": (lambda group: make_windows(group, tokenizer), groups),
        "spans": (lambda job: spans_from_scores(*job[:2], tags, words=job[2]), scored),
    }
    result: dict = {"threads": threads}
    for name, (work, jobs) in steps.items():
        wall, processor = seconds(work, jobs, threads, repeats)
        result[name] = {
            "notes_a_second": round(len(docs) / wall),
            "tokens_a_second": round(tokens / wall),
            "processor_ms_a_note": round(1000 * processor / len(docs), 3),
        }
    return result


def main():
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--notes", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path, default=RESULTS / "host.json")
    args = parser.parse_args()
    docs = sample_notes(args.notes, seed=1)
    rows = {
        name: measure(docs, threads, args.repeats)
        for name, threads in (("one_thread", 1), ("all_cores", os.cpu_count()))
    }
    different = {doc.text[start:end] for doc in docs[:GROUP] for start, end in doc_words(doc)}
    words = {"in_a_group": sum(len(doc_words(doc)) for doc in docs[:GROUP])}
    result = {"notes": len(docs), "words": words | {"different": len(different)}, **rows}
    result["machine"] = machine("tokenizers", "transformers", "numpy")
    with open_atomic(args.output) as file:
        json.dump(result, file, indent=1)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
