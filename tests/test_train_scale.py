"""Several processes, adapters, folds: what large models and large corpora need."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from test_train import (  # noqa: F401 (toy is a fixture)
    CORPUS,
    SETTINGS,
    assert_same_spans,
    assert_same_weights,
    toy,
)
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor
from transformers import (
    AutoModelForTokenClassification,
    MegatronBertConfig,
    MegatronBertModel,
    TrainerCallback,
)

from clinical_ner.core import Document
from clinical_ner.formats import write_conll
from clinical_ner.tagger import Tagger, predict
from clinical_ner.tags import doc_words
from clinical_ner.train import (
    NEVER,
    EntityTrainer,
    cross_predict,
    fine_tune,
    last_checkpoint,
)

LONG = [
    Document(doc.id + " and more", doc.text + "No more of it. " * (i % 5), doc.spans)
    for i, doc in enumerate(CORPUS["train"])
]
MIXED = [doc for pair in zip(CORPUS["train"], LONG) for doc in pair]
SHORT = SETTINGS | {"epochs": 2, "lr": 1e-3}


def test_two_processes_learn_what_one_does(toy, tmp_path):  # noqa: F811
    _, one = fine_tune(CORPUS, toy, output=tmp_path / "one", **SHORT)
    tagger, two = fine_tune(CORPUS, toy, output=tmp_path / "two", num_processes=2, **SHORT)
    pd.testing.assert_frame_equal(one, two, rtol=1e-3)
    settings = json.loads((tmp_path / "two" / "settings.json").read_text())
    assert settings["batch_size"] == SHORT["batch_size"]
    assert predict(tagger, CORPUS["validation"])[0].spans


STOPPED = """
import sys
import pandas as pd
from clinical_ner.train import fine_tune
sys.path.insert(0, sys.argv[1])
from test_train import CORPUS, SETTINGS
from test_train_scale import Slow

options = SETTINGS | {"epochs": 50, "lr": 1e-3, "output": sys.argv[3], "num_processes": 2}
tagger, history = fine_tune(CORPUS, sys.argv[2], callbacks=[Slow()], **options)
assert tagger("Started on aspirin 5mg daily.").spans
print("returned a tagger of epochs 1 to", history["epoch"].max())
"""


class Slow(TrainerCallback):
    """Take a tenth of a second for each step."""

    def on_step_end(self, args, state, control, **kwargs):
        time.sleep(0.1)


def stop_when(toy: str, output: Path, line: str, twice: bool) -> tuple[int, str]:  # noqa: F811
    """Press the stop button of a run in two processes when a line is printed; how it ended."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    words = [sys.executable, "-c", STOPPED, str(Path(__file__).parent), toy, str(output)]
    run = subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        start_new_session=True,
    )
    said = ""
    try:
        for text in run.stdout:
            said += text
            if line in text:
                (os.killpg if twice else os.kill)(run.pid, signal.SIGINT)
        return run.wait(60), said
    finally:
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)


@pytest.mark.parametrize("twice", [False, True], ids=["the kernel", "its group of processes"])
def test_stopped_processes_leave_the_best_tagger(toy, tmp_path, twice):  # noqa: F811
    """Jupyter interrupts the group, which the launcher of the processes belongs to."""
    code, said = stop_when(toy, tmp_path / "run", "epoch 2/50", twice)
    assert code == 0, said[-3000:]
    assert "interrupted: the tagger is that of epoch" in said
    assert int(re.search(r"returned a tagger of epochs 1 to (\d+)", said)[1]) < 50
    scores = json.loads((tmp_path / "run/scores.json").read_text())
    assert scores["best_epoch"] in (1, 2) and scores["settings"]["batch_size"] == 4


def test_processes_that_are_stopped_too_early_say_so(toy, tmp_path):  # noqa: F811
    code, said = stop_when(toy, tmp_path / "run", "training mentions", False)
    assert code != 0
    assert "KeyboardInterrupt: the processes were stopped before a tagger was saved" in said


def test_a_failing_process_is_reported(toy, tmp_path):  # noqa: F811
    with pytest.raises(RuntimeError, match="cannot be shared by 2 processes"):
        fine_tune(CORPUS, toy, output=tmp_path, num_processes=2, **(SHORT | {"batch_size": 5}))


def test_the_command_runs_under_torchrun(toy, tmp_path):  # noqa: F811
    data = tmp_path / "data"
    data.mkdir()
    write_conll(CORPUS["train"], data / "train.tsv")
    write_conll(CORPUS["validation"], data / "dev.tsv")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command += ["--no-python", sys.executable, "-c", "from clinical_ner.cli import main; main()"]
    flags = {"--data_dir": data, "--model_name": toy, "--new_model_dir": tmp_path / "model"}
    flags |= {"--num_train_epochs": 1, "--learning_rate": 1e-3, "--batch_size": 4}
    script = tmp_path / "clinical_ner_train"
    script.write_text("from clinical_ner.cli import main\nmain()\n")
    command = command[:-3] + [sys.executable, str(script)]
    words = [str(word) for flag in flags.items() for word in flag]
    done = subprocess.run(command + words, capture_output=True, text=True, env=dict(os.environ))
    assert done.returncode == 0, done.stderr[-2000:]
    assert Tagger.load(tmp_path / "model", device="cpu").labels == ("Drug", "Strength")
    assert len((tmp_path / "model" / "train.log").read_text().split("epoch 1/1")) == 2


SHARED = """
import json, os, sys
from pathlib import Path
from clinical_ner import train
sys.path.insert(0, sys.argv[1])
from test_train import CORPUS
from test_train_scale import MIXED, SHORT

batches, scored = [], []
make_collator, score_docs = train._collator, train._score_docs

def collator(tagger):
    collate = make_collator(tagger)
    def kept(rows):
        batches.append([len(row["input_ids"]) for row in rows])
        return collate(rows)
    return kept

def score(tagger, docs, *more):
    scored.append([doc.id for doc in docs])
    return score_docs(tagger, docs, *more)

train._collator, train._score_docs = collator, score
corpus = {"train": MIXED, "validation": CORPUS["validation"]}
_, history = train.fine_tune(corpus, sys.argv[2], output=sys.argv[3], **SHORT)
rank = os.environ.get("RANK", "0")
told = {"batches": batches, "scored": scored, "f1": history["f1"].tolist()}
Path(sys.argv[3], f"told{rank}.json").write_text(json.dumps(told))
"""


def test_two_processes_share_batches_and_validation_evenly(toy, tmp_path):  # noqa: F811
    """Each batch holds the windows that one process has in it, and both have as many tokens."""
    words = [str(Path(__file__).parent), toy]
    launch(tmp_path / "two.py", SHARED, [*words, str(tmp_path / "two")])
    launch(tmp_path / "one.py", SHARED, [*words, str(tmp_path / "one")], processes=1)
    [one] = (json.loads(path.read_text()) for path in (tmp_path / "one").glob("told*.json"))
    a, b = (json.loads((tmp_path / f"two/told{rank}.json").read_text()) for rank in (0, 1))
    whole = one["batches"]
    assert len(whole) == len(a["batches"]) == len(b["batches"]) == 2 * len(MIXED) // 4
    assert [sorted(x + y) for x, y in zip(a["batches"], b["batches"])] == [*map(sorted, whole)]
    even = [abs(sum(x) - sum(y)) for x, y in zip(a["batches"], b["batches"])]
    best = [abs(w - x - y + z) for w, x, y, z in map(sorted, whole)]
    assert even == best and sum(best) < sum(abs(sum(x[:2]) - sum(x[2:])) for x in whole)
    ids = [doc.id for doc in CORPUS["validation"]]
    assert a["scored"] == 3 * [ids[::2]]  # two epochs, and the best of them
    assert b["scored"] == 3 * [ids[1::2]]
    assert one["scored"] == 3 * [ids]
    assert a["f1"] == b["f1"] and np.allclose(a["f1"], one["f1"], rtol=1e-3)


SHARDED = """
import sys, torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from transformers import MegatronBertConfig
from clinical_ner.encoders import MegatronBertForTokenClassification, speed_up
from clinical_ner.train import word_loss
from clinical_ner.windows import pack_windows

def rows(first):
    generator = torch.Generator().manual_seed(first)
    ids = [torch.randint(5, 90, (size,), generator=generator).tolist() for size in (7, 12, 9)]
    return [{"input_ids": row, "labels": [token % 3 for token in row]} for row in ids]

def make():
    torch.manual_seed(0)
    sizes = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)
    drop = dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    config = MegatronBertConfig(vocab_size=100, num_labels=3, **sizes, **drop)
    return speed_up(MegatronBertForTokenClassification(config)).train()

def step(net, batch, count):
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-2)
    batch = dict(batch)
    labels = batch.pop("labels")
    loss = word_loss(net(**batch), labels, count)
    loss.backward()
    optimiser.step()
    return loss.detach()

dist.init_process_group("gloo")
rank, size = dist.get_rank(), dist.get_world_size()
parts = [rows(i) for i in range(size)]
count = sum(len(row["labels"]) for part in parts for row in part)
whole = make()
expected = step(whole, pack_windows([row for part in parts for row in part]), count)
net, mesh = make(), init_device_mesh("cpu", (size,))
for layer in net.bert.encoder.layer:
    fully_shard(layer, mesh=mesh)
fully_shard(net, mesh=mesh)
kept = sum(weight.to_local().numel() for weight in net.parameters())
every = sum(weight.numel() for weight in whole.parameters())
assert all(isinstance(weight, DTensor) for weight in net.parameters())
assert abs(kept - every / size) < 0.1 * every, (kept, every)
loss = step(net, pack_windows(parts[rank]), count / size)  # gradients are averaged
dist.all_reduce(loss)
torch.testing.assert_close(loss / size, expected, rtol=1e-5, atol=1e-6)
for (name, a), b in zip(whole.named_parameters(), net.parameters()):
    torch.testing.assert_close(b.full_tensor(), a, rtol=1e-4, atol=1e-4, msg=name)
print("same weights", kept, every)
"""


def test_sharded_weights_learn_what_whole_ones_do(tmp_path):
    """PyTorch's own FSDP on two processes: half of the weights each, the same step."""
    done = launch(tmp_path / "sharded.py", SHARDED, [])
    assert done.stdout.count("same weights") == 2


SHARDED_END = """
import sys
from pathlib import Path
import torch
import torch.distributed as dist
from safetensors.torch import load_file
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from clinical_ner import train
from clinical_ner.tagger import Tagger, predict
sys.path.insert(0, sys.argv[1])
from test_train import CORPUS, SETTINGS

encoder, output, rank_of = sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]) or None
given = dict(epochs=1, batch_size=4, weight_decay=0.0, warmup=0.0, seed=0, precision="float32")
settings = given | dict(lr=1e-2, lora=rank_of, head_rate=1.0, layer_decay=1.0)
tagger = Tagger.create(encoder, ["Drug", "Strength"])
rows, _ = train.training_rows(tagger, CORPUS["train"])
arguments = train._arguments(settings, output, True, {})
validation = CORPUS["validation"]
trainer = train._make_trainer(tagger, validation, rows, arguments, [], None, settings)
mesh = init_device_mesh("cpu", (2,))
for layer in tagger.net.bert.encoder.layer:
    fully_shard(layer, mesh=mesh)
fully_shard(trainer.model, mesh=mesh)
trainer.is_fsdp_enabled, trainer.state.epoch = True, 1.0
learning = [weight for weight in trainer.model.parameters() if weight.requires_grad]
trainer.optimizer = torch.optim.AdamW(learning, lr=1e-2)
for step in range(30):  # of both processes: other rows each
    some = rows[4 * step % 40 :][dist.get_rank() :: 2][:4]
    trainer.training_step(trainer.model, trainer.data_collator([*map(dict, some)]))
    trainer.optimizer.step()
    trainer.optimizer.zero_grad()
    if step in (0, 29):  # learning goes on after an evaluation
        scores = trainer.evaluate()
expected = {name: w.full_tensor() for name, w in trainer.model.state_dict().items()}
trainer.state.best_global_step = trainer.state.global_step
found, history = train._finish(trainer, {"train": [], "validation": validation}, settings, output)
assert history["f1"].iloc[-1] == scores["eval_f1"] > 0.5
again = predict(found, validation, precision="float32")
assert train.evaluate(validation, again)["micro"]["strict_f1"] == scores["eval_f1"]
saved = load_file(output / "model.safetensors")
assert not any("lora" in name for name in saved) and len(saved) == len(found.net.state_dict())
if not rank_of:
    for name, weight in expected.items():
        torch.testing.assert_close(saved[name], weight.detach(), rtol=0, atol=0)
print("saved once and whole")
trainer.training_step(trainer.model, trainer.data_collator([*map(dict, some)]))
if dist.get_rank() == 0:  # in one shard only
    learning[-1].grad.to_local().fill_(torch.nan)
trainer._get_grad_norm(trainer.model)
try:
    trainer.check_gradient(trainer.gradient_norms[-1])
except FloatingPointError:
    print("stopped by both")
"""


@pytest.mark.parametrize("lora", [0, 4])
def test_a_sharded_run_ends_with_a_whole_tagger(toy, tmp_path, lora):  # noqa: F811
    """What accelerate does on GPUs is done by hand here; a process that waits alone would hang."""
    if lora:
        pytest.importorskip("peft")
    words = [str(Path(__file__).parent), toy, str(tmp_path / "run"), str(lora)]
    done = launch(tmp_path / "end.py", SHARDED_END, words)
    assert done.stdout.count("saved once and whole") == done.stdout.count("stopped by both") == 2
    assert (tmp_path / "run/scores.json").exists()


def launch(
    script: Path, code: str, words: list[str], processes: int = 2
) -> subprocess.CompletedProcess:
    """Run a script in two processes; a minute or two at most."""
    script.write_text(code)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc_per_node={processes}", str(script)]
    done = subprocess.run([*command, *words], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-4000:]
    return done


def test_parts_of_a_batch_in_two_processes_learn_what_one_process_does(toy, tmp_path):  # noqa: F811
    """Each process has its own number of parts, for its windows have other lengths."""
    corpus = {"train": MIXED, "validation": CORPUS["validation"]}
    settings = SHORT | {"max_length": 128}
    one, _ = fine_tune(corpus, toy, output=tmp_path / "one", **settings)
    options = settings | {"num_processes": 2, "token_budget": 70}
    two, _ = fine_tune(corpus, toy, output=tmp_path / "two", **options)
    assert_same_weights(one, two, rtol=1e-3, atol=1e-4)


def test_a_token_budget_is_refused_where_weights_are_sharded(toy, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(EntityTrainer, "is_sharded", True)
    with pytest.raises(ValueError, match="token_budget cannot.*gradient_accumulation_steps"):
        fine_tune(CORPUS, toy, output=tmp_path, token_budget=40, **SHORT)


class CheckSharded(TrainerCallback):
    """Every weight is in parts, each layer for itself."""

    def on_step_end(self, args, state, control, model=None, **kwargs):
        assert all(isinstance(weight, DTensor) for weight in model.parameters())
        assert all(isinstance(layer, FSDPModule) for layer in model.bert.encoder.layer)
        every = sum(weight.numel() for weight in model.parameters())
        here = sum(weight.to_local().numel() for weight in model.parameters())
        assert here < 0.6 * every


SHARDED_RUN = """
import sys
from accelerate import state
from accelerate.utils import DistributedType
sys.path.insert(0, sys.argv[1])
from test_train import CORPUS
from test_train_scale import SHORT, CheckSharded
from clinical_ner.train import fine_tune

plugins, begin = [], state.AcceleratorState.__init__

def begin_sharded(self, *args, fsdp_plugin=None, **options):
    begin(self, *args, fsdp_plugin=fsdp_plugin, **options)
    plugins.extend([fsdp_plugin] if fsdp_plugin else [])
    if plugins:  # accelerate does so on GPUs only
        self.distributed_type, self.fsdp_plugin = DistributedType.FSDP, plugins[0]

state.AcceleratorState.__init__ = begin_sharded
fsdp = {"version": 2, "state_dict_type": sys.argv[4]}
options = SHORT | {"arguments": {"fsdp": "full_shard auto_wrap", "fsdp_config": fsdp}}
tagger, history = fine_tune(
    CORPUS, sys.argv[2], output=sys.argv[3], callbacks=[CheckSharded()], resume=True, **options
)
assert tagger("Started on aspirin 5mg daily.").spans and len(history) == 2
print("done by one process")
"""


def assert_same_run(folder: Path, one: Path, history: pd.DataFrame, resumed: int):
    """A run in a folder, resumed so many times, ended as that of one process did."""
    assert (folder / "train.log").read_text().count("going on after checkp") == resumed
    found = pd.read_csv(folder / "history.csv")
    pd.testing.assert_frame_equal(found, history, rtol=1e-3, check_dtype=False)
    taggers = (Tagger.load(path, device="cpu") for path in (folder, one))
    assert_same_weights(*taggers, atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", ["FULL_STATE_DICT", "SHARDED_STATE_DICT"])
def test_a_sharded_run_is_the_run_of_one_process(megatron_toy, tmp_path, kind):
    """The whole of it, through transformers and accelerate; resumed, it ends the same."""
    _, one = fine_tune(CORPUS, megatron_toy, output=tmp_path / "one", **SHORT)
    words = [str(Path(__file__).parent), megatron_toy, str(tmp_path / "run"), kind]
    checkpoints = tmp_path / "run/checkpoints"
    for lines in (0, 1):
        done = launch(tmp_path / "run.py", SHARDED_RUN, words)
        assert done.stdout.count("done by one process") == 2
        assert_same_run(tmp_path / "run", tmp_path / "one", one, lines)
        assert (checkpoints / "checkpoint-20/optimizer.bin").exists() == (kind[0] == "F")
        shutil.rmtree(checkpoints / "checkpoint-20")


DEEPSPEED = """
import sys
sys.path.insert(0, sys.argv[1])
from test_train import CORPUS
from test_train_scale import SHORT
from clinical_ner.train import fine_tune

zero = {"stage": int(sys.argv[4]), "stage3_gather_16bit_weights_on_model_save": sys.argv[5] == "1"}
names = ("train_micro_batch_size_per_gpu", "gradient_accumulation_steps", "gradient_clipping")
config = {"zero_optimization": zero, "zero_force_ds_cpu_optimizer": False} | dict.fromkeys(names, "auto")
options = SHORT | {"arguments": {"deepspeed": config}, "output": sys.argv[3]}
tagger, _ = fine_tune(CORPUS, sys.argv[2], resume=True, **options)
assert tagger("Started on aspirin 5mg daily.").spans
print("done by one process")
"""


@pytest.mark.parametrize("stage", [2, 3])
def test_deepspeed_learns_what_one_process_does(toy, tmp_path, monkeypatch, stage):  # noqa: F811
    """ZeRO stages 2 and 3 of DeepSpeed, which computes on CPUs too; resumed, it ends the same."""
    pytest.importorskip("deepspeed")
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    _, one = fine_tune(CORPUS, toy, output=tmp_path / "one", **SHORT)
    words = [str(Path(__file__).parent), toy, str(tmp_path / "two"), str(stage), "1"]
    for lines in (0, 1):
        done = launch(tmp_path / "run.py", DEEPSPEED, words)
        assert done.stdout.count("done by one process") == 2
        assert_same_run(tmp_path / "two", tmp_path / "one", one, lines)
        shutil.rmtree(tmp_path / "two/checkpoints/checkpoint-20")


def test_deepspeed_that_could_not_save_is_refused(toy, tmp_path, monkeypatch):  # noqa: F811
    pytest.importorskip("deepspeed")
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    words = [str(Path(__file__).parent), toy, str(tmp_path / "two"), "3", "0"]
    with pytest.raises(AssertionError, match="set stage3_gather_16bit_weights_on_model_save"):
        launch(tmp_path / "run.py", DEEPSPEED, words)


@pytest.mark.skipif(not shutil.which("g++"), reason="needs a C++ compiler")
def test_moments_of_8_bits_learn_and_go_on_the_same(toy, tmp_path):  # noqa: F811
    pytest.importorskip("torchao")
    settings = SHORT | {"arguments": {"optim": "adamw_torch_8bit"}, "output": tmp_path}
    tagger, history = fine_tune(CORPUS, toy, **settings)
    assert history["f1"].iloc[-1] > 0.9
    shutil.rmtree(tmp_path / "checkpoints/checkpoint-20")
    again, _ = fine_tune(CORPUS, toy, resume=True, **settings)
    assert_same_weights(tagger, again, atol=0, rtol=0)


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
@pytest.mark.parametrize("kind", ["FULL_STATE_DICT", "SHARDED_STATE_DICT"])
def test_accelerate_shards_on_gpus(megatron_toy, tmp_path, monkeypatch, kind):
    """Through transformers' own arguments; accelerate does not shard on CPUs."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))  # where `CheckSharded` is
    fsdp = {"version": 2, "state_dict_type": kind}
    arguments = {"fsdp": "full_shard auto_wrap", "fsdp_config": fsdp}
    settings = SHORT | {"num_processes": 2, "arguments": arguments, "output": tmp_path}
    tagger, history = fine_tune(CORPUS, megatron_toy, callbacks=[CheckSharded()], **settings)
    assert predict(tagger, CORPUS["validation"])[0].spans
    assert history["loss"].notna().all()
    checkpoint = last_checkpoint(tmp_path / "checkpoints")
    assert (checkpoint / "optimizer.bin").exists() == (kind == "FULL_STATE_DICT")
    fine_tune(CORPUS, megatron_toy, callbacks=[CheckSharded()], resume=True, **settings)


def test_a_megatron_bert_is_trained_by_two_processes(megatron_toy, tmp_path):
    """The same without sharding, which takes no GPU."""
    _, one = fine_tune(CORPUS, megatron_toy, output=tmp_path / "one", **SHORT)
    _, two = fine_tune(CORPUS, megatron_toy, output=tmp_path / "two", num_processes=2, **SHORT)
    pd.testing.assert_frame_equal(one, two, rtol=1e-3)


@pytest.fixture(scope="module")
def megatron_toy(tmp_path_factory, encoder_dir) -> str:
    """Two layers of GatorTron's architecture without dropout."""
    folder = tmp_path_factory.mktemp("megatron")
    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    config = MegatronBertConfig(vocab_size=30522, intermediate_size=128, **sizes, **dropout)
    MegatronBertModel(config).save_pretrained(folder)
    for name in ("vocab.txt", "tokenizer_config.json"):
        shutil.copy(Path(encoder_dir) / name, folder)
    return str(folder)


def test_adapters_learn_and_leave_a_plain_model(toy, tmp_path):  # noqa: F811
    pytest.importorskip("peft")
    settings = SETTINGS | {"lr": 2e-2, "epochs": 4}
    tagger, history = fine_tune(CORPUS, toy, output=tmp_path, lora=8, **settings)
    assert history["f1"].max() > 0.9
    assert not any("lora" in name for name, _ in tagger.net.named_parameters())
    plain = AutoModelForTokenClassification.from_pretrained(tmp_path)
    assert set(plain.state_dict()) == set(tagger.net.state_dict())
    assert_same_spans(Tagger.load(tmp_path, device="cpu"), tagger)
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["validation"]["micro"]["strict_f1"] == history["f1"].max()
    before, after = (
        AutoModelForTokenClassification.from_pretrained(folder).state_dict()
        for folder in (toy, tmp_path)
    )
    name = "bert.embeddings.word_embeddings.weight"
    assert torch.equal(before[name], after[name])  # only linear layers have adapters


def test_folds_predict_what_they_were_not_trained_on(toy, tmp_path):  # noqa: F811
    odd = Document("odd", CORPUS["train"][0].text, [CORPUS["train"][0].spans[0]])
    odd = Document("odd", odd.text, [type(odd.spans[0])(0, 4, "Rare")])
    docs = [*CORPUS["train"][:11], odd]
    options = {"output": tmp_path, "folds": 2, **SHORT}
    scores, tags = cross_predict(docs, toy, **options)
    assert tags == ["O", "B-Drug", "I-Drug", "B-Rare", "I-Rare", "B-Strength", "I-Strength"]
    for doc, rows in zip(docs, scores):
        assert rows.shape == (len(doc_words(doc)), len(tags))
        np.testing.assert_allclose(np.exp(rows).sum(-1), 1, rtol=1e-4)
    assert (scores[-1][:, 3] == NEVER).all()  # no other document has the type
    again, _ = cross_predict(docs, toy, **options)  # goes on where it was: finished
    for rows, before in zip(again, scores):
        np.testing.assert_allclose(rows, before, atol=1e-5)
