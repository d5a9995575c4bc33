"""Spans scored against oracles: brute force, and the official n2c2 outputs."""

import json
import random
import re
import tempfile
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinical_ner.core import Document, Span, replace
from clinical_ner.errors import confusion, find_mistakes
from clinical_ner.formats import read_brat
from clinical_ner.metrics import (
    dictionary_baseline,
    encoding_ceiling,
    evaluate,
    n2c2_scores,
    pair_documents,
    semeval_scores,
    seqeval_scores,
)

TEXT = "x" * 40


def spans(labels=("Drug", "ADE")):
    """Lists of spans: nested, overlapping, duplicate, some of them discontinuous."""
    whole = st.builds(
        lambda start, size, label: Span(start, start + size, label),
        st.integers(0, 30),
        st.integers(1, 10),
        st.sampled_from(labels),
    )
    parted = st.builds(
        lambda start, a, gap, b, label: Span(
            start,
            start + a + gap + b,
            label,
            fragments=((start, start + a), (start + a + gap, start + a + gap + b)),
        ),
        *(st.integers(0, 20), st.integers(1, 4), st.integers(1, 4), st.integers(1, 4)),
        st.sampled_from(labels),
    )
    return st.lists(st.one_of(whole, whole, whole, parted), max_size=6)


def characters(span):
    return {i for a, b in (span.fragments or ((span.start, span.end),)) for i in range(a, b)}


def most_pairs(gold, pred, match):
    """The largest number of one-to-one matches, by trying every assignment."""
    few, many = sorted([list(gold), list(pred)], key=len)
    return max(
        sum(match(a, b) for a, b in zip(few, chosen)) for chosen in permutations(many, len(few))
    )


def share_a_character(a, b):
    return a.label == b.label and bool(characters(a) & characters(b))


@settings(deadline=None, max_examples=300)
@given(spans(), spans())
def test_matching_is_the_largest_there_is(gold, pred):
    scores = evaluate([Document("d", TEXT, gold)], [Document("d", TEXT, pred)])
    for mode, match in (("strict", lambda a, b: a == b), ("lenient", share_a_character)):
        best = most_pairs(gold, pred, match)
        expected = (best / len(pred) if pred else 0.0, best / len(gold) if gold else 0.0)
        assert scores["micro", f"{mode}_precision"] == pytest.approx(expected[0])
        assert scores["micro", f"{mode}_recall"] == pytest.approx(expected[1])


@settings(deadline=None)
@given(spans(), spans(), st.randoms())
def test_order_makes_no_difference(gold, pred, rng):
    before = evaluate([Document("d", TEXT, gold)], [Document("d", TEXT, pred)])
    rng.shuffle(gold)
    rng.shuffle(pred)
    assert evaluate([Document("d", TEXT, gold)], [Document("d", TEXT, pred)]) == before


@settings(deadline=None)
@given(st.lists(spans(), max_size=4))
def test_gold_against_itself_is_perfect_by_evaluate(many):
    docs = [Document(str(i), TEXT, each) for i, each in enumerate(many)]
    scores = evaluate(docs, docs[::-1])
    perfect = 1.0 if any(many) else 0.0
    assert scores["micro", "strict_f1"] == scores["micro", "lenient_f1"] == perfect


def test_a_long_chain_of_overlaps_is_matched_in_full():
    """Each span overlaps two of the other side, so that one path moves thousands of matches."""
    n = 3000
    text = "x" * (2 * n + 4)
    gold = [Span(2 * i, 2 * i + 3, "Drug") for i in range(n)]
    pred = [Span(2 * i + 2, 2 * i + 5, "Drug") for i in range(n - 1)] + [Span(0, 1, "Drug")]
    scores = evaluate([Document("d", text, gold)], [Document("d", text, pred)])
    assert scores["micro", "lenient_f1"] == 1.0


def test_types_of_one_side_and_empty_corpora_are_defined():
    empty, full = Document("d", TEXT), Document("d", TEXT, [Span(0, 3, "Drug")])
    for score in (evaluate, n2c2_scores, seqeval_scores):
        for gold, pred in (([], []), ([empty], [empty]), ([full], [empty]), ([empty], [full])):
            for row in score(gold, pred).rows.values():
                assert all(
                    value == 0 for name, value in row.items() if name[-2:] in ("on", "ll", "f1")
                )


def test_errors_name_documents_and_hold_no_text():
    secret = Document("note-7", "Mr Smith", [Span(3, 8, "Name")])
    other = replace(secret, text="Mr Smyth")
    many = [Document(f"n{i}", "") for i in range(9)]
    cases = [
        (evaluate, [secret], [other], "different texts in 'note-7'"),
        (n2c2_scores, [secret], [other], "different texts in 'note-7'"),
        (seqeval_scores, [secret], [], "pred lacks 1 of the documents of gold: 'note-7'"),
        (evaluate, [], [secret], "gold lacks 1 of the documents of pred: 'note-7'"),
        (evaluate, many, [], "'n4' and 4 more"),
        (evaluate, [secret, secret], [secret], "gold holds 'note-7' more than once"),
    ]
    for score, gold, pred, message in cases:
        with pytest.raises(ValueError, match=re.escape(message)) as caught:
            score(gold, pred)
        assert "Sm" not in str(caught.value)
    assert pair_documents([secret], [secret]) == [(secret, secret)]


def test_rows_can_be_grouped_otherwise():
    gold = [Document("d", TEXT, [Span(0, 3, "Drug"), Span(5, 20, "Drug")])]
    pred = [Document("d", TEXT, [Span(0, 3, "Drug")])]
    scores = evaluate(
        gold, pred, by=lambda doc, span: "long" if span.end - span.start > 5 else "short"
    )
    assert scores["short", "strict_f1"] == 1.0 and scores["long", "strict_recall"] == 0.0


# The official script of n2c2 2018 track 2


def parse_official(path):
    """Rows of the concept table that the official script printed: name to six figures."""
    concepts = Path(path).read_text().split("RELATIONS")[0]
    rows = re.findall(r"^ *(\w+|Overall \(\w+\)) +((?:\d\.\d{4} *){6})$", concepts, re.MULTILINE)
    names = {"Ade": "ADE", "Overall (micro)": "micro", "Overall (macro)": "macro"}
    return {names.get(name, name): figures.split() for name, figures in rows}


def read_pair(folder, gold, pred):
    """Gold and found documents; where a folder has no texts, over blank ones."""
    folder = folder / "n2c2_format_derived"
    if gold == "gold":
        return read_brat(folder / gold), read_brat(folder / pred, texts=folder / gold)
    sides = []
    for side in (gold, pred):
        with tempfile.TemporaryDirectory() as texts:
            for path in (folder / side).glob("*.ann"):
                (Path(texts) / f"{path.stem}.txt").write_text(" " * 300)
            sides.append(read_brat(folder / side, texts=texts, mismatch="warn"))
    return sides


@pytest.mark.parametrize(
    ("gold", "pred", "output"),
    [
        ("gold", "gold", "official_track2_output.gold_vs_gold.txt"),
        ("gold", "system", "official_track2_output.gold_vs_system.txt"),
        ("toy/gold", "toy/sys", "toy/official_output.txt"),
    ],
)
def test_n2c2_scores_equal_the_official_output(data_dir, gold, pred, output):
    official = parse_official(data_dir / "n2c2_format_derived" / output)
    assert len(official) == 11
    scores = n2c2_scores(*read_pair(data_dir, gold, pred))
    columns = scores.columns[:6]
    ours = {name: [f"{row[c]:.4f}" for c in columns] for name, row in scores.rows.items()}
    assert ours == official


def test_the_table_of_the_chapter_is_true(data_dir):
    """How far the scores are apart on a real pair, as the notebook says it."""
    notebook = json.loads((Path(__file__).parents[1] / "nbs/09_metrics.ipynb").read_text())
    text = "\n".join("".join(cell["source"]) for cell in notebook["cells"])
    printed = re.findall(r"^\| `(\w+)`(?: (\w+))? \| (\d\.\d{4}) \|", text, re.MULTILINE)
    assert len(printed) == 8
    pair = read_pair(data_dir, "gold", "system")
    for name, mode, number in printed:
        if name == "semeval_scores":
            value = semeval_scores(*pair, mode=mode)["micro", "f1"]
        else:
            row = {"evaluate": evaluate, "n2c2_scores": n2c2_scores}.get(name, seqeval_scores)(
                *pair
            )
            value = row["micro", f"{mode}_f1" if mode else "f1"]
        assert f"{value:.4f}" == number, (name, mode)


def test_n2c2_names_what_it_leaves_out(data_dir):
    caption = n2c2_scores(*read_pair(data_dir, "toy/gold", "toy/sys")).caption
    assert "left out, in gold only: 'd3'" in caption
    assert "1 strict, 1 lenient" in caption  # the second vancomycin


# Tags, seqeval, dictionary


def test_seqeval_scores_are_those_of_seqeval():
    from seqeval.metrics import classification_report

    rng = random.Random(0)
    words = [(2 * i, 2 * i + 1) for i in range(20)]
    docs = ([], [])
    tags = ([], [])
    for n in range(200):
        for side in (0, 1):
            cuts = sorted(rng.sample(range(20), 6))
            found = [
                Span(words[a][0], words[b][1], rng.choice(("Drug", "ADE", "Route")))
                for a, b in zip(cuts[::2], cuts[1::2])
            ]
            docs[side].append(Document(str(n), "x " * 20, found))
            row = ["O"] * 20
            for span in found:
                first, last = span.start // 2, (span.end - 1) // 2
                row[first : last + 1] = ["B-" + span.label] + ["I-" + span.label] * (last - first)
            tags[side].append(row)
    report = classification_report(*tags, output_dict=True)
    scores = seqeval_scores(*docs)
    for name in ("Drug", "ADE", "Route", "micro", "macro", "weighted"):
        theirs = report.get(name) or report[name + " avg"]
        assert scores[name, "f1"] == theirs["f1-score"]
        assert scores[name, "support"] == theirs["support"]


def test_ceiling_of_flat_text_is_one_and_losses_are_named():
    doc = Document("d", "left and right arm pain", [Span(0, 4, "A"), Span(9, 18, "A")])
    assert encoding_ceiling([doc]).f1 == 1.0 and not encoding_ceiling([doc]).losses
    apart = Span(0, 18, "B", fragments=((0, 4), (15, 18)))
    lossy = replace(doc, spans=[Span(0, 4, "A"), Span(0, 4, "A"), apart, Span(9, 12, "A")])
    ceiling = encoding_ceiling([lossy])
    assert set(ceiling.losses) >= {"duplicate", "boundary inside a word"}
    assert ceiling.f1 == ceiling.scores["micro", "strict_f1"] < 1.0


def test_dictionary_takes_the_longest_match_and_the_commonest_type():
    train = [
        Document("1", "chest pain", [Span(0, 10, "Reason"), Span(6, 10, "ADE")]),
        Document("2", "Chest  Pain", [Span(0, 11, "ADE")]),
        Document("3", "CHEST\nPAIN", [Span(0, 10, "ADE")]),
        Document("4", "25mg", [Span(0, 4, "Strength")]),
    ]
    text = "chest pain, pain; painful 25mg 25 mg"
    found = dictionary_baseline(train, [Document("x", text, [Span(0, 1, "ADE")])])[0]
    got = [(text[s.start : s.end], s.label) for s in found.spans]
    assert got[:3] == [("chest pain", "ADE"), ("pain", "ADE"), ("25mg", "Strength")]
    assert all(s.start != text.index("painful") for s in found.spans)


def test_dictionary_reproduces_flat_training_documents():
    rng = random.Random(1)
    names = ["alpha", "beta", "gamma delta", "delta"]
    label = {name: "T" + str(i) for i, name in enumerate(names)}
    docs = []
    for n in range(50):
        text, found = "", []
        for name in rng.choices(names, k=6):
            text += " and "
            found.append(Span(len(text), len(text) + len(name), label[name]))
            text += name
        docs.append(Document(str(n), text, found))
    assert evaluate(docs, dictionary_baseline(docs, docs))["micro", "strict_f1"] == 1.0


def test_no_label_runs_or_turns_text_around_in_a_table():
    label = '<script>x</script>"><img src=x onerror=x></style>\u202e\u2066'
    docs = [Document("d", "one two", [Span(0, 3, label), Span(4, 7, "Drug")])]
    wrong = [Document("d", "one two", [Span(0, 3, "Drug")])]
    for table in (evaluate(docs, wrong), confusion(find_mistakes(docs, wrong))):
        html = table._repr_html_()
        assert "&lt;script&gt;" in html and "[U+202E][U+2066]" in html
        assert not re.search(r"<(script|img|/style)", html) and not set("\u202e\u2066") & set(html)
