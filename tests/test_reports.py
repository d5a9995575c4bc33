"""The report: one file, nothing from outside, and no word of the notes unless wanted."""

import base64
import re
from dataclasses import replace

import pytest
from browser import browser, open_tab, page, violations  # noqa: F401

from clinical_ner.core import Document, Span
from clinical_ner.reports import report, table_html
from clinical_ner.samples import sample_notes

NOTES = sample_notes(8, seed=5)
FOUND = [replace(doc, spans=doc.spans[1::2] + doc.spans[2::4]) for doc in NOTES]
QUICK = {"resamples": 50}
PLANTED = ("Xylophoria", "Quuxumab", "Zanzibarine")


def planted_documents():
    """Gold and found documents whose every word was made up for this test."""
    docs = []
    for i, word in enumerate(PLANTED):
        text = f"{word} planted{word.lower()} {word}ectomy {word}"
        spans = [
            Span(0, len(word), "Drug", concept=f"C-{word}"),
            Span(len(text) - len(word), len(text), "ADE"),
        ]
        docs.append(Document(f"patient-{word}-{i}", text, spans, {"name": word}))
    found = [
        replace(doc, spans=(replace(doc.spans[0], label="ADE"), Span(1, 5, "Drug", 0.4)))
        for doc in docs
    ]
    return docs, found


def decoded(html):
    """The page with what its pictures hold."""
    pictures = re.findall(r"data:image/svg\+xml;base64,([^\"]+)", html)
    assert len(pictures) == 3
    return html + "".join(base64.b64decode(data).decode() for data in pictures)


def test_without_text_no_word_of_the_notes_is_there(tmp_path):
    gold, found = planted_documents()
    train = [Document("train-Wugbert", "Wugbert", [Span(0, 7, "Drug")])]
    path = report(gold, found, tmp_path / "r.html", train=train, **QUICK)
    html = decoded(path.read_text()).lower()
    for word in (*PLANTED, "ectomy", "wugbert", "patient-"):
        assert word.lower() not in html


def test_with_text_they_are(tmp_path):
    gold, found = planted_documents()
    html = report(gold, found, tmp_path / "r.html", include_text=True, **QUICK).read_text()
    assert all(f"planted{word.lower()}" in html for word in PLANTED)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_opens_without_a_network_and_axe_finds_nothing(browser, tmp_path, scheme):  # noqa: F811
    path = report(
        NOTES,
        FOUND,
        tmp_path / "r.html",
        train=NOTES[:2],
        settings={"lr": 1e-5},
        include_text=True,
        **QUICK,
    )
    for width in (1400, 700):
        with open_tab(
            browser, color_scheme=scheme, viewport={"width": width, "height": 900}
        ) as tab:
            tab.goto(path.as_uri())
            tab.wait_for_selector(".cner.js")
            assert tab.evaluate("[...document.images].every(i => i.complete && i.naturalWidth)")
            assert violations(tab) == []
            assert tab.problems == []
            assert tab.evaluate("document.documentElement.scrollWidth") <= width


def test_nothing_in_notes_or_settings_runs(page, tmp_path):  # noqa: F811
    words = (
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "</style><svg onload=alert(1)>",
        "\u202eabc $x_{$",
    )
    docs = [
        Document(word, f"a {word} b", [Span(2, 2 + len(word), word, concept=word)])
        for word in words
    ]
    found = [replace(doc, spans=()) for doc in docs[:2]] + [
        replace(doc, spans=(Span(0, 4, doc.id),)) for doc in docs[2:]
    ]
    path = report(
        docs,
        found,
        tmp_path / "r.html",
        settings=dict(zip(words, words)),
        title=words[0],
        include_text=True,
        **QUICK,
    )
    page.goto(path.as_uri())
    page.wait_for_timeout(200)
    assert page.problems == []
    assert page.locator("svg, img:not(.chart)").count() == 0
    assert "\u202e" not in path.read_text()


def test_it_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = report(NOTES, FOUND, tmp_path / "r.html", include_text=True, **QUICK)
    before = path.read_text()
    monkeypatch.setattr("clinical_ner.reports.page_html", lambda *args, **kwargs: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        report(NOTES, FOUND, path, **QUICK)
    assert path.read_text() == before
    assert [file.name for file in tmp_path.iterdir()] == ["r.html"]


def test_nothing_found_and_no_mistakes_are_reported(tmp_path):
    empty = [replace(doc, spans=()) for doc in NOTES]
    assert "missed" in report(NOTES, empty, tmp_path / "a.html", **QUICK).read_text()
    html = report(NOTES, NOTES, tmp_path / "b.html", include_text=True, **QUICK).read_text()
    assert "most mistakes" not in html


def test_an_empty_table_is_a_table():
    assert "<tbody></tbody>" in table_html({}, "nothing")
