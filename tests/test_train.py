"""Training end to end with a toy encoder: files, resuming, interruptions, memory."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    AutoModelForTokenClassification,
    BertConfig,
    BertForTokenClassification,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    TrainerCallback,
    TrainerState,
    modeling_utils,
    pipeline,
)

from clinical_ner import train
from clinical_ner.core import Document, Span
from clinical_ner.corpora import medmentions
from clinical_ner.encoders import has_bfloat16
from clinical_ner.tagger import Tagger, predict
from clinical_ner.train import fine_tune, last_checkpoint
from clinical_ner.widgets import review

DRUGS = ["aspirin", "metoprolol", "insulin", "warfarin", "heparin", "lasix"]


def note(number: int) -> Document:
    """A short text of two drugs with a strength each."""
    text, spans = f"Note {number}. ", []
    for i in range(2):
        drug, strength = DRUGS[(number + 3 * i) % len(DRUGS)], f"{number + 5}mg"
        text += "Started on "
        spans.append(Span(len(text), len(text) + len(drug), "Drug"))
        text += drug + " "
        spans.append(Span(len(text), len(text) + len(strength), "Strength"))
        text += strength + " daily. "
    return Document(f"note-{number}", text, spans)


CORPUS = {
    "train": [note(i) for i in range(40)],
    "validation": [note(i) for i in range(40, 48)],
}
SETTINGS = {"epochs": 3, "lr": 5e-3, "batch_size": 4, "precision": "float32"}


def make_toy(folder: Path, encoder_dir: str, dropout: float) -> str:
    """A one-layer BERT with the vocabulary of the packaged encoder; its folder."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    dropout = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    BertModel(BertConfig(intermediate_size=128, **sizes, **dropout)).save_pretrained(folder)
    for name in ("vocab.txt", "tokenizer_config.json"):
        shutil.copy(Path(encoder_dir) / name, folder)
    return str(folder)


@pytest.fixture(scope="module")
def toy(tmp_path_factory, encoder_dir) -> str:
    """An encoder without dropout."""
    return make_toy(tmp_path_factory.mktemp("toy"), encoder_dir, 0.0)


@pytest.fixture(scope="module")
def dropping(tmp_path_factory, encoder_dir) -> str:
    """An encoder with dropout, which draws random numbers in every step."""
    return make_toy(tmp_path_factory.mktemp("dropping"), encoder_dir, 0.1)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, dropping) -> Path:
    """The folder of a run with dropout that nothing interrupted."""
    folder = tmp_path_factory.mktemp("unbroken")
    fine_tune(CORPUS, dropping, output=folder, **SETTINGS)
    return folder


def assert_same_end(a: Path, b: Path):
    """The last epochs of two runs, which need not be their best, have the same weights."""
    ends = [last_checkpoint(folder / "checkpoints") for folder in (a, b)]
    assert [end.name for end in ends] == ["checkpoint-30"] * 2
    one, two = (load_file(end / "model.safetensors") for end in ends)
    assert all(torch.equal(value, two[name]) for name, value in one.items())
    one, two = (torch.load(end / "optimizer.pt")["state"] for end in ends)
    assert all(torch.equal(one[i]["exp_avg_sq"], two[i]["exp_avg_sq"]) for i in one)
    one, two = (load_file(folder / "model.safetensors") for folder in (a, b))  # the best
    assert all(torch.equal(value, two[name]) for name, value in one.items())


@pytest.fixture(scope="module")
def run(tmp_path_factory, toy):
    """A finished run: its folder, tagger and history."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    tagger, history = fine_tune(CORPUS, toy, output=folder, **SETTINGS)
    return folder, tagger, history


def weights(tagger: Tagger) -> dict[str, torch.Tensor]:
    return {name: value.cpu() for name, value in tagger.net.state_dict().items()}


def assert_same_weights(a: Tagger, b: Tagger, **tolerance):
    for name, value in weights(a).items():
        torch.testing.assert_close(value, weights(b)[name], **tolerance)


def assert_same_spans(a: Tagger, b: Tagger):
    """Both find the same in the validation notes, in float32 and so on any processor."""
    docs = CORPUS["validation"]
    found = predict(a, docs, precision="float32")
    assert found == predict(b, docs, precision="float32") and found[0].spans


class StopAfter(TrainerCallback):
    """Raise an error once an epoch is over and saved."""

    def __init__(self, epoch: int, error: type[BaseException]):
        self.epoch, self.error = epoch, error

    def on_epoch_begin(self, args, state, control, **kwargs):
        if state.epoch and round(state.epoch) >= self.epoch:
            raise self.error("stopped by the test")


def test_a_run_leaves_everything_behind(run):
    folder, tagger, history = run
    assert list(history["epoch"]) == [1, 2, 3]
    assert history["f1"].max() > 0.9
    scores = json.loads((folder / "scores.json").read_text())
    assert scores["validation"]["micro"]["strict_f1"] == history["f1"].max()
    assert scores["best_epoch"] == history["f1"].idxmax() + 1
    assert scores["settings"]["seed"] == 0
    assert (folder / "history.csv").read_text().count("\n") == 4
    assert (folder / "train.log").read_text().count("epoch ") == 3
    assert len(list((folder / "checkpoints").glob("checkpoint-*"))) <= 2


def test_what_is_left_open_is_chosen_said_and_kept(toy, tmp_path):
    settings = SETTINGS | {"epochs": 1, "lr": None, "batch_size": None}
    fine_tune(CORPUS, toy, output=tmp_path, **settings)
    kept = json.loads((tmp_path / "settings.json").read_text())
    assert (kept["batch_size"], kept["lr"]) == (1, 2e-4)  # forty windows, a small encoder
    assert "batch_size=1, lr=0.0002" in (tmp_path / "train.log").read_text()
    fine_tune(CORPUS, toy, output=tmp_path, resume=True, **settings)  # the same run


def test_what_was_reviewed_is_trained_on(toy, tmp_path):
    swapped = {"Drug": "Strength", "Strength": "Drug"}
    found = [
        replace(doc, spans=[replace(s, label=swapped[s.label], score=0.4) for s in doc.spans[:-1]])
        for doc in CORPUS["train"]
    ]
    work = review(found, save_to=tmp_path / "review", order="document")
    for d, key in work.work.queue():
        work.act("pick", f"{d} {key}")
        work.act("label", swapped[work.entry().spans[0].label])
    for d, doc in enumerate(CORPUS["train"]):  # what was missed in each
        work.act("pick", f"{d} {work.work.queue()[3 * d][1]}")
        work.act("select", [doc.spans[-1].start, doc.spans[-1].end])
        work.act("label", "Strength")
    again = review(found, save_to=tmp_path / "review")  # as after a restart
    reviewed = again.documents()
    assert [doc.spans for doc in reviewed] == [doc.spans for doc in CORPUS["train"]]
    corpus = {"train": reviewed, "validation": CORPUS["validation"]}
    tagger, history = fine_tune(corpus, toy, output=tmp_path / "run", **SETTINGS)
    assert history["f1"].max() > 0.9 and set(tagger.labels) == {"Drug", "Strength"}


def test_no_text_in_what_is_written(run):
    folder, _, _ = run
    for name in ("scores.json", "history.csv", "train.log", "settings.json"):
        assert not any(drug in (folder / name).read_text() for drug in DRUGS)


def test_a_saved_tagger_is_the_same_tagger(run):
    folder, tagger, _ = run
    again = Tagger.load(folder, device="cpu")
    assert again.labels == ("Drug", "Strength")
    assert_same_spans(again, tagger)


def test_plain_transformers_finds_the_same_spans(run):
    folder = str(last_checkpoint(run[0] / "checkpoints"))
    tagger = Tagger.load(folder, device="cpu")
    plain = pipeline("token-classification", model=folder, aggregation_strategy="first")
    compared = 0
    docs = CORPUS["train"] + CORPUS["validation"]
    for doc in predict(tagger, docs, precision="float32"):  # as the pipeline computes
        ours = doc.spans
        if all(span.score > 0.5 for span in ours):  # where the best tags are valid by themselves
            found = [Span(row["start"], row["end"], row["entity_group"]) for row in plain(doc.text)]
            assert found == list(ours)
            compared += 1
    assert compared > 40


def test_a_broken_run_goes_on_and_ends_the_same(dropping, unbroken, tmp_path):
    with pytest.raises(MemoryError, match="stopped by the test"):
        stop = StopAfter(2, MemoryError)
        fine_tune(CORPUS, dropping, output=tmp_path, callbacks=[stop], **SETTINGS)
    assert last_checkpoint(tmp_path / "checkpoints") is not None
    _, history = fine_tune(CORPUS, dropping, output=tmp_path, resume=True, **SETTINGS)
    assert list(history["epoch"]) == [1, 2, 3]
    assert_same_end(tmp_path, unbroken)


@pytest.mark.parametrize(
    "name",
    ["model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"],
)
def test_a_checkpoint_that_is_not_whole_is_passed_over(run, tmp_path, name):
    whole = last_checkpoint(run[0] / "checkpoints")
    for step in (1, 2, 3):
        shutil.copytree(whole, tmp_path / f"checkpoint-{step}")
    (tmp_path / "checkpoint-3" / name).unlink()  # not copied yet
    file = tmp_path / "checkpoint-2" / name  # copied in part
    file.write_bytes(file.read_bytes()[:-10])
    assert last_checkpoint(tmp_path).name == "checkpoint-1"


@pytest.mark.parametrize(
    "names",
    [
        ["optimizer.bin", "pytorch_model_fsdp.bin", "rng_state_0.pth", "rng_state_1.pth"],
        ["pytorch_model_fsdp_0/.metadata", "optimizer_0/.metadata", "optimizer_0/__0_0.distcp"],
        ["latest", "global_step20/mp_rank_00_model_states.pt", "rng_state_0.pth"],
    ],
)
def test_every_format_of_a_checkpoint_is_known_whole_or_not(tmp_path, names):
    """FSDP with whole and with sharded states, and DeepSpeed: a file may not be missing."""
    checkpoint = tmp_path / "checkpoint-1"
    for name in names:
        (checkpoint / name).parent.mkdir(parents=True, exist_ok=True)
        (checkpoint / name).write_text(name)
    assert last_checkpoint(tmp_path) is None
    (checkpoint / "files.json").write_text(json.dumps(train._file_sizes(checkpoint)))
    assert last_checkpoint(tmp_path) is None
    (checkpoint / "trainer_state.json").write_text("{}")
    assert last_checkpoint(tmp_path) == checkpoint
    for name in names:
        (checkpoint / name).rename(tmp_path / "elsewhere")
        assert last_checkpoint(tmp_path) is None
        (tmp_path / "elsewhere").rename(checkpoint / name)
    assert last_checkpoint(tmp_path) == checkpoint


def test_an_empty_folder_in_a_checkpoint_makes_it_no_whole_one(tmp_path):
    (tmp_path / "checkpoint-1/global_step1").mkdir(parents=True)
    (tmp_path / "checkpoint-1/trainer_state.json").write_text("{}")
    assert last_checkpoint(tmp_path) is None


def test_damaged_checkpoints_are_not_deleted_by_resuming(run, toy, tmp_path):
    shutil.copytree(run[0], tmp_path / "run")
    folders = sorted((tmp_path / "run/checkpoints").iterdir())
    for folder in folders:
        (folder / "optimizer.pt").unlink()
    with pytest.raises(ValueError, match="optimizer.pt is missing.*nothing was deleted"):
        fine_tune(CORPUS, toy, output=tmp_path / "run", resume=True, **SETTINGS)
    assert sorted((tmp_path / "run/checkpoints").iterdir()) == folders
    assert all((folder / "model.safetensors").exists() for folder in folders)


def test_a_run_that_was_killed_in_its_first_saving_starts_anew(run, toy, tmp_path):
    half = tmp_path / "checkpoints/checkpoint-10"
    half.mkdir(parents=True)
    shutil.copy(last_checkpoint(run[0] / "checkpoints") / "model.safetensors", half)
    settings = SETTINGS | {"epochs": 1}
    _, history = fine_tune(CORPUS, toy, output=tmp_path, resume=True, **settings)
    assert len(history) == 1 and "nothing to resume" in (tmp_path / "train.log").read_text()


def test_a_damaged_checkpoint_behind_a_whole_one_is_named(run, toy, tmp_path):
    shutil.copytree(run[0], tmp_path / "run")
    *_, last = train._checkpoints(tmp_path / "run/checkpoints")
    (last / "scheduler.pt").write_bytes(b"")
    fine_tune(CORPUS, toy, output=tmp_path / "run", resume=True, **SETTINGS)
    told = (tmp_path / "run/train.log").read_text()
    assert f"passed over, for they are not whole: {last.name} (scheduler.pt is cut short)" in told
    assert_same_end(tmp_path / "run", run[0])


class Slow(TrainerCallback):
    """Make an epoch of ten steps take a second and more, in which it can be killed."""

    def on_step_end(self, args, state, control, **kwargs):
        time.sleep(0.1)


def killed_run(encoder: str, output: Path, wait: float):
    """Train in a process of its own; kill it `wait` seconds after it saved another checkpoint."""
    before = last_checkpoint(output / "checkpoints")
    code = "t.fine_tune(t.CORPUS, sys.argv[2], output=sys.argv[3], resume=True,"
    process = child(code + " callbacks=[t.Slow()], **t.SETTINGS)", encoder, output)
    try:
        while last_checkpoint(output / "checkpoints") == before and process.poll() is None:
            time.sleep(0.01)
        time.sleep(wait)
    finally:
        process.kill()
    assert process.wait() == -signal.SIGKILL, output.with_suffix(".log").read_text()[-2000:]
    assert last_checkpoint(output / "checkpoints") != before


def child(code: str, *words) -> subprocess.Popen:
    """A process of Python that knows these tests as `t`; what it prints goes beside the last word."""
    code = "import sys; sys.path.insert(0, sys.argv[1]); import test_train as t; " + code
    arguments = [sys.executable, "-c", code, str(Path(__file__).parent), *map(str, words)]
    with open(Path(words[-1]).with_suffix(".log"), "w") as log:
        return subprocess.Popen(arguments, stdout=log, stderr=log)


def kill_and_resume(encoder: str, output: Path, waits: list[float], unbroken: Path):
    """However often a run is killed, it ends with the weights of one that was not."""
    for wait in waits:
        killed_run(encoder, output, wait)
    fine_tune(CORPUS, encoder, output=output, resume=True, **SETTINGS)
    assert_same_end(output, unbroken)


def test_a_run_that_is_shot_goes_on_and_ends_the_same(dropping, unbroken, tmp_path):
    kill_and_resume(dropping, tmp_path / "run", [0.05], unbroken)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_a_run_that_is_shot_again_and_again_ends_the_same(dropping, unbroken, tmp_path, seed):
    waits = random.Random(seed)
    kill_and_resume(dropping, tmp_path / "run", [waits.random() for _ in range(2)], unbroken)


def train_and_die(encoder: str, output: str, name: str):
    """Train, and be killed when half of a file of the second checkpoint is written."""
    saved = []

    def dying(save):
        def run(thing, file, *args, **options):
            save(thing, file, *args, **options)
            saved.append(Path(file).name)
            if saved.count(name) == 2:
                os.truncate(file, Path(file).stat().st_size // 2)
                os.kill(os.getpid(), signal.SIGKILL)

        return run

    torch.save = dying(torch.save)
    modeling_utils.safe_save_file = dying(modeling_utils.safe_save_file)
    TrainerState.save_to_json = dying(TrainerState.save_to_json)
    fine_tune(CORPUS, encoder, output=output, **SETTINGS)


@pytest.mark.parametrize(
    "name", ["model.safetensors", "optimizer.pt", "rng_state.pth", "trainer_state.json"]
)
def test_a_run_that_is_shot_while_it_saves_ends_the_same(dropping, unbroken, tmp_path, name):
    output = tmp_path / "run"
    process = child(
        "t.train_and_die(sys.argv[2], sys.argv[4], sys.argv[3])", dropping, name, output
    )
    assert process.wait(300) == -signal.SIGKILL, output.with_suffix(".log").read_text()[-2000:]
    half = output / "checkpoints/checkpoint-20"
    assert (half / name).exists() and last_checkpoint(half.parent).name == "checkpoint-10"
    _, history = fine_tune(CORPUS, dropping, output=output, resume=True, **SETTINGS)
    assert "going on after checkpoint-10" in (output / "train.log").read_text()
    assert_same_end(output, unbroken)
    assert list(history["epoch"]) == [1, 2, 3]


class Spoil(TrainerCallback):
    """Make every epoch behind the first a bad one."""

    def on_epoch_end(self, args, state, control, model=None, **kwargs):
        if round(state.epoch) > 1:
            torch.nn.init.zeros_(model.classifier.weight)


def test_a_moved_run_still_ends_with_its_best_epoch(toy, tmp_path):
    settings = SETTINGS | {"lr": 1e-2, "epochs": 2, "output": tmp_path / "here"}
    _, history = fine_tune(CORPUS, toy, callbacks=[Spoil()], **settings)
    assert history["f1"].iloc[0] > history["f1"].iloc[1]
    settings["output"] = (tmp_path / "here").rename(tmp_path / "übersiedelt")
    fine_tune(CORPUS, toy, resume=True, **settings)
    scores = json.loads((settings["output"] / "scores.json").read_text())
    assert scores["best_epoch"] == 1
    assert scores["validation"]["micro"]["strict_f1"] == history["f1"].iloc[0]


class InterruptSaving(TrainerCallback):
    """Press the stop button between the second validation and its checkpoint."""

    def on_evaluate(self, args, state, control, **kwargs):
        if round(state.epoch) == 2:
            raise KeyboardInterrupt


def test_the_tagger_of_an_interrupted_run_is_the_one_it_names(toy, tmp_path):
    settings = SETTINGS | {"lr": 1e-3}  # still getting better in the second epoch
    _, history = fine_tune(CORPUS, toy, output=tmp_path, callbacks=[InterruptSaving()], **settings)
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["best_epoch"] == 1
    assert history["f1"].iloc[1] > history["f1"].iloc[0]
    assert scores["validation"]["micro"]["strict_f1"] == history["f1"].iloc[0]


def test_what_rides_in_meta_need_not_be_json(toy, tmp_path):
    corpus = {
        part: [replace(doc, meta={"seen": date(2020, 1, 2)}) for doc in docs]
        for part, docs in CORPUS.items()
    }
    tagger, _ = fine_tune(corpus, toy, output=tmp_path, **(SETTINGS | {"epochs": 1}))
    assert tagger.labels == ("Drug", "Strength")


def test_bfloat16_is_not_emulated(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation
    )
    assert not has_bfloat16()


def test_a_run_resumes_only_as_it_began(run, toy):
    folder, _, _ = run
    with pytest.raises(ValueError, match="began with other lr, train_documents"):
        corpus = CORPUS | {"train": CORPUS["train"][:-1]}
        fine_tune(corpus, toy, output=folder, resume=True, **(SETTINGS | {"lr": 1e-3}))


def test_an_interrupted_cell_keeps_the_best_tagger(toy, tmp_path):
    stop = StopAfter(2, KeyboardInterrupt)
    tagger, history = fine_tune(CORPUS, toy, output=tmp_path, callbacks=[stop], **SETTINGS)
    assert list(history["epoch"]) == [1, 2]
    assert "interrupted: the tagger is that of epoch" in (tmp_path / "train.log").read_text()
    assert_same_spans(Tagger.load(tmp_path, device="cpu"), tagger)


def test_an_interruption_before_any_epoch_is_over_is_one(toy, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        stop = [Interrupt()]
        fine_tune(CORPUS, toy, output=tmp_path, callbacks=stop, **SETTINGS)


class Interrupt(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        raise KeyboardInterrupt


def test_batches_in_pieces_learn_the_same(run, toy, tmp_path):
    _, whole, _ = run
    pieces, _ = fine_tune(CORPUS, toy, output=tmp_path, token_budget=40, **SETTINGS)
    assert_same_weights(pieces, whole, rtol=1e-3, atol=1e-4)


def test_out_of_memory_says_what_fits(toy, tmp_path, monkeypatch):
    small_memory(monkeypatch, 60)
    with pytest.raises(RuntimeError, match="batch_size=4; token_budget=[0-9]+ fits") as caught:
        fine_tune(CORPUS, toy, output=tmp_path, **SETTINGS)
    assert caught.value.__context__ is None  # no traceback that holds the memory
    tagger, _ = fine_tune(CORPUS, toy, output=tmp_path, token_budget=40, **SETTINGS)
    assert tagger.labels == ("Drug", "Strength")


class FillMemory(TrainerCallback):
    """Run out of memory in the second epoch, in what does not fit `tokens`."""

    def __init__(self, monkeypatch, tokens: int):
        self.patch, self.tokens = monkeypatch, tokens

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == 14:
            small_memory(self.patch, self.tokens)


def small_memory(monkeypatch, tokens: int):
    """Let the toy network run out of memory where it trains on more than so many tokens."""
    forward = BertForTokenClassification.forward

    def run(self, input_ids=None, **inputs):
        if self.training and input_ids.numel() > tokens:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, input_ids=input_ids, **inputs)

    monkeypatch.setattr(BertForTokenClassification, "forward", run)


def test_what_was_learnt_before_memory_ran_out_is_kept(run, toy, tmp_path, monkeypatch):
    advice = "token_budget=([0-9]+) fits; call again with it.* and with resume=True, which goes on"
    with pytest.raises(RuntimeError, match=advice + " after checkpoint-10") as caught:
        fill = [FillMemory(monkeypatch, 60)]
        fine_tune(CORPUS, toy, output=tmp_path, callbacks=fill, **SETTINGS)
    budget = int(re.search(advice, str(caught.value))[1])
    options = SETTINGS | {"token_budget": budget, "resume": True}
    _, history = fine_tune(CORPUS, toy, output=tmp_path, **options)
    assert "going on after checkpoint-10" in (tmp_path / "train.log").read_text()
    assert len(history) == 3
    ends = tmp_path, run[0]
    parts, whole = (load_file(end / "checkpoints/checkpoint-30/model.safetensors") for end in ends)
    for name, value in parts.items():
        torch.testing.assert_close(value, whole[name], rtol=1e-3, atol=1e-3)


def test_where_no_window_fits_less_memory_is_advised(toy, tmp_path, monkeypatch):
    small_memory(monkeypatch, 1)
    advice = "not even one window fits.*{'gradient_checkpointing': True}.*lora=16"
    with pytest.raises(RuntimeError, match=advice):
        fine_tune(CORPUS, toy, output=tmp_path, **SETTINGS)
    monkeypatch.undo()
    more = SETTINGS | {"epochs": 1, "arguments": {"gradient_checkpointing": True}}
    tagger, _ = fine_tune(CORPUS, toy, output=tmp_path, **more)
    assert tagger.labels == ("Drug", "Strength")


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="needs /dev/full")
def test_a_full_disk_says_so_and_the_run_goes_on(run, toy, tmp_path, monkeypatch):
    save, written = torch.save, []

    def fill(thing, file, *args, **options):
        written.append(file)
        epoch_two = "checkpoint" in str(file) and len({Path(f).parent for f in written}) > 1
        save(thing, "/dev/full" if epoch_two else file, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", fill)
        with pytest.raises(OSError, match="is full.*resume=True: the run goes on from checkpoint-"):
            fine_tune(CORPUS, toy, output=tmp_path, **SETTINGS)
    fine_tune(CORPUS, toy, output=tmp_path, resume=True, **SETTINGS)
    assert_same_end(tmp_path, run[0])


def test_an_error_of_another_kind_is_not_taken_for_a_full_disk(toy, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10))
    wrong = RuntimeError("device-side assert")
    monkeypatch.setattr(torch, "save", lambda *args, **options: (_ for _ in ()).throw(wrong))
    with pytest.raises(RuntimeError, match="device-side assert"):
        fine_tune(CORPUS, toy, output=tmp_path, **SETTINGS)


def test_a_loss_that_is_not_a_number_is_an_error(toy, tmp_path):
    with pytest.raises(RuntimeError, match="lower `lr`"):
        fine_tune(CORPUS, toy, output=tmp_path, **(SETTINGS | {"lr": 1e30}))


class SpoilStep(TrainerCallback):
    """Make a gradient, or a weight, of the second epoch infinite; count the steps from there."""

    def __init__(self, what: str, step: int):
        self.what, self.step, self.steps = what, step, 0

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        self.steps += state.global_step >= self.step
        if self.what == "weight" and state.global_step == self.step:
            with torch.no_grad():
                model.classifier.weight[0, 0] = torch.inf

    def on_step_begin(self, args, state, control, model=None, **kwargs):
        if self.what == "gradient" and state.global_step == self.step:
            weight = model.classifier.weight
            self.hook = weight.register_hook(lambda gradient: gradient * torch.nan)


@pytest.mark.parametrize("what", ["gradient", "weight"])
@pytest.mark.parametrize("step", [13, 19])  # the last of the second epoch is 19, from 0
def test_a_loss_that_is_not_a_number_later_leaves_the_best_epoch(toy, tmp_path, what, step):
    spoil = SpoilStep(what, step)
    output = tmp_path / "run"
    tagger, history = fine_tune(CORPUS, toy, output=output, callbacks=[spoil], **SETTINGS)
    assert spoil.steps <= 3
    assert list(history["epoch"]) == [1] and history["f1"].iloc[0] > 0.5
    told = (output / "train.log").read_text()
    assert "not a number any more: the tagger is that of epoch 1" in told
    for path in [output, *(output / "checkpoints").iterdir()]:
        assert all(
            value.isfinite().all() for value in load_file(path / "model.safetensors").values()
        )
    assert predict(Tagger.load(output, device="cpu"), CORPUS["validation"])[0].spans
    options = SETTINGS | {"epochs": 1, "lr": 1e-3, "output": tmp_path / "again"}
    _, again = fine_tune(CORPUS, str(output), **options)  # as the message says
    assert again["f1"].iloc[0] >= history["f1"].iloc[0]


def test_a_run_that_logs_nothing_is_no_error(toy, tmp_path):
    settings = SETTINGS | {"epochs": 1, "arguments": {"logging_strategy": "no"}}
    _, history = fine_tune(CORPUS, toy, output=tmp_path, **settings)
    assert len(history) == 1


def test_a_run_too_short_to_learn_says_what_to_change(toy, tmp_path, capsys):
    text = "no pain at all " * 40
    docs = [Document(str(i), text, [Span(3, 7, "Rare")]) for i in range(20)]
    corpus = {"train": docs[:16], "validation": docs[16:]}
    fine_tune(corpus, toy, output=tmp_path, **(SETTINGS | {"epochs": 1}))
    assert "right after 4 steps of the optimiser: give a smaller `b" in capsys.readouterr().out
    assert "no mention was found right" in (tmp_path / "train.log").read_text()


def test_bfloat16_is_left_behind(toy, tmp_path):
    """What training returns computes as what is loaded: without the arithmetic of training."""
    settings = SETTINGS | {"precision": "bfloat16", "epochs": 1}
    tagger, _ = fine_tune(CORPUS, toy, output=tmp_path, **settings)
    assert_same_spans(Tagger.load(tmp_path, device="cpu"), tagger)


def overlapping(doc: Document) -> Document:
    """The note with a second mention on each drug, and one over the drug and its strength."""
    drugs = [span for span in doc.spans if span.label == "Drug"]
    ends = [span.end for span in doc.spans if span.label == "Strength"]
    more = [Span(span.start, span.end, "Reason") for span in drugs]
    more += [Span(span.start, end, "Order") for span, end in zip(drugs, ends)]
    return replace(doc, spans=[*doc.spans, *more])


OVERLAPPING = {part: [overlapping(doc) for doc in docs] for part, docs in CORPUS.items()}


@pytest.fixture(scope="module")
def padded_toy(tmp_path_factory, encoder_dir) -> str:
    """A one-layer encoder of a family that reads no packs."""
    folder = tmp_path_factory.mktemp("padded")
    torch.manual_seed(0)
    sizes = {"dim": 64, "n_layers": 1, "n_heads": 2, "hidden_dim": 128, "dropout": 0.0}
    DistilBertModel(DistilBertConfig(**sizes)).save_pretrained(folder)
    for name in ("vocab.txt", "tokenizer_config.json"):
        shutil.copy(Path(encoder_dir) / name, folder)
    return str(folder)


@pytest.mark.parametrize("encoder", ["toy", "padded_toy"])
def test_mentions_that_overlap_are_learnt_and_found(encoder, tmp_path, request):
    encoder = request.getfixturevalue(encoder)
    settings = SETTINGS | {"epochs": 4, "output": tmp_path / "each"}
    tagger, history = fine_tune(OVERLAPPING, encoder, head="per_type", **settings)
    assert history["f1"].max() > 0.9
    found = predict(tagger, OVERLAPPING["validation"], precision="float32")
    assert any(
        a.label != b.label and a.start < b.end and b.start < a.end
        for doc in found
        for a, b in zip(doc.spans, doc.spans[1:])
    )
    again = Tagger.load(tmp_path / "each", device="cpu")
    assert predict(again, OVERLAPPING["validation"], precision="float32") == found
    assert "encoding ceiling: F1 1.0000" in (tmp_path / "each" / "train.log").read_text()
    _, one = fine_tune(OVERLAPPING, encoder, **(settings | {"output": tmp_path / "one"}))
    assert one["f1"].max() < 0.7  # two of four mentions share their words with others
    assert "nested or overlapping" in (tmp_path / "one" / "train.log").read_text()


def test_plain_transformers_finds_the_likeliest_type_of_each_word(toy, tmp_path):
    settings = SETTINGS | {"output": tmp_path}
    tagger, _ = fine_tune(OVERLAPPING, toy, head="per_type", **settings)
    plain = AutoModelForTokenClassification.from_pretrained(tmp_path)
    assert plain.config.id2label == tagger.net.config.id2label
    assert plain.classifier.weight[0].abs().max() == 0 == plain.classifier.bias[0]
    run = pipeline("token-classification", model=str(tmp_path), aggregation_strategy="first")
    for doc in predict(tagger, OVERLAPPING["validation"], precision="float32"):
        rows = run(doc.text)
        assert rows
        for row in rows:
            same = [span for span in doc.spans if span.label == row["entity_group"]]
            assert any(span.start < row["end"] and row["start"] < span.end for span in same)


def test_a_head_that_is_unknown(toy, tmp_path):
    with pytest.raises(ValueError, match="head='crf': use 'bio'"):
        fine_tune(CORPUS, toy, head="crf", output=tmp_path)


def test_early_stopping(toy, tmp_path):
    settings = SETTINGS | {"lr": 1e-9, "epochs": 6}
    _, history = fine_tune(CORPUS, toy, output=tmp_path, patience=2, **settings)
    assert len(history) < 6


def test_training_starts_from_a_trained_tagger(run, toy, tmp_path):
    folder, _, _ = run
    settings = SETTINGS | {"epochs": 1, "lr": 1e-6}
    _, history = fine_tune(CORPUS, str(folder), output=tmp_path, **settings)
    assert history["f1"].iloc[0] > 0.9  # its classifier was kept


@pytest.mark.parametrize(
    "corpus, message",
    [
        ({"test": CORPUS["train"]}, "no 'train' documents"),
        ({"train": [Document("a", "text"), Document("b", "text")]}, "no spans"),
    ],
)
def test_bad_corpora(toy, tmp_path, corpus, message):
    with pytest.raises(ValueError, match=message):
        fine_tune(corpus, toy, output=tmp_path)


def test_an_encoder_that_is_nowhere(tmp_path):
    with pytest.raises(FileNotFoundError, match="hf download"):
        fine_tune(CORPUS, "UFNLP/gatortronS", output=tmp_path)


@pytest.mark.parametrize("labels, known", [("type", "T201"), ("group", "Disorders")])
def test_medmentions_trains(data_dir, toy, tmp_path, labels, known):
    """Part of the real corpus, with semantic types and with their groups."""
    corpus = medmentions(data_dir / "medmentions" / "conll", labels=labels)
    docs = next(iter(corpus.values()))
    part = {"train": docs[:12], "validation": docs[12:16]}
    tagger, history = fine_tune(part, toy, epochs=1, lr=1e-3, output=tmp_path)
    assert known in tagger.labels
    assert set(tagger.labels) == {span.label for doc in part["train"] for span in doc.spans}
    assert history["loss"].notna().all()
    assert [doc.id for doc in predict(tagger, docs[16:18])] == [doc.id for doc in docs[16:18]]
