"""Write nbs/sidebar.yml (the site's menus) and nbs/llms.txt (the same as a list for language models).

Pages are found where they lie: a new one in a known folder is in the menus without further ado.
`custom_sidebar` in settings.ini keeps nbdev from writing its own sidebar.
"""

import json
import re
import sys
from configparser import ConfigParser
from pathlib import Path

import yaml
from tree import ROOT

# Sections in the order of a reader: title, pages in order. A glob stands for the rest, by name.
HOME = "index.ipynb"
SECTIONS = {
    "Get started": ["get_started"],
    "Tutorials": [
        *("tutorials/first_session", "tutorials/own_corpus", "tutorials/n2c2_2018"),
        *("tutorials/ncbi_disease", "tutorials/medmentions", "tutorials/reading_errors"),
        *("tutorials/gatortron", "tutorials/review_and_retrain", "tutorials/annotate_everything"),
        "tutorials/*",
    ],
    "How-to": ["how_to/*"],
    "API": ["[0-9]*"],
    "Benchmarks": ["benchmarks"],
    "Reference results": ["results/ncbi_disease", "results/*"],
    "Project": ["working_on_it", "changelog"],
}


def pages_of(
    patterns: list[str],  # paths below nbs without their ending, or globs
    nbs: Path,  # the folder of notebooks
) -> list[str]:  # paths below nbs
    """The notebooks that exist of `patterns`, in their order, each once."""
    found = [path for pattern in patterns for path in sorted(nbs.glob(f"{pattern}.ipynb"))]
    return list(dict.fromkeys(path.relative_to(nbs).as_posix() for path in found))


def sections(
    root: Path = ROOT,  # the project
) -> dict[str, list[str]]:  # notebooks below nbs by section
    """Every section that has pages; a notebook that no section takes raises `ValueError`."""
    nbs = root / "nbs"
    made = {title: pages_of(patterns, nbs) for title, patterns in SECTIONS.items()}
    listed = {page for pages in made.values() for page in pages} | {HOME}
    there = {
        path.relative_to(nbs).as_posix()
        for path in nbs.glob("**/*.ipynb")
        if not any(part.startswith(".") for part in path.relative_to(nbs).parts)
    }
    if lost := sorted(there - listed):
        raise ValueError(f"{', '.join(lost)}: in no menu; name it in SECTIONS of {__file__}")
    return {title: pages for title, pages in made.items() if pages}


def menus(
    root: Path = ROOT,  # the project
) -> str:  # YAML for Quarto
    """The navbar (a link to each section's first page) and the sidebar (every page)."""
    made = sections(root)
    bar = [{"text": title, "href": pages[0]} for title, pages in made.items()]
    contents = [HOME, *({"section": title, "contents": pages} for title, pages in made.items())]
    website = {"navbar": {"left": bar}, "sidebar": {"contents": contents}}
    return yaml.safe_dump({"website": website}, sort_keys=False)


def title_and_sentence(
    path: Path,  # a notebook
) -> tuple[str, str]:
    """What the first cell of a notebook says that it is."""
    cell = json.loads(path.read_text(encoding="utf-8"))["cells"][0]
    found = re.match(r"# ([^\n]+)\n\n> ([^\n]+)", "".join(cell["source"]))
    if found is None:
        raise ValueError(f"{path.name}: the first cell is not `# title`, blank line, `> sentence`")
    return found[1], found[2]


def page_address(
    page: str,  # a notebook below nbs
) -> str:  # its page below the site
    """Where a notebook's page is: nbdev takes the number away."""
    folder, _, name = page.rpartition("/")
    name = re.sub(r"^\d+_", "", name).replace(".ipynb", ".html")
    return f"{folder}/{name}" if folder else name


def llms(
    root: Path = ROOT,  # the project
) -> str:  # Markdown, in the form that llmstxt.org asks for
    """The site in one list: title, summary, and a line for each page."""
    parser = ConfigParser(delimiters=["="])
    parser.read(root / "settings.ini", encoding="utf-8")
    settings = parser["DEFAULT"]
    site = settings["doc_host"] + settings["doc_baseurl"]
    lines = [f"# {settings['title']}", "", f"> {settings['description']}"]
    for section, pages in sections(root).items():
        lines += ["", f"## {section}", ""]
        for page in pages:
            title, sentence = title_and_sentence(root / "nbs" / page)
            lines.append(f"- [{title}]({site}/{page_address(page)}): {sentence}")
    return "\n".join(lines) + "\n"


def write_navigation(
    root: Path = ROOT,  # the project
):
    """Write both files."""
    (root / "nbs" / "sidebar.yml").write_text(menus(root), encoding="utf-8", newline="")
    (root / "nbs" / "llms.txt").write_text(llms(root), encoding="utf-8", newline="")


if __name__ == "__main__":
    write_navigation()
    print("wrote nbs/sidebar.yml and nbs/llms.txt", file=sys.stderr)
