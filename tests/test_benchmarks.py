"""Figures of the benchmarks say what they were measured on."""

import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))
import tables  # noqa: E402

SHOWN = {
    name
    for path in (ROOT / "nbs").glob("**/*.ipynb")
    for name in re.findall(r'\bresults\(\\"(\w+)\\"\)', path.read_text(encoding="utf-8"))
}


@pytest.mark.parametrize("name", sorted(SHOWN))
def test_what_a_page_shows_names_its_machine(name):
    assert tables.made_on(name)
    assert "machine" not in tables.results(name)
    assert tables.results(name).keys() < tables.read(name).keys()


def test_pages_show_some():
    assert {"encoding", "metrics", "train"} <= SHOWN


@pytest.mark.parametrize(
    "told, words",
    [
        ("not recorded", "machine: not recorded"),
        ({"cpu": "A", "cores": 2, "versions": {"python": "3"}}, "A, 2 cores; python 3"),
        (
            {"cpu": "A", "threads": 4, "gpu": "H100", "versions": {"x": "1"}},
            "A, 4 threads; H100; x 1",
        ),
    ],
)
def test_in_words(tmp_path, monkeypatch, told, words):
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    (tmp_path / "a.json").write_text(json.dumps({"machine": told}))
    assert tables.made_on("a") == words


def test_this_machine():
    told = tables.machine("numpy")
    assert told["cpu"] and told["cores"] > 0
    assert {"python", "numpy"} <= told["versions"].keys()
