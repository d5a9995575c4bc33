"""Bootstrap and randomisation against plain loops, exact enumeration and scipy; breakdowns."""

import random
from itertools import product

import numpy as np
import pytest

from clinical_ner.core import Document, Span, replace
from clinical_ner.metrics import (
    bootstrap,
    compare_systems,
    document_of,
    evaluate,
    frequency_in,
    length_of,
    seen_in,
)

TEXT = "x" * 60
FIGURES = [
    f"{mode}_{name}" for mode in ("strict", "lenient") for name in ("precision", "recall", "f1")
]


def some_spans(rng):
    starts = rng.sample(range(0, 60, 6), rng.randint(0, 6))
    return [Span(start, start + 5, rng.choice("AAAB")) for start in starts]


def found(rng, doc, error):
    """The spans of a document, some of them missed, shifted or of another type."""
    spans = []
    for span in doc.spans:
        chance = rng.random()
        if chance < error:
            continue
        moved = Span(span.start + 1, span.end, span.label) if chance < 2 * error else span
        spans.append(replace(moved, label="B") if chance > 1 - error / 2 else moved)
    return replace(doc, spans=spans)


def corpus(documents, seed=0):
    """Gold documents and what two systems found, the second a better one."""
    rng = random.Random(seed)
    gold = [Document(str(i), TEXT, some_spans(rng)) for i in range(documents)]
    return gold, [found(rng, d, 0.25) for d in gold], [found(rng, d, 0.1) for d in gold]


def repeated(docs, picks):
    return [replace(docs[pick], id=str(i)) for i, pick in enumerate(picks)]


def test_limits_are_those_of_scoring_each_resample():
    """The same draws, each scored by `evaluate`, give the same percentiles."""
    gold, pred, _ = corpus(7)
    result = bootstrap(gold, pred, figures=FIGURES, resamples=40, seed=3)
    draws = np.random.default_rng(3).integers(0, 7, (40, 7))
    tables = [evaluate(repeated(gold, picks), repeated(pred, picks)) for picks in draws]
    for name in ("A", "B", "micro", "macro"):
        for figure in FIGURES:
            values = [table.rows.get(name, {}).get(figure, 0.0) for table in tables]
            low, high = np.quantile(values, [0.025, 0.975])
            assert result[name, f"{figure}_low"] == pytest.approx(low, abs=1e-12)
            assert result[name, f"{figure}_high"] == pytest.approx(high, abs=1e-12)


def test_large_corpora_are_resampled_in_chunks_with_the_same_meaning():
    gold, pred, _ = corpus(3000)
    result = bootstrap(gold, pred, resamples=3000)
    micro = result["micro"]
    assert micro["strict_f1_low"] < micro["strict_f1"] < micro["strict_f1_high"]
    assert micro["strict_f1_high"] - micro["strict_f1_low"] < 0.03


@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_intervals_are_those_of_scipy(method):
    from scipy import stats

    gold, pred, _ = corpus(25, seed=5)
    tables = [evaluate([g], [p])["micro"] for g, p in zip(gold, pred)]
    support = np.array([row["support"] for row in tables])
    predicted = np.array([row["predicted"] for row in tables])
    hits = np.array([round(row["strict_recall"] * row["support"]) for row in tables])

    def f1(hits, predicted, support, axis=-1):
        total = predicted.sum(axis) + support.sum(axis)
        return 2 * hits.sum(axis) / total

    theirs = stats.bootstrap(
        (hits, predicted, support),
        f1,
        paired=True,
        n_resamples=20_000,
        method={"bca": "BCa"}.get(method, method),
        rng=np.random.default_rng(0),
    ).confidence_interval
    ours = bootstrap(gold, pred, resamples=20_000, method=method, seed=1)["micro"]
    assert ours["strict_f1_low"] == pytest.approx(theirs.low, abs=0.004)
    assert ours["strict_f1_high"] == pytest.approx(theirs.high, abs=0.004)


def test_intervals_of_perfect_and_empty_systems_are_points():
    gold, _, _ = corpus(10)
    for pred, value in ((gold, 1.0), ([replace(doc, spans=()) for doc in gold], 0.0)):
        for method in ("percentile", "bca"):
            row = bootstrap(gold, pred, resamples=200, method=method)["micro"]
            assert [row[f"strict_f1{end}"] for end in ("", "_low", "_high")] == [value] * 3


def test_sentences_are_labelled_as_such():
    gold = [Document("s1", TEXT, meta={"unit": "sentence"}), Document("s2", TEXT)]
    assert "2 sentences resampled" in bootstrap(gold, gold, resamples=2).caption
    assert "2 sentences resampled" in compare_systems(gold, gold, gold, resamples=2).caption


def test_p_is_the_share_of_all_exchanges():
    """With few documents every exchange can be tried."""
    gold, a, b = corpus(9, seed=2)
    real = evaluate(gold, b)["micro", "strict_f1"] - evaluate(gold, a)["micro", "strict_f1"]
    reached = 0
    for swaps in product((False, True), repeat=9):
        sides = [
            [y if swap else x for x, y, swap in zip(first, second, swaps)]
            for first, second in ((a, b), (b, a))
        ]
        one, two = (evaluate(gold, side)["micro", "strict_f1"] for side in sides)
        reached += abs(two - one) >= abs(real) - 1e-12
    result = compare_systems(gold, a, b, resamples=20_000)["micro"]
    assert result["strict_f1_difference"] == pytest.approx(real)
    assert result["strict_f1_p"] == pytest.approx(reached / 2**9, abs=0.012)


def test_comparison_is_symmetric_and_types_may_be_on_one_side_only():
    gold = [Document(str(i), TEXT, [Span(0, 5, "A")]) for i in range(12)]
    a = [replace(doc, spans=[Span(0, 5, "Only")]) for doc in gold]
    forth, back = compare_systems(gold, a, gold), compare_systems(gold, gold, a)
    assert forth["A", "strict_f1_difference"] == -back["A", "strict_f1_difference"] == 1.0
    assert forth["micro", "strict_f1_p"] < 0.01
    assert set(forth.rows) == {"A", "Only", "micro", "macro"}


def test_equal_systems_rarely_seem_to_differ():
    """With two systems of one quality, p is below 0.1 in about a tenth of the cases."""
    small = 0
    for seed in range(100):
        rng = random.Random(1000 + seed)
        gold = [Document(str(i), TEXT, some_spans(rng)) for i in range(30)]
        a, b = ([found(rng, doc, 0.2) for doc in gold] for _ in "ab")
        small += compare_systems(gold, a, b, resamples=200, seed=seed)["micro", "strict_f1_p"] < 0.1
    assert 2 <= small <= 20


def test_breakdowns_add_up_and_name_what_training_had():
    train = [Document("t", "chest pain, aspirin", [Span(0, 10, "ADE"), Span(12, 19, "Drug")])]
    text = "Chest\npain after aspirin and statins"
    gold = [
        Document(
            "d",
            text,
            [Span(0, 10, "Reason"), Span(17, 24, "Drug"), Span(29, 36, "Drug")],
        )
    ]
    for by, support in (
        (seen_in(train), {"seen": 1, "seen as another type": 1, "unseen": 1}),
        (frequency_in(train), {"0 times": 2, "1 time": 1}),
        (length_of, {"1 word": 2, "2 words": 1}),
        (document_of, {"d": 3}),
    ):
        scores = evaluate(gold, gold, by=by)
        rows = {n: r["support"] for n, r in scores.rows.items() if n not in ("micro", "macro")}
        assert rows == support and scores["micro", "support"] == 3
        assert list(bootstrap(gold, gold, by=by, resamples=3).rows) == list(scores.rows)


def test_frequency_rows_have_the_right_borders():
    docs = [
        Document(str(n), "word " * n, [Span(5 * i, 5 * i + 4, f"T{n}") for i in range(n)])
        for n in (1, 2, 5, 6, 20, 21)
    ]
    row = frequency_in(docs)
    names = [row(doc, doc.spans[0]) for doc in docs]
    assert names == [
        "1 time",
        *["2 to 5 times"] * 2,
        *["6 to 20 times"] * 2,
        "over 20 times",
    ]
