"""The entry point of a SageMaker training job, in a folder like /opt/ml."""

import json
import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path

from test_train import CORPUS, assert_same_weights, toy  # noqa: F401  (a fixture)

from clinical_ner.core import write_jsonl
from clinical_ner.tagger import Tagger
from clinical_ner.train import last_checkpoint

ENTRY = Path(__file__).parent.parent / "sagemaker/train_entry.py"


def start_job(folder: Path, encoder: str) -> subprocess.Popen:
    """The job as SageMaker starts it, its hyperparameters in SM_HPS."""
    values = {"encoder": encoder, "epochs": 3, "lr": 0.005, "batch_size": 4}
    values |= {"precision": "float32", "checkpoints": str(folder / "checkpoints")}
    environment = os.environ | {"SM_HPS": json.dumps(values), "SM_NUM_GPUS": "0"}
    environment |= {"SM_MODEL_DIR": str(folder / "model")}
    environment |= {"SM_OUTPUT_DATA_DIR": str(folder / "output/data")}
    for part, docs in CORPUS.items():
        channel = folder / "input/data" / part
        channel.mkdir(parents=True, exist_ok=True)
        write_jsonl(docs, channel / "notes.jsonl")
        environment[f"SM_CHANNEL_{part.upper()}"] = str(channel)
    with open(folder / "job.log", "a") as log:
        return subprocess.Popen([sys.executable, ENTRY], env=environment, stdout=log, stderr=log)


def finish(process: subprocess.Popen, folder: Path) -> Tagger:
    assert process.wait(timeout=300) == 0, (folder / "job.log").read_text()[-2000:]
    names = sorted(path.name for path in (folder / "output/data").iterdir())
    assert names == ["history.csv", "scores.json", "train.log"]
    assert not (folder / "model/checkpoints").exists()
    return Tagger.load(folder / "model", device="cpu")


def test_a_killed_job_goes_on_and_ends_the_same(toy, tmp_path):  # noqa: F811
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    broken.mkdir()
    process = start_job(broken, toy)
    try:
        while not last_checkpoint(broken / "checkpoints/tagger/checkpoints"):
            assert process.poll() is None, (broken / "job.log").read_text()[-2000:]
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()
    assert not (broken / "model").exists()
    resumed = finish(start_job(broken, toy), broken)
    assert "going on after checkpoint-" in (broken / "output/data/train.log").read_text()
    assert_same_weights(resumed, finish(start_job(whole, toy), whole), rtol=0, atol=0)


def test_a_processing_job_annotates_with_a_packed_model(toy, tmp_path):  # noqa: F811
    notes, model = tmp_path / "input/notes", tmp_path / "input/model"
    notes.mkdir(parents=True)
    model.mkdir()
    write_jsonl(CORPUS["validation"], notes / "notes.jsonl")
    Tagger.create(toy, ["Drug", "Strength"]).save(tmp_path / "tagger")
    with tarfile.open(model / "model.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "tagger", ".")
    entry = ENTRY.with_name("annotate_entry.py")
    subprocess.run([sys.executable, entry, "--folder", str(tmp_path)], check=True, timeout=200)
    told = json.loads((tmp_path / "output/run.json").read_text())
    assert told["finished"] and told["counts"]["documents"] == len(CORPUS["validation"])
