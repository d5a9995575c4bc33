"""Build every page of the documentation in a copy, and report what is wrong with it.

nbdev makes the pages that Quarto would render; smalldocs then builds a site from them and lists
broken links and syntax that would not render. Quarto itself is not needed. Prints nothing more than
a count when all is well.
"""

import json
import re
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
    renamed = {}
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
        path.rename(path.with_name(renamed[path.name]))
    for path in [*pages.glob("**/*.ipynb"), *pages.glob("*.yml")]:
        text = path.read_text(encoding="utf-8")
        for old, new in renamed.items():
            text = text.replace(old, new)
        path.write_text(text, encoding="utf-8")
    return sorted(renamed.values())


def check_docs(
    root: Path = ROOT,  # the project
) -> tuple[list[str], list[str]]:  # the pages, and one line for each thing that is wrong
    """The pages of the documentation and what is wrong with them."""
    with tempfile.TemporaryDirectory(prefix="pages-") as folder:
        copy = Path(folder)
        copy_tree(copy, root)
        log = run_in(copy, sys.executable, str(ROOT / "tools" / "proc_pages.py"))
        wrong = [line for line in log.splitlines() if "UserWarning" in line]
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
