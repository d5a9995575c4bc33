"""A mention that a line end divides is one mention in records, tags, scores, mistakes, pictures."""

import re
from dataclasses import replace

import pytest

from clinical_ner.core import Document, Span, read_jsonl, render_document, span_text, write_jsonl
from clinical_ner.display import compare, highlight
from clinical_ner.errors import find_mistakes
from clinical_ner.formats import from_datasets, read_brat, to_datasets, write_brat
from clinical_ner.metrics import (
    bootstrap,
    compare_systems,
    encoding_ceiling,
    evaluate,
    n2c2_scores,
    semeval_scores,
    seqeval_scores,
)
from clinical_ner.tags import doc_words, fit_spans, spans_to_tags, tags_to_spans

TEXT = "Denies chest\npain or\r\n  left and\tright  arm\u2028pain today."


def parts_of(*words: str) -> tuple[tuple[int, int], ...]:
    """Places of words in `TEXT`, each behind the one before."""
    places, start = [], 0
    for word in words:
        start = TEXT.index(word, start)
        places.append((start, start := start + len(word)))
    return tuple(places)


def span_of(label: str, *words: str) -> Span:
    parts = parts_of(*words)
    return Span(parts[0][0], parts[-1][1], label, fragments=parts)


DIVIDED = [span_of("P", "chest", "pain"), span_of("P", "left", "right", "arm", "pain")]
GOLD = Document("d", TEXT, DIVIDED)
PRED = Document("d", TEXT, [replace(DIVIDED[0], fragments=()), GOLD.spans[1]])


@pytest.mark.parametrize("blank", [" ", "\n", "\r\n", "\t", "\x85", "\xa0", "\u2029", "\n \n", ""])
def test_only_white_space_between_parts(blank):
    text, past = f"chest{blank}pain", 5 + len(blank)
    span = Span(0, past + 4, "P", 0.5, ((0, 5), (past, past + 4)), "C1")
    doc = Document("d", text, [span])
    assert doc.spans == (Span(0, past + 4, "P"),)
    assert (doc.spans[0].score, doc.spans[0].concept) == (0.5, "C1")


@pytest.mark.parametrize("between", ["x", "-", "\u200b", " . ", "\n- "])
def test_anything_else_between_parts(between):
    past = 5 + len(between)
    span = Span(0, past + 4, "P", fragments=((0, 5), (past, past + 4)))
    assert Document("d", f"chest{between}pain", [span]).spans == (span,)


def test_parts_are_joined_as_far_as_they_go():
    assert GOLD.spans[0] == Span(7, 17, "P")
    assert GOLD.spans[1].fragments == (*parts_of("left"), (parts_of("right")[0][0], len(TEXT) - 7))
    assert span_text(GOLD, GOLD.spans[1]) == "left right  arm\u2028pain"
    one = Document("d", "chest pain", [Span(0, 5, "P", fragments=((0, 5),))])
    assert one.spans == (Span(0, 5, "P"),)


def test_scores_and_mistakes():
    for scores in (evaluate([GOLD], [PRED]), bootstrap([GOLD], [PRED], resamples=10)):
        assert scores["micro", "strict_f1"] == 1.0
    assert n2c2_scores([GOLD], [PRED])["micro", "strict_f1"] == 1.0
    assert semeval_scores([GOLD], [PRED])["micro", "f1"] == 1.0
    assert seqeval_scores([GOLD], [PRED])["micro", "f1"] == 1.0
    compared = compare_systems([GOLD], [GOLD], [PRED], resamples=10)
    assert compared["micro", "strict_f1_difference"] == 0.0
    assert [item.kind for item in find_mistakes([GOLD], [PRED])] == ["correct", "correct"]
    assert encoding_ceiling([replace(GOLD, spans=GOLD.spans[:1])]).f1 == 1.0


def test_tags_hold_a_wrapped_mention_and_give_it_back():
    doc = replace(GOLD, spans=GOLD.spans[:1])
    words = doc_words(doc)
    spans, losses = fit_spans(doc)
    assert not losses
    (again,) = tags_to_spans(spans_to_tags(spans, words), words)
    assert again == doc.spans[0] and TEXT[again.start : again.end] == "chest\npain"


def test_files(tmp_path):
    write_brat([GOLD], tmp_path)
    assert read_brat(tmp_path) == [GOLD]
    write_jsonl([GOLD], tmp_path / "a.jsonl")
    assert read_jsonl(tmp_path / "a.jsonl") == [GOLD]
    assert from_datasets(to_datasets([GOLD])) == [GOLD]


def test_pictures():
    doc = replace(GOLD, spans=GOLD.spans[:1])
    assert render_document(doc) == render_document(replace(PRED, spans=PRED.spans[:1]))
    assert render_document(doc).count("<mark ") == 1
    pred = replace(PRED, spans=PRED.spans[:1])

    def without_ids(picture) -> str:
        return re.sub(r"cner\d+-\w+", "", picture.html)

    assert without_ids(highlight(doc)) == without_ids(highlight(pred))
    assert without_ids(compare(doc, pred)) == without_ids(compare(doc, doc))


def test_a_document_is_shown_without_its_text():
    assert repr(GOLD) == f"Document('d', {len(TEXT)} characters, 2 spans, P 2)"
    assert "chest" not in f"{GOLD} {[GOLD]!r}"


def test_types_of_one_side_are_named():
    upper = replace(PRED, spans=[replace(span, label="p") for span in PRED.spans])
    for table in (
        evaluate([GOLD], [upper]),
        n2c2_scores([GOLD], [upper]),
        semeval_scores([GOLD], [upper]),
        seqeval_scores([GOLD], [upper]),
        bootstrap([GOLD], [upper], resamples=10),
        find_mistakes([GOLD], [upper]).counts(),
    ):
        assert "types in gold only: P " in table.caption
        assert "types in pred only: p " in table.caption
        assert "differ only in upper and lower case" in table.caption
        assert "types in gold only" in str(table) and "types in gold only" in table._repr_html_()
    caption = compare_systems([GOLD], [GOLD], [upper], resamples=10).caption
    assert "b: types in pred only: p 2" in caption and "a: " not in caption
    assert evaluate([GOLD], [PRED]).caption == ""
    many = [Span(i, i + 1, f"T{i:02}") for i in range(12)]
    told = evaluate([replace(GOLD, spans=many)], [replace(GOLD, spans=[])]).caption
    assert told == f"types in gold only: {', '.join(f'T{i:02} 1' for i in range(10))}, and 2 more"
