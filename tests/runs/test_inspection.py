"""What of images is inspected: wrong zones are refused before any work, and small regions do not count."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fiftyone as fo
import pytest

import fiftyone_segad as segad
from conftest import ColourEmbedder
from fiftyone_segad.runs.inspection import parse_min_area
from zoned_dataset import LEFT, NORMALS, RIGHT, boxes, compute_zoned, mask_of, zoned_dataset

pytestmark = pytest.mark.usefixtures("colour_embedder")

MakeDataset = Callable[..., fo.Dataset]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"zones": "zone"}, r"zones='zone' is no field of .* use one of \['zones'\]"),
        ({"zones_from": "first"}, "zones_from='first' needs zones="),
        ({"zones": "zones", "zones_from": "first"}, "zones_from='first' is no sample with zones in 'zones'"),
        ({"zones": "zones", "min_area": {"rim": 3}}, r"min_area names the zone 'rim'.*\['left', 'right'\]"),
        ({"min_area": "3 mm2"}, r"needs the size of a pixel; pass pixel_size=.*dataset.info\['pixel_size'\]"),
        ({"min_area": "small"}, "min_area='small' is no area"),
        ({"min_area": -1}, "min_area=-1 is no area"),
        ({"pixel_size": 0}, "pixel_size=0 must be the side of a pixel in mm"),
    ],
)
def test_refusals(dataset_of: MakeDataset, tmp_path: Path, options: dict[str, Any], said: str) -> None:
    drawn = boxes(inspect_left=LEFT, inspect_right=RIGHT)
    dataset, _ = zoned_dataset(dataset_of, tmp_path, drawn)
    calls = ColourEmbedder.calls
    with pytest.raises(ValueError, match=said):
        compute_zoned(dataset, **options)
    assert ColourEmbedder.calls == calls and not dataset.list_runs()


def test_an_unknown_label(dataset_of: MakeDataset, tmp_path: Path) -> None:
    dataset, first = zoned_dataset(dataset_of, tmp_path, boxes(inspect=LEFT, clamp=RIGHT))
    said = (
        f"A zone of sample {first} has the label 'clamp'; labels of zones are 'ignore', 'inspect', or 'inspect: NAME'"
    )
    with pytest.raises(ValueError, match=said):
        compute_zoned(dataset, zones="zones")


def test_nothing_to_inspect(dataset_of: MakeDataset, tmp_path: Path) -> None:
    dataset, first = zoned_dataset(dataset_of, tmp_path, boxes(inspect=LEFT, ignore=(0.0, 0.0, 1.0, 1.0)))
    path = dataset.first().filepath
    with pytest.raises(ValueError, match=f"those of '{path}' leave nothing of it to inspect"):
        compute_zoned(dataset, zones="zones")
    with pytest.raises(ValueError, match=r"zones_from=.* leave nothing of it to inspect"):
        compute_zoned(dataset, zones="zones", zones_from=first)


def test_a_named_zone_on_no_normal_image(dataset_of: MakeDataset, tmp_path: Path) -> None:
    dataset, _ = zoned_dataset(dataset_of, tmp_path, None)
    dataset.set_values("zones", [None] * (NORMALS + 1) + [boxes(inspect_rim=LEFT)])
    with pytest.raises(ValueError, match=r"Zone 'rim' is on no normal image.*zones_from"):
        compute_zoned(dataset, zones="zones")


def test_small_regions_do_not_count(dataset_of: MakeDataset, tmp_path: Path) -> None:
    drawn = boxes(inspect_left=LEFT, inspect_right=RIGHT)
    dataset, first = zoned_dataset(dataset_of, tmp_path, drawn)
    compute_zoned(dataset, zones="zones", zones_from=first)
    area = max(region.area for region in dataset.last().segad_regions.detections)
    for zone, label in (("left", "normal"), ("right", "anomalous")):
        run = compute_zoned(dataset, key=zone, zones="zones", zones_from=first, min_area={zone: area + 1})
        sample = dataset.last()
        assert sample[f"{zone}_pred"].label == label
        assert (sample[f"{zone}_score"] > run.thresholds.image) == (label == "anomalous")
        assert mask_of(sample, zone).any() == (label == "anomalous")
        assert bool(sample[f"{zone}_regions"].detections) == (label == "anomalous")
    segad.set_threshold(dataset, "left", "fpr:0.3")
    assert dataset.last().left_pred.label == "normal"
    segad.set_threshold(dataset, "left", "fpr:0.3", min_area={"left": area - 1})
    assert dataset.last().left_pred.label == "anomalous"
    with pytest.raises(ValueError, match="min_area names the zone 'top'"):
        segad.set_threshold(dataset, "left", "fpr:0.3", min_area={"top": 3})


def test_millimetres(dataset_of: MakeDataset, tmp_path: Path) -> None:
    dataset, _ = zoned_dataset(dataset_of, tmp_path, None)
    dataset.info["pixel_size"] = 0.5
    dataset.save()
    run = compute_zoned(dataset)
    (region,) = dataset.last().segad_regions.detections
    assert run.pixel_size == 0.5 and region.area_mm2 == region.area / 4
    assert region.length_mm >= region.width_mm > 0
    assert region.length_mm * region.width_mm >= region.area_mm2
    compute_zoned(dataset, key="fine", pixel_size=0.1, min_area=f"{region.area * 0.01 + 0.01} mm2")
    assert dataset.last().fine_pred.label == "normal"


def test_smallest_areas() -> None:
    assert parse_min_area("30 px", set(), None) == {"": 30.0}
    assert parse_min_area("2mm²", set(), 0.5) == {"": 8.0}
    assert parse_min_area(None, {"rim"}, None) == {}
