"""Grey parts of which some have a red spot, and zones drawn on the first of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np

import fiftyone_segad as segad
from red_spots import picture

SPOT = (1 / 3, 1 / 3, 2 / 9, 2 / 9)
"""Relative box of the spot: pixels 24 to 40 of 72."""

LEFT, RIGHT = (0.0, 0.0, 2 / 3, 1.0), (2 / 3, 0.0, 1 / 3, 1.0)
"""Boxes beside each other; the spot is in the left one."""

NORMALS = 12


def boxes(**labelled: Sequence[float]) -> fo.Detections:
    """Return boxes by label; ``inspect_rim`` stands for the label ``inspect: rim``."""
    return fo.Detections(
        detections=[
            fo.Detection(label=name.replace("_", ": "), bounding_box=list(box)) for name, box in labelled.items()
        ]
    )


def zoned_dataset(
    dataset_of: Callable[..., fo.Dataset], folder: Path, zones: fo.Label | None, spotted: int = 1
) -> tuple[fo.Dataset, str]:
    """Make a dataset of twelve normal parts, and of two more, of which some have the spot.

    Returns:
        the dataset, and the id of its first sample, on which zones are drawn in the field ``zones``
    """
    files = [folder / f"{number:02}.png" for number in range(NORMALS + 2)]
    for number, file in enumerate(files):
        picture(number, spotted=number >= len(files) - spotted).save(file)
    dataset = dataset_of(files)
    dataset.limit(NORMALS).tag_samples("good")
    if zones is not None:
        sample = dataset.first()
        sample["zones"] = zones
        sample.save()
    return dataset, dataset.first().id


def compute_zoned(dataset: fo.Dataset, **options: Any) -> segad.Run:
    settings: dict[str, Any] = {"reference": dataset.match_tags("good"), "threshold": "fpr:0.2"}
    return segad.compute_segment_anomalies(dataset, **{**settings, **options})


def mask_of(sample: fo.Sample, key: str = "segad") -> np.ndarray:
    """Read the predicted mask of a sample."""
    label = sample[f"{key}_mask"].copy()
    label.import_mask()
    return np.asarray(label.mask)
