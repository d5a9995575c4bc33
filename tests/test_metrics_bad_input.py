"""What does not belong together, is empty, or is on one side only: numbers or a remedy, no noise."""

import json
import math
import re
import warnings
from functools import partial

import pytest

from clinical_ner.core import Document, Span, replace
from clinical_ner.errors import confusion, find_mistakes, suspicious_gold
from clinical_ner.metrics import (
    Scores,
    bootstrap,
    calibration,
    compare_systems,
    document_of,
    encoding_ceiling,
    evaluate,
    length_of,
    n2c2_scores,
    score_thresholds,
    semeval_scores,
    seqeval_scores,
)
from clinical_ner.tags import spans_to_tags


def mistakes_counts(gold, pred):
    return find_mistakes(gold, pred).counts()


def mistakes_confusion(gold, pred):
    return confusion(find_mistakes(gold, pred))


def mistakes_table(gold, pred):
    return find_mistakes(gold, pred).table()


def compare(gold, pred):
    return compare_systems(gold, pred, gold, resamples=20)


PAIRED = {  # every score of (gold, pred) that wants the same documents on both sides
    "evaluate": evaluate,
    "by document": partial(evaluate, by=document_of),
    "by length": partial(evaluate, by=length_of),
    "seqeval": seqeval_scores,
    **{mode: partial(semeval_scores, mode=mode) for mode in ("strict", "exact", "partial", "type")},
    "percentile": partial(bootstrap, resamples=20),
    "bca": partial(bootstrap, resamples=20, method="bca"),
    "compare": compare,
    "calibration": calibration,
    "thresholds": score_thresholds,
    "counts": mistakes_counts,
    "confusion": mistakes_confusion,
    "mistakes": mistakes_table,
}
EVERY = PAIRED | {"n2c2": n2c2_scores}
paired = pytest.mark.parametrize("score", PAIRED.values(), ids=PAIRED)
every = pytest.mark.parametrize("score", EVERY.values(), ids=EVERY)
pytestmark = pytest.mark.filterwarnings("error")

TEXT = "Mr Smith had a rash after aspirin."
EMPTY = Document("n1", TEXT)
RASH = replace(EMPTY, spans=[Span(15, 19, "ADE")])
DRUG = replace(EMPTY, spans=[Span(26, 33, "Drug")])
NESTED = replace(EMPTY, spans=[Span(13, 33, "ADE"), Span(15, 19, "ADE"), Span(15, 19, "ADE")])
PARTED = replace(EMPTY, spans=[Span(3, 33, "ADE", fragments=((3, 8), (15, 19), (26, 33)))])
OTHER = Document("n2", "Nothing.")


def assert_sound(table: Scores):
    """Finite numbers, and every form of the table can be made."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        forms = str(table), table._repr_html_(), table.to_csv(), table.to_markdown()
        forms += table.to_latex(), json.dumps(table.to_dict(), allow_nan=False)
        assert table.to_pandas().shape == (len(table.rows), len(table.columns))
    for row in table.rows.values():
        for value in row.values():
            assert isinstance(value, str) or math.isfinite(value)
    assert not any("Smith" in form or "nan" in form.lower() for form in forms)


def assert_refused(score, gold, pred, *messages):
    """A `ValueError` that names the document and the remedy and holds no text."""
    with pytest.raises(ValueError) as caught:
        score(gold, pred)
    for message in messages:
        assert re.search(message, str(caught.value)), caught.value
    assert "Smith" not in str(caught.value)


@paired
def test_documents_of_one_side_are_named(score):
    remedy = "predict all documents, or leave these out of both sides"
    assert_refused(score, [RASH, OTHER], [RASH], "pred lacks 1 .* gold: 'n2'", remedy)
    assert_refused(score, [RASH], [RASH, OTHER], "gold lacks 1 .* pred: 'n2'", remedy)
    assert_refused(score, [RASH], [], "pred lacks 1 .* 'n1'")


def test_the_official_script_leaves_them_out_and_the_caption_says_so():
    scores = n2c2_scores([RASH, OTHER], [RASH])
    assert scores["micro", "strict_f1"] == 1.0 and "in gold only: 'n2'" in scores.caption
    assert_refused(n2c2_scores, [RASH], [OTHER], "no document id in common; check")


@every
def test_different_texts_are_refused(score):
    other = replace(EMPTY, text=TEXT.replace("Smith", "Smyth"))
    assert_refused(score, [RASH], [other], "texts in 'n1'", "predict from the same files")


@every
def test_an_id_that_occurs_twice_is_refused(score):
    assert_refused(score, [RASH, RASH], [RASH], "gold holds 'n1' more than once; give each")


@every
@pytest.mark.parametrize(
    ("gold", "pred"),
    [
        ([], []),
        ([EMPTY], [EMPTY]),
        ([RASH], [EMPTY]),
        ([EMPTY], [RASH]),
        ([RASH], [DRUG]),
        ([RASH, OTHER], [DRUG, OTHER]),
        ([NESTED], [NESTED]),
        ([NESTED], [PARTED]),
        ([PARTED], [NESTED]),
        ([Document("", "")], [Document("", "")]),
    ],
    ids=[
        "nothing",
        "empty",
        "missed",
        "spurious",
        "types",
        "a-document-without",
        "nested",
        "parted",
        "found",
        "blank",
    ],
)
def test_defined_numbers_without_a_warning(score, gold, pred):
    assert_sound(score(gold, pred))


def test_a_type_of_one_side_has_a_row_of_zeros():
    for score in (evaluate, seqeval_scores, n2c2_scores):
        scores = score([RASH], [DRUG])
        for label, support in (("ADE", 1), ("Drug", 0)):
            figures = [value for name, value in scores[label].items() if name.endswith("f1")]
            assert set(figures) == {0.0} and scores[label, "support"] == support
    table = compare([RASH], [DRUG])
    assert table["Drug", "strict_f1_a"] == table["Drug", "strict_f1_b"] == 0.0
    assert confusion(find_mistakes([RASH], [DRUG]))["ADE", "missed"] == 1


def test_spans_that_tags_cannot_hold_are_refused_or_counted():
    words = [(0, 2), (3, 8), (9, 12), (13, 14), (15, 19), (20, 25), (26, 33), (33, 34)]
    for doc, message in ((NESTED, "overlaps the span before it"), (PARTED, "run of whole words")):
        for scheme in ("IOB1", "IOB2", "IOBES", "BILOU"):
            with pytest.raises(ValueError, match=f"{message}.*use `fit_spans` first"):
                spans_to_tags(doc.spans, words, scheme)
    caption = seqeval_scores([NESTED], [PARTED]).caption
    assert "gold: nested or overlapping 2" in caption or "duplicate 1" in caption
    assert "pred: discontinuous 1" in caption
    ceiling = encoding_ceiling([NESTED])
    assert sum(ceiling.losses.values()) == 2 and 0 < ceiling.f1 < 1
    assert evaluate([NESTED], [NESTED])["micro", "strict_f1"] == 1.0


@pytest.mark.parametrize("value", [math.nan, -0.1, 1.5, math.inf])
def test_scores_that_are_no_probabilities_are_refused(value):
    pred = [replace(EMPTY, spans=[Span(15, 19, "ADE", score=value)])]
    for score in (calibration, score_thresholds):
        assert_refused(score, [RASH], pred, "'n1' at character 15", "from 0 to 1")


def test_numbers_of_resamples_and_bins_that_make_no_sense_are_refused():
    for call in (bootstrap, partial(compare_systems, [RASH])):
        with pytest.raises(ValueError, match="at least one"):
            call([RASH], [RASH], resamples=0)
    with pytest.raises(ValueError, match="at least one"):
        calibration([RASH], [RASH], bins=0)


def test_rows_may_have_any_names_and_come_in_their_order():
    spans = [Span(i, i + 1, "A") for i in range(12)]
    docs = [Document("d", "x" * 12, spans)]
    scores = evaluate(docs, docs, by=lambda doc, span: span.start)
    assert list(scores.rows) == [*map(str, range(12)), "micro", "macro"]
    assert_sound(scores)
    mixed = evaluate(docs, docs, by=lambda doc, span: span.start or None)
    assert "None" in mixed.rows
    many = [Document(f"note-{i}", "x", [Span(0, 1, "A")]) for i in (10, 9, 1, 100)]
    table = bootstrap(many, many, by=document_of, resamples=5)
    assert list(table.rows)[:4] == ["note-1", "note-9", "note-10", "note-100"]


def test_suspicious_gold_of_nothing_is_nothing():
    assert suspicious_gold([]) == suspicious_gold([EMPTY]) == []
    assert_sound(suspicious_gold([EMPTY]).table())
    with pytest.raises(ValueError, match="'n1' more than once"):
        suspicious_gold([RASH, DRUG])
