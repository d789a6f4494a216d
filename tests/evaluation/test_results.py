"""AnomalyResults from small made-up images: figures against scikit-learn, rows, curves, reports and intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray
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
from fiftyone_segad.metrics import bootstrap
from fiftyone_segad.metrics.bootstrap import INTERVAL_NAMES
from fiftyone_segad.metrics.confusion import confusion
from fiftyone_segad.metrics.image_result import ImageResult
from fiftyone_segad.metrics.names import METRIC_NAMES
from fiftyone_segad.metrics.pixels import Bins, PixelCounts
from fiftyone_segad.segments.regions import RegionCounts, label_regions
from fiftyone_segad.visualization.text import format_metric

BINS = Bins(0, 1, 65)
"""The maps have 64 levels, so that each is in a bin of its own."""
THRESHOLD, PIXEL_THRESHOLD = 0.7, 0.55

REGIONS = {"small": RegionCounts(found=1, missed=1, true=2, false=1), "large": RegionCounts(found=1, true=1)}
FALSE_ALARM = {"small": RegionCounts(false=1)}


@dataclass
class Picture:
    id: str
    category: str
    defect: str
    anomaly: NDArray[np.float32]
    mask: NDArray[np.bool_]

    @property
    def defective(self) -> bool:
        return self.defect != "good"

    @property
    def score(self) -> float:
        return float(self.anomaly.max())

    @property
    def flagged(self) -> bool:
        return self.score > THRESHOLD


GROUPS = [
    ("bolt", "good", 9),
    ("bolt", "dent", 4),
    ("bolt", "scratch", 3),
    ("nut", "good", 5),
    ("nut", "dent", 4),
]


def pictures(groups: Iterable[tuple[str, str, int]] = GROUPS, seed: int = 0) -> list[Picture]:
    """Maps of noise that are higher on most of a defect, and where the product is a nut."""
    random = np.random.default_rng(seed)
    made = []
    for category, defect, count in groups:
        for _ in range(count):
            mask = np.zeros((16, 20), bool)
            if defect != "good":
                x, y = random.integers(0, 12, 2)
                mask[y : y + 4, x : x + 5] = True
                mask[0, 18] = True
            anomaly = random.normal(0.3 + 0.05 * (category == "nut"), 0.12, mask.shape) + 0.25 * mask
            levels = (np.rint(np.clip(anomaly, 0, 1) * 64) / 64).astype(np.float32)
            made.append(Picture(f"{len(made):02d}", category, defect, levels, mask))
    return made


def image_result(picture: Picture) -> tuple[ImageResult, PixelCounts]:
    counts = PixelCounts.of(BINS, picture.anomaly, picture.mask if picture.defective else None)
    result = ImageResult(
        id=picture.id,
        score=picture.score,
        defective=picture.defective,
        defect=picture.defect,
        category=picture.category,
        flagged=picture.flagged,
        pixels=confusion(picture.anomaly > PIXEL_THRESHOLD, picture.mask),
        regions=REGIONS if picture.defective else FALSE_ALARM if picture.flagged else {},
        normal=counts.normal.astype(np.float32),
        positive=None if counts.defective is None else counts.defective.astype(np.float32),
        overlap=None if counts.overlap is None else counts.overlap.astype(np.float32),
    )
    return result, counts


def results_of(chosen: Iterable[Picture]) -> AnomalyResults:
    results = AnomalyResults("segad", THRESHOLD, "fpr:0.01", "defect_mask", BINS)
    for picture in chosen:
        results.add(*image_result(picture))
    return results


def scores_only(*images: tuple[str, float, bool, bool]) -> AnomalyResults:
    """Images of one pixel, given by id, score, whether defective, and whether flagged; those flagged have a region."""
    outcomes = {
        (True, True): {"small": RegionCounts(found=1, true=1)},
        (True, False): {"small": RegionCounts(missed=1)},
        (False, True): FALSE_ALARM,
        (False, False): {},
    }
    results = AnomalyResults("segad", THRESHOLD, "fpr:0.01", "defect_mask", BINS)
    for id, score, defective, flagged in images:
        mask = np.ones((1, 1), bool) if defective else None
        counts = PixelCounts.of(BINS, np.full((1, 1), score), mask)
        image = ImageResult(
            id=id,
            score=score,
            defective=defective,
            defect="dent" if defective else "good",
            category="",
            flagged=flagged,
            pixels=confusion([flagged], [defective]),
            regions=outcomes[defective, flagged],
            normal=counts.normal.astype(np.float32),
        )
        results.add(image, counts)
    return results


def truth_and_scores(chosen: list[Picture]) -> tuple[list[bool], list[float]]:
    return [each.defective for each in chosen], [each.score for each in chosen]


def pixels_of(chosen: list[Picture]) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    return (
        np.concatenate([each.mask.ravel() for each in chosen]),
        np.concatenate([each.anomaly.ravel() for each in chosen]),
    )


def best_f1(truth: NDArray[np.bool_] | list[bool], scores: NDArray[np.float32] | list[float]) -> float:
    precision, recall, _ = precision_recall_curve(truth, scores)
    return float(np.max(2 * precision * recall / np.maximum(precision + recall, 1e-12)))


def overlap_curve(chosen: list[Picture]) -> tuple[list[float], list[float]]:
    """False-positive rate and mean overlap of regions, level by level."""
    truth, scores = pixels_of(chosen)
    regions = []
    for picture in chosen:
        labels, count = label_regions(picture.mask)
        regions += [picture.anomaly[labels == index] for index in range(1, count + 1)]
    x, y = [0.0], [0.0]
    for level in np.unique(scores)[::-1]:
        x.append(float(np.mean(scores[~truth] >= level)))
        y.append(float(np.mean([np.mean(region >= level) for region in regions])))
    return x, y


def aupro(chosen: list[Picture], limit: float) -> float:
    x, y = overlap_curve(chosen)
    inside = [point for point in zip(x, y, strict=True) if point[0] <= limit] + [(limit, float(np.interp(limit, x, y)))]
    return auc([point[0] for point in inside], [point[1] for point in inside]) / limit


def pimo(chosen: list[Picture]) -> float:
    """So few pixels that only those above every normal image's count; of the product's own normal images."""
    recalls = []
    for picture in (each for each in chosen if each.defective):
        normal = [each.anomaly.max() for each in chosen if each.category == picture.category and not each.defective]
        recalls.append(np.mean(picture.anomaly[picture.mask] > max(normal)))
    return float(np.mean(recalls))


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
    every = pictures()
    chosen = [p for p in every if category in (None, p.category) and (not p.defective or defect in (None, p.defect))]
    metrics = results_of(every).metrics(defect, category)
    assert tuple(metrics) == METRIC_NAMES
    assert (metrics["n_normal"], metrics["n_anomalous"]) == (images, defects)
    truth, scores = truth_and_scores(chosen)
    flagged = [picture.flagged for picture in chosen]
    assert 0 < sum(flagged) < len(flagged)
    mask, anomaly = pixels_of(chosen)
    expected = {
        "image_auroc": roc_auc_score(truth, scores),
        "image_ap": average_precision_score(truth, scores),
        "image_f1max": best_f1(truth, scores),
        "pixel_auroc": roc_auc_score(mask, anomaly),
        "pixel_ap": average_precision_score(mask, anomaly),
        "pixel_f1max": best_f1(mask, anomaly),
        "aupro_30": aupro(chosen, 0.3),
        "aupro_05": aupro(chosen, 0.05),
        "aupimo": pimo(chosen),
        "precision": precision_score(truth, flagged),
        "recall": recall_score(truth, flagged),
        "fpr": np.mean([p.flagged for p in chosen if not p.defective]),
        "image_f1": f1_score(truth, flagged),
        "pixel_f1": f1_score(mask, anomaly > PIXEL_THRESHOLD),
    }
    for name, value in expected.items():
        assert metrics[name] == pytest.approx(value, abs=1e-9), name
    false = defects + sum(p.flagged and not p.defective for p in chosen)  # one in each defective image
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
    metrics = results_of(pictures()).metrics("scratch", "nut")
    assert (metrics["n_normal"], metrics["n_anomalous"], metrics["image_auroc"]) == (5, 0, None)
    assert metrics["fpr"] is not None


def test_names_that_nothing_has_are_refused() -> None:
    results = results_of(pictures())
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
    results = results_of(pictures())
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
    results = results_of(pictures([("bolt", "good", 4), ("bolt", "dent", 3), ("nut", "good", 5), ("tin", "dent", 2)]))
    bolt, nut, tin, mean = (row for row in results.rows() if row["defect"] == "all" and row["category"] != "all")
    assert mean["category"] == "mean"
    assert nut["image_auroc"] is tin["image_auroc"] is None
    assert mean["image_auroc"] == bolt["image_auroc"]
    assert mean["fpr"] == pytest.approx((bolt["fpr"] + nut["fpr"]) / 2)
    assert mean["recall"] == pytest.approx((bolt["recall"] + tin["recall"]) / 2)
    assert (mean["n_normal"], mean["n_anomalous"]) == (9, 5)


@pytest.mark.parametrize("category", ["", "bolt"])
def test_rows_of_one_category_or_none(category: str) -> None:
    results = results_of(pictures([(category, "good", 4), (category, "dent", 2), (category, "cut", 2)]))
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
    every = pictures()
    rows = results_of(every).regions()
    assert [row["size"] for row in rows] == ["small", "medium", "large", "all"]
    small, medium, large, total = rows
    alarms = sum(p.flagged and not p.defective for p in every)
    assert alarms > 0
    counts = [(row["found"], row["missed"], row["true"], row["false"]) for row in rows]
    assert counts == [(11, 11, 22, 11 + alarms), (0, 0, 0, 0), (11, 0, 11, 0), (22, 11, 33, 11 + alarms)]
    assert (small["recall"], large["recall"], total["recall"]) == (1 / 2, 1, 2 / 3)
    assert total["precision"] == 33 / (44 + alarms)
    assert (medium["precision"], medium["recall"], medium["f1"]) == (None, None, None)


@pytest.mark.parametrize("category", [None, "nut"])
def test_curves_equal_scikit_learn(category: str | None) -> None:
    every = pictures()
    results = results_of(every)
    chosen = [picture for picture in every if category in (None, picture.category)]
    truth, scores = truth_and_scores(chosen)
    mask, anomaly = pixels_of(chosen)

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
    fpr, overlap = overlap_curve(chosen)
    points = {(round(a, 9), round(b, 9)) for a, b in zip(x, y, strict=True)}
    assert points == {(round(a, 9), round(b, 9)) for a, b in zip(fpr, overlap, strict=True)}


def test_curves_of_one_class_are_empty() -> None:
    normal = results_of(pictures([("", "good", 3)]))
    defective = results_of(pictures([("", "dent", 3)]))
    for name in ("roc", "pr", "pixel_roc", "pro"):
        assert [len(axis) for axis in normal.curve(name)] == [0, 0]
    for name, empty in (("roc", True), ("pr", True), ("pixel_roc", False), ("pro", False)):
        assert all((len(axis) == 0) == empty for axis in defective.curve(name)), name
    with pytest.raises(ValueError, match=r"no curve 'prc'; there are \['roc', 'pr', 'pixel_roc', 'pro'\]"):
        normal.curve("prc")


def test_the_report_of_all() -> None:
    results = results_of(pictures())
    results.warnings.append("beware")
    text = results.report()
    lines = text.splitlines()
    rows = results.rows()
    table = [line.split() for line in lines if line.split()[:1] and line.split()[0] in ("bolt", "nut", "mean", "all")]
    for cells, row in zip(table, rows, strict=False):
        assert cells[:4] == [row["category"], row["defect"], str(row["n_normal"]), str(row["n_anomalous"])]
        assert cells[4] == f"{row['image_auroc']:.3f}"
        assert cells[-1] == f"{row['pixel_f1']:.3f}"
    assert "above 0.7 (fpr:0.01)" in text
    assert "Regions by size" in text
    assert ["small", "11", "11", "22"] in [line.split()[:4] for line in lines]
    assert lines[-1] == "Warning: beware"
    assert "Not defined here" not in text
    assert str(results) == text


def test_the_report_has_intervals_if_wanted() -> None:
    results = results_of(pictures())
    line = next(line for line in results.report().splitlines() if line.startswith("95 % bootstrap intervals"))
    for name, (low, high) in results.intervals().items():
        assert f"{name} {results.metrics()[name]:.3f} [{low:.3f}, {high:.3f}]" in line
    assert "bootstrap" not in results.report(intervals=False)


@pytest.mark.parametrize(
    ("groups", "reason", "missing", "present"),
    [
        pytest.param(
            [("", "good", 4)],
            "no defective images",
            {"image_auroc", "image_ap", "image_f1max", "pixel_auroc", "pixel_ap", "aupro_30", "aupimo", "recall"},
            {"fpr", "n_normal"},
            id="no defective images",
        ),
        pytest.param(
            [("", "dent", 4)],
            "no normal images",
            {"image_auroc", "image_ap", "image_f1max", "aupimo", "fpr"},
            {"pixel_auroc", "pixel_ap", "aupro_30", "precision", "recall"},
            id="no normal images",
        ),
        pytest.param(
            [("bolt", "good", 4), ("nut", "dent", 4)],
            "no normal images of the defective ones' category",
            {"aupimo"},
            set(METRIC_NAMES) - {"aupimo"},
            id="normal images of another product only",
        ),
    ],
)
def test_the_report_says_what_is_missing_and_why(
    groups: list[tuple[str, str, int]], reason: str, missing: set[str], present: set[str]
) -> None:
    results = results_of(pictures(groups))
    metrics = results.metrics()
    assert {name for name in METRIC_NAMES if metrics[name] is None} == set(results.missing())
    assert missing <= set(results.missing())
    assert not present & set(results.missing())
    (line,) = (line for line in results.report().splitlines() if line.startswith("Not defined here"))
    assert f"({reason}" in line
    assert {name.strip() for name in line.rstrip(".").split("): ")[1].split(",")} == set(results.missing())


def test_the_report_of_nothing_flagged() -> None:
    text = scores_only(("a", 0.2, False, False), ("b", 0.6, True, False)).report(intervals=False)
    assert "Not defined here (no image is flagged, no region is predicted): precision, region_precision." in text


def test_the_report_has_no_table_of_regions_where_there_are_none() -> None:
    assert "Regions by size" not in scores_only(("a", 0.2, False, False)).report()
    assert "Regions by size" in scores_only(("a", 0.8, False, True)).report(), "a predicted one"
    assert "Regions by size" in scores_only(("a", 0.2, True, False)).report(), "one of the ground truth"


def test_a_report_without_categories_has_no_column_for_them() -> None:
    assert "category" not in results_of(pictures([("", "good", 2), ("", "dent", 2)])).report()
    assert "category" in results_of(pictures([("bolt", "good", 2), ("bolt", "dent", 2)])).report()


def test_the_bootstrap_is_that_of_the_repeated_images() -> None:
    every = pictures()
    results = results_of(every)
    drawn = results.bootstrap(6, seed=3)
    assert tuple(drawn) == INTERVAL_NAMES
    (weights,) = bootstrap.draw_weights(np.array([picture.defective for picture in every]), 6, 3)
    for index, row in enumerate(weights.astype(int)):
        again = [picture for picture, count in zip(every, row, strict=True) for _ in range(count)]
        truth, scores = truth_and_scores(again)
        mask, anomaly = pixels_of(again)
        assert drawn["image_auroc"][index] == pytest.approx(roc_auc_score(truth, scores))
        assert drawn["image_ap"][index] == pytest.approx(average_precision_score(truth, scores))
        assert drawn["pixel_auroc"][index] == pytest.approx(roc_auc_score(mask, anomaly), abs=1e-6)
        assert drawn["aupro_30"][index] == pytest.approx(aupro(again, 0.3), abs=1e-6)
        assert drawn["aupro_05"][index] == pytest.approx(aupro(again, 0.05), abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_intervals_contain_the_estimate(seed: int) -> None:
    results = results_of(pictures(seed=seed))
    metrics = results.metrics()
    bounds = results.intervals(draws=300)
    assert set(bounds) == set(INTERVAL_NAMES)
    for name, (low, high) in bounds.items():
        assert 0 <= low < high <= 1 + 1e-9
        assert low <= metrics[name] <= high, name


def test_intervals_are_percentiles_of_the_draws() -> None:
    results = results_of(pictures())
    drawn = results.bootstrap(200, 5)
    for name, (low, high) in results.intervals(200, 5).items():
        assert (low, high) == pytest.approx((np.percentile(drawn[name], 2.5), np.percentile(drawn[name], 97.5)))


def test_more_images_make_intervals_narrower() -> None:
    def width(times: int) -> float:
        groups = [("", "good", 8 * times), ("", "dent", 8 * times)]
        low, high = results_of(pictures(groups)).intervals(300)["pixel_auroc"]
        return high - low

    assert width(9) < 0.6 * width(1)


def test_the_same_images_have_the_same_draws() -> None:
    every = pictures()
    one = results_of(every)
    normal, defective = [p for p in every if not p.defective], [p for p in every if p.defective]
    other = results_of([*normal[::-1], *defective[::-1]])  # as another run may have them
    for image in other.images.values():
        image.score = 2 * image.score + 1  # its scores differ, but not their order
    for seed in (0, 1):
        a, b = one.bootstrap(50, seed), other.bootstrap(50, seed)
        for name in INTERVAL_NAMES:
            np.testing.assert_allclose(a[name], b[name], atol=1e-6)
    assert (one.bootstrap(50, 0)["image_auroc"] != one.bootstrap(50, 1)["image_auroc"]).any()


@pytest.mark.parametrize("groups", [[("", "good", 3)], [("", "dent", 3)]])
def test_one_class_has_no_intervals(groups: list[tuple[str, str, int]]) -> None:
    results = results_of(pictures(groups))
    assert results.bootstrap(10) == {} and results.intervals(10) == {}
    assert "bootstrap" not in results.report()


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


@pytest.mark.parametrize(
    ("value", "text"), [(None, "-"), (0.12345, "0.123"), (1.0, "1.000"), (7, "7"), ("dent", "dent")]
)
def test_figures_in_tables(value: object, text: str) -> None:
    assert format_metric(value) == text


@pytest.mark.parametrize("make", [lambda: results_of([]), lambda: scores_only()])
def test_no_images_at_all(make: Callable[[], AnomalyResults]) -> None:
    metrics = make().metrics()
    assert {metrics[name] for name in METRIC_NAMES if not name.startswith("n_")} == {None}
    assert (metrics["n_normal"], metrics["n_anomalous"]) == (0, 0)
