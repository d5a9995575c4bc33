"""Pictures beside displaCy: time and size for 1,000 MedMentions documents, and how fast they open.

The documents of the CoNLL file (878, the first ones again up to 1,000) are drawn by `highlight` and
by displaCy from the same spans (it draws only spans that do not overlap, as these are). A browser
then opens both pages and the report of 100 documents in which every seventh mention was left out;
times are the best of three. The table goes to `benchmarks/results/display.json`.

    pip install spacy
    python benchmarks/display.py --data DATA/medmentions/conll/mm_ner_sts.dev.conll
"""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from tables import machine

from clinical_ner.core import open_atomic
from clinical_ner.display import highlight
from clinical_ner.formats import read_conll
from clinical_ner.metrics import Scores
from clinical_ner.reports import report

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))
PAINT = """() => new Promise(done => {
  const paints = () => performance.getEntriesByName("first-contentful-paint");
  const wait = () => paints().length ? done(paints()[0].startTime) : setTimeout(wait, 10);
  wait();
})"""


def seconds(function, runs: int = 3) -> tuple[float, object]:
    """The fewest CPU seconds that `function` took, and its result."""
    times = []
    for _ in range(runs):
        begin = time.process_time()
        result = function()
        times.append(time.process_time() - begin)
    return min(times), result


def draw_by_displacy(docs) -> str:
    """The page that displaCy draws from the spans of `docs`."""
    from spacy import displacy

    rows = [
        {
            "text": doc.text,
            "ents": [{"start": s.start, "end": s.end, "label": s.label} for s in sorted(doc.spans)],
            "title": None,
        }
        for doc in docs
    ]
    return displacy.render(rows, style="ent", manual=True, page=True, jupyter=False)


def opening(browser, path: Path) -> dict:
    """Milliseconds until a browser shows something, and until the page is ready; best of three."""
    rows = []
    for _ in range(3):
        tab = browser.new_context(viewport={"width": 1400, "height": 1000}).new_page()
        tab.goto(path.as_uri())
        paint = tab.evaluate(PAINT)
        ready = tab.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
        rows.append((paint, ready))
        tab.context.close()
    paint, ready = (min(column) for column in zip(*rows))
    return {"first_paint_ms": paint, "load_ms": ready}


def measure(docs, folder: Path) -> dict[str, dict]:
    """A row for each page: CPU seconds to make it, megabytes, and how it opens."""
    from browser import ARGUMENTS, chromium
    from playwright.sync_api import sync_playwright

    some = docs[:100]
    found = [replace(d, spans=[s for i, s in enumerate(d.spans) if i % 7]) for d in some]
    page, theirs, file = folder / "ours.html", folder / "displacy.html", folder / "report.html"
    makers = {
        "highlight": (page, lambda: highlight(docs).save(page)),
        "displaCy": (theirs, lambda: theirs.write_text(draw_by_displacy(docs), "utf-8")),
        "report of 100 documents": (file, lambda: report(some, found, file, include_text=True)),
    }
    rows = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=[*ARGUMENTS])
        for name, (path, make) in makers.items():
            cpu, _ = seconds(make)
            rows[name] = {"cpu_seconds": cpu, "megabytes": path.stat().st_size / 1e6}
            rows[name] |= opening(browser, path)
        browser.close()
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="a CoNLL file")
    args = parser.parse_args()
    docs = read_conll(args.data)
    more = [replace(doc, id=f"{doc.id}-again") for doc in docs]
    docs = (docs + more)[:1000]
    mentions = sum(len(doc.spans) for doc in docs)
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(docs, Path(folder))
    caption = f"{len(docs):,} documents, {mentions:,} mentions; spacy {version('spacy')}"
    print(Scores(rows, caption))
    with open_atomic(HERE / "results" / "display.json") as file:
        json.dump(
            {"caption": caption, "machine": machine("spacy", "playwright"), "rows": rows},
            file,
            indent=1,
        )


if __name__ == "__main__":
    main()
