"""The widgets in a browser: clicks, keys, selections, a reload; Voila, and once JupyterLab."""

import json
import re
from importlib.util import find_spec

import pytest
from browser import browser  # noqa: F401
from test_widgets import sample_pair
from widgets_pages import jupyterlab, voila, write_notebook

from clinical_ner.core import Document, Span, write_jsonl
from clinical_ner.errors import confusion, find_mistakes
from clinical_ner.formats import read_brat
from clinical_ner.metrics import evaluate, keep_confident

pytestmark = pytest.mark.skipif(
    not (find_spec("voila") and find_spec("playwright")), reason="needs voila and playwright"
)
NASTY = (
    "<script>window.hacked = 1</script>\"><img src=x onerror='window.hacked = 1'></style>\u202e&amp;"
    "\r\nNo rash \U0001f600 after metformin. \u05d0\u05d1 end"
)
BAD = "\"><img src=x onerror='window.hacked = 1'>"
EXPLORE = """
from clinical_ner.core import read_jsonl
from clinical_ner.widgets import explore
explore(read_jsonl("gold.jsonl"), read_jsonl("pred.jsonl"))
"""
REVIEW = """
from clinical_ner.core import read_jsonl
from clinical_ner.widgets import review
review(read_jsonl("{name}.jsonl"), save_to="{name}", labels={labels})
"""
DOLLARS = "Copay $20 for drug_a_x and $35"
SHOWN = (  # cells whose outputs show the text above, or a type or document that is called so
    "docs[0]",
    "highlight(docs)",
    "compare(docs, found)",
    "explore(docs, found)",
    "explore(docs, found).static()",
    "HTML(explore(docs, found, include_text=True).pane.snapshot)",
    "review(found, save_to='dollars')",
    "evaluate(docs, found)",
    "find_mistakes(docs, found).table()",
    "HTML(table_html(evaluate(docs, found).rows, 'scores'))",
)
DOLLAR_CELLS = f"""
from IPython.display import HTML
from clinical_ner.all import *
from clinical_ner.reports import table_html
text = "{DOLLARS}"
docs = [Document(text, text, [Span(14, 22, text)])]
found = [Document(text, text, [Span(14, 20, text, 0.4)])]
"""
LABELS = ["Drug", "Strength", "ADE"]


def nasty_docs():
    """A note full of markup with a span of such a label, as gold and as found."""
    at = NASTY.index("rash")
    gold = Document("<b>id</b>", NASTY, [Span(0, 8, BAD), Span(at, at + 4, "ADE")])
    return gold, Document("<b>id</b>", NASTY, [Span(2, 30, BAD, 0.5), Span(at, at + 4, "ADE", 0.4)])


def short_doc():
    return Document("a", "Aspirin 81 mg daily.\r\nNo \U0001f600 rash after metformin.", [
        Span(0, 7, "Drug", 0.9), Span(8, 13, "ADE", 0.2)])  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with notebooks and their documents."""
    folder = tmp_path_factory.mktemp("site")
    gold, pred = sample_pair(8)
    bad_gold, bad_pred = nasty_docs()
    write_jsonl([*gold, bad_gold], folder / "gold.jsonl")
    write_jsonl([*pred, bad_pred], folder / "pred.jsonl")
    write_notebook(folder / "explore.ipynb", EXPLORE)
    for name, doc, labels in (("short", short_doc(), LABELS), ("bad", bad_pred, [*LABELS, BAD])):
        write_jsonl([doc], folder / f"{name}.jsonl")
        write_notebook(folder / f"{name}.ipynb", REVIEW.format(name=name, labels=labels))
    return folder


@pytest.fixture(scope="module")
def site(folder):
    with voila(folder) as address:
        yield address


@pytest.fixture
def open_page(site, browser):  # noqa: F811
    """A function that opens a notebook in Voila and waits for its widget."""
    pages = []

    def open_notebook(name):
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        pages.append(page)
        page.goto(f"{site}/voila/render/{name}.ipynb")
        page.wait_for_selector(".cner-widget [data-s]", timeout=60_000)
        return page

    yield open_notebook
    for page in pages:
        close(page)


def close(page):
    """Close a page, once nothing in a text has run on it."""
    if not page.is_closed():
        assert page.evaluate("window.hacked") is None
        page.close()


def slot(page, name):
    return page.locator(f'[data-slot="{name}"]')


def wait_for_text(page, name, text):
    """Wait until a part of the page has `text`."""
    script = (
        "([name, text]) => document.querySelector(`[data-slot=${name}]`).textContent.includes(text)"
    )
    page.wait_for_function(script, arg=[name, text])


def test_explore_filters_recomputes_and_finds(open_page, folder):
    gold, pred = sample_pair(8)
    bad_gold, bad_pred = nasty_docs()
    gold, pred = [*gold, bad_gold], [*pred, bad_pred]
    page = open_page("explore")
    count = confusion(find_mistakes(gold, pred))["Reason", "ADE"]
    page.get_by_role("button", name=f"gold Reason, found ADE: {count}").click()
    wait_for_text(page, "list", f"of {count}")
    rows = slot(page, "list").locator("[data-do=item]")
    assert rows.count() == count and all("Reason → ADE" in text for text in rows.all_inner_texts())
    rows.nth(1).click()
    page.wait_for_selector("[data-do=item]:nth-child(2)[aria-current=true]")
    assert page.locator(".cner-here").first.is_visible()
    page.get_by_role("button", name="show all").click()
    slider = page.locator("input[type=range]")
    slider.fill("60")
    table = evaluate(gold, keep_confident(pred, 0.6))
    wait_for_text(page, "scores", f"{table['micro', 'strict_f1']:.4f}")
    assert f"{table['micro', 'lenient_recall']:.4f}" in slot(page, "scores").inner_text()
    page.locator("input[type=search]").fill("METFORMIN.")
    wait_for_text(page, "list", "<b>id</b>")
    assert "\u202e" not in page.content()
    assert page.locator("input[type=search]").input_value() == "METFORMIN."
    bars = slot(page, "types").locator("button")
    page.get_by_role("button", name="show all").click()
    wait_for_text(page, "scores", "0.00")
    bars.filter(has_text=re.compile("^Drug")).click()
    page.wait_for_selector("[data-do=label][data-value=Drug][aria-pressed=true]")


def select(page, words):
    """Select words of the note with the mouse's events."""
    page.evaluate(
        """words => {
          const note = document.querySelector(".cner-note");
          const walk = document.createTreeWalker(note, NodeFilter.SHOW_TEXT);
          let node, text = "", ends = [];
          const start = note.textContent.indexOf(words), end = start + words.length;
          while ((node = walk.nextNode())) {
            for (const at of [start, end])
              if (ends.length === (at === end ? 1 : 0) && at <= text.length + node.length
                  && at >= text.length) ends.push([node, at - text.length]);
            text += node.data;
          }
          const range = document.createRange();
          range.setStart(...ends[0]);
          range.setEnd(...ends[1]);
          getSelection().removeAllRanges();
          getSelection().addRange(range);
          note.dispatchEvent(new MouseEvent("mouseup", { bubbles: true }));
        }""",
        words,
    )
    wait_for_text(page, "about", "selected")


def press(page, key, expected):
    """Press a key on the widget and wait for what the page says then."""
    page.locator(".cner-widget").first.focus()
    page.keyboard.press(key)
    wait_for_text(page, "state", expected)


def test_review_keeps_everything_through_a_reload(open_page, folder):
    page = open_page("short")
    text = short_doc().text
    press(page, "2", "relabel: saved")  # "81 mg" becomes Strength
    select(page, "metformin")
    press(page, "1", "add: saved")
    select(page, "rash")
    press(page, "3", "add: saved")
    select(page, "after")
    press(page, "3", "add: saved")
    press(page, "u", "add: undone")
    press(page, "n", "")
    page.wait_for_function(
        "document.querySelector('[data-slot=about]').textContent.includes('0-7')"
    )
    press(page, "a", "2 of 2 decided")
    close(page)
    page = open_page("short")
    assert "2 of 2 decided, 1 of 1 documents done" in slot(page, "state").inner_text()
    page.get_by_role("button", name="write brat").click()
    wait_for_text(page, "state", "1 documents in brat")
    [doc] = read_brat(folder / "short" / "brat")
    rash, metformin = text.index("rash"), text.index("metformin")
    assert doc.text == text
    assert sorted(doc.spans) == [
        Span(0, 7, "Drug"),
        Span(8, 13, "Strength"),
        Span(rash, rash + 4, "ADE"),
        Span(metformin, metformin + 9, "Drug"),
    ]


@pytest.mark.skipif(not find_spec("axe_playwright_python"), reason="needs axe-playwright-python")
@pytest.mark.parametrize("name", ["explore", "short"])
def test_axe_finds_no_violation(open_page, name):
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(open_page(name), context=".cner-widget").response["violations"]
    assert [(rule["id"], rule["nodes"][0]["html"]) for rule in found] == []


def test_a_click_and_a_selection_change_boundaries(open_page, folder):
    page = open_page("bad")
    assert "\u202e" not in page.content()
    page.locator(".cner-note [data-do=pick]", has_text="rash").click()
    wait_for_text(page, "about", "ADE")
    select(page, "rash \U0001f600 after")
    press(page, "b", "bounds: saved")
    [line] = (folder / "bad" / "decisions.jsonl").read_text().splitlines()
    [[start, end, *_]] = [row for rows in json.loads(line)["spans"].values() for row in rows]
    assert NASTY[start:end] == "rash \U0001f600 after"
    select(page, "[U+202E]&")
    press(page, "b", "bounds: saved")
    line = (folder / "bad" / "decisions.jsonl").read_text().splitlines()[-1]
    [[start, end, *_]] = [row for rows in json.loads(line)["spans"].values() for row in rows]
    assert NASTY[start:end] == "\u202e&"
    page.get_by_role("button", name="4").click()
    wait_for_text(page, "state", "relabel: saved")


def run_all(page, address, name):
    """Open a notebook in JupyterLab and run all of its cells."""
    page.goto(f"{address}/lab/tree/{name}.ipynb?reset")
    page.wait_for_selector(".jp-Notebook", timeout=60_000)
    page.wait_for_function(
        """async () => (await (await fetch("/api/kernels")).json())
          .some(k => k.connections > 0 && k.execution_state === "idle")""",
        timeout=60_000,
    )
    page.wait_for_selector("text=/ipykernel\\) \\| Idle/", timeout=60_000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name=re.compile("^Run All Cells")).first.click()


@pytest.fixture(scope="module")
def lab(folder):
    if not find_spec("jupyterlab"):
        pytest.skip("needs jupyterlab")
    with jupyterlab(folder) as address:
        yield address


def test_jupyterlab_shows_it_and_keeps_its_own_keys_out(lab, browser):  # noqa: F811
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    run_all(page, lab, "explore")
    page.wait_for_selector(".cner-widget [data-slot=list] button", timeout=40_000)
    cells = page.locator(".jp-Notebook .jp-Cell").count()
    page.locator(".cner-widget").first.focus()
    page.keyboard.press("a")  # in the notebook: a new cell above
    page.locator("[data-do=kind][data-value=missed]").click()
    page.wait_for_selector("[data-value=missed][aria-pressed=true]")
    assert page.locator(".jp-Notebook .jp-Cell").count() == cells
    assert page.evaluate("window.hacked") is None
    page.close()


def test_jupyterlab_shows_dollars_as_they_are(lab, folder, browser):  # noqa: F811
    typeset = f"HTML('<p>{DOLLARS}</p>')"  # JupyterLab makes a formula of it
    write_notebook(folder / "dollars.ipynb", DOLLAR_CELLS, *SHOWN, typeset)
    page = browser.new_page(viewport={"width": 1400, "height": 9000})
    run_all(page, lab, "dollars")
    page.wait_for_selector(".jp-OutputArea-output mjx-container", timeout=60_000)
    page.wait_for_selector(".cner-review [data-s]", timeout=60_000)
    page.wait_for_timeout(500)
    outputs = page.locator(".jp-Cell .jp-OutputArea-output")
    seen = outputs.evaluate_all(
        "all => all.map(e => [e.textContent, e.querySelectorAll('mjx-container').length])"
    )
    assert len(seen) == len(SHOWN) + 1 and seen.pop()[1] == 1
    for code, (text, formulas) in zip(SHOWN, seen, strict=True):
        assert DOLLARS in text and formulas == 0, code
    page.close()
