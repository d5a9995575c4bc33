"""Build every page of the documentation in a copy, and report what is wrong with it.

nbdev makes the pages that Quarto would render; smalldocs then builds a site from them and lists
broken links and syntax that would not render. Beside that: outputs that are errors or too large,
widgets without their state, names of this machine, and names in the text that nothing has; in the
pages, what makes Quarto load scripts from elsewhere, states that do not parse, links inside code.
Quarto itself is not needed. Given a folder, it looks through the rendered pages there instead.
Prints nothing more than a count when all is well.
"""

import json
import re
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from tree import ROOT, copy_tree, run_in

_OUTPUT_FILE = re.compile(r"^output-file: (.+)\.html$\n?", re.MULTILINE)


def take_output_names(
    pages: Path,  # a folder of processed notebooks, changed in place
) -> list[str]:  # the pages
    """Give each page the name of its output file, and links the name of their page.

    Quarto reads `output-file` from the page; smalldocs goes by the name of the file.
    """
    renamed, made = {}, []
    for path in sorted(pages.glob("**/*.ipynb")):
        text = path.read_text(encoding="utf-8")
        notebook = json.loads(text)
        front = "".join(notebook["cells"][0]["source"])
        found = _OUTPUT_FILE.search(front)
        if found is None:
            raise RuntimeError(
                f"{path.name} names no output file: it needs a title and `> a sentence`"
            )
        notebook["cells"][0]["source"] = _OUTPUT_FILE.sub("", front)
        path.write_text(json.dumps(notebook), encoding="utf-8")
        renamed[path.name] = f"{found[1]}.ipynb"
        made.append(path.rename(path.with_name(renamed[path.name])))
    for path in [*pages.glob("**/*.ipynb"), *pages.glob("*.yml")]:
        text = path.read_text(encoding="utf-8")
        for old, new in renamed.items():
            text = text.replace(old, new)
        path.write_text(text, encoding="utf-8")
    return sorted(path.relative_to(pages).as_posix() for path in made)


LARGEST = 300_000  # bytes of an output
_WIDGET = "application/vnd.jupyter.widget-view+json"
_STATE = "application/vnd.jupyter.widget-state+json"
_ONLY_A_LINE = "run the cell to see more"
_LOCAL = re.compile(r"\b(localhost|127\.0\.0\.1|0\.0\.0\.0):\d+")
_CALL = re.compile(r"`([A-Za-z_]\w*)\(")
_BLOCK = re.compile(r"```.*?```", re.DOTALL)


def _output_faults(output: dict, states: dict) -> list[str]:
    """What is wrong with one output of a page; `states` are those of its widgets."""
    text, wrong = json.dumps(output), []
    shown = {kind: data for kind, data in output.get("data", {}).items() if kind[:5] != "image"}
    words = json.dumps({**output, "data": shown})  # a picture in base64 may hold any name
    if output.get("output_type") == "error":
        wrong.append("an output is an error")
    if len(text) > LARGEST:
        wrong.append(f"an output of {len(text):,} bytes; at most {LARGEST:,}")
    if re.search(rf"\b{re.escape(socket.gethostname())}\b", words) or _LOCAL.search(words):
        wrong.append("an output names this machine")
    if output.get("name") == "stderr" and "\r" in "".join(output["text"]):
        wrong.append("a progress bar was saved: take the output away")
    view = output.get("data", {}).get(_WIDGET)
    html = "".join(output.get("data", {}).get("text/html", ""))
    if view and view["model_id"] not in states:
        wrong.append("a widget without its state: execute the page with nbconvert")
    if view and _ONLY_A_LINE in html:
        wrong.append(
            "a widget that shows a line only: give include_text=True where notes are made up"
        )
    return wrong


def page_faults(
    notebook: dict,  # a page
    names: set[str],  # public names of the library
) -> list[str]:  # one line for each thing that is wrong
    """What is wrong with the outputs of a page, and calls in its text of what does not exist."""
    states = notebook.get("metadata", {}).get("widgets", {}).get(_STATE, {}).get("state", {})
    cells = notebook["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    wrong = []
    for cell in cells:
        for output in cell.get("outputs", []):
            wrong += _output_faults(output, states)
        if cell["cell_type"] == "markdown":
            text = "".join(cell["source"])
            blocks = "".join(_BLOCK.findall(text))
            for name in _CALL.findall(_BLOCK.sub("", text)):
                if name not in names and not re.search(rf"\b{name}\b", code + blocks):
                    wrong.append(f"`{name}(` is named in the text, and nothing is called so")
    return wrong


_SCRIPT = re.compile(rf"<script\b[^>]*{re.escape(_STATE)}[^>]*>(.*?)</script>", re.DOTALL)
_MANAGER = re.compile(r"//[^\s\"'<>]*(?:jupyter-widgets|html-manager|embed-amd)[^\s\"'<>]*")
_CODE = re.compile(r"^[ \t]*```.*?^[ \t]*```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[`[^`\n]+`\]\([^()\s]+\)")


def rewritten_tables(
    html: str,  # a page
) -> str:
    """The page after Quarto's filter for tables, which changes text inside scripts too."""
    html = re.sub(r"<th([\s>])", r'<td data-quarto-table-cell-role="th"\1', html)
    html = re.sub(r"</th([\s>])", r"</td\1", html)
    return re.sub(r"<table([\s>])", r'<table data-quarto-postprocess="true"\1', html)


def widget_faults(
    html: str,  # a page, or parts of one
) -> list[str]:  # one line for each thing that is wrong
    """What is wrong with the widgets of a page: a manager from elsewhere, a state that is no JSON."""
    wrong = [f"a widget manager from elsewhere: {found[0]}" for found in _MANAGER.finditer(html)]
    states = [*_SCRIPT.findall(html), *_SCRIPT.findall(rewritten_tables(html))]
    for state in dict.fromkeys(states):
        try:
            json.loads(state)
        except ValueError as error:
            wrong.append(f"the state of a widget is no JSON: {error}")
    return wrong


def made_page_faults(
    notebook: dict,  # a page as nbdev gives it to Quarto
) -> list[str]:  # one line for each thing that is wrong
    """What is wrong with a page that is ready for Quarto."""
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    data = [output.get("data", {}) for output in outputs]
    texts = ["".join(cell["source"]) for cell in notebook["cells"]]
    texts += ["".join(one.get(f"text/{kind}", "")) for one in data for kind in ("markdown", "html")]
    if state := notebook.get("metadata", {}).get("widgets", {}).get(_STATE):
        texts.append(f"<script type={_STATE}>{json.dumps(state)}</script>")  # as Quarto writes it
    said = {_WIDGET: "the widget manager", "text/html": "require.js"}
    wrong = [
        f"Quarto would load {said[kind]} for an output"
        for one in data
        for kind in one
        if kind in said
    ]
    links = [
        link for text in texts for block in _CODE.findall(text) for link in _LINK.findall(block)
    ]
    wrong += [f"a link inside code: {link}" for link in links]
    return wrong + [fault for text in texts for fault in widget_faults(text)]


def public_names(root: Path) -> set[str]:
    """All names in the index that nbdev keeps, methods included."""
    text = (root / "clinical_ner" / "_modidx.py").read_text(encoding="utf-8")
    return {name.rpartition(".")[2] for name in re.findall(r"'(clinical_ner\.[\w.]+)'", text)}


_NOT_SMALLDOCS = ("format.html.html-table-processing is ignored",)  # settings of Quarto alone


def smalldocs_faults(
    root: Path,  # a project with its pages in _proc
) -> list[str]:  # one line for each thing that is wrong
    """Broken links, and syntax that would not render."""
    command = [sys.executable, "-m", "smalldocs.cli", "check", "_proc"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    said = done.stdout.splitlines() or [done.stderr]
    return [line for line in said if line not in _NOT_SMALLDOCS] if done.returncode else []


def check_docs(
    root: Path = ROOT,  # the project
) -> tuple[list[str], list[str]]:  # the pages, and one line for each thing that is wrong
    """The pages of the documentation and what is wrong with them."""
    with tempfile.TemporaryDirectory(prefix="pages-") as folder:
        copy = Path(folder)
        copy_tree(copy, root)
        log = run_in(copy, sys.executable, str(ROOT / "tools" / "proc_pages.py"))
        wrong = [line for line in log.splitlines() if "UserWarning" in line]
        names = public_names(copy)
        notebooks = sorted((copy / "nbs").glob("**/*.ipynb"))
        for path in notebooks:
            faults = page_faults(json.loads(path.read_text(encoding="utf-8")), names)
            wrong += [f"{path.name}: {fault}" for fault in faults]
        for path in sorted((copy / "_proc").glob("**/*.ipynb")):
            faults = made_page_faults(json.loads(path.read_text(encoding="utf-8")))
            wrong += [f"{path.name}, as made for Quarto: {fault}" for fault in faults]
        pages = take_output_names(copy / "_proc")
        if len(pages) != len(notebooks):
            wrong.append(f"{len(notebooks)} notebooks made {len(pages)} pages")
        wrong += smalldocs_faults(copy)
    return pages, wrong


def check_site(
    folder: Path,  # pages that Quarto rendered
) -> tuple[list[str], list[str]]:  # the pages, and one line for each thing that is wrong
    """The rendered pages and what is wrong with their widgets."""
    pages, wrong = sorted(folder.glob("**/*.html")), []
    for path in pages:
        faults = widget_faults(path.read_text(encoding="utf-8"))
        wrong += [f"{path.relative_to(folder)}: {fault}" for fault in faults]
    return [path.relative_to(folder).as_posix() for path in pages], wrong


if __name__ == "__main__":
    pages, wrong = check_site(Path(sys.argv[1])) if sys.argv[1:] else check_docs()
    print(*wrong, sep="\n", file=sys.stderr)
    sys.exit(f"{len(wrong)} things to mend") if wrong else print(
        f"{len(pages)} pages, nothing wrong"
    )
