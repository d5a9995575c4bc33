"""What a SageMaker training job runs: `clinical_ner_train` on its channels.

Hyperparameters are flags of the command. Checkpoints are written below /opt/ml/checkpoints, which
SageMaker copies to S3 as they come and puts back when a spot machine is replaced; a job that starts
again goes on after the last of them.
"""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

from clinical_ner.cli import clinical_ner_train, run_command

CHECKPOINTS = "/opt/ml/checkpoints"


def link_channels(folder: Path):
    """Make `folder` a corpus: a link to the one file, or the brat folder, of each channel."""
    if "SM_CHANNEL_TRAIN" not in os.environ:
        raise SystemExit("the job has no channel named train")
    for part in ("train", "validation"):
        if channel := os.environ.get(f"SM_CHANNEL_{part.upper()}"):
            files = [path for path in Path(channel).iterdir() if not path.name.startswith(".")]
            source = files[0] if len(files) == 1 else Path(channel)
            ending = "".join(source.suffixes) if source.is_file() else ""
            (folder / f"{part}{ending}").symlink_to(source)


def hand_over(output: Path, model: Path, results: Path):
    """Copy the finished tagger, and scores, history and log, to where SageMaker collects them."""
    for target in (model, results):
        target.mkdir(parents=True, exist_ok=True)
    reports = ("scores.json", "history.csv", "train.log")
    for name in reports:
        shutil.copy(output / name, results)
    left_out = shutil.ignore_patterns("checkpoints", *reports)
    shutil.copytree(output, model, ignore=left_out, dirs_exist_ok=True)


def flags_of(arguments: list[str], hyperparameters: str | None) -> list[str]:
    """The flags of the command line; without any, those of SM_HPS, a JSON object."""
    given = json.loads(hyperparameters or "{}")
    return arguments or [word for name in given for word in (f"--{name}", str(given[name]))]


def main():
    """Train on the channels "train" and, if there is one, "validation"; on all GPUs of the machine."""
    output = Path(os.environ.get("CLINICAL_NER_CHECKPOINTS", CHECKPOINTS)) / "tagger"
    gpus = max(1, int(os.environ.get("SM_NUM_GPUS") or 0))
    with tempfile.TemporaryDirectory() as corpus:
        link_channels(Path(corpus))
        flags = ["--data_dir", corpus, "--new_model_dir", str(output), "--resume"]
        flags += ["--num_processes", str(gpus)]
        run_command(clinical_ner_train, flags + flags_of(sys.argv[1:], os.environ.get("SM_HPS")))
    results = os.environ.get("SM_OUTPUT_DATA_DIR", "/opt/ml/output/data")
    hand_over(output, Path(os.environ.get("SM_MODEL_DIR", "/opt/ml/model")), Path(results))


if __name__ == "__main__":
    main()
