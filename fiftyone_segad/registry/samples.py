"""From FiftyOne collections to the images of a job."""

from __future__ import annotations

from typing import Any

import fiftyone as fo
import fiftyone.core.media as fom
import fiftyone.core.patches as fop
from fiftyone.core.collections import SampleCollection as Samples

from ..engine.job import JobImage
from ..segments.boxes import Proposer, get_proposer
from .run import Run


def root_dataset(samples: Any, name: str) -> fo.Dataset:
    """The dataset of a collection.

    Raises:
        ValueError: if it is no collection; ``name`` is the parameter's
    """
    if not isinstance(samples, Samples):
        raise ValueError(f"{name} must be a FiftyOne dataset or view, got {type(samples).__name__}")
    dataset: fo.Dataset = samples._root_dataset
    return dataset


def check_collection(samples: Any, name: str) -> fo.Dataset:
    """The dataset of a collection whose images can be read.

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


MAX_ROTATIONS = 36


def check_numbers(num_workers: int | None, bank_size: int | None = None, rotations: int = 1) -> None:
    """Check numbers that several functions take.

    Raises:
        ValueError: if one is wrong
    """
    for name, value in (("num_workers", num_workers), ("bank_size", bank_size), ("rotations", rotations)):
        if value is not None and (not isinstance(value, int) or value < 1):
            raise ValueError(f"{name} must be a whole number from 1 on, got {value!r}")
    if rotations > MAX_ROTATIONS:
        raise ValueError(f"rotations={rotations} is too many; 8 are enough for parts at any angle")


def job_images(samples: Samples, spec: str | Proposer | None) -> list[JobImage]:
    """The images of samples, under the samples' ids.

    Raises:
        ValueError: if ``spec`` is neither a specification of segments nor a Detections field
    """
    ids, paths = samples.values(["id", "filepath"])
    boxes: list[Any] = [None] * len(ids)
    if isinstance(spec, str) and samples.has_sample_field(spec):
        kind = getattr(samples.get_field(spec), "document_type", None)
        if kind is not fo.Detections:
            raise ValueError(f"segments={spec!r} is a field, but not of Detections")
        boxes = [found or [] for found in samples.values(f"{spec}.detections.bounding_box")]
    elif spec is not None:
        get_proposer(spec)
    return [JobImage(*image) for image in zip(ids, paths, boxes, strict=True)]


def reference_images(samples: Samples, spec: str | Proposer | None) -> list[JobImage]:
    """The images of samples to compare with, each file once and under its path.

    Raises:
        ValueError: as ``job_images``
    """
    return list(
        {image.path: JobImage(image.path, image.path, image.boxes) for image in job_images(samples, spec)}.values()
    )


def named_segments(run: Run, dataset: fo.Dataset, segments: Proposer | None) -> str | Proposer | None:
    """The segments of a run; a function must be given again, since a run keeps its name only.

    Raises:
        ValueError: if it is not given, or is another one
    """
    named: str | None = run.settings["segments"]
    given = None if segments is None else f"{segments.__module__}.{getattr(segments, '__qualname__', repr(segments))}"
    if given is not None and given != named:
        raise ValueError(f"segments={segments!r} is not what run '{run.key}' was made with, which is {named!r}")
    if segments is None and named is not None and "." in named and ":" not in named and not dataset.has_field(named):
        raise ValueError(f"The segments of run '{run.key}' come from the function {named}; pass it as segments=...")
    return named if segments is None else segments
