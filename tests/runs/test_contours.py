"""Maps of a run as lines: where they run, and when they go."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

import fiftyone_segad as segad
from fiftyone_segad.runs.contours import COLOURS, contour_levels, write_contours

FIELD = "segad_contours"


@pytest.fixture
def dataset(dataset_with_run: Any) -> Any:
    return dataset_with_run


def test_lines_run_around_what_is_above_their_level(dataset: Any) -> None:
    assert write_contours(dataset, "segad") == sum(bool(lines.polylines) for lines in dataset.values(FIELD))
    run = segad.load_run(dataset, "segad")
    lowest = contour_levels(run)[0]
    assert lowest == run.thresholds.pixel
    sample = dataset.sort_by("segad_score", reverse=True).first()
    lines = sample[FIELD].polylines
    assert [line.label for line in lines] == [f"{level:.3g}" for level in contour_levels(run)][: len(lines)]
    grey = cv2.imread(sample.segad_map.map_path, cv2.IMREAD_UNCHANGED)
    low, high = run.map_range
    above = grey > 255 * (lowest - low) / (high - low)
    filled = np.zeros(grey.shape, np.uint8)
    sides = np.array(grey.shape[::-1])
    shapes = [np.rint(np.array(shape) * (sides - 1)).astype(np.int32) for shape in lines[0].points]
    cv2.fillPoly(filled, shapes, 1)
    overlap = (above & (filled > 0)).sum() / (above | (filled > 0)).sum()
    assert above.any() and overlap > 0.9


def test_an_image_has_the_lines_of_the_levels_that_it_reaches(dataset: Any) -> None:
    run = segad.load_run(dataset, "segad")
    low, high = run.map_range
    write_contours(dataset, "segad")
    levels = contour_levels(run)
    reached = []
    for lines, file in zip(*dataset.values([FIELD, "segad_map.map_path"]), strict=True):
        peak = low + (high - low) * cv2.imread(file, cv2.IMREAD_UNCHANGED).max() / 255
        step = (high - low) / 255  # the file's, of which the peak is rounded
        assert {line.label for line in lines.polylines} >= {f"{level:.3g}" for level in levels if level < peak - step}
        assert {line.label for line in lines.polylines} <= {f"{level:.3g}" for level in levels if level < peak + step}
        reached.append(len(lines.polylines))
    assert min(reached) < len(levels) == max(reached)


def test_lines_are_coloured_by_level_and_stand_with_the_run(dataset: Any) -> None:
    write_contours(dataset, "segad")
    (entry,) = [one for one in dataset.app_config.color_scheme.fields if one["path"] == FIELD]
    assert [one["color"] for one in entry["valueColors"]] == list(COLOURS.values())
    (group,) = [group for group in dataset.app_config.sidebar_groups if group.name == "segad"]
    assert FIELD in group.paths


@pytest.mark.parametrize("change", ["threshold", "again", "delete"])
def test_lines_go_with_what_they_show(dataset: Any, change: str) -> None:
    write_contours(dataset, "segad")
    if change == "threshold":
        segad.set_threshold(dataset, "segad", 1.5)
    elif change == "again":
        segad.mark_normal(dataset.limit(1), "segad")
        segad.rescore(dataset, "segad")
    else:
        segad.delete_run(dataset, "segad")
    assert not dataset.has_sample_field(FIELD)
    scheme = dataset.app_config.color_scheme
    assert scheme is None or FIELD not in [one["path"] for one in scheme.fields]
    assert all(FIELD not in group.paths for group in dataset.app_config.sidebar_groups or [])


def test_a_field_of_that_name_is_left_alone(dataset_of: Any, pictures: Any) -> None:
    import fiftyone as fo

    dataset = dataset_of(pictures)
    dataset.add_sample_field(FIELD, fo.StringField)
    with pytest.raises(ValueError, match=FIELD):
        segad.compute_segment_anomalies(dataset, method="within_image")


def test_lines_are_no_ground_truth(dataset: Any) -> None:
    from plugin_calls import form

    write_contours(dataset, "segad")
    fields = form("evaluate_anomalies", dataset)
    assert FIELD not in fields.get("gt_field", {}).get("type", {}).get("values", [])
