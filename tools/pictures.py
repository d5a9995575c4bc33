"""Make the pictures that are no cell's output: the README's note, and the card that links show.

Both are screenshots of what nbs/index.ipynb has saved, of made-up notes; needs a Chromium.
"""

import json
import sys

from tree import ROOT

sys.path.insert(0, str(ROOT / "tests"))
IMAGES = ROOT / "nbs" / "images"
CARD = """<body style="margin:0;background:#fff;font-family:sans-serif"><div style="padding:36px 60px">
<h1 style="font-size:60px;margin:0 0 8px">clinical_ner</h1>
<p style="font-size:27px;margin:0 0 24px;color:#444">{sentence}</p>
<div style="zoom:1.5">{note}</div></div></body>"""


def drawn_note() -> str:
    """The HTML of the note on the front page."""
    notebook = json.loads((ROOT / "nbs" / "index.ipynb").read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            html = "".join(output.get("data", {}).get("text/html", ""))
            if "<mark " in html:
                return html
    raise ValueError("nbs/index.ipynb shows no note: execute it")


def draw(
    html: str,  # a page
    name: str,  # of the file
    width: int,  # pixels
    height: int | None,  # pixels; None: as high as the page
):
    """Save a picture of a page in nbs/images."""
    from browser import ARGUMENTS, chromium
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium(), args=[*ARGUMENTS])
        size = {"width": width, "height": height or 100}
        tab = running.new_page(viewport=size, color_scheme="light", device_scale_factor=1)
        tab.set_content(html)
        tab.screenshot(path=IMAGES / name, full_page=height is None)
        running.close()


if __name__ == "__main__":
    from navigation import title_and_sentence

    IMAGES.mkdir(exist_ok=True)
    note = drawn_note()
    page = f'<body style="margin:8px;background:#fff;font-family:sans-serif">{note}</body>'
    draw(page, "note.png", 700, None)
    sentence = title_and_sentence(ROOT / "nbs" / "index.ipynb")[1]
    draw(CARD.format(sentence=sentence, note=note), "social.png", 1200, 630)
