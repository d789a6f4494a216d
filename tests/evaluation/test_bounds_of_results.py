"""Bounds of an evaluation: of kinds of defects, and by the values of a field."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest

import fiftyone_segad as segad
from fiftyone_segad.metrics.bounds import upper_bound
from made_results import scores_only
from mistaken_dataset import ALL_FLAGGED, evaluated, mistaken_dataset
from report_page import saved


def test_bounds_of_an_evaluation() -> None:
    defects = [(f"d{index}", 0.9 if index else 0.1, True, bool(index)) for index in range(10)]
    good = [(f"g{index}", 0.1, False, False) for index in range(20)]
    dent, total, normal = scores_only(*good, *defects).bounds()
    for row, group in ((dent, "dent"), (total, "all defects")):
        assert (row["group"], row["outcome"], row["images"], row["wrong"]) == (group, "missed", 10, 1)
        assert row["share"] == 0.1 and row["at_most"] == upper_bound(1, 10)
    assert (normal["group"], normal["outcome"], normal["wrong"]) == ("good", "false alarms", 0)
    assert normal["at_most"] == upper_bound(0, 20)
    assert [row["group"] for row in scores_only(*good).bounds()] == ["good"]
    with pytest.raises(ValueError, match="by='line' needs samples"):
        scores_only(*good).bounds(by="line")


def test_by_the_values_of_a_field(
    dataset_of: Callable[..., fo.Dataset], pictures: list[Path], tmp_path: Path, colour_embedder: type
) -> None:
    dataset = mistaken_dataset(dataset_of, pictures)
    dataset.set_values("line", ["a", "a", "a", None, "a", "b"])
    results = evaluated(dataset, ALL_FLAGGED)
    rows = [(row["group"], row["outcome"], row["images"], row["wrong"]) for row in results.bounds(by="line")]
    assert rows == [
        ("", "false alarms", 1, 1),
        ("a", "missed", 1, 0),
        ("a", "false alarms", 3, 3),
        ("b", "missed", 1, 0),
    ]
    text = saved(results, tmp_path, by="line")[1].texts
    place = text.index("line: a")
    assert text[place + 1] == f"at most {100 * upper_bound(0, 1):.1f} % of such defective images are missed, 95 %"
    assert "line: none" in text
    with pytest.raises(ValueError, match="by='shift' is no field of dataset"):
        results.save_report(tmp_path / "report.html", by="shift")


def test_by_view(
    dataset_of: Callable[..., fo.Dataset], pictures: list[Path], tmp_path: Path, colour_embedder: type
) -> None:
    dataset = dataset_of([])
    dataset.add_group_field("group", default="left")
    samples = []
    for number in range(0, 6, 2):
        group = fo.Group()
        for place, name in enumerate(("left", "right")):
            mask = fo.Segmentation(mask=np.full((80, 96), 255 * (number == 4), np.uint8))
            samples.append(
                fo.Sample(filepath=str(pictures[number + place]), group=group.element(name), defect_mask=mask)
            )
    dataset.add_samples(samples)
    images = dataset.select_group_slices(media_type="image")
    segad.compute_segment_anomalies(images, reference=images.limit(4), segments="tiles:0.4:0.2", threshold=ALL_FLAGGED)
    results = segad.evaluate_anomalies(images)
    assert {row["group"] for row in results.bounds(by="view")} == {"left", "right"}
    assert {"view: left", "view: right"} <= set(saved(results, tmp_path)[1].texts)
