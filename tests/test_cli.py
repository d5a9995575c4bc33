"""The commands as a shell calls them: what they write, and how they fail."""

import configparser
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clinical_ner.cli import cut_windows, main, read_corpus
from clinical_ner.core import Document, Span, write_jsonl
from clinical_ner.formats import read_brat, read_conll, write_brat
from clinical_ner.samples import sample_notes
from clinical_ner.tags import doc_words, fit_spans

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = ["prepare", "train", "annotate", "evaluate", "demo", "strip"]


def call(command, *flags):
    """Exit code, output and errors of a command, called as its console script calls it."""
    code = f"import sys; sys.argv[0] = '/bin/clinical_ner_{command}'\n"
    code += "from clinical_ner.cli import main; sys.exit(main())"
    env = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"}
    full = [sys.executable, "-c", code, *map(str, flags)]
    done = subprocess.run(full, env=env, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def call_here(monkeypatch, command, *flags):
    """The same in this process, which has loaded torch already."""
    monkeypatch.setattr(sys, "argv", [f"/bin/clinical_ner_{command}", *map(str, flags)])
    main()


@pytest.fixture(scope="module")
def tiny_encoder(tmp_path_factory, encoder_dir):
    """An untrained encoder of one narrow layer, with the packaged tokenizer."""
    from transformers import AutoTokenizer, BertConfig, BertModel

    folder = tmp_path_factory.mktemp("tiny")
    tokenizer = AutoTokenizer.from_pretrained(encoder_dir)
    tokenizer.save_pretrained(folder)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2}
    config = BertConfig(vocab_size=len(tokenizer), num_hidden_layers=1, **sizes)
    BertModel(config).save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_quick_to_read_and_explains_every_flag(command):
    code, out, err = call(command, "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"usage: clinical_ner_{command}")
    flags = [line for line in out.partition("options:")[2].splitlines() if " --" in line]
    assert len(flags) >= (3 if command == "strip" else 4)
    for line in flags:
        assert len(line.split("--")[1].split(maxsplit=1)[-1]) > 8 or "--help" in line


def test_every_command_is_a_console_script():
    parser = configparser.ConfigParser(delimiters=["="])
    parser.read(ROOT / "settings.ini")
    scripts = dict(word.split("=") for word in parser["DEFAULT"]["console_scripts"].split())
    assert scripts == {f"clinical_ner_{name}": "clinical_ner.cli:main" for name in COMMANDS}


@pytest.mark.parametrize(
    "command, flags, message",
    [
        ("prepare", [], "--target_dir and --tokenizer are needed"),
        ("prepare", ["--sep", "comma"], "use tab or space"),
        ("prepare", ["--task", "re"], "only ner"),
        ("prepare", ["--target_dir", "t", "--tokenizer", "x"], "--input_dir is needed"),
        ("train", ["--data_dir", "nowhere"], "--data_dir nowhere: there is no such"),
        ("train", ["--data_dir", "."], "--new_model_dir and --model_name"),
        ("train", ["--batch_size", "many"], "invalid int value: 'many'"),
        ("train", ["--epochs", "3"], "unrecognized arguments: --epochs 3; see clinical_ner_train"),
        ("train", ["--batch", "3"], "unrecognized arguments: --batch 3"),
        ("annotate", ["--input_dir", "nowhere"], "nowhere: there is no such"),
        ("evaluate", ["--gold", "."], "--pred is needed"),
        ("demo", ["extra"], "unrecognized arguments: extra"),
    ],
)
def test_a_wrong_flag_or_path_is_one_line(monkeypatch, tmp_path, capsys, command, flags, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit:
        call_here(monkeypatch, command, *flags)
    out, err = capsys.readouterr()
    assert (exit.value.code, out) == (2, "")
    assert err.startswith(f"clinical_ner_{command}: error: ") and err.count("\n") == 1
    assert message in err


def test_an_encoder_that_is_nowhere_is_one_line(tmp_path):
    write_brat(sample_notes(3), tmp_path / "notes")
    flags = ["--input_dir", tmp_path / "notes", "--target_dir", tmp_path / "t"]
    code, out, err = call("prepare", *flags, "--tokenizer", "no/such", "--dev_split", 0)
    assert code == 2 and "no/such" in err and "Traceback" not in err
    assert not (tmp_path / "t").exists()


def test_another_name_is_one_line(monkeypatch, capsys):
    with pytest.raises(SystemExit) as exit:
        call_here(monkeypatch, "predict")
    assert exit.value.code == 2
    assert "no such command; there are clinical_ner_prepare" in capsys.readouterr().err


def prepare(monkeypatch, source, target, encoder, *flags):
    """Run prepare; its report."""
    paths = ["--input_dir", source, "--target_dir", target, "--tokenizer", encoder]
    call_here(monkeypatch, "prepare", *paths, *flags)
    return json.loads((target / "prepared.json").read_text())


def windows_of(doc):
    """The windows of a prepared document as lists of words."""
    words = doc_words(doc)
    return [[doc.text[a:b] for a, b in words[i:j]] for i, j in doc.meta["sentences"]]


@pytest.mark.parametrize("sep, ext", [("tab", "tsv"), ("space", ".txt")])
def test_prepare_keeps_every_word_and_mention_once(monkeypatch, tmp_path, encoder_dir, sep, ext):
    from transformers import AutoTokenizer

    notes = sample_notes(20, seed=3)
    write_brat(notes, tmp_path / "notes")
    flags = ["--max_seq_len", 100, "--dev_split", 0.2, "--test_split", 0.2]
    report = prepare(
        monkeypatch, tmp_path / "notes", tmp_path, encoder_dir, *flags, "--sep", sep, "--ext", ext
    )
    corpus = read_corpus(tmp_path)
    assert list(report["parts"]) == [
        f"{name}.{ext.strip('.')}" for name in ("train", "dev", "test")
    ]
    assert [row["documents"] for row in report["parts"].values()] == [12, 4, 4]
    back = {doc.id: doc for docs in corpus.values() for doc in docs}
    assert set(back) == {note.id for note in notes}
    tokenizer = AutoTokenizer.from_pretrained(encoder_dir)
    for note in notes:
        doc = back[note.id]
        assert list(doc.spans) == sorted(note.spans)
        assert [list(word) for word in doc_words(doc)] == [list(word) for word in doc_words(note)]
        for window in windows_of(doc):
            assert len(tokenizer(window, is_split_into_words=True)["input_ids"]) <= 100


def test_prepare_splits_by_patient_and_the_seed_decides(monkeypatch, tmp_path, encoder_dir, capsys):
    notes = sample_notes(30, seed=4)
    write_jsonl(notes, tmp_path / "notes.jsonl")
    patient = {note.id: note.meta["patient"] for note in notes}
    reports = [
        prepare(
            monkeypatch, tmp_path / "notes.jsonl", tmp_path / str(i), encoder_dir, "--seed", seed
        )
        for i, seed in enumerate((0, 0, 1))
    ]
    ids = [{name: row["ids"] for name, row in report["parts"].items()} for report in reports]
    assert ids[0] == ids[1] != ids[2]
    sides = [{patient[doc_id] for doc_id in part} for part in ids[0].values()]
    assert not sides[0] & sides[1]
    assert "split by patient with seed 1" in capsys.readouterr().out


def test_prepare_keeps_parts_that_are_there_and_warns_of_leaks(
    monkeypatch, tmp_path, encoder_dir, capsys
):
    notes = sample_notes(6, seed=5)
    write_jsonl(notes, tmp_path / "in/train.jsonl")
    write_jsonl([replace(notes[0], id="copy")], tmp_path / "in/devel.jsonl")
    report = prepare(monkeypatch, tmp_path / "in", tmp_path / "out", encoder_dir)
    assert [row["ids"] for row in report["parts"].values()] == [[n.id for n in notes], ["copy"]]
    assert report["similar_texts_in_two_parts"] == 1
    assert "(nearly) equal texts in different parts, such as" in capsys.readouterr().out


def test_prepare_says_what_tags_cannot_hold(monkeypatch, tmp_path, encoder_dir, capsys):
    spans = [Span(0, 8, "Site", fragments=((0, 4), (9, 12))[:1] + ((5, 8),)), Span(5, 8, "Site")]
    write_jsonl([Document("d", "left arm pain", spans)], tmp_path / "a.jsonl")
    prepare(monkeypatch, tmp_path / "a.jsonl", tmp_path / "t", encoder_dir, "--dev_split", 0)
    assert "discontinuous 1" in capsys.readouterr().out


def test_a_mention_longer_than_a_window_is_an_error(monkeypatch, tmp_path, encoder_dir, capsys):
    text = "a mention of nine words that is too long"
    write_jsonl([Document("long", text, [Span(0, len(text), "X")])], tmp_path / "a.jsonl")
    flags = ["--max_seq_len", 8, "--dev_split", 0]
    with pytest.raises(SystemExit) as exit:
        prepare(monkeypatch, tmp_path / "a.jsonl", tmp_path / "t", encoder_dir, *flags)
    err = capsys.readouterr().err
    assert exit.value.code == 2
    assert "'long'" in err and "max_seq_len=8" in err and "nine" not in err


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_windows_hold_every_word_once_and_cut_no_mention(encoder_dir, data):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(encoder_dir)
    text = data.draw(st.text(alphabet="ab 1.\nŕ≥", max_size=80))
    words = doc_words(Document("d", text))
    ends = sorted(data.draw(st.sets(st.integers(0, len(words)), max_size=6)))
    pairs = [(i, min(j, i + 5)) for i, j in zip(ends[::2], ends[1::2])]
    doc = Document("d", text, [Span(words[i][0], words[j - 1][1], "X") for i, j in pairs])
    limit = data.draw(st.integers(32, 60))
    windows = cut_windows(doc, tokenizer, limit)
    assert [n for first, past in windows for n in range(first, past)] == list(range(len(words)))
    for first, past in windows:
        window = [text[a:b] for a, b in words[first:past]]
        assert len(tokenizer(window, is_split_into_words=True)["input_ids"]) <= limit
        assert not any(s.start < words[first][0] < s.end for s in fit_spans(doc)[0])


def test_train_annotate_evaluate(monkeypatch, tmp_path, tiny_encoder, capsys):
    """From a brat folder to scores by the official rules."""
    pytest.importorskip("clinical_ner.train", reason="there is no chapter train yet")
    write_brat(sample_notes(12, seed=6), tmp_path / "gold")
    monkeypatch.chdir(tmp_path)
    flags = ["--max_seq_len", 128, "--dev_split", 0.2, "--test_split", 0.2]
    report = prepare(monkeypatch, Path("gold"), Path("data"), tiny_encoder, *flags)
    flags = ["--data_dir", "data", "--model_name", tiny_encoder, "--new_model_dir", "tagger"]
    call_here(monkeypatch, "train", *flags, "--num_train_epochs", 1, "--learning_rate", 0.01)
    assert "dictionary baseline: strict F1" in capsys.readouterr().out
    scores = json.loads(Path("tagger/test_scores.json").read_text())
    assert scores["dictionary_baseline"]["micro"]["strict_f1"] > 0
    exact = ["--model_name", "tagger", "--precision", "float32"]
    paths = ["--input_dir", "data/test.tsv", "--target_dir", "found"]
    call_here(monkeypatch, "annotate", *exact, *paths)
    found = read_brat("found", texts="gold", missing="skip")
    assert [doc.id for doc in found] == sorted(report["parts"]["test.tsv"]["ids"])
    paths = ["--input_dir", "gold", "--target_dir", "raw"]
    call_here(monkeypatch, "annotate", *exact, *paths)
    raw = {doc.id: doc for doc in read_brat("raw")}
    assert len(raw) == 12
    for doc in found:
        assert raw[doc.id].spans == doc.spans  # prepared words give what the raw text gives
    pair = ["--gold", "gold", "--pred", "found", "--output", "scores.json"]
    call_here(monkeypatch, "evaluate", *pair, "--n2c2")
    assert "official n2c2 2018 rules" in capsys.readouterr().out
    assert {"Drug", "micro", "macro"} <= json.loads(Path("scores.json").read_text()).keys()


def test_train_further_from_a_tagger(monkeypatch, tmp_path, tiny_encoder):
    pytest.importorskip("clinical_ner.train", reason="there is no chapter train yet")
    write_jsonl(sample_notes(8, seed=7), tmp_path / "train.jsonl")
    write_jsonl(sample_notes(2, seed=8), tmp_path / "dev.jsonl")
    once = ["--data_dir", tmp_path, "--num_train_epochs", 1, "--max_seq_len", 64]
    first, second = tmp_path / "first", tmp_path / "second"
    call_here(monkeypatch, "train", *once, "--model_name", tiny_encoder, "--new_model_dir", first)
    flags = ["--resume_from_model", first, "--new_model_dir", second]
    call_here(monkeypatch, "train", *once, *flags)
    assert (second / "model.safetensors").exists()
    assert not (second / "test_scores.json").exists()


def test_evaluate_of_other_documents_is_an_error(monkeypatch, tmp_path, capsys):
    notes = sample_notes(3, seed=9)
    write_brat(notes, tmp_path / "gold")
    write_brat(notes[:2], tmp_path / "pred")
    with pytest.raises(SystemExit) as exit:
        call_here(monkeypatch, "evaluate", "--gold", tmp_path / "gold", "--pred", tmp_path / "pred")
    assert exit.value.code == 2 and notes[2].id in capsys.readouterr().err


def test_annotate_takes_text_files_of_any_depth(monkeypatch, tmp_path, tiny_encoder):
    from clinical_ner.tagger import Tagger

    Tagger.create(tiny_encoder, ["Drug"]).save(tmp_path / "tagger")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/a.txt").write_bytes("\ufeffOne\r\ntwo.".encode())
    (tmp_path / "notes/b.txt").write_bytes(b"")
    flags = ["--model_name", tmp_path / "tagger", "--input_dir", tmp_path / "notes"]
    call_here(monkeypatch, "annotate", *flags, "--target_dir", tmp_path / "found")
    assert (tmp_path / "found/a.txt").read_bytes() == "\ufeffOne\r\ntwo.".encode()
    assert [doc.id for doc in read_brat(tmp_path / "found")] == ["a", "b"]


def test_prepared_files_are_conll_for_others(monkeypatch, tmp_path, encoder_dir):
    write_jsonl(
        [Document("d1", "No fever.\nGot aspirin.", [Span(14, 21, "Drug")])], tmp_path / "a.jsonl"
    )
    prepare(monkeypatch, tmp_path / "a.jsonl", tmp_path / "t", encoder_dir, "--dev_split", 0)
    lines = (tmp_path / "t/train.tsv").read_text().splitlines()
    assert lines[0] == "-DOCSTART- (d1)" and "aspirin\t14\t21\tB-Drug" in lines
    assert read_conll(tmp_path / "t/train.tsv")[0].spans == (Span(14, 21, "Drug"),)


def test_evaluate_writes_a_report_with_or_without_text(monkeypatch, tmp_path, capsys):
    docs = [Document(f"d{i}", "zebrafish on aspirin", [Span(13, 20, "Drug")]) for i in range(3)]
    write_brat(docs, tmp_path / "gold")
    write_brat([replace(doc, spans=()) for doc in docs], tmp_path / "pred")
    for flags, shown in (([], True), (["--no_text"], False)):
        page = tmp_path / "report.html"
        sides = ["--gold", tmp_path / "gold", "--pred", tmp_path / "pred"]
        call_here(monkeypatch, "evaluate", *sides, "--report", page, *flags)
        assert ("zebrafish" in page.read_text()) == shown
    assert "report: " in capsys.readouterr().out


def test_strip_takes_outputs_out_of_notebooks(monkeypatch, tmp_path, capsys):
    output = {"output_type": "stream", "name": "stdout", "text": ["a note"]}
    cell = {"cell_type": "code", "source": [], "metadata": {}, "outputs": [output]}
    notebook = {"cells": [cell | {"execution_count": 1}], "metadata": {}, "nbformat": 4}
    file = tmp_path / "a.ipynb"
    file.write_text(json.dumps(notebook | {"nbformat_minor": 5}))
    call_here(monkeypatch, "strip", "--files", file)
    assert "a note" not in file.read_text()
    assert json.loads(file.read_text())["cells"][0]["outputs"] == []
    file.write_text("no notebook")
    with pytest.raises(SystemExit):
        call_here(monkeypatch, "strip", "--files", file)
    assert "not a notebook" in capsys.readouterr().err
