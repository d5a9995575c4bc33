"""Input that used to change a result without a word: it is read right, or it is an error."""

import json
from dataclasses import replace

import pytest

from clinical_ner import core, formats
from clinical_ner.core import Document, Span, dict_to_document, read_jsonl, write_jsonl
from clinical_ner.formats import (
    from_datasets,
    read_bioc,
    read_brat,
    read_conll,
    read_pubtator,
    write_brat,
    write_conll,
    write_pubtator,
)

SECRET = "Zyxomab"  # stands for the words of a note: no error may hold it


def refused(read, path, **options) -> str:
    with pytest.raises(ValueError) as caught:
        read(path, **options)
    assert SECRET not in str(caught.value).replace(str(path.parent), "")
    return str(caught.value).replace(f"{path.parent}/", "")


# JSON lines


def jsonl(tmp_path, *rows):
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


TEXT = f"{SECRET} for gout"
DRUG = {"start": 0, "end": 7, "label": "Drug"}


@pytest.mark.parametrize(
    "fields",
    [
        {"spans": [DRUG]},
        {"entities": [{"id": 4, "start_offset": 0, "end_offset": 7, "label": "Drug"}]},
        {"label": [[0, 7, "Drug"]]},
        {"labels": [[0, 7, "Drug"]], "Comments": []},
        {"ents": [DRUG]},
        {"entities": [DRUG], "relations": []},
        {"spans": [DRUG | {"token_start": 0, "token_end": 0}], "tokens": [{"text": "x"}]},
        {"spans": [DRUG | {"text": SECRET}], "answer": "accept"},
    ],
)
def test_known_forms_of_json_lines(tmp_path, fields):
    doc = read_jsonl(jsonl(tmp_path, {"id": 7, "text": TEXT} | fields))[0]
    assert (doc.id, doc.spans) == ("7", (Span(0, 7, "Drug"),))


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"annotations": [DRUG]}, "'annotations'"),
        ({"annotations": {"entities": [[0, 7, "Drug"]]}}, "'annotations'"),
        ({"spans": [], "annotations": [DRUG]}, "'annotations'"),
        ({"spans": [DRUG], "mentions": [[0, 7, "Drug"]]}, "'mentions'"),
        ({"spans": [DRUG], "entities": [DRUG]}, "under 'entities'"),
        ({"entities": json.dumps([DRUG])}, "'entities'"),
        ({"entities": "[(0, 7, 'Drug')]"}, "'entities'"),
        ({"annotations": "0 7 Drug"}, "'annotations'"),
        ({"ner_tags": "B-Drug O O"}, "'ner_tags'"),
        ({"label": "Drug"}, "'label'"),
        ({"labels": ["Drug"]}, "'labels'"),
        ({"spans": [], "ner_tags": [1, 0, 0]}, "'ner_tags'"),
        ({"spans": [], "annotations": ["0 7 Drug"]}, "'annotations'"),
        ({"spans": [DRUG], "tokens": [{"text": "x", "ner": "B-X"}]}, "'tokens'"),
        ({"spans": False}, "'spans'"),
        ({"spans": ""}, "'spans'"),
        ({"spans": {}}, "'spans'"),
        ({"spans": [DRUG], "ward": "1", "meta": {"ward": "2"}}, "'ward' is in 'meta' too"),
        ({"tags": ["B-Drug", "O", "O"]}, "'tags'"),
        ({"spans": [DRUG], "words": [[0, 7]]}, "'words'"),
        ({"result": {"value": [{"start": 0}]}}, "'result'"),
        ({"spans": {"start": 0, "end": 7}}, "'spans'"),
    ],
)
def test_annotations_under_an_unknown_key(tmp_path, fields, named):
    plain, odd = {"id": "a", "text": TEXT}, {"id": "b", "text": TEXT} | fields
    told = refused(read_jsonl, jsonl(tmp_path, plain, odd))
    assert told.startswith("a.jsonl, line 2: ") and named in told


@pytest.mark.parametrize(
    "change",
    [
        {"start": 1.9},
        {"start": 0.0},
        {"start": "0"},
        {"start": False},
        {"start": None},
        {"end": [7]},
        {"end": 99},
        {"end": -1},
        {"score": float("nan")},
        {"score": float("inf")},
        {"score": 99},
        {"score": "0.5"},
        {"score": True},
        {"label": None},
        {"label": ["Drug"]},
        {"label": ""},
        {"label": " "},
        {"label": "Drug "},
        {"label": 3},
        {"concept": 4},
        {"fragments": [[0, 3.5], [5, 7]]},
        {"fragments": [0, 7]},
        {"text": "Rash"},
    ],
)
def test_values_that_are_not_cast(tmp_path, change):
    good = {"id": "a", "text": TEXT, "spans": [DRUG]}
    bad = {"id": "b", "text": TEXT, "spans": [DRUG | change]}
    assert refused(read_jsonl, jsonl(tmp_path, good, bad)).startswith("a.jsonl, line 2: ")
    with pytest.raises(ValueError):
        from_datasets(_OneRow(bad))


class _OneRow(list):
    """A dataset of one row, with types that no Arrow table would hold."""

    features = None

    def __init__(self, row):
        super().__init__([row])
        self.column_names = list(row)

    def with_format(self, _):
        return self


@pytest.mark.parametrize("fields", [{"id": True}, {"id": None}, {"text": None}, {"meta": [1]}])
def test_fields_of_a_row_are_not_cast(tmp_path, fields):
    told = refused(read_jsonl, jsonl(tmp_path, {"id": "a", "text": TEXT} | fields))
    assert told.startswith("a.jsonl, line 1: a field has the wrong type")


def test_rejected_lines_are_counted(tmp_path, capsys):
    rows = [
        {"text": TEXT, "spans": [DRUG], "answer": answer}
        for answer in ("accept", "reject", "ignore", "reject")
    ]
    docs = read_jsonl(jsonl(tmp_path, *rows))
    assert [doc.id for doc in docs] == ["a-1"] and docs[0].meta == {"answer": "accept"}
    told = capsys.readouterr().out
    assert "since their answer is reject 2" in told and "answer is ignore 1" in told
    assert "documents without an id, called after file and line 1" in told


def test_other_fields_are_kept_or_counted(tmp_path, capsys):
    row = {"id": "a", "text": TEXT, "ward": "3", "spans": [DRUG | {"negated": True}], "meta": {}}
    doc = read_jsonl(jsonl(tmp_path, row | {"meta": {"patient": 4}}))[0]
    assert doc.meta == {"ward": "3", "patient": 4}
    assert "fields 'negated' of spans, left out 1" in capsys.readouterr().out
    path = tmp_path / "b.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(row).encode())  # a byte order mark
    assert read_jsonl(path)[0].spans == (Span(0, 7, "Drug"),)


# How offsets count

EMOJI = "\U0001f600 aspirin für \U0001f600 Gicht"
COUNTINGS = {"characters": (2, 16), "UTF-16 units": (3, 18), "UTF-8 bytes": (5, 23)}


@pytest.mark.parametrize(("counting", "starts"), COUNTINGS.items())
def test_offsets_of_other_countings(tmp_path, capsys, counting, starts):
    """UTF-16 units and bytes are known by the words of the mentions, in every format."""
    mentions = list(zip(starts, (7, 5), ("aspirin", "Gicht")))
    right = (Span(2, 9, "X"), Span(16, 21, "X"))
    (tmp_path / "a.txt").write_text(EMOJI)
    ann = "".join(f"T{n}\tX {a} {a + n}\t{w}\n" for a, n, w in mentions)
    (tmp_path / "a.ann").write_text(ann)
    pubtator = f"1|t|{EMOJI}\n" + "".join(f"1\t{a}\t{a + n}\t{w}\tX\t\n" for a, n, w in mentions)
    (tmp_path / "p.pubtator").write_text(pubtator)
    locations = "".join(
        f'<annotation id="{a}"><infon key="type">X</infon>'
        f'<location offset="{a}" length="{n}"/><text>{w}</text></annotation>'
        for a, n, w in mentions
    )
    (tmp_path / "b.xml").write_text(
        "<collection><source/><date/><key/><document><id>1</id><passage><offset>0</offset>"
        f"<text>{EMOJI}</text>{locations}</passage></document></collection>"
    )
    rows = [{"start": a, "end": a + n, "label": "X", "text": w} for a, n, w in mentions]
    jsonl(tmp_path, {"id": "1", "text": EMOJI, "spans": rows})
    reads = {"a.ann": lambda: read_brat(tmp_path), "b.xml": lambda: read_bioc(tmp_path / "b.xml")}
    reads["p.pubtator"] = lambda: read_pubtator(tmp_path / "p.pubtator")
    reads["a.jsonl"] = lambda: read_jsonl(tmp_path / "a.jsonl")
    for read in reads.values():
        assert read()[0].spans == right
        told = capsys.readouterr().out
        assert (f"count {counting} (converted) 1" in told) == (counting != "characters")
    write_brat(read_brat(tmp_path, mismatch="warn"), tmp_path / "copy")
    assert (tmp_path / "copy" / "a.ann").read_text() == ann
    write_pubtator(read_pubtator(tmp_path / "p.pubtator"), tmp_path / "q")
    assert (tmp_path / "q").read_text().strip() == pubtator.strip()


def test_no_counting_fits(tmp_path, capsys):
    """Where no counting fits all mentions: an error, or the one that fits most, and it is told."""
    (tmp_path / "a.txt").write_text(EMOJI)
    (tmp_path / "a.ann").write_text("T1\tX 3 10\taspirin\nT2\tX 18 23\tGicht\nT3\tX 3 10\tRash\n")
    assert "line 3" in refused(read_brat, tmp_path)
    doc = read_brat(tmp_path, mismatch="warn")[0]
    assert [doc.text[span.start : span.end] for span in doc.spans] == [
        "aspirin",
        "Gicht",
        "aspirin",
    ]
    told = capsys.readouterr().out
    assert "count UTF-16 units (converted) 1" in told and "were kept: 1" in told


def test_conll_offsets_in_utf16(tmp_path, capsys):
    (tmp_path / "a.tsv").write_text("\U0001f600\t0\t2\tO\naspirin\t3\t10\tB-X\n\nnow\t11\t14\tO\n")
    docs = read_conll(tmp_path / "a.tsv")
    assert [doc.text for doc in docs] == ["\U0001f600 aspirin\nnow"]
    assert docs[0].spans == (Span(2, 9, "X"),)
    assert "offsets count UTF-16 units (converted)" in capsys.readouterr().out


# CoNLL


def conll(tmp_path, text: str):
    (tmp_path / "a.conll").write_bytes(text.encode())
    return tmp_path / "a.conll"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("1\tSevere\tO\n2\tpain\tB-P\n", "numbers"),
        ("0\tSevere\tO\n1\tpain\tB-P\n\n0\tNo\tO\n", "numbers"),
        ("0 Severe O\n0 pain B-P\n\n1 No O\n", "numbers"),  # of the sentence
        ("1-1 Severe O\n1-2 pain B-P\n", "numbers"),
        ("1. Severe O\n2. pain B-P\n", "numbers"),
        ("O\tSevere\tO\nB-P\tpain\tB-P\n", "tags"),
    ],
)
def test_a_first_column_without_words(tmp_path, text, what):
    path = conll(tmp_path, text)
    assert f"the first column holds {what} alone" in refused(read_conll, path)
    doc = read_conll(path, word_column=1)[0]
    assert doc.text == "Severe pain" and doc.spans == (Span(7, 11, "P"),)
    assert read_conll(path, word_column=0)[0].text != "Severe pain"


def test_tag_before_word(tmp_path):
    path = conll(tmp_path, f"O\t{SECRET}\nB-P\tpain\n")
    assert "no tag" in refused(read_conll, path)
    assert "is both word and tag" in refused(read_conll, path, tag_column=0)
    assert "there is no column" in refused(read_conll, path, tag_column=0, word_column=5)
    doc = read_conll(path, tag_column=0, word_column=-1)[0]
    assert doc.text == f"{SECRET} pain" and doc.spans == (Span(8, 12, "P"),)


def test_numbers_among_words_are_words(tmp_path):
    assert read_conll(conll(tmp_path, "7 O\n.5 O\nmg B-S\n"))[0].text == "7 .5 mg"
    assert read_conll(conll(tmp_path, "7 O\n"))[0].text == "7"


@pytest.mark.parametrize("blank", [" ", "\x85", "\xa0", "\u3000", "\u200b", " \u2009", "\ufeff"])
def test_blanks_behind_a_tag(tmp_path, blank):
    path = conll(tmp_path, f"chest\tB-P{blank}\npain\tI-P\nnow\tO{blank}\n")
    assert read_conll(path)[0].spans == (Span(0, 10, "P"),)
    (tmp_path / "p").write_text(
        f"1|t|Gout\n1\t0\t4\tGout\tD{blank.rstrip(chr(0x200B) + chr(0xFEFF))}\t\n"
    )
    assert read_pubtator(tmp_path / "p")[0].spans == (Span(0, 4, "D"),)


@pytest.mark.parametrize("end", ["", "\r", "\r\r"])
def test_carriage_returns_alone_end_lines(tmp_path, end):
    docs = read_conll(conll(tmp_path, "chest B-P\rpain I-P\r\rnow O" + end))
    assert [(doc.text, doc.spans) for doc in docs] == [
        ("chest pain", (Span(0, 10, "P"),)),
        ("now", ()),
    ]
    (tmp_path / "p").write_bytes(f"1|t|Gout\r1|a|now\r1\t0\t4\tGout\tD\tC1{end}".encode())
    assert read_pubtator(tmp_path / "p")[0].spans == (Span(0, 4, "D"),)


def test_a_carriage_return_inside_a_line(tmp_path):
    told = refused(read_conll, conll(tmp_path, f"chest O\n{SECRET} B-P\rpain I-P\n"))
    assert told.startswith("a.conll, line 2: a carriage return inside the line")
    (tmp_path / "p").write_bytes(f"1|t|{SECRET}\r1|a|now\n1\t0\t4\tGout\tD\tC1\r\n".encode())
    assert "p, line 1: a carriage return" in refused(read_pubtator, tmp_path / "p")
    (tmp_path / "b.txt").write_text("Rash now")
    (tmp_path / "b.ann").write_bytes(b"T1\tX 0 4\tRash\rT2\tX 5 8\tnow")
    assert "line 1: a carriage return" in refused(read_brat, tmp_path, mismatch="warn")


@pytest.mark.parametrize("sentences", [1, 2, 3])
def test_one_document_comes_back_as_one(tmp_path, sentences):
    rows = [f"w{i}\t{3 * i}\t{3 * i + 2}\tO\n" for i in range(sentences)]
    docs = read_conll(conll(tmp_path, "\n".join(rows)))
    assert len(docs) == 1
    for options in ({}, {"offsets": True}, {"columns": False}):
        write_conll(docs, tmp_path / "b.conll", **options)
        again = read_conll(tmp_path / "b.conll")
        assert [len(doc.meta["sentences"]) for doc in again] == [sentences]
        write_conll(docs + [Document("x", "y z")], tmp_path / "c.conll", **options)
        assert len(read_conll(tmp_path / "c.conll")) == 2


# brat


def test_the_words_of_the_annotator_stay(tmp_path):
    ann = "T1\tDoseUnits 9 13\tμg/kg\nT2\tX 0 4\tdose\n"
    (tmp_path / "a.txt").write_text("dose 25  g/kg")
    (tmp_path / "a.ann").write_text(ann)
    docs = read_brat(tmp_path, mismatch="warn")
    write_brat(docs, tmp_path / "b")
    write_jsonl(docs, tmp_path / "a.jsonl")
    write_brat(read_jsonl(tmp_path / "a.jsonl"), tmp_path / "c")
    for copy in ("b", "c"):
        assert (tmp_path / copy / "a.ann").read_text() == ann


def test_parts_in_any_order_and_lines_without_words(tmp_path):
    ann = "T1\tP 15 21;0 4\tinjury lung\nT2\tP 9 14\n"
    (tmp_path / "a.txt").write_text("lung and heart injury")
    (tmp_path / "a.ann").write_text(ann)
    doc = read_brat(tmp_path)[0]
    assert doc.spans == (Span(0, 21, "P", fragments=((0, 4), (15, 21))), Span(9, 14, "P"))
    write_brat([doc], tmp_path / "b")
    assert (tmp_path / "b" / "a.ann").read_text() == ann


# BioC


def bioc(tmp_path, text: str, **fields):
    values = {"type": '<infon key="type">Drug</infon>', "words": "aspirin", "offset": 3} | fields
    (tmp_path / "a.xml").write_text(
        "<collection><source/><date/><key/><document><id>1</id><passage><offset>0</offset>"
        f'{text}<annotation id="1">{values["type"]}<location offset="{values["offset"]}"'
        f' length="7"/><text>{values["words"]}</text></annotation></passage></document>'
        "</collection>"
    )
    return tmp_path / "a.xml"


@pytest.mark.parametrize(
    "text",
    [
        "<text>No <!--x-->aspirin given</text>",
        "<text>No <i>aspirin</i> given</text>",
        "<text>No <b><i>asp</i>irin</b> given</text>",
        "<text>No <?x y?>aspirin given</text>",
        "<text>No <![CDATA[aspirin]]> given</text>",
    ],
)
def test_text_behind_an_inner_node(tmp_path, text):
    doc = read_bioc(bioc(tmp_path, text))[0]
    assert (doc.text, doc.spans) == ("No aspirin given", (Span(3, 10, "Drug"),))
    doc = read_bioc(bioc(tmp_path, text, words="asp<!--x-->irin"))[0]
    assert doc.spans == (Span(3, 10, "Drug"),)


def test_what_bioc_drops_is_told(tmp_path, capsys):
    text = "<text>No aspirin given</text>"
    two = '<infon key="type">Drug</infon><infon key="type">ADE</infon>'
    read_bioc(bioc(tmp_path, text, type=two))
    assert "infons with the key of another, which is kept 1" in capsys.readouterr().out
    nowhere = f'{text}<annotation id="2"><infon key="type">X</infon><text/></annotation>'
    read_bioc(bioc(tmp_path, nowhere))
    assert "annotations without a location, which are no spans 1" in capsys.readouterr().out
    assert "two texts" in refused(read_bioc, bioc(tmp_path, text + text))


def test_bioc_parts_over_a_line_end(tmp_path):
    path = bioc(tmp_path, "<text>No chest\npain</text>", words="chest pain")
    locations = '<location offset="3" length="5"/><location offset="9" length="4"/>'
    xml = path.read_text().replace('<location offset="3" length="7"/>', locations)
    path.write_text(xml)
    assert read_bioc(path)[0].spans == (Span(3, 13, "Drug"),)


def test_endings_in_upper_case(tmp_path):
    (tmp_path / "a.TXT").write_text("Rash now")
    (tmp_path / "a.ANN").write_text("T1\tX 0 4\tRash\n")
    assert read_brat(tmp_path, missing="empty")[0].spans == (Span(0, 4, "X"),)
    (tmp_path / "a.ann").write_text("")
    assert "is there too" in refused(read_brat, tmp_path)


# What a change of spans must not move


def brat(tmp_path, text: str, ann: str, **options) -> Document:
    (tmp_path / "a.txt").write_bytes(text.encode())
    (tmp_path / "a.ann").write_bytes(ann.encode())
    return read_brat(tmp_path, **options)[0]


def written(tmp_path, doc: Document, **options) -> list[str]:
    write_brat([doc], tmp_path / "out", **options)
    return (tmp_path / "out" / "a.ann").read_bytes().decode().split("\n")


@pytest.mark.parametrize("ann", ["T1\tA 0 4\trash", "T1\tA 0 4\trash\n", "", "#1\tx T1\ty\n"])
def test_all_mentions_go(tmp_path, ann):
    doc = brat(tmp_path, "rash", ann)
    assert not any(line.startswith("T") for line in written(tmp_path, replace(doc, spans=[])))
    assert written(tmp_path, Document("a", "rash", meta={"brat": []})) == [""]


def test_another_counting_moves_no_attribute(tmp_path):
    ann = "T1\tA 3 4\ta\nT2\tA 4 5\tb\nT3\tA 5 6\nT4\tA 6 7\nA1\tNeg T3\n"
    doc = brat(tmp_path, "x\r\n\r\nabcd", ann)
    assert written(tmp_path, doc) == ann.split("\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(formats, "open_atomic", core.open_atomic)  # for a reader that counts two
        lines = written(tmp_path, doc, counting="characters")
    assert lines[:5] == ["T1\tA 5 6\ta", "T2\tA 6 7\tb", "T3\tA 7 8", "T4\tA 8 9", "A1\tNeg T3"]


def test_a_counting_stays_with_its_format(tmp_path):
    (tmp_path / "p").write_text("1|t|é é rash\n1\t6\t10\trash\tD\tC\n")
    doc = read_pubtator(tmp_path / "p")[0]
    write_brat([doc], tmp_path / "b")
    assert (tmp_path / "b" / "1.ann").read_text().startswith("T1\tD 4 8\trash\n")
    doc = brat(tmp_path, "é é rash gout", "T1\tD 6 10\trash\nA1\tNeg T1\n")
    write_pubtator([doc], tmp_path / "q")
    assert "a\t4\t8\trash\tD\t" in (tmp_path / "q").read_text()


def test_a_new_mention_is_counted_as_brat_does(tmp_path, capsys):
    ann = "T1\tD 6 10\trash\nA1\tNeg T1\n"
    doc = brat(tmp_path, "é é rash gout", ann)
    assert written(tmp_path, doc) == ann.split("\n")  # bytes, as they were
    lines = written(tmp_path, replace(doc, spans=[*doc.spans, Span(9, 13, "D")]))
    assert lines == ["T1\tD 4 8\trash", "A1\tNeg T1", "T2\tD 9 13\tgout", ""]
    assert "whose offsets counted UTF-8 bytes (converted) 1" in capsys.readouterr().out


def test_an_attribute_stays_with_its_mention(tmp_path):
    ann = "T1\tA 0 4\trash\nT2\tA 0 4\trash\nA1\tNeg T1\n"
    ann += "N1\tReference T1 U:1\trash\nN2\tReference T2 U:2\trash\n"
    doc = brat(tmp_path, "rash", ann)
    lines = written(tmp_path, replace(doc, spans=doc.spans[1:]))
    assert lines == ["T2\tA 0 4\trash", "N2\tReference T2 U:2\trash", ""]


def test_a_concept_that_goes_is_told(tmp_path, capsys):
    ann = "T1\tA 0 4\trash\nN1\tReference T1 U:1\trash\n#1\tAnnotatorNotes N1\tchecked\n"
    doc = brat(tmp_path, "rash", ann)
    assert written(tmp_path, replace(doc, spans=[Span(0, 4, "A", 0.8)])) == ["T1\tA 0 4\trash", ""]
    told = capsys.readouterr().out
    assert "concepts that mentions no longer have 1" in told and "# lines left out" in told


def test_a_note_of_an_annotator_is_no_concept(tmp_path):
    ann = "T1\tA 0 4\trash\n#1\tAnnotatorNotes T1\tconcept: unsure, ask\tx\n"
    doc = brat(tmp_path, "rash", ann)
    assert doc.spans[0].concept == "" and written(tmp_path, doc) == ann.split("\n")


@pytest.mark.parametrize("option", [{"concept_source": "ME SH"}, {"concept_source": "ME:SH"}])
def test_a_wrong_concept_source(tmp_path, option):
    with pytest.raises(ValueError, match="holds a blank or a colon"):
        write_brat([], tmp_path, **option)


@pytest.mark.parametrize("counting", ["bytes", "characters, foo", "UTF-8 bytes, x", 5])
def test_an_unknown_counting(tmp_path, counting):
    with pytest.raises(ValueError, match="is unknown; use one of characters"):
        written(tmp_path, Document("a", "rash", [Span(0, 4, "A")]), counting=counting)


@pytest.mark.parametrize(
    "line", ["1\tO\t4\t{}\tD\tC", "1\tx0\t4\t{}\tD\tC", "1\tT1\t0\t4\t{}\tD\tC"]
)
def test_a_broken_offset_is_no_relation(tmp_path, line):
    (tmp_path / "p").write_text(f"1|t|{SECRET}\n{line.format(SECRET)}\n")
    assert "p, line 2: neither a mention" in refused(read_pubtator, tmp_path / "p")
    (tmp_path / "p").write_text("1|t|x\n1\tAssociation\tD1\t18227\tNovel\n1\tCID\tD1\tD2\n")
    assert len(read_pubtator(tmp_path / "p")[0].meta["pubtator"]["relations"]) == 2


@pytest.mark.parametrize(
    "text",
    [
        "a\t0\t1\tO\nb\t2\t3\tO\n\nc\t4\t6\tO\n",  # one slip
        "chest\t10\t14\tO\npain\t16\t19\tO\n",  # the last character
        "chest\t10\t5\tO\npain\t16\t4\tO\n",  # the length
    ],
)
def test_columns_that_are_no_offsets_are_told(tmp_path, capsys, text):
    assert read_conll(conll(tmp_path, text))
    assert "they are not used as offsets" in capsys.readouterr().out
    read_conll(conll(tmp_path, "chest\tNN\t10\tO\n"))
    assert capsys.readouterr().out == ""


def test_one_value_in_the_first_column(tmp_path):
    path = conll(tmp_path, "7b\tchest\tB-P\n7b\tpain\tI-P\n7b\tnow\tO\n")
    assert "the first column holds one value alone" in refused(read_conll, path)
    assert read_conll(path, word_column=1)[0].spans == (Span(0, 10, "P"),)


@pytest.mark.parametrize("tag", ["b:annotation", "Annotation"])
def test_other_elements_of_bioc(tmp_path, capsys, tag):
    path = bioc(tmp_path, "<text>No aspirin given</text>")
    xml = path.read_text().replace("<annotation", f"<{tag}").replace("</annotation", f"</{tag}")
    path.write_text(xml.replace("<collection>", '<collection xmlns="c" xmlns:b="d">'))
    doc = read_bioc(path)[0]
    told = capsys.readouterr().out
    if tag == "Annotation":
        assert "elements that BioC does not have, left out 1" in told and not doc.spans
    else:
        assert doc.spans == (Span(3, 10, "Drug"),) and told == ""


# Datasets, and single rows


def test_rows_of_a_dataset(capsys):
    from datasets import Dataset

    good = {"id": "a", "text": TEXT, "spans": [DRUG]}
    both = good | {"tokens": ["x"], "ner_tags": ["O"]}
    with pytest.raises(ValueError, match="the dataset has spans and"):
        from_datasets(Dataset.from_list([both]))
    rejected = [good | {"answer": "accept"}, good | {"id": "b", "answer": "REJECT"}]
    assert [doc.id for doc in from_datasets(Dataset.from_list(rejected))] == ["a"]
    assert "since their answer is reject 1" in capsys.readouterr().out
    words = {"tokens": ["Rash", "now"], "ner_tags": ["B-X", "O"], "patient": 7}
    assert from_datasets(Dataset.from_list([words]))[0].meta["patient"] == 7
    with pytest.raises(ValueError, match="row 0 .*holds no list of tags"):
        from_datasets(Dataset.from_list([{"tokens": ["Rash"], "ner_tags": None}]))
    with pytest.raises(ValueError, match="row 0"):
        from_datasets(Dataset.from_list([good | {"meta": "{"}]))
    assert from_datasets(Dataset.from_list([good | {"meta": {"ward": 3}}]))[0].meta == {"ward": 3}


def test_a_single_row(capsys):
    row = {"id": "a", "text": EMOJI, "spans": [{"start": 3, "end": 10, "label": "X"}]}
    row["spans"][0] |= {"text": "aspirin", "negated": True}
    assert dict_to_document(row).spans == (Span(2, 9, "X"),)
    told = capsys.readouterr().out
    assert "UTF-16 units (converted) 1" in told and "'negated' of spans, left out 1" in told
    with pytest.raises(ValueError, match="the row was rejected"):
        dict_to_document(row | {"answer": "reject"})


def test_stated_words_of_fragments(tmp_path):
    span = {"start": 4, "end": 15, "label": "X", "fragments": [[4, 8], [12, 15]], "text": "Rash yy"}
    row = {"id": "a", "text": "é x Rash of yyy", "spans": [span | {"text": "Rash yyy"}]}
    for words in ("Rash yyy", "Rash of yyy"):
        row["spans"] = [span | {"text": words}]
        assert read_jsonl(jsonl(tmp_path, row))[0].spans[0].fragments == ((4, 8), (12, 15))
    row["spans"] = [span | {"start": 5, "fragments": [[5, 8], [12, 15]], "text": "Rash yyy"}]
    assert "its text is not" in refused(read_jsonl, jsonl(tmp_path, row))


@pytest.mark.parametrize("place", [(0.0, 3), (False, True), ("0", "3"), (0, 3.5), (None, 3)])
def test_offsets_are_whole_numbers(place):
    with pytest.raises(ValueError, match="must be of the type int"):
        Document("d", "chest", [Span(*place, "X")])


def test_a_bioc_document_without_words_counts_as_the_others(tmp_path, capsys):
    words = (
        "<passage><offset>0</offset><text>éé gout</text>"
        '<annotation id="1"><infon key="type">X</infon><location offset="5" length="4"/>'
        "<text>gout</text></annotation></passage>"
    )
    none = "<passage><offset>0</offset><text>éé</text></passage>"
    none += "<passage><offset>5</offset><text>gout</text></passage>"
    passages = "".join(f"<document><id>1</id>{more}</document>" for more in (words, none))
    path = tmp_path / "a.xml"
    path.write_text(f"<collection><source/><date/><key/>{passages}</collection>")
    assert [doc.text for doc in read_bioc(path)] == ["éé gout", "éé\ngout"]
    assert "count UTF-8 bytes (converted) 2" in capsys.readouterr().out
