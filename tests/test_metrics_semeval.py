"""`semeval_scores` against nervaluate 1.2.1, which gets the same spans with inclusive ends."""

import random
import warnings

import pytest

from clinical_ner.core import Document, Span
from clinical_ner.formats import read_brat
from clinical_ner.metrics import semeval_scores

MODES = {"strict": "strict", "exact": "exact", "partial": "partial", "type": "ent_type"}
COUNTS = ("correct", "incorrect", "partial", "missed", "spurious", "precision", "recall", "f1")


def reference(gold, pred):
    """All results of nervaluate: mode to row name to figures."""
    from nervaluate.evaluator import Evaluator

    sides = [
        [
            [{"label": s.label, "start": s.start, "end": s.end - 1} for s in doc.spans]
            for doc in docs
        ]
        for docs in (gold, pred)
    ]
    labels = sorted({s.label for docs in (gold, pred) for doc in docs for s in doc.spans})
    results = Evaluator(*sides, tags=labels, loader="dict").evaluate()
    tables = {}
    for mode, name in MODES.items():
        rows = {label: results["entities"][label][name] for label in labels}
        rows["micro"] = results["overall"][name]
        tables[mode] = {
            label: {key: getattr(row, key) for key in COUNTS} for label, row in rows.items()
        }
    return tables


def random_spans(rng, longest):
    """Spans in no order: nested, duplicate, some over a hundred times longer than others."""
    spans = []
    for _ in range(rng.randint(0, 7)):
        size = rng.choice([1, 2, 5, longest])
        start = rng.randint(0, 400 - size) if rng.random() < 0.2 else rng.randint(0, 12)
        spans.append(Span(start, start + size, rng.choice("AABC")))
    return spans


@pytest.mark.parametrize("seed", range(4))
def test_equal_to_nervaluate_on_random_documents(seed):
    rng = random.Random(seed)
    for _ in range(150):
        longest = rng.choice([8, 30, 99, 100, 101, 250, 300])
        gold, pred = (
            [Document(str(i), " " * 400, random_spans(rng, longest)) for i in range(n)]
            for n in [rng.randint(1, 4)] * 2
        )
        expected = reference(gold, pred)
        for mode in MODES:
            assert semeval_scores(gold, pred, mode=mode).rows == expected[mode]


def test_order_of_the_file_matters_as_in_nervaluate():
    gold = [Document("d", " " * 20, [Span(0, 5, "A"), Span(6, 10, "A")])]
    wide, narrow = Span(0, 10, "A"), Span(0, 5, "A")
    for found in ([wide, narrow], [narrow, wide]):
        pred = [Document("d", " " * 20, found)]
        assert semeval_scores(gold, pred).rows == reference(gold, pred)["strict"]
    first = semeval_scores(gold, [Document("d", " " * 20, [wide, narrow])])["micro", "correct"]
    second = semeval_scores(gold, [Document("d", " " * 20, [narrow, wide])])["micro", "correct"]
    assert (first, second) == (0, 1)


def test_touching_spans_do_not_overlap_and_nothing_is_warned():
    gold = [Document("d", " " * 20, [Span(0, 5, "A")]), Document("e", " " * 20)]
    pred = [Document("d", " " * 20, [Span(5, 9, "A")]), Document("e", " " * 20)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        row = semeval_scores(gold, pred, mode="partial")["A"]
    assert (row["missed"], row["spurious"]) == (1, 1)


def test_equal_to_nervaluate_on_a_real_pair(data_dir):
    folder = data_dir / "n2c2_format_derived"
    gold, pred = read_brat(folder / "gold"), read_brat(folder / "system", texts=folder / "gold")
    expected = reference(gold, pred)
    for mode in MODES:
        assert semeval_scores(gold, pred, mode=mode).rows == expected[mode]
