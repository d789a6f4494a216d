"""Figures of an evaluation: what their traces hold, and what they say where there is nothing to draw."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_curve

from fiftyone_segad.metrics import curves
from fiftyone_segad.visualization import plots
from plotted_results import random_results, results_of


def lines(figure: go.Figure, axis: str = "x") -> list[Any]:
    """The curves of a subplot, without chance and threshold."""
    return [t for t in figure.data if t.mode == "lines" and t.name != "chance" and (t.xaxis or "x") == axis]


def texts(figure: go.Figure) -> str:
    return " ".join(annotation.text for annotation in figure.layout.annotations)


def test_the_curves_of_images_are_those_of_scikit_learn() -> None:
    results, scores, defective = random_results()
    figure = plots.curves(results)
    (roc,), (pr,) = lines(figure), lines(figure, "x3")
    fpr, tpr, _ = roc_curve(defective, scores, drop_intermediate=False)
    assert roc.x == pytest.approx(fpr)
    assert roc.y == pytest.approx(tpr)
    precision, recall, _ = precision_recall_curve(defective, scores)
    assert pr.x[1:] == pytest.approx(recall[-2::-1]), "from the highest score on"
    assert pr.y[1:] == pytest.approx(precision[-2::-1])
    assert pr.line.shape == "vh"
    area = float(np.sum(np.diff(pr.x) * np.array(pr.y[1:])))
    assert area == pytest.approx(average_precision_score(defective, scores)), "the steps enclose the figure above them"
    assert f"AUROC {auc(fpr, tpr):.3f}" in texts(figure)
    assert f"average precision {area:.3f}" in texts(figure)


def test_the_overlap_of_regions_ends_at_its_limit() -> None:
    results, _, _ = random_results()
    figure = plots.curves(results)
    (pro,) = lines(figure, "x2")
    assert (pro.x[0], pro.y[0], pro.x[-1]) == (0, 0, 0.3)
    figures = results.metrics()
    assert auc(pro.x, pro.y) / 0.3 == pytest.approx(figures["aupro_30"], abs=1e-4)
    assert [shape.x0 for shape in figure.layout.shapes if shape.type == "line"] == [0.05]
    assert f"AUPRO {figures['aupro_30']:.3f} up to 0.3, {figures['aupro_05']:.3f} up to 0.05" in texts(figure)


def test_a_diamond_marks_the_threshold() -> None:
    results, scores, defective = random_results()
    flagged = scores > 5
    roc, pr = [trace for trace in plots.curves(results).data if trace.name == "threshold"]
    assert roc.x == pytest.approx((flagged[~defective].mean(),))
    assert roc.y == pytest.approx((flagged[defective].mean(),))
    assert pr.x == roc.y
    assert pr.y == pytest.approx((defective[flagged].mean(),))
    nothing_flagged = plots.curves(results_of([1, 2], [False, True], threshold=9))
    assert [trace.name for trace in nothing_flagged.data].count("threshold") == 1, "there is no precision"


def test_some_of_the_curves() -> None:
    results, _, _ = random_results()
    figure = plots.curves(results, ["pro"])
    assert len(lines(figure)) == 1
    assert "ROC" not in texts(figure)
    with pytest.raises(ValueError, match=r"names=\['area'\] must be some of \['roc', 'pro', 'pr'\]"):
        plots.curves(results, ["area"])


def test_each_category_has_a_line() -> None:
    names = ["cable", "<b>nut"] * 100
    results, scores, defective = random_results(categories=names)
    roc = {line.name: line for line in lines(plots.curves(results))}
    assert set(roc) == {"all", "cable", "&lt;b&gt;nut"}
    cable = np.array(names) == "cable"
    fpr, tpr, _ = roc_curve(defective[cable], scores[cable], drop_intermediate=False)
    assert (roc["cable"].x, roc["cable"].y) == (pytest.approx(fpr), pytest.approx(tpr))
    assert roc["all"].line.width > roc["cable"].line.width


@pytest.mark.parametrize(
    ("defective", "said", "drawn"),
    [
        ([False] * 3, "No defective images here", 0),
        ([True] * 3, "No normal images here", 1),  # their background makes the curve of regions
    ],
)
def test_absent_classes_are_told_in_the_figure(defective: list[bool], said: str, drawn: int) -> None:
    results = results_of([1, 4, 6], defective)
    figure = plots.curves(results)
    assert said in texts(figure)
    assert len([trace for trace in figure.data if trace.mode == "lines"]) == drawn
    name = "normal (none here)" if defective[0] else "anomalous (none here)"
    assert name in [bar.name for bar in plots.scores(results).data]
    bars = plots.defects(results)
    if defective[0]:
        assert bars.data[1].x == (None,)
        assert texts(bars).count("not defined") == 1
    else:
        assert "No defective images" in texts(bars)


def test_thousands_of_images_make_a_small_figure() -> None:
    random = np.random.default_rng(2)
    scores = random.random(6000) * 10
    figure = plots.curves(results_of(scores, scores + random.normal(0, 3, 6000) > 5))
    assert all(len(trace.x) <= curves.MAX_POINTS for trace in figure.data)


def test_no_bar_of_the_scores_is_on_both_sides_of_the_threshold() -> None:
    results, scores, defective = random_results(threshold=5.5)
    assert (scores == 5.5).any(), "an image at the threshold is not flagged"
    figure = plots.scores(results)
    for bar, truth in zip(figure.data, (False, True), strict=True):
        edges, counts = np.array(bar.customdata), np.array(bar.y)
        of_truth = scores[defective == truth]
        assert counts.sum() == len(of_truth)
        assert counts[edges[:, 0] >= 5.5].sum() == (of_truth > 5.5).sum()
        assert ((edges[:, 1] <= 5.5) | (edges[:, 0] >= 5.5)).all()
        inside = (of_truth[:, None] > edges[:, 0]) & (of_truth[:, None] <= edges[:, 1])
        assert np.abs(inside.sum(axis=0) - counts).max() <= 1, "rounding at an edge"
    (line,) = figure.layout.shapes
    assert line.x0 == line.x1 == 5.5
    assert "threshold 5.5 (fpr:0.01)" in texts(figure)


def test_the_name_of_the_threshold_is_above_the_bars() -> None:
    figure = plots.scores(random_results()[0])
    tallest = max(max(trace.y) for trace in figure.data)
    assert figure.layout.yaxis.range[1] > 1.1 * tallest


def test_bars_of_few_images_stay_visible_beside_those_of_many() -> None:
    many = results_of([1.0] * 500 + [9.0], [False] * 500 + [True])
    axis = plots.scores(many).layout.yaxis
    assert axis.type == "log"
    assert axis.range[0] < 0, "a bar of one image has a height"
    assert plots.scores(results_of([1, 9], [False, True])).layout.yaxis.type is None


@pytest.mark.parametrize("threshold", [-1e6, 0.0, 1.0, 5.0, 1e6])
@pytest.mark.parametrize("scores", [[3.0], [3.0, 3.0], [0.0, 0.0], [1.0, 1 + 1e-9], [1, 1, 1, 1, 9]])
def test_scores_that_are_hard_to_bin(scores: list[float], threshold: float) -> None:
    figure = plots.scores(results_of(scores, [False] * len(scores), threshold=threshold))
    assert sum(figure.data[0].y) == len(scores)
    assert len(figure.data[0].y) < 200
    assert "threshold" in texts(figure)
    if abs(threshold) == 1e6:
        assert not figure.layout.shapes, "at its place it would squeeze the bars to nothing"
        assert ("→" if threshold > 0 else "←") in texts(figure)


def test_bars_of_defects() -> None:
    scores = [1, 2, 3, 6, 4, 9, 8]
    kinds = ["good"] * 3 + ["crack", "crack", "blot", "blot"]
    figure = plots.defects(results_of(scores, [kind != "good" for kind in kinds], kinds, threshold=5))
    recall, auroc, aupro = figure.data
    assert list(figure.layout.yaxis.ticktext) == ["blot (2)", "crack (2)", "<b>all</b> (4)"]
    assert recall.x == (1, 0.5, 0.75)
    assert recall.text == ("2 of 2", "1 of 2", "3 of 4")
    assert auroc.x == (1, 1, 1)
    assert aupro.x == pytest.approx([1, 1, 1])


def test_defects_of_several_categories_and_odd_names() -> None:
    long = "scratch_" * 20
    kinds = ["good", "good", "<script>", long + "a", long + "b"]
    figure = plots.defects(
        results_of([1, 2, 6, 7, 8], [False, False, True, True, True], kinds, ["nut", "bolt", "nut", "bolt", "bolt"])
    )
    labels = list(figure.layout.yaxis.ticktext)
    assert labels[2:] == ["nut / &lt;script&gt; (1)", "<b>all</b> (3)"]
    assert labels[0] == labels[1]
    assert len(labels[0]) < 50
    assert len(set(figure.data[0].y)) == 4, "names that are cut alike do not share a bar"


def test_figures_are_light_plain_and_without_background() -> None:
    results, _, _ = random_results()
    for figure in (results.plot_curves(), results.plot_scores(), results.plot_defects()):
        text = figure.to_json()
        assert "bdata" not in text, "the App's plotly.js cannot read packed arrays"
        layout = json.loads(text)["layout"]
        assert layout["paper_bgcolor"] == layout["plot_bgcolor"] == "rgba(0, 0, 0, 0)"
    normal, anomalous = plots.scores(results).data
    assert normal.marker.color != anomalous.marker.color
    assert anomalous.marker.pattern.shape, "told apart without colours too"


def test_no_images_at_all() -> None:
    empty = results_of([], [])
    assert "No images" in texts(plots.scores(empty))
    assert "No defective images" in texts(plots.curves(empty))
