"""The last step of nbdev's making of the pages: `procs` in settings.ini names these functions."""

import re

_VIEW = "application/vnd.jupyter.widget-view+json"
_BLOCK = re.compile(r"^[ \t]*```.*?^[ \t]*```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[(`[^`\n]+`)\]\([^()\s]+\)")


class StaticWidgets:
    """Leave of each widget the HTML that was saved with it.

    A page has no kernel. Where Quarto sees a widget, it loads the widget manager from a server
    elsewhere, which a hospital may not reach, and writes the state of all widgets into the page.
    """

    def __init__(self, nb):
        self.nb = nb

    def __call__(self, cell):
        """Take the widget out of outputs that have HTML too."""
        for output in cell.get("outputs", []):
            if "text/html" in output.get("data", {}):
                output["data"].pop(_VIEW, None)

    def end(self):
        """Take the states of widgets away."""
        self.nb.metadata.pop("widgets", None)


def plain_signatures(cell):
    """Take the links out of signatures: in a block of code a reader would see their Markdown."""
    for output in cell.get("outputs", []):
        text = "".join(output.get("data", {}).get("text/markdown", ""))
        if "```" in text:
            plain = _BLOCK.sub(lambda block: _LINK.sub(r"\1", block[0]), text)
            output["data"]["text/markdown"] = plain.splitlines(keepends=True)
