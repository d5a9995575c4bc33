"""Addresses on S3 in place of paths, against a server on this machine."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertModel

from clinical_ner.bulk import annotate, iter_found
from clinical_ner.cli import (
    clinical_ner_annotate,
    clinical_ner_demo,
    clinical_ner_evaluate,
    clinical_ner_prepare,
    clinical_ner_train,
)
from clinical_ner.core import (
    given_path,
    iter_jsonl,
    local_path,
    open_atomic,
    read_jsonl,
    write_jsonl,
)
from clinical_ner.corpora import n2c2_2018, ncbi_disease
from clinical_ner.formats import (
    read_bioc,
    read_brat,
    read_conll,
    read_medmentions_csv,
    read_pubtator,
    write_bioc,
    write_brat,
    write_conll,
    write_medmentions_csv,
    write_pubtator,
)
from clinical_ner.onnx_export import export_onnx
from clinical_ner.publishing import write_release
from clinical_ner.samples import sample_notes
from clinical_ner.tagger import Tagger, predict
from clinical_ner.train import fine_tune
from clinical_ner.widgets import review

BUCKET = "s3://notes"


@pytest.fixture(scope="session")
def server():
    """The endpoint of an S3 server in this process."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(server, monkeypatch, tmp_path):
    """A client of an empty bucket "notes"; the work folder is `tmp_path`."""
    import boto3
    import requests

    settings = {"AWS_ENDPOINT_URL": server, "AWS_DEFAULT_REGION": "us-east-1"}
    settings |= {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
    settings |= {"AWS_EC2_METADATA_DISABLED": "true"}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
    monkeypatch.chdir(tmp_path)
    requests.post(f"{server}/moto-api/reset", timeout=10)
    client = boto3.client("s3")
    client.create_bucket(Bucket="notes")
    return client


def put(s3, path: Path, key: str) -> str:
    """Upload a file or folder; its address."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    for file in files:
        inner = "" if file == path else "/" + file.relative_to(path).as_posix()
        s3.upload_file(str(file), "notes", key + inner)
    return f"{BUCKET}/{key}"


def no_folder_named_s3(folder: Path) -> bool:
    return not any(path.name.startswith("s3:") for path in folder.iterdir())


# Readers


FORMATS = {
    "notes.jsonl": (write_jsonl, read_jsonl),
    "notes.pubtator": (write_pubtator, read_pubtator),
    "notes.conll": (write_conll, read_conll),
    "notes.csv": (write_medmentions_csv, read_medmentions_csv),
    "notes.xml": (write_bioc, read_bioc),
    "brat": (write_brat, read_brat),
}


@pytest.mark.parametrize("name", FORMATS)
def test_readers_give_the_same_as_from_disk(s3, tmp_path, name):
    write, read = FORMATS[name]
    write(sample_notes(4, seed=1), tmp_path / name)
    there = read(tmp_path / name)
    address = put(s3, tmp_path / name, f"a/b c/{name}")
    assert len(there) == 4 and any(doc.spans for doc in there)
    assert read(address) == there
    assert read(Path(address)) == there  # with one slash after s3:
    assert no_folder_named_s3(tmp_path)


def test_brat_texts_in_another_place(s3, tmp_path):
    write_brat(sample_notes(2), tmp_path / "brat")
    there = read_brat(tmp_path / "brat")
    address = put(s3, tmp_path / "brat", "brat")
    assert read_brat(address, texts=tmp_path / "brat") == there
    assert read_brat(tmp_path / "brat", texts=address) == there


def test_what_is_fetched_is_what_is_there_now(s3, tmp_path):
    write_jsonl(sample_notes(3), tmp_path / "n.jsonl")
    address = put(s3, tmp_path / "n.jsonl", "n.jsonl")
    assert len(list(iter_jsonl(address))) == 3
    write_jsonl(sample_notes(2), tmp_path / "n.jsonl")
    put(s3, tmp_path / "n.jsonl", "n.jsonl")
    assert len(list(iter_jsonl(address))) == 2


def test_a_prefix_is_a_folder_and_no_more(s3):
    for key in ("run/", "run/a.txt", "run/x/b.txt", "run2/c.txt", "running.txt"):
        s3.put_object(Bucket="notes", Key=key, Body=b"" if key.endswith("/") else key.encode())
    for address in (f"{BUCKET}/run", f"{BUCKET}/run/"):
        folder = local_path(address)
        files = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
        assert files == ["a.txt", "x/b.txt"]
        assert folder.as_posix().endswith("/s3/notes/run")
        assert given_path(folder / "a.txt") == f"{BUCKET}/run/a.txt"
        assert (folder.parents[2].stat().st_mode & 0o077) == 0  # only this user can read it


def test_fetched_files_go_when_python_ends(s3, tmp_path):
    s3.put_object(Bucket="notes", Key="a.txt", Body=b"a")
    code = "from clinical_ner.core import local_path; print(local_path('s3://notes/a.txt'))"
    env = os.environ | {"TMPDIR": str(tmp_path)}
    run = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith(str(tmp_path))
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore:.*not as published")
def test_corpora_read_a_folder(s3, tmp_path):
    notes = sample_notes(3)
    parts = {"training_20180910": notes[:2], "gold-standard-test-data": notes[2:]}
    for part, docs in parts.items():
        write_brat(docs, tmp_path / "n2c2" / part)
    address = put(s3, tmp_path / "n2c2", "n2c2")
    there = n2c2_2018(tmp_path / "n2c2")
    assert sum(map(len, there.values())) == 3
    assert n2c2_2018(address) == there
    with pytest.raises(FileNotFoundError, match=f"^{BUCKET}/absent: there is no such"):
        ncbi_disease(f"{BUCKET}/absent")


# A tagger, and what it finds


@pytest.fixture(scope="session")
def tagger_dir(encoder_dir, tmp_path_factory) -> Path:
    """A tagger of one small layer that finds something, without training."""
    encoder, folder = tmp_path_factory.mktemp("encoder"), tmp_path_factory.mktemp("tagger")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    BertModel(BertConfig(intermediate_size=16, **sizes)).save_pretrained(encoder)
    for name in ("vocab.txt", "tokenizer_config.json"):
        shutil.copy(Path(encoder_dir) / name, encoder)
    Tagger.create(str(encoder), ["Drug", "Reason"], max_length=64).save(folder)
    return folder


def test_tagger_loads(s3, tagger_dir):
    address = put(s3, tagger_dir, "tagger")
    here, there = Tagger.load(tagger_dir), Tagger.load(address)
    docs = sample_notes(1)
    found, wanted = (predict(one, docs, precision="float32") for one in (there, here))
    assert found == wanted and found[0].spans
    with pytest.raises(FileNotFoundError, match=f"^{BUCKET}/absent: there is no such"):
        Tagger.load(f"{BUCKET}/absent")


def test_annotate_reads_notes_and_tagger_and_goes_on(s3, tmp_path, tagger_dir):
    write_brat(sample_notes(4), tmp_path / "in")
    notes, model = put(s3, tmp_path / "in", "in"), put(s3, tagger_dir, "tagger")
    options = {"part_size": 2, "progress": False, "device": "cpu", "precision": "float32"}
    annotate(tmp_path / "in", tmp_path / "here", tagger_dir, **options)
    run = annotate(notes, tmp_path / "there", model, **options)
    assert run["finished"] and run["counts"]["documents"] == 4
    assert (run["model"], run["source"]["folder"]) == (model, notes)
    found = list(iter_found(tmp_path / "there"))
    assert found and found == list(iter_found(tmp_path / "here"))
    assert list(iter_found(put(s3, tmp_path / "there", "there"))) == found
    reports = sorted((tmp_path / "there" / ".parts").rglob("0*.json"))
    reports[-1].unlink()  # as a kill leaves it; the notes are fetched to another folder now
    record = tmp_path / "there" / "run.json"
    record.write_text(record.read_text().replace('"finished": true', '"finished": false'))
    again = annotate(notes, tmp_path / "there", model, **options)
    assert again["finished"] and list(iter_found(tmp_path / "there")) == found


def test_annotate_reads_a_table(s3, tmp_path, tagger_dir):
    write_jsonl(sample_notes(3), tmp_path / "n.jsonl")
    address = put(s3, tmp_path / "n.jsonl", "n.jsonl")
    run = annotate(address, tmp_path / "out", tagger_dir, progress=False, device="cpu")
    assert run["counts"]["documents"] == 3 and run["source"]["first"] == address


def test_commands_read(s3, tmp_path, tagger_dir, capsys):
    write_brat(sample_notes(2), tmp_path / "in")
    notes, model = put(s3, tmp_path / "in", "in"), put(s3, tagger_dir, "tagger")
    clinical_ner_annotate(
        model_name=model, input_dir=notes, target_dir=str(tmp_path / "out"), device="cpu"
    )
    clinical_ner_evaluate(gold=notes, pred=notes)
    said = capsys.readouterr().out
    assert "2 documents" in said and "1.0000" in said
    assert no_folder_named_s3(tmp_path)


# Errors


@pytest.mark.parametrize("address", [f"{BUCKET}/absent.jsonl", "s3://no-such-bucket/a.jsonl"])
def test_absent(s3, address):
    with pytest.raises(FileNotFoundError, match=f"^{address}: there is no such.*aws s3 ls"):
        read_jsonl(address)


def test_no_bucket_named(s3):
    with pytest.raises(OSError, match="^s3://"):
        read_jsonl("s3://")


def test_no_credentials(s3, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(PermissionError, match=f"^{BUCKET}/a.jsonl: no credentials.*aws configure"):
        read_jsonl(f"{BUCKET}/a.jsonl")


def test_wrong_credentials(s3, server):
    import requests

    s3.put_object(Bucket="notes", Key="a.jsonl", Body=b"")
    requests.post(f"{server}/moto-api/reset-auth", data="0", timeout=10)  # from now on it looks
    try:
        with pytest.raises(PermissionError, match=f"^{BUCKET}/a.jsonl: .*not allowed; run"):
            read_jsonl(f"{BUCKET}/a.jsonl")
    finally:
        requests.post(f"{server}/moto-api/reset-auth", data="inf", timeout=10)


def test_a_broken_download_leaves_nothing(s3, monkeypatch):
    from s3fs import S3FileSystem

    async def break_off(self, source, target, **options):
        Path(target).write_bytes(b"half")
        raise ConnectionError("the peer went away")

    s3.put_object(Bucket="notes", Key="run/a.txt", Body=b"whole")
    root = local_path(f"{BUCKET}/run").parents[2]
    before = sorted(root.iterdir())
    monkeypatch.setattr(S3FileSystem, "_get_file", break_off)
    with pytest.raises(OSError, match=f"^{BUCKET}/run: "):
        local_path(f"{BUCKET}/run")
    assert sorted(root.iterdir()) == before


def test_no_network(s3, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(ConnectionError, match=f"^{BUCKET}/a.jsonl: .*AWS_ENDPOINT_URL"):
        read_jsonl(f"{BUCKET}/a.jsonl")


def test_extra_missing(s3, monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(ImportError, match=rf"^{BUCKET}/a.jsonl: .*clinical_ner\[aws\]"):
        read_jsonl(f"{BUCKET}/a.jsonl")


def test_a_key_that_would_leave_the_folder(s3):
    s3.put_object(Bucket="notes", Key="n/../../../x.txt", Body=b"x")
    with pytest.raises(OSError, match="rename it on S3"):
        local_path(f"{BUCKET}/n")


def test_a_broken_line_names_the_address(s3):
    s3.put_object(Bucket="notes", Key="n.jsonl", Body=b'{"id": "a", "text": "Zyxomab"\n')
    with pytest.raises(ValueError, match=f"^{BUCKET}/n.jsonl, line 1") as caught:
        read_jsonl(f"{BUCKET}/n.jsonl")
    assert "Zyxomab" not in str(caught.value)


# Writing is refused


REFUSED = {
    "Tagger.save": lambda to: Tagger.save(None, to),
    "fine_tune": lambda to: fine_tune({"train": sample_notes(2)}, "absent", output=to),
    "annotate": lambda to: annotate("absent", to, "absent"),
    "export_onnx": lambda to: export_onnx(None, to),
    "write_release": lambda to: write_release(None, to, None, sample_notes(1)),
    "review": lambda to: review(sample_notes(1), save_to=to),
    "prepare": lambda to: clinical_ner_prepare(target_dir=str(to), tokenizer="a", input_dir="a"),
    "train": lambda to: clinical_ner_train(new_model_dir=str(to), model_name="a", data_dir="a"),
    "annotate command": lambda to: clinical_ner_annotate(
        target_dir=str(to), model_name="a", input_dir="a"
    ),
    "evaluate": lambda to: clinical_ner_evaluate(gold="a", pred="a", output=str(to)),
    "demo": lambda to: clinical_ner_demo(output=str(to)),
    "open_atomic": lambda to: open_atomic(to).__enter__(),
    "write_jsonl": lambda to: write_jsonl(sample_notes(1), to),
    "write_brat": lambda to: write_brat(sample_notes(1), to),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("kind", [str, Path])
def test_writers_refuse_and_say_what_to_do(tmp_path, monkeypatch, name, kind):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="aws s3 sync FOLDER s3://notes/run[`/]"):
        REFUSED[name](kind("s3://notes/run"))
    assert not list(tmp_path.iterdir())
