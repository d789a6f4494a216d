"""Check the collections and numbers that public functions take, and that datasets still exist."""

from __future__ import annotations

from typing import Any

import fiftyone as fo
import fiftyone.core.media as fom
import fiftyone.core.patches as fop
import fiftyone.core.video as fov
from fiftyone import ViewField as F
from fiftyone.core.collections import SampleCollection as Samples
from fiftyone.core.odm.database import get_db_conn

from ..errors import RunError
from .retry import retry_on_reconnect

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


def all_slices(samples: Any) -> Any:
    """Flatten a grouped collection, which shows the samples of its active slice only; others are returned as they are.

    What is done to a run is done to all its samples: whoever looks samples of a run up in its dataset, looks here.
    """
    if samples.media_type != fom.GROUP or samples._root_dataset.media_type != fom.GROUP:
        return samples
    return samples.select_group_slices(media_type=fom.IMAGE)


def samples_of_slice(samples: Samples, name: str) -> Samples:
    """Return the samples of one slice: of groups, or of a flat view of samples of any slices."""
    root = samples._root_dataset
    if samples.media_type == fom.GROUP:
        return samples.select_group_slices(name) if name in samples.group_slices else samples.limit(0)
    return samples.match(F(f"{root.group_field}.name") == name)


def check_collection(samples: Any, name: str, is_written: bool = True) -> fo.Dataset:
    """Check that a collection has images that can be read, and return its dataset.

    Args:
        samples: the collection
        name: name of the parameter
        is_written (True): whether fields of its samples are written, which those of frames of videos cannot be

    Raises:
        ValueError: if it is no collection, has no samples, or these are no images; ``name`` is the parameter's
    """
    dataset = root_dataset(samples, name)
    if isinstance(samples, (fop.PatchesView, fop.EvaluationPatchesView)):
        raise ValueError(
            f"{name} is a view of patches; pass samples. Where segments are to be scored, segments=... takes the "
            "patches' field"
        )
    if is_written and isinstance(samples, fov.FramesView):
        raise ValueError(
            f"{name} is a view of the frames of videos, on which no run can be stored; pass a dataset of the frames, "
            "e.g. view.clone()"
        )
    if samples.media_type == fom.GROUP:
        raise ValueError(f"{name} is grouped; pass one slice of it, e.g. dataset.select_group_slices('...')")
    if len(samples) == 0:
        if samples is dataset:
            raise ValueError(f"{name}: dataset '{dataset.name}' has no samples; add some first")
        raise ValueError(f"{name} is an empty view of dataset '{dataset.name}'; check its filters")
    if samples.media_type != fom.IMAGE:
        raise ValueError(f"{name} has media type '{samples.media_type}'; only images can be scored")
    return dataset


def check_numbers(
    num_workers: int | None,
    bank_size: int | None = None,
    rotations: int | None = None,
    batch_size: int | None = None,
) -> None:
    """Check numbers that several functions take.

    Raises:
        ValueError: if one is wrong

    Examples:
        >>> check_numbers(num_workers=0)
        Traceback (most recent call last):
        ...
        ValueError: num_workers must be a whole number from 1 on, got 0
    """
    for name, value in (
        ("num_workers", num_workers),
        ("bank_size", bank_size),
        ("rotations", rotations),
        ("batch_size", batch_size),
    ):
        if value is not None:
            check_whole_number(name, value)
    if (rotations or 1) > MAX_ROTATIONS:
        raise ValueError(f"rotations={rotations} is too many; 8 are enough for parts at any angle")


def check_whole_number(name: str, value: object, least: int = 1) -> None:
    """Check a number that a function takes.

        >>> check_whole_number("seed", "x", least=0)
        Traceback (most recent call last):
        ...
        ValueError: seed must be a whole number from 0 on, got 'x'

    Raises:
        ValueError: if it is no whole number from ``least`` on; ``name`` is the parameter's
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be a whole number from {least} on, got {value!r}")


@retry_on_reconnect
def exists(dataset: fo.Dataset) -> bool:
    """Return whether a dataset is still in the database: another process may have deleted it."""
    return get_db_conn()["datasets"].find_one({"_id": dataset._doc.id}, {"_id": True}) is not None


def check_exists(dataset: fo.Dataset) -> None:
    """Raise RunError if a dataset is not in the database any more."""
    if not exists(dataset):
        raise RunError(f"Dataset '{dataset.name}' was deleted")
