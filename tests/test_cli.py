"""The commands as a shell calls them: what they write, and how they fail."""

import configparser
import csv
import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clinical_ner import cli, corpora
from clinical_ner.cli import cut_windows, main, read_corpus, read_documents
from clinical_ner.core import Document, Span, count_labels, write_jsonl
from clinical_ner.formats import (
    read_brat,
    read_conll,
    write_brat,
    write_conll,
    write_medmentions_csv,
    write_pubtator,
)
from clinical_ner.samples import sample_notes
from clinical_ner.tags import doc_words, fit_spans, spans_to_tags

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = ["prepare", "train", "annotate", "evaluate", "demo", "strip"]
PROGRAM = "clinical_ner_{}"  # what a shell calls, before the flags


def call(command, *flags):
    """Exit code, output and errors of a command, called as its console script calls it."""
    program, *words = PROGRAM.format(command).split()
    code = f"import sys; sys.argv[0] = '/bin/{program}'\n"
    code += "from clinical_ner.cli import main; sys.exit(main())"
    env = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"}
    full = [sys.executable, "-c", code, *words, *map(str, flags)]
    done = subprocess.run(full, env=env, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def call_here(monkeypatch, command, *flags):
    """The same in this process, which has loaded torch already."""
    words = f"/bin/{PROGRAM.format(command)}".split()
    monkeypatch.setattr(sys, "argv", [*words, *map(str, flags)])
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
    assert out.startswith(f"usage: {PROGRAM.format(command)}")
    flags = [line for line in out.partition("options:")[2].splitlines() if " --" in line]
    assert len(flags) >= (3 if command == "strip" else 4)
    for line in flags:
        assert len(line.split("--")[1].split(maxsplit=1)[-1]) > 8 or "--help" in line


def test_every_command_is_a_console_script():
    parser = configparser.ConfigParser(delimiters=["="])
    parser.read(ROOT / "settings.ini")
    scripts = dict(word.split("=") for word in parser["DEFAULT"]["console_scripts"].split())
    assert scripts == {PROGRAM.format(name): "clinical_ner.cli:main" for name in COMMANDS}


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
        (
            "train",
            ["--epochs", "3"],
            f"arguments: --epochs 3; see {PROGRAM.format('train')} --help",
        ),
        ("train", ["--batch", "3"], "unrecognized arguments: --batch 3"),
        ("train", ["--seed", "1", "--seed=2"], "--seed is given 2 times; give it once"),
        ("train", ["--data_dir", "a", "--data-dir", "b"], "--data_dir is given 2 times"),
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
    assert err.startswith(f"{PROGRAM.format(command)}: error: ") and err.count("\n") == 1
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
    assert f"no such command; there are {PROGRAM.format('prepare')}" in capsys.readouterr().err


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
    spans = [Span(0, 13, "Site", fragments=((0, 4), (9, 13))), Span(5, 8, "Site")]
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
    for flags, shown in (([], False), (["--include_text"], True)):
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


# What a command is given, recognised by content


def abstracts(number, types=("T033", "T103"), start=0):
    """Made-up abstracts with two mentions each, of these semantic types."""
    text = "No fever after aspirin ."
    spans = [Span(3, 8, types[0], concept="C1"), Span(15, 22, types[1], concept="C2")]
    return [Document(str(start + i), text, spans) for i in range(number)]


def tables(folder, **sizes):
    """A folder of MedMentions tables: file name, without its ending, to number of documents."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, size in sizes.items():
        write_medmentions_csv(abstracts(size), folder / f"{name}.csv")
    return folder


def sem_groups(folder, *lines):
    """A SemGroups file, with more lines."""
    file = folder / "SemGroups_2018.txt"
    rows = ["DISO|Disorders|T033|Finding", "CHEM|Chemicals & Drugs|T103|Chemical", *lines]
    file.write_text("\n".join(rows) + "\n")
    return file


def load(path, **options):
    """The corpus that a command reads from a path, without --corpus."""
    return cli._load_corpus(None, Path(path), **options)


def sizes(corpus):
    return {part: len(docs) for part, docs in corpus.items()}


def failure(monkeypatch, capsys, command, *flags):
    """The one line that a command ends with, after its name."""
    with pytest.raises(SystemExit) as exit:
        call_here(monkeypatch, command, *flags)
    err = capsys.readouterr().err.splitlines()[-1]
    assert exit.value.code == 2 and err.startswith(f"{PROGRAM.format(command)}: error: ")
    assert not re.search(r"`[a-z_]+`|\b(tag_column|texts|missing|labels|subset)\b", err), err
    return err


def train_flags(data, *more):
    """The flags of the reference project (longluu/LLM-NER-clinical-text), as its README has them."""
    flags = ["--model_name", "UFNLP/gatortrons", "--data_dir", data, "--batch_size", "4"]
    flags += ["--num_train_epochs", "5", "--weight_decay", "0.01"]
    flags += ["--new_model_dir", "models/medmentions/gatortrons/"]
    return [*flags, "--path_umls_semtype", "data/public/MedMentions/SemGroups_2018.txt", *more]


@pytest.fixture
def reference(monkeypatch, tmp_path, tiny_encoder):
    """The working folder of the reference project: an encoder by its name, and a SemGroups file."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_encoder, "UFNLP/gatortrons")
    Path("data/public/MedMentions").mkdir(parents=True)
    sem_groups(Path("data/public/MedMentions"))
    return tmp_path


def trained_labels():
    """The labels of the tagger that `train_flags` made."""
    config = json.loads(Path("models/medmentions/gatortrons/config.json").read_text())
    return {label.partition("-")[2] for label in config["id2label"].values()} - {""}


@pytest.mark.filterwarnings("ignore:MedMentions")
def test_the_training_command_of_the_reference_project(monkeypatch, reference, capsys):
    data = "data/public/MedMentions/preprocessed-data/"
    tables(Path(data), train=8, val=2, test=2)
    Path("models/medmentions/gatortrons").mkdir(parents=True)
    call_here(monkeypatch, "train", *train_flags(data))
    assert trained_labels() == {"Finding", "Chemical"}
    out = capsys.readouterr().out
    assert "recognised as medmentions" in out and "test, 2 documents" in out
    again = "models/again/"
    flags = train_flags(data, "--learning_rate", "1e-5")
    flags[flags.index("--num_train_epochs") + 1] = "1.5"
    flags[flags.index("--new_model_dir") + 1] = again
    call_here(monkeypatch, "train", *flags, "--resume_from_model", "models/medmentions/gatortrons/")
    assert json.loads(Path(again, "settings.json").read_text())["epochs"] == 1.5
    rows = Path(again, "history.csv").read_text().splitlines()[1:]
    assert [row.partition(",")[0] for row in rows] == ["1", "2"]  # the second ends halfway


@pytest.mark.filterwarnings("ignore:MedMentions")
def test_the_training_command_on_real_tables(monkeypatch, reference, data_dir, capsys):
    real = data_dir / "medmentions"
    with open(real / "built_data/DERIVED_from_conll_40docs.csv", newline="") as file:
        header, *rows = csv.reader(file)
    folder = Path("corpus")
    folder.mkdir()
    parts = {
        "corpus_train": rows[:24],
        "MedMentions-val": rows[24:32],
        "MedMentions-test": rows[32:],
    }
    for name, some in parts.items():
        with open(folder / f"{name}.csv", "w", newline="") as file:
            csv.writer(file).writerows([header, *some])
    groups = "data/public/MedMentions/SemGroups_2018.txt"
    shutil.copy(real / "semantic_types/SemGroups_2018.txt", groups)
    flags = train_flags("corpus")
    flags[flags.index("--num_train_epochs") + 1] = "1"
    call_here(monkeypatch, "train", *flags)
    assert {"Quantitative_Concept", "Body_Part_Organ_or_Organ_Component"} <= trained_labels()
    assert "test, 8 documents" in capsys.readouterr().out


def bio_lines(note):
    """A note as the reference project writes it: a word, its offsets twice, its tag."""
    words, spans = doc_words(note), fit_spans(note)[0]
    tags = spans_to_tags(spans, words, "IOB2")
    rows = [f"{note.text[a:b]} {a} {b} {a} {b} {tag}" for (a, b), tag in zip(words, tags)]
    return "\n".join(rows) + "\n\n"


def test_the_training_command_on_n2c2_and_its_flag_for_semantic_types(
    monkeypatch, reference, capsys
):
    folder = Path("data/private/n2c2-2018/ner")
    notes = sample_notes(8, seed=11)
    for part, some in (("train", notes[:6]), ("test", notes[6:])):
        write_brat(some, folder / part)
        (folder / f"{part}-bio").mkdir()
        for note in some:
            (folder / f"{part}-bio" / f"{note.id}.bio.txt").write_text(bio_lines(note))
    call_here(monkeypatch, "train", *train_flags(f"{folder}/", "--max_seq_len", "128"))
    out = capsys.readouterr().out
    assert "left out beside test, train: 8, such as test-bio" in out
    assert "no label of the corpus is a semantic type" in out and "test, 2 documents" in out
    assert "Drug" in trained_labels()
    for part in ("train", "test"):
        shutil.rmtree(folder / part)
    corpus = load(folder)
    assert [doc.id for doc in corpus["test"]] == [f"{note.id}.bio-1" for note in notes[6:]]
    assert [doc.spans for doc in corpus["test"]] == [note.spans for note in notes[6:]]
    assert sizes(corpus) == {"train": 6, "test": 2}


def test_the_name_of_ncbi_disease_on_the_hub(monkeypatch, reference, capsys):
    line = failure(monkeypatch, capsys, "train", *train_flags("ncbi_disease"))
    assert "'ncbi_disease' could not be had from the Hub" in line
    assert "put NCBItrainset_corpus.txt" in line and "into a folder and give that folder" in line
    docs = [Document(f"s{i}", "Fever", [Span(0, 5, "Disease")]) for i in range(20)]
    monkeypatch.setattr(corpora, "_hub_sentences", lambda name, cache: {"train": docs})
    with pytest.warns(UserWarning, match="NCBI-disease: not as published"):
        assert sizes(load("ncbi_disease", seed=0)) == {"train": 18, "validation": 2}
    Path("ncbi_disease").mkdir()
    assert "no file" in failure(monkeypatch, capsys, "train", *train_flags("ncbi_disease/"))


def test_the_preparing_command_with_its_flags(monkeypatch, tmp_path, tiny_encoder):
    """Flags and values as in the README of smitkiri/ehr-relation-extraction."""
    monkeypatch.chdir(tmp_path)
    notes = sample_notes(12, seed=12)
    write_brat(notes[:10], "data/train")
    write_brat(notes[10:], "data/test")
    monkeypatch.setitem(cli._TOKENIZERS, "biobert-base", tiny_encoder)
    flags = ["--task", "ner", "--input_dir", "data/", "--target_dir", "dataset/"]
    flags += ["--max_seq_len", "512", "--dev_split", "0.1", "--tokenizer", "biobert-base"]
    call_here(monkeypatch, "prepare", *flags, "--ext", "txt", "--sep", " ")
    assert sizes(load("dataset")) == {"train": 9, "validation": 1, "test": 2}
    call_here(monkeypatch, "prepare", *flags, "--ext", "txt", "--sep", r"\t")
    assert "\tB-" in Path("dataset/train.txt").read_text()


def test_short_names_of_tokenizers(monkeypatch, tmp_path, capsys):
    assert cli._encoder_of("biobert-large") == "dmis-lab/biobert-large-cased-v1.1"
    assert cli._encoder_of("UFNLP/gatortrons") == "UFNLP/gatortrons"
    write_brat(sample_notes(2), tmp_path / "notes")
    flags = ["--input_dir", tmp_path / "notes", "--target_dir", tmp_path / "t"]
    line = failure(monkeypatch, capsys, "prepare", *flags, "--tokenizer", "scispacy")
    assert "--tokenizer scispacy: it makes words" in line and "biobert-base" in line


@pytest.mark.filterwarnings("ignore:MedMentions")
@pytest.mark.parametrize(
    "names, parts",
    [
        (("train", "val", "test"), ["train", "validation", "test"]),
        (("corpus_train", "MedMentions-val"), ["train", "validation"]),
        (("mm.TRAINING.2018", "mm.Test.2018"), ["train", "validation", "test"]),
        (("built",), ["train", "validation"]),
    ],
)
def test_tables_of_any_name(tmp_path, capsys, names, parts):
    tables(tmp_path / "a" / "b", **dict.fromkeys(names, 20))
    (tmp_path / "scores.csv").write_text("type,f1\nT033,0.5\n")
    assert list(load(tmp_path, seed=0)) == parts
    assert "recognised as medmentions" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore:MedMentions")
def test_tables_with_a_mark_packed_or_alone(tmp_path):
    whole = tables(tmp_path / "plain", train=3, test=2)
    for name in ("train", "test"):
        data = (whole / f"{name}.csv").read_bytes()
        for folder, made in (("bom", b"\xef\xbb\xbf" + data), ("packed", gzip.compress(data))):
            (tmp_path / folder).mkdir(exist_ok=True)
            ending = "csv.gz" if folder == "packed" else "csv"
            (tmp_path / folder / f"{name}.{ending}").write_bytes(made)
    for folder in ("plain", "bom", "packed"):
        corpus = load(tmp_path / folder, dev_split=0)
        assert sizes(corpus) == {"train": 3, "test": 2}
        assert dict(count_labels(corpus["train"])) == {"T033": 3, "T103": 3}
    assert sizes(load(whole / "test.csv")) == {"train": 2}  # one file is what is trained on
    for part, number in (("train", 3), ("dev", 1)):
        tables(tmp_path / "my_test_run" / part, built=number)
    assert sizes(load(tmp_path / "my_test_run")) == {"train": 3, "validation": 1}


def test_tables_in_doubt_are_an_error(tmp_path):
    both = tables(tmp_path / "both", train=1, my_train=1)
    with pytest.raises(ValueError, match="both .* look like the part 'train'"):
        load(both)
    unnamed = tables(tmp_path / "unnamed", a=1, b=1)
    with pytest.raises(ValueError, match="a.csv: its name does not say whether it is train"):
        load(unnamed)
    headless = tables(tmp_path / "headless", test=1)
    (headless / "train.csv").write_text("note,label\n" + SECRET)
    with pytest.raises(ValueError, match="train.csv, line 1: the header must be") as error:
        load(headless)
    assert "ebrafish" not in str(error.value)
    mixed = tables(tmp_path / "mixed", train=1)
    write_pubtator(abstracts(2), mixed / "corpus_pubtator.txt")
    for part in ("trng", "dev"):
        (mixed / f"corpus_pubtator_pmids_{part}.txt").write_text("0\n")
    with pytest.raises(
        ValueError, match="more than once: PubTator .*corpus_pubtator.txt.*train.csv"
    ):
        load(mixed)
    beside = tables(tmp_path / "beside", train=1)
    write_brat(sample_notes(1), beside / "training_20180910")
    with pytest.raises(ValueError, match="both medmentions and n2c2_2018 are there"):
        load(beside)


@pytest.mark.filterwarnings("ignore:MedMentions")
def test_pubtator_with_lists_has_its_parts_and_without_is_train(tmp_path, capsys):
    docs = abstracts(3, types=("T033,T184", "T103"))
    write_pubtator(docs, tmp_path / "abstracts.txt")
    assert {label for doc in load(tmp_path)["train"] for label in count_labels([doc])} == {
        "T033",
        "T103",
    }
    assert "3 mentions with several semantic types" in capsys.readouterr().out
    for part, pmid in (("trng", "0"), ("dev", "1"), ("test", "2")):
        (tmp_path / f"corpus_pubtator_pmids_{part}.txt").write_text(pmid)
    assert sizes(load(tmp_path)) == {"train": 1, "validation": 1, "test": 1}
    assert sizes(load(tmp_path / "abstracts.txt")) == sizes(load(tmp_path))
    assert "MedMentions st21pv" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore:NCBI-disease", "ignore:MedMentions", "ignore:n2c2")
@pytest.mark.parametrize(
    "folder, name, parts",
    [
        ("ncbi_disease/iob", "ncbi_disease", (5424, 923, 940)),
        ("ncbi_disease/conll_hf_source", "ncbi_disease", (5432, 923, 940)),
        ("ncbi_disease/pubtator", "ncbi_disease", (593, 100)),
        ("ncbi_disease/iobes", "ncbi_disease", (923,)),
        ("medmentions/conll", "medmentions", (878,)),
        ("medmentions/built_data", None, ()),  # two tables, and no word about which is which
        ("n2c2_format_phee", "", (130, 43, 42)),
        ("maccrobat2020", "", (149,)),
    ],
)
def test_real_folders_are_recognised(data_dir, capsys, folder, name, parts):
    if name is None:
        with pytest.raises(ValueError, match="does not say whether it is train"):
            load(data_dir / folder)
        return
    corpus = load(data_dir / folder, seed=0)
    assert sorted(sizes(corpus).values(), reverse=True) == sorted(parts, reverse=True)
    assert (f"recognised as {name}" if name else "") in capsys.readouterr().out
    if name == "ncbi_disease":
        assert {label for docs in corpus.values() for label in count_labels(docs)} == {"Disease"}


@pytest.mark.filterwarnings("ignore:n2c2")
@pytest.mark.parametrize(
    "train, test, said",
    [
        ("training_20180910", "gold-standard-test-data", True),
        ("n2c2/track2-training_data_2", "n2c2/test", True),
        ("my_training_notes", "my_test_notes", False),
    ],
)
def test_brat_folders_are_parts_by_their_names(tmp_path, capsys, train, test, said):
    notes = sample_notes(23, seed=13)
    write_brat(notes[:20], tmp_path / train)
    write_brat(notes[20:], tmp_path / test)
    corpus = load(tmp_path, seed=0)
    assert {doc.id for doc in corpus["test"]} == {note.id for note in notes[20:]}
    assert sum(sizes(corpus).values()) == 23
    assert ("recognised as n2c2_2018" in capsys.readouterr().out) == said


def test_a_brat_folder_of_no_part_beside_parts_is_an_error(tmp_path):
    for name in ("training_notes", "test_notes", "examples"):
        write_brat(sample_notes(1), tmp_path / name)
    with pytest.raises(ValueError, match="examples: its name does not say"):
        load(tmp_path)


def test_files_with_a_part_in_their_names(tmp_path):
    notes = sample_notes(4, seed=14)
    write_conll(notes[:3], tmp_path / "mine_train.tsv")
    write_conll(notes[3:], tmp_path / "mine-test.conll")
    (tmp_path / "README.md").write_text("What is in this folder.\n")
    assert sizes(load(tmp_path)) == {"train": 3, "test": 1}
    write_conll(notes[3:], tmp_path / "other-test.conll")
    with pytest.raises(ValueError, match="look like the part 'test'"):
        load(tmp_path)


def test_a_folder_of_files_of_one_format(tmp_path, capsys):
    notes = sample_notes(3, seed=15)
    for note in notes:
        write_conll([note], tmp_path / f"{note.id}.conll")
    (tmp_path / "README").write_text("What is in this folder.\n")
    assert sizes(load(tmp_path)) == {"train": 3}
    assert "left out, as of no known format: 1 of no ending" in capsys.readouterr().out
    write_jsonl(notes, tmp_path / "notes.jsonl")
    with pytest.raises(ValueError, match="several formats are there, such as .*notes.jsonl"):
        load(tmp_path)


SECRET = "Zebrafish denies chest pain."
UNKNOWN = {
    "export.json": '[{"text": "Zebrafish denies chest pain."}]',
    "webanno.tsv": "#FORMAT=WebAnno TSV 3.3\n\n#Text=Zebrafish\n1-1\t0-9\tZebrafish\t_\n",
    "table.tsv": "id\ttext\n1\tZebrafish denies chest pain.\n",
    "note.con": 'c="zebrafish pain" 1:0 1:1||t="problem"\n',
    "cas.xmi": '<?xml version="1.0"?><xmi:XMI><cas:Sofa sofaString="Zebrafish"/></xmi:XMI>',
    "i2b2.xml": "<?xml version='1.0'?><root><TEXT><![CDATA[Zebrafish]]></TEXT></root>",
    "note.txt": "Zebrafish denies chest pain.\n",
    "other.csv": "note,label\nZebrafish denies chest pain.,1\n",
    "utf16.conll": "Zebrafish\tB-Animal\n".encode("utf-16"),
    "notes.jsonl.gz": gzip.compress(b'{"id": "Zebrafish"}\n'),
}


@pytest.mark.parametrize("name", [*UNKNOWN, "corpus.zip"])
def test_a_file_of_no_known_format_is_an_error_that_lists_what_is_read(
    monkeypatch, tmp_path, capsys, name
):
    file = tmp_path / "data" / name
    file.parent.mkdir()
    if name == "corpus.zip":
        with zipfile.ZipFile(file, "w") as packed:
            packed.writestr("note.txt", SECRET)
    else:
        data = UNKNOWN[name]
        file.write_bytes(data if isinstance(data, bytes) else data.encode())
    flags = ["--model_name", "x", "--new_model_dir", tmp_path / "m"]
    lines = [failure(monkeypatch, capsys, "train", "--data_dir", file, *flags)]
    lines += [failure(monkeypatch, capsys, "train", "--data_dir", file.parent, *flags)]
    lines += [failure(monkeypatch, capsys, "evaluate", "--gold", file, "--pred", file)]
    target = ["--model_name", "x", "--target_dir", tmp_path / "t"]
    lines += [failure(monkeypatch, capsys, "annotate", "--input_dir", file, *target)]
    for line in lines:
        assert cli._READABLE in line and "ebrafish" not in line and str(file.parent) in line
    assert f"(found: 1 {file.suffix})" in lines[1]
    assert ("unpack it first" in lines[0]) == name.endswith(("zip", "gz"))
    assert "--text_column" in lines[3]


def test_a_folder_of_nothing_known_counts_endings_and_names_no_file(tmp_path):
    with pytest.raises(ValueError, match=re.escape("(found: no file)")):
        load(tmp_path)
    (tmp_path / "README.md").write_text("No corpus is here.\n")
    with pytest.raises(ValueError, match=re.escape("(found: 1 .md)")):
        load(tmp_path)
    for i in range(1200):
        (tmp_path / f"John Smith {i}.txt").write_text(SECRET)
    for i in range(9):
        (tmp_path / f"John Smith.a{i}").touch()
    (tmp_path / "note.Smith, born 1950").touch()
    with pytest.raises(ValueError) as error:
        load(tmp_path)
    line = str(error.value)
    assert "(found: 1,200 .txt, 1 " in line and "4 other endings" in line
    assert "Smith" not in line and "ebrafish" not in line and len(line) < 700


def test_tagged_words_are_read_whatever_their_ending(tmp_path):
    words = "Severe\tO\nfever\tB-Problem\n\n-DOCSTART- (b)\n\nOK\tO\n"
    for name in ("a.tsv", "b.conll", "c.iob", "d.bio", "e.txt", "f", "g.json"):
        (tmp_path / name).write_text(words)
        assert [doc.text for doc in read_documents(tmp_path / name)][-1].strip() == "OK"
    (tmp_path / "h.tsv.gz").write_bytes(gzip.compress(words.encode()))
    assert len(read_documents(tmp_path / "h.tsv.gz")) == 2
    (tmp_path / "i.tsv").write_text("")
    with pytest.raises(ValueError, match="i.tsv: the file is empty"):
        read_documents(tmp_path / "i.tsv")
    (tmp_path / "j.tsv.gz").write_bytes(gzip.compress(words.encode() * 999)[:60])
    with pytest.raises(ValueError, match="broken or cut short"):
        read_documents(tmp_path / "j.tsv.gz")


@pytest.mark.parametrize(
    "line, message",
    [
        ("Severe\tO\tB-Problem\tO fever\n", "no tag"),
        ("Zebrafish\tx\tO\nfever\tB-Problem\n", "2 columns where 3 are expected"),
    ],
)
def test_no_error_names_an_option_that_only_python_has(
    monkeypatch, tmp_path, capsys, line, message
):
    (tmp_path / "train.tsv").write_text("fever\tx\tB-P\n" * ("Severe" in line) + line)
    for command, flag in (("train", "--data_dir"), ("prepare", "--input_dir")):
        flags = ["--model_name", "x", "--new_model_dir", "m"]
        if command == "prepare":
            monkeypatch.setattr("clinical_ner.encoders.load_tokenizer", lambda *a, **k: None)
            flags = ["--tokenizer", "x", "--target_dir", tmp_path / "t"]
        error = failure(monkeypatch, capsys, command, flag, tmp_path, *flags)
        assert re.search(r"train.tsv, line \d: ", error) and "Zebrafish" not in error
        assert "read the files in Python" in error and "(`" not in error
    write_brat(sample_notes(1), tmp_path / "brat")
    next((tmp_path / "brat").glob("*.txt")).unlink()
    flags = ["--model_name", "x", "--new_model_dir", "m"]
    error = failure(monkeypatch, capsys, "train", "--data_dir", tmp_path / "brat", *flags)
    assert "such files); mend that" in error


def test_errors_of_training_name_flags():
    from clinical_ner.tagger import _check_tags

    said = "lower `lr`, give more `epochs`, use precision='float32' or resume=False"
    assert cli._for_shell(said) == (
        "lower --learning_rate, give more --num_train_epochs, use --precision 'float32' or no"
        " --resume"
    )
    with pytest.raises(ValueError, match="labels=") as error:
        _check_tags(["LABEL_0", "LABEL_1"])
    assert "labels=" not in cli._for_shell(str(error.value))


@pytest.mark.filterwarnings("ignore:MedMentions")
def test_a_wrong_file_of_semantic_types_is_an_error(monkeypatch, tmp_path, capsys):
    data = tables(tmp_path / "data", train=4)
    good = sem_groups(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty.txt").touch()
    (tmp_path / "types.txt").write_text("aapp|T116|Amino Acid\n")
    (tmp_path / "columns.txt").write_text("a|b|Zebrafish|d\n")
    (tmp_path / "few.txt").write_text("\nDISO|Disorders|T033|Finding\r\n\n")
    wrong = {
        tmp_path / "nowhere": "--path_umls_semtype .*nowhere: there is no such file",
        tmp_path / "folder": "folder is a folder; give the file SemGroups_2018.txt",
        tmp_path / "empty.txt": "empty.txt: the file is empty",
        tmp_path / "types.txt": "types.txt, line 1: 3 columns instead of 4",
        tmp_path / "columns.txt": "columns.txt, line 1: .*or no such type",
        tmp_path / "few.txt": "few.txt: lacks 1 semantic types of the corpus, such as T103",
        data / "train.csv": "train.csv, line 1: 1 columns instead of 4",
    }
    flags = ["--data_dir", data, "--model_name", "x", "--new_model_dir", tmp_path / "m"]
    for path, message in wrong.items():
        line = failure(monkeypatch, capsys, "train", *flags, "--path_umls_semtype", path)
        assert re.search(message, line) and "ebrafish" not in line
    twice = ["--path_umls_semtype", good, "--path_umls_semtype", good]
    assert "given 2 times" in failure(monkeypatch, capsys, "train", *flags, *twice)


@pytest.mark.parametrize("epochs", ["0", "-1", "nan", "inf"])
def test_numbers_of_epochs_that_are_none(monkeypatch, tmp_path, capsys, epochs):
    write_jsonl(sample_notes(2), tmp_path / "train.jsonl")
    flags = ["--data_dir", tmp_path, "--model_name", "x", "--new_model_dir", tmp_path / "m"]
    line = failure(monkeypatch, capsys, "train", *flags, f"--num_train_epochs={epochs}")
    assert "give a number above 0" in line


def test_a_corpus_without_a_part_to_train_on(monkeypatch, tmp_path, capsys):
    write_jsonl(sample_notes(2), tmp_path / "test.jsonl")
    flags = ["--data_dir", tmp_path, "--model_name", "x", "--new_model_dir", tmp_path / "m"]
    assert "no documents to train on are there, only test" in failure(
        monkeypatch, capsys, "train", *flags
    )
