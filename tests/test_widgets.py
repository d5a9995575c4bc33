"""The pages without a browser: what is chosen, what is shown, what is saved."""

import json
import random
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from clinical_ner.core import Document, Span, read_jsonl
from clinical_ner.errors import KINDS, Suspect, confusion, find_mistakes
from clinical_ner.formats import read_brat
from clinical_ner.metrics import evaluate, keep_confident, length_of, seen_in
from clinical_ner.samples import sample_notes
from clinical_ner.widgets import (
    _Layer,
    _lower,
    _note_html,
    explore,
    install_strip_filter,
    review,
    strip_notebook,
)

NASTY = '<script>x</script>"><img src=x onerror=x></style>\u202e&amp;\r\n😀 end'
BAD_LABEL = '"><img src=x onerror=x>'


def random_docs(seed, count=15):
    """Gold and found documents whose spans nest, cross, repeat and have fragments."""
    rng = random.Random(seed)
    pairs = []
    for i in range(count):
        text = "".join(rng.choice("ab \n😀É") for _ in range(60))
        sides = []
        for scored in (False, True):
            spans = []
            for _ in range(rng.randrange(9)):
                start = rng.randrange(50)
                end = start + rng.randrange(1, 9)
                parts = (
                    ((start, start + 1), (end, end + 1))
                    if rng.random() < 0.1 and end > start + 1
                    else ()
                )
                score = rng.choice([0.1, 0.25, 0.5, 0.5, 0.9, 1.0]) if scored else 1.0
                spans.append(Span(start, end + bool(parts), rng.choice("XYZ"), score, parts))
            sides.append(Document(f"d{i}", text, spans))
        pairs.append(sides)
    return [gold for gold, _ in pairs], [pred for _, pred in pairs]


def valid_items(explorer):
    """The mistakes at the threshold that is chosen, correct ones too."""
    c, t = explorer.cases.columns, explorer.choice.threshold / 100
    valid = (c["low"] < t) & (c["high"] >= t) if t else c["low"] < 0
    return [explorer.cases.items[i] for i in np.flatnonzero(valid)]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("threshold", [0, 10, 30, 50, 51, 100])
def test_every_threshold_gives_what_find_mistakes_gives(seed, threshold):
    gold, pred = random_docs(seed)
    explorer = explore(gold, pred)
    explorer.act("threshold", threshold)
    wanted = find_mistakes(gold, keep_confident(pred, threshold / 100))
    # spans that are equal but for their score may change places
    assert sorted(map(repr_item, valid_items(explorer))) == sorted(map(repr_item, wanted))


def repr_item(item):
    return repr(
        (item.doc_id, item.kind, item.detail, item.gold, [replace(s, score=1.0) for s in item.pred])
    )


@pytest.mark.parametrize("threshold", [0, 25, 60, 100])
def test_scores_and_matrix_are_those_of_the_other_chapters(threshold):
    gold, pred = random_docs(3)
    explorer = explore(gold, pred)
    explorer.act("threshold", str(threshold))
    slots, kept = explorer.slots(), keep_confident(pred, threshold / 100)
    table = evaluate(gold, kept)
    for name in (
        "strict_precision",
        "strict_recall",
        "strict_f1",
        "lenient_precision",
        "lenient_f1",
    ):
        assert f"<td>{table['micro', name]:.4f}</td>" in slots["scores"]
    for label in "XYZ":
        if f">{label}</b>" in slots["types"]:
            row = re.search(rf">{label}</b>.*?F1 ([\d.]+)<", slots["types"])
            assert row[1] == f"{table[label, 'strict_f1']:.3f}"
    shown = {tuple(json.loads(v.replace("&quot;", '"'))): int(n) for v, n in
             re.findall(r'data-do="cell" data-value="([^"]+)"[^>]*>(\d+)<', slots["matrix"])}  # fmt: skip
    wanted = confusion(find_mistakes(gold, kept)).rows
    names = {"missed": "missed", "spurious": "spurious"}
    for gold_name, row in wanted.items():
        for found_name, count in row.items():
            assert shown.get((names.get(gold_name, gold_name), found_name), 0) == count


def sample_pair(count=12):
    """Sample notes, and what a faulty system finds in them."""
    rng, gold = random.Random(0), sample_notes(count)
    pred = []
    for doc in gold:
        spans = [s for s in doc.spans if rng.random() > 0.1]
        spans = [
            replace(s, label="ADE") if s.label == "Reason" and rng.random() < 0.5 else s
            for s in spans
        ]
        pred.append(replace(doc, spans=[replace(s, score=rng.random()) for s in spans]))
    return gold, pred


def test_a_click_on_a_cell_filters_the_list_and_again_shows_all():
    gold, pred = sample_pair()
    explorer = explore(gold, pred)
    everything = len(explorer.numbers())
    explorer.act("cell", '["Reason", "ADE"]')
    chosen = [explorer.cases.items[i] for i in explorer.numbers()]
    assert len(chosen) == confusion(find_mistakes(gold, pred))["Reason", "ADE"] > 0
    assert {(item.gold[0].label, item.pred[0].label) for item in chosen} == {("Reason", "ADE")}
    explorer.act("cell", '["Reason", "ADE"]')
    assert len(explorer.numbers()) == everything
    explorer.act("cell", '["Drug", "Drug"]')
    assert {explorer.cases.items[i].kind for i in explorer.numbers()} == {"correct"}
    explorer.act("cell", '["Drug", "missed"]')
    assert {explorer.cases.items[i].kind for i in explorer.numbers()} == {"missed"}


def test_kinds_types_lengths_and_training_filter():
    gold, pred = sample_pair()
    train = sample_notes(5, seed=3)
    explorer = explore(gold, pred, train=train)
    explorer.act("kind", "missed")
    explorer.act("label", "Drug")
    explorer.act("seen", "unseen")
    explorer.act("length", "1 word")
    items = [explorer.cases.items[i] for i in explorer.numbers()]
    docs, seen = {doc.id: doc for doc in gold}, seen_in(train)
    wanted = [
        item
        for item in find_mistakes(gold, pred)
        if item.kind == "missed"
        and item.gold[0].label == "Drug"
        and seen(docs[item.doc_id], item.gold[0]) == "unseen"
        and length_of(docs[item.doc_id], item.gold[0]) == "1 word"
    ]
    assert items == wanted and items
    assert explorer.act("reset", "") and explorer.choice.kind == ""
    explorer.act("kind", "correct")
    assert len(explorer.numbers()) == find_mistakes(gold, pred).counts()["correct", "cases"]


def test_search_finds_words_of_the_context_without_case():
    text = "İstanbul. " + "x" * 60 + " ASPIRIN daily " + "y" * 60
    at = text.index("ASPIRIN")
    gold = [Document("a", text, [Span(at, at + 7, "Drug")]), Document("b", "aspirin", [])]
    explorer = explore(gold, [replace(doc, spans=[]) for doc in gold])
    for words, count in (("aspirin", 1), ("DAILY", 1), ("stanbul", 0), ("", 1), ("none", 0)):
        explorer.act("search", words)
        assert len(explorer.numbers()) == count, words
    assert len(_lower("İx")) == 2


def test_the_list_has_pages_and_the_text_the_mistake_in_view():
    gold, pred = sample_pair()
    explorer = explore(gold, [replace(doc, spans=[]) for doc in gold])
    assert "1 to 50 of" in explorer.slots()["list"]
    explorer.act("page", "1")
    assert "51 to 100 of" in explorer.slots()["list"]
    number = int(explorer.numbers()[70])
    explorer.act("item", str(number))
    item = explorer.cases.items[number]
    text = explorer.slots()["text"]
    assert f'data-s="{item.start}" class="cner-here"' in text and item.doc_id in text


def test_a_system_without_scores_has_no_slider_and_no_documents_are_fine():
    gold, _ = sample_pair(2)
    assert "range" not in explore(gold, gold).page()
    empty = explore([], [])
    assert "no such cases" in empty.slots()["list"] and "0 documents" in empty.line()


def test_documents_that_do_not_belong_together_are_an_error():
    with pytest.raises(ValueError, match="pred lacks 1"):
        explore(sample_notes(2), sample_notes(1))


# ---- what is kept


def test_the_widget_keeps_no_word_of_a_note_unless_asked(tmp_path):
    gold, pred = sample_pair(2)
    word = gold[0].text.split()[0]
    for make in (
        lambda **options: explore(gold, pred, **options),
        lambda **options: review(pred, save_to=tmp_path, **options),
    ):
        shown = make()
        sent = []
        shown.pane.send = sent.append
        shown.pane.receive({"action": "ready"})
        assert word in json.dumps(sent)
        state = json.dumps([shown.pane.get_state(), shown._repr_mimebundle_()], default=str)
        assert word not in state and gold[0].id not in state
        assert word in json.dumps(make(include_text=True).pane.get_state(), default=str)


def test_only_what_changed_is_sent():
    gold, pred = sample_pair(3)
    explorer = explore(gold, pred)
    sent = []
    explorer.pane.send = sent.append
    explorer.pane.receive({"action": "ready"})
    assert sent[0]["page"] and len(sent[0]["slots"]) == 6
    number = explorer.numbers()[1]
    explorer.pane.receive({"action": "item", "value": str(number)})
    assert sent[1]["page"] == "" and set(sent[1]["slots"]) == {"list", "text"}
    explorer.pane.receive({"action": "unheard of", "value": None})
    explorer.pane.receive({"action": "reset", "value": ""})
    assert sent[3]["page"]


# ---- text as HTML


@pytest.mark.parametrize("seed", range(20))
def test_stretches_are_the_text_and_know_their_place(seed):
    gold, pred = random_docs(seed, 1)
    layers = [_Layer(s, name=s.label) for s in gold[0].spans + pred[0].spans]
    shown = _note_html(gold[0].text, layers)
    parts = re.findall(r'<span data-s="(\d+)"[^>]*>([^<]*)</span>', shown)
    assert "".join(part for _, part in parts) == gold[0].text
    at = 0
    for start, part in parts:
        assert int(start) == at
        at += len(part)


HIDDEN_TEXT = "\ufeffab\u202ecd\u200b\r\n\u2066 e\U000e0041\x07"


def test_hidden_characters_are_shown_by_number_and_keep_their_place():
    shown = _note_html(HIDDEN_TEXT, [_Layer(Span(1, 6, "\u202eX"), name="\u202eX")])
    parts = re.findall(r'data-s="(\d+)"([^>]*)>([^<]*)', shown)
    read = [(int(start), text) for start, _, text in parts if text]
    assert read == [
        (0, "[U+FEFF]"), (1, "ab"), (3, "[U+202E]"), (4, "cd"), (6, "[U+200B]"), (7, "&#13;\n"),
        (9, "[U+2066]"), (10, " e"), (12, "[U+E0041]"), (13, "[U+0007]"),
    ]  # fmt: skip
    assert all(("cner-hidden" in more) == text.startswith("[U+") for _, more, text in parts if text)
    assert 'data-l="[U+202E]X"' in shown and not set(HIDDEN_TEXT) & set(
        "".join(shown.split())
    ) - set("abcde")


def test_no_hidden_character_reaches_the_pages(tmp_path):
    doc = Document(
        "i\u202ed", HIDDEN_TEXT, [Span(1, 6, "\u202eX", 0.4), Span(0, 2, "Y\u2066", 0.5)]
    )
    explorer = explore([doc], [replace(doc, spans=[Span(1, 5, "\u202eX", 0.4)])], train=[doc])
    work = review([doc], save_to=tmp_path)
    for page in (explorer, work):
        html = re.sub(r'data-value="[^"]*"', "", page.static().html)
        assert "[U+202E]" in html and not set("\u202e\u2066\u200b\ufeff\x07") & set(html)
    work.act("pick", "0 1-6 \u202eX")
    work.act("accept", "")
    assert Span(1, 6, "\u202eX") in work.documents(undecided="keep")[0].spans


def test_a_name_stands_before_the_blank_that_ends_a_mention():
    shown = _note_html("pain  today", [_Layer(Span(0, 6, "Reason"), name="Reason")])
    [(start, text)] = re.findall(r'data-s="(\d+)" data-l="Reason"[^>]*>([^<]*)<', shown)
    assert (start, text) == ("0", "pain")
    blank = _note_html("a  b", [_Layer(Span(1, 3, "Reason"), name="Reason")])
    assert re.search(r'data-s="1" data-l="Reason"[^>]*>  <', blank)


def test_gaps_have_a_line_and_names_come_from_inside_out():
    parts = ((0, 1), (4, 5), (8, 9))
    shown = _note_html("a b c d e", [
        _Layer(Span(0, 9, "X", fragments=parts), name="outer"), _Layer(Span(8, 9, "Y"), name="inner"),
    ])  # fmt: skip
    styles = dict(re.findall(r'data-s="(\d)"[^>]*style="([^"]*)"', shown))
    assert sorted(styles) == ["0", "1", "4", "5", "8"]
    for place in "15":
        assert "100% 1px no-repeat" in styles[place] and "26" not in styles[place].split(",")[-1]
    assert 'data-l="inner · outer"' in shown


def test_markup_in_texts_and_labels_is_text():
    doc = Document("<i>id</i>", NASTY, [Span(0, 8, BAD_LABEL), Span(3, 20, BAD_LABEL)])
    found = replace(doc, spans=[Span(1, 8, BAD_LABEL, 0.5)])
    explorer = explore([doc], [found], train=[doc])
    pages = [explorer.page(), *explorer.slots().values()]
    for page in pages:
        assert "<script" not in page and "<img" not in page and "<i>id" not in page
        assert "</style" not in page


def test_markup_in_a_review_is_text(tmp_path):
    doc = Document("<i>id</i>", NASTY, [Span(0, 8, BAD_LABEL, 0.4)])
    work = review([doc], save_to=tmp_path)
    work.act("select", [0, 20])
    for page in (work.page(), *work.slots().values()):
        assert "<script" not in page and "<img" not in page and "<i>id" not in page
        assert "</style" not in page


# ---- review


def two_docs():
    """Two short notes with found spans of different scores."""
    text = "Aspirin 81 mg daily for chest pain. Lisinopril stopped."
    first = Document("a", text, [Span(0, 7, "Drug", 0.9), Span(8, 13, "Dosage", 0.3)])
    return [first, Document("b", "No rash 😀 after metformin.", [Span(3, 7, "ADE", 0.5)])]


def test_the_least_certain_come_first_and_decisions_move_on(tmp_path):
    work = review(two_docs(), save_to=tmp_path)
    order = []
    for _ in range(3):
        order.append(work.entry().key)
        work.act("key", "a")
    assert order == ["8-13 Dosage", "3-7 ADE", "0-7 Drug"]
    assert work.progress() == "3 of 3 decided, 2 of 2 documents done"
    assert [len(doc.spans) for doc in work.documents()] == [2, 1]
    assert all(span.score == 1.0 for doc in work.documents() for span in doc.spans)


LABELS = ["Drug", "Dosage", "Strength", "ADE"]


def do_everything(work):
    """Relabel, reject, move, bound, add, undo: nine lines in the file."""
    work.act("label", "Strength")  # 8-13 Dosage
    work.act("key", "n")
    work.act("key", "x")  # 3-7 ADE
    work.act("pick", "0 0-7 Drug")
    work.act("key", "}")  # Aspirin 81
    work.act("select", [0, 8])  # "Aspirin " without its space
    work.act("key", "b")
    work.act("select", [24, 34])
    work.act("label", "ADE")  # chest pain
    work.act("select", [36, 46])
    work.act("label", "Drug")  # Lisinopril
    work.act("key", "u")
    work.act("pick", "1 3-7 ADE")
    work.act("select", [16, 25])  # code points, beyond an emoji
    work.act("label", "Drug")  # metformin
    return {
        "a": [Span(0, 7, "Drug"), Span(8, 13, "Strength"), Span(24, 34, "ADE")],
        "b": [Span(16, 25, "Drug")],
    }


def test_every_way_to_decide_survives_a_restart(tmp_path):
    docs = two_docs()
    wanted = do_everything(review(docs, save_to=tmp_path, labels=LABELS))
    again = review(docs, save_to=tmp_path)
    assert {doc.id: list(doc.spans) for doc in again.documents()} == wanted
    lines = (tmp_path / "decisions.jsonl").read_text().splitlines()
    actions = [json.loads(line)["action"] for line in lines]
    assert actions == ["relabel", "reject", "bounds", "bounds", "add", "add", "undo", "add"]
    assert "Aspirin" not in "".join(lines) and "metformin" not in "".join(lines)


def test_the_result_is_written_as_brat_and_json_lines(tmp_path):
    docs = two_docs()
    work = review(docs, save_to=tmp_path / "work", labels=LABELS)
    wanted = do_everything(work)
    work.act("export", "brat")
    assert "2 documents in brat" in work.slots()["state"]
    ann = (tmp_path / "work" / "brat" / "b.ann").read_text(encoding="utf-8")
    assert ann == "T1\tDrug 16 25\tmetformin\n"
    read = read_brat(tmp_path / "work" / "brat")
    assert {doc.id: sorted(doc.spans) for doc in read} == wanted
    work.act("export", "jsonl")
    read = read_jsonl(tmp_path / "work" / "documents.jsonl")
    assert {doc.id: sorted(doc.spans) for doc in read} == wanted


def test_open_documents_are_left_out_and_said(tmp_path, capsys):
    work = review(two_docs(), save_to=tmp_path)
    work.act("pick", "1 3-7 ADE")
    work.act("key", "a")
    assert [doc.id for doc in work.documents()] == ["b"]
    assert "left out 1 documents with open entries" in capsys.readouterr().out
    assert len(work.documents(undecided="keep")) == 2
    with pytest.raises(ValueError, match="'leave out' or 'keep'"):
        work.documents(undecided="drop")


def test_undo_goes_back_step_by_step_to_the_start(tmp_path):
    docs = two_docs()
    work = review(docs, save_to=tmp_path, labels=LABELS)
    do_everything(work)
    for _ in range(9):
        work.act("key", "u")
    assert "nothing to undo" in work.slots()["state"]
    assert [list(doc.spans) for doc in work.documents(undecided="keep")] == [
        sorted(doc.spans) for doc in docs
    ]


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_a_half_written_last_line_is_no_decision(tmp_path, cut):
    docs = two_docs()
    work = review(docs, save_to=tmp_path)
    work.act("key", "a")
    work.act("key", "a")
    path = tmp_path / "decisions.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    again = review(docs, save_to=tmp_path)
    assert again.progress().startswith("1 of 3")
    again.act("key", "x")
    assert review(docs, save_to=tmp_path).progress().startswith("2 of 3")
    assert len(path.read_bytes().splitlines()) == 2


def test_a_second_kernel_is_told_instead_of_losing_work(tmp_path):
    docs = two_docs()
    first, second = (review(docs, save_to=tmp_path) for _ in range(2))
    first.act("key", "a")
    second.act("key", "x")
    assert "another kernel has written" in second.slots()["state"]
    assert second.progress().startswith("0 of 3")
    assert review(docs, save_to=tmp_path).progress().startswith("1 of 3")


def test_a_full_disk_is_told_and_loses_nothing(tmp_path, monkeypatch):
    work = review(two_docs(), save_to=tmp_path)
    work.act("key", "a")

    def full(number):
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("clinical_ner.widgets.os.fsync", full)
        work.act("key", "a")
    assert "No space left" in work.slots()["state"] and work.progress().startswith("1 of 3")
    work.act("key", "a")
    assert review(two_docs(), save_to=tmp_path).progress().startswith("2 of 3")


@pytest.mark.parametrize("line", ["{}", "[]", "nonsense", '{"action": "accept"}'])
def test_a_broken_line_is_an_error_that_names_it(tmp_path, line):
    docs = two_docs()
    review(docs, save_to=tmp_path).act("key", "a")
    path = tmp_path / "decisions.jsonl"
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(ValueError, match="line 2: not a decision"):
        review(docs, save_to=tmp_path)


def test_another_text_is_an_error(tmp_path):
    docs = two_docs()
    review(docs, save_to=tmp_path).act("key", "a")
    docs[0] = replace(docs[0], text=docs[0].text + " ")
    with pytest.raises(ValueError, match="'a' has another text"):
        review(docs, save_to=tmp_path)


def test_a_decision_outlives_new_predictions(tmp_path):
    docs = two_docs()
    work = review(docs, save_to=tmp_path, labels=LABELS)
    work.act("label", "Strength")
    new = [replace(doc, spans=[]) for doc in docs]
    again = review(new, save_to=tmp_path)
    assert again.work.spans(0) == [Span(8, 13, "Strength")]
    assert review(docs[1:], save_to=tmp_path).progress().startswith("0 of 1")


def test_equal_spans_are_entries_of_their_own(tmp_path):
    doc = Document("a", "aspirin", [Span(0, 7, "Drug"), Span(0, 7, "Drug")])
    work = review([doc], save_to=tmp_path, order="document")
    work.act("key", "x")
    assert work.work.spans(0) == [Span(0, 7, "Drug")]


def test_fragments_and_concepts_come_back(tmp_path):
    span = Span(0, 9, "Site", 0.5, ((0, 2), (6, 9)), "C1")
    doc = Document("a", "left arm leg", [span])
    review([doc], save_to=tmp_path).act("key", "a")
    [read] = review([doc], save_to=tmp_path).documents()[0].spans
    assert read == span and read.concept == "C1" and read.fragments == span.fragments


def test_proposals_are_taken_or_gold_is_kept(tmp_path):
    doc = Document(
        "a", "severe chest pain and aspirin", [Span(7, 12, "Site"), Span(13, 17, "Site")]
    )
    suspects = [
        Suspect("a", "merged", doc.spans, (Span(7, 17, "Reason"),), 3.0, 5, 0),
        Suspect("a", "spurious", (), (Span(22, 29, "Drug"),), 2.0, 5, 0),
    ]
    work = review([doc], save_to=tmp_path, order="suspicious", suspects=suspects)
    assert "perhaps: 7-17 Reason" in work.slots()["about"]
    work.act("key", "t")
    assert work.work.spans(0) == [Span(7, 17, "Reason")]
    assert work.entry().key == "missing 22-29 Drug"
    work.act("key", "a")
    again = review([doc], save_to=tmp_path, order="suspicious", suspects=suspects)
    assert again.work.spans(0) == [Span(7, 17, "Reason"), Span(22, 29, "Drug")]
    assert len(again.documents()) == 1
    again.act("key", "u")
    again.act("key", "x")
    assert again.work.spans(0) == [Span(7, 17, "Reason")]


def test_wrong_orders_and_ids_are_errors(tmp_path):
    with pytest.raises(ValueError, match="unknown order 'random'"):
        review([], save_to=tmp_path, order="random")
    with pytest.raises(ValueError, match="same id"):
        review([Document("a", "x"), Document("a", "x")], save_to=tmp_path)
    assert review([], save_to=tmp_path).slots() == {"state": "no documents"}


def test_messages_that_make_no_sense_change_nothing(tmp_path):
    work = review(two_docs(), save_to=tmp_path)
    before = work.progress(), work.current
    for action, value in (
        ("pick", "9 nothing"),
        ("pick", "0 nothing"),
        ("label", "no such type"),
        ("key", "9"),
        ("key", "b"),
        ("key", "t"),
        ("select", [5, 5]),
        ("select", [-4, 0]),
        ("__init__", ""),
    ):
        work.act(action, value)
    assert (work.progress(), work.current) == before
    assert not (tmp_path / "decisions.jsonl").exists()


# ---- strip


def notebook(**metadata):
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": "# é", "attachments": {"a": {}}},
        {"cell_type": "code", "metadata": metadata, "source": "note", "execution_count": 1,
         "outputs": [{"output_type": "stream", "name": "stdout", "text": "words of a note"}]},
    ]  # fmt: skip
    widgets = {"application/vnd.jupyter.widget-state+json": {"state": {"a": "words of a note"}}}
    return json.dumps({"cells": cells, "metadata": {"widgets": widgets}, "nbformat": 4})


def test_strip_leaves_code_and_nothing_else():
    stripped = strip_notebook(notebook())
    assert "words of a note" not in stripped and "é" in stripped
    assert json.loads(stripped)["cells"][1]["source"] == "note"
    assert strip_notebook(stripped) == stripped
    kept = strip_notebook(notebook(tags=["keep_output"]))
    assert kept.count("words of a note") == 1
    for wrong in ("", "[]", "{}", "3"):
        with pytest.raises(ValueError, match="not a notebook"):
            strip_notebook(wrong)


def test_git_gets_the_stripped_notebook(tmp_path):
    with pytest.raises(ValueError, match="not in a git repository"):
        install_strip_filter(tmp_path)
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    code = "import sys; from clinical_ner.widgets import strip_notebook as s; "
    command = f'"{sys.executable}" -c "{code}sys.stdout.write(s(sys.stdin.read()))"'
    path = install_strip_filter(tmp_path, command=command)
    install_strip_filter(tmp_path, command=command)
    assert path.read_text() == "*.ipynb filter=clinical_ner\n"
    (tmp_path / "a.ipynb").write_text(notebook(), encoding="utf-8")
    git = ["git", "-C", str(tmp_path)]
    subprocess.run([*git, "add", "a.ipynb"], check=True)
    added = subprocess.run([*git, "show", ":a.ipynb"], capture_output=True, text=True, check=True)
    assert "words of a note" not in added.stdout and "é" in added.stdout
    assert "words of a note" in (tmp_path / "a.ipynb").read_text(encoding="utf-8")


def test_kinds_are_all_offered():
    gold, pred = random_docs(1, 40)
    slots = explore(gold, pred).slots()
    counts = find_mistakes(gold, pred).counts()
    for kind in KINDS:
        if counts[kind, "cases"]:
            assert f">{kind} {counts[kind, 'cases']:,}<" in slots["kinds"]
