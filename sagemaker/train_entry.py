"""What a SageMaker training job runs: its channels, hyperparameters and folders to `fine_tune`.

Checkpoints are written below /opt/ml/checkpoints, which SageMaker copies to S3 as they come and
puts back when a spot machine is replaced; a job that starts again goes on after the last of them.
"""

import json
import os
import shutil
import sys
from pathlib import Path

from clinical_ner.cli import read_documents, run_command
from clinical_ner.train import fine_tune

CHECKPOINTS = "/opt/ml/checkpoints"


def read_channel(folder: str) -> list:
    """Documents of a channel: those of the one file that it holds, or of a brat folder."""
    files = [path for path in Path(folder).iterdir() if not path.name.startswith(".")]
    return read_documents(files[0] if len(files) == 1 else folder)


def hand_over(output: Path, model: Path, results: Path):
    """Copy the finished tagger, and scores, history and log, to where SageMaker collects them."""
    for target in (model, results):
        target.mkdir(parents=True, exist_ok=True)
    reports = ("scores.json", "history.csv", "train.log")
    for name in reports:
        shutil.copy(output / name, results)
    left_out = shutil.ignore_patterns("checkpoints", *reports)
    shutil.copytree(output, model, ignore=left_out, dirs_exist_ok=True)


def train_entry(
    *,
    encoder: str = None,  # name on the Hub, such as UFNLP/gatortronS, or a folder
    epochs: int = 5,  # the best by validation F1 is kept
    lr: float = 5e-5,  # at its highest
    batch_size: int = 16,  # windows in a step, of all GPUs together
    token_budget: int = None,  # tokens in memory at a time, if a batch is too large for it
    weight_decay: float = 0.01,  # of the optimiser
    warmup: float = 0.1,  # share of the steps in which the learning rate rises
    head: str = "bio",  # or per_type: tags for each type, so that mentions may overlap
    patience: int = None,  # stop after so many epochs without a better F1
    max_length: int = None,  # tokens of a window, if less than the encoder's limit
    precision: str = "auto",  # bfloat16 or float32, if not what the hardware is best at
    lora: int = None,  # rank of low-rank adapters, if not all weights learn
    seed: int = 0,  # of splits, shuffling and fresh weights
    checkpoints: str = CHECKPOINTS,  # the local path of the job's checkpoint configuration
):
    """Train on the channels "train" and, if there is one, "validation"."""
    options = dict(locals())
    output = Path(options.pop("checkpoints")) / "tagger"
    if not encoder:
        raise ValueError("the hyperparameter encoder is needed")
    if "SM_CHANNEL_TRAIN" not in os.environ:
        raise ValueError("the job has no channel named train")
    parts = {part: os.environ.get(f"SM_CHANNEL_{part.upper()}") for part in ("train", "validation")}
    corpus = {part: read_channel(folder) for part, folder in parts.items() if folder}
    gpus = max(1, int(os.environ.get("SM_NUM_GPUS") or 0))
    fine_tune(corpus, output=output, num_processes=gpus, resume=True, **options)
    results = os.environ.get("SM_OUTPUT_DATA_DIR", "/opt/ml/output/data")
    hand_over(output, Path(os.environ.get("SM_MODEL_DIR", "/opt/ml/model")), Path(results))


def flags_of(arguments: list[str], hyperparameters: str | None) -> list[str]:
    """The flags of the command line; without any, those of SM_HPS, a JSON object."""
    given = json.loads(hyperparameters or "{}")
    return arguments or [word for name in given for word in (f"--{name}", str(given[name]))]


if __name__ == "__main__":
    run_command(train_entry, flags_of(sys.argv[1:], os.environ.get("SM_HPS")))
