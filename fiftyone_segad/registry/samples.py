"""Check the collections and numbers that public functions take."""

from __future__ import annotations

from typing import Any

import fiftyone as fo
import fiftyone.core.media as fom
import fiftyone.core.patches as fop
from fiftyone.core.collections import SampleCollection as Samples

MAX_ROTATIONS = 36


def root_dataset(samples: Any, name: str) -> fo.Dataset:
    """Return the dataset of a collection.

    Raises:
        ValueError: if it is no collection; ``name`` is the parameter's
    """
    if not isinstance(samples, Samples):
        raise ValueError(f"{name} must be a FiftyOne dataset or view, got {type(samples).__name__}")
    dataset: fo.Dataset = samples._root_dataset
    return dataset


def check_collection(samples: Any, name: str) -> fo.Dataset:
    """Check that a collection has images that can be read, and return its dataset.

    Raises:
        ValueError: if it is no collection, has no samples, or these are no images; ``name`` is the parameter's
    """
    dataset = root_dataset(samples, name)
    if isinstance(samples, (fop.PatchesView, fop.EvaluationPatchesView)):
        raise ValueError(
            f"{name} is a view of patches; pass samples. Where segments are to be scored, segments=... takes the "
            "patches' field"
        )
    if samples.media_type == fom.GROUP:
        raise ValueError(f"{name} is grouped; pass one slice of it, e.g. dataset.select_group_slices('...')")
    if len(samples) == 0:
        raise ValueError(f"{name} is an empty view of dataset '{dataset.name}'; check its filters")
    if samples.media_type != fom.IMAGE:
        raise ValueError(f"{name} has media type '{samples.media_type}'; only images can be scored")
    return dataset


def check_numbers(num_workers: int | None, bank_size: int | None = None, rotations: int = 1) -> None:
    """Check numbers that several functions take.

    Raises:
        ValueError: if one is wrong

    Examples:
        >>> check_numbers(num_workers=0)
        Traceback (most recent call last):
        ...
        ValueError: num_workers must be a whole number from 1 on, got 0
    """
    for name, value in (("num_workers", num_workers), ("bank_size", bank_size), ("rotations", rotations)):
        if value is not None and (not isinstance(value, int) or value < 1):
            raise ValueError(f"{name} must be a whole number from 1 on, got {value!r}")
    if rotations > MAX_ROTATIONS:
        raise ValueError(f"rotations={rotations} is too many; 8 are enough for parts at any angle")
