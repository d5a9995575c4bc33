"""Jobs on SageMaker: what they run, in folders like /opt/ml; how they are asked for; the lifecycle script.

The jobs are asked for through SageMaker's SDK where it is installed (it cannot be beside the
packages of constraints.txt: pip install 'sagemaker>=3.27' 'moto[server]' in another environment),
and through a stand-in of it that takes the same names everywhere else.
"""

import ast
import importlib.util
import inspect
import json
import os
import re
import subprocess
import sys
import tarfile
import time
import types
from pathlib import Path

import pytest
from test_train import CORPUS, assert_same_weights, toy  # noqa: F401  (a fixture)

from clinical_ner.cli import clinical_ner_train
from clinical_ner.core import write_jsonl
from clinical_ner.tagger import Tagger
from clinical_ner.train import last_checkpoint

ENTRY = Path(__file__).parent.parent / "sagemaker/train_entry.py"


def start_job(folder: Path, encoder: str) -> subprocess.Popen:
    """The job as SageMaker starts it, its hyperparameters in SM_HPS."""
    values = {"model_name": encoder, "num_train_epochs": 3, "learning_rate": 0.005}
    values |= {"batch_size": 4, "precision": "float32"}
    environment = os.environ | {"SM_HPS": json.dumps(values), "SM_NUM_GPUS": "0"}
    environment |= {"CLINICAL_NER_CHECKPOINTS": str(folder / "checkpoints")}
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


def processing_folder(folder: Path, encoder: str) -> Path:
    """A folder like /opt/ml/processing, with notes, a packed model and an empty output."""
    for name in ("input/notes", "input/model", "output"):
        (folder / name).mkdir(parents=True)
    write_jsonl(CORPUS["validation"], folder / "input/notes/notes.jsonl")
    Tagger.create(encoder, ["Drug", "Strength"]).save(folder / "tagger")
    with tarfile.open(folder / "input/model/model.tar.gz", "w:gz") as archive:
        archive.add(folder / "tagger", ".")
    return folder


def annotate_in(folder: Path, *flags: str) -> dict:
    """What the entry point says of its run in `folder`."""
    entry = ENTRY.with_name("annotate_entry.py")
    command = [sys.executable, entry, "--folder", str(folder), *flags]
    subprocess.run(command, check=True, timeout=200)
    return json.loads((folder / "output/run.json").read_text())


def test_a_processing_job_annotates_with_a_packed_model_and_goes_on(toy, tmp_path):  # noqa: F811
    told = annotate_in(processing_folder(tmp_path, toy))
    assert told["finished"] and told["counts"]["documents"] == len(CORPUS["validation"])
    earlier, output = tmp_path / "input/earlier", tmp_path / "output"
    output.rename(earlier)
    output.mkdir()
    before = {path.name: path.read_bytes() for path in earlier.glob("*.jsonl")}
    assert before
    for name in before:
        os.utime(earlier / name, (1, 1))
    assert annotate_in(tmp_path)["counts"] == told["counts"]
    for name, content in before.items():
        assert (output / name).read_bytes() == content
        assert (output / name).stat().st_mtime == 1  # copied, not found again


# How jobs are asked for

TRAIN = {
    "bucket": "s3://b/ner",
    "hyperparameters": {"model_name": "UFNLP/gatortronS", "num_train_epochs": 5},
}
PLACES = {"notes": "s3://b/notes", "model": "s3://b/model.tar.gz", "found": "s3://b/found"}
WHERE = {
    "image": "1.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.9",
    "role": "arn:aws:iam::1:role/r",
}
SDK = {
    "sagemaker.core.processing": {
        "FrameworkProcessor": "image_uri role command instance_type instance_count"
        " volume_size_in_gb max_runtime_in_seconds base_job_name"
    },
    "sagemaker.core.shapes": {
        "CheckpointConfig": "s3_uri local_path",
        "OutputDataConfig": "s3_output_path",
        "StoppingCondition": "max_runtime_in_seconds max_wait_time_in_seconds",
        "ProcessingInput": "input_name s3_input",
        "ProcessingOutput": "output_name s3_output",
        "ProcessingS3Input": "s3_uri local_path s3_data_type s3_input_mode",
        "ProcessingS3Output": "s3_uri local_path s3_upload_mode",
    },
    "sagemaker.core.training.configs": {
        "Compute": "instance_type instance_count volume_size_in_gb enable_managed_spot_training",
        "InputData": "channel_name data_source",
        "SourceCode": "source_dir entry_script requirements",
    },
    "sagemaker.train.model_trainer": {
        "ModelTrainer": "training_image role source_code compute hyperparameters checkpoint_config"
        " stopping_condition output_data_config"
    },
}
METHODS = {
    "ModelTrainer": ("train", "input_data_config wait"),
    "FrameworkProcessor": (
        "run",
        "code source_dir requirements inputs outputs arguments wait logs",
    ),
}


def stand_in(name: str, fields: str) -> type:
    """A class that keeps what it is given, if the SDK's has these names."""

    def take(self, names: str, given: dict):
        assert not set(given) - set(names.split()), (
            f"{name} has no {set(given) - set(names.split())}"
        )
        self.__dict__.update(given)

    members = {"__init__": lambda self, **given: take(self, fields, given)}
    if name in METHODS:
        method, arguments = METHODS[name]
        members[method] = lambda self, **given: take(self, arguments, given)
    return type(name, (), members)


@pytest.fixture
def launch(monkeypatch):
    """sagemaker/launch.py as a module, with a stand-in of the SDK."""
    for module, classes in SDK.items():
        made = types.ModuleType(module)
        made.__dict__.update({name: stand_in(name, fields) for name, fields in classes.items()})
        monkeypatch.setitem(sys.modules, module, made)
    return load("launch")


def load(name: str):
    """A file of sagemaker/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ENTRY.with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_training_job_is_asked_for(launch):
    job = launch.train_job(**TRAIN, **WHERE, hours=2)
    assert (ENTRY.parent / job.source_code.entry_script).is_file()
    assert (ENTRY.parent / job.source_code.requirements).is_file()
    assert job.source_code.source_dir == str(ENTRY.parent)
    assert job.hyperparameters == TRAIN["hyperparameters"]
    assert job.compute.enable_managed_spot_training
    assert job.checkpoint_config.s3_uri == "s3://b/ner/checkpoints"
    entry = ENTRY.read_text()
    assert f'CHECKPOINTS = "{job.checkpoint_config.local_path}"' in entry
    limits = job.stopping_condition
    assert limits.max_wait_time_in_seconds > limits.max_runtime_in_seconds == 7200
    channels = {channel.channel_name: channel.data_source for channel in job.input_data_config}
    assert channels == {p: f"s3://b/ner/corpus/{p}" for p in ("train", "validation")}
    assert not job.wait


def test_a_processing_job_is_asked_for(launch, toy, tmp_path):  # noqa: F811
    options = {"output": "parquet", "include_text": True}
    job = launch.annotate_job(**PLACES, **WHERE, options=options, resume=True)
    assert (ENTRY.parent / job.code).is_file() and job.source_dir == str(ENTRY.parent)
    inputs = {entry.input_name: entry.s3_input for entry in job.inputs}
    addresses = {name: source.s3_uri for name, source in inputs.items()}
    assert addresses == {
        "notes": "s3://b/notes",
        "model": PLACES["model"],
        "earlier": "s3://b/found",
    }
    (target,) = job.outputs
    assert target.s3_output.s3_uri == "s3://b/found"
    assert not job.wait and not job.logs  # the SDK refuses logs of what it does not wait for
    folder = processing_folder(tmp_path / "job", toy)
    for name in ("notes", "model"):  # the container's paths are those that the entry point reads
        inside = Path(inputs[name].local_path).relative_to("/opt/ml/processing")
        assert list((folder / inside).iterdir())
    assert target.s3_output.local_path == "/opt/ml/processing/output"
    told = annotate_in(folder, *job.arguments)
    assert told["finished"] and list((folder / "output").rglob("*.parquet"))


def test_the_how_to_names_what_the_jobs_take():
    page = ENTRY.parent.parent / "nbs/how_to/sagemaker.ipynb"
    cells = json.loads(page.read_text(encoding="utf-8"))["cells"]
    text = "\n".join("".join(cell["source"]) for cell in cells)
    flags = set(inspect.signature(clinical_ner_train).parameters)
    flags -= {"data_dir", "new_model_dir", "resume", "num_processes"}  # given by the entry point
    flags -= {"corpus", "path_umls_semtype", "resume_from_model", "cache_dir"}  # of no use in a job
    assert [flag for flag in sorted(flags) if f"`{flag}`" not in text] == []
    (options,) = re.findall(r"options=(\{.*?\})", text)
    taken = inspect.signature(load("annotate_entry").annotate_entry).parameters
    assert ast.literal_eval(options).keys() < taken.keys()
    for name in ("train_job", "annotate_job"):
        assert hasattr(load("launch"), name) and f"{name}(" in text


def test_jobs_through_the_sdk(tmp_path, monkeypatch):
    """What SageMaker itself is asked for: against moto's server, with the real SDK."""
    for module in SDK:
        pytest.importorskip(module, reason="needs sagemaker>=3.27, in an environment of its own")
    import boto3
    from moto import mock_aws

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    resolver = "sagemaker.core.helper.iam_role_resolver._simulate_denied_actions"
    monkeypatch.setattr(resolver, lambda *given: ([], []))  # moto cannot say what a role may do
    launch = load("launch")
    principal = {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}}
    trust = {"Version": "2012-10-17", "Statement": [principal | {"Action": "sts:AssumeRole"}]}
    with mock_aws():
        role = boto3.client("iam").create_role(
            RoleName="r", AssumeRolePolicyDocument=json.dumps(trust)
        )
        where = WHERE | {"role": role["Role"]["Arn"]}
        launch.train_job(**TRAIN, **where)
        launch.annotate_job(**PLACES, **where, options={"output": "parquet"})
        client = boto3.client("sagemaker")
        (name,) = [
            job["TrainingJobName"] for job in client.list_training_jobs()["TrainingJobSummaries"]
        ]
        train = client.describe_training_job(TrainingJobName=name)
        (name,) = [
            job["ProcessingJobName"]
            for job in client.list_processing_jobs()["ProcessingJobSummaries"]
        ]
        found = client.describe_processing_job(ProcessingJobName=name)
    assert train["EnableManagedSpotTraining"]
    assert train["CheckpointConfig"]["S3Uri"] == "s3://b/ner/checkpoints"
    assert {channel["ChannelName"] for channel in train["InputDataConfig"]} > {
        "train",
        "validation",
    }
    assert {"notes", "model", "code"} < {entry["InputName"] for entry in found["ProcessingInputs"]}
    assert found["AppSpecification"]["ContainerArguments"] == ["--output", "parquet"]
