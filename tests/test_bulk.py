"""Annotating in bulk: sources, outputs, broken documents, kills, workers, Ray, and no text in logs."""

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from brat_rules import faults
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clinical_ner.bulk import annotate, find_source, iter_found, plan_parts, read_part
from clinical_ner.core import Document, write_jsonl
from clinical_ner.formats import read_brat
from clinical_ner.samples import sample_notes

ROOT = Path(__file__).resolve().parent.parent


def make_tiny_tagger(encoder_dir, folder):
    """A random BERT of one narrow layer, in `folder`, that finds spans everywhere."""
    import torch
    from transformers import BertConfig, BertForTokenClassification

    from clinical_ner.encoders import load_tokenizer
    from clinical_ner.tagger import Tagger
    from clinical_ner.windows import tag_names

    torch.manual_seed(0)
    tokenizer, tags = load_tokenizer(encoder_dir, max_length=64), tag_names(["Drug", "Reason"])
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2}
    names = {"id2label": dict(enumerate(tags)), "label2id": {tag: i for i, tag in enumerate(tags)}}
    sizes |= {"num_hidden_layers": 1, "initializer_range": 0.5}  # scores are far from equal
    config = BertConfig(vocab_size=len(tokenizer), **sizes, **names)
    Tagger(BertForTokenClassification(config), tokenizer).save(folder)
    return str(folder)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory, encoder_dir):
    return make_tiny_tagger(encoder_dir, tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def tagger(tiny):
    from clinical_ner.tagger import Tagger

    return Tagger.load(tiny, device="cpu")


@pytest.fixture(scope="module")
def notes():
    return [Document(note.id, note.text[:300]) for note in sample_notes(60, seed=3)]


def assert_same_rows(*outs):
    """All runs found the same, free of order; scores are rounded to four places, up or down."""
    found = [sorted(iter_found(out), key=lambda row: [*row.values()][:4]) for out in outs]
    scores = [[row.pop("score") for row in rows] for rows in found]
    for rows, own in zip(found, scores):
        assert rows == found[0]
        assert own == pytest.approx(scores[0], abs=1.1e-4)


def ids_of(out):
    """The id of every document in the JSON lines of a run."""
    lines = [line for path in Path(out, "spans").glob("*") for line in path.open(encoding="utf-8")]
    return sorted(json.loads(line)["id"] for line in lines)


def partial_files(out):
    return [path for path in Path(out).rglob("*") if ".partial" in path.name]


def run(source, out, model, **options):
    where = {} if options.get("engine") == "ray" else {"device": "cpu"}
    exact = {"precision": "float32"}  # bfloat16 depends on the batch where a CPU has AMX
    return annotate(source, out, model, **{**where, **exact, "progress": False, **options})


# sources


def write_source(kind, notes, folder):
    """The notes in one of the forms that a source may have."""
    import pandas as pd

    folder.mkdir()
    frame = pd.DataFrame({"note": [doc.id for doc in notes], "body": [doc.text for doc in notes]})
    if kind == "text":
        for i, doc in enumerate(notes):
            path = folder / f"{'deep/er/' if i % 3 else ''}{doc.id}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(doc.text.encode())
    for number, part in enumerate((frame[:23], frame[23:])):
        path = folder / f"notes{number}.{kind}"
        if kind == "jsonl":
            rows = part.to_dict("records")
            path.write_text("\n\n".join(json.dumps(row) for row in rows), encoding="utf-8")
        elif kind == "csv":
            part.assign(more=1).to_csv(path, index=False)
        elif kind == "parquet":
            part.to_parquet(path, row_group_size=7)
    if kind == "dataset":
        from datasets import Dataset

        return Dataset.from_pandas(frame)
    return folder


COLUMNS = {"id_column": "note", "text_column": "body"}


@pytest.mark.parametrize("kind", ["text", "jsonl", "csv", "parquet", "dataset", "documents"])
def test_every_source_gives_every_document_once_with_its_exact_text(kind, notes, tmp_path):
    notes = [Document(doc.id, f'\ufeff"{doc.text}"\r\n, é\x00\u2028end\n') for doc in notes]
    place = notes if kind == "documents" else write_source(kind, notes, tmp_path / "s")
    source, rejected = find_source(place, **COLUMNS), []
    parts = list(plan_parts(source, 7))
    assert all(part["count"] <= 7 for part in parts)
    parts = json.loads(json.dumps(parts))
    random.Random(0).shuffle(parts)  # workers take parts in any order
    read = {
        doc.id.split("/")[-1]: doc.text
        for part in parts
        for doc in read_part(source, part, rejected)
    }
    assert not rejected
    assert read == {doc.id: doc.text for doc in notes}
    assert sum(part["count"] for part in parts) == len(notes)


@pytest.mark.parametrize("kind", ["text", "jsonl", "csv", "parquet", "dataset"])
def test_every_source_gives_the_same_spans(kind, notes, tagger, tiny, tmp_path):
    from clinical_ner.tagger import predict

    place = write_source(kind, notes, tmp_path / "s")
    counts = run(place, tmp_path / "o", tiny, part_size=11, include_text=True, **COLUMNS)["counts"]
    assert counts["documents"] == 60 and counts["rejected"] == 0
    found = {}
    for row in iter_found(tmp_path / "o"):
        found.setdefault(row["document"].split("/")[-1], []).append(row)
    for doc in predict(tagger, notes, precision="float32", progress=False):
        rows = [(span.start, span.end, span.label) for span in doc.spans]
        assert [(r["start"], r["end"], r["label"]) for r in found.get(doc.id, [])] == rows
        assert all(r["text"] == doc.text[r["start"] : r["end"]] for r in found.get(doc.id, []))


def test_float32_gives_the_same_whatever_shares_a_batch(notes, tagger, tiny, tmp_path):
    """Scores to 1e-5, and the spans: alone, in any order, in any batch, by one worker or two."""
    from clinical_ner.inference import word_scores
    from clinical_ner.tagger import predict
    from clinical_ner.windows import make_windows

    notes = [*notes[:30], *sample_notes(2, seed=9)]  # of one window, of two, and of many
    shuffled = random.Random(0).sample(notes, len(notes))
    ways = [(notes, None), (shuffled, None), (notes, 64), (shuffled, 500), (notes, 100_000)]
    ways += [([doc], None) for doc in notes]
    wanted = {}
    for docs, token_budget in ways:
        options = {"token_budget": token_budget, "precision": "float32"}
        scores = word_scores(tagger.net, make_windows(docs, tagger.tokenizer), docs, **options)
        found = predict(tagger, docs, progress=False, **options)
        for doc, rows, spans in zip(docs, scores, (doc.spans for doc in found)):
            rows_before, spans_before = wanted.setdefault(doc.id, (rows, spans))
            np.testing.assert_allclose(np.exp(rows), np.exp(rows_before), rtol=0, atol=1e-5)
            assert spans == spans_before
    outs = [tmp_path / name for name in ("whole", "alone", "two")]
    run(notes, outs[0], tiny)
    run(shuffled, outs[1], tiny, part_size=1)
    run(shuffled, outs[2], tiny, part_size=5, token_budget=200, workers=2)
    assert_same_rows(*outs)
    spans = [(r["document"], r["start"], r["end"], r["label"]) for r in iter_found(outs[0])]
    known = [(name, s.start, s.end, s.label) for name, (_, found) in wanted.items() for s in found]
    assert spans == known and len(known) > 400


def test_a_dataset_goes_on_where_it_stopped(notes, tiny, tmp_path):
    place = write_source("dataset", notes, tmp_path / "s")
    first = run(place, tmp_path / "o", tiny, **COLUMNS)
    assert run(place, tmp_path / "o", tiny, **COLUMNS) == first


@pytest.mark.parametrize(
    "files, options, message",
    [
        ({"a.txt": "x", "b.jsonl": "{}"}, {}, "no .txt and .jsonl|.txt and .jsonl files there"),
        ({"a.xml": "x"}, {}, "no files there"),
        ({"a.csv": "id,body\n1,x\n"}, {}, "there is no column 'text' among the 2 there"),
        ({"a.jsonl": "\n"}, {}, "no documents there"),
        ({"a.csv": 'id,text\n1,"never closed\n' + "x\n" * 900_000}, {"max_chars": 10}, "a quote"),
        ({"a.csv": 'id,text\n1,x\n2,"never closed\n3,y\n'}, {}, "a.csv, line 3: a quote"),
        ({"a.parquet": "PAR1 no table PAR1"}, {}, "a.parquet: no Parquet file"),
    ],
)
def test_a_source_that_is_none_is_an_error(files, options, message, tmp_path):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        list(plan_parts(find_source(tmp_path, **options)))


def test_a_csv_without_header_is_an_error_without_text(tmp_path):
    (tmp_path / "a.csv").write_text(f"17,{SECRET} was admitted\n18,{SECRET}\n")
    with pytest.raises(ValueError, match="give a CSV file a line of their names") as error:
        list(plan_parts(find_source(tmp_path)))
    assert SECRET not in str(error.value)


@pytest.mark.parametrize("giant", ["x" * 1_500_000, '"' + 'a ""quote"", and\n' * 90_000 + '"'])
def test_an_absurdly_long_row_is_rejected_and_the_next_are_read(giant, tmp_path):
    (tmp_path / "a.csv").write_text(f'id,text\n1,one\n2,{giant}\n3,"th\nree"\n\n4,four')
    source, rejected = find_source(tmp_path / "a.csv", max_chars=10), []
    parts = list(plan_parts(source, 2))
    assert [part["count"] for part in parts] == [2, 2]
    read = {doc.id: doc.text for part in parts for doc in read_part(source, part, rejected)}
    assert read == {"1": "one", "3": "th\nree", "4": "four"}
    [row] = rejected
    assert row["place"] == "a.csv, line 3" and "a row of more than 1,000,060 bytes" in row["reason"]


def test_a_link_back_and_endings_in_capitals(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/back").symlink_to(tmp_path, target_is_directory=True)
    for name in ("a.txt", "in/B.TXT", "note.text", "in/README"):
        (tmp_path / name).write_text("No fever.")
    with pytest.warns(UserWarning, match=r"are left out: .text .1., none .1."):
        source = find_source(tmp_path)
    [part] = plan_parts(source)
    assert [doc.id for doc in read_part(source, part, [])] == ["a", "in/B.TXT"]


@pytest.mark.parametrize("name", ["a.txt", "s/*.txt", ["a.txt", "s/b.txt"]])
def test_single_text_files(name, tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s").mkdir()
    for file in ("a.txt", "s/b.txt", "s/c.txt"):
        (tmp_path / file).write_text("Took aspirin, no fever.")
    wanted = {"a.txt": ["a"], "s/*.txt": ["b", "c"]}.get(str(name), ["a", "s/b"])
    counts = run(name, tmp_path / "o", tiny)["counts"]
    assert ids_of(tmp_path / "o") == wanted and counts["rejected"] == 0


def test_a_streamed_dataset_is_an_error(notes):
    from datasets import Dataset

    rows = Dataset.from_list([{"id": doc.id, "text": doc.text} for doc in notes])
    with pytest.raises(ValueError, match="Parquet files"):
        find_source(rows.to_iterable_dataset())


def test_rows_of_a_damaged_parquet_file_are_rejected(notes, tiny, tmp_path):
    import pandas as pd

    frame = pd.DataFrame({"id": [doc.id for doc in notes], "text": [doc.text for doc in notes]})
    path = tmp_path / "n.parquet"
    frame.to_parquet(path, row_group_size=20, compression="snappy", use_dictionary=False)
    from pyarrow.parquet import ParquetFile

    place = ParquetFile(path).metadata.row_group(1).column(1).data_page_offset
    data = bytearray(path.read_bytes())
    data[place + 40 : place + 1500] = bytes(1460)
    path.write_bytes(data)
    counts = run(path, tmp_path / "o", tiny, part_size=15)["counts"]
    assert (counts["documents"], counts["rejected"]) == (40, 20)
    assert ids_of(tmp_path / "o") == sorted(doc.id for doc in [*notes[:20], *notes[40:]])


# outputs


def test_outputs_agree(notes, tiny, tmp_path):
    import pandas as pd

    for output in ("jsonl", "parquet", "brat"):
        run(notes, tmp_path / output, tiny, output=output, part_size=25)
    assert_same_rows(tmp_path / "jsonl", tmp_path / "parquet")
    assert ids_of(tmp_path / "jsonl") == sorted(doc.id for doc in notes)
    frame = pd.read_parquet(tmp_path / "parquet/spans")
    assert list(frame.columns) == ["document", "start", "end", "label", "score"]
    documents = pd.read_parquet(tmp_path / "parquet/documents")
    assert documents.spans.sum() == len(frame) and len(documents) == 60
    back = {doc.id: doc for doc in read_brat(tmp_path / "brat")}
    assert {doc.id: doc.text for doc in notes} == {name: doc.text for name, doc in back.items()}
    assert len(frame) == sum(len(doc.spans) for doc in back.values())


def test_ids_that_name_no_file_are_rejected_in_brat_only(tiny, tmp_path):
    docs = [Document(i, "No fever today.") for i in ("../up", "a/b", ".hidden", "x" * 300, "ok")]
    counts = run(docs, tmp_path / "b", tiny, output="brat")["counts"]
    assert (counts["documents"], counts["rejected"]) == (2, 3)
    assert not (tmp_path / "up.txt").exists()
    assert run(docs, tmp_path / "j", tiny)["counts"]["documents"] == 5


@pytest.mark.parametrize(
    ("end", "workers"), [("\n", 1), ("\r\n", 1), ("\r\n", 2), ("\r", 1), ("\t", 1), ("\n\n  ", 1)]
)
def test_brat_reads_every_mention_of_wrapped_notes(end, workers, tiny, tmp_path, notes, capfd):
    """The tagger finds mentions over line ends; each of them is a line that brat takes."""
    folder = tmp_path / "notes"
    folder.mkdir()
    for doc in notes[:6]:
        (folder / f"{doc.id}.txt").write_bytes(doc.text.replace("\n", end).encode())
    options = {"output": "brat", "part_size": 2, "workers": workers}
    found = run(folder, tmp_path / "o", tiny, **options)["counts"]
    docs = read_brat(tmp_path / "o")
    assert sum(len(doc.spans) for doc in docs) == found["spans"] > 20
    assert any(set(doc.text[s.start : s.end]) & set(end) for doc in docs for s in doc.spans)
    for doc in docs:
        assert doc.text == (folder / f"{doc.id}.txt").read_bytes().decode()
        assert not faults(tmp_path / "o" / f"{doc.id}.ann", folder / f"{doc.id}.txt")
    told = capfd.readouterr().out.count("Windows line ends count as one")
    assert told == (end == "\r\n")


# broken documents

SECRET = "ZEBRAQUAGGA"


def write_broken(folder):
    """A table with good and broken lines, and a planted word in each."""
    good = [{"id": f"g{i}", "text": f"Took {SECRET} 5 mg."} for i in range(4)]
    lines = [json.dumps(row).encode() for row in good]
    lines += [
        b'{"id": "cut", "text": "' + SECRET.encode(),
        b'{"id": "bytes", "text": "\xff' + SECRET.encode() + b'"}',
        json.dumps({"id": "half", "text": f"\ud800 {SECRET}"}).encode(),
        json.dumps({"id": "long", "text": SECRET * 500}).encode(),
        json.dumps({"id": "longer", "text": SECRET * 200_000}).encode(),
        json.dumps({"id": "number", "text": 5, "more": SECRET}).encode(),
        json.dumps({"text": SECRET}).encode(),
        json.dumps({"id": "g0", "text": f"again {SECRET}"}).encode(),
        json.dumps([SECRET]).encode(),
        b"[" * 100_000,
        json.dumps({"id": "words", "text": SECRET, "meta": {"words": [[5, 2], SECRET]}}).encode(),
    ]
    random.Random(1).shuffle(lines)
    (folder / "notes.jsonl").write_bytes(b"\r\n".join(lines))
    return folder / "notes.jsonl"


def check_silent(folder, *told):
    """The planted word is in no file of a folder, and in nothing that was told."""
    files = [path for path in Path(folder).rglob("*") if path.is_file()]
    assert files
    for text in [*told, *(path.read_text(errors="replace") for path in files)]:
        assert SECRET not in text and SECRET.lower() not in text


@pytest.mark.parametrize("workers", [1, 2])
def test_broken_documents_are_rejected_and_no_text_is_told(tiny, tmp_path, workers, capfd):
    source = write_broken(tmp_path)
    options = {"max_chars": 4000, "part_size": 4, "workers": workers, "progress": True}
    counts = run(source, tmp_path / "o", tiny, **options)["counts"]
    assert (counts["documents"], counts["rejected"]) == (4, 11)
    rejected = [json.loads(line) for line in (tmp_path / "o/rejected.jsonl").open()]
    assert len(rejected) == 11 and all(row["place"] and row["reason"] for row in rejected)
    reasons = " ".join(row["reason"] for row in rejected)
    for word in ("UTF-8", "more than 4,000", "bytes", "no text|string", "no id", "before it"):
        assert any(part in reasons for part in word.split("|")), word
    told = "".join(capfd.readouterr())
    assert "doc/s" in told or "s/doc" in told
    check_silent(tmp_path / "o", told)


def load_fragile(folder, **options):
    """A tagger that fails on the document "bad", with the text as the message of its error."""
    from clinical_ner import bulk
    from clinical_ner.tagger import Tagger, predict_stream

    def fail(tagger, docs, **settings):
        for doc in docs:
            if doc.id == "bad":
                raise IndexError(doc.text)
            yield from predict_stream(tagger, [doc], **settings)

    bulk.predict_stream = fail
    return Tagger.load(folder, **options)


@pytest.mark.parametrize("engine", ["local", "ray"])
def test_workers_that_fail_tell_no_text(engine, tiny, tmp_path, request, monkeypatch, capfd):
    from clinical_ner import bulk

    logs = []
    if engine == "ray":
        ray = request.getfixturevalue("cluster")
        logs = [ray._private.worker.global_worker.node.get_logs_dir_path()]
    monkeypatch.setattr(bulk, "predict_stream", bulk.predict_stream)  # back to this afterwards
    docs = [Document(name, f"{SECRET} here.") for name in ("a", "b", "bad", "c")]
    write_jsonl(docs, tmp_path / "notes.jsonl")
    options = {"engine": engine, "workers": 2, "part_size": 2, "load": load_fragile}
    counts = run(tmp_path / "notes.jsonl", tmp_path / "o", tiny, progress=True, **options)["counts"]
    assert (counts["documents"], counts["rejected"]) == (3, 1)
    assert "IndexError" in (tmp_path / "o/rejected.jsonl").read_text()
    for folder in [tmp_path / "o", *logs]:
        check_silent(folder, *capfd.readouterr())


def test_text_files_that_cannot_be_read_are_rejected(tiny, tmp_path):
    folder = tmp_path / "s"
    folder.mkdir()
    for name, data in {"a": b"Fine.", "b": b"caf\xe9", "c": b"x" * 500, "d": b""}.items():
        (folder / f"{name}.txt").write_bytes(data)
    (folder / "gone.txt").symlink_to(folder / "nowhere.txt")
    counts = run(folder, tmp_path / "o", tiny, max_chars=100)["counts"]
    assert (counts["documents"], counts["rejected"]) == (2, 3)
    places = [json.loads(line)["place"] for line in (tmp_path / "o/rejected.jsonl").open()]
    assert places == ["b.txt", "c.txt", "gone.txt"]


def test_rows_of_a_csv_that_cannot_be_read_are_rejected(tiny, tmp_path):
    rows = b'\xef\xbb\xbf"id","text"\n1,"two\r\nlines"\n2\n3,caf\xe9\n\n4,,\n5,NA\n1,again\n'
    (tmp_path / "t.csv").write_bytes(rows)
    counts = run(tmp_path / "t.csv", tmp_path / "o", tiny)["counts"]
    assert (counts["documents"], counts["rejected"]) == (2, 4)
    places = [json.loads(line)["place"] for line in (tmp_path / "o/rejected.jsonl").open()]
    assert places == [f"t.csv, line {n}" for n in (4, 5, 7, 9)]


def test_a_document_on_which_the_tagger_fails_takes_no_other_along(tiny, tmp_path, monkeypatch):
    from clinical_ner import bulk

    plain = bulk.predict_stream

    def fail(tagger, docs, **options):
        for doc in docs:
            if doc.id == "bad":
                raise IndexError(doc.text)
            yield from plain(tagger, [doc], **options)

    monkeypatch.setattr(bulk, "predict_stream", fail)
    docs = [Document(name, f"{SECRET} here.") for name in ("a", "b", "bad", "c")]
    counts = run(docs, tmp_path / "o", tiny)["counts"]
    assert ids_of(tmp_path / "o") == ["a", "b", "c"] and counts["rejected"] == 1
    [row] = (tmp_path / "o/rejected.jsonl").read_text().splitlines()
    assert "IndexError" in row and SECRET not in row


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    text=st.text(st.characters(codec="utf-8"), max_size=400)
    | st.text(st.characters(codec="utf-8", min_codepoint=0x2000), max_size=80)
)
def test_any_text_gives_exact_spans(tagger, text):
    """Any text that UTF-8 can hold; half a surrogate pair is rejected, as a test above shows."""
    doc = tagger(text)
    assert doc.text == text
    ends = [0, *(point for span in doc.spans for point in (span.start, span.end)), len(text)]
    assert ends == sorted(ends)
    assert all(text[span.start : span.end].strip() for span in doc.spans)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(texts=st.lists(st.text(st.characters(codec="utf-8"), max_size=200), min_size=1, max_size=8))
def test_any_text_goes_through_a_table(tiny, tmp_path_factory, texts):
    folder = tmp_path_factory.mktemp("any")
    with open(folder / "t.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("id", "text"), *enumerate(texts)])
    write_jsonl([Document(str(i), text) for i, text in enumerate(texts)], folder / "t.jsonl")
    for kind in ("csv", "jsonl"):
        counts = run(folder / f"t.{kind}", folder / kind, tiny, include_text=True, part_size=3)[
            "counts"
        ]
        assert (counts["documents"], counts["rejected"]) == (len(texts), 0)
    for row in iter_found(folder / "csv"):
        assert row["text"] == texts[int(row["document"])][row["start"] : row["end"]]
    assert_same_rows(folder / "csv", folder / "jsonl")


# going on


@pytest.mark.parametrize(
    "change, message",
    [
        ({"output": "parquet"}, "another setting (output: 'jsonl' there, 'parquet' now)"),
        ({"part_size": 9}, "another setting (part_size"),
        ({"include_text": True}, "another setting (include_text"),
        ({"model": 1}, "another model"),
        ({"source": 1}, "another source"),
    ],
)
def test_a_run_goes_on_with_the_same_only(notes, tiny, encoder_dir, tmp_path, change, message):
    from clinical_ner.tagger import Tagger

    run(notes, tmp_path / "o", tiny, part_size=30)
    source = notes[1:] if change.pop("source", 0) else notes
    model = Tagger.create(encoder_dir, ["Drug"]) if change.pop("model", 0) else tiny
    with pytest.raises(ValueError) as error:
        run(source, tmp_path / "o", model, **{"part_size": 30, **change})
    assert message in str(error.value) and "name another folder" in str(error.value)


def test_a_folder_of_something_else_is_left_alone(notes, tagger, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="is not empty"):
        run(notes, tmp_path, tagger)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_refused_run_changes_nothing(notes, tagger, encoder_dir, tmp_path):
    from clinical_ner.tagger import Tagger

    run(notes, tmp_path / "o", tagger)
    before = {path: path.read_bytes() for path in (tmp_path / "o").rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match="another model"):
        run(notes, tmp_path / "o", Tagger.create(encoder_dir, ["Drug"], max_length=64))
    after = {path: path.read_bytes() for path in (tmp_path / "o").rglob("*") if path.is_file()}
    assert before == after
    assert run(notes, tmp_path / "o", tagger)["finished"]


def test_files_that_come_later_are_told_of(tiny, tmp_path, monkeypatch):
    from clinical_ner import bulk

    folder, out = tmp_path / "s", tmp_path / "o"
    folder.mkdir()
    for i in range(6):
        (folder / f"{i}.txt").write_text("No fever.")
    monkeypatch.setattr(bulk, "_annotate_part", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(folder, out, tiny, part_size=2)
    monkeypatch.undo()
    (folder / "new.txt").write_text("No fever.")
    with pytest.warns(UserWarning, match=r"other files now \(7\).*planned\s+\(6\)"):
        told = run(folder, out, tiny, part_size=2)
    assert told["finished"] and told["counts"]["documents"] == 6
    with pytest.raises(ValueError, match="finished, and its source has other files now"):
        run(folder, out, tiny, part_size=2)


def test_a_run_that_went_on_under_other_versions_says_so(notes, tiny, tmp_path, monkeypatch):
    from clinical_ner import bulk

    monkeypatch.setattr(bulk, "_annotate_part", lambda *args: 1 / 0)
    monkeypatch.setattr(bulk, "package_versions", lambda *names: {"torch": "0.1"})
    with pytest.raises(ZeroDivisionError):
        run(notes, tmp_path / "o", tiny)
    monkeypatch.undo()
    told = run(notes, tmp_path / "o", tiny)
    assert told["earlier_versions"] == [{"torch": "0.1"}] and told["versions"]["torch"] != "0.1"


def test_options_that_do_nothing_together_are_errors(notes, tiny, tmp_path):
    with pytest.raises(ValueError, match="gpus=0 means the CPU"):
        annotate(notes, tmp_path / "o", tiny, engine="ray", device="cpu")
    with pytest.raises(ValueError, match="give workers and device"):
        annotate(notes, tmp_path / "o", tiny, gpus=1)
    assert not (tmp_path / "o").exists()


def test_precision_is_that_of_the_device(notes, tiny, tmp_path, monkeypatch):
    from clinical_ner import bulk

    asked = []
    monkeypatch.setattr(bulk, "choose_precision", lambda *given: asked.append(given) or "float32")
    told = run(notes[:2], tmp_path / "o", tiny, precision="auto")
    assert told["settings"]["precision"] == "float32"
    assert asked == [("auto", "cpu")]


def test_a_loader_with_settings_is_part_of_the_run(notes, tiny, tmp_path):
    from functools import partial

    from clinical_ner.tagger import Tagger

    load = partial(Tagger.load, labels=["Pill", "Cause"])
    told = run(notes[:4], tmp_path / "o", tiny, load=load)
    assert told["settings"]["load"] == "Tagger.load(labels=['Pill', 'Cause'])"
    assert {row["label"] for row in iter_found(tmp_path / "o")} <= {"Pill", "Cause"}
    with pytest.raises(ValueError, match="another setting"):
        run(notes[:4], tmp_path / "o", tiny)


def test_a_model_that_is_nowhere_leaves_nothing_behind(notes, tmp_path):
    with pytest.raises(FileNotFoundError, match="no tagger at"):
        run(notes, tmp_path / "o", str(tmp_path / "nowhere"))
    assert not (tmp_path / "o").exists()


def test_run_json_describes_the_run(notes, tiny, tmp_path):
    from clinical_ner.bulk import model_hash

    run(notes, tmp_path / "o", tiny)
    told = json.loads((tmp_path / "o/run.json").read_text())
    assert told["finished"] and told["counts"]["documents"] == 60
    assert told["model_hash"] == model_hash(tiny) and len(told["model_hash"]) == 64
    assert told["versions"]["torch"] and told["settings"]["output"] == "jsonl"


SCRIPT = """
import sys
from clinical_ner.bulk import annotate
if __name__ == "__main__":
    source, out, model, output, workers = sys.argv[1:]
    options = dict(workers=int(workers), threads=1, part_size=8, progress=False)
    options |= dict(device="cpu", precision="float32", output=output)
    annotate(source, out, model, **options)
"""


def start(folder, tiny, out, output="jsonl", workers=2):
    """The same run in a process of its own, with its helpers in one group."""
    (folder / "script.py").write_text(SCRIPT)
    flags = [folder / "notes.jsonl", out, tiny, output, workers]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(folder / "script.py"), *map(str, flags)]
    return subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)


def reports(out):
    return len(list(Path(out, ".parts").glob("*/*.json")))


def kill_and_go_on(folder, tiny, out, kills, workers, output, seed):
    """Kill a run at random moments, then let it finish; how many parts were done before.

    By turns soon after a part is done, and at any moment from the start of the process on: while
    it plans, loads the tagger, or works.
    """
    chance, startup = random.Random(seed), 0.0
    for number in range(kills):
        began = time.time()
        process, before = start(folder, tiny, out, output, workers), reports(out)
        if number % 2:
            time.sleep(chance.random() * 0.7 * startup)
        else:
            while process.poll() is None and reports(out) == before:
                time.sleep(0.005)
            startup = startup or time.time() - began
            time.sleep(chance.random() * 0.15)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    killed_at = reports(out)
    last = start(folder, tiny, out, output, workers)
    _, err = last.communicate(timeout=300)
    assert last.returncode == 0, err
    return killed_at


def check_killed(kills, notes, tiny, folder, workers, copies, output="jsonl"):
    many = [Document(f"{doc.id}-{i}", doc.text * 4) for i in range(copies) for doc in notes]
    write_jsonl(many, folder / "notes.jsonl")
    with open(folder / "notes.jsonl", "a") as file:
        file.write('{"id": "cut\n' * 9)
    run(folder / "notes.jsonl", folder / "whole", tiny, part_size=8, output=output)
    killed_at = kill_and_go_on(folder, tiny, folder / "killed", kills, workers, output, kills)
    assert 0 < killed_at < len(many) // 8, "the kills came too late to test anything"
    outs = folder / "killed", folder / "whole"
    if output == "brat":
        killed, whole = ({doc.id: doc.spans for doc in read_brat(out)} for out in outs)
        assert killed == whole
    else:
        assert_same_rows(*outs)
    if output == "jsonl":
        assert ids_of(folder / "killed") == sorted(doc.id for doc in many)
    assert not partial_files(folder / "killed")
    rejected = [(folder / name / "rejected.jsonl").read_text() for name in ("whole", "killed")]
    assert rejected[0] == rejected[1] and len(rejected[0].splitlines()) == 9
    told = json.loads((folder / "killed/run.json").read_text())
    assert told["finished"] and told["counts"]["documents"] == len(many)


def test_killed_twice_nothing_is_lost_or_repeated(notes, tiny, tmp_path):
    check_killed(2, notes, tiny, tmp_path, workers=2, copies=24)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kills, workers, output",
    [(20, 1, "jsonl"), (20, 2, "jsonl"), (6, 2, "brat"), (6, 2, "parquet")],
)
def test_killed_many_times(notes, tiny, tmp_path, kills, workers, output):
    check_killed(kills, notes, tiny, tmp_path, workers, 100, output)


def test_workers_end_with_a_killed_parent(notes, tiny, tmp_path):
    psutil = pytest.importorskip("psutil")
    many = [Document(f"{doc.id}-{i}", doc.text) for i in range(20) for doc in notes]
    write_jsonl(many, tmp_path / "notes.jsonl")
    process = start(tmp_path, tiny, tmp_path / "o")
    while not reports(tmp_path / "o") and process.poll() is None:
        time.sleep(0.01)
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    assert children and not psutil.wait_procs(children, timeout=20)[1]


def test_two_runs_do_not_share_a_folder(notes, tiny, tmp_path):
    fcntl = pytest.importorskip("fcntl")
    (tmp_path / "o/.parts").mkdir(parents=True)
    with open(tmp_path / "o/.parts/lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(ValueError, match="another run is writing here"):
            run(notes, tmp_path / "o", tiny)


def test_a_worker_that_dies_is_an_error_that_says_what_to_do(notes, tiny, tmp_path):
    psutil = pytest.importorskip("psutil")
    many = [Document(f"{doc.id}-{i}", doc.text * 4) for i in range(12) for doc in notes]
    write_jsonl(many, tmp_path / "notes.jsonl")
    process = start(tmp_path, tiny, tmp_path / "o")
    while not reports(tmp_path / "o") and process.poll() is None:
        time.sleep(0.005)
    workers = [
        child
        for child in psutil.Process(process.pid).children()
        if "spawn_main" in " ".join(child.cmdline())
    ]
    workers[0].kill()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1 and "call again to go on" in err
    assert reports(tmp_path / "o") < 90


# Ray


@pytest.fixture(scope="module")
def cluster():
    """A Ray of this machine alone, with room for two workers."""
    ray = pytest.importorskip("ray")
    before = {name: os.environ.get(name) for name in ("PYTHONPATH", "RAY_USAGE_STATS_ENABLED")}
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    os.environ.update(PYTHONPATH=path, RAY_USAGE_STATS_ENABLED="0")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    yield ray
    ray.shutdown()
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})


def kill_ray_workers(out, kills, done):
    """Kill a worker of Ray whenever some more parts have been done; how often."""
    import psutil

    killed, wanted = 0, 5
    while killed < kills and not done.is_set():
        time.sleep(0.01)
        if reports(out) < wanted:
            continue
        for process in psutil.Process().children(recursive=True):  # of this cluster alone
            with suppress(psutil.NoSuchProcess):
                name = " ".join(process.cmdline())
                if "ray::" in name and "RayWorker" in name:
                    process.kill()
                    killed, wanted = killed + 1, reports(out) + 20
                    break
    return killed


def check_ray(cluster, notes, tiny, folder, kills, copies):
    from concurrent.futures import ThreadPoolExecutor
    from threading import Event

    many = [Document(f"{doc.id}-{i}", doc.text * 4) for i in range(copies) for doc in notes]
    write_jsonl(many, folder / "notes.jsonl")
    options = {"part_size": 8, "include_text": True}
    run(folder / "notes.jsonl", folder / "local", tiny, **options)
    done = Event()
    with ThreadPoolExecutor(1) as pool:
        killed = pool.submit(kill_ray_workers, folder / "ray", kills, done)
        try:
            options |= {"engine": "ray", "workers": 2, "threads": 1}
            told = run(folder / "notes.jsonl", folder / "ray", tiny, **options)
        finally:
            done.set()
    assert killed.result() == kills
    assert told["finished"] and told["counts"]["documents"] == len(many)
    assert_same_rows(folder / "ray", folder / "local")
    assert ids_of(folder / "ray") == sorted(doc.id for doc in many)
    assert not partial_files(folder / "ray")


def test_ray_gives_the_same_with_a_worker_killed(cluster, notes, tiny, tmp_path):
    check_ray(cluster, notes, tiny, tmp_path, kills=1, copies=12)


@pytest.mark.slow
def test_ray_with_five_workers_killed(cluster, notes, tiny, tmp_path):
    check_ray(cluster, notes, tiny, tmp_path, kills=5, copies=60)


def test_a_run_begun_locally_goes_on_on_ray(cluster, notes, tiny, tmp_path, monkeypatch):
    from clinical_ner import bulk

    write_jsonl(notes, tmp_path / "notes.jsonl")
    plain, made = bulk._annotate_part, []

    def stop_after_three(*args):
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append(args[2])
        return plain(*args)

    monkeypatch.setattr(bulk, "_annotate_part", stop_after_three)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "notes.jsonl", tmp_path / "o", tiny, part_size=10)
    told = json.loads((tmp_path / "o/run.json").read_text())
    assert told["counts"]["documents"] == 30 and not told["finished"]
    monkeypatch.undo()
    told = run(tmp_path / "notes.jsonl", tmp_path / "o", tiny, part_size=10, engine="ray")
    assert told["finished"] and ids_of(tmp_path / "o") == sorted(doc.id for doc in notes)
