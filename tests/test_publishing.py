"""Publishing: what the card says, what must not go out, and every way in which an upload fails."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hub_stand_in import READER, TOKEN, run_hub

from clinical_ner.core import Document
from clinical_ner.publishing import find_training_text, model_card, publish, write_release
from clinical_ner.samples import sample_notes
from clinical_ner.tagger import Tagger, predict

ROOT = Path(__file__).resolve().parent.parent
FILES = {"README.md", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}


@pytest.fixture(scope="module")
def notes():
    return sample_notes(8, seed=3)


@pytest.fixture(scope="module")
def run(encoder_dir, notes, tmp_path_factory):
    """The folder of a short fine-tuning run of a small network."""
    from transformers import AutoModel, BertConfig

    from clinical_ner.encoders import load_tokenizer
    from clinical_ner.train import fine_tune

    folder = tmp_path_factory.mktemp("run")
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2}
    config = BertConfig(vocab_size=30522, num_hidden_layers=1, initializer_range=0.5, **sizes)
    AutoModel.from_config(config).save_pretrained(folder / "encoder")
    load_tokenizer(encoder_dir, max_length=128).save_pretrained(folder / "encoder")
    corpus = {"train": notes[:6], "validation": notes[6:]}
    fine_tune(corpus, str(folder / "encoder"), epochs=1, lr=1e-3, output=folder / "out")
    return folder / "out"


@pytest.fixture(scope="module")
def tagger(run):
    return Tagger.load(run, device="cpu")


@pytest.fixture(scope="module")
def scores(tagger, notes):
    from clinical_ner.metrics import bootstrap, dictionary_baseline

    return bootstrap(notes[6:], dictionary_baseline(notes[:6], notes[6:]), resamples=100)


@pytest.fixture(scope="module")
def card(tagger, scores, run):
    return model_card(
        tagger, scores, name="user/drugs", data="made-up notes", data_licence="CC0", run=run
    )


@pytest.fixture
def hub(monkeypatch):
    """The stand-in, and a client that may reach it."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with run_hub() as hub:
        yield hub


def in_process(code: str, hub, tmp_path: Path, **options):
    """A Python of its own that finds the stand-in where the Hub would be."""
    env = {name: value for name, value in os.environ.items() if "OFFLINE" not in name}
    env |= {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1"}
    env |= {"HF_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", code], env=env, **pipes, **options)


def send(hub, tagger, card, notes, repo_id="user/drugs", token=TOKEN, **options):
    return publish(tagger, repo_id, card, notes, token=token, endpoint=hub.url, **options)


# the card


def test_the_card_says_what_the_run_left(card, run, scores):
    text, settings = card.text, json.loads((run / "settings.json").read_text())
    for name in ("lr", "epochs", "seed", "batch_size", "weight_decay", "warmup"):
        assert f"| {name} | {settings[name]} |" in text
    assert "6 train, 2 validation" in text and "Epoch 1 was kept" in text
    assert str(run.parent) not in card.content and "| encoder | encoder |" in text
    assert "train_documents" not in text  # fingerprints of documents stay at home
    low, high = scores["micro", "strict_f1_low"], scores["micro", "strict_f1_high"]
    assert f"[{low:.3f}, {high:.3f}]" in text and "same characters" in text
    assert "torch" in text and "transformers" in text
    assert "not open" not in text and "Licence or agreement of the data: CC0" in text


def test_the_head_holds_the_scores_as_model_index(card, scores):
    from huggingface_hub import ModelCard

    head = ModelCard(card.content).data.to_dict()
    (model,) = head["model-index"]
    (result,) = model["results"]
    assert model["name"] == "user/drugs" and result["task"]["type"] == "token-classification"
    assert result["dataset"]["split"] == "test"
    by_name = {metric["name"]: metric for metric in result["metrics"]}
    micro = by_name["strict f1 (micro)"]
    assert micro["type"] == "f1" and micro["value"] == round(scores["micro", "strict_f1"], 4)
    assert micro["args"]["matching"] == "strict"
    assert micro["args"]["low"] <= micro["value"] <= micro["args"]["high"]
    assert len(by_name) == 4 and head["pipeline_tag"] == "token-classification"
    assert "base_model" not in head  # the encoder was a folder


@pytest.mark.parametrize("licence", ["CC0", "cc-by-4.0", "CC BY-SA 4.0", "Public domain", "MIT"])
def test_open_licences_need_no_warning(tagger, scores, licence):
    card = model_card(tagger, scores, name="u/m", data="d", data_licence=licence)
    assert "not open" not in card.text


@pytest.mark.parametrize("licence", ["n2c2 DUA", "CC BY-ND 4.0", "UMLS", "not CC0", "internal"])
def test_agreements_are_said_first(tagger, scores, licence):
    card = model_card(tagger, scores, name="u/m", data="d", data_licence=licence)
    warning = f"**The data are not open: {licence}.**"
    assert 0 <= card.text.index(warning) < card.text.index("##")


def test_a_run_of_another_model_is_refused(tagger, scores, run, tmp_path):
    need = {"name": "u/m", "data": "d", "data_licence": "CC0"}
    for name in ("settings.json", "history.csv", "scores.json"):
        with pytest.raises(FileNotFoundError, match=name):
            model_card(tagger, scores, run=tmp_path, **need)
        (tmp_path / name).write_bytes((run / name).read_bytes())
    report = json.loads((run / "scores.json").read_text())
    (tmp_path / "scores.json").write_text(json.dumps(report | {"labels": ["Disease"]}))
    with pytest.raises(ValueError, match="this run learned Disease"):
        model_card(tagger, scores, run=tmp_path, **need)


# what must not go out


def places(folder: Path, text: str) -> dict:
    """Ways in which `text` gets into a file of a model."""
    config = json.loads((folder / "config.json").read_text())
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    vocabulary = json.loads((folder / "tokenizer.json").read_text())
    vocabulary["model"]["vocab"][text] = 99_999
    header = {"__metadata__": {"note": text}}
    data = json.dumps(header).encode()
    return {
        "README.md": f"# Model\n\n> {text.replace(' ', '  ').upper()}\n".encode(),
        "config.json": json.dumps(config | {"examples": text.split()}).encode(),
        "tokenizer_config.json": json.dumps(settings | {"extra": {text: 1}}).encode(),
        "tokenizer.json": json.dumps(vocabulary).encode(),
        "vocab.txt": f"[PAD]\n{text}\n".encode(),
        "model.safetensors": len(data).to_bytes(8, "little") + data,
    }


@pytest.mark.parametrize("name", ["README.md", "config.json", "tokenizer_config.json"])
@pytest.mark.parametrize("doc", [0, 5])
def test_text_in_each_file_is_found(tagger, card, notes, tmp_path, name, doc):
    write_release(tagger, tmp_path / "clean", card, notes)
    words = " ".join(notes[doc].text[300:700].split()[1:-1])
    (tmp_path / "clean" / name).write_bytes(places(tmp_path / "clean", words)[name])
    leaks = find_training_text(tmp_path / "clean", notes)
    assert (name, notes[doc].id) in {(leak.file, leak.doc_id) for leak in leaks}
    assert {leak.file for leak in leaks} == {name}
    assert words.split()[3] not in str(leaks)


@pytest.mark.parametrize("name", ["tokenizer.json", "vocab.txt", "model.safetensors"])
def test_text_in_vocabularies_and_weights_is_found(tagger, card, tmp_path, name):
    doc = Document("d", "Mr. Quillfeather was seen by his daughter today.")
    write_release(tagger, tmp_path / "clean", card, [doc])
    words = "Quillfeather was seen by his daughter"
    (tmp_path / "clean" / name).write_bytes(places(tmp_path / "clean", words)[name])
    (leak,) = find_training_text(tmp_path / "clean", [doc])
    assert (leak.file, leak.doc_id) == (name, "d") and "Quill" not in str(leak)


def test_clean_files_of_every_note_are_clean(tagger, card, tmp_path):
    assert write_release(tagger, tmp_path / "r", card, sample_notes(300, seed=77))


def test_only_files_of_a_model_go_out(tagger, card, notes, run, tmp_path, monkeypatch):
    assert {"train.log", "history.csv", "checkpoints"} <= {path.name for path in run.iterdir()}
    files = write_release(tagger, tmp_path / "a", card, notes)
    assert {file.name for file in files} == FILES
    settings = json.loads((tmp_path / "a/tokenizer_config.json").read_text())
    assert not {"is_local", "local_files_only"} & settings.keys()
    before = type(tagger).save

    def save(self, path):
        before(self, path)
        (Path(path) / "optimizer.pt").write_bytes(b"moments")

    monkeypatch.setattr(type(tagger), "save", save)
    with pytest.raises(ValueError, match="optimizer.pt: no file of a model"):
        write_release(tagger, tmp_path / "b", card, notes)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


# the Hub


def test_published_loads_everywhere(hub, tagger, card, notes, tmp_path, capsys):
    url = send(hub, tagger, card, notes)
    repo = hub.repos["user/drugs"]
    assert url == f"{hub.url}/user/drugs" and "(private)" in capsys.readouterr().out
    assert repo.private and set(repo.files) == FILES | {".gitattributes"} and len(repo.commits) == 2
    assert repo.files["README.md"].decode() == card.content
    code = (
        "from clinical_ner import Tagger, predict, sample_notes\n"
        "from transformers import AutoModelForTokenClassification\n"
        "tagger = Tagger.load('user/drugs', device='cpu')\n"
        "[found] = predict(tagger, sample_notes(1, seed=3), precision='float32')\n"
        "print([(s.start, s.end, s.label) for s in found.spans])\n"
        "net = AutoModelForTokenClassification.from_pretrained('user/drugs')\n"
        "print(net.config.id2label)"
    )
    loading = in_process(code, hub, tmp_path)
    out, err = loading.communicate(timeout=240)
    assert loading.returncode == 0, err[-2000:]
    spans, names = out.splitlines()[-2:]
    [found] = predict(tagger, notes[:1], precision="float32")
    assert found.spans and spans == str([(s.start, s.end, s.label) for s in found.spans])
    assert names == str(dict(enumerate(tagger.tags)))


def test_training_text_stops_everything(hub, tagger, card, notes):
    from huggingface_hub import ModelCard

    telling = ModelCard(f"{card.content}\n{notes[2].text}")
    with pytest.raises(ValueError, match="nothing was published: .*README.md has 6 words") as error:
        send(hub, tagger, telling, notes)
    assert notes[2].id in str(error.value) and notes[2].text[40:60] not in str(error.value)
    assert hub.requests == [] and hub.repos == {}


@pytest.mark.parametrize("token, repo_id, error, words", [
    ("hf_wrong", "user/drugs", PermissionError, "does not know the token"),
    (READER, "user/drugs", PermissionError, "may not write to user/drugs"),
    (TOKEN, "someone/drugs", PermissionError, "may not write to someone/drugs"),
])  # fmt: skip
def test_without_the_right_nothing_is_made(hub, tagger, card, notes, token, repo_id, error, words):
    with pytest.raises(error, match=words) as caught:
        send(hub, tagger, card, notes, repo_id, token)
    assert hub.repos == {} and token not in str(caught.value)


def test_no_token_at_all(hub, tagger, card, notes, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(PermissionError, match="no token is known.*hf auth login"):
        send(hub, tagger, card, notes, token=None)


def test_no_network(hub, tagger, card, notes, monkeypatch):
    with pytest.raises(ConnectionError, match="cannot be reached"):
        publish(tagger, "user/drugs", card, notes, token=TOKEN, endpoint="http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ConnectionError, match="HF_HUB_OFFLINE is set"):
        send(hub, tagger, card, notes)
    assert hub.requests == []


def test_a_model_that_is_there_is_replaced_only_if_asked(hub, tagger, card, notes):
    send(hub, tagger, card, notes)
    repo = hub.repos["user/drugs"]
    repo.files |= {"model-00001-of-00002.safetensors": b"old", "LICENSE": b"mine"}
    before = dict(repo.files)
    with pytest.raises(FileExistsError, match="pass exist_ok=True"):
        send(hub, tagger, card, notes)
    assert repo.files == before
    send(hub, tagger, card, notes, exist_ok=True)
    assert set(repo.files) == FILES | {".gitattributes", "LICENSE"}


def test_private_and_public_are_never_confused(hub, tagger, scores, card, notes):
    send(hub, tagger, card, notes, "user/open", private=False)
    assert not hub.repos["user/open"].private
    with pytest.raises(ValueError, match="user/open is public, not private"):
        send(hub, tagger, card, notes, "user/open", exist_ok=True)
    assert len(hub.repos["user/open"].commits) == 2
    dua = model_card(tagger, scores, name="user/dua", data="n2c2 2018", data_licence="n2c2 DUA")
    with pytest.raises(ValueError, match="n2c2 DUA.*public_allowed=True"):
        send(hub, tagger, dua, notes, "user/dua", private=False)
    assert "user/dua" not in hub.repos
    send(hub, tagger, dua, notes, "user/dua", private=False, public_allowed=True)
    assert not hub.repos["user/dua"].private


@pytest.mark.parametrize("stage", ["/preupload/", "/commit/", "/objects/batch", "/verify/"])
def test_a_refused_request_leaves_no_half(hub, tagger, card, notes, stage, monkeypatch):
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    hub.fault = lambda method, path: 500 if stage in path else None
    with pytest.raises(ConnectionError, match="error 500; user/drugs is as it was: call again"):
        send(hub, tagger, card, notes)
    assert set(hub.repos["user/drugs"].files) == {".gitattributes"}
    hub.fault = None
    send(hub, tagger, card, notes)
    published = dict(hub.repos["user/drugs"].files)
    assert set(published) == FILES | {".gitattributes"}
    hub.fault = lambda method, path: 500 if "/commit/" in path else None
    with pytest.raises(ConnectionError, match="error 500"):
        send(hub, tagger, type(card)(card.content + "\nMore.\n"), notes, exist_ok=True)
    assert hub.repos["user/drugs"].files == published


def test_a_commit_of_somebody_else_is_not_overwritten(hub, tagger, card, notes):
    send(hub, tagger, card, notes)
    repo = hub.repos["user/drugs"]

    def meanwhile(method, path):
        if "/preupload/" in path:
            repo.commits.append("f" * 40)

    hub.fault = meanwhile
    changed = type(card)(card.content + "\nMore.\n")
    with pytest.raises(RuntimeError, match="changed by somebody else"):
        send(hub, tagger, changed, notes, exist_ok=True)
    assert repo.files["README.md"].decode() == card.content


def test_a_killed_upload_shows_nothing_and_goes_on(hub, tagger, run, card, notes, tmp_path):
    card.save(tmp_path / "card.md")
    code = (
        "from clinical_ner import Tagger, publish, sample_notes\n"
        "from huggingface_hub import ModelCard\n"
        f"tagger = Tagger.load({str(run)!r}, device='cpu')\n"
        f"card = ModelCard.load({str(tmp_path / 'card.md')!r})\n"
        "publish(tagger, 'user/drugs', card, sample_notes(8, seed=3))"
    )
    hub.hold.set()
    upload = in_process(code, hub, tmp_path)
    try:
        assert hub.holding.wait(120), upload.communicate()[1][-2000:]
    finally:
        upload.send_signal(signal.SIGKILL)
        upload.communicate()
    assert set(hub.repos["user/drugs"].files) == {".gitattributes"} and hub.stored == {}
    hub.hold.clear()
    send(hub, tagger, card, notes)
    repo = hub.repos["user/drugs"]
    assert set(repo.files) == FILES | {".gitattributes"} and len(repo.commits) == 2


# models of others


def test_garbled_class_names_are_renamed(tagger, notes, tmp_path, capsys):
    tagger.save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    names = ["O"] + [f"['{label}', 'Finding']" for label in tagger.labels for _ in "BI"]
    config["id2label"] = dict(enumerate(names))
    config["label2id"] = {name: i for i, name in enumerate(names)}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"give `Tagger.load` the names.*labels="):
        Tagger.load(tmp_path, device="cpu")
    again = Tagger.load(tmp_path, labels=tagger.labels, device="cpu")
    said = capsys.readouterr().out
    assert f"{len(names) - 1} of {len(names)} classes renamed" in said and "-> 'B-" in said
    assert again.tags == tagger.tags
    found, wanted = (predict(one, notes[:1], precision="float32") for one in (again, tagger))
    assert found == wanted
    again.save(tmp_path / "mended")
    assert Tagger.load(tmp_path / "mended", device="cpu").tags == tagger.tags
    assert capsys.readouterr().out == ""
