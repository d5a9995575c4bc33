"""nbdev exits with 0 whatever goes wrong: these checks do not. Each is also shown to fail."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from notebook_checks import CHECKS, Project

ROOT = Path(__file__).resolve().parent.parent
GOOD = '''#| export
def shout(
    word: str,  # what to shout
) -> str:
    """The word in capitals."""
    return word.upper()'''


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_no_notebook_of_ours_breaks(check):
    assert check(Project(ROOT)) == []


def undefined_names(folder):
    """Names that modules of `folder` use but do not have, as ruff reports them."""
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F821"]
    return subprocess.run([*command, str(folder)], capture_output=True, text=True)


def test_no_module_needs_a_name_that_only_its_notebook_has():
    assert undefined_names(ROOT / "clinical_ner").returncode == 0


def test_a_module_that_does_is_found(tmp_path):
    (tmp_path / "a.py").write_text("def f():\n    return test_eq\n")
    assert "Undefined name `test_eq`" in undefined_names(tmp_path).stdout


def make_notebook(*cells, title="# {}\n\n> One sentence", name="a", **changes):
    """A notebook of code cells (or, from a dict, of any), with title and default_exp before them."""
    sources = [*([title.format(name)] if title else []), *cells]
    made = []
    for i, cell in enumerate(sources):
        kind = "markdown" if title and i == 0 else "code"
        cell = cell if isinstance(cell, dict) else {"cell_type": kind, "source": cell}
        made.append({"id": f"c{i}", "metadata": {}, **cell})
    return {"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5, **changes}


def make_project(folder, notebooks, modules=None):
    """A project with `notebooks`, and with the modules that they would make unless told others."""
    (folder / "nbs").mkdir(parents=True)
    (folder / "clinical_ner").mkdir()
    for name, notebook in notebooks.items():
        (folder / "nbs" / name).write_text(json.dumps(notebook))
    names = [name[3:-6] for name in notebooks if name[0].isdigit()]
    if modules is None:
        modules = {name: f"__all__ = ['{name}_name']\n" for name in names}
        modules["all"] = "".join(f"from .{name} import *\n" for name in names)
    for name, text in modules.items():
        (folder / "clinical_ner" / f"{name}.py").write_text(text)
    return Project(folder)


def found(project):
    """What the checks say, by name of the check."""
    return {check.__name__: wrong for check in CHECKS if (wrong := check(project))}


EXP = "#| default_exp a"
LONG = "\n".join(["#| export", "def f():", '    """A number."""', *["    x = 1"] * 31])
CLASS = 'class Made:\n    """Made by make."""\n\n\ndef make():\n    """A made thing."""'
OUTPUT = {"cell_type": "code", "source": "1", "metadata": {}, "id": "o"}
ERROR = {"output_type": "error", "ename": "E", "evalue": "", "traceback": []}
SHOWS_PATH = {"output_type": "stream", "name": "stdout", "text": ["saved to /home/me/x.json\n"]}
BAD = {
    "misspelt directive": ([EXP, "#| exprot\nx = 1"], "check_directives", "unknown directive"),
    "no bar": ([EXP, "# export\nx = 1"], "check_directives", "no directive"),
    "late": ([EXP, "x = 1\n#| export"], "check_directives", "too late"),
    "indented": ([EXP, "if 1:\n    #| hide\n    x = 1"], "check_directives", "too late"),
    "in text": (
        [EXP, {"cell_type": "markdown", "source": "#| export\n"}],
        "check_directives",
        "in a text cell",
    ),
    "to another module": ([EXP, "#| export b\nx = 1"], "check_directives", "takes no name"),
    "no default_exp": ([GOOD], "check_default_exp", "goes astray"),
    "another's name": (["#| default_exp b", GOOD], "check_default_exp", "goes astray"),
    "default_exp too low": (["x = 1", EXP], "check_default_exp", "second cell"),
    "skip_exec": (
        [EXP, {"cell_type": "raw", "source": "---\nskip_exec: true\n---"}],
        "check_frontmatter",
        "skip_exec",
    ),
    "imports and code": ([EXP, "import os\nos.getcwd()"], "check_import_cells", "own cell"),
    "import in a demo": (
        [EXP, "def f():\n    import os\nf()"],
        "check_import_cells",
        "own cell",
    ),
    "exported both": ([EXP, "#| export\nimport os\nx = 1"], "check_import_cells", "own cell"),
    "star": ([EXP, "#| export\nfrom os import *"], "check_import_cells", "import *"),
    "long function": ([EXP, LONG], "check_functions", "a body of 31 lines"),
    "no docstring": ([EXP, "#| export\ndef f():\n    pass"], "check_functions", "no docstring"),
    "method": (
        [EXP, '#| export\nclass A:\n    """A."""\n    def f(self):\n        pass'],
        "check_functions",
        "f: no docstring",
    ),
    "no comment": ([EXP, GOOD.replace("  # what to shout", "")], "check_functions", "word"),
    "no type": (
        [EXP, GOOD.replace("word: str,  # what to shout", "text,")],
        "check_functions",
        "parameter text",
    ),
    "many parameters": (
        [EXP, '#| export\ndef f(a, b, c, d, e, f):\n    """A."""\n    return a'],
        "check_functions",
        "more than 5",
    ),
    "no example": ([EXP, GOOD, "x = 1"], "check_examples", "shout stands in no example"),
    "no constant": ([EXP, "#| export\nMOST = 1"], "check_examples", "MOST stands in no example"),
    "no maker": ([EXP, f"#| export\n{CLASS}", "make"], "check_examples", "Made stands in no"),
    "error": ([EXP, {**OUTPUT, "outputs": [ERROR]}], "check_outputs", "is an error"),
    "path": ([EXP, {**OUTPUT, "outputs": [SHOWS_PATH]}], "check_outputs", "shows /home/me"),
    "size": ([EXP, "#" + "x" * 300_000], "check_outputs", "more than 300,000"),
    "no id": ([EXP, {"cell_type": "code", "source": "1", "id": None}], "check_cell_ids", "id"),
    "one id twice": (
        [EXP, {"cell_type": "code", "source": "1", "id": "c0"}],
        "check_cell_ids",
        "id",
    ),
}


def test_a_good_project_passes(tmp_path):
    second = make_notebook("#| default_exp b", "from clinical_ner.a import a_name", GOOD, name="b")
    later = make_notebook("from clinical_ner.all import *", name="guide")
    first = make_notebook(EXP, GOOD, 'assert shout("a") == "A"')
    second["cells"].append({"cell_type": "code", "source": "shout('b')", "id": "s", "metadata": {}})
    notebooks = {"00_a.ipynb": first, "01_b.ipynb": second, "guide.ipynb": later}
    assert found(make_project(tmp_path, notebooks)) == {}


@pytest.mark.parametrize("cells, check, message", BAD.values(), ids=BAD.keys())
def test_a_bad_cell_is_found(tmp_path, cells, check, message):
    wrong = found(make_project(tmp_path, {"00_a.ipynb": make_notebook(*cells)}))
    assert message in wrong[check][0] and wrong[check][0].startswith("00_a.ipynb")


def test_a_class_is_shown_by_what_returns_it(tmp_path):
    cell = "#| export\n" + CLASS.replace("make():", "make() -> list[Made]:")
    project = make_project(tmp_path, {"00_a.ipynb": make_notebook(EXP, cell, "make()")})
    assert "check_examples" not in found(project)


def test_two_notebooks_for_one_module_are_found(tmp_path):
    notebooks = {"00_a.ipynb": make_notebook(EXP), "01_a.ipynb": make_notebook(EXP)}
    wrong = found(make_project(tmp_path, notebooks))
    assert "00_a.ipynb, 01_a.ipynb: make one module, a" in wrong["check_one_module_each"][0]


def test_an_export_outside_chapters_is_found(tmp_path):
    wrong = found(make_project(tmp_path, {"guide.ipynb": make_notebook(GOOD)}))
    assert "no chapter" in wrong["check_default_exp"][0]


@pytest.mark.parametrize("title", ["", "# a", "# a\n> One sentence", "> One sentence\n\n# a"])
def test_a_notebook_without_title_and_sentence_is_found(tmp_path, title):
    notebook = make_notebook("1", title=title)
    assert "check_frontmatter" in found(make_project(tmp_path, {"guide.ipynb": notebook}))


def test_an_old_format_is_found(tmp_path):
    notebook = make_notebook(EXP, GOOD, "shout('a')", nbformat_minor=4)
    assert list(found(make_project(tmp_path, {"00_a.ipynb": notebook}))) == ["check_cell_ids"]


@pytest.mark.parametrize(
    "source",
    [
        "from clinical_ner.b import x",
        "import clinical_ner.b",
        "from clinical_ner import b",
        "from clinical_ner import b_name",
        "from clinical_ner.all import *",
        "#| export\nfrom clinical_ner.b import x",
        "#| export\nfrom clinical_ner.a import x",
        "def f():\n    from clinical_ner.b import x",
    ],
)
def test_an_import_of_a_later_chapter_is_found(tmp_path, source):
    notebooks = {
        "00_a.ipynb": make_notebook(EXP, source),
        "01_b.ipynb": make_notebook("#| default_exp b", name="b"),
    }
    wrong = found(make_project(tmp_path, notebooks))
    assert list(wrong) == ["check_import_order"] and "comes later" in str(wrong)


@pytest.mark.parametrize(
    "modules, check, message",
    [
        ({"old": "__all__ = ['x']"}, "check_modules", "old.py: no notebook makes it"),
        ({"a": None}, "check_modules", "a.py: its notebook was not exported"),
        ({"a": "__all__ = []"}, "check_public_names", "`__all__` is []"),
        ({"a": "x = 1"}, "check_public_names", "`__all__` is None"),
        ({"b": "__all__ = ['a_name']"}, "check_public_names", "a_name: defined in"),
        ({"all": "from .b import *\nfrom .a import *"}, "check_public_names", "all.py takes"),
        ({"all": "from .a import *"}, "check_public_names", "all.py takes ['a']"),
    ],
)
def test_a_bad_module_is_found(tmp_path, modules, check, message):
    second = make_notebook("#| default_exp b", name="b")
    good = {"a": "__all__ = ['a_name']", "b": "__all__ = ['b_name']"}
    good["all"] = "from .a import *\nfrom .b import *\n"
    modules = {name: text for name, text in {**good, **modules}.items() if text is not None}
    notebooks = {"00_a.ipynb": make_notebook(EXP, GOOD), "01_b.ipynb": second}
    wrong = found(make_project(tmp_path, notebooks, modules))
    assert message in str(wrong[check])


def test_every_check_is_shown_to_fail():
    shown = {check for _, check, _ in BAD.values()} | {
        "check_one_module_each",
        "check_import_order",
        "check_modules",
        "check_public_names",
    }
    assert {check.__name__ for check in CHECKS} == shown
