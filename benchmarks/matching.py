"""One pair of gold and found documents by every way of matching: how far the scores lie apart.

Prints the table of chapter `metrics` ("One pair, one truth, and yet"), on case reports with the
types of n2c2 2018 and a system with planted mistakes.

    python benchmarks/matching.py --data DATA/n2c2_format_derived
"""

import argparse
import warnings
from pathlib import Path

from clinical_ner.formats import read_brat
from clinical_ner.metrics import evaluate, n2c2_scores, semeval_scores, seqeval_scores


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, type=Path, help="folder with gold/ and system/")
    args = parser.parse_args()
    gold = read_brat(args.data / "gold")
    found = read_brat(args.data / "system", texts=args.data / "gold")
    one_to_one, official = evaluate(gold, found), n2c2_scores(gold, found)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        words = seqeval_scores(gold, found)
    rows = {
        "evaluate strict": one_to_one["micro", "strict_f1"],
        "n2c2_scores strict": official["micro", "strict_f1"],
        "semeval_scores strict": semeval_scores(gold, found)["micro", "f1"],
        "seqeval_scores": words["micro", "f1"],
        "evaluate lenient": one_to_one["micro", "lenient_f1"],
        "n2c2_scores lenient": official["micro", "lenient_f1"],
        "semeval_scores type": semeval_scores(gold, found, mode="type")["micro", "f1"],
        "semeval_scores partial": semeval_scores(gold, found, mode="partial")["micro", "f1"],
    }
    for name, score in rows.items():
        print(f"{name:24}{score:.4f}")
    print(f"{len(gold)} documents; {official.caption}; {words.caption}")


if __name__ == "__main__":
    main()
