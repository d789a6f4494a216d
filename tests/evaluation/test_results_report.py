"""The text report of AnomalyResults."""

from __future__ import annotations

import pytest

from fiftyone_segad.metrics.names import METRIC_NAMES
from fiftyone_segad.visualization.text import format_metric
from made_results import make_pictures, results_of, scores_only


def test_the_report_of_all() -> None:
    results = results_of(make_pictures())
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
    results = results_of(make_pictures())
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
    results = results_of(make_pictures(groups))
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
    assert "category" not in results_of(make_pictures([("", "good", 2), ("", "dent", 2)])).report()
    assert "category" in results_of(make_pictures([("bolt", "good", 2), ("bolt", "dent", 2)])).report()


@pytest.mark.parametrize(
    ("value", "text"), [(None, "-"), (0.12345, "0.123"), (1.0, "1.000"), (7, "7"), ("dent", "dent")]
)
def test_figures_in_tables(value: object, text: str) -> None:
    assert format_metric(value) == text
