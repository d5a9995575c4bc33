"""Pictures in a browser: what is seen, what is read, what never runs, and what a click does."""

import itertools
import math
import random
import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from importlib import import_module
from pkgutil import iter_modules
from tempfile import TemporaryDirectory

import pytest
from browser import browser, open_tab, page, violations  # noqa: F401

import clinical_ner
from clinical_ner import display
from clinical_ner.core import (
    Document,
    Span,
    count_labels,
    escape_text,
    group_labels,
    label_color,
    label_group,
    mark_text,
    render_document,
    span_lanes,
)
from clinical_ner.corpora import ST21PV_TYPES, semantic_types
from clinical_ner.display import compare, highlight, page_html
from clinical_ner.errors import find_mistakes, suspicious_gold
from clinical_ner.formats import read_brat
from clinical_ner.metrics import encoding_ceiling, evaluate
from clinical_ner.reports import table_html
from clinical_ner.samples import sample_notes
from clinical_ner.widgets import explore, review

EVIL = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</style><script>alert(2)</script>",
    "</div></mark></article></details><svg onload=alert(3)>",
    "<!-- <![CDATA[ ]]> -->",
    "\u202egnihton\u2066 \u0007",
    "'\" onmouseover=alert(4) x='",
    "&lt;b&gt; &#60;script&#62;",
)
NOTES = sample_notes(3, seed=4)


def evil_documents():
    """A document for each evil word: in its id, text, labels and concepts."""
    docs = []
    for word in EVIL:
        text = f"before {word} after {word}\n"
        spans = [
            Span(7, 7 + len(word), word, 0.4, concept=word),
            Span(0, 10, word, concept=word),
            Span(3, len(text), "Drug", fragments=((3, 5), (9, len(text)))),
        ]
        docs.append(Document(word, text, spans))
    return docs


def spoil(doc, seed):
    """A document with mentions missed, moved and called otherwise."""
    rng, spans = random.Random(seed), []
    labels = sorted(count_labels([doc]))
    for span in doc.spans:
        chance = rng.random()
        if chance < 0.2:
            continue
        if chance < 0.35:
            span = replace(span, label=rng.choice(labels))
        elif chance < 0.5 and span.end < len(doc.text) and not span.fragments:
            span = replace(span, end=span.end + 1, score=0.6)
        spans.append(span)
    return replace(doc, spans=spans)


def show(tab, html, tmp_path, title="test"):
    """Open a page that holds `html`."""
    (tmp_path / "page.html").write_text(page_html(title, html), encoding="utf-8")
    tab.goto((tmp_path / "page.html").as_uri())


def luminance(color):
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear))


def linear(color):
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]


def oklab(channels):
    r, g, b = channels
    long, medium, short = (
        max(0, w[0] * r + w[1] * g + w[2] * b) ** (1 / 3)
        for w in (
            (0.4122214708, 0.5363325363, 0.0514459929),
            (0.2119034982, 0.6806995451, 0.1073969566),
            (0.0883024619, 0.2817188376, 0.6299787005),
        )
    )
    return (
        0.2104542553 * long + 0.7936177850 * medium - 0.0040720468 * short,
        1.9779984951 * long - 2.4285922050 * medium + 0.4505937099 * short,
        0.0259040371 * long + 0.7827717662 * medium - 0.8086757660 * short,
    )


# Vienot and others (1999): another simulation than that by which the palette is made
EYES = {
    "all cones": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "no green cones": ((0.29275, 0.70725, 0), (0.29275, 0.70725, 0), (-0.02234, 0.02234, 1)),
    "no red cones": ((0.11238, 0.88762, 0), (0.11238, 0.88762, 0), (0.00401, -0.00401, 1)),
}


def least_distance(labels, eye="all cones"):
    """The least distance in OKLab between the colours of two labels, as seen by an eye."""
    places = []
    for label in labels:
        channels = linear(label_color(label))
        places.append(oklab([sum(w * c for w, c in zip(row, channels)) for row in EYES[eye]]))
    return min(math.dist(a, b) for a, b in itertools.combinations(places, 2))


N2C2 = ("Drug", "Strength", "Form", "Dosage", "Frequency", "Route", "Duration", "Reason", "ADE")


@pytest.mark.parametrize("label", [*N2C2, *semantic_types(), "Disease", "", "été", "<b>"])
def test_every_colour_shows_on_white_and_on_dark(label):
    light = luminance(label_color(label))
    assert 1.05 / (light + 0.05) >= 3 and (light + 0.05) / (luminance("#1e1e1e") + 0.05) >= 3


# About 0.02 can just be told apart (without red cones, 41 colours cannot: labels stand beside them)
NINE = {"all cones": 0.12, "no green cones": 0.06, "no red cones": 0.06}
TWENTY_ONE = {"all cones": 0.055, "no green cones": 0.02, "no red cones": 0.018}
FORTY_ONE = {"all cones": 0.048, "no green cones": 0.022, "no red cones": 0.015}


@pytest.mark.parametrize("eye", EYES)
def test_the_nine_types_are_far_apart(eye):
    assert least_distance(N2C2, eye) > NINE[eye]


@pytest.mark.parametrize("eye", EYES)
def test_twenty_one_types_are_apart(eye):
    assert least_distance(ST21PV_TYPES, eye) > TWENTY_ONE[eye]


def test_types_share_the_hue_of_their_group_and_groups_differ():
    assert label_group("T047") == label_group("T191") == "Disorders"
    hues, groups = {}, {}
    for code in semantic_types():
        _, a, b = oklab(linear(label_color(code)))
        groups.setdefault(label_group(code), []).append(math.degrees(math.atan2(b, a)) % 360)
    for name, members in groups.items():
        around = [(hue - members[0] + 180) % 360 - 180 for hue in members]
        assert max(around) - min(around) <= 14, name  # six degrees to each side, and rounding
        hues[name] = members[0] + (max(around) + min(around)) / 2
    for one, other in itertools.combinations(hues.values(), 2):
        assert abs((one - other + 180) % 360 - 180) > 12


def test_all_semantic_types_differ():
    assert len({label_color(code) for code in semantic_types()}) == len(semantic_types()) == 127


@pytest.mark.parametrize("eye", EYES)
def test_forty_one_types_are_apart(data_dir, eye):
    labels = count_labels(read_brat(data_dir / "maccrobat2020", mismatch="warn"))
    assert len(labels) == 41
    assert least_distance(labels, eye) > FORTY_ONE[eye]


def test_a_combination_of_types_has_a_name_and_the_group_of_its_first():
    assert label_group("T116,T123") == label_group("T116") == "Chemicals & Drugs"
    assert label_group("Drug,T116") == ""
    html = highlight(Document("d", "insulin", [Span(0, 7, "T116,T123")])).html
    names = "{} + {}".format(*(semantic_types()[code][0] for code in ("T116", "T123")))
    assert html.count(names) == 2 and "Chemicals &amp; Drugs" in html and ">Other<" not in html
    assert "Drug + " not in highlight(Document("d", "insulin", [Span(0, 7, "Drug,T116")])).html


def test_compare_looks_for_mistakes_once_for_each_system(monkeypatch):
    calls = []
    once = display.find_mistakes
    monkeypatch.setattr(display, "find_mistakes", lambda *a: calls.append(a) or once(*a))
    found = [[spoil(doc, seed) for doc in NOTES] for seed in (1, 2)]
    for systems in (found[:1], found):
        calls.clear()
        assert compare(NOTES, *systems).html.count("<article") == len(NOTES)
        assert len(calls) == len(systems)


def test_a_group_gives_one_hue_whatever_was_there_before():
    before = label_color("Zebra")
    group_labels({"Zebra": "animals", "Yak": "animals", "Oak": "trees"})
    first = {label: label_color(label) for label in ("Zebra", "Yak", "Oak")}
    assert first["Zebra"] != before and len(set(first.values())) == 3
    group_labels({"Zebra": "animals", "Yak": "animals", "Oak": "trees"})
    assert {label: label_color(label) for label in first} == first


@pytest.mark.parametrize("seed", range(200))
def test_any_spans_nest_and_keep_the_text(seed):
    rng = random.Random(seed)
    text = "".join(rng.choice("ab <&\n") for _ in range(30))
    spans = []
    for _ in range(rng.randrange(8)):
        points = sorted(rng.sample(range(31), rng.choice((2, 2, 4, 6))))
        parts = tuple(zip(points[::2], points[1::2]))
        spans.append(Span(points[0], points[-1], "x", fragments=parts if len(parts) > 1 else ()))
    lanes = span_lanes(spans)
    opened = []

    def opening(piece):
        assert piece.lane == lanes[piece.span] and piece.inside == tuple(opened)
        opened.append(piece.span)
        return f"{{{piece.span}{'-' if piece.gap else '+'}"

    def closing(piece):
        assert opened.pop() == piece.span
        return "}"

    out = mark_text(text, spans, opening, closing)
    assert opened == []
    inside, covered, at = [], {i: set() for i in range(len(spans))}, 0
    for token in re.findall(r"\{\d[-+]|\}|&\w+;|[^{}]", out):
        if token[0] == "{":
            inside.append((int(token[1]), token[2]))
        elif token == "}":
            inside.pop()
        else:
            for i, kind in inside:
                covered[i] |= {at} if kind == "+" else set()
            at += 1
    assert at == len(text)
    for i, span in enumerate(spans):
        parts = span.fragments or ((span.start, span.end),)
        assert covered[i] == {c for a, b in parts for c in range(a, b)}
    for i, a in enumerate(spans):
        for j, b in enumerate(spans[:i]):
            assert a.end <= b.start or b.end <= a.start or lanes[i] != lanes[j]


PICTURES = {
    "highlight": lambda docs: highlight(docs).html,
    "highlight, paged": lambda docs: highlight(docs, page=2).html,
    "compare": lambda docs: compare(docs, [replace(d, spans=d.spans[:2]) for d in docs]).html,
    "compare two": lambda docs: (
        compare(docs, [spoil(d, 1) for d in docs], [spoil(d, 2) for d in docs], names=EVIL[:2]).html
    ),
    "document": lambda docs: "".join(map(render_document, docs)),
    "explore": lambda docs: explore(docs, [spoil(d, 1) for d in docs], train=docs).static().html,
    "review": lambda docs: reviewed(docs),
}


def reviewed(docs):
    """The page of `review`, as it is saved with a notebook."""
    with TemporaryDirectory() as folder:
        return review(docs, save_to=folder).static().html


@pytest.mark.parametrize("picture", PICTURES.values(), ids=PICTURES.keys())
@pytest.mark.parametrize("whole", [True, False], ids=["with the policy of a page", "bare"])
def test_nothing_in_a_note_runs_or_breaks_the_page(page, tmp_path, picture, whole):  # noqa: F811
    docs = evil_documents()
    html = picture(docs)
    if whole:
        show(page, html + "<p id='end'>end</p>", tmp_path, EVIL[0])
    else:
        page.set_content(f"<main>{html}<p id='end'>end</p></main>")
    page.wait_for_timeout(100)
    assert page.problems == []
    assert page.locator("img, svg, body script:not(.cner ~ script)").count() == 0
    assert page.evaluate("document.getElementById('end').parentElement.tagName") == "MAIN"
    seen = re.sub(r'data-value="[^"]*"', "", html)  # what widgets say to the kernel is not seen
    assert not set("\u202e\u2066\u0007") & set(seen)
    text = page.evaluate("document.querySelector('main').textContent")
    assert all(word in text for word in EVIL if word.isprintable())


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(browser, tmp_path, scheme):  # noqa: F811
    types = list(semantic_types())
    text = " ".join(types)
    spans = [
        Span(text.index(t), text.index(t) + 4, t, 0.4 + 0.1 * (i % 7)) for i, t in enumerate(types)
    ]
    many = Document("types", text, spans)
    pictures = (
        highlight([*NOTES, many], page=2),
        highlight(many),
        compare(NOTES, [spoil(doc, 1) for doc in NOTES]),
        compare(NOTES[0], spoil(NOTES[0], 1), spoil(NOTES[0], 2), names=("one", "two")),
        explore([*NOTES, many], [spoil(doc, 1) for doc in (*NOTES, many)], train=NOTES).static(),
        review([many], save_to=tmp_path).static(),
    )
    for picture in pictures:
        with open_tab(browser, color_scheme=scheme) as tab:
            style = "<style>body{background:Canvas}</style>"  # what axe takes for white otherwise
            show(tab, style + "<h1>Test</h1>" + picture.html, tmp_path)
            assert violations(tab) == []
            assert tab.problems == []


WITHOUT_MATH = {"tex2jax_ignore", "mathjax_ignore"}
DRAWN = {  # what makes the HTML of each class that draws itself, and of each function
    "core.Document": lambda docs: docs[0],
    "core.render_document": lambda docs: render_document(docs[0]),
    "metrics.Scores": lambda docs: evaluate(docs, docs),
    "metrics.Ceiling": encoding_ceiling,
    "errors.Mistakes": lambda docs: find_mistakes(docs, docs),
    "errors.Suspects": suspicious_gold,
    "display.Picture": highlight,
    "display.page_html": lambda docs: page_html("$1$", highlight(docs).html),
    "widgets._Static": lambda docs: explore(docs, docs).static(),
    "widgets._Shown": lambda docs: explore(docs, docs),
    "widgets.Explorer": lambda docs: explore(docs, docs, include_text=True),
    "widgets.Review": lambda docs: reviewed(docs),
    "reports.table_html": lambda docs: table_html(evaluate(docs, docs).rows, "$1$"),
}


class MathText(HTMLParser):
    """The text that MathJax would read in a piece of HTML."""

    def __init__(self, html):
        super().__init__()
        self.open, self.texts = [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        if tag not in ("br", "wbr", "img", "input", "meta"):
            left_alone = {*(dict(attributes).get("class") or "").split()} >= WITHOUT_MATH
            self.open.append(left_alone or tag in ("style", "script", "title"))

    def handle_endtag(self, tag):
        self.open.pop()

    def handle_data(self, data):
        if not any(self.open) and data.strip():
            self.texts.append(data)


def test_mathjax_reads_only_what_is_left_to_it():
    assert MathText("<p>a $1$<br></p><p class='mathjax_ignore'>b</p><style>c</style>").texts == [
        "a $1$", "b"]  # fmt: skip


@pytest.mark.parametrize("name", DRAWN)
def test_mathjax_leaves_alone_what_the_library_draws(name):
    drawn = DRAWN[name](NOTES)
    if hasattr(drawn, "_repr_mimebundle_"):
        bundle = drawn._repr_mimebundle_()
        drawn = (bundle[0] if isinstance(bundle, tuple) else bundle)["text/html"]
    html = drawn if isinstance(drawn, str) else drawn._repr_html_()
    assert "<" in html and MathText(html).texts == []


def test_everything_that_draws_is_tried_with_mathjax():
    makers = ("_repr_html_", "_repr_mimebundle_", "_repr_markdown_", "_repr_latex_")
    found = set()
    for module in iter_modules(clinical_ner.__path__, "clinical_ner."):
        if module.name.startswith("clinical_ner._"):
            continue
        for name, thing in vars(import_module(module.name)).items():
            if getattr(thing, "__module__", "") == module.name:
                draws = isinstance(thing, type) and any(hasattr(thing, maker) for maker in makers)
                writes = re.search(r"^[a-z]\w*_html$|^render_", name) and callable(thing)
                found |= {f"{module.name.split('.')[1]}.{name}"} if draws or writes else set()
    assert found - {"widgets._Pane"} == DRAWN.keys()


def test_axe_would_find_something(page):  # noqa: F811
    page.set_content("<main><img src='data:,'><p style='color:#bbb'>pale</p></main>")
    assert {rule.split(":")[0] for rule in violations(page)} >= {"image-alt", "color-contrast"}


def test_two_outputs_share_no_id(page, tmp_path):  # noqa: F811
    picture = highlight(NOTES[0])
    other = compare(NOTES[0], spoil(NOTES[0], 1))
    show(page, picture.html + picture.html + other.html + other.html, tmp_path)
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids)) > 4
    page.locator(".cner").nth(0).get_by_label("Drug").uncheck()
    hidden = page.evaluate(
        "[...document.querySelectorAll('.cner')].map(c => [...c.querySelectorAll('mark.s>b')]"
        ".filter(b => getComputedStyle(b).display === 'none').length)"
    )
    assert hidden[0] > 0 and hidden[1:] == [0, 0, 0]


LOOKS = """() => [...document.querySelectorAll("main > div")].map(root =>
  [root, ...root.querySelectorAll("*")].filter(e => !e.closest("style, script")).map(e => {
    const style = getComputedStyle(e);
    return ["color", "background", "border", "padding", "margin", "font", "display", "position",
      "outline", "content-visibility"].map(name => style.getPropertyValue(name)).join("; ");
  }))"""


def test_outputs_of_all_kinds_on_one_page_do_not_clash(page, tmp_path):  # noqa: F811
    docs = [
        *NOTES,
        Document("gaps", "one two three", [Span(0, 13, "x", fragments=((0, 3), (8, 13)))]),
    ]
    found = [spoil(doc, 1) for doc in docs]
    outputs = {
        "highlight": highlight(found, page=2),
        "compare": compare(docs, found, page=3),
        "compare two": compare(docs, found, [spoil(doc, 2) for doc in docs]),
        "explore": explore(docs, found).static(),
        "review": review(found, save_to=tmp_path).static(),
    }
    alone = {}
    for name, output in outputs.items():
        show(page, output.html, tmp_path)
        [alone[name]] = page.evaluate(LOOKS)
    show(page, "".join(output.html for output in outputs.values()), tmp_path)
    together = dict(zip(outputs, page.evaluate(LOOKS), strict=True))
    for name, looks in alone.items():
        assert len(looks) > 100 and together[name] == looks, name
    assert page.locator(".cner-widget.js, .cner-widget .js").count() == 0
    assert page.locator(".cner.js").count() == 3 and page.problems == []


def test_nothing_to_show_is_said(page, tmp_path):  # noqa: F811
    for picture in (highlight([]), compare([], []), compare([], [], [])):
        show(page, picture.html, tmp_path)
        assert page.locator(".cner").inner_text() == "No documents: there is nothing to show."
    show(page, highlight(("no mentions", [])).html, tmp_path)
    assert page.locator("fieldset").count() == 0 and page.get_by_text("no mentions").is_visible()
    show(page, compare(NOTES, NOTES).html, tmp_path)
    assert page.locator("nav.jump").count() == 0


def test_the_gaps_of_a_mention_are_lines_that_hide_with_it(page, tmp_path):  # noqa: F811
    text = "a b c d e f g h i j k"
    parts = tuple((i, i + 1) for i in range(0, 21, 4))
    doc = Document("d", text, [Span(0, 21, "x", fragments=parts)])
    assert len(parts) == 6
    for picture, box in ((highlight(doc), "x"), (compare(doc, doc), "correct"),
                         (compare(doc, Document("d", text)), "missed")):  # fmt: skip
        show(page, picture.html, tmp_path)
        lines = (
            "[...document.querySelectorAll('.text i')].map(e => getComputedStyle(e))"
            ".map(s => [s.borderBottomWidth, s.borderBottomColor])"
        )
        found = page.evaluate(lines)
        assert len(found) == 5 and {width for width, _ in found} == {"1px"}
        assert not {color for _, color in found} & {"rgba(0, 0, 0, 0)", "rgb(213, 218, 224)"}
        page.get_by_label(box).uncheck()
        assert {color for _, color in page.evaluate(lines)} == {"rgba(0, 0, 0, 0)"}


def test_a_legend_has_groups_only_where_most_labels_have_one_and_some_share_it():
    few = Document(
        "d", "one two three", [Span(0, 3, "Activity"), Span(4, 7, "Drug"), Span(8, 9, "Age")]
    )
    assert (
        label_group("Activity") and "Activities &amp; Behaviors</span>" not in highlight(few).html
    )
    many = replace(few, spans=[*few.spans[:1], Span(4, 7, "T047"), Span(8, 13, "T191")])
    assert "Activities &amp; Behaviors</span>" in highlight(many).html
    names = replace(few, spans=[Span(0, 3, "Disorders"), Span(4, 7, "Chemicals_and_Drugs")])
    assert 'class="group"' not in highlight(names).html


def test_a_group_has_the_hue_of_its_types():
    for code, (_, group) in semantic_types().items():
        hues = []
        for label in (code, group.replace(" & ", "_and_").replace(" ", "_")):
            assert label_group(label) == group
            _, a, b = oklab(linear(label_color(label)))
            hues.append(math.degrees(math.atan2(b, a)))
        assert abs((hues[0] - hues[1] + 180) % 360 - 180) <= 14


def test_the_theme_is_that_of_the_place(browser, tmp_path):  # noqa: F811
    light, dark = "rgb(255, 255, 255)", "rgb(22, 25, 29)"
    cases = (
        ("light", "", light),
        ("dark", "", dark),
        ("dark", 'data-jp-theme-light="true"', light),
        ("light", 'data-jp-theme-light="false"', dark),
        ("dark", 'class="quarto-light"', light),
        ("light", 'class="quarto-dark"', dark),
    )
    for scheme, place, wanted in cases:
        with open_tab(browser, color_scheme=scheme) as tab:
            tab.set_content(f"<div {place}>{highlight(NOTES[0]).html}</div>")
            found = tab.locator(".cner").evaluate("e => getComputedStyle(e).backgroundColor")
            assert found == wanted, (scheme, place)
            tab.set_content(f"<div {place}>{explore(NOTES, NOTES).static().html}</div>")
            widget = tab.locator(".cner-widget").evaluate("e => getComputedStyle(e).colorScheme")
            assert widget == (("light" if wanted == light else "dark") if place else "normal")
            tab.set_content(f"<div {place}>{highlight(NOTES[0]).html}</div>")
            tab.emulate_media(media="print")
            assert (
                tab.locator(".cner").evaluate("e => getComputedStyle(e).backgroundColor") == light
            )


def test_pages_turn(page, tmp_path):  # noqa: F811
    show(page, highlight(NOTES, page=1).html, tmp_path)
    page.wait_for_selector(".cner.js")
    assert page.locator("article:visible").count() == 1
    page.get_by_role("button", name="Next").click()
    assert page.locator("article:visible").get_attribute("aria-label") == NOTES[1].id
    page.get_by_role("combobox").select_option(index=2)
    assert page.locator("article:visible").get_attribute("aria-label") == NOTES[2].id
    assert page.get_by_role("button", name="Next").is_disabled()


def test_everything_can_be_read_without_scripts(browser, tmp_path):  # noqa: F811
    with open_tab(browser, java_script_enabled=False) as tab:
        show(tab, highlight(NOTES, page=1).html, tmp_path)
        assert tab.locator("article:visible").count() == 1
        tab.get_by_text("Documents 3–3").click()
        assert tab.locator("article:visible").count() == 2
        show(tab, compare(NOTES, [spoil(d, 1) for d in NOTES], page=1).html, tmp_path)
        tab.locator('a[aria-label="next mistake"]').first.click()
        assert tab.url.endswith("-m1")


def test_jumps_from_mistake_to_mistake_over_pages(page, tmp_path):  # noqa: F811
    found = [replace(doc, spans=doc.spans[1:]) for doc in NOTES]
    show(page, compare(NOTES, found, page=1).html, tmp_path)
    page.wait_for_selector(".cner.js")
    after = page.get_by_role("button", name="Next mistake")
    for i, doc in enumerate(NOTES):
        after.click()
        assert page.locator("output").inner_text() == f"{i + 1} of 3"
        focus = page.evaluate("document.activeElement.closest('article').ariaLabel")
        assert focus == doc.id
    page.keyboard.press("p")
    assert page.locator("output").inner_text() == "2 of 3"
    assert page.evaluate("document.activeElement.className").startswith("case k6 g")


def test_a_boundary_shows_to_the_character(page, tmp_path):  # noqa: F811
    text = "for high blood pressure today"
    gold = Document("d", text, [Span(4, 23, "Reason")])
    found = Document("d", text, [Span(9, 29, "Reason")])
    show(page, compare(gold, found).html, tmp_path)
    for name, words in (("g:not(.p)", "high "), ("g.p", "blood pressure"), ("p:not(.g)", " today")):
        marks = page.locator(f".text mark.run.{name}")
        assert marks.all_text_contents() == [words]
    assert page.locator("mark.case b").inner_text().lower().startswith("boundary, shifted: reason")


def test_a_label_stays_beside_a_mention_that_ends_in_a_space(browser, tmp_path):  # noqa: F811
    text = "short of breath on exertion today"
    doc = Document("d", text, [Span(0, 28, "Sign_symptom")])
    pictures = (highlight(doc), compare(doc, doc), compare(doc, replace(doc, spans=[])))
    for picture, width in itertools.product(pictures, range(260, 420, 20)):
        with open_tab(browser, viewport={"width": width, "height": 400}) as tab:
            show(tab, picture.html, tmp_path)
            same = tab.evaluate(
                "() => { const b = document.querySelector('.text b'), r = document.createRange();"
                " r.setStart(b.previousSibling, 26); r.setEnd(b.previousSibling, 27);"
                " const [w, l] = [r, b].map(e => e.getBoundingClientRect());"
                " return l.top < w.bottom && w.top < l.bottom; }"
            )
            assert same, width


def test_nested_cases_of_two_lines_do_not_touch(page, tmp_path):  # noqa: F811
    text = "one two three four five six seven\n" * 2
    gold = [Span(34 * line + i, 34 * line + 30 - i, "x") for line in (0, 1) for i in range(4)]
    show(page, compare(Document("d", text, gold), Document("d", text)).html, tmp_path)
    boxes = page.evaluate(
        "[...document.querySelectorAll('.text mark')].map(m => { const b = m.getClientRects();"
        " return [b.length, b[0].top, b[0].bottom]; })"
    )
    assert len(boxes) == 8 and {count for count, _, _ in boxes} == {1}
    assert max(bottom for _, _, bottom in boxes[:4]) <= min(top for _, top, _ in boxes[4:])


def test_the_clipboard_gets_the_note_and_nothing_else(page, tmp_path):  # noqa: F811
    show(page, highlight(NOTES[0]).html, tmp_path)
    copied = page.evaluate(
        "() => { getSelection().selectAllChildren(document.querySelector('.text'));"
        " return getSelection().toString(); }"
    )
    assert copied == NOTES[0].text.rstrip("\n") or copied == NOTES[0].text


def test_a_narrow_page_needs_no_sideways_scrolling(browser, tmp_path):  # noqa: F811
    for width in (320, 700):
        with open_tab(browser, viewport={"width": width, "height": 800}) as tab:
            show(
                tab,
                highlight(NOTES).html + compare(NOTES, [spoil(d, 1) for d in NOTES]).html,
                tmp_path,
            )
            assert tab.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_real_corpora_draw(browser, tmp_path, data_dir, theme):  # noqa: F811
    docs = read_brat(data_dir / "maccrobat2020", mismatch="warn")[:40]
    with open_tab(browser, color_scheme=theme) as tab:
        show(tab, highlight(docs, page=40).html, tmp_path)
        assert tab.locator(".text b").count() == sum(len(doc.spans) for doc in docs)
        texts = tab.evaluate(
            "[...document.querySelectorAll('.text')].map(t => { const c = t.cloneNode(true);"
            " c.querySelectorAll('b').forEach(b => b.remove()); return c.textContent; })"
        )
        read = [unescape(escape_text(doc.text)) for doc in docs]  # some have hidden characters
        assert texts == [text.replace("\r\n", "\n") for text in read]
        assert tab.problems == []
