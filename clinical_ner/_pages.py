"""The last steps of nbdev's making of the pages: `procs` in settings.ini names them.

A page has no kernel, and readers in a hospital may reach no other server: what Quarto would load
from one (the widget manager, require.js, jQuery) is not needed, and left out.
"""

import re

_VIEW = "application/vnd.jupyter.widget-view+json"
_BLOCK = re.compile(r"^[ \t]*```.*?^[ \t]*```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[(`[^`\n]+`)\]\([^()\s]+\)")


class StaticWidgets:
    """Leave of each widget the HTML that was saved with it, and no state of widgets."""

    def __init__(self, nb):
        self.nb = nb

    def __call__(self, cell):
        for output in cell.get("outputs", []):
            if "text/html" in output.get("data", {}):
                output["data"].pop(_VIEW, None)

    def end(self):
        """Take the states of widgets away; nbdev calls it after the cells."""
        self.nb.metadata.pop("widgets", None)


def plain_signatures(cell):
    """Take the links out of signatures: in a block of code a reader would see their Markdown."""
    for output in cell.get("outputs", []):
        text = "".join(output.get("data", {}).get("text/markdown", ""))
        if "```" in text:
            plain = _BLOCK.sub(lambda block: _LINK.sub(r"\1", block[0]), text)
            output["data"]["text/markdown"] = plain.splitlines(keepends=True)


def raw_html(cell):
    """Make of HTML the block of Markdown that Quarto makes of it: seen as HTML, it loads scripts."""
    for output in cell.get("outputs", []):
        data = output.get("data", {})
        if "text/html" in data:
            html = "".join(data.pop("text/html"))
            fence = "`" * (1 + max(2, 0, *map(len, re.findall("`+", html))))
            block = f"{fence}{{=html}}\n{html}\n{fence}\n"
            data["text/markdown"] = block.splitlines(keepends=True)
