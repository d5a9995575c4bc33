"""Readers and writers of annotated text: round trips of random documents, and bad input."""

import gzip
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest
from brat_rules import as_brat_holds
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clinical_ner.core import Document, Span, read_jsonl, relabel, span_text, write_jsonl
from clinical_ner.formats import (
    from_datasets,
    iter_pubtator,
    read_bioc,
    read_brat,
    read_conll,
    read_medmentions_csv,
    read_pubtator,
    to_datasets,
    write_bioc,
    write_brat,
    write_conll,
    write_medmentions_csv,
    write_pubtator,
)
from clinical_ner.tags import doc_words, fit_spans

SECRET = "Zyxomab"  # stands for the words of a note: no error may hold it
quick = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
CHARACTERS = "ab7,|'\"[é \t\n\r\x85\u2009\u200b\u2028\ufeff"


# Random documents


@st.composite
def documents(draw, characters=CHARACTERS, fragments=True) -> Document:
    text = draw(st.text(st.sampled_from(characters), max_size=40))
    spans = []
    for _ in range(draw(st.integers(0, 4)) if text else 0):
        size = draw(st.sampled_from([2, 2, 4])) if fragments else 2
        points = draw(
            st.lists(st.integers(0, len(text)), min_size=size, max_size=size, unique=True).map(
                sorted
            )
            if len(text) >= size
            else st.just([0, len(text)])
        )
        parts = tuple(zip(points[::2], points[1::2]))
        spans.append(
            Span(
                points[0],
                points[-1],
                draw(st.sampled_from(["Drug", "ADE", "T116,T123"])),
                fragments=parts if len(parts) > 1 else (),
                concept=draw(st.sampled_from(["", "C1", "UMLS:C2"])),
            )
        )
    return Document("d1", text, spans)


def with_concepts(spans) -> list:
    return sorted((span, span.concept) for span in spans)


@given(doc=documents())
@quick
def test_brat_round_trip(tmp_path, doc):
    write_brat([doc], tmp_path)
    again, held = read_brat(tmp_path)[0], as_brat_holds(doc)
    assert (again.text, again.spans) == (held.text, held.spans)
    assert [s.concept for s in again.spans] == [s.concept for s in held.spans]


@given(doc=documents(), data=st.data())
@quick
def test_brat_edited(tmp_path, doc, data):
    """After any change of spans, the file says what the document says."""
    write_brat([doc], tmp_path)
    with open(tmp_path / "d1.ann", "a", newline="") as file:  # so that lines are kept
        file.write("#99\tAnnotatorNotes T1\tnote\n" if doc.spans else "")
    read = read_brat(tmp_path)[0]
    kept = [span for span in read.spans if data.draw(st.booleans())]
    changed = [
        replace(span, label=data.draw(st.sampled_from([span.label, "X"]))) for span in kept
    ] + [replace(span, concept=data.draw(st.sampled_from(["", "C9"]))) for span in kept[:1]]
    write_brat([replace(read, spans=changed)], tmp_path)
    assert with_concepts(read_brat(tmp_path)[0].spans) == with_concepts(changed)


@given(doc=documents(fragments=False))
@quick
def test_pubtator_round_trip(tmp_path, doc):
    write_pubtator([doc], tmp_path / "d.txt")
    again = read_pubtator(tmp_path / "d.txt")[0]
    title, line_feed, abstract = doc.text.partition("\n")
    blank = str.maketrans("\n\r", "  ")
    assert again.text == title.translate(blank) + line_feed + abstract.translate(blank)
    assert (again.id, again.spans) == (doc.id, doc.spans)
    assert [s.concept for s in again.spans] == [s.concept for s in doc.spans]


@given(doc=documents())
@quick
def test_conll_with_offsets_keeps_places(tmp_path, doc):
    spans, _ = fit_spans(doc)
    write_conll([doc], tmp_path / "d.conll", offsets=True)
    again = read_conll(tmp_path / "d.conll")[0]
    assert again.spans == tuple(spans)
    if doc_words(doc):
        assert doc_words(again) == doc_words(doc)
        assert [again.text[a:b] for a, b in doc_words(again)] == [
            doc.text[a:b] for a, b in doc_words(doc)
        ]


WORDS = st.text(st.sampled_from("ab7,'\"[]\\é\u200b-"), min_size=1, max_size=4)


@st.composite
def tagged_sentences(draw) -> list[list[tuple[str, str]]]:
    """Words with valid IOB2 tags."""
    sentences = []
    for _ in range(draw(st.integers(1, 4))):
        previous, sentence = "O", []
        for word in draw(st.lists(WORDS, min_size=1, max_size=6)):
            tags = ["O", "B-A", "B-B-1"] + ([] if previous == "O" else [f"I-{previous[2:]}"])
            previous = draw(st.sampled_from(tags))
            sentence.append((word, previous))
        sentences.append(sentence)
    return sentences


@given(
    sentences=tagged_sentences(),
    mark=st.sampled_from(["", "-DOCSTART- (n(1))\n\n", "-DOCSTART- -X- O O\n\n"]),
    sep=st.sampled_from(["\t", " "]),
    columns=st.sampled_from([[], ["NN"], ["NN", "-X-", "1"]]),
)
@quick
def test_conll_bytes_come_back(tmp_path, sentences, mark, sep, columns):
    rows = [[sep.join([word, *columns, tag]) for word, tag in sentence] for sentence in sentences]
    text = mark + "".join("\n".join(lines) + "\n\n" for lines in rows)
    (tmp_path / "a.conll").write_bytes(text.encode())
    docs = read_conll(tmp_path / "a.conll", word_column=0)
    write_conll(docs, tmp_path / "b.conll", sep=sep)
    assert (tmp_path / "b.conll").read_bytes() == text.encode()
    for scheme in ("IOB1", "IOBES", "BILOU"):
        write_conll(docs, tmp_path / "c.conll", sep=sep, scheme=scheme)
        again = read_conll(tmp_path / "c.conll", scheme=scheme, word_column=0)
        assert [(d.text, d.spans) for d in again] == [(d.text, d.spans) for d in docs]
        assert not any("invalid_tags" in doc.meta.get("conll", {}) for doc in again)


@given(sentences=tagged_sentences())
@quick
def test_csv_round_trip(tmp_path, sentences):
    text = "".join("\n".join(f"{w}\t{t}" for w, t in lines) + "\n\n" for lines in sentences)
    (tmp_path / "a.conll").write_bytes(("-DOCSTART-\n\n" + text).encode())
    docs = read_conll(tmp_path / "a.conll", word_column=0)
    write_medmentions_csv(docs, tmp_path / "a.csv")
    again = read_medmentions_csv(tmp_path / "a.csv")
    assert [(d.text, d.spans, d.meta["sentences"]) for d in again] == [
        (d.text, d.spans, d.meta["sentences"]) for d in docs
    ]
    write_medmentions_csv(again, tmp_path / "b.csv")
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


@given(doc=documents(characters="ab<&> \t\n\ré\ufeff\u2028"))
@quick
def test_bioc_round_trip(tmp_path, doc):
    write_bioc([doc], tmp_path / "d.xml")
    assert read_bioc(tmp_path / "d.xml") == [doc]


def test_datasets_round_trip():
    docs = [
        Document("d1", "left and right arm", [Span(0, 18, "S", 0.5, ((0, 4), (15, 18)), "C1")]),
        Document("d2", "", meta={"words": [], "patient": 7}),
    ]
    back = from_datasets(to_datasets({"train": docs, "test": []}))
    assert back == {"train": docs, "test": []}
    assert (back["train"][0].spans[0].score, back["train"][0].spans[0].concept) == (0.5, "C1")
    assert from_datasets(to_datasets(docs)) == docs


# brat


def brat_folder(folder: Path, ann: str | bytes, text: str | bytes = "Rash on left arm.") -> Path:
    folder.mkdir(exist_ok=True)
    for name, content in (("b.ann", ann), ("b.txt", text)):
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def copy_of(folder: Path) -> bytes:
    write_brat(read_brat(folder), folder / "copy")
    return (folder / "copy" / "b.ann").read_bytes()


@pytest.mark.parametrize(
    "ann",
    [
        "",
        "T1\tADE 0 4\tRash",  # no line end
        "T1\tADE 0 4\tRash\t\u2005\n",  # a fourth column
        "T1\tADE 0 4\tRash \t\n\n",  # blanks, a blank line
        "T7\tADE 0 4\tRash\nT3\tSite 8 16\tleft arm\n",  # numbers out of order
        "T1\tADE 0 4\tRash\r\nR1\tx Arg1:T1 Arg2:T1\t\r\n",  # Windows line ends
        "T1\tADE 0 4\tRash\nE1\tADE:T1 \nA1\tNegated E1\nM1\tx T1 y\n#1\tAnnotatorNotes E1\ta\tb\n",
        "T1\tADE 0 4\tRash\nT2\tADE 0 4\tRash\n*\tEquiv T1 T2\n",
        "T1\tADE 0 4\tRash\nN1\tReference T1 A:1\tx\nN2\tReference T1 B:2\tx\n",  # two concepts
        "T1\tSite 8 12;13 16\tleft arm\n",
    ],
)
def test_brat_bytes_come_back(tmp_path, ann):
    assert copy_of(brat_folder(tmp_path / "a", ann)) == ann.encode()


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("a\r\nGout.", 3),  # two characters
        ("a\r\nGout.", 2),  # counted as one
        ("\ufeffGout.", 1),
        ("\ufeffGout.", 0),  # the mark not counted
        ("\ufeffa\r\nGout.", 4),
        ("\ufeffa\r\nGout.", 2),  # neither counted
    ],
)
def test_brat_ways_of_counting(tmp_path, capsys, text, start):
    ann = f"T1\tADE {start} {start + 4}\tGout\n"
    folder = brat_folder(tmp_path / "a", ann, text)
    doc = read_brat(folder)[0]
    converted = text[start : start + 4] != "Gout"
    assert doc.text == text and span_text(doc, doc.spans[0]) == "Gout"
    assert ("converted" in capsys.readouterr().out) == converted
    assert copy_of(folder) == ann.encode()
    end = len(text) - 1
    added = replace(doc, spans=[*doc.spans, Span(end, end + 1, "Dot")])
    write_brat([added], tmp_path / "b")
    start += text.startswith("\ufeff") and start in (0, 2)  # now counted as brat does
    lines = (tmp_path / "b" / "b.ann").read_text().splitlines()
    assert lines[0] == f"T1\tADE {start} {start + 4}\tGout"
    assert lines[1] == f"T2\tDot {start + 4} {start + 5}\t."
    assert read_brat(tmp_path / "b")[0].spans == added.spans


def test_brat_edits_what_depends_on_a_span(tmp_path, capsys):
    folder = brat_folder(
        tmp_path / "a",
        "T1\tADE 0 4\tRash\nT2\tSite 8 16\tleft arm\nT3\tSite 13 16\tarm\n"
        "E1\tADE:T1 Place:T2\nE2\tSite:T3\nR1\tr Arg1:E1 Arg2:T3\t\nA1\tNegated R1\n"
        "*\tOVERLAP T1 T2 T3\nN4\tReference T1 UMLS:C1\trash\n",
    )
    doc = read_brat(folder)[0]
    spans = [replace(doc.spans[0], label="X", concept="UMLS:C2"), doc.spans[2]]
    write_brat([replace(doc, spans=spans)], tmp_path / "b")
    assert (tmp_path / "b" / "b.ann").read_text() == (
        "T1\tX 0 4\tRash\nT3\tSite 13 16\tarm\nE2\tSite:T3\n*\tOVERLAP T1 T3\n"
        "N5\tReference T1 UMLS:C2\tRash\n"
    )
    told = capsys.readouterr().out
    assert "E lines left out with the spans they refer to 1" in told
    assert "R lines left out" in told and "A lines left out" in told and "T lines" not in told
    write_brat(relabel([doc], {"ADE": "X"}), tmp_path / "c")
    relabelled = (tmp_path / "c" / "b.ann").read_text()
    assert relabelled == (folder / "b.ann").read_text().replace("ADE", "X")


def test_changed_text_leaves_no_old_words(tmp_path):
    folder = brat_folder(tmp_path / "a", "T4\tName 0 4\tRash\r\nT5\tSite 8 12\tleft\r\n")
    docs = [replace(doc, text=doc.text.replace("Rash", "XXXX")) for doc in read_brat(folder)]
    write_brat(docs, tmp_path / "b")
    expected = "T4\tName 0 4\tXXXX\r\nT5\tSite 8 12\tleft\r\n"
    assert (tmp_path / "b" / "b.ann").read_bytes() == expected.encode()
    (tmp_path / "a.xml").write_text(BIOC)
    docs = [
        replace(doc, text=doc.text.replace("Rash", "XXXX")) for doc in read_bioc(tmp_path / "a.xml")
    ]
    write_bioc(docs, tmp_path / "b.xml")
    assert "Rash" not in (tmp_path / "b.xml").read_text()
    assert read_bioc(tmp_path / "b.xml")[0].spans == docs[0].spans
    (tmp_path / "a.txt").write_text("1|t|Rash\n1\t0\t4\tRash\tX\tC1\tseventh\n")
    docs = [replace(doc, text="XXXX") for doc in read_pubtator(tmp_path / "a.txt")]
    write_pubtator(docs, tmp_path / "b.txt")
    assert (tmp_path / "b.txt").read_text() == "1|t|XXXX\n1\t0\t4\tXXXX\tX\tC1\n\n"


def test_brat_annotations_with_a_byte_order_mark(tmp_path):
    ann = "\ufeffT1\tADE 0 4\tRash\nT2\tSite 8 12\tleft\n"
    folder = brat_folder(tmp_path / "a", ann)
    assert copy_of(folder) == ann.encode()
    doc = read_brat(folder)[0]
    for spans in ([replace(doc.spans[0], label="X"), doc.spans[1]], doc.spans[1:]):
        write_brat([replace(doc, spans=spans)], tmp_path / "b")
        assert read_brat(tmp_path / "b")[0].spans == tuple(spans)
        assert (tmp_path / "b" / "b.ann").read_text().startswith("T")  # brat could not read it


def test_brat_lines_survive_json(tmp_path):
    folder = brat_folder(tmp_path / "a", "T4\tADE 0 4\tRash\r\n#1\tAnnotatorNotes T4\tx\r\n")
    write_jsonl(read_brat(folder), tmp_path / "a.jsonl")
    write_brat(read_jsonl(tmp_path / "a.jsonl"), tmp_path / "b")
    assert (tmp_path / "b" / "b.ann").read_bytes() == (folder / "b.ann").read_bytes()


def test_brat_folders_below_and_hidden_copies(tmp_path):
    doc = Document("ward 3/b.1", "Rash", [Span(0, 4, "ADE")])
    write_brat([doc, Document("a", "")], tmp_path)
    brat_folder(tmp_path / ".ipynb_checkpoints", "T1\tADE 0 4\tRash")
    assert read_brat(tmp_path) == [Document("a", ""), doc]


def test_brat_texts_elsewhere_and_missing_annotations(tmp_path):
    gold = brat_folder(tmp_path / "gold", "T1\tADE 0 4\tRash")
    (gold / "c.txt").write_text("Nothing.")
    system = tmp_path / "system"
    write_brat([Document("b", "Rash on left arm.", [Span(5, 7, "X")])], system, texts=False)
    assert not (system / "b.txt").exists()
    with pytest.raises(FileNotFoundError, match=r"b\.ann: there is no b\.txt.*texts="):
        read_brat(system)
    with pytest.raises(FileNotFoundError, match=r'c\.txt: there is no c\.ann.*missing="empty"'):
        read_brat(system, texts=gold)
    assert [doc.id for doc in read_brat(system, texts=gold, missing="skip")] == ["b"]
    empty = read_brat(system, texts=gold, missing="empty")
    assert [(doc.id, len(doc.spans)) for doc in empty] == [("b", 1), ("c", 0)]


# Bad input: the error names file and line, and holds nothing of the note


def message(read, path, **options) -> str:
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        read(path, **options)
    told = str(caught.value).replace(f"{Path(path).parent}/", "")  # a test's folder has its name
    assert SECRET not in told
    return told


READERS = [read_brat, read_pubtator, read_conll, read_medmentions_csv, read_bioc]


@pytest.mark.parametrize("read", READERS)
def test_missing_path(tmp_path, read):
    assert "nowhere: there is no such" in message(read, tmp_path / "nowhere")


@pytest.mark.parametrize("read", READERS[1:])
def test_empty_file(tmp_path, read):
    (tmp_path / "empty.x").write_bytes(b"")
    assert "empty.x, line 1: " in message(read, tmp_path / "empty.x")


def test_empty_folder(tmp_path):
    assert "no .ann files" in message(read_brat, tmp_path)
    assert "no .ann files" in message(read_brat, tmp_path, missing="empty")


@pytest.mark.parametrize(
    ("read", "first"),
    [
        (read_pubtator, "7|t|x"),
        (read_conll, "x O"),
        (read_medmentions_csv, "Full Text,UMLS Code,Entity Codes"),
        (read_bioc, "<collection>"),
    ],
)
def test_bytes_that_are_not_utf8(tmp_path, read, first):
    (tmp_path / "latin.x").write_bytes(f"{first}\n{SECRET}\xb0".encode("latin1"))
    assert "latin.x, line 2: " in message(read, tmp_path / "latin.x")


@pytest.mark.parametrize(
    ("ann", "text", "told"),
    [
        ("T1\tADE 0 99\tx", SECRET, "b.ann, line 1, offsets 0-99: not inside the text of 7"),
        ("\nT1\tADE 0 4\tRash", SECRET, "b.ann, line 2, offsets 0-4: the text there"),
        (f"T1\tADE 4 4\t{SECRET}", SECRET, "b.ann, line 1, offsets 4-4: "),
        ("T1\tADE 4 7;0 5\tmab Zyxom", SECRET, "fragments that overlap"),
        (f"T1 ADE 0 7\t{SECRET}", SECRET, "b.ann, line 1: no mention of the form"),
        (f"T1\tADE 0 7 {SECRET}", SECRET, "b.ann, line 1: no mention of the form"),
        (f"T1\tADE -1 7\t{SECRET}", SECRET, "b.ann, line 1: no mention of the form"),
        (f"T1\tA 0 7\t{SECRET}\nT1\tB 0 7\t{SECRET}", SECRET, "line 2: T1 was used before"),
        (f"T1\tA 0 7\t{SECRET}\n{SECRET}", SECRET, "line 2: no brat annotation"),
        (f"T1\tA 0 7\t{SECRET}\n", f"\n\n{SECRET}\xb0".encode("latin1"), "b.txt, line 3: byte"),
        (f"#1\tx y\tz\n{SECRET}\xb0".encode("latin1"), SECRET, "b.ann, line 2: byte"),
    ],
)
def test_bad_brat(tmp_path, ann, text, told):
    assert told in message(read_brat, brat_folder(tmp_path / "a", ann, text))


def test_mismatch_can_be_counted(tmp_path, capsys):
    folder = brat_folder(tmp_path / "a", "T1\tADE 0 4\tGout\nT2\tS 8 12\tleft\n")
    assert read_brat(folder, mismatch="warn")[0].spans == (Span(0, 4, "ADE"), Span(8, 12, "S"))
    told = capsys.readouterr().out
    assert "offsets, which were kept: 1 (first: " in told and "line 1" in told
    assert "Gout" not in told and "Rash" not in told
    assert "mismatch='maybe' is unknown" in message(read_brat, folder, mismatch="maybe")
    assert "missing='no' is unknown" in message(read_brat, folder, missing="no")
    doc = read_brat(folder, mismatch="warn")[0]
    write_brat([doc], tmp_path / "b")  # with the words of the annotator
    assert (tmp_path / "b" / "b.ann").read_bytes() == (folder / "b.ann").read_bytes()
    write_brat([replace(doc, text=doc.text.replace("Rash", "XXXX"))], tmp_path / "c")
    assert (tmp_path / "c" / "b.ann").read_text() == "T1\tADE 0 4\tXXXX\nT2\tS 8 12\tleft\n"


@pytest.mark.parametrize("doc_id", ["../out", "/abs", "", "a//b", "a\0", ".hidden", "a/.b"])
def test_brat_ids_stay_in_the_folder(tmp_path, doc_id):
    with pytest.raises(ValueError, match="no file name"):
        write_brat([Document(doc_id, "")], tmp_path)


def test_what_brat_cannot_write(tmp_path):
    with pytest.raises(ValueError, match="'a': the id is there twice"):
        write_brat([Document("a", ""), Document("a", "")], tmp_path)
    with pytest.raises(ValueError, match="'a': the label of span 0-1 holds a blank"):
        write_brat([Document("a", "x", [Span(0, 1, "Adverse event")])], tmp_path)
    with pytest.raises(ValueError, match="'a': the concept of span 0-1 holds a tab or a line"):
        write_brat([Document("a", "x", [Span(0, 1, "X", concept="C1\nT9\tX 0 1\tx")])], tmp_path)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([f"7|t|{SECRET}", f"7\t0\t99\t{SECRET}\tA\t"], "line 2, offsets 0-99: not inside"),
        ([f"7|t|{SECRET}", "7\t0\t4\tGout\tA\t"], "line 2, offsets 0-4: the text there"),
        ([f"7|t|{SECRET}", f"7\t3\t3\t{SECRET}\tA\t"], "line 2, offsets 3-3: "),
        ([f"7|t|{SECRET}", f"7\t0\t7\t{SECRET}"], "line 2: neither a mention"),
        ([f"7|t|{SECRET}", f"7\t0\t7\t{SECRET}\t\tC1"], "line 2: neither a mention"),
        ([f"7|t|{SECRET}", f"8|a|{SECRET}"], "line 2: the line does not belong"),
        ([f"7|t|{SECRET}", "7|a|a", "7|a|a"], "line 3: a second abstract"),
        ([f"7\t0\t7\t{SECRET}\tA\tC1"], "line 1: the line does not belong"),
        ([SECRET], "line 1: the line does not belong"),
    ],
)
def test_bad_pubtator(tmp_path, lines, told):
    (tmp_path / "p.txt").write_text("\n".join(lines))
    assert f"p.txt, {told}" in message(read_pubtator, tmp_path / "p.txt")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"{SECRET}\tO\n{SECRET}\n", "line 2: 1 columns where 2"),
        (f"{SECRET}\n", "line 1: 1 columns where 2"),
        (f"{SECRET} O\n{SECRET} x O\n", "line 2: 3 columns where 2"),
        (f"O\t{SECRET}\n", "line 1: column -1 of 2 is no tag"),
        (f"a\tB-\n{SECRET}\tO\n", "line 1: column -1 of 2 is no tag"),
        ("\tO\n", "line 1: an empty word"),
    ],
)
def test_bad_conll(tmp_path, text, told):
    (tmp_path / "p.conll").write_text(text)
    assert f"p.conll, {told}" in message(read_conll, tmp_path / "p.conll")


HEADER = "Full Text,UMLS Code,Entity Codes\r\n"


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([f'"[\'<START>\', \'{SECRET}\'","[]","[]"'], "line 2 (row 1): the cells are not three"),
        ([f"{SECRET}(),[],[]"], "line 2 (row 1): the cells are not three"),
        (["[],[]"], "line 2 (row 1): the cells are not three"),
        (["[],[],[]", f"\"['{SECRET}']\",[],[]"], "line 3 (row 2): the lists have 1, 0, 0 items"),
        ([f"['{SECRET}'],['O'],['O']"], "line 2 (row 1): item 0"),
        (["['<START>'],['<START>'],['<START>']"], "line 2 (row 1): the last sentence has no <END>"),
        ([], "line 2: no row after the header"),
    ],
)
def test_bad_csv(tmp_path, rows, told):
    (tmp_path / "p.csv").write_text(HEADER + "".join(row + "\r\n" for row in rows))
    assert f"p.csv, {told}" in message(read_medmentions_csv, tmp_path / "p.csv")


def test_csv_codes_without_a_type_are_counted(tmp_path, capsys):
    cells = [["<START>", "a", "b", "<END>"], ["U-C1", "U-C2"], ["O", "U-T1"]]
    cells[1:] = [["<START>", *tags, "<END>"] for tags in cells[1:]]
    (tmp_path / "p.csv").write_text(HEADER + ",".join(f'"{cell}"' for cell in cells))
    assert len(read_medmentions_csv(tmp_path / "p.csv")[0].spans) == 1
    assert "words with a code but no type, whose code is left out 1" in capsys.readouterr().out


# PubTator


def test_pubtator_streams_gzip_in_little_memory(tmp_path):
    title, abstract = "A title " * 9, "An abstract about nothing in particular. " * 30
    with gzip.open(tmp_path / "big.txt.gz", "wt", compresslevel=1) as file:
        for pmid in range(3000):
            file.write(f"{pmid}|t|{title}\n{pmid}|a|{abstract}\n{pmid}\t0\t1\tA\tT1\tC1\n\n")
    tracemalloc.start()
    count = sum(len(doc.spans) for doc in iter_pubtator(tmp_path / "big.txt.gz"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 3000
    assert peak < 1_500_000  # of 4.1 MB


def test_pubtator_unusual_lines(tmp_path, capsys):
    text = (
        "1|t|Gout | rash\n1|a|Gout. \n"
        "1\t0\t4\tGout\tT047,T184\tC1\n1\t0\t4\tGout\tT047,T184\tC1\tseventh\n"
        "1\t7\t11\trash  \tUnknownType\t-1\n1\t12\t17\tGout.\tX\tD1|D2\n1\tCID\tD1\tD2\n\n"
        "1|t|Gout | rash\n\n"
        "2|t|\n2|a|Rash\n2\t1\t5\tRash\tX\t D1+D2\n\n"
    )
    (tmp_path / "a.txt").write_text(text)
    docs = read_pubtator(tmp_path / "a.txt")
    assert "got a number at its end: 1 (first: '1-2')" in capsys.readouterr().out
    assert [doc.id for doc in docs] == ["1", "1-2", "2"]
    assert [span.concept for span in docs[0].spans] == ["C1", "C1", "-1", "D1|D2"]
    assert docs[0].spans[0].label == "T047,T184"
    assert docs[2].text == "\nRash" and docs[2].spans[0].concept == "D1+D2"
    write_pubtator(docs, tmp_path / "b.txt")
    assert (tmp_path / "b.txt").read_text() == text
    write_jsonl(docs, tmp_path / "a.jsonl")
    write_pubtator(read_jsonl(tmp_path / "a.jsonl"), tmp_path / "b.txt")
    assert (tmp_path / "b.txt").read_text() == text


def test_what_pubtator_cannot_write_is_told(tmp_path, capsys):
    doc = Document("1", "a\nb\nc d\r\n", [Span(0, 5, "X", fragments=((0, 1), (4, 5)))])
    write_pubtator([doc], tmp_path / "a.txt")
    told = capsys.readouterr().out
    assert "line breaks written as spaces 3" in told and "outer hull 1" in told
    with pytest.raises(ValueError, match="'a\\|b': its id, a label or a concept"):
        write_pubtator([Document("a|b", "x")], tmp_path / "b.txt")
    with pytest.raises(ValueError, match="the id or a label is empty"):
        write_pubtator([Document("", "x")], tmp_path / "b.txt")
    assert not (tmp_path / "b.txt").exists()


# CoNLL


def conll(tmp_path, text: str, **options) -> list[Document]:
    (tmp_path / "x.conll").write_bytes(text.encode())
    return read_conll(tmp_path / "x.conll", **options)


@pytest.mark.parametrize(
    ("mark", "doc_id"),
    [
        ("-DOCSTART- -X- O O", "x-1"),
        ("-DOCSTART- O", "x-1"),
        ("-DOCSTART-\tO", "x-1"),
        ("-DOCSTART- (26797704)", "26797704"),
        ("-DOCSTART-", "x-1"),
        ("-DOCSTART-\t-X-\t(a b)\tO", "a b"),
    ],
)
def test_document_marks(tmp_path, mark, doc_id):
    text = f"{mark}\n\na\tO\n\nb\tB-X\n\n{mark.replace('26797704', '7')}\n\nc\tO\n\n"
    docs = conll(tmp_path, text)
    assert docs[0].id == doc_id and [doc.text for doc in docs] == ["a\nb", "c"]
    write_conll(docs[:1], tmp_path / "y.conll")
    assert (tmp_path / "y.conll").read_text() == f"{mark}\n\na\tO\n\nb\tB-X\n\n"
    assert conll(tmp_path, text.replace("\n", "\r\n"))[0].text == "a\nb"


def test_words_that_look_missing(tmp_path):
    words = ["NA", "null", "None", "nan", "\u200b", '"', "#", "<NA>"]
    doc = conll(tmp_path, "\n".join(f"{word}\tO" for word in words))[0]
    assert [doc.text[a:b] for a, b in doc_words(doc)] == words


@pytest.mark.parametrize(
    ("tags", "scheme", "invalid"),
    [
        ("I-A I-A O I-B", "IOB1", 0),
        ("I-A B-A O I-B", "IOB1", 0),
        ("B-A I-A B-B I-A", "IOB2", 1),
        ("B-A E-A S-B O", "IOBES", 0),
        ("B-A I-A S-B O", "IOBES", 1),
        ("B-A L-A U-B O", "BILOU", 0),
    ],
)
def test_schemes_and_invalid_tags(tmp_path, capsys, tags, scheme, invalid):
    text = "".join(f"w{i} {tag}\n" for i, tag in enumerate(tags.split())) + "\n"
    docs = conll(tmp_path, text)
    assert docs[0].meta.get("conll", {}).get("invalid_tags", 0) == invalid
    told = capsys.readouterr().out
    assert (f"not valid {scheme}" in told and told.endswith(f": {invalid}\n")) == bool(invalid)
    write_conll(docs, tmp_path / "y.conll", scheme=scheme, sep=" ")
    assert ((tmp_path / "y.conll").read_text() == text) == (not invalid)
    assert read_conll(tmp_path / "y.conll", scheme=scheme)[0].spans == docs[0].spans


def test_columns_and_offsets(tmp_path):
    five = "a\t0\t1\tNN\tB-X\nbc\t3\t5\tVB\tO\n\nd\t7\t8\tNN\tO\n\ne\t0\t1\tNN\tO\n\n"
    docs = conll(tmp_path, five)
    assert [doc.text for doc in docs] == ["a  bc\n d", "e"]
    assert docs[0].meta["conll"]["columns"] == [["NN"], ["VB"], ["NN"]]
    write_conll(docs, tmp_path / "y.conll", offsets=True)
    assert (tmp_path / "y.conll").read_text() == five
    write_conll(docs, tmp_path / "y.conll", columns=False)
    assert (tmp_path / "y.conll").read_text().startswith("a\tB-X\nbc\tO\n\nd\tO\n\n-DOCSTART-")
    write_conll(docs[::-1], tmp_path / "y.conll", offsets=True)  # must not run together
    assert [doc.text for doc in read_conll(tmp_path / "y.conll")] == ["e", "a  bc\n d"]
    not_offsets = conll(tmp_path, "abc\t0\t1\tO\n")[0]
    assert not_offsets.meta["conll"]["columns"] == [["0", "1"]] and not_offsets.text == "abc"
    in_sentence = conll(tmp_path, "-DOCSTART- (n)\n\nab\t0\t2\tO\n\nc\t0\t1\tB-X\n")
    assert [(doc.id, doc.text) for doc in in_sentence] == [("n", "ab\nc")]  # marks decide
    assert in_sentence[0].meta["conll"]["columns"] == [["0", "2"], ["0", "1"]]
    tag_first = conll(tmp_path, "O\tB-X\tNN\n", tag_column=1)[0]
    assert tag_first.text == "O" and tag_first.spans == (Span(0, 1, "X"),)


def test_losses_of_tags_are_told(tmp_path, capsys):
    doc = Document(
        "n",
        "lung cancer\nnow",
        [Span(0, 11, "D"), Span(0, 4, "O"), Span(5, 13, "D"), Span(0, 2, "P")],
    )
    write_conll([doc], tmp_path / "y.conll")
    told = capsys.readouterr().out
    assert "y.conll: what tags cannot hold" in told and "nested or overlapping 3" in told
    assert "boundary inside a word 2" in told
    with pytest.raises(ValueError, match="'n': the word at 0-3"):
        write_conll([Document("n", "a b", meta={"words": [[0, 3]]})], tmp_path / "z", sep=" ")
    with pytest.raises(ValueError, match="'n': the word at 0-10 would be read as a document mark"):
        write_conll([Document("n", "-DOCSTART-", meta={"words": [[0, 10]]})], tmp_path / "z")
    empty = Document("s", "", meta={"words": [], "unit": "sentence"})
    write_conll([empty, doc], tmp_path / "y.conll")
    assert "sentences without words 1" in capsys.readouterr().out
    with pytest.raises(ValueError, match="the id has a line break"):
        write_conll([Document("n\n", "a")], tmp_path / "z")


# BioC

BIOC = """<?xml version='1.0' encoding='utf-8' standalone='yes'?>
<collection>
  <source>made up</source>
  <date>today</date>
  <key>none</key>
  <document>
    <id>n1</id>
    <infon key="year">2020</infon>
    <passage>
      <infon key="section">title</infon>
      <offset>0</offset>
      <text>Rash &amp; gout</text>
      <annotation id="A1">
        <infon key="type">ADE</infon>
        <infon key="note">x</infon>
        <location offset="0" length="4"/>
        <text>Rash</text>
      </annotation>
    </passage>
    <passage>
      <offset>14</offset>
      <sentence>
        <offset>14</offset>
        <text>left and right arm</text>
        <annotation id="A2">
          <infon key="type">Site</infon>
          <infon key="identifier">C7</infon>
          <location offset="14" length="4"/>
          <location offset="29" length="3"/>
          <text>left arm</text>
        </annotation>
      </sentence>
    </passage>
    <relation id="R1">
      <infon key="type">at</infon>
      <node refid="A1" role="what"/>
      <node refid="A2" role="where"/>
    </relation>
  </document>
</collection>
"""


def test_bioc_bytes_come_back(tmp_path):
    (tmp_path / "a.xml").write_text(BIOC)
    docs = read_bioc(tmp_path / "a.xml")
    assert docs[0].text == "Rash & gout\n  left and right arm"
    assert [span_text(docs[0], span) for span in docs[0].spans] == ["Rash", "left arm"]
    assert docs[0].spans[1].concept == "C7"
    write_bioc(docs, tmp_path / "b.xml")
    assert (tmp_path / "b.xml").read_text() == BIOC


def test_bioc_edited(tmp_path, capsys):
    (tmp_path / "a.xml").write_text(BIOC)
    doc = read_bioc(tmp_path / "a.xml")[0]
    spans = [replace(doc.spans[1], label="X", concept="C8"), Span(23, 28, "Y", concept="C9")]
    write_bioc([replace(doc, spans=spans)], tmp_path / "b.xml")
    assert "relations left out with the spans they refer to 1" in capsys.readouterr().out
    again = read_bioc(tmp_path / "b.xml")[0]
    assert with_concepts(again.spans) == with_concepts(spans)
    assert '<infon key="note">' not in (tmp_path / "b.xml").read_text()


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('length="4"/>\n        <text>Rash', 'length="99"/>\n<text>Rash', "offsets 0-99 are not"),
        ("<text>Rash</text>", f"<text>{SECRET}</text>", "annotation 'A1': the text there is not"),
        ('key="type">ADE', 'key="kind">ADE', "annotation 'A1': no infon with the key 'type'"),
        ("<offset>14</offset>", "<offset>3</offset>", "offset 3 begins before the end"),
        ('offset="0" length="4"', 'offset="x" length="4"', "XML, but not BioC"),
        ("</passage>", "", "not well-formed XML"),
    ],
)
def test_bad_bioc(tmp_path, old, new, told):
    (tmp_path / "a.xml").write_text(BIOC.replace(old, new))
    got = message(read_bioc, tmp_path / "a.xml")
    assert got.startswith("a.xml") and told in got


@pytest.mark.parametrize("span", [Span(0, 1, "A\x01"), Span(0, 1, "A", concept="\x01")])
def test_bioc_names_the_document_that_xml_cannot_hold(tmp_path, span):
    with pytest.raises(ValueError, match="'n1': its text, its id, a label or a concept"):
        write_bioc([Document("n1", "x", [span])], tmp_path / "a.xml")


def test_bioc_names_the_extra(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "bioc", None)
    monkeypatch.setitem(sys.modules, "bioc.biocxml", None)
    (tmp_path / "a.xml").write_text(BIOC)
    with pytest.raises(ImportError, match=r"pip install 'clinical_ner\[bioc\]'"):
        read_bioc(tmp_path / "a.xml")
