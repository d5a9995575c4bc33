"""Build every page of the documentation in a copy, and report what is wrong with it.

nbdev makes the pages that Quarto would render; smalldocs then builds a site from them and lists
broken links and syntax that would not render. Beside that: outputs that are errors or too large,
widgets without their state, names of this machine, and names in the text that nothing has. Quarto
itself is not needed. Prints nothing more than a count when all is well.
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
_LOCAL = re.compile(r"\b(localhost|127\.0\.0\.1|0\.0\.0\.0):\d+")
_CALL = re.compile(r"`([A-Za-z_]\w*)\(")
_BLOCK = re.compile(r"```.*?```", re.DOTALL)


def _output_faults(output: dict, states: dict) -> list[str]:
    """What is wrong with one output of a page; `states` are those of its widgets."""
    text, wrong = json.dumps(output), []
    if output.get("output_type") == "error":
        wrong.append("an output is an error")
    if len(text) > LARGEST:
        wrong.append(f"an output of {len(text):,} bytes; at most {LARGEST:,}")
    data = {k: v for k, v in output.get("data", {}).items() if not k.startswith("image/")}
    words = json.dumps(output | {"data": data})  # the letters of a picture are no names
    if re.search(rf"\b{re.escape(socket.gethostname())}\b", words) or _LOCAL.search(words):
        wrong.append("an output names this machine")
    view = output.get("data", {}).get(_WIDGET)
    if view and view["model_id"] not in states:
        wrong.append("a widget without its state: execute the page with nbconvert")
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


def public_names(root: Path) -> set[str]:
    """All names in the index that nbdev keeps, methods included."""
    text = (root / "clinical_ner" / "_modidx.py").read_text(encoding="utf-8")
    return {name.rpartition(".")[2] for name in re.findall(r"'(clinical_ner\.[\w.]+)'", text)}


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
        for path in sorted((copy / "nbs").glob("**/*.ipynb")):
            faults = page_faults(json.loads(path.read_text(encoding="utf-8")), names)
            wrong += [f"{path.name}: {fault}" for fault in faults]
        pages = take_output_names(copy / "_proc")
        notebooks = len(list((copy / "nbs").glob("**/*.ipynb")))
        if len(pages) != notebooks:
            wrong.append(f"{notebooks} notebooks made {len(pages)} pages")
        command = [sys.executable, "-m", "smalldocs.cli", "check", "_proc"]
        done = subprocess.run(command, cwd=copy, capture_output=True, text=True)
        if done.returncode:
            wrong += done.stdout.splitlines() or [done.stderr]
    return pages, wrong


if __name__ == "__main__":
    pages, wrong = check_docs()
    print(*wrong, sep="\n", file=sys.stderr)
    sys.exit(f"{len(wrong)} things to mend") if wrong else print(
        f"{len(pages)} pages, nothing wrong"
    )
