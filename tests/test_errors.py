"""Mistakes: every span in exactly one place, whatever the order, and in step with the scores."""

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinical_ner.core import Document, Span
from clinical_ner.errors import KINDS, confusion, find_mistakes, suspicious_gold
from clinical_ner.metrics import evaluate

TEXT = "x" * 40
WHOLE = st.builds(
    lambda start, size, label: Span(start, start + size, label),
    st.integers(0, 25),
    st.integers(1, 12),
    st.sampled_from("AB"),
)
PARTED = st.builds(
    lambda start, a, gap, b, label: Span(
        start,
        start + a + gap + b,
        label,
        fragments=((start, start + a), (start + a + gap, start + a + gap + b)),
    ),
    *(st.integers(0, 20), st.integers(1, 4), st.integers(1, 4), st.integers(1, 4)),
    st.sampled_from("AB"),
)
SPANS = st.lists(st.one_of(WHOLE, WHOLE, WHOLE, PARTED), max_size=8)


def found(gold, pred):
    return find_mistakes([Document("d", TEXT, gold)], [Document("d", TEXT, pred)])


@settings(deadline=None, max_examples=400)
@given(SPANS, SPANS)
def test_every_span_is_in_exactly_one_place(gold, pred):
    mistakes = found(gold, pred)
    assert Counter(span for item in mistakes for span in item.gold) == Counter(gold)
    assert Counter(span for item in mistakes for span in item.pred) == Counter(pred)
    counts = mistakes.counts()
    assert counts["all", "gold"] == len(gold) and counts["all", "predicted"] == len(pred)
    assert counts["all", "cases"] == len(mistakes)


@settings(deadline=None, max_examples=400)
@given(SPANS, SPANS)
def test_every_case_has_the_shape_of_its_kind(gold, pred):
    sizes = {"split": (1, 2), "merged": (2, 1), "missed": (1, 0), "spurious": (0, 1)}
    for item in found(gold, pred):
        shape = min(len(item.gold), 2), min(len(item.pred), 2)
        assert shape == sizes.get(item.kind, (1, 1)) and item.kind in KINDS
        same_type = len({span.label for span in item.gold + item.pred}) == 1
        assert same_type != (item.kind in ("type", "boundary and type"))
        assert (item.detail != "") == item.kind.startswith("boundary")
        if item.gold and item.pred:
            assert all(set(cover(g)) & set(cover(p)) for g in item.gold for p in item.pred)


def cover(span):
    return [i for a, b in (span.fragments or ((span.start, span.end),)) for i in range(a, b)]


@settings(deadline=None, max_examples=200)
@given(SPANS, SPANS)
def test_correct_is_what_evaluate_counts_as_strictly_right(gold, pred):
    scores = evaluate([Document("d", TEXT, gold)], [Document("d", TEXT, pred)])
    right = len(found(gold, pred).select(kind="correct"))
    assert right == pytest.approx(scores["micro", "strict_recall"] * len(gold))


@settings(deadline=None, max_examples=200)
@given(SPANS, SPANS, st.randoms())
def test_order_makes_no_difference(gold, pred, rng):
    before = found(gold, pred)
    rng.shuffle(gold)
    rng.shuffle(pred)
    assert found(gold, pred) == before


@settings(deadline=None)
@given(SPANS, SPANS)
def test_rows_of_the_confusion_add_up_to_gold(gold, pred):
    mistakes = found(gold, pred)
    table = confusion(mistakes)
    for label, count in Counter(span.label for span in gold).items():
        assert sum(table[label].values()) == count
    assert sum(table["spurious"].values()) == len(mistakes.select(kind="spurious"))


@pytest.mark.parametrize(
    ("gold", "pred", "expected"),
    [
        ([(0, 5, "A")], [(0, 5, "A")], ["correct"]),
        ([(0, 5, "A")], [(0, 5, "B")], ["type"]),
        ([(0, 5, "A")], [(0, 7, "A")], ["boundary longer"]),
        ([(0, 5, "A")], [(1, 5, "A")], ["boundary shorter"]),
        ([(0, 5, "A")], [(3, 7, "A")], ["boundary shifted"]),
        ([(0, 5, "A")], [(3, 7, "B")], ["boundary and type shifted"]),
        ([(0, 9, "A")], [(0, 3, "A"), (4, 9, "A")], ["split"]),
        ([(0, 9, "A")], [(0, 3, "A"), (4, 9, "B")], ["boundary shorter", "spurious"]),
        ([(0, 3, "A"), (4, 9, "A")], [(0, 9, "A")], ["merged"]),
        ([(0, 3, "A"), (4, 9, "B")], [(0, 9, "A")], ["boundary longer", "missed"]),
        ([(0, 5, "A")], [(5, 9, "A")], ["missed", "spurious"]),
        ([(0, 5, "A"), (0, 5, "B")], [(0, 5, "B")], ["missed", "correct"]),
        ([(0, 5, "A")], [(0, 5, "A"), (0, 5, "A")], ["correct", "spurious"]),
    ],
)
def test_small_cases_have_the_name_one_would_give(gold, pred, expected):
    mistakes = found([Span(*span) for span in gold], [Span(*span) for span in pred])
    names = [f"{item.kind} {item.detail}".strip() for item in mistakes]
    assert sorted(names) == sorted(expected)


def test_thousands_of_mistakes_in_one_document_are_named_quickly():
    rng = random.Random(0)
    text = "x" * 200_000
    starts = range(0, 190_000, 20)
    gold = [Span(start, start + 10, "A") for start in starts]
    pred = [Span(start + rng.randint(1, 12), start + 16, "A") for start in starts]
    mistakes = find_mistakes([Document("d", text, gold)], [Document("d", text, pred)])
    assert mistakes.counts()["all", "gold"] == len(gold)


def test_tables_hold_no_text_but_context_does():
    gold = [Document("note-7", "Mr Smith rests", [Span(3, 8, "Name")])]
    pred = [Document("note-7", "Mr Smith rests", [Span(3, 8, "Drug", score=0.7)])]
    mistakes = find_mistakes(gold, pred)
    assert "Smith" not in str(mistakes) + mistakes._repr_html_() + mistakes.to_pandas().to_string()
    assert mistakes.context(mistakes[0]) == "Mr {[Smith]} rests"
    assert mistakes.rows()[0]["score"] == 0.7
    assert len(mistakes.select(label="Drug")) == 1 and len(mistakes.select(doc_id="x")) == 0


def test_types_with_the_names_of_columns_are_refused():
    with pytest.raises(ValueError, match="`relabel` it first"):
        confusion(found([Span(0, 1, "missed")], []))


def test_nothing_to_compare_is_no_mistake():
    assert len(find_mistakes([], [])) == 0
    assert find_mistakes([], []).counts()["all", "cases"] == 0
    assert list(find_mistakes([], []).to_pandas().columns)[0] == "document"


# Gold that may be wrong

LABELS = {"fever": "ADE", "aspirin": "Drug", "chest pain": "Reason"}


def plain_corpus(n, seed=0):
    """Documents in which the same words always have the same label."""
    rng = random.Random(seed)
    docs = []
    for number in range(n):
        words = rng.choices(["fever", "aspirin", "chest pain", "after", "given", "and"], k=12)
        text, spans = "", []
        for word in words:
            text += " " * bool(text)
            if word in LABELS:
                spans.append(Span(len(text), len(text) + len(word), LABELS[word]))
            text += word
        docs.append(Document(str(number), text, spans))
    return docs


def spoil(doc, rng):
    """A document with one mention dropped, retyped or cut, and where that is."""
    span = rng.choice(doc.spans)
    rest = [other for other in doc.spans if other != span]
    kind = rng.choice(["dropped", "type", "cut"] if span.label == "Reason" else ["dropped", "type"])
    if kind == "type":
        rest.append(Span(span.start, span.end, "Route"))
    elif kind == "cut":
        rest.append(Span(span.start + 6, span.end, span.label))
    return Document(doc.id, doc.text, rest), span


def test_errors_against_the_habit_of_the_corpus_come_first():
    rng = random.Random(3)
    docs = plain_corpus(60)
    spoilt = {number: spoil(docs[number], rng) for number in (4, 17, 23, 42, 58)}
    docs = [spoilt[i][0] if i in spoilt else doc for i, doc in enumerate(docs)]
    suspects = suspicious_gold(docs)
    named = {(s.doc_id, place.label) for s in suspects for place in s.proposed}
    assert {s.doc_id for s in suspects} == set(map(str, spoilt))
    assert {(str(i), span.label) for i, (_, span) in spoilt.items()} <= named
    assert suspicious_gold(plain_corpus(60)) == []


def test_a_model_can_speak_for_what_the_corpus_never_saw():
    docs = [Document("a", "new drug here"), Document("b", "plain words only")]
    tags = ["O", "B-Drug", "I-Drug"]
    sure = np.log([[0.1, 0.8, 0.1], [0.1, 0.1, 0.8], [0.9, 0.05, 0.05]])
    calm = np.log([[0.9, 0.05, 0.05]] * 3)
    suspects = suspicious_gold(docs, scores=[sure, calm], tags=tags)
    assert [(s.doc_id, s.kind, s.proposed) for s in suspects] == [
        ("a", "spurious", (Span(0, 8, "Drug"),))
    ]
    assert suspects[0].as_proposed == 0


def test_a_model_can_speak_against_a_gold_mention():
    docs = [Document(str(i), "word here", [Span(0, 4, "Drug")] * (i == 0)) for i in range(4)]
    calm = np.log([[0.98, 0.01, 0.01]] * 2)
    suspects = suspicious_gold(docs, scores=[calm] * 4, tags=["O", "B-Drug", "I-Drug"])
    assert [(s.doc_id, s.kind, s.given) for s in suspects] == [("0", "missed", docs[0].spans)]
    assert (suspects[0].as_proposed, suspects[0].otherwise) == (3, 0)


def test_scores_that_do_not_fit_are_refused_without_text():
    docs = [Document("note-1", "Mr Smith")]
    with pytest.raises(ValueError, match="'note-1': scores have the shape") as caught:
        suspicious_gold(docs, scores=[np.zeros((5, 3))], tags=["O", "B-A", "I-A"])
    assert "Smith" not in str(caught.value)
