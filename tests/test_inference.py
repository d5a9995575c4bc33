"""Decoding against every sequence there is and against plain Viterbi; any text; bounded memory."""

import copy
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import BertConfig, BertForTokenClassification

from clinical_ner.core import Document
from clinical_ner.encoders import load_tokenizer
from clinical_ner.inference import (
    _cuts,
    _rules,
    allowed_transitions,
    decode_tags,
    half_net,
    word_scores,
)
from clinical_ner.tagger import Tagger, predict, predict_stream
from clinical_ner.windows import make_windows, tag_names

SCHEMES = {
    "IOB2": tag_names("XYZ"),
    "IOB2, another order": ["I-Y", "B-X", "O", "I-X", "B-Y"],
    "a label that never goes on": ["O", "B-X", "B-Y", "I-Y"],
    "IOBES": ["O", *(f"{letter}-{label}" for label in "XY" for letter in "BIES")],
    "BILOU": ["O", *(f"{letter}-{label}" for label in "XY" for letter in "BILU")],
}


def plain_viterbi(scores, tags):
    """The textbook: a word at a time, every tag from every tag."""
    follows, first, last = allowed_transitions(tags)
    cost = np.where(follows, 0.0, -np.inf)
    best = scores[0] + np.where(first, 0.0, -np.inf)
    came_from = []
    for row in scores[1:]:
        reach = best[:, None] + cost
        came_from.append(reach.argmax(0))
        best = reach.max(0) + row
    path = [int((best + np.where(last, 0.0, -np.inf)).argmax())]
    for came in reversed(came_from):
        path.append(int(came[path[-1]]))
    return path[::-1]


def random_scores(rng, words, tags, sharpness):
    """Log-probabilities; with a high `sharpness` most words are surely outside, as in real text."""
    logits = rng.normal(size=(words, len(tags))) * rng.choice([0.3, 1, 4], (words, 1))
    logits[:, tags.index("O")] += sharpness * (rng.random(words) < 0.8)
    logits[:, [tag[0] in "IEL" for tag in tags]] -= sharpness / 4
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("sharpness", [0, 2, 6])
def test_many_texts_at_once_decode_as_plain_viterbi_does(scheme, sharpness):
    tags, rng = SCHEMES[scheme], np.random.default_rng(sharpness)
    for _ in range(40):
        lengths = rng.integers(0, 60, 12)
        texts = [random_scores(rng, int(n), tags, sharpness) for n in lengths]
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        wanted = [tag for text in texts if len(text) for tag in plain_viterbi(text, tags)]
        assert decode_tags(np.concatenate(texts), tags, starts).tolist() == wanted


@pytest.mark.parametrize("scheme", SCHEMES)
def test_no_valid_sequence_is_more_probable(scheme):
    tags, rng = SCHEMES[scheme], np.random.default_rng(1)
    follows, first, last = allowed_transitions(tags)
    valid = [
        path
        for path in product(range(len(tags)), repeat=4)
        if first[path[0]] and last[path[-1]] and all(follows[a, b] for a, b in zip(path, path[1:]))
    ]
    for _ in range(60):
        scores = random_scores(rng, 4, tags, 1)
        totals = scores[range(4), valid].sum(-1)
        assert decode_tags(scores, tags).tolist() == list(valid[int(totals.argmax())])


def test_the_most_probable_sequence_is_valid_where_all_scores_are_equal():
    for tags in SCHEMES.values():
        follows, first, last = allowed_transitions(tags)
        path = decode_tags(np.zeros((50, len(tags))), tags)
        assert first[path[0]] and last[path[-1]] and follows[path[:-1], path[1:]].all()


def test_text_is_cut_nearly_everywhere_outside_of_mentions():
    tags = tag_names("XYZ")
    scores = random_scores(np.random.default_rng(0), 5000, tags, 8)
    is_last = np.arange(5000) == 4999
    cuts = _cuts(scores, _rules(tuple(tags)), is_last)
    assert 0.7 < cuts.mean() < 1
    assert not np.isin(decode_tags(scores, tags)[cuts], _rules(tuple(tags)).goes_on).any()


@pytest.fixture(scope="module")
def tagger(encoder_dir):
    """A random network over a real tokenizer, which finds spans everywhere."""
    torch.manual_seed(0)
    tokenizer, tags = load_tokenizer(encoder_dir, max_length=64), tag_names(["Drug", "Reason"])
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2}
    names = {"id2label": dict(enumerate(tags)), "label2id": {tag: i for i, tag in enumerate(tags)}}
    sizes |= {"vocab_size": len(tokenizer), "num_hidden_layers": 1, "initializer_range": 0.5}
    return Tagger(BertForTokenClassification(BertConfig(**sizes, **names)), tokenizer)


# every code point there is, halves of surrogate pairs among them
characters = st.integers(0, 0x10FFFF).map(chr) | st.integers(0xD7FE, 0xE001).map(chr)
odd = st.sampled_from(
    [*"aB9 .-\n\r\0", "\u200b", "\u200d", "\ufeff", "e\u0301", "👩‍⚕️", "\ud83d", "\udc69"]
)


@settings(max_examples=300, deadline=None)
@given(text=st.lists(characters | odd, max_size=150).map("".join))
def test_any_text_gives_exact_spans_on_whole_words(tagger, text):
    from clinical_ner.tags import doc_words

    doc = tagger(text)
    assert doc.text == text
    words = doc_words(doc)
    starts, ends = {start for start, _ in words}, {end for _, end in words}
    before = 0
    for span in doc.spans:
        assert before <= span.start < span.end <= len(text)
        assert span.start in starts and span.end in ends and text[span.start : span.end].strip()
        before = span.end


def test_half_a_surrogate_pair_moves_no_span(tagger):
    good = "Took aspirin \ufffd 5 mg for pain."
    docs = [Document("a", good), Document("a", good.replace("\ufffd", "\ud800"))]
    whole, half = (predict(tagger, [doc], precision="float32")[0].spans for doc in docs)
    assert whole and half == whole


def test_memory_is_bounded_by_texts_and_not_by_their_number(tagger):
    """Documents are read as they are needed: a few groups ahead of what was taken, no more."""
    read = []

    def docs(size, count):
        for i in range(count):
            read.append(i)
            yield Document(str(i), "no pain " * size)

    stream = predict_stream(tagger, docs(1, 2000))
    assert next(stream).id == "0" and len(read) <= 3 * 256
    assert [doc.id for doc in stream] == [str(i) for i in range(1, 2000)]
    read.clear()
    stream = predict_stream(tagger, docs(1000, 600), token_budget=100_000)
    next(stream)
    assert len(read) <= 3 * (1_000_000 // 8000 + 1)
    stream.close()


def test_an_error_in_the_documents_arrives(tagger):
    def docs():
        yield Document("a", "No pain.")
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        list(predict_stream(tagger, docs()))


def test_bfloat16_reads_with_copies_of_the_weights(tagger):
    docs = [Document(str(i), "Started on metoprolol 25 mg PO BID. " * i) for i in range(1, 9)]
    before = {name: weight.clone() for name, weight in tagger.net.state_dict().items()}
    windows = make_windows(docs, tagger.tokenizer)
    wide, half = (
        word_scores(half_net(tagger.net, precision), windows, docs, precision=precision)
        for precision in ("float32", "bfloat16")
    )
    gap = max(float(np.abs(np.exp(a) - np.exp(b)).max()) for a, b in zip(wide, half))
    assert 0 < gap < 0.05
    after = tagger.net.state_dict()
    assert all(torch.equal(after[name], weight) for name, weight in before.items())
    assert len(predict(tagger, docs, precision="bfloat16", progress=False)) == len(docs)


def test_weights_that_are_elsewhere_stay_there(tagger):
    away = copy.deepcopy(tagger.net).to("meta")
    assert half_net(away, "bfloat16") is away
