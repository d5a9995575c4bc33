"""Planted annotation errors: `suspicious_gold` beside cleanlab on the same probabilities.

Of the mentions of a corpus (its commonest types) a share is spoilt with a seed: dropped, given
another type, or cut by a word. Word probabilities come from a linear classifier over the frozen
packaged encoder, in five-fold cross-validation by document. All rankings name as many places as
errors were planted; precision is the share of those that lie on a planted error, recall the share
of errors named. How `suspicious_gold` weighs its witnesses was chosen on the first 50 documents of
MACCROBAT with the seeds 0 to 2; NCBI-disease was not looked at.

    pip install cleanlab
    python benchmarks/label_errors.py --data DATA/maccrobat2020 DATA/ncbi_disease/pubtator
"""

import argparse
import json
import random
import warnings
from collections import Counter
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from zlib import crc32

import numpy as np
import torch
from tables import machine
from transformers import AutoModel

from clinical_ner.core import Document, Span, count_labels, open_atomic, relabel, split_docs
from clinical_ner.corpora import ncbi_disease
from clinical_ner.encoders import load_tokenizer, packaged_encoder
from clinical_ner.errors import suspicious_gold
from clinical_ner.formats import read_brat
from clinical_ner.metrics import Scores
from clinical_ner.tags import doc_words, fit_spans, spans_to_tags
from clinical_ner.windows import make_windows

HERE = Path(__file__).parent
BUCKETS, FEATURES = 2**15, 13


def flat_corpus(folder: Path, types: int) -> list[Document]:
    """The documents with those mentions of the commonest types that tags can hold."""
    if any(folder.glob("NCBI*")):
        docs = ncbi_disease(folder, labels="class")["train"]
    else:
        docs = read_brat(folder, mismatch="warn")
    kept = list(count_labels(docs))[:types]
    docs = relabel(docs, lambda label: label if label in kept else None)
    return [replace(doc, spans=fit_spans(doc)[0]) for doc in docs]


def plant(doc: Document, share: float, labels: list[str], rng: random.Random):
    """The document with some mentions spoilt, and where: (kind, start, end) in characters."""
    words, spans, planted = doc_words(doc), [], []
    for span in doc.spans:
        inside = [word for word in words if span.start <= word[0] and word[1] <= span.end]
        kinds = ["dropped", "type"] + ["boundary"] * (len(inside) > 1)
        kind = rng.choice(kinds) if rng.random() < share else ""
        if kind == "type":
            other = rng.choice([label for label in labels if label != span.label])
            spans.append(replace(span, label=other))
        elif kind == "boundary":
            first, past = (1, None) if rng.random() < 0.5 else (0, -1)
            cut = inside[first:past]
            spans.append(Span(cut[0][0], cut[-1][1], span.label))
        elif not kind:
            spans.append(span)
        if kind:
            planted.append((kind, span.start, span.end))
    return replace(doc, spans=spans), planted


def features(words: list[str], i: int) -> list[str]:
    """A word as names of features: itself, its form, and two words on each side."""
    word = words[i]
    shape = "".join(
        "A" if c.isupper() else "a" if c.islower() else "0" if c.isdigit() else c for c in word
    )
    ends = f"e={word[-3:].lower()}", f"b={word[:3].lower()}"
    names = [f"w={word.lower()}", f"s={shape[:12]}", *ends]
    for step in (-2, -1, 1, 2):
        near = words[i + step].lower() if 0 <= i + step < len(words) else "#"
        names += [f"{step}={near}", f"{step}:{near[-3:]}"]
    return [*names, f"-1,0={words[i - 1].lower() if i else '#'} {word.lower()}"]


def word_vectors(docs: list[Document]) -> list[torch.Tensor]:
    """Two layers of the packaged encoder, frozen, for each word and its two neighbours."""
    tokenizer = load_tokenizer(packaged_encoder())
    net = AutoModel.from_pretrained(packaged_encoder()).eval()
    found = [torch.zeros(len(doc_words(doc)), 2 * net.config.hidden_size) for doc in docs]
    windows = sorted(
        make_windows(docs, tokenizer, max_length=128), key=lambda window: len(window.input_ids)
    )
    for i in range(0, len(windows), 32):
        batch = windows[i : i + 32]
        rows = [torch.tensor(window.input_ids) for window in batch]
        ids, mask = (
            torch.nn.utils.rnn.pad_sequence(side, batch_first=True)
            for side in (rows, [torch.ones_like(row) for row in rows])
        )
        with torch.inference_mode():
            layers = net(ids, attention_mask=mask, output_hidden_states=True).hidden_states
        states = torch.cat([layers[2], layers[5]], -1)
        for row, window in enumerate(batch):
            place = slice(window.first_word, window.first_word + len(window.starts))
            found[window.doc][place] = states[row, window.starts]
    pad = torch.nn.functional.pad
    return [torch.cat([x, pad(x, (0, 0, 1, 0))[:-1], pad(x, (0, 0, 0, 1))[1:]], -1) for x in found]


def word_features(docs: list[Document]) -> list[torch.Tensor]:
    """Numbers of the features of each word: (words, features), hashed."""
    found = []
    for doc in docs:
        words = [doc.text[start:end] for start, end in doc_words(doc)]
        names = (features(words, i) for i in range(len(words)))
        rows = [[crc32(name.encode()) % BUCKETS for name in row] for row in names]
        found.append(torch.tensor(rows, dtype=torch.long).reshape(len(words), FEATURES))
    return found


class Linear(torch.nn.Module):
    """A softmax over a linear function of word vectors and hashed features."""

    def __init__(self, width: int, classes: int):
        super().__init__()
        self.vectors = torch.nn.Linear(width, classes)
        self.names = torch.nn.EmbeddingBag(BUCKETS, classes, mode="sum")
        torch.nn.init.zeros_(self.names.weight)

    def forward(self, vectors: torch.Tensor, names: torch.Tensor) -> torch.Tensor:
        return torch.log_softmax(self.vectors(vectors) + self.names(names), -1)


def fit(vectors: torch.Tensor, names: torch.Tensor, gold: torch.Tensor, classes: int, seed: int):
    """The classifier after six passes, with some columns of the vectors left out in each batch."""
    torch.manual_seed(seed)
    net = Linear(vectors.shape[1], classes)
    groups = [{"params": net.vectors.parameters()}, {"params": net.names.parameters(), "lr": 6e-3}]
    optimizer = torch.optim.Adam(groups, lr=2e-3)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.6)
    for _ in range(6):
        for chosen in torch.randperm(len(gold)).split(512):
            kept = (torch.rand(vectors.shape[1]) > 0.3) / 0.7  # one mask a batch is fast
            found = net(vectors[chosen] * kept, names[chosen])
            loss = torch.nn.functional.nll_loss(found, gold[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
    return net


def gold_numbers(docs: list[Document], tags: list[str]) -> list[np.ndarray]:
    """The number of the gold tag of each word."""
    written = (spans_to_tags(fit_spans(doc)[0], doc_words(doc)) for doc in docs)
    return [np.array([tags.index(tag) for tag in row], int) for row in written]


def cross_scores(docs, inputs, tags: list[str], seed: int) -> list[np.ndarray]:
    """Log-probabilities (words, L) of each document, by a classifier that has not seen it."""
    gold = [torch.from_numpy(row) for row in gold_numbers(docs, tags)]
    columns, scores = (*inputs, gold), [None] * len(docs)
    for part in split_docs(docs, (0.2,) * 5, seed=seed):
        ids = {doc.id for doc in part}
        train = [i for i, doc in enumerate(docs) if doc.id not in ids]
        net = fit(*(torch.cat([column[i] for i in train]) for column in columns), len(tags), seed)
        for i, doc in enumerate(docs):
            if doc.id in ids:
                with torch.inference_mode():
                    scores[i] = net(*(column[i] for column in inputs)).double().numpy()
    return scores


def cleanlab_places(docs, probabilities, tags, method: str) -> list[tuple[str, int, int]]:
    """Words in the order in which cleanlab suspects them; neighbours of one named are left out."""
    from cleanlab.token_classification.rank import get_label_quality_scores

    labels = [row.tolist() for row in gold_numbers(docs, tags)]
    _, scores = get_label_quality_scores(labels, probabilities, token_score_method=method)
    order = sorted((s, d, w) for d, row in enumerate(scores) for w, s in enumerate(row))
    named, places = set(), []
    for _, d, w in order:
        if not named & {(d, w - 1), (d, w), (d, w + 1)}:
            places.append((docs[d].id, *doc_words(docs[d])[w]))
        named.add((d, w))
    return places


def judge(places: list[tuple[str, int, int]], planted: dict[str, list], number: int) -> dict:
    """Precision and recall of the first places, and recall by kind of error."""
    hit, right = set(), 0
    for doc_id, start, end in places[:number]:
        errors = [(doc_id, *e) for e in planted[doc_id] if start < e[2] and e[1] < end]
        right += bool(errors)
        hit.update(errors)
    totals = Counter(kind for errors in planted.values() for kind, _, _ in errors)
    found = Counter(kind for _, kind, _, _ in hit)
    row = {"precision": right / number, "recall": len(hit) / number}
    return row | {f"recall_{kind}": found[kind] / totals[kind] for kind in sorted(totals)}


def spoil(clean: list[Document], share: float, seed: int) -> tuple[list[Document], dict]:
    """The documents with planted errors, and those of each document."""
    rng, labels = random.Random(seed), list(count_labels(clean))
    pairs = [plant(doc, share, labels, rng) for doc in clean]
    return [doc for doc, _ in pairs], {doc.id: errors for doc, errors in pairs}


def rankings(docs: list[Document], scores: list[np.ndarray], tags: list[str]) -> dict[str, list]:
    """Suspicious places by each method, the most suspicious first."""
    found = {
        "suspicious_gold": suspicious_gold(docs, scores=scores, tags=tags),
        "suspicious_gold, no model": suspicious_gold(docs),
    }
    places = {name: [(s.doc_id, s.start, s.end) for s in row] for name, row in found.items()}
    for method in ("self_confidence", "normalized_margin"):
        probabilities = [np.exp(row) for row in scores]
        places[f"cleanlab {method}"] = cleanlab_places(docs, probabilities, tags, method)
    return places


def measure(path: Path, types: int, share: float, seeds: list[int]) -> dict[str, dict]:
    """The rows of one corpus: each method with each seed."""
    clean = flat_corpus(path, types)
    labels = list(count_labels(clean))
    tags = ["O", *(f"{letter}-{label}" for label in labels for letter in "BI")]
    inputs = word_vectors(clean), word_features(clean)
    name_of_corpus = path.parent.name if path.name == "pubtator" else path.name
    rows = {}
    for seed in seeds:
        docs, planted = spoil(clean, share, seed)
        scores = cross_scores(docs, inputs, tags, seed)
        right = sum((r.argmax(1) == g).sum() for r, g in zip(scores, gold_numbers(docs, tags)))
        number = sum(map(len, planted.values()))
        common = {"documents": len(docs), "planted": number}
        common["word_accuracy"] = float(right / sum(map(len, scores)))
        for name, places in rankings(docs, scores, tags).items():
            rows[f"{name_of_corpus}, seed {seed}: {name}"] = common | judge(places, planted, number)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", type=Path, nargs="+", required=True, help="folders of brat files, or NCBI-disease"
    )
    parser.add_argument("--types", type=int, default=8, help="how many of the commonest types")
    parser.add_argument("--share", type=float, default=0.05, help="share of mentions to spoil")
    parser.add_argument("--seeds", type=int, nargs="+", default=[11, 12, 13])
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = {}
    for path in args.data:
        rows |= measure(path, args.types, args.share, args.seeds)
    table = Scores(rows, f"{args.share:.0%} of the mentions spoilt; cleanlab {version('cleanlab')}")
    print(table)
    with open_atomic(HERE / "results" / "label_errors.json") as file:
        on = machine("torch", "transformers", "cleanlab")
        json.dump(
            {"caption": table.caption, "machine": on, "rows": table.to_dict()}, file, indent=1
        )


if __name__ == "__main__":
    main()
