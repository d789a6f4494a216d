"""An evaluation counts no pixel and no region that zones exclude."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest

import fiftyone_segad as segad
from zoned_dataset import NORMALS, SPOT, boxes, compute_zoned, zoned_dataset

pytestmark = pytest.mark.usefixtures("colour_embedder")

CORNER = (0.0, 0.0, 1 / 9, 1 / 9)
"""Relative box of pixels 0 to 8 of 72."""


def evaluate(dataset: fo.Dataset) -> segad.AnomalyResults:
    return segad.evaluate_anomalies(dataset.skip(NORMALS), "segad")


def test_ignored_pixels_are_void(dataset_of: Callable[..., fo.Dataset], tmp_path: Path) -> None:
    dataset, first = zoned_dataset(dataset_of, tmp_path, boxes(ignore=CORNER))
    truth = fo.Detections(
        detections=[fo.Detection(label="spot", bounding_box=SPOT), fo.Detection(label="dust", bounding_box=CORNER)]
    )
    dataset.set_values("defect_mask", [None] * (NORMALS + 1) + [truth])
    compute_zoned(dataset)
    whole = evaluate(dataset).images[dataset.last().id]
    compute_zoned(dataset, zones="zones", zones_from=first, overwrite=True)
    zoned = evaluate(dataset).images[dataset.last().id]
    counts = [sum(vars(image.pixels).values()) for image in (whole, zoned)]
    assert counts == [72 * 72, 72 * 72 - 8 * 8]
    assert [sum(r.found + r.missed for r in image.regions.values()) for image in (whole, zoned)] == [2, 1]


def test_an_image_whose_defect_is_ignored_counts_as_normal(
    dataset_of: Callable[..., fo.Dataset], tmp_path: Path
) -> None:
    dataset, first = zoned_dataset(dataset_of, tmp_path, boxes(ignore=SPOT), spotted=2)
    inside, outside = (fo.Detections(detections=[fo.Detection(bounding_box=box)]) for box in (SPOT, CORNER))
    dataset.set_values("defect_mask", [None] * NORMALS + [inside, outside])
    compute_zoned(dataset, zones="zones", zones_from=first)
    images = evaluate(dataset).images
    assert [images[sample.id].defective for sample in dataset.skip(NORMALS)] == [False, True]


def test_f1_looks_at_no_ignored_pixel(dataset_of: Callable[..., fo.Dataset], tmp_path: Path) -> None:
    dataset, first = zoned_dataset(dataset_of, tmp_path, boxes(ignore=SPOT))
    dataset.set_values(
        "defect_mask", [None] * (NORMALS + 1) + [fo.Segmentation(mask=np.pad(np.ones((16, 16), np.uint8), (24, 32)))]
    )
    with pytest.raises(ValueError, match="'f1' needs defective images"):
        compute_zoned(dataset, zones="zones", zones_from=first, threshold="f1")
