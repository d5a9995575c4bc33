"""Thresholds, calibration and temperature against plain loops and known truths."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinical_ner.core import Document, Span, replace
from clinical_ner.metrics import (
    apply_temperature,
    best_threshold,
    calibration,
    evaluate,
    fit_temperature,
    keep_confident,
    score_thresholds,
)

TEXT = "x" * 30


def spans(scores):
    """Overlapping, nested and duplicate spans with scores, many of them tied."""
    one = st.builds(
        lambda start, size, label, score: Span(start, start + size, label, score),
        st.integers(0, 12),
        st.integers(1, 8),
        st.sampled_from("AB"),
        scores,
    )
    return st.lists(one, max_size=8)


@settings(deadline=None, max_examples=150)
@given(spans(st.just(1.0)), spans(st.sampled_from([0.0, 0.2, 0.5, 0.9, 1.0])))
def test_each_threshold_scores_as_the_spans_kept_by_it(gold, pred):
    gold, pred = [Document("d", TEXT, gold)], [Document("d", TEXT, pred)]
    for mode in ("strict", "lenient"):
        thresholds = (0, 0.2, 0.3, 0.9, 1.0)
        table = score_thresholds(gold, pred, thresholds=thresholds, mode=mode)
        for threshold in thresholds:
            kept = [replace(d, spans=[s for s in d.spans if s.score >= threshold]) for d in pred]
            expected = evaluate(gold, kept)["micro"]
            for figure in ("precision", "recall", "f1"):
                assert table[f"{threshold:g}", figure] == expected[f"{mode}_{figure}"]
            assert table[f"{threshold:g}", "predicted"] == expected["predicted"]


@settings(deadline=None, max_examples=100)
@given(spans(st.just(1.0)), spans(st.sampled_from([0.1, 0.2, 0.5, 0.9, 1.0])))
def test_the_best_threshold_is_the_best(gold, pred):
    gold, pred = [Document("d", TEXT, gold)], [Document("d", TEXT, pred)]
    if not pred[0].spans:
        return
    every = sorted({span.score for span in pred[0].spans})
    table = score_thresholds(gold, pred, thresholds=every)
    best = best_threshold(gold, pred)
    assert table[f"{best:g}", "f1"] == max(row["f1"] for row in table.rows.values())
    reachable = [t for t in every if table[f"{t:g}", "precision"] >= 0.6]
    if reachable:
        assert best_threshold(gold, pred, precision=0.6) == min(reachable)
    else:
        with pytest.raises(ValueError, match="the highest is"):
            best_threshold(gold, pred, precision=0.6)


def graded_corpus(n, temperature, seed=0):
    """Single spans that are right with known chances, and scores made too sure by `temperature`."""
    rng = np.random.default_rng(seed)
    chances = rng.uniform(0.05, 0.95, n)
    right = rng.random(n) < chances
    scores = 1 / (1 + (1 / chances - 1) ** temperature)
    gold = [Document(str(i), "xx", [Span(0, 1 + int(not ok), "A")]) for i, ok in enumerate(right)]
    pred = [Document(str(i), "xx", [Span(0, 1, "A", score)]) for i, score in enumerate(scores)]
    return gold, pred


@pytest.mark.parametrize("true", [0.5, 1.0, 2.5])
def test_the_temperature_is_found_again(true):
    gold, pred = graded_corpus(20_000, true)
    found = fit_temperature(gold, pred)
    assert found == pytest.approx(true, rel=0.05)
    gold, pred = graded_corpus(20_000, true, seed=1)
    assert calibration(gold, apply_temperature(pred, found))["all", "gap"] < 0.02


def test_calibration_counts_every_span_once():
    gold, pred = graded_corpus(1000, 2.0)
    table = calibration(gold, pred, bins=7)
    bins = [row for name, row in table.rows.items() if name != "all"]
    assert sum(row["predicted"] for row in bins) == table["all", "predicted"] == 1000
    expected = sum(row["gap"] * row["predicted"] for row in bins) / 1000
    assert table["all", "gap"] == pytest.approx(expected)
    sure = [replace(doc, spans=[replace(s, score=1.0) for s in doc.spans]) for doc in pred]
    only = calibration(gold, sure)["all"]
    assert only["gap"] == pytest.approx(1 - only["precision"])


def test_extreme_scores_keep_finite():
    gold, pred = graded_corpus(50, 1.0)
    for score in (0.0, 1.0):
        same = [replace(d, spans=[replace(s, score=score) for s in d.spans]) for d in pred]
        found = fit_temperature(gold, same)
        assert 0.05 <= found <= 20
        values = [s.score for d in apply_temperature(same, found) for s in d.spans]
        assert all(0 <= value <= 1 for value in values)


def test_what_is_dropped_is_said(capsys):
    kept = keep_confident([Document("d", "xx", [Span(0, 1, "A", 0.3), Span(1, 2, "A")])], 0.5)
    assert [span.score for span in kept[0].spans] == [1.0]
    assert "dropped 1 of 2 spans below 0.5" in capsys.readouterr().out


def test_errors_say_what_to_do():
    gold, pred = graded_corpus(3, 1.0)
    with pytest.raises(ValueError, match="use 'strict' or 'lenient'"):
        calibration(gold, pred, mode="exact")
    with pytest.raises(ValueError, match="must be above 0"):
        apply_temperature(pred, 0)
    empty = [replace(doc, spans=()) for doc in pred]
    for function in (fit_temperature, best_threshold):
        with pytest.raises(ValueError, match="no predicted spans"):
            function(gold, empty)
