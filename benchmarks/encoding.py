"""What BIO tags over words lose of real corpora, by reason, and the ceiling they put on any score.

Once with one tag a word, once with tags for each type, which hold mentions of different types that
overlap.

The table goes to `benchmarks/results/encoding.json`.

    python benchmarks/encoding.py --data DATA
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

from tables import machine

from clinical_ner.core import Document, open_atomic
from clinical_ner.formats import read_brat, read_conll, read_pubtator
from clinical_ner.metrics import encoding_ceiling

HERE = Path(__file__).parent
CORPORA: dict[str, tuple[str, Callable[[Path], list[Document]]]] = {
    "MACCROBAT2020 (149 documents, 41 types)": ("maccrobat2020", read_brat),
    "MEDDOCAN (25 documents)": ("meddocan_es", read_brat),
    "NCBI-disease train, PubTator": (
        "ncbi_disease/pubtator/NCBItrainset_corpus.txt",
        read_pubtator,
    ),
    "NCBI-disease train, IOB": ("ncbi_disease/iob/train.tsv", read_conll),
    "MedMentions dev, CoNLL": ("medmentions/conll/mm_ner_sts.dev.conll", read_conll),
    "MACCROBAT in the n2c2 format": ("n2c2_format_derived/gold", read_brat),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, type=Path, help="folder that holds the corpora")
    args = parser.parse_args()
    results = {"machine": machine("numpy")}
    for name, (place, read) in CORPORA.items():
        docs = read(args.data / place)
        ceiling = encoding_ceiling(docs)
        each = encoding_ceiling(docs, per_type=True)
        print(f"{name}: {len(docs):,} documents\n  {ceiling}\n  tags for each type: {each}")
        results[name] = {
            "documents": len(docs),
            "mentions": sum(len(doc.spans) for doc in docs),
            "losses": ceiling.losses,
            "ceiling_f1": ceiling.f1,
            "losses_per_type": each.losses,
            "ceiling_f1_per_type": each.f1,
        }
    with open_atomic(HERE / "results" / "encoding.json") as file:
        json.dump(results, file, indent=1)


if __name__ == "__main__":
    main()
