"""ONNX: the same spans as torch, on real text and for every family, and errors that help."""

import pytest

from clinical_ner.core import Document
from clinical_ner.formats import read_conll
from clinical_ner.onnx_export import export_onnx, load_onnx, span_agreement
from clinical_ner.samples import sample_notes
from clinical_ner.tagger import Tagger, predict

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


def tiny_tagger(config_class, encoder_dir, **changes):
    """A random tagger of a family, narrow and of two layers."""
    import torch
    from transformers import AutoModelForTokenClassification

    from clinical_ner.encoders import load_tokenizer
    from clinical_ner.windows import tag_names

    torch.manual_seed(0)
    tokenizer, tags = load_tokenizer(encoder_dir, max_length=64), tag_names(["Drug", "Reason"])
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2}
    names = {"id2label": dict(enumerate(tags)), "label2id": {tag: i for i, tag in enumerate(tags)}}
    sizes |= {"vocab_size": len(tokenizer), "num_hidden_layers": 2, "initializer_range": 0.5}
    config = config_class(**sizes, **names, **changes)
    return Tagger(AutoModelForTokenClassification.from_config(config), tokenizer)


FAMILIES = {
    "BertConfig": {},
    "MegatronBertConfig": {},
    "RobertaConfig": {"max_position_embeddings": 130, "pad_token_id": 0},
    "ElectraConfig": {"embedding_size": 16},
}


@pytest.fixture(scope="module")
def notes():
    return [
        Document(note.id, note.text[: 90 * i]) for i, note in enumerate(sample_notes(12, seed=8))
    ]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_gives_the_spans_of_torch(family, encoder_dir, notes, tmp_path):
    import transformers

    tagger = tiny_tagger(getattr(transformers, family), encoder_dir, **FAMILIES[family])
    before = predict(tagger, notes, precision="float32", progress=False)
    attention = tagger.net.config._attn_implementation
    assert export_onnx(tagger, tmp_path, check=notes) == 1.0
    assert tagger.net.config._attn_implementation == attention
    assert predict(tagger, notes, precision="float32", progress=False) == before
    after = predict(load_onnx(tmp_path), notes, precision="float32", progress=False)
    assert [doc.spans for doc in after] == [doc.spans for doc in before]
    assert sum(len(doc.spans) for doc in after) > 20


def test_a_loaded_tagger_is_like_any_other(encoder_dir, notes, tmp_path, capsys):
    from transformers import BertConfig

    from clinical_ner.bulk import annotate, iter_found

    tagger = tiny_tagger(BertConfig, encoder_dir)
    export_onnx(tagger, tmp_path / "a")
    loaded = load_onnx(tmp_path / "a")
    assert loaded.tags == tagger.tags and "OnnxNet" in repr(loaded)
    loaded.save(tmp_path / "b")
    exact = {"precision": "float32", "progress": False}
    wanted = predict(loaded, notes, **exact)
    assert predict(load_onnx(tmp_path / "b"), notes, **exact) == wanted
    options = {"load": load_onnx, "device": "cpu", **exact}
    annotate(notes, tmp_path / "o", tmp_path / "a", **options)
    spans = [span for doc in wanted for span in doc.spans]
    assert len(list(iter_found(tmp_path / "o"))) == len(spans)


def test_errors_say_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match="write one with `export_onnx`"):
        load_onnx(tmp_path)


def test_agreement_counts_spans_of_both():
    from clinical_ner.core import Span

    a = [Document("1", "some text", [Span(0, 4, "X"), Span(5, 9, "X")])]
    b = [Document("1", "some text", [Span(0, 4, "X")])]
    assert span_agreement(a, b) == pytest.approx(2 / 3)
    assert span_agreement([], []) == span_agreement(a, a) == 1.0


@pytest.mark.slow
def test_real_text_gives_the_spans_of_torch(data_dir, encoder_dir, tmp_path):
    docs = read_conll(data_dir / "ncbi_disease/iob/test.tsv")
    tagger = Tagger.create(encoder_dir, ["Disease"])
    assert export_onnx(tagger, tmp_path, check=docs) == 1.0
