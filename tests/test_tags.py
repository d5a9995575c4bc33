"""Laws of words, tags and spans, on random texts and tags."""

import re
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from clinical_ner.core import Document, Span
from clinical_ner.tags import (
    SCHEMES,
    WORD_PATTERN,
    convert_tags,
    detect_scheme,
    doc_words,
    fit_spans,
    invalid_tags,
    repair_tags,
    spans_to_tags,
    split_words,
    tags_to_spans,
)

texts = st.text(max_size=60) | st.text("aB9 .x[*]-/\n\u00a0\u200be\u0301≥", max_size=60)
schemes = st.sampled_from(sorted(SCHEMES))
tag = st.sampled_from(["O", *(f"{letter}-{label}" for letter in "BIESLU" for label in "XY")])


@st.composite
def documents(draw):
    """A text with any spans at all: nested, crossing, discontinuous, twice, inside words."""
    text = draw(texts.filter(bool))
    spans = []
    for _ in range(draw(st.integers(0, 6))):
        start = draw(st.integers(0, len(text) - 1))
        end = draw(st.integers(start + 1, len(text)))
        gap = end - start > 2 and draw(st.booleans())
        parts = ((start, start + 1), (end - 1, end)) if gap else ()
        spans.append(Span(start, end, draw(st.sampled_from("XY")), fragments=parts))
    return Document("d", text, spans)


@given(texts)
def test_words_cover_every_character_but_spaces(text):
    words = split_words(text)
    covered = [i for start, end in words for i in range(start, end)]
    assert covered == [i for i, char in enumerate(text) if not char.isspace()]
    assert all(start < end for start, end in words)


@settings(max_examples=300)
@given(texts | st.text("abcxX0._,é\u0301\u0300 -", max_size=60))
def test_words_are_those_of_the_pattern(text):
    """Long words are looked for first, which must change nothing."""
    assert split_words(text) == [match.span() for match in re.finditer(WORD_PATTERN, text)]


@given(documents(), schemes)
def test_fitted_spans_survive_the_round_trip(doc, scheme):
    spans, losses = fit_spans(doc)
    offsets = doc_words(doc)
    tags = spans_to_tags(spans, offsets, scheme)
    assert invalid_tags(tags, scheme) == []
    assert tags_to_spans(tags, offsets) == spans
    dropped = sum(losses[why] for why in ("duplicate", "nested or overlapping", "no word inside"))
    assert len(spans) + dropped == len(doc.spans)
    if not losses:
        assert sorted(doc.spans) == spans


@given(st.lists(tag, max_size=12), schemes)
def test_repairs_give_valid_tags(tags, scheme):
    for method in ("conlleval", "discard"):
        repaired = repair_tags(tags, method, scheme)
        assert invalid_tags(repaired, scheme) == []
        assert repair_tags(repaired, method, scheme) == repaired
    offsets = [(i, i + 1) for i in range(len(tags))]
    kept = Counter(tags_to_spans(repair_tags(tags, "discard", scheme), offsets))
    assert kept <= Counter(tags_to_spans(tags, offsets))


@given(st.lists(tag, max_size=12), schemes, schemes)
def test_conversion_keeps_the_mentions(tags, source, target):
    valid = repair_tags(tags, scheme=source)
    assert convert_tags(convert_tags(valid, source, target), target, source) == valid


@settings(max_examples=50)
@given(st.lists(st.lists(tag, max_size=8), max_size=4), schemes)
def test_a_detected_scheme_fits(sequences, scheme):
    valid = [repair_tags(tags, scheme=scheme) for tags in sequences]
    detected = detect_scheme(valid)
    letters = {tag[0] for tags in valid for tag in tags}
    if letters & set("ESLU") or scheme in ("IOB1", "IOB2"):
        assert all(invalid_tags(tags, detected) == [] for tags in valid)
