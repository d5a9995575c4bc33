"""Readers and writers on real corpora: published counts, offsets, and files that come back."""

from pathlib import Path

import pytest

from clinical_ner.core import span_text
from clinical_ner.formats import (
    read_bioc,
    read_brat,
    read_conll,
    read_medmentions_csv,
    read_pubtator,
    write_bioc,
    write_brat,
    write_conll,
    write_medmentions_csv,
    write_pubtator,
)
from clinical_ner.tags import doc_words


def count_spans(docs) -> int:
    return sum(len(doc.spans) for doc in docs)


def differing(first: Path, second: Path) -> list[str]:
    """Names of .ann and .txt files of `first` that `second` has otherwise or not at all."""
    names = sorted(path.name for path in first.iterdir() if path.suffix in (".ann", ".txt"))
    return [
        name
        for name in names
        if not (second / name).is_file()
        or (first / name).read_bytes() != (second / name).read_bytes()
    ]


@pytest.mark.parametrize(
    ("name", "documents", "spans", "discontinuous", "byte_order_marks"),
    [
        ("maccrobat2020", 149, 18847, 34, 0),
        ("meddocan_es", 25, 579, 0, 3),
        ("ncbi_disease/standoff_devel", 100, 787, 0, 0),
        ("n2c2_format_derived/gold", 135, 1482, 2, 0),
    ],
)
def test_brat(data_dir, tmp_path, name, documents, spans, discontinuous, byte_order_marks):
    docs = read_brat(data_dir / name)
    assert (len(docs), count_spans(docs)) == (documents, spans)
    assert sum(bool(span.fragments) for doc in docs for span in doc.spans) == discontinuous
    assert sum(doc.text.startswith("\ufeff") for doc in docs) == byte_order_marks
    assert not any("brat_counting" in doc.meta for doc in docs)
    assert write_brat(docs, tmp_path) == documents
    assert differing(data_dir / name, tmp_path) == []


def test_brat_concepts(data_dir):
    docs = read_brat(data_dir / "ncbi_disease/standoff_devel")
    concepts = [span.concept for doc in docs for span in doc.spans]
    assert sum(bool(concept) for concept in concepts) == 767  # the other 20 have several
    assert {concept.partition(":")[0] for concept in concepts} == {"", "MeSH", "OMIM"}


def test_brat_without_texts(data_dir, tmp_path):
    gold, system = data_dir / "n2c2_format_derived/gold", data_dir / "n2c2_format_derived/system"
    with pytest.raises(FileNotFoundError, match="texts="):
        read_brat(system)
    docs = read_brat(system, texts=gold)
    assert (len(docs), count_spans(docs)) == (135, 1712)
    write_brat(docs, tmp_path, texts=False)
    assert differing(system, tmp_path) == []


def same_but_for_blank_lines_around(first: Path, second: Path) -> bool:
    return first.read_bytes().strip(b"\n") == second.read_bytes().strip(b"\n")


@pytest.mark.parametrize(
    ("name", "documents", "spans"),
    [
        ("ncbi_disease/pubtator/NCBItrainset_corpus.txt", 593, 5145),
        ("ncbi_disease/pubtator/NCBIdevelopset_corpus.txt", 100, 787),
        ("medmentions/pubtator/full_1doc_sparknlp_sample.txt", 1, 98),
        ("medmentions/pubtator/st21pv_3docs_scispacy_fixture.txt", 3, 115),
    ],
)
def test_pubtator(data_dir, tmp_path, capsys, name, documents, spans):
    docs = read_pubtator(data_dir / name)
    assert (len(docs), count_spans(docs)) == (documents, spans)
    assert len({doc.id for doc in docs}) == documents
    assert ("'8528200-2'" in capsys.readouterr().out) == (documents == 593)
    write_pubtator(docs, tmp_path / "copy.txt")
    assert same_but_for_blank_lines_around(data_dir / name, tmp_path / "copy.txt")
    assert capsys.readouterr().out == ""  # nothing was lost


def test_pubtator_with_wrong_offsets(data_dir, tmp_path, capsys):
    path = data_dir / "medmentions/pubtator/adversarial_pipe_in_title_pubtator_loader.txt"
    with pytest.raises(ValueError, match="line 6, offsets 83-120") as caught:
        read_pubtator(path)
    assert "seudomonas" not in str(caught.value)
    docs = read_pubtator(path, mismatch="warn")
    assert (len(docs), count_spans(docs)) == (3, 15)
    assert "which were kept: 3 (first: " in capsys.readouterr().out
    assert docs[0].text.partition("\n")[0].count("|") == 2
    write_pubtator(docs, tmp_path / "copy.txt")
    assert same_but_for_blank_lines_around(path, tmp_path / "copy.txt")


@pytest.mark.parametrize(
    ("name", "scheme", "sep", "counts"),  # documents, sentences, words, mentions
    [
        ("conll_formats/anem_4col_offsets_tab.tsv", "IOB2", "\t", (40, 400, 9588, 329)),
        ("conll_formats/jnlpba_docstart_tab_O.tsv", "IOB2", "\t", (52, 448, 11847, 951)),
        (
            "conll_formats/secfilings_iob1_4col_space_docstart.txt",
            "IOB1",
            " ",
            (3, 303, 13246, 318),
        ),
        ("conll_formats/wikigold_iob1_2col_space_docstart.txt", "IOB1", " ", (23, 378, 9019, 821)),
        ("conll_formats/wnut17_dev_iob2_tab.conll", "IOB2", "\t", (1009, 1009, 15733, 836)),
        ("ncbi_disease/iob/train.tsv", "IOB2", "\t", (5424, 5424, 135701, 5134)),
        ("ncbi_disease/iob/devel.tsv", "IOB2", "\t", (923, 923, 23969, 787)),
        ("ncbi_disease/iob/test.tsv", "IOB2", "\t", (940, 940, 24497, 960)),
        ("ncbi_disease/iobes/devel.tsv", "IOBES", "\t", (923, 923, 23969, 787)),
        ("ncbi_disease/conll_hf_source/train.tsv", "IOB2", "\t", (5432, 5432, 136086, 5145)),
        ("ncbi_disease/conll_hf_source/devel.tsv", "IOB2", "\t", (923, 923, 23969, 787)),
        ("ncbi_disease/conll_hf_source/test.tsv", "IOB2", "\t", (940, 940, 24497, 960)),
    ],
)
def test_conll(data_dir, tmp_path, capsys, name, scheme, sep, counts):
    docs = read_conll(data_dir / name)
    assert capsys.readouterr().out == ""  # no invalid tag, in the scheme that was found
    sentences = sum(len(doc.meta["sentences"]) for doc in docs)
    words = [doc.text[start:end] for doc in docs for start, end in doc_words(doc)]
    assert (len(docs), sentences, len(words), count_spans(docs)) == counts
    lines = (data_dir / name).read_bytes().decode().split("\n")
    rows = [line for line in lines if line and not line.startswith("-DOCSTART-")]
    assert words == [line.split(sep)[0] for line in rows]
    placed = name.startswith("conll_formats/anem")
    write_conll(docs, tmp_path / "copy", scheme=scheme, sep=sep, offsets=placed)
    assert same_but_for_blank_lines_around(data_dir / name, tmp_path / "copy")


def test_conll_details(data_dir):
    folder = data_dir / "conll_formats"
    filings = read_conll(folder / "secfilings_iob1_4col_space_docstart.txt")
    assert max(b - a for doc in filings for a, b in doc.meta["sentences"]) == 641
    anatomy = read_conll(folder / "anem_4col_offsets_tab.tsv")
    rows = [
        line.split("\t") for line in (folder / "anem_4col_offsets_tab.tsv").open() if line > "\n"
    ]
    words = [word for doc in anatomy for word in doc_words(doc)]
    assert words == [(int(row[1]), int(row[2])) for row in rows]
    tweets = read_conll(folder / "wnut17_dev_iob2_tab.conll")
    assert sum("\u200b" in doc.text for doc in tweets) == 1


def test_conll_of_medmentions(data_dir, tmp_path, capsys):
    path = data_dir / "medmentions/conll/mm_ner_sts.dev.conll"
    docs = read_conll(path)
    assert "not valid IOB2" in (told := capsys.readouterr().out) and told.endswith(": 141\n")
    sentences = sum(len(doc.meta["sentences"]) for doc in docs)
    words = sum(len(doc.meta["words"]) for doc in docs)
    assert (len(docs), sentences, words) == (878, 9219, 234165)
    assert count_spans(docs) == 66763 + 141
    official = (data_dir / "medmentions/pmids/corpus_pubtator_pmids_dev.txt").read_text().split()
    assert {doc.id for doc in docs} == set(official)
    write_conll(docs, tmp_path / "copy")
    before = path.read_text().split("\n")
    after = (tmp_path / "copy").read_text().split("\n")
    changed = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
    assert len(changed) == 141  # the repaired tags, and nothing else
    assert all(a.replace("\tI-", "\tB-") == b for a, b in changed)


@pytest.mark.parametrize(
    ("name", "documents", "spans"),
    [("DERIVED_from_conll_40docs.csv", 40, 3404), ("DERIVED_sample.csv", 2, 99)],
)
def test_medmentions_csv(data_dir, tmp_path, capsys, name, documents, spans):
    path = data_dir / "medmentions/built_data" / name
    docs = read_medmentions_csv(path)
    assert (len(docs), count_spans(docs)) == (documents, spans)
    assert all(span_text(doc, span).strip() for doc in docs for span in doc.spans)
    write_medmentions_csv(docs, tmp_path / "copy.csv")
    assert path.read_bytes() == (tmp_path / "copy.csv").read_bytes()
    assert capsys.readouterr().out == ""


def test_from_one_format_to_another(data_dir, tmp_path, capsys):
    """brat to PubTator, BioC and back: the same spans, or a count of what was lost."""
    docs = read_brat(data_dir / "maccrobat2020")[:40]
    write_bioc(docs, tmp_path / "docs.xml")
    assert [(d.text, d.spans) for d in read_bioc(tmp_path / "docs.xml")] == [
        (doc.text, doc.spans) for doc in docs
    ]
    write_pubtator(docs, tmp_path / "docs.txt")
    hulls = sum(bool(span.fragments) for doc in docs for span in doc.spans)
    assert f"written as their outer hull {hulls}" in capsys.readouterr().out
    for doc, again in zip(docs, read_pubtator(tmp_path / "docs.txt"), strict=True):
        assert len(again.text) == len(doc.text)
        assert [(s.start, s.end, s.label) for s in again.spans] == [
            (s.start, s.end, s.label) for s in doc.spans
        ]
