"""Planted annotation errors: `suspicious_gold` beside cleanlab on the same probabilities.

Of the mentions of a brat corpus (its commonest types) a share is spoilt with a seed: dropped, given
another type, or cut by a word. Word probabilities come from a linear classifier in five-fold
cross-validation by document. Both rankings name as many places as errors were planted; precision
is the share of those that lie on a planted error, recall the share of errors named.

    pip install cleanlab
    python benchmarks/label_errors.py --data DATA/maccrobat2020
"""

import argparse
import json
import random
import warnings
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from clinical_ner.core import Document, Span, count_labels, open_atomic, relabel, split_docs
from clinical_ner.errors import suspicious_gold
from clinical_ner.formats import read_brat
from clinical_ner.metrics import Scores
from clinical_ner.tags import doc_words, fit_spans, spans_to_tags

HERE = Path(__file__).parent


def flat_corpus(folder: Path, types: int) -> list[Document]:
    """The documents with those mentions of the commonest types that tags can hold."""
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


def features(words: list[str], i: int) -> dict[str, int]:
    """What a linear classifier sees of a word: itself, its form, and two words on each side."""
    word = words[i]
    shape = "".join(
        "A" if c.isupper() else "a" if c.islower() else "0" if c.isdigit() else c for c in word
    )
    names = [
        f"w={word.lower()}",
        f"s={shape[:12]}",
        f"e={word[-3:].lower()}",
        f"b={word[:3].lower()}",
    ]
    for step in (-2, -1, 1, 2):
        near = words[i + step].lower() if 0 <= i + step < len(words) else "#"
        names += [f"{step}={near}", f"{step}:{near[-3:]}"]
    names.append(f"-1,0={words[i - 1].lower() if i else '#'} {word.lower()}")
    return dict.fromkeys(names, 1)


def cross_probabilities(docs: list[Document], tags: list[str], seed: int) -> list[np.ndarray]:
    """Probabilities (words, L) of each document, by a classifier that has not seen it."""
    from sklearn.feature_extraction import FeatureHasher
    from sklearn.linear_model import SGDClassifier

    rows, targets, owner, lengths = [], [], [], []
    for number, doc in enumerate(docs):
        offsets = doc_words(doc)
        words = [doc.text[start:end] for start, end in offsets]
        rows += [features(words, i) for i in range(len(words))]
        targets += [tags.index(tag) for tag in spans_to_tags(fit_spans(doc)[0], offsets)]
        owner += [number] * len(words)
        lengths.append(len(words))
    matrix = FeatureHasher(2**17).transform(rows)
    targets, owner = np.array(targets), np.array(owner)
    found = np.full((len(targets), len(tags)), 1e-6)
    for part in split_docs(docs, (0.2,) * 5, seed=seed):
        ids = {doc.id for doc in part}
        held_out = np.isin(owner, [i for i, doc in enumerate(docs) if doc.id in ids])
        model = SGDClassifier(loss="log_loss", alpha=3e-6, max_iter=8, tol=None, random_state=seed)
        model.fit(matrix[~held_out], targets[~held_out])
        found[np.ix_(held_out, model.classes_)] += model.predict_proba(matrix[held_out])
    found /= found.sum(axis=1, keepdims=True)
    return np.split(found, np.cumsum(lengths)[:-1])


def cleanlab_places(docs, probabilities, tags, method: str) -> list[tuple[str, int, int]]:
    """Words in the order in which cleanlab suspects them; neighbours of one named are left out."""
    from cleanlab.token_classification.rank import get_label_quality_scores

    labels = []
    for doc in docs:
        found = spans_to_tags(fit_spans(doc)[0], doc_words(doc))
        labels.append([tags.index(tag) for tag in found])
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


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="a folder of brat files")
    parser.add_argument("--types", type=int, default=8, help="how many of the commonest types")
    parser.add_argument("--share", type=float, default=0.05, help="share of mentions to spoil")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    clean = flat_corpus(args.data, args.types)
    labels = list(count_labels(clean))
    tags = ["O", *(f"{letter}-{label}" for label in labels for letter in "BI")]
    rows = {}
    for seed in args.seeds:
        rng = random.Random(seed)
        pairs = [plant(doc, args.share, labels, rng) for doc in clean]
        docs, planted = [doc for doc, _ in pairs], {doc.id: errors for doc, errors in pairs}
        number = sum(map(len, planted.values()))
        probabilities = cross_probabilities(docs, tags, seed)
        logs = [np.log(p) for p in probabilities]
        both = suspicious_gold(docs, scores=logs, tags=tags)
        rankings = {
            "suspicious_gold": both,
            "suspicious_gold without a model": suspicious_gold(docs),
        }
        rankings = {
            name: [(s.doc_id, s.start, s.end) for s in found] for name, found in rankings.items()
        }
        for method in ("self_confidence", "normalized_margin"):
            rankings[f"cleanlab {method}"] = cleanlab_places(docs, probabilities, tags, method)
        for name, places in rankings.items():
            rows[f"{name}, seed {seed}"] = {"planted": number} | judge(places, planted, number)
    table = Scores(rows, f"{len(clean)} documents, {sum(count_labels(clean).values()):,} mentions")
    print(table)
    with open_atomic(HERE / "results" / "label_errors.json") as file:
        json.dump({"caption": table.caption, "rows": table.to_dict()}, file, indent=1)


if __name__ == "__main__":
    main()
