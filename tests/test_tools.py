"""The README, the export and the pages of the documentation; each check is also shown to fail."""

import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from clinical_ner._pages import StaticWidgets, plain_signatures, raw_html

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

from check_export import changed_files  # noqa: E402
from docs_check import (  # noqa: E402
    check_docs,
    check_site,
    made_page_faults,
    page_faults,
    rewritten_tables,
    widget_faults,
)
from navigation import llms, page_address, sections  # noqa: E402
from readme import make_readme  # noqa: E402
from tree import NAMES, copy_tree, read_tree, run_in  # noqa: E402


@pytest.fixture
def project(tmp_path):
    """A small copy of the project: the first chapter and the front page."""
    copy_tree(tmp_path)
    for path in tmp_path.glob("nbs/**/*.ipynb"):
        if path.name not in ("00_core.ipynb", "index.ipynb"):
            path.unlink()
    for path in tmp_path.glob("clinical_ner/*.py"):
        if path.stem not in ("__init__", "_pages", "all", "core"):
            path.unlink()
    index = {"cell_type": "markdown", "id": "a", "metadata": {}, "source": "# a\n\n> b"}
    write_cells(tmp_path / "nbs" / "index.ipynb", [index])
    run_in(tmp_path, "nbdev_export")
    return tmp_path


def write_cells(path, cells):
    """A notebook of `cells`, as nbdev_clean leaves it."""
    notebook = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(notebook, sort_keys=True, indent=1, ensure_ascii=False) + "\n")


def test_the_readme_is_what_the_front_page_makes():
    """After a change of nbs/index.ipynb: `make readme`."""
    assert (ROOT / "README.md").read_text(encoding="utf-8") == make_readme()


def test_readme_of_cells(tmp_path):
    cells = [
        {
            "cell_type": "markdown",
            "source": ["See [core](00_core.ipynb#spans), [x](https://x/y.ipynb)"],
        },
        {"cell_type": "markdown", "source": "and [first](tutorials/first_session.ipynb)."},
        {"cell_type": "code", "source": "#| hide\nimport os", "outputs": []},
        {
            "cell_type": "code",
            "source": "show()",
            "outputs": [
                {"output_type": "stream", "text": ["a\n", "b\n"]},
                {"data": {"text/markdown": "|a|", "text/plain": "no", "text/html": "no"}},
                {"data": {"text/html": "no"}},
            ],
        },
    ]
    write_cells(tmp_path / "index.ipynb", cells)
    site = "https://clinical-ner.github.io/clinical_ner"
    assert make_readme(tmp_path / "index.ipynb") == (
        f"See [core]({site}/core.html#spans), [x](https://x/y.ipynb)\n\n"
        f"and [first]({site}/tutorials/first_session.html).\n\n"
        "```python\nshow()\n```\n\n```text\na\nb\n```\n\n|a|\n"
    )


def test_every_page_is_in_the_menus_once():
    listed = [page for pages in sections().values() for page in pages]
    nbs = ROOT / "nbs"
    there = {
        path.relative_to(nbs).as_posix()
        for path in nbs.glob("**/*.ipynb")
        if ".ipynb_checkpoints" not in path.parts
    }
    assert len(listed) == len(set(listed))
    assert {*listed, "index.ipynb"} == there
    assert all(page_address(page) in llms() for page in listed)


def test_a_page_that_no_menu_takes_is_found(project):
    shutil.copy(project / "nbs" / "index.ipynb", project / "nbs" / "stray.ipynb")
    with pytest.raises(ValueError, match="stray.ipynb: in no menu"):
        sections(project)


def test_readme_of_what_the_library_draws(tmp_path):
    note = {"data": {"text/html": "<mark >x</mark>", "text/plain": "no"}}
    cell = {"cell_type": "code", "source": "#| echo: false\nnote", "outputs": [note]}
    write_cells(tmp_path / "index.ipynb", [cell])
    made = make_readme(tmp_path / "index.ipynb")
    assert made.startswith("![") and "(nbs/images/note.png)" in made
    assert (ROOT / "nbs" / "images" / "note.png").is_file()


def test_the_changelog_page_is_the_changelog():
    """After a change of CHANGELOG.md: execute nbs/changelog.ipynb."""
    cells = json.loads((ROOT / "nbs" / "changelog.ipynb").read_text(encoding="utf-8"))["cells"]
    shown = "".join(cells[-1]["outputs"][0]["data"]["text/markdown"])
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert shown.split() == text[text.index("## ") :].split()


def test_export_finds_nothing_in_a_clean_project(project):
    before = read_tree(project)
    assert changed_files(project) == []
    assert read_tree(project) == before


@pytest.mark.parametrize("what", ["edited module", "unexported", "renamed", "unclean", "no id"])
def test_export_finds_what_is_not_exported_or_not_clean(project, what):
    notebook, module = project / "nbs" / "00_core.ipynb", project / "clinical_ner" / "core.py"
    cells = json.loads(notebook.read_text())["cells"]
    expected = ["nbs/00_core.ipynb"]
    if what == "edited module":
        module.write_text(module.read_text().replace("def ", "def  ", 1))
        expected = ["clinical_ner/core.py"]
    elif what == "unexported":
        text = notebook.read_text().replace("One entity mention", "One mention")
        notebook.write_text(text)
        expected = ["clinical_ner/core.py"]
    elif what == "renamed":
        shutil.copy(module, project / "clinical_ner" / "old.py")
        expected = ["clinical_ner/old.py"]
    elif what == "unclean":
        cells[1]["execution_count"] = 7
        write_cells(notebook, cells)
    else:
        del cells[1]["id"]
        write_cells(notebook, cells)
    assert set(expected) <= set(changed_files(project))


WIDGET = {"application/vnd.jupyter.widget-view+json": {"model_id": "a"}}
FAULTS = {
    "an output is an error": {"output_type": "error", "ename": "ValueError"},
    "an output of 300,": {"output_type": "stream", "text": "x" * 300_000},
    "names this machine": {"output_type": "stream", "text": "see http://localhost:8888/lab"},
    "a progress bar": {"output_type": "stream", "name": "stderr", "text": ["\r50%", "\r100%"]},
    "a widget without its state": {"output_type": "display_data", "data": WIDGET},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_output_is_found(fault):
    cell = {"cell_type": "code", "source": "x", "outputs": [FAULTS[fault]]}
    [wrong] = page_faults({"cells": [cell]}, set())
    assert fault in wrong


def test_a_page_with_its_widgets_and_names_is_clean():
    state = {"application/vnd.jupyter.widget-state+json": {"state": {"a": {}}}}
    shown = {"output_type": "display_data", "data": WIDGET}
    code = {"cell_type": "code", "source": "mine(1)", "outputs": [shown]}
    text = {"cell_type": "markdown", "source": "`predict(tagger)` and `mine(2)`"}
    page = {"cells": [code, text], "metadata": {"widgets": state}}
    assert page_faults(page, {"predict"}) == []
    [wrong] = page_faults(page, {"predictions"})
    assert "`predict(`" in wrong


STATE = "application/vnd.jupyter.widget-state+json"


def made_page(data, widgets=None, source="x"):
    """A page with one output, as nbdev hands it to Quarto."""
    output = {"output_type": "display_data", "data": data}
    cell = {"cell_type": "code", "source": source, "outputs": [output]}
    return {"cells": [cell], "metadata": {"widgets": {STATE: widgets}} if widgets else {}}


def test_a_widget_saved_as_one_line_is_found():
    data = {**WIDGET, "text/html": "<div>3 documents; run the cell to see more</div>"}
    page = made_page(data, {"state": {"a": {}}})
    [wrong] = page_faults(page, set())
    assert "include_text=True" in wrong


def test_a_state_that_the_table_filter_breaks_is_found():
    state = json.dumps({"state": {"a": {"snapshot": '<table class="x"><tr><th>1</th>'}}})
    script = f'<script type="{STATE}">{state}</script>'
    assert json.loads(state) and "data-quarto-postprocess" in rewritten_tables(script)
    [wrong] = widget_faults(script)
    assert "no JSON" in wrong
    assert widget_faults(script.replace("<t", "<s").replace("/th", "/sh")) == []
    assert widget_faults(f"<script type={STATE}>{{</script>") != []
    assert widget_faults("<table><tr><th>1</th></tr></table>") == []


def test_a_widget_that_needs_a_manager_is_found(tmp_path):
    [wrong] = made_page_faults(made_page(WIDGET))
    assert "load the widget manager" in wrong
    address = "https://unpkg.com/@jupyter-widgets/html-manager@*/dist/embed-amd.js"
    [wrong, other] = made_page_faults(
        made_page({"text/html": f'<script src="{address}"></script>'})
    )
    assert "load require.js" in wrong and "html-manager" in other
    [wrong] = made_page_faults(made_page({}, {"state": {"a": {"snapshot": "<table>"}}}))
    assert "no JSON" in wrong
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/a.html").write_text(f'<script src="{address}"></script>')
    pages, [wrong] = check_site(tmp_path)
    assert pages == ["sub/a.html"] and wrong.startswith("sub/a.html: a widget manager")


def test_a_link_inside_code_is_found():
    link = "[`doc_words`](https://site/tags.html#doc_words)"
    page = made_page({"text/markdown": [f"see {link}\n", "```python\n", f"x # {link}\n", "```\n"]})
    assert made_page_faults(page) == [f"a link inside code: {link}"]


def test_made_pages_have_static_widgets_and_plain_signatures():
    link = "[`doc_words`](https://site/tags.html#doc_words)"
    text = ["```python\n", f"x # {link}, {link}\n", "```\n", link]
    shown = [
        ({"text/markdown": text}, "```python\nx # `doc_words`, `doc_words`\n```\n" + link),
        ({**WIDGET, "text/html": ["<b>\n", "1</b>"]}, "```{=html}\n<b>\n1</b>\n```\n"),
        ({"text/html": "<b>\n```` </b>"}, "`````{=html}\n<b>\n```` </b>\n`````\n"),
    ]
    for data, wanted in shown:
        page = make_page(made_page(dict(data), {"state": {"a": {}}}))
        [output] = page["cells"][0]["outputs"]
        assert {kind: "".join(text) for kind, text in output["data"].items()} == {
            "text/markdown": wanted
        }
        assert page["metadata"] == {} and made_page_faults(page) == []
    assert made_page_faults(make_page(made_page(dict(WIDGET))))  # there is nothing else to show


def make_page(page):
    """The page after the last steps."""
    widgets = StaticWidgets(SimpleNamespace(metadata=page["metadata"]))
    for step in (widgets, plain_signatures, raw_html):
        for cell in page["cells"]:
            step(cell)
        if step is widgets:
            step.end()
    return page


def test_a_picture_that_happens_to_hold_the_name_of_this_machine(monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "vm")
    picture = {"output_type": "display_data", "data": {"image/png": "iVBO+vm/1uF0"}}
    text = {"output_type": "stream", "text": "saved on vm"}
    for output, count in ((picture, 0), (text, 1)):
        cell = {"cell_type": "code", "source": "draw()", "outputs": [output]}
        assert len(page_faults({"cells": [cell], "metadata": {}}, set())) == count


def test_a_command_that_fails_is_an_error(tmp_path):
    with pytest.raises(RuntimeError, match="oh no"):
        run_in(tmp_path, sys.executable, "-c", "import sys; sys.exit('oh no')")


def test_the_documentation_has_nothing_to_mend():
    before = {name: (ROOT / name).stat().st_mtime_ns for name in NAMES}
    pages, wrong = check_docs()
    assert wrong == []
    assert len(pages) == len(list((ROOT / "nbs").glob("**/[!.]*.ipynb")))
    assert {name: (ROOT / name).stat().st_mtime_ns for name in NAMES} == before


def test_the_documentation_check_finds_a_broken_link(project):
    text = "# a\n\n> b"
    cells = [{"cell_type": "markdown", "id": "a", "metadata": {}, "source": text}]
    link = {"cell_type": "markdown", "id": "b", "metadata": {}, "source": "[x](00_none.ipynb)"}
    write_cells(project / "nbs" / "index.ipynb", [*cells, link])
    pages, wrong = check_docs(project)
    assert pages == ["core.ipynb", "index.ipynb"]
    assert any("broken link" in line and "00_none" in line for line in wrong), wrong


def test_the_documentation_check_finds_a_cell_that_cannot_run_alone(project):
    path = project / "nbs" / "00_core.ipynb"
    cells = json.loads(path.read_text())["cells"]
    code = "import os\nos.listdir(undefined)"
    extra = {"cell_type": "code", "id": "z", "metadata": {}, "outputs": [], "source": code}
    write_cells(path, [*cells, {**extra, "execution_count": None}])
    with pytest.raises(RuntimeError, match="undefined"):
        check_docs(project)
