"""Write README.md from nbs/index.ipynb, cell by cell, as it stands (nothing is run).

What the library draws there is HTML; its picture, nbs/images/note.png, is made by tools/pictures.py.
"""

import json
import re
import sys
from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_PAGE = re.compile(r"\]\((?!https?:|#)((?:[\w.-]+/)*)(?:\d+_)?([\w.-]+)\.ipynb(#[\w.-]*)?\)")


def output_text(
    output: dict,  # one output of a code cell
) -> str:  # Markdown; empty where the output is only a picture or HTML
    """An output as Markdown: its own, else its plain text as a block."""
    data = output.get("data", {})
    if "<mark " in "".join(data.get("text/html", "")):  # drawn by the library
        return "![A made-up note with its spans highlighted](nbs/images/note.png)"
    if "text/markdown" in data:
        return "".join(data["text/markdown"]).strip()
    plain = "".join(data.get("text/plain", output.get("text", [])))
    return "\n".join(["```text", plain.rstrip(), "```"]) if plain.strip() else ""


def cell_text(
    cell: dict,  # of a notebook
    site: str,  # address of the documentation, without the last slash
) -> str:  # Markdown; empty for a hidden cell
    """A cell as Markdown; links to notebooks lead to their pages."""
    source = "".join(cell["source"]).strip()
    if cell["cell_type"] == "markdown":
        return _PAGE.sub(lambda m: f"]({site}/{m[1]}{m[2]}.html{m[3] or ''})", source)
    if cell["cell_type"] != "code" or not source or source.startswith("#| hide"):
        return ""
    if source.startswith("#| echo: false"):
        return "\n\n".join(filter(None, map(output_text, cell["outputs"])))
    blocks = [f"```python\n{source}\n```", *map(output_text, cell["outputs"])]
    return "\n\n".join(block for block in blocks if block)


def make_readme(
    notebook: Path = ROOT / "nbs" / "index.ipynb",
    settings: Path = ROOT / "settings.ini",  # names the documentation's address
) -> str:  # the whole README
    """The README that `notebook` makes."""
    parser = ConfigParser(delimiters=["="])
    parser.read(settings, encoding="utf-8")
    site = parser["DEFAULT"]["doc_host"] + parser["DEFAULT"]["doc_baseurl"]
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    blocks = [cell_text(cell, site) for cell in cells]
    return "\n\n".join(block for block in blocks if block) + "\n"


if __name__ == "__main__":
    (ROOT / "README.md").write_text(make_readme(), encoding="utf-8", newline="")
    print("wrote README.md", file=sys.stderr)
