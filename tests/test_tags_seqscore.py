"""Validity, repairs and the mentions of tags against seqscore 0.9, on random and on real tags."""

import random
from collections import Counter
from itertools import product

import pytest
from seqscore.encoding import get_encoding
from seqscore.validation import validate_labels

from clinical_ner.formats import read_conll
from clinical_ner.metrics import seqeval_report
from clinical_ner.tags import (
    convert_tags,
    doc_words,
    invalid_tags,
    repair_tags,
    spans_to_tags,
    tags_to_spans,
)

NAMES = {"IOB1": "IOB", "IOB2": "BIO", "IOBES": "BIOES", "BILOU": "BILOU"}
REPAIRS = [("IOB1", "conlleval"), ("IOB2", "conlleval"), ("IOB2", "discard")]  # all it has


def all_tags(scheme, labels="XY"):
    """Every tag that `scheme` has."""
    letters = {"IOB1": "BI", "IOB2": "BI", "IOBES": "BIES", "BILOU": "BILU"}[scheme]
    return ["O", *(f"{letter}-{label}" for letter in letters for label in labels)]


def sequences(scheme):
    """Every sequence of up to three tags, and random ones of up to twenty."""
    tags, rng = all_tags(scheme), random.Random(scheme)
    short = (list(seq) for length in range(4) for seq in product(tags, repeat=length))
    return [*short, *(rng.choices(tags, k=rng.randint(4, 20)) for _ in range(3000))]


def their_mentions(tags, encoding):
    """Mentions of valid tags as (first word, one past the last, label)."""
    found = encoding.decode_labels(tags) if tags else []
    return [(mention.span.start, mention.span.end, mention.type) for mention in found]


def our_mentions(tags):
    """The same by `tags_to_spans`, over words of one character."""
    spans = tags_to_spans(tags, [(i, i + 1) for i in range(len(tags))])
    return [(span.start, span.end, span.label) for span in spans]


@pytest.mark.parametrize("scheme", NAMES)
def test_the_same_sequences_are_valid(scheme):
    encoding = get_encoding(NAMES[scheme])
    verdicts = Counter()
    for tags in sequences(scheme):
        valid = validate_labels(tags, encoding).is_valid()
        assert (invalid_tags(tags, scheme) == []) == valid, tags
        verdicts[valid] += 1
        if valid:
            assert our_mentions(tags) == their_mentions(tags, encoding), tags
    assert min(verdicts[True], verdicts[False]) > 50


@pytest.mark.parametrize(("scheme", "method"), REPAIRS)
def test_repairs_are_the_same(scheme, method):
    encoding, changed = get_encoding(NAMES[scheme]), 0
    for tags in sequences(scheme):
        theirs = list(encoding.repair_labels(tags, method))
        assert repair_tags(tags, method, scheme) == theirs, tags
        changed += theirs != tags
    assert changed > 1000


@pytest.mark.parametrize("scheme", NAMES)
def test_mentions_are_written_alike(scheme):
    """Repaired tags in IOB2, converted by both to the scheme."""
    source, target = get_encoding("BIO"), get_encoding(NAMES[scheme])
    for tags in map(repair_tags, sequences("IOB2")):
        theirs = target.encode_mentions(source.decode_labels(tags) if tags else [], len(tags))
        assert convert_tags(tags, "IOB2", scheme) == list(theirs), tags


@pytest.mark.parametrize(("mode", "method"), [(None, "conlleval"), ("strict", "discard")])
def test_reports_are_those_of_repaired_tags(mode, method):
    """seqeval's default reading is the repair "conlleval", its strict IOB2 is "discard"."""
    encoding, rng = get_encoding("BIO"), random.Random(mode)
    gold = [encoding.repair_labels(tags, "conlleval") for tags in sequences("IOB2")]
    pred = [rng.choices(all_tags("IOB2"), k=len(tags)) for tags in gold]
    hits, found, support = Counter(), Counter(), Counter()
    for true, tags in zip(gold, pred):
        left = set(their_mentions(true, encoding))
        right = set(their_mentions(encoding.repair_labels(tags, method), encoding))
        for counter, mentions in ((hits, left & right), (found, right), (support, left)):
            counter.update(label for *_, label in mentions)
    report = seqeval_report(gold, pred, mode=mode, scheme=mode and "IOB2")
    for label in "XY":
        assert hits[label] > 100
        assert report[label]["precision"] == hits[label] / found[label]
        assert report[label]["recall"] == hits[label] / support[label]
        assert report[label]["support"] == support[label]


def test_orphans_of_a_real_corpus_are_repaired_alike(data_dir):
    """MedMentions dev has 141 `I-` that continue nothing of their type."""
    path = data_dir / "medmentions" / "conll" / "mm_ner_sts.dev.conll"
    lines = path.read_text(encoding="utf-8").split("\n")
    blocks = "\n".join("" if line.startswith("-DOCSTART-") else line for line in lines)
    rows = [block.split("\n") for block in blocks.split("\n\n") if block.strip()]
    tagged = [[line.split("\t")[-1] for line in row if line] for row in rows]
    encoding, wrong = get_encoding("BIO"), 0
    for tags in tagged:
        errors = validate_labels(tags, encoding).errors
        assert bool(errors) == bool(invalid_tags(tags))
        wrong += len(errors)
        for method in ("conlleval", "discard"):
            assert repair_tags(tags, method) == list(encoding.repair_labels(tags, method))
    assert wrong == 141


def test_tags_of_documents_are_valid_to_seqscore(data_dir):
    docs = read_conll(data_dir / "ncbi_disease" / "iob" / "devel.tsv")
    for doc in docs:
        words = doc_words(doc)
        for scheme, name in NAMES.items():
            assert validate_labels(
                spans_to_tags(doc.spans, words, scheme), get_encoding(name)
            ).is_valid()
