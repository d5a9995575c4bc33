"""Pages about real corpora: they show figures and none of the text, and no figure typed by hand."""

import json
import os
import re
from pathlib import Path

import pytest

from clinical_ner.metrics import published

NBS = Path(__file__).parents[1] / "nbs"
CORPORA = ("ncbi_disease", "medmentions", "n2c2_2018")
WORDS = 6  # so many words of a corpus in a row are text of it


def shown(path: Path) -> str:
    """All text of a notebook's saved outputs."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    parts = []
    for output in (output for cell in cells for output in cell.get("outputs", [])):
        parts.append("".join(output.get("text", "")))
        for kind, data in output.get("data", {}).items():
            if kind.startswith("text/"):
                parts.append(re.sub(r"<[^>]+>", " ", "".join(data)))
    return " ".join(parts)


def runs(text: str) -> set[tuple[str, ...]]:
    """Every run of `WORDS` words of letters, in lower case."""
    words = re.findall(r"[a-z]{2,}", text.lower())
    return set(zip(*(words[i:] for i in range(WORDS))))


@pytest.mark.parametrize("name", CORPORA)
def test_tutorial_is_whole(name):
    text = (NBS / "tutorials" / f"{name}.ipynb").read_text(encoding="utf-8")
    assert "SMALL = True" in text and "UFNLP/gatortronS" in text
    assert '"image/png"' in text, "pictures are saved"
    assert f"../results/{name}.ipynb" in text


@pytest.mark.parametrize("name", CORPORA)
def test_results_are_read_not_typed(name):
    cells = json.loads((NBS / "results" / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    for cell in cells:
        source = re.sub(r"```.*?```", "", "".join(cell["source"]), flags=re.DOTALL)
        assert cell["cell_type"] != "markdown" or not re.search(r"\b0?\.\d{2,}\b", source)
    assert any(cell.get("outputs") for cell in cells)


@pytest.mark.parametrize("name", CORPORA)
def test_published_rows_say_where_from(name):
    for row in published(name).rows.values():
        assert row["matching"] in ("lenient (official)", "strict", "seqeval", "unverified")
        assert len(row["source"]) > 10


def test_runs():
    assert runs("One two, three four five six seven")
    assert not runs("one two three 4 five six")
    assert len(runs("ab cd ef gh ij kl mn")) == 2


@pytest.mark.skipif("CLINICAL_NER_DATA" not in os.environ, reason="needs the corpora")
@pytest.mark.parametrize("name", ("ncbi_disease", "medmentions"))
def test_outputs_hold_no_text_of_a_corpus(name):
    folder = Path(os.environ["CLINICAL_NER_DATA"], name)
    files = [*folder.rglob("*.tsv"), *folder.rglob("*.conll"), *folder.glob("pubtator/*.txt")]
    assert files
    text = []
    for file in files:
        for line in file.read_text(encoding="utf-8").splitlines():
            words = line.split("\t")
            text.append(line.split("|", 2)[-1] if "|" in line[:12] else words[0])
    real = runs(" ".join(text))
    assert len(real) > 100_000
    for kind in ("tutorials", "results"):
        assert not real & runs(shown(NBS / kind / f"{name}.ipynb"))
