"""Zones as people draw them: boxes, instance masks, polygons and painted masks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

from fiftyone_segad.data.zones import parse_zone, read_drawings, zone_fields
from fiftyone_segad.segments.boxes import grid

MakeDataset = Callable[..., fo.Dataset]
SIZE = (8, 4)

SEGMENTS = grid(SIZE, 2)


def labels_of(dataset_of: MakeDataset, folder: Path, label: fo.Label, **targets: str) -> tuple[list[list[int]], tuple]:
    """Draw the zones of a sample of 8 x 4 pixels; returns numbers of pixels, and names."""
    dataset = one_sample(dataset_of, folder, label)
    if targets:
        dataset.mask_targets = {"zones": {int(value[1:]): name for value, name in targets.items()}}
    zones = read_drawings(dataset, "zones")(dataset.first().id, SEGMENTS)
    assert zones is not None
    return zones.labels.tolist(), zones.names


def one_sample(dataset_of: MakeDataset, folder: Path, label: fo.Label) -> fo.Dataset:
    Image.new("RGB", SIZE).save(folder / "a.png")
    return dataset_of([folder / "a.png"], zones=[label])


def test_boxes_and_instance_masks(dataset_of: MakeDataset, tmp_path: Path) -> None:
    drawn = [
        fo.Detection(label="ignore", bounding_box=[0.75, 0, 0.25, 1]),
        fo.Detection(label="inspect: rim", bounding_box=[0, 0, 1, 0.5]),
        fo.Detection(label="Inspect:face", bounding_box=[0, 0.25, 0.5, 0.5], mask=np.array([[1, 0], [0, 1]], bool)),
    ]
    labels, names = labels_of(dataset_of, tmp_path, fo.Detections(detections=drawn))
    assert names == ("rim", "face")
    assert labels == [
        [1, 1, 1, 1, 1, 1, 0, 0],
        [2, 2, 1, 1, 1, 1, 0, 0],
        [0, 0, 2, 2, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0],
    ]


def test_what_is_not_ignored_is_inspected_where_no_zone_is_drawn(dataset_of: MakeDataset, tmp_path: Path) -> None:
    triangle = fo.Polyline(label="ignore", points=[[(0, 0), (0.5, 0), (0.5, 1), (0, 1)]], closed=True)
    labels, names = labels_of(dataset_of, tmp_path, fo.Polylines(polylines=[triangle]))
    assert names == ("",) and labels == [[0, 0, 0, 0, 1, 1, 1, 1]] * 4


def test_painted_masks(dataset_of: MakeDataset, tmp_path: Path) -> None:
    mask = np.array([[0, 1, 1, 2, 2, 2, 0, 0]] * 4, np.uint8)
    label = fo.Segmentation(mask=mask)
    labels, names = labels_of(dataset_of, tmp_path, label, _0="background", _1="inspect: rim", _2="ignore")
    assert names == ("rim",) and labels == [[0, 1, 1, 0, 0, 0, 0, 0]] * 4


def test_painted_masks_without_names(dataset_of: MakeDataset, tmp_path: Path) -> None:
    dataset = one_sample(dataset_of, tmp_path, fo.Segmentation(mask=np.full((4, 8), 3, np.uint8)))
    with pytest.raises(ValueError, match=r"values have no names; name them: dataset.mask_targets\['zones'\]"):
        read_drawings(dataset, "zones")
    dataset.mask_targets = {"zones": {1: "ignore"}}
    with pytest.raises(Exception, match=r"hold the values \[3\], which the dataset's mask_targets do not name"):
        read_drawings(dataset, "zones")(dataset.first().id, SEGMENTS)


def test_lines_have_no_area(dataset_of: MakeDataset, tmp_path: Path) -> None:
    line = fo.Polylines(polylines=[fo.Polyline(label="ignore", points=[[(0, 0), (1, 1)]])])
    dataset = one_sample(dataset_of, tmp_path, line)
    with pytest.raises(Exception, match=r"The zone 'ignore' in 'zones' of sample .* is a line, which has no area"):
        read_drawings(dataset, "zones")(dataset.first().id, SEGMENTS)


def test_samples_without_zones(dataset_of: MakeDataset, tmp_path: Path) -> None:
    dataset = one_sample(dataset_of, tmp_path, fo.Detections())
    sample = dataset.first()
    assert read_drawings(dataset, "zones")(sample.id, SEGMENTS) is None
    sample["zones"] = fo.Detections(detections=[fo.Detection(label="inspect", bounding_box=[0, 0, 1, 1])])
    sample.save()
    drawings = read_drawings(dataset, "zones", zones_from=sample.id)
    assert drawings("another", SEGMENTS) is not None
    assert drawings("another", grid((16, 8), 2)) is None, "images of another size are inspected as a whole"


def test_fields_that_can_hold_zones(dataset_of: MakeDataset, tmp_path: Path) -> None:
    dataset = one_sample(dataset_of, tmp_path, fo.Detections())
    dataset.add_sample_field("name", fo.StringField)
    assert zone_fields(dataset) == ["zones"]


@pytest.mark.parametrize("label", ["inspect:", "inspect: v1.0", "ignore: rim", "rim", "", None])
def test_labels_of_no_zone(label: str | None) -> None:
    with pytest.raises(ValueError, match="labels of zones are 'ignore', 'inspect', or 'inspect: NAME'"):
        parse_zone(label, "sample 1")
