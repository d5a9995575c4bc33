"""`seqeval_report` against seqeval 1.2.2: every short sequence, random ones, its own test inputs."""

import random
import re
import warnings
from itertools import product

import numpy as np
import pytest
from seqeval import scheme as seqeval_schemes
from seqeval.metrics import classification_report, f1_score

from clinical_ner.metrics import seqeval_report

SCHEMES = ("IOB1", "IOB2", "IOE1", "IOE2", "IOBES", "BILOU")
READINGS = [(None, None), ("strict", None), *(("strict", scheme) for scheme in SCHEMES)]


def reference(y_true, y_pred, mode, scheme):
    """The report of seqeval as plain numbers, or None where it raises; its NaN is our 0."""
    chosen = scheme and getattr(seqeval_schemes, scheme)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            report = classification_report(
                y_true, y_pred, output_dict=True, mode=mode, scheme=chosen, zero_division=0
            )
        except (ValueError, KeyError, TypeError, IndexError):
            return None
    return {
        name: {key: 0.0 if value != value else value for key, value in row.items()}
        for name, row in report.items()
    }


def ours(y_true, y_pred, mode, scheme):
    """Our report, or None where it raises `ValueError`; a warning is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return seqeval_report(y_true, y_pred, mode=mode, scheme=scheme)
        except ValueError:
            return None


def assert_equal(y_true, y_pred, readings=READINGS):
    for mode, scheme in readings:
        mine, theirs = ours(y_true, y_pred, mode, scheme), reference(y_true, y_pred, mode, scheme)
        assert mine == theirs, (y_true, y_pred, mode, scheme)
        assert mine is None or list(mine) == list(theirs)


def random_tags(rng, letters, types, length):
    tags = []
    for _ in range(length):
        letter = rng.choice(letters)
        bare = letter == "O" or rng.random() < 0.03
        tags.append(letter if bare else f"{letter}-{rng.choice(types)}")
    return tags


def random_pair(rng):
    """Gold and found tags of up to 5 sequences: valid, broken, or of unheard-of letters."""
    letters = rng.choice(
        ["BIO", "IO", "BO", "IOE", "EO", "BIOES", "BILOU", "BIOESUL", "BIOX.", "S"]
    )
    types = rng.choice([["A"], ["A", "B"], ["A", "B-1", "-B", "C-"], ["T1", "T2", "T10", "ä"]])
    lengths = [rng.randint(0, 12) for _ in range(rng.randint(1, 5))]
    y_true = [random_tags(rng, letters, types, length) for length in lengths]
    y_pred = [
        [tag if rng.random() < 0.7 else random_tags(rng, letters, types, 1)[0] for tag in tags]
        for tags in y_true
    ]
    return y_true, y_pred


@pytest.mark.parametrize(("mode", "scheme"), READINGS)
def test_every_sequence_of_up_to_three_tags(mode, scheme):
    """All tags of all letters with two types or none: each as gold and as found, all together."""
    letters = {"BILOU": "BILU", None: "BIES"}.get(scheme, "BIES")
    if scheme in ("IOB1", "IOB2", "IOE1", "IOE2"):
        letters = "I" + scheme[2]
    tags = ["O", *(f"{letter}{kind}" for letter in letters for kind in ("", "-PER", "-ORG"))]
    sequences = [list(seq) for length in range(4) for seq in product(tags, repeat=length)]
    shuffled = sequences[:]
    random.Random(0).shuffle(shuffled)
    by_length = sorted(shuffled, key=len)
    assert_equal(sorted(sequences, key=len), by_length, [(mode, scheme)])
    for seq in sequences[: 1 + len(tags) + len(tags) ** 2]:
        assert_equal([seq], [seq], [(mode, scheme)])


@pytest.mark.parametrize("seed", range(8))
def test_random_sequences(seed):
    rng = random.Random(seed)
    for _ in range(250):
        assert_equal(*random_pair(rng))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 125))
def test_many_random_sequences(seed):
    rng = random.Random(seed)
    for _ in range(1000):
        assert_equal(*random_pair(rng))


OWN_INPUTS = [  # those of seqeval's own tests and docstrings
    ([[]], [[]]),
    ([["B-PER"]], [["B-ORG"]]),
    ([["B-PER", "O"]], [["B-PER", "O"]]),
    ([["O"]], [["O"]]),
    ([["B-PER"]], [["B-PER", "O"]]),
    ([["B-A", "B-B", "O", "B-A"]], [["O", "B-B", "B-C", "B-A"]]),
    (
        [["O", "O", "O", "B-MISC", "I-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"]],
        [["O", "O", "B-MISC", "I-MISC", "I-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"]],
    ),
    (
        [["O", "O", "B-MISC", "I-MISC", "B-MISC", "O", "O"], ["B-PER", "I-PER", "O"]],
        [["O", "O", "B-MISC", "I-MISC", "B-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"]],
    ),
    (
        [["O", "O", "O", "B-MISC", "I-MISC", "O", "B-ORG"], ["B-PER", "I-PER", "O"]],
        [["O", "O", "B-MISC", "I-MISC", "I-MISC", "O", "O"], ["B-PER", "I-PER", "O"]],
    ),
    ([["I-ORG-COMPANY", "I-組織", "I", "O"]], [["I-ORG-COMPANY", "I-組織", "O", "I"]]),
    ([["B-PER", "I-PER", "O", "B-LOC"]], [["B-PER", "I-PER", "O", "B-LOC"]]),
]


@pytest.mark.parametrize(("y_true", "y_pred"), OWN_INPUTS)
def test_inputs_of_its_own_tests(y_true, y_pred):
    assert_equal(y_true, y_pred)


@pytest.mark.parametrize("letters", ["BIO", "EIO"])
def test_its_statistical_test(letters):
    """A thousand random tags in sequences of about twenty, as its comparison with conlleval."""
    rng = random.Random(letters)
    for _ in range(20):
        sequences = [[], []]
        lengths = [rng.randint(1, 40) for _ in range(50)]
        for side in sequences:
            side.extend(
                random_tags(rng, letters, ["PER", "MISC", "ORG", "LOC"], n) for n in lengths
            )
        assert_equal(*sequences, [(None, None)])


def test_ids_give_what_strings_give():
    labels = ["O", "B-A", "I-A", "B-B", "I-B"]
    rng = np.random.default_rng(0)
    for n in (0, 1, 7):
        ids = [[rng.integers(0, 5, size) for size in (n, 3, 0, 11)] for _ in (0, 1)]
        tags = [[[labels[i] for i in row] for row in side] for side in ids]
        for mode in (None, "strict"):
            expected = seqeval_report(*tags, mode=mode, scheme="IOB2")
            assert seqeval_report(*ids, mode=mode, scheme="IOB2", labels=labels) == expected
            lists = [[row.tolist() for row in side] for side in ids]
            assert seqeval_report(*lists, mode=mode, scheme="IOB2", labels=labels) == expected


def test_padding_is_left_out():
    labels = ["O", "B-A", "I-A"]
    true = np.array([[-100, 1, 2, -100, 0], [-100, 1, -100, -100, -100]])
    pred = np.array([[1, 1, 2, 2, 1], [0, 1, 1, 1, 1]])
    expected = seqeval_report([["B-A", "I-A", "O"], ["B-A"]], [["B-A", "I-A", "B-A"], ["B-A"]])
    assert seqeval_report(true, pred, labels=labels) == expected


def test_strict_without_a_scheme_follows_the_report_not_f1_score():
    y_true, y_pred = [["O", "B-A", "I-A"]], [["I-A", "O", "O"]]
    y_true, y_pred = [["B-A", "I-A", "O"]], [["I-A", "I-A", "O"]]
    ours_strict = seqeval_report(y_true, y_pred, mode="strict")["micro avg"]["f1-score"]
    assert ours_strict == 0.0 and f1_score(y_true, y_pred, mode="strict") == 1.0


@pytest.mark.parametrize(
    ("y_true", "y_pred", "options", "message"),
    [
        ([], [], {}, "no sequences"),
        ([["O"]], [], {}, "1 sequences, y_pred 0"),
        ([["O"], ["O"]], [["O"], ["O", "O"]], {}, "sequence 1 (counted from 0) has 1 tags"),
        (["O"], ["O"], {}, "must be a list of tags, not one string"),
        ([["O", None]], [["O", "O"]], {}, "is not a string"),
        ([["O", ""]], [["O", "O"]], {}, "or empty"),
        ([["O"]], [["O"]], {"mode": "Strict"}, "unknown mode 'Strict'"),
        ([["O"]], [["O"]], {"scheme": "BIO"}, "use one of IOB1, IOB2"),
        ([["O"]], [["O"]], {"mode": "strict"}, "give scheme="),
        ([["E-A"]], [["O"]], {"mode": "strict", "scheme": "IOB2"}, "y_true has 1 tags that do not"),
        ([["O"]], [["O"]], {"labels": ["O"]}, "must hold whole numbers, not tags"),
        ([[0]], [[7]], {"labels": ["O"]}, "y_pred holds ids outside 0 to 0"),
    ],
)
def test_errors_say_what_to_do(y_true, y_pred, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        seqeval_report(y_true, y_pred, **options)
