"""AnomalyResults from small made-up images: figures against scikit-learn, rows, curves, outcomes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.metrics import (
    auc,
    average_precision_score,
    f1_score,
    precision_recall_curve,
    precision_score,
    recall_score,
    roc_auc_score,
    roc_curve,
)

from fiftyone_segad.evaluation.evaluate import resolution_warning
from fiftyone_segad.evaluation.results import AnomalyResults
from fiftyone_segad.metrics.names import METRIC_NAMES
from made_results import (
    PIXEL_THRESHOLD,
    Picture,
    aupro,
    best_f1,
    make_pictures,
    overlap_curve,
    pimo,
    pixels_of,
    results_of,
    scores_only,
    truth_and_scores,
)


@pytest.mark.parametrize(
    ("defect", "category", "images", "defects"),
    [
        (None, None, 14, 11),
        ("dent", None, 14, 8),
        ("scratch", None, 14, 3),
        (None, "nut", 5, 4),
        ("dent", "bolt", 9, 4),
    ],
)
def test_metrics_equal_scikit_learn(defect: str | None, category: str | None, images: int, defects: int) -> None:
    pictures = make_pictures()
    selected = [
        p for p in pictures if category in (None, p.category) and (not p.defective or defect in (None, p.defect))
    ]
    metrics = results_of(pictures).metrics(defect, category)
    assert tuple(metrics) == METRIC_NAMES
    assert (metrics["n_normal"], metrics["n_anomalous"]) == (images, defects)
    truth, scores = truth_and_scores(selected)
    flagged = [picture.flagged for picture in selected]
    assert 0 < sum(flagged) < len(flagged)
    mask, anomaly = pixels_of(selected)
    expected = {
        "image_auroc": roc_auc_score(truth, scores),
        "image_ap": average_precision_score(truth, scores),
        "image_f1max": best_f1(truth, scores),
        "pixel_auroc": roc_auc_score(mask, anomaly),
        "pixel_ap": average_precision_score(mask, anomaly),
        "pixel_f1max": best_f1(mask, anomaly),
        "aupro_30": aupro(selected, 0.3),
        "aupro_05": aupro(selected, 0.05),
        "aupimo": pimo(selected),
        "precision": precision_score(truth, flagged),
        "recall": recall_score(truth, flagged),
        "fpr": np.mean([p.flagged for p in selected if not p.defective]),
        "image_f1": f1_score(truth, flagged),
        "pixel_f1": f1_score(mask, anomaly > PIXEL_THRESHOLD),
    }
    for name, value in expected.items():
        assert metrics[name] == pytest.approx(value, abs=1e-9), name
    false = defects + sum(p.flagged and not p.defective for p in selected)  # one in each defective image
    assert metrics["region_precision"] == pytest.approx(3 * defects / (3 * defects + false))
    assert metrics["region_recall"] == pytest.approx(2 / 3)


def test_figures_by_hand() -> None:
    metrics = scores_only(
        ("a", 0.9, True, True), ("b", 0.8, False, True), ("c", 0.5, True, False), ("d", 0.1, False, False)
    ).metrics()
    assert metrics["image_auroc"] == 3 / 4
    assert metrics["image_ap"] == pytest.approx((1 + 2 / 3) / 2)
    assert (metrics["precision"], metrics["recall"], metrics["fpr"], metrics["image_f1"]) == (
        1 / 2,
        1 / 2,
        1 / 2,
        1 / 2,
    )
    assert metrics["image_f1max"] == pytest.approx(4 / 5)  # the three highest: two of two found, one false alarm
    # One pixel an image: the pixels' figures are those of the images
    assert metrics["pixel_auroc"] == 3 / 4
    assert metrics["pixel_f1"] == 1 / 2
    assert (metrics["region_precision"], metrics["region_recall"], metrics["region_f1"]) == (1 / 2, 1 / 2, 1 / 2)


def test_a_kind_of_defect_that_is_absent_has_no_figures() -> None:
    metrics = results_of(make_pictures()).metrics("scratch", "nut")
    assert (metrics["n_normal"], metrics["n_anomalous"], metrics["image_auroc"]) == (5, 0, None)
    assert metrics["fpr"] is not None


def test_names_that_nothing_has_are_refused() -> None:
    results = results_of(make_pictures())
    for defect, category, message in (
        ("scrach", None, rf"defect='scrach' is not among the evaluated images; there are \{results.defects}"),
        ("good", None, "defect='good' is not among"),
        (None, "screw", r"category='screw' is not among .* there are \['bolt', 'nut'\]"),
    ):
        with pytest.raises(ValueError, match=message):
            results.metrics(defect, category)
    with pytest.raises(ValueError, match="category='screw' is not among"):
        results.curve("roc", "screw")


def test_aupimo_is_measured_on_the_normal_images_of_the_same_product() -> None:
    def flat(id: str, category: str, defect: str, level: float, peak: float) -> Picture:
        mask = np.zeros((2, 4), bool)
        mask[0] = defect != "good"
        return Picture(id, category, defect, np.where(mask, [peak, level, peak, level], level).astype(np.float32), mask)

    normal = [flat("0", "bolt", "good", 0.25, 0), flat("1", "nut", "good", 0.5, 0)]
    defective = [flat("2", "bolt", "dent", 0.375, 0.75), flat("3", "nut", "dent", 0.375, 0.75)]
    results = results_of([*normal, *defective])
    assert results.images["2"].aupimo == 1, "all of the defect is above 0.25"
    assert results.images["3"].aupimo == 1 / 2, "half of it is above 0.5"
    assert results.images["0"].aupimo is None
    assert results.metrics()["aupimo"] == 3 / 4
    assert results.metrics(category="nut")["aupimo"] == 1 / 2


def test_rows_of_several_categories() -> None:
    results = results_of(make_pictures())
    assert (results.categories, results.defects) == (["bolt", "nut"], ["dent", "scratch"])
    rows = results.rows()
    assert [(row["category"], row["defect"]) for row in rows] == [
        ("bolt", "dent"),
        ("bolt", "scratch"),
        ("bolt", "all"),
        ("nut", "dent"),
        ("nut", "all"),
        ("mean", "all"),
        ("all", "all"),
    ]
    parts = [("dent", "bolt"), ("scratch", "bolt"), (None, "bolt"), ("dent", "nut"), (None, "nut")]
    for row, (defect, category) in zip(rows, parts, strict=False):
        metrics = results.metrics(defect, category)
        assert {name: row[name] for name in METRIC_NAMES} == metrics
    bolt, nut, mean, total = rows[2], rows[4], rows[5], rows[6]
    assert {name: total[name] for name in METRIC_NAMES} == results.metrics()
    for name in METRIC_NAMES:
        if name.startswith("n_"):
            assert mean[name] == bolt[name] + nut[name] == total[name]
        else:
            assert mean[name] == pytest.approx((bolt[name] + nut[name]) / 2), name
    assert mean["pixel_auroc"] != pytest.approx(total["pixel_auroc"], abs=1e-6), "products differ in level"


def test_the_mean_is_over_the_categories_that_have_the_metric() -> None:
    results = results_of(
        make_pictures([("bolt", "good", 4), ("bolt", "dent", 3), ("nut", "good", 5), ("tin", "dent", 2)])
    )
    bolt, nut, tin, mean = (row for row in results.rows() if row["defect"] == "all" and row["category"] != "all")
    assert mean["category"] == "mean"
    assert nut["image_auroc"] is tin["image_auroc"] is None
    assert mean["image_auroc"] == bolt["image_auroc"]
    assert mean["fpr"] == pytest.approx((bolt["fpr"] + nut["fpr"]) / 2)
    assert mean["recall"] == pytest.approx((bolt["recall"] + tin["recall"]) / 2)
    assert (mean["n_normal"], mean["n_anomalous"]) == (9, 5)


@pytest.mark.parametrize("category", ["", "bolt"])
def test_rows_of_one_category_or_none(category: str) -> None:
    results = results_of(make_pictures([(category, "good", 4), (category, "dent", 2), (category, "cut", 2)]))
    expected = [(category, "cut"), (category, "dent"), ("all", "all")]
    assert [(row["category"], row["defect"]) for row in results.rows()] == expected
    assert results.categories == ([category] if category else [])


def test_outcomes_and_their_ids() -> None:
    results = scores_only(
        ("a", 0.1, True, False),
        ("b", 0.8, True, True),
        ("c", 0.9, True, True),
        ("d", 0.95, False, True),
        ("e", 0.2, True, False),
        ("f", 0.3, False, False),
        ("g", 0.99, False, True),
    )
    assert results.outcomes == {"a": "FN", "b": "TP", "c": "TP", "d": "FP", "e": "FN", "f": "TN", "g": "FP"}
    assert [results.ids(outcome) for outcome in ("TP", "FP", "FN", "TN")] == [["c", "b"], ["g", "d"], ["e", "a"], ["f"]]
    assert results.images["g"].group == ("", "good")
    with pytest.raises(ValueError, match=r"no outcome 'tp'; use one of \['TP', 'FP', 'FN', 'TN'\]"):
        results.ids("tp")


def test_regions_by_size() -> None:
    pictures = make_pictures()
    rows = results_of(pictures).regions()
    assert [row["size"] for row in rows] == ["small", "medium", "large", "all"]
    small, medium, large, total = rows
    alarms = sum(p.flagged and not p.defective for p in pictures)
    assert alarms > 0
    counts = [(row["found"], row["missed"], row["true"], row["false"]) for row in rows]
    assert counts == [(11, 11, 22, 11 + alarms), (0, 0, 0, 0), (11, 0, 11, 0), (22, 11, 33, 11 + alarms)]
    assert (small["recall"], large["recall"], total["recall"]) == (1 / 2, 1, 2 / 3)
    assert total["precision"] == 33 / (44 + alarms)
    assert (medium["precision"], medium["recall"], medium["f1"]) == (None, None, None)


@pytest.mark.parametrize("category", [None, "nut"])
def test_curves_equal_scikit_learn(category: str | None) -> None:
    pictures = make_pictures()
    results = results_of(pictures)
    selected = [picture for picture in pictures if category in (None, picture.category)]
    truth, scores = truth_and_scores(selected)
    mask, anomaly = pixels_of(selected)

    fpr, tpr, _ = roc_curve(truth, scores, drop_intermediate=False)
    x, y = results.curve("roc", category)
    np.testing.assert_allclose([x, y], [fpr, tpr], atol=1e-12)
    assert auc(x, y) == pytest.approx(roc_auc_score(truth, scores))

    precision, recall, _ = precision_recall_curve(truth, scores, drop_intermediate=False)
    x, y = results.curve("pr", category)
    # scikit-learn begins with all flagged, and ends with a point of its own for nothing flagged
    np.testing.assert_allclose([x[::-1], y[::-1]], [recall[:-1], precision[:-1]], atol=1e-12)
    area = float(np.sum(np.diff(x, prepend=0) * y))
    assert area == pytest.approx(average_precision_score(truth, scores))

    x, y = results.curve("pixel_roc", category)
    assert (np.diff(x) >= 0).all() and (np.diff(y) >= 0).all()
    assert (x[0], y[0], x[-1], y[-1]) == pytest.approx((0, 0, 1, 1))
    assert auc(x, y) == pytest.approx(roc_auc_score(mask, anomaly))

    x, y = results.curve("pro", category)
    fpr, overlap = overlap_curve(selected)
    points = {(round(a, 9), round(b, 9)) for a, b in zip(x, y, strict=True)}
    assert points == {(round(a, 9), round(b, 9)) for a, b in zip(fpr, overlap, strict=True)}


def test_curves_of_one_class_are_empty() -> None:
    normal = results_of(make_pictures([("", "good", 3)]))
    defective = results_of(make_pictures([("", "dent", 3)]))
    for name in ("roc", "pr", "pixel_roc", "pro"):
        assert [len(axis) for axis in normal.curve(name)] == [0, 0]
    for name, empty in (("roc", True), ("pr", True), ("pixel_roc", False), ("pro", False)):
        assert all((len(axis) == 0) == empty for axis in defective.curve(name)), name
    with pytest.raises(ValueError, match=r"no curve 'prc'; there are \['roc', 'pr', 'pixel_roc', 'pro'\]"):
        normal.curve("prc")


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        pytest.param([(300, 333)], "99900 pixels", id="fewer than one in 1e-5"),
        pytest.param([(300, 200), (200, 200)], None, id="just enough in two images"),
        pytest.param([], None, id="no normal images"),
    ],
)
def test_few_normal_pixels_are_warned_of(shapes: list[tuple[int, int]], expected: str | None) -> None:
    defective = Picture("x", "", "dent", np.zeros((50, 50), np.float32), np.ones((50, 50), bool))
    normal = [
        Picture(f"{index}", "", "good", np.zeros(shape, np.float32), np.zeros(shape, bool))
        for index, shape in enumerate(shapes)
    ]
    warning = resolution_warning(results_of([*normal, defective]))
    if expected is None:
        assert warning is None
    else:
        assert warning is not None and expected in warning and "aupimo is coarse" in warning


@pytest.mark.parametrize("make", [lambda: results_of([]), lambda: scores_only()])
def test_no_images_at_all(make: Callable[[], AnomalyResults]) -> None:
    metrics = make().metrics()
    assert {metrics[name] for name in METRIC_NAMES if not name.startswith("n_")} == {None}
    assert (metrics["n_normal"], metrics["n_anomalous"]) == (0, 0)
