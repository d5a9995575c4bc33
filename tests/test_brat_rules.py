"""What is written as brat, brat reads: its own rules over wrapped notes and random texts."""

import random
from pathlib import Path

import pytest
from brat_rules import as_brat_holds, faults

from clinical_ner import core, formats
from clinical_ner.core import Document, Span
from clinical_ner.formats import read_brat, write_brat
from clinical_ner.samples import sample_notes

MARKS = ["a", "b", "7", " ", " ", "\t", "\n", "\r", "\r\n", "é", "e\u0301", "\U0001f600", "\x0c"]
MARKS += ["\x0b", "\x85", "\xa0", "\u2028", "\u2009", "chest", "pain", "\n\n", "  ", "\u200d"]


def files(folder: Path, ann: str, text: str) -> tuple[Path, Path]:
    folder.mkdir(exist_ok=True)
    for name, content in (("d.ann", ann), ("d.txt", text)):
        (folder / name).write_bytes(content.encode())
    return folder / "d.ann", folder / "d.txt"


@pytest.mark.parametrize(
    ("text", "ann", "fault"),
    [
        ("chest\npain", "T1\tReason 0 5;6 10\tchest pain", ""),
        ("chest\r\npain", "T1\tReason 0 5;6 10\tchest pain", ""),  # a line end is one character
        ("chest\rpain", "T1\tReason 0 5;6 10\tchest pain", ""),
        ("chest\tpain", "T1\tReason 0 5;6 10\tchest pain", ""),
        ("chest\x85pain", "T1\tReason 0 5;6 10\tchest pain", ""),
        ("chest pain", "T1\tReason 0 10\tchest pain\t ", ""),
        ("lung and heart", "T1\tX 9 14;0 4\theart lung", ""),  # parts in any order
        ("ab", "*\tEquiv T1 T2", ""),
        ("ab", "N1\tReference T1 MESH:D1\tab", ""),
        ("ab", "#1\tAnnotatorNotes T1\tconcept=D1", ""),
        ("ab", "E1\tADE:T1 Cause:T2", ""),
        ("ab", "R1\tr Arg1:T1 Arg2:T2\t", ""),
        ("chest\npain", "T1\tReason 0 10\tchest pain", "a line end or a tab"),
        ("chest\tpain", "T1\tReason 0 10\tchest pain", "a line end or a tab"),
        ("chest\x85pain", "T1\tReason 0 10\tchest\x85pain", "a line end or a tab"),
        ("chest\r\npain", "T1\tReason 0 5;7 11\tchest pain", "outside"),
        ("chest pain.", "T1\tReason 0 5;6 10\tchest  pain", "text column differs"),
        ("chest pain.", "T1\tReason 0 10\tchest paint", "text column goes on"),
        ("chest pain.", "T1\tReason 0 10\tchest", "text column differs"),
        ("chest pain.", "T1\tReason 0 9;5 10\tchest pai pain", "parts overlap"),
        ("chest pain.", "T1\tchest pain 0 10\tchest pain", "no type and offsets"),
        ("chest pain.", "T1 Reason 0 10 chest pain", "no id and tab"),
        ("ab", "N1\tReference T1 D1\tab", "no type, mention"),
        ("ab", "N1\tReference T1 MESH:D1\t", "no type, mention"),
        ("ab", "T1\tX 0 2\tab\nT1\tY 0 1\ta", "an id twice"),
    ],
)
def test_the_rules(tmp_path, text, ann, fault):
    found = faults(*files(tmp_path / "x", ann, text))
    assert bool(found) == bool(fault)
    assert all(fault in line for line in found)


@pytest.mark.parametrize(
    ("text", "span", "line"),
    [
        ("chest\npain", (0, 10), "T1\tX 0 5;6 10\tchest pain"),
        ("chest\rpain", (0, 10), "T1\tX 0 5;6 10\tchest pain"),
        ("chest\r\npain", (0, 11), "T1\tX 0 5;6 10\tchest pain"),
        ("chest\tpain", (0, 10), "T1\tX 0 5;6 10\tchest pain"),
        ("chest  \n\n  pain", (0, 15), "T1\tX 0 5;11 15\tchest pain"),
        ("a\r\nb\r\nchest\r\npain", (6, 17), "T1\tX 4 9;10 14\tchest pain"),
        ("\U0001f600\nchest\npain", (2, 12), "T1\tX 2 7;8 12\tchest pain"),
        ("chest pain", (0, 10), "T1\tX 0 10\tchest pain"),
        ("chest\u2028pain", (0, 10), "T1\tX 0 5;6 10\tchest pain"),
        ("chest\u2009pain", (0, 10), "T1\tX 0 10\tchest\u2009pain"),
    ],
)
def test_a_mention_over_a_line_end(tmp_path, text, span, line):
    doc = Document("d", text, [Span(*span, "X")])
    write_brat([doc], tmp_path)
    assert (tmp_path / "d.ann").read_bytes().decode() == line + "\n"
    assert read_brat(tmp_path) == [doc]


def random_document(rng: random.Random) -> Document:
    text = "".join(rng.choices(MARKS, k=rng.randint(1, 25)))
    spans = []
    for _ in range(rng.randint(0, 4)):
        size = rng.choice([2, 2, 2, 4, 6])
        if len(text) >= size:
            points = sorted(rng.sample(range(len(text) + 1), size))
            parts = tuple(zip(points[::2], points[1::2]))
            concept = rng.choice(["", "D001", "MESH:D001", "C1 C2", "a:b:c"])
            fragments = parts if parts[1:] else ()
            spans.append(Span(points[0], points[-1], "Reason", 1.0, fragments, concept))
    return Document("d", text, spans)


def check_random(tmp_path: Path, seed: int, many: int):
    rng = random.Random(seed)
    for _ in range(many):
        doc = random_document(rng)
        write_brat([doc], tmp_path, concept_source=rng.choice(["", "MESH"]))
        assert faults(tmp_path / "d.ann", tmp_path / "d.txt") == []
        again, held = read_brat(tmp_path)[0], as_brat_holds(doc)
        assert (again.text, again.spans) == (doc.text, held.spans)
        before = (tmp_path / "d.ann").read_bytes()
        write_brat([again], tmp_path)
        assert (tmp_path / "d.ann").read_bytes() == before


@pytest.mark.parametrize("seed", range(2))
def test_random_texts(tmp_path, seed):
    check_random(tmp_path, seed, 150)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10, 20))
def test_five_thousand_random_texts(tmp_path, seed):
    check_random(tmp_path, seed, 500)


def test_sample_notes_are_wrapped_as_real_ones_are(tmp_path):
    notes = sample_notes(40)
    assert sum("\n" in doc.text[s.start : s.end] for doc in notes for s in doc.spans) >= 100
    write_brat(notes, tmp_path)
    lines = [line for path in tmp_path.glob("*.ann") for line in path.read_text().splitlines()]
    assert sum(";" in line.split("\t")[1] for line in lines) >= 100
    assert [doc.spans for doc in read_brat(tmp_path)] == [doc.spans for doc in notes]


def test_windows_line_ends_are_told_once(tmp_path, capsys, monkeypatch):
    write_brat([Document(f"d{i}", "a\r\nGout.", [Span(3, 7, "X")]) for i in range(3)], tmp_path)
    told = capsys.readouterr().out
    assert told.count("Windows line ends count as one") == 1 and told.endswith(" 3\n")
    monkeypatch.setattr(formats, "open_atomic", core.open_atomic)  # for a reader that counts two
    write_brat([Document("d", "a\r\nGout.", [Span(3, 7, "X")])], tmp_path, counting="characters")
    assert (tmp_path / "d.ann").read_text() == "T1\tX 3 7\tGout\n"
    assert capsys.readouterr().out == ""


def test_concepts(tmp_path):
    spans = [Span(0, 4, "X", concept="D001"), Span(8, 12, "X", concept="UMLS:C1")]
    doc = Document("d", "Gout or Rash", spans)
    write_brat([doc], tmp_path)
    assert (tmp_path / "d.ann").read_text().splitlines()[2:] == [
        "#1\tAnnotatorNotes T1\tconcept=D001",
        "N1\tReference T2 UMLS:C1\tRash",
    ]
    assert [span.concept for span in read_brat(tmp_path)[0].spans] == ["D001", "UMLS:C1"]
    write_brat([doc], tmp_path, concept_source="MESH")
    assert (tmp_path / "d.ann").read_text().splitlines()[2] == "N1\tReference T1 MESH:D001\tGout"


@pytest.mark.parametrize(
    ("folder", "counts"),
    [("n2c2_format_wrapped/gold", (135, 1482, 2)), ("n2c2_format_phee/test", (42, 2231, 32))],
)
def test_wrapped_corpora(data_dir, tmp_path, folder, counts):
    docs = read_brat(data_dir / folder)
    spans = [span for doc in docs for span in doc.spans]
    assert (len(docs), len(spans), sum(bool(span.fragments) for span in spans)) == counts
    write_brat(docs, tmp_path / "copy")
    bare = [Document(doc.id, doc.text, doc.spans) for doc in docs]
    write_brat(bare, tmp_path / "bare")
    for doc in docs:
        name = f"{doc.id}.ann"
        assert (tmp_path / "copy" / name).read_bytes() == (data_dir / folder / name).read_bytes()
        assert faults(tmp_path / "bare" / name, data_dir / folder / f"{doc.id}.txt") == []
    assert read_brat(tmp_path / "bare") == bare
