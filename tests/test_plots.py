"""The charts draw the figures of the tables: bar lengths, points and cells, not pixels."""

import random
from dataclasses import replace

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from clinical_ner import plots
from clinical_ner.core import Document, Span, label_color
from clinical_ner.errors import confusion, find_mistakes
from clinical_ner.formats import read_brat
from clinical_ner.metrics import (
    bootstrap,
    calibration,
    compare_systems,
    evaluate,
    score_thresholds,
)
from clinical_ner.samples import sample_notes


def spoil(docs, seed):
    """Copies of `docs` with spans dropped, relabelled and scored."""
    rng = random.Random(seed)
    labels = sorted({span.label for doc in docs for span in doc.spans})
    result = []
    for doc in docs:
        spans = [span for span in doc.spans if rng.random() > 0.15]
        spans = [
            replace(
                s, label=rng.choice(labels) if rng.random() < 0.2 else s.label, score=rng.random()
            )
            for s in spans
        ]
        result.append(replace(doc, spans=spans))
    return result


GOLD = sample_notes(12)
PRED, OTHER = spoil(GOLD, 0), spoil(GOLD, 1)


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


def many_types(count):
    """One document for each of `count` types, twice, with long and odd names."""
    names = [f"T{i:03d} $x_{i}$ <b>" + " long" * (i % 12) for i in range(count)]
    docs = [Document(str(i), "some words", [Span(0, 4, name)]) for i, name in enumerate(names)]
    return docs + [replace(doc, id=doc.id + "b") for doc in docs], names


def bars(ax):
    """Row number to the widths of its bars, from the top."""
    rows = {}
    for bar in ax.patches:
        rows.setdefault(round(bar.get_y() + bar.get_height() / 2), []).append(bar.get_width())
    return rows


def row_names(ax):
    return [label.get_text() for label in ax.get_yticklabels()]


@pytest.mark.parametrize("figure", ["strict_f1", "lenient_precision"])
def test_bars_are_the_scores_from_high_to_low(figure):
    table = evaluate(GOLD, PRED)
    ax = plots.plot_scores(table, figure=figure)
    names = row_names(ax)
    assert names[:2] == ["micro", "macro"] and sorted(names) == sorted(table.rows)
    widths = [bars(ax)[i] for i in range(len(names))]
    assert widths == [[table[name, figure]] for name in names]
    assert widths[2:] == sorted(widths[2:], reverse=True)


def test_bars_have_the_colours_of_the_text():
    ax = plots.plot_scores(evaluate(GOLD, PRED))
    for name, bar in zip(row_names(ax), ax.patches):
        if name not in ("micro", "macro"):
            assert to_hex(bar.get_facecolor()) == label_color(name).lower()


def test_intervals_are_those_of_the_table():
    table = bootstrap(GOLD, PRED, resamples=50)
    ax = plots.plot_scores(table)
    ends = [line.get_segments()[0][:, 0] for c in ax.containers for line in c.get_children()
            if hasattr(line, "get_segments")]  # fmt: skip
    wanted = [[table[n, "strict_f1_low"], table[n, "strict_f1_high"]] for n in row_names(ax)]
    assert np.allclose(ends, wanted)


def test_two_systems_stand_side_by_side():
    first, second = evaluate(GOLD, PRED), evaluate(GOLD, OTHER)
    ax = plots.plot_scores(first, second, names=("one", "two"))
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["one", "two"]
    for i, name in enumerate(row_names(ax)):
        drawn = sorted(
            (b.get_y(), b.get_width()) for b in ax.patches if abs(b.get_y() + 0.19 - i) < 0.5
        )
        assert [width for _, width in drawn] == [
            first[name, "strict_f1"],
            second[name, "strict_f1"],
        ]


def test_a_comparison_has_its_p_values():
    table = compare_systems(GOLD, PRED, OTHER, resamples=50)
    ax = plots.plot_scores(table)
    written = [text.get_text() for text in ax.texts]
    assert f"p = {table['micro', 'strict_f1_p']:.3f}" in written[0] and len(ax.patches) == 22


def test_types_left_out_are_counted():
    ax = plots.plot_scores(evaluate(GOLD, PRED), most=3)
    assert len(row_names(ax)) == 5 and "6 types not shown" in ax.get_xlabel()


def test_an_unknown_figure_is_an_error():
    with pytest.raises(ValueError, match="no column 'f2'; it has strict_precision"):
        plots.plot_scores(evaluate(GOLD, PRED), figure="f2")


def test_cells_are_the_confusions():
    mistakes = find_mistakes(GOLD, PRED)
    table, ax = confusion(mistakes), plots.plot_confusion(mistakes)
    rows, columns = row_names(ax), [label.get_text() for label in ax.get_xticklabels()]
    written = {text.get_position(): text.get_text() for text in ax.texts}
    for i, gold in enumerate(rows):
        for j, found in enumerate(columns):
            count = table[gold, found]
            assert written.get((j, i), "0") == f"{count:,}"
    assert rows[-1] == "spurious" and columns[-1] == "missed"
    assert plots.plot_confusion(table).texts[0].get_text() == ax.texts[0].get_text()


def test_other_types_are_added_up():
    mistakes = find_mistakes(GOLD, PRED)
    ax = plots.plot_confusion(mistakes, most=4)
    assert row_names(ax)[4] == "others (5 types)"
    written = sum(int(text.get_text().replace(",", "")) for text in ax.texts)
    assert written == sum(sum(row.values()) for row in confusion(mistakes).rows.values())


def test_stacks_are_the_kinds_of_mistakes():
    mistakes = find_mistakes(GOLD, PRED)
    ax = plots.plot_mistakes(mistakes)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    counts = mistakes.counts()
    assert f"missed ({counts['missed', 'cases']:,})" in labels
    totals = [sum(bars(ax)[i]) for i in range(len(row_names(ax)))]
    assert totals == sorted(totals, reverse=True)
    assert sum(totals) == counts["all", "cases"] - counts["correct", "cases"]


def test_no_mistakes_is_an_empty_chart():
    ax = plots.plot_mistakes(find_mistakes(GOLD, GOLD))
    assert not ax.patches and row_names(ax) == []


@pytest.mark.parametrize("count", [41, 127])
def test_many_types_have_a_row_each_and_a_figure_that_grows(count):
    docs, names = many_types(count)
    wrong = [replace(doc, spans=[replace(doc.spans[0], label=names[0])]) for doc in docs]
    mistakes = find_mistakes(docs, wrong)
    for ax in (
        plots.plot_scores(evaluate(docs, docs)),
        plots.plot_confusion(mistakes),
        plots.plot_mistakes(mistakes),
        plots.plot_corpus({"train": docs}),
    ):
        ax.figure.canvas.draw()
        assert len(row_names(ax)) >= count - 1
        assert ax.figure.get_figheight() > 0.14 * count and ax.figure.get_figwidth() <= 10


def test_with_very_many_types_each_row_names_its_commonest_mistake():
    docs, names = many_types(127)
    wrong = [replace(doc, spans=[replace(doc.spans[0], label=names[0])]) for doc in docs]
    ax = plots.plot_confusion(find_mistakes(docs, wrong))
    assert [text.get_text() for text in ax.texts] == [f"{plots._short(names[0], 30)} 2"] * 126


def test_a_history_is_drawn_with_its_best_epoch():
    history = pd.DataFrame({"epoch": [1, 2, 3], "loss": [3, 2, 1], "f1": [0.1, 0.5, 0.4]})
    ax = plots.plot_history(history, columns=["f1", "loss"])
    assert list(ax.lines[0].get_ydata()) == [0.1, 0.5, 0.4]
    assert list(ax.lines[2].get_xdata()) == [2, 2]
    with pytest.raises(ValueError, match="no column 'recall'"):
        plots.plot_history(history, columns=["recall"])


def test_points_are_the_bins_of_the_calibration():
    tables = [calibration(GOLD, PRED), calibration(GOLD, OTHER)]
    ax = plots.plot_calibration(tables, names=["a", "b"])
    for table, points in zip(tables, ax.collections):
        rows = [row for name, row in table.rows.items() if name != "all"]
        assert np.allclose(points.get_offsets(), [[r["score"], r["precision"]] for r in rows])
    assert f"a: gap {tables[0]['all', 'gap']:.3f}" == ax.get_legend().get_texts()[0].get_text()


def test_lines_are_the_thresholds():
    table = score_thresholds(GOLD, PRED)
    ax = plots.plot_threshold(table)
    for line, name in zip(ax.lines, ("precision", "recall", "f1")):
        assert list(line.get_ydata()) == [row[name] for row in table.rows.values()]
        assert list(line.get_xdata()) == [float(key) for key in table.rows]


def test_a_learning_curve_has_the_middle_and_the_band():
    small, large = evaluate(GOLD, PRED), evaluate(GOLD, OTHER)
    ax = plots.plot_learning_curve({20: large, 10: [small, large]}, row="Drug")
    values = [table["Drug", "strict_f1"] for table in (small, large)]
    assert list(ax.lines[0].get_xdata()) == [10, 20]
    assert np.allclose(ax.lines[0].get_ydata(), [np.mean(values), values[1]])
    heights = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert heights.min() == min(values) and heights.max() == max(values)
    interval = bootstrap(GOLD, PRED, resamples=50)
    ax = plots.plot_learning_curve({1: interval, 2: interval})
    heights = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert heights.max() == interval["micro", "strict_f1_high"]


def test_lengths_are_counted():
    ax = plots.plot_lengths(GOLD, length=lambda doc: len(doc.text), limit=2_000)
    longer = sum(len(doc.text) > 2_000 for doc in GOLD)
    assert f"{longer} are longer than 2,000" in ax.get_title("left")
    assert sum(bar.get_height() for bar in ax.patches) == len(GOLD)
    ax = plots.plot_lengths(GOLD, of="mentions")
    one = sum(len(doc.text[s.start : s.end].split()) == 1 for doc in GOLD for s in doc.spans)
    assert ax.patches[0].get_height() == one
    assert plots.plot_lengths([]).get_title("left") == "no documents"


def test_a_corpus_is_counted():
    corpus = {"train": GOLD[:8], "test": GOLD[8:]}
    ax = plots.plot_corpus(corpus)
    for i, name in enumerate(row_names(ax)):
        counts = [sum(s.label == name for d in docs for s in d.spans) for docs in corpus.values()]
        assert bars(ax)[i] == counts
    ax = plots.plot_corpus(corpus, show="sizes")
    assert bars(ax) == {0: [8], 1: [4]}
    ax = plots.plot_corpus(corpus, show="shares")
    shares = np.array([points.get_offsets()[:, 0] for points in ax.collections[1:]])
    assert np.allclose(shares.sum(axis=1), 1)
    ax = plots.plot_corpus({"train": GOLD, "test": GOLD[:2]}, show="overlap")
    assert bars(ax) == {0: [1.0, 0.0, 0.0]}
    ax = plots.plot_corpus(corpus, most=2)
    assert row_names(ax)[2] == "others (7 types)"


def test_charts_are_drawn_where_they_are_asked_to():
    mistakes, table = find_mistakes(GOLD, PRED), evaluate(GOLD, PRED)
    history = pd.DataFrame({"epoch": [1], "precision": [1], "recall": [1], "f1": [1]})
    for draw in (
        lambda ax: plots.plot_scores(table, ax=ax),
        lambda ax: plots.plot_confusion(mistakes, ax=ax),
        lambda ax: plots.plot_mistakes(mistakes, ax=ax),
        lambda ax: plots.plot_history(history, ax=ax),
        lambda ax: plots.plot_calibration(calibration(GOLD, PRED), ax=ax),
        lambda ax: plots.plot_threshold(score_thresholds(GOLD, PRED), ax=ax),
        lambda ax: plots.plot_learning_curve({3: table}, ax=ax),
        lambda ax: plots.plot_lengths(GOLD, ax=ax),
        lambda ax: plots.plot_corpus({"train": GOLD}, ax=ax),
    ):
        before = plt.subplots()[1]
        assert draw(before) is before
        before.figure.canvas.draw()


def test_nested_types_of_a_real_corpus(data_dir):
    docs = read_brat(data_dir / "maccrobat2020", mismatch="warn")
    ax = plots.plot_corpus({"all": docs})
    assert len(row_names(ax)) == 41
    assert sum(bar.get_width() for bar in ax.patches) == sum(len(doc.spans) for doc in docs)
