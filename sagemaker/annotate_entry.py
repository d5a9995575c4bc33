"""What a SageMaker processing job runs: notes in, what is found out.

The job's inputs are notes (text files, or one file of documents) and model (a tagger's folder, or
the model.tar.gz that a training job left), and, to go on, earlier (the output of a job that did not
finish); the output folder is copied to S3.
"""

import shutil
import sys
import tarfile
import tempfile
from pathlib import Path

from clinical_ner.cli import clinical_ner_annotate, run_command


def unpacked(model: Path, target: str) -> Path:
    """The folder of the tagger: `model`, or, where it holds a model.tar.gz, that in `target`."""
    packed = model / "model.tar.gz"
    if not packed.exists():
        return model
    with tarfile.open(packed) as archive:
        archive.extractall(target, filter="data")
    return Path(target)


def annotate_entry(
    *,
    folder: str = "/opt/ml/processing",  # with input/notes, input/model, maybe input/earlier, and output
    output: str = "jsonl",  # what to write: jsonl, brat or parquet
    include_text: bool = False,  # write the covered text of each span into jsonl or parquet
    text_column: str = "text",  # column of the text in a table
    id_column: str = "id",  # column of the document id in a table
):
    """Annotate the input notes with the input model."""
    options = dict(locals())
    options.pop("folder")
    notes, target = Path(folder) / "input/notes", Path(folder) / "output"
    if not notes.is_dir():
        raise FileNotFoundError(f"{notes}: the job has no input there")
    files = [path for path in notes.iterdir() if not path.name.startswith(".")]
    one = len(files) == 1 and files[0].suffix != ".txt"
    source = str(files[0] if one else notes)
    earlier = Path(folder) / "input/earlier"
    if earlier.is_dir():  # what a job that did not finish had found
        shutil.copytree(earlier, target, dirs_exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        model = str(unpacked(Path(folder) / "input/model", temporary))
        clinical_ner_annotate(input_dir=source, target_dir=str(target), model_name=model, **options)


if __name__ == "__main__":
    run_command(annotate_entry, sys.argv[1:])
