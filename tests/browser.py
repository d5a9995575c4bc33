"""A browser for tests: Chromium without a network. `browser` and `page` are fixtures."""

import os
import shutil
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
RUNNING: list = []  # the one Chromium
PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def chromium() -> str | None:
    """The path of the system's Chromium; None: Playwright's own."""
    named = os.environ.get("CLINICAL_NER_CHROMIUM")
    return named or next(filter(None, map(shutil.which, PROGRAMS)), None)


@pytest.fixture(scope="session")
def browser():
    """One Chromium for all tests. Without one they fail: tools/chromium.py sets it up."""
    from playwright.sync_api import sync_playwright

    if RUNNING:  # each file that imports this fixture has its own; Playwright can run only once
        yield RUNNING[0]
        return
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium(), args=[*ARGUMENTS])
        RUNNING.append(running)
        yield running
        RUNNING.clear()
        running.close()


@contextmanager
def open_tab(browser, **options):
    """A tab that reaches no network; its `problems` lists scripts that ran or failed, requests."""
    context = browser.new_context(**{"viewport": {"width": 1000, "height": 800}} | options)
    tab = context.new_page()
    tab.problems = []
    tab.on("dialog", lambda dialog: (tab.problems.append("dialog"), dialog.dismiss()))
    tab.on("pageerror", lambda error: tab.problems.append(f"error: {error}"))
    tab.on("console", lambda message: tab.problems.append(f"console: {message.text}"))

    def refuse(route):
        tab.problems.append(f"request: {route.request.url}")
        route.abort()

    context.route("**/*", lambda route: refuse(route) if outside(route) else route.continue_())
    yield tab
    context.close()


def outside(route) -> bool:
    """Whether a request leaves this machine."""
    url = route.request.url
    return not url.startswith(
        ("file:", "data:", "about:", "blob:", "http://127.0.0.1", "http://localhost")
    )


@pytest.fixture
def page(browser):
    """A fresh tab of a desktop's size, light theme."""
    with open_tab(browser, color_scheme="light") as tab:
        yield tab


def violations(tab, **options) -> list[str]:
    """What axe-core finds wrong with the accessibility of the page in `tab`."""
    script = Path(find_spec("axe_playwright_python").origin).parent / "axe.min.js"
    tab.add_style_tag(content=".cner article { content-visibility: visible !important }")  # lay out
    tab.evaluate(script.read_text(encoding="utf-8"))
    found = tab.evaluate("options => axe.run(document, options)", options)
    return [
        f"{rule['id']}: {node['html'][:150]} {node['failureSummary'][:200]}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]
