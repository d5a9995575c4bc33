"""Several processes, adapters, folds: what large models and large corpora need."""

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from test_train import CORPUS, SETTINGS, toy  # noqa: F401 (a fixture)
from transformers import AutoModelForTokenClassification

from clinical_ner.core import Document
from clinical_ner.formats import write_conll
from clinical_ner.tagger import Tagger, predict
from clinical_ner.tags import doc_words
from clinical_ner.train import NEVER, cross_predict, fine_tune

SHORT = SETTINGS | {"epochs": 2, "lr": 1e-3}


def test_two_processes_learn_what_one_does(toy, tmp_path):  # noqa: F811
    _, one = fine_tune(CORPUS, toy, output=tmp_path / "one", **SHORT)
    tagger, two = fine_tune(CORPUS, toy, output=tmp_path / "two", num_processes=2, **SHORT)
    pd.testing.assert_frame_equal(one, two, rtol=1e-3)
    settings = json.loads((tmp_path / "two" / "settings.json").read_text())
    assert settings["batch_size"] == SHORT["batch_size"]
    assert predict(tagger, CORPUS["validation"])[0].spans


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
    script = tmp_path / "sharded.py"
    script.write_text(SHARDED)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    done = subprocess.run([*command, str(script)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("same weights") == 2


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_accelerate_shards_on_gpus(toy, tmp_path):  # noqa: F811
    """Through transformers' own arguments; accelerate does not shard on CPUs."""
    arguments = {"fsdp": "full_shard auto_wrap", "fsdp_config": {"version": 2}}
    settings = SHORT | {"num_processes": 2, "arguments": arguments}
    tagger, history = fine_tune(CORPUS, toy, output=tmp_path, **settings)
    assert predict(tagger, CORPUS["validation"])[0].spans
    assert history["loss"].notna().all()


def test_adapters_learn_and_leave_a_plain_model(toy, tmp_path):  # noqa: F811
    pytest.importorskip("peft")
    settings = SETTINGS | {"lr": 2e-2, "epochs": 4}
    tagger, history = fine_tune(CORPUS, toy, output=tmp_path, lora=8, **settings)
    assert history["f1"].max() > 0.9
    assert not any("lora" in name for name, _ in tagger.net.named_parameters())
    plain = AutoModelForTokenClassification.from_pretrained(tmp_path)
    assert set(plain.state_dict()) == set(tagger.net.state_dict())
    again = Tagger.load(tmp_path, device="cpu")
    assert predict(again, CORPUS["validation"]) == predict(tagger, CORPUS["validation"])
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
