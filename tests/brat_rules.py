"""What brat's own reader takes, written from its behaviour: every `.ann` line must pass.

Reference: nlplab/brat, server/src/annotation.py (TextAnnotations), read by behaviour.
"""

import re
from dataclasses import replace
from pathlib import Path

from clinical_ner.core import Document

REFERENCES = {"R": r"(\S+) \S+:(\S+) \S+:(\S+)", "A": r"\S+ (\S+).*", "M": r"\S+ (\S+).*"}


def read_translated(path: Path) -> str:
    """A file as brat opens it: UTF-8, every kind of line end one character."""
    with open(path, encoding="utf-8") as file:
        return file.read()


def mention_fault(data: str, tail: str, text: str) -> str:
    """Why brat refuses the type and offsets, and the text column, of a T line; empty if it does not."""
    label, _, rest = data.partition(" ")
    if not label or not re.fullmatch(r"\d+ \d+(;\d+ \d+)*", rest):
        return "no type and offsets"
    parts = [tuple(map(int, part.split())) for part in rest.split(";")]
    for i, (start, end) in enumerate(parts):
        if start > end or end > len(text):
            return "offsets outside of the text"
        if any(end >= first and start < past for first, past in parts[:i]):
            return "parts overlap"
    words = " ".join(text[start:end] for start, end in parts)
    if (
        len((words + "x").splitlines()) > 1 or "\t" in words
    ):  # some versions of brat cut at all of them
        return "a line end or a tab in the mention"
    if not tail.startswith("\t") or tail[1 : 1 + len(words)] != words:
        return "text column differs from the text"
    behind = tail[1 + len(words) :]
    return "" if not behind or behind[0].isspace() else "text column goes on after the mention"


def line_fault(line: str, text: str) -> str:
    """Why brat refuses a line of an .ann file; empty if it does not."""
    number, tab, rest = line.partition("\t")
    data, tab_2, words = rest.partition("\t")
    if not tab or not (number == "*" or re.fullmatch(r"[A-Za-z#]+\d+", number)):
        return "no id and tab"
    if number[0] == "T":
        return mention_fault(data, tab_2 + words, text)
    if number[0] == "N":
        fits = re.fullmatch(r"\S+ \S+ [^\s:]+:\S+", data) and words.strip()
        return "" if fits else "no type, mention, database:identifier and text"
    if number[0] == "#":
        return "" if len(data.split()) == 2 else "no type and target of a note"
    if number[0] == "E":
        return "" if re.match(r"\S+:\S+", data) else "no type and trigger"
    if number[0] in REFERENCES:
        return "" if re.fullmatch(REFERENCES[number[0]], data.rstrip()) else "no type and targets"
    return "" if number == "*" and len(data.split()) > 2 else "an unknown kind of line"


def faults(ann: Path, note: Path, exempt=()) -> list[str]:
    """Number and fault of each line that brat refuses; lines in `exempt` are not looked at."""
    text, seen, found = read_translated(note), set(), []
    for number, line in enumerate(read_translated(ann).split("\n"), 1):
        key = line.partition("\t")[0]
        fault = line_fault(line, text) if line.strip() and line not in exempt else ""
        fault = "an id twice" if not fault and key in seen and key not in ("", "*") else fault
        seen.add(key)
        found += [f"line {number}: {fault}"] if fault else []
    return found


def as_brat_holds(doc: Document) -> Document:
    """`doc` without the line ends and tabs, and the blanks beside them, at the ends of mentions."""
    spans = []
    for span in doc.spans:
        parts = []
        for start, end in span.fragments or ((span.start, span.end),):
            before = re.match(r"\s*", doc.text[start:end])[0]
            start += (
                len(before)
                if re.search(r"[\t\n\x0b\x0c\r\x1c-\x1e\x85\u2028\u2029]", before)
                else 0
            )
            behind = re.search(r"\s*$", doc.text[start:end])[0]
            end -= (
                len(behind)
                if re.search(r"[\t\n\x0b\x0c\r\x1c-\x1e\x85\u2028\u2029]", behind)
                else 0
            )
            parts += [(start, end)] if start < end else []
        if parts:
            place = {"start": parts[0][0], "end": parts[-1][1]}
            spans.append(replace(span, **place, fragments=tuple(parts) if parts[1:] else ()))
    return replace(doc, spans=spans)
