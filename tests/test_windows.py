"""Laws of windows, on random texts and limits, with a real tokenizer."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from clinical_ner import windows as windows_module
from clinical_ner.core import Document, Span
from clinical_ner.samples import sample_notes
from clinical_ner.tags import doc_words, fit_spans, tags_to_spans
from clinical_ner.windows import (
    IGNORED,
    _place_windows,
    label_windows,
    make_windows,
    tag_names,
    tokenize_words,
)

texts = st.text(max_size=300) | st.text("aB9 .x[*]-/\n\u00a0\u200b\ufeffe\u0301≥", max_size=300)


@pytest.fixture(scope="module")
def tokenizer(encoder_dir):
    return load(encoder_dir)


@cache
def load(encoder_dir):
    return AutoTokenizer.from_pretrained(encoder_dir)


@st.composite
def documents(draw):
    text = draw(texts.filter(bool))
    spans = []
    for _ in range(draw(st.integers(0, 5))):
        start = draw(st.integers(0, len(text) - 1))
        end = draw(st.integers(start + 1, min(len(text), start + 20)))
        spans.append(Span(start, end, draw(st.sampled_from("XY"))))
    return Document("d", text, spans)


@settings(max_examples=150, deadline=None)
@given(doc=documents(), max_length=st.integers(16, 64), overlap=st.floats(0, 0.9))
def test_every_word_is_spoken_for_once(tokenizer, doc, max_length, overlap):
    windows = make_windows([doc], tokenizer, max_length=max_length, overlap=overlap)
    words = [window.first_word + i for window in windows for i in range(len(window.starts))]
    assert words == list(range(len(doc_words(doc))))
    assert all(len(window.input_ids) <= max_length for window in windows)
    for window in windows:
        assert window.starts == sorted(set(window.starts))
        assert all(0 < start < len(window.input_ids) - 1 for start in window.starts)


@settings(max_examples=100, deadline=None)
@given(doc=documents(), max_length=st.integers(16, 64))
def test_labels_hold_the_fitted_spans(tokenizer, doc, max_length):
    tags = tag_names("XY")
    windows = make_windows([doc], tokenizer, max_length=max_length)
    labels, losses = label_windows(windows, [doc], tags)
    spoken = [tags[label] for row in labels for label in row if label != IGNORED]
    spans, lost = fit_spans(doc)
    assert tags_to_spans(spoken, doc_words(doc)) == spans
    assert losses == lost
    for window, row in zip(windows, labels):
        assert [i for i, label in enumerate(row) if label != IGNORED] == window.starts


def test_a_word_is_spoken_for_where_it_has_most_context(tokenizer):
    doc = Document("d", "pain " * 500)
    windows = make_windows([doc], tokenizer, max_length=128)
    assert len(windows) == 5
    for window in windows[1:-1]:
        margin = min(window.starts[0], len(window.input_ids) - 1 - window.starts[-1])
        assert margin >= 126 // 8 // 2


@settings(max_examples=300, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 12), min_size=1, max_size=40),
    overlap=st.integers(0, 11),
)
def test_every_window_reads_on(sizes, overlap):
    places = _place_windows(np.array(sizes), 12, overlap)
    assert places[0][0] == 0 and places[-1][1] == len(sizes)
    for (first, past), (next_first, next_past) in zip(places, places[1:]):
        assert first < next_first <= past < next_past


@settings(max_examples=300, deadline=None)
@given(sizes=st.lists(st.integers(1, 4), min_size=1, max_size=300), overlap=st.integers(0, 8))
def test_windows_are_few_and_even(sizes, overlap):
    capacity, ends = 40, np.cumsum([0, *sizes])
    places = _place_windows(np.array(sizes), capacity, overlap)
    lengths = [ends[past] - ends[first] for first, past in places]
    step = capacity - overlap - 2 * 3  # less what a word of 4 tokens leaves free at each edge
    assert len(places) <= max(1, np.ceil((ends[-1] - overlap) / step))
    assert max(lengths) <= capacity
    assert max(lengths) - min(lengths) <= 4 + 6 * len(places)


def test_no_window_without_a_word_of_its_own(tokenizer):
    rule = "_" * 90  # one word, longer than the overlap
    doc = Document("d", f"no pain {rule} " * 6)
    windows = make_windows([doc], tokenizer, max_length=128)
    assert all(window.starts for window in windows)
    assert len(windows) <= 6


@cache
def other_family(name):
    """A tokenizer as the RoBERTa family has it (bytes), or the XLM-R family (sentence pieces)."""
    if name == "bytes":
        backend = Tokenizer(models.BPE(unk_token="<unk>"))
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        backend.post_processor = processors.RobertaProcessing(("</s>", 1), ("<s>", 0))
        trainer = trainers.BpeTrainer
    else:
        backend = Tokenizer(models.Unigram())
        backend.pre_tokenizer = pre_tokenizers.Metaspace()
        backend.post_processor = processors.TemplateProcessing(
            "<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
        )
        trainer = trainers.UnigramTrainer
    own = {"unk_token": "<unk>"} if name == "pieces" else {}
    train = trainer(vocab_size=600, special_tokens=["<s>", "</s>", "<unk>"], **own)
    backend.train_from_iterator((doc.text for doc in sample_notes(20)), train)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="<unk>", model_max_length=512
    )


@pytest.mark.parametrize("family", ["packaged", "bytes", "pieces"])
@settings(max_examples=60, deadline=None)
@given(some=st.lists(texts, max_size=4))
def test_words_are_tokenised_as_in_their_document(tokenizer, family, some):
    """A tokenizer that reads a word by its neighbours could not be given each word once."""
    tokenizer = tokenizer if family == "packaged" else other_family(family)
    some = [text.encode("utf-8", "replace").decode() for text in some]
    docs = [Document(str(i), text) for i, text in enumerate([*some, sample_notes(1)[0].text])]
    found = {window.doc: window for window in make_windows(docs, tokenizer, max_length=99_999)}
    for i, doc in enumerate(docs):
        words = [doc.text[start:end] for start, end in doc_words(doc)]
        assert (i in found) == bool(words)
        if words:
            whole = tokenizer(words, is_split_into_words=True, verbose=False)
            lost = set(range(len(words))) - set(whole.word_ids())
            unknown = [at for word, at in enumerate(found[i].starts) if word in lost]
            ids = [id for at, id in enumerate(found[i].input_ids) if at not in unknown]
            assert ids == whole["input_ids"]


def test_many_words_are_tokenised_in_several_calls(tokenizer, monkeypatch):
    words = [f"{number} mg metoprolol\u200b".split()[number % 3] for number in range(50)]
    once = tokenize_words(words, tokenizer, 14)
    monkeypatch.setattr(windows_module, "_WORDS_A_CALL", 7)
    assert tokenize_words(words, tokenizer, 14) == once


def test_each_document_needs_its_words(tokenizer):
    docs = [Document("a", "no pain"), Document("b", "fever")]
    with pytest.raises(ValueError, match="shorter"):
        make_windows(docs, tokenizer, words=[[(0, 2), (3, 7)]])
