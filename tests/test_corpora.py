"""Corpora by name: real files and their counts, odd layouts, downloads, errors."""

import gzip
import hashlib
import io
import shutil
import threading
import warnings
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from clinical_ner import corpora
from clinical_ner.core import Document, Span, check_leaks, count_labels, read_text
from clinical_ner.corpora import (
    ST21PV_TYPES,
    default_cache_dir,
    fetch_file,
    medmentions,
    n2c2_2018,
    ncbi_disease,
    semantic_types,
)
from clinical_ner.formats import read_pubtator, write_brat, write_pubtator
from clinical_ner.samples import sample_notes


def sizes(corpus):
    return {part: (len(docs), sum(len(d.spans) for d in docs)) for part, docs in corpus.items()}


@pytest.fixture
def no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


# NCBI-disease, real


@pytest.mark.parametrize(
    "folder, train", [("iob", (5424, 5134)), ("conll_hf_source", (5432, 5145))]
)
def test_ncbi_tagged_words(data_dir, no_warning, capsys, folder, train):
    corpus = ncbi_disease(data_dir / "ncbi_disease" / folder)
    assert sizes(corpus) == {"train": train, "validation": (923, 787), "test": (940, 960)}
    assert list(corpus) == ["train", "validation", "test"]
    assert list(count_labels(corpus["test"])) == ["Disease"]
    printed = capsys.readouterr().out
    assert "5,134 (5,134)" in printed or "5,145 (5,145)" in printed
    assert "sentences (published)" in printed and "at random" not in printed


def test_ncbi_pubtator(data_dir, no_warning, capsys):
    corpus = ncbi_disease(data_dir / "ncbi_disease" / "pubtator")
    assert sizes(corpus) == {"train": (593, 5145), "validation": (100, 787)}
    assert list(count_labels(corpus["train"])) == ["Disease"]
    assert any(span.concept.startswith("D0") for span in corpus["train"][0].spans)
    assert len({doc.id for doc in corpus["train"]}) == 593  # one PMID is there twice
    assert "not found: test" in capsys.readouterr().out


def test_ncbi_classes(data_dir):
    corpus = ncbi_disease(data_dir / "ncbi_disease" / "pubtator", labels="class")
    assert set(count_labels(corpus["validation"])) == set(corpora._NCBI_CLASSES)
    with pytest.raises(ValueError, match="unknown label 'Disease'"):
        ncbi_disease(data_dir / "ncbi_disease" / "iobes", labels="class")


def test_ncbi_in_several_forms_is_an_error(data_dir):
    with pytest.raises(ValueError, match="more than once.*PubTator.*tagged words.*give one folder"):
        ncbi_disease(data_dir / "ncbi_disease")


def test_ncbi_original_layout_in_folders_of_their_own(data_dir, tmp_path, no_warning):
    for part, name in (("train", "NCBItrainset_corpus"), ("devel", "NCBIdevelopset_corpus")):
        (tmp_path / part).mkdir()
        shutil.copy(data_dir / "ncbi_disease" / "pubtator" / f"{name}.txt", tmp_path / part)
    assert sizes(ncbi_disease(tmp_path)) == {"train": (593, 5145), "validation": (100, 787)}


def test_ncbi_without_validation_gets_a_split_of_train(data_dir, tmp_path, capsys):
    shutil.copy(data_dir / "ncbi_disease" / "pubtator" / "NCBItrainset_corpus.txt", tmp_path)
    corpus = ncbi_disease(tmp_path, dev_split=0.2, seed=5)
    assert {part: len(docs) for part, docs in corpus.items()} == {"train": 474, "validation": 119}
    assert "119 of the 593 training documents, at random (dev_split=0.2, seed=5)" in (
        capsys.readouterr().out
    )
    again = ncbi_disease(tmp_path, dev_split=0.2, seed=5)
    assert [d.id for d in again["train"]] == [d.id for d in corpus["train"]]
    assert list(ncbi_disease(tmp_path, dev_split=0)) == ["train"]


def test_counts_that_differ_are_a_warning(data_dir, tmp_path):
    lines = read_text(data_dir / "ncbi_disease" / "iob" / "test.tsv").split("\n\n")
    (tmp_path / "test.tsv").write_text("\n\n".join(lines[:100]) + "\n")
    with pytest.warns(UserWarning, match="test: 100 sentences instead of 940"):
        ncbi_disease(tmp_path)


# MedMentions, real


@pytest.fixture(scope="module")
def medmentions_dev(data_dir):
    return medmentions(data_dir / "medmentions" / "conll")


def test_medmentions_tagged_words(medmentions_dev):
    assert sizes(medmentions_dev) == {"validation": (878, 66_763 + 141)}
    labels = count_labels(medmentions_dev["validation"])
    assert set(labels) <= {*semantic_types(), "UnknownType"}
    assert labels["UnknownType"] == 471


def test_medmentions_pmids_of_tagged_words_are_the_official_ones(medmentions_dev, data_dir):
    official = read_text(data_dir / "medmentions/pmids/corpus_pubtator_pmids_dev.txt").split()
    assert {doc.id for doc in medmentions_dev["validation"]} == set(official)


def test_medmentions_groups(medmentions_dev, data_dir):
    grouped = medmentions(data_dir / "medmentions" / "conll", labels="group")["validation"]
    types, found = semantic_types(), count_labels(medmentions_dev["validation"])
    for group in ("Disorders", "Chemicals & Drugs"):
        wanted = sum(n for tui, n in found.items() if types.get(tui, ("", ""))[1] == group)
        assert count_labels(grouped)[group.replace(" & ", "_and_")] == wanted > 1000
    assert len(count_labels(grouped)) == 16


def official_folder(data_dir, folder, fixture, *, packed=False, subset="full"):
    """A folder as the authors lay it out, with a fixture in place of the corpus."""
    full, own = folder / "full" / "data", folder / subset / "data"
    for each in (full, own):
        each.mkdir(parents=True, exist_ok=True)
    text = (data_dir / "medmentions" / "pubtator" / fixture).read_bytes()
    if packed:
        (own / "corpus_pubtator.txt.gz").write_bytes(gzip.compress(text))
    else:
        (own / "corpus_pubtator.txt").write_bytes(text)
    for part in ("trng", "dev", "test", "all"):
        shutil.copy(data_dir / "medmentions/pmids" / f"corpus_pubtator_pmids_{part}.txt", full)
    return folder


@pytest.mark.filterwarnings("ignore:MedMentions")
def test_medmentions_full_pubtator(data_dir, tmp_path, capsys):
    folder = official_folder(data_dir, tmp_path, "full_1doc_sparknlp_sample.txt")
    corpus = medmentions(folder, dev_split=0)
    assert sizes(corpus) == {"train": (1, 98)}
    doc = corpus["train"][0]
    assert doc.spans[0] == Span(0, 5, "T116") and doc.spans[0].concept == "C4308010"
    several = sum(
        "," in s.label for s in read_pubtator(folder / "full/data/corpus_pubtator.txt")[0].spans
    )
    assert f"{several} mentions with several semantic types" in capsys.readouterr().out
    named = medmentions(folder, labels="name")
    assert named["train"][0].spans[0].label == "Amino_Acid_Peptide_or_Protein"


@pytest.mark.filterwarnings("ignore:MedMentions")
def test_medmentions_st21pv_pubtator(data_dir, tmp_path):
    fixture = "st21pv_3docs_scispacy_fixture.txt"
    folder = official_folder(data_dir, tmp_path, fixture, packed=True, subset="st21pv")
    corpus = medmentions(folder, subset="st21pv", dev_split=0)
    assert sum(n for _, n in sizes(corpus).values()) == 115
    assert {label for docs in corpus.values() for label in count_labels(docs)} <= set(ST21PV_TYPES)
    concepts = [span.concept for docs in corpus.values() for doc in docs for span in doc.spans]
    assert all(concept.startswith("C") for concept in concepts)
    below = medmentions(folder / "st21pv" / "data", subset="st21pv", dev_split=0)
    assert sizes(below) == sizes(corpus)  # the lists are in full/data beside it


@pytest.mark.filterwarnings("ignore:MedMentions")
def test_medmentions_both_subsets_in_one_clone(data_dir, tmp_path):
    official_folder(data_dir, tmp_path, "full_1doc_sparknlp_sample.txt")
    fixture = "st21pv_3docs_scispacy_fixture.txt"
    official_folder(data_dir, tmp_path, fixture, subset="st21pv")
    assert sum(n for _, n in sizes(medmentions(tmp_path)).values()) == 98
    st21pv = medmentions(tmp_path, subset="st21pv")
    assert sum(n for _, n in sizes(st21pv).values()) == 115


def test_medmentions_st21pv_cannot_be_made_from_the_full_corpus(data_dir, tmp_path):
    folder = official_folder(data_dir, tmp_path, "full_1doc_sparknlp_sample.txt")
    with pytest.raises(ValueError, match="st21pv/data/corpus_pubtator.txt.gz"):
        medmentions(folder, subset="st21pv")


@pytest.mark.filterwarnings("ignore:MedMentions")
def test_medmentions_st21pv_taken_for_full_is_a_warning(data_dir, tmp_path):
    folder = official_folder(data_dir, tmp_path, "st21pv_3docs_scispacy_fixture.txt")
    with pytest.warns(UserWarning, match='was subset="st21pv" meant'):
        medmentions(folder)


def test_medmentions_wrong_offsets_are_an_error(data_dir, tmp_path):
    fixture = "adversarial_pipe_in_title_pubtator_loader.txt"
    with pytest.raises(ValueError, match="line 6, offsets 83-120"):
        medmentions(official_folder(data_dir, tmp_path, fixture))


def test_medmentions_without_lists(data_dir, tmp_path):
    folder = official_folder(data_dir, tmp_path, "full_1doc_sparknlp_sample.txt")
    for file in folder.rglob("*pmids*"):
        file.unlink()
    with pytest.raises(FileNotFoundError, match="corpus_pubtator_pmids_trng.txt"):
        medmentions(folder)


@pytest.mark.filterwarnings("ignore:MedMentions")
def test_medmentions_document_in_no_list_is_a_warning(tmp_path):
    write_pubtator(
        [Document(i, "Fever\nx", [Span(0, 5, "T184")]) for i in "12"],
        tmp_path / "corpus_pubtator.txt",
    )
    (tmp_path / "corpus_pubtator_pmids_test.txt").write_text("1\n")
    with pytest.warns(UserWarning, match="1 documents are in no list"):
        assert sizes(medmentions(tmp_path)) == {"test": (1, 1)}


def test_medmentions_lists_of_another_corpus_are_an_error(tmp_path):
    write_pubtator([Document("1", "Fever\nx")], tmp_path / "corpus_pubtator.txt")
    (tmp_path / "corpus_pubtator_pmids_test.txt").write_text("9\n")
    with pytest.raises(ValueError, match="none of its 1 documents is in a list of PMIDs"):
        medmentions(tmp_path)


@pytest.mark.filterwarnings("ignore:MedMentions")
def test_medmentions_csv(data_dir, tmp_path, capsys):
    built = data_dir / "medmentions" / "built_data" / "DERIVED_from_conll_40docs.csv"
    for part in ("train", "test"):
        shutil.copy(built, tmp_path / f"{part}.csv")
    corpus = medmentions(tmp_path, labels="group", dev_split=0.25, seed=1)
    assert {part: len(docs) for part, docs in corpus.items()} == {
        "train": 30,
        "validation": 10,
        "test": 40,
    }
    assert not any(s.concept.startswith("UMLS:") for d in corpus["test"] for s in d.spans)
    assert "10 of the 40 training documents" in capsys.readouterr().out


def test_medmentions_in_several_forms_is_an_error(data_dir):
    with pytest.raises(ValueError, match="more than once"):
        medmentions(data_dir / "medmentions")


def test_medmentions_two_files_of_one_part(tmp_path):
    for name in ("dev.conll", "mm.devel.conll"):
        (tmp_path / name).write_text("Fever\tB-T184\n")
    with pytest.raises(ValueError, match="both .*dev.conll and .*mm.devel.conll look like"):
        medmentions(tmp_path)


def test_medmentions_unknown_type_names_the_place(tmp_path):
    (tmp_path / "dev.conll").write_text("Fever\tB-Disease\n")
    with pytest.raises(ValueError, match="'dev-1': 'Disease' at 0-5 is no semantic type"):
        medmentions(tmp_path)


# semantic types


def test_semantic_types_are_those_of_the_nlm(data_dir):
    folder = data_dir / "medmentions" / "semantic_types"
    assert semantic_types() == semantic_types(folder / "SemGroups_2018.txt")
    names = [
        line.split("|") for line in read_text(folder / "SemanticTypes_2018AB.txt").splitlines()
    ]
    assert {tui: name for _, tui, name in names} == {
        tui: name for tui, (name, _) in semantic_types().items()
    }
    assert len({group for _, group in semantic_types().values()}) == 15


@pytest.mark.filterwarnings("ignore:MedMentions")
def test_semantic_types_file_of_the_folder_is_used(tmp_path):
    (tmp_path / "SemGroups_2030.txt").write_text("NEWG|New & Odd|T999|New Type\n")
    (tmp_path / "dev.conll").write_text("Fever\tB-T999\n")
    assert count_labels(medmentions(tmp_path, labels="group")["validation"]) == {"New_and_Odd": 1}
    (tmp_path / "SemGroups_2030.txt").write_text("NEWG|T999|New Type\n")
    with pytest.raises(ValueError, match="line 1: 3 columns instead of 4"):
        medmentions(tmp_path)


# n2c2


def test_n2c2_single_folder_is_split_by_document(data_dir, capsys):
    folder = data_dir / "n2c2_format_derived" / "gold"
    with pytest.warns(UserWarning, match="135 documents instead of 505"):
        corpus = n2c2_2018(folder, dev_split=0.1, test_split=0.2, seed=3)
    assert {part: len(docs) for part, docs in corpus.items()} == {
        "train": 95,
        "validation": 13,
        "test": 27,
    }
    assert sum(n for _, n in sizes(corpus).values()) == 1482
    assert "by document (seed=3): train 95, validation 13, test 27" in capsys.readouterr().out
    assert not check_leaks(corpus)


NOTES = sample_notes(30)


@pytest.mark.filterwarnings("ignore:n2c2")
@pytest.mark.parametrize(
    "training, test",
    [
        (["training_20180910"], "gold-standard-test-data"),
        (["track2-training_data_2", "track2-training_data_3"], "gold-standard-test-data/test"),
        (["n2c2/train"], "n2c2/test"),
    ],
)
def test_n2c2_folders(tmp_path, capsys, training, test):
    for i, name in enumerate(training):
        write_brat(NOTES[:20][i :: len(training)], tmp_path / name)
    write_brat(NOTES[20:], tmp_path / test)
    corpus = n2c2_2018(tmp_path, dev_split=0.2, seed=1)
    assert {part: len(docs) for part, docs in corpus.items()} == {
        "train": 16,
        "validation": 4,
        "test": 10,
    }
    gold = {note.id: note for note in NOTES}
    for docs in corpus.values():
        for doc in docs:
            assert doc.text == gold[doc.id].text
            assert [(s.start, s.end, s.label) for s in doc.spans] == [
                (s.start, s.end, s.label) for s in gold[doc.id].spans
            ]
    assert "4 of the 20 training documents, at random" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore:n2c2")
def test_n2c2_parts_that_are_missing_are_named(tmp_path, capsys):
    write_brat(NOTES[:10], tmp_path / "test")
    assert list(n2c2_2018(tmp_path)) == ["test"]
    assert "not found: train" in capsys.readouterr().out


def test_n2c2_published_counts_give_no_warning(tmp_path, no_warning):
    for part, count in (("train", 303), ("test", 202)):
        docs = [Document(f"{part}{i}", "Tylenol", [Span(0, 7, "Drug")]) for i in range(count)]
        write_brat(docs, tmp_path / part)
    assert {part: len(docs) for part, docs in n2c2_2018(tmp_path).items()} == {
        "train": 273,
        "validation": 30,
        "test": 202,
    }


@pytest.mark.filterwarnings("ignore:n2c2", "ignore:NCBI")
def test_hidden_copies_of_files_do_not_count(tmp_path):
    for folder in ("train", "train/.ipynb_checkpoints", "test"):
        write_brat(NOTES[:3] if "train" in folder else NOTES[3:5], tmp_path / "n2c2" / folder)
    corpus = n2c2_2018(tmp_path / "n2c2", dev_split=0)
    assert {part: len(docs) for part, docs in corpus.items()} == {"train": 3, "test": 2}
    for folder in ("in/.ipynb_checkpoints", "in"):
        (tmp_path / "ncbi" / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / "ncbi" / folder / "test.tsv").write_text("Fever\tB-Disease\n")
    assert list(ncbi_disease(tmp_path / "ncbi")) == ["test"]


def test_n2c2_folder_in_a_folder_is_an_error(tmp_path):
    write_brat(NOTES[:2], tmp_path / "train")
    write_brat(NOTES[2:4], tmp_path / "train" / "test")
    with pytest.raises(ValueError, match="test: there are .ann files in this folder and in one"):
        n2c2_2018(tmp_path)


def test_n2c2_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        n2c2_2018(tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match="no .ann file.*training_20180910"):
        n2c2_2018(tmp_path)
    write_brat(NOTES[:2], tmp_path / "a" / "train")
    write_brat(NOTES[1:3], tmp_path / "a" / "training_20180910")
    with pytest.raises(ValueError, match="1 documents are there twice"):
        n2c2_2018(tmp_path / "a")
    write_brat(NOTES[:2], tmp_path / "b" / "train")
    write_brat(NOTES[2:4], tmp_path / "b" / "system")
    with pytest.raises(ValueError, match="system: its name does not say"):
        n2c2_2018(tmp_path / "b")
    write_brat([Document("x", "Pain", [Span(0, 4, "Problem")])], tmp_path / "c" / "train")
    with pytest.raises(ValueError, match="'x': unknown label 'Problem' at 0-4"):
        n2c2_2018(tmp_path / "c")


# downloads, from a web server of our own


class Server(BaseHTTPRequestHandler):
    files: dict[str, bytes] = {}
    asked: list[str] = []

    def do_GET(self):
        self.asked.append(self.path)
        body = self.files.get(self.path)
        if body is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if "dropped" in self.path else body)

    def log_message(self, *args):
        pass


@pytest.fixture
def web():
    Server.files, Server.asked = {}, []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


BODY = bytes(range(256)) * 1000


def test_fetch_a_good_file_once(web, tmp_path):
    Server.files["/good.bin"] = BODY
    sha256 = hashlib.sha256(BODY).hexdigest()
    for _ in range(2):
        path = fetch_file(f"{web}/good.bin", tmp_path / "sub" / "good.bin", sha256=sha256)
        assert path.read_bytes() == BODY
    assert Server.asked == ["/good.bin"]
    assert read_text(tmp_path / "sub" / "good.bin.sha256") == f"{sha256}  good.bin\n"


@pytest.mark.parametrize(
    "name, error, match",
    [
        ("good.bin", ValueError, "SHA-256"),
        ("absent.bin", FileNotFoundError, "404.*by hand: .*x.bin"),
        ("dropped.bin", FileNotFoundError, "broke after 128,000 of 256,000 bytes"),
    ],
)
def test_fetch_leaves_nothing_of_a_bad_file(web, tmp_path, name, error, match):
    Server.files |= {"/good.bin": BODY, "/dropped.bin": BODY}
    with pytest.raises(error, match=match):
        fetch_file(f"{web}/{name}", tmp_path / "x.bin", sha256="0" * 64)
    assert list(tmp_path.iterdir()) == []


def test_fetch_without_a_network(tmp_path):
    with pytest.raises(FileNotFoundError, match="could not be fetched.*put the file there by hand"):
        fetch_file("http://127.0.0.1:9/corpus.txt", tmp_path / "corpus.txt")
    assert list(tmp_path.iterdir()) == []


def test_fetch_notices_a_file_that_changed(web, tmp_path):
    Server.files["/good.bin"] = BODY
    path = fetch_file(f"{web}/good.bin", tmp_path / "good.bin")
    assert fetch_file(f"{web}/good.bin", path) == path
    path.write_bytes(BODY[:-1])
    with pytest.raises(ValueError, match="damaged"):
        fetch_file(f"{web}/good.bin", path)


def test_medmentions_is_fetched(web, tmp_path, monkeypatch):
    monkeypatch.setattr(corpora, "_MEDMENTIONS_URL", web)
    docs = [Document(i, "Fever\nx", [Span(0, 5, "T184")]) for i in "123"]
    write_pubtator(docs, tmp_path / "made_up.txt")
    packed = gzip.compress((tmp_path / "made_up.txt").read_bytes())
    Server.files["/full/data/corpus_pubtator.txt.gz"] = packed
    for part, pmid in (("trng", b"1"), ("dev", b"2"), ("test", b"3")):
        Server.files[f"/full/data/corpus_pubtator_pmids_{part}.txt"] = pmid
    for _ in range(2):
        with pytest.warns(UserWarning, match="4,392"):
            corpus = medmentions(cache_dir=tmp_path / "cache")
        assert sizes(corpus) == {"train": (1, 1), "validation": (1, 1), "test": (1, 1)}
    assert len(Server.asked) == 4
    with pytest.raises(FileNotFoundError, match="st21pv/data/corpus_pubtator.txt.gz"):
        medmentions(subset="st21pv", cache_dir=tmp_path / "cache")


def test_ncbi_is_fetched_and_its_checksums_compared(web, tmp_path, monkeypatch):
    monkeypatch.setattr(corpora, "_NCBI_URL", web)
    zips = {}
    for pmid, name in enumerate(corpora._NCBI_ZIPS, 1):
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            text = f"{pmid}|t|Fever\n{pmid}|a|x\n{pmid}\t0\t5\tFever\tModifier\tD005334\n"
            archive.writestr(f"{name}.txt", text)
        Server.files[f"/{name}.zip"] = packed.getvalue()
        zips[name] = hashlib.sha256(packed.getvalue()).hexdigest()
    with pytest.raises(ValueError, match="NCBItrainset_corpus.zip: its SHA-256"):
        ncbi_disease(cache_dir=tmp_path)
    monkeypatch.setattr(corpora, "_NCBI_ZIPS", zips)
    with pytest.warns(UserWarning, match="train: 1 documents instead of 593"):
        corpus = ncbi_disease(cache_dir=tmp_path)
    assert sizes(corpus) == {"train": (1, 1), "validation": (1, 1), "test": (1, 1)}
    assert corpus["train"][0].spans[0].concept == "D005334"


def test_cache_dir(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert default_cache_dir() == Path("/somewhere/clinical_ner")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_cache_dir() == Path.home() / ".cache" / "clinical_ner"


# the Hub


def test_hub_name_while_offline(tmp_path):
    with pytest.raises(FileNotFoundError, match="NCBItrainset_corpus.txt.*give that folder"):
        ncbi_disease("ncbi/ncbi_disease", cache_dir=tmp_path)


@pytest.mark.filterwarnings("ignore:NCBI")
def test_hub_sentences(monkeypatch, tmp_path, capsys):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        id=datasets.Value("string"),
        tokens=datasets.Sequence(datasets.Value("string")),
        ner_tags=datasets.Sequence(datasets.ClassLabel(names=["O", "B-Disease", "I-Disease"])),
    )
    rows = {
        "id": ["0", "1"],
        "tokens": [["Lung", "cancer", "and", "fever"], []],
        "ner_tags": [[1, 2, 0, 1], []],
    }
    part = datasets.Dataset.from_dict(rows, features=features)
    asked = {}

    def load_dataset(name, **options):
        asked.update(options, name=name)
        return datasets.DatasetDict(train=part, validation=part, test=part)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    corpus = ncbi_disease("ncbi/ncbi_disease", cache_dir=tmp_path)
    assert asked == {
        "name": "ncbi/ncbi_disease",
        "revision": "refs/convert/parquet",
        "cache_dir": tmp_path,
    }
    assert corpus["train"][0].id == "train-0"
    assert corpus["train"][0].text == "Lung cancer and fever"
    assert corpus["train"][0].spans == (Span(0, 11, "Disease"), Span(16, 21, "Disease"))
    assert sizes(corpus) == {"train": (1, 2), "validation": (1, 2), "test": (1, 2)}
    assert "train: 1 empty sentence left out" in capsys.readouterr().out


# options


def test_missing_folders_and_unknown_options(tmp_path):
    for load in (ncbi_disease, medmentions, n2c2_2018):
        with pytest.raises(FileNotFoundError, match="absent: no such file or folder; put"):
            load(tmp_path / "absent")
        with pytest.raises(FileNotFoundError, match="put"):
            load(tmp_path)
    with pytest.raises(ValueError, match="labels='classes' is unknown"):
        ncbi_disease(tmp_path, labels="classes")
    with pytest.raises(ValueError, match="labels='tui' is unknown"):
        medmentions(tmp_path, labels="tui")
    with pytest.raises(ValueError, match="subset='st21' is unknown"):
        medmentions(tmp_path, subset="st21")
