"""Turn FiftyOne collections into the images of a job."""

from __future__ import annotations

from typing import Any

import fiftyone as fo
from fiftyone.core.collections import SampleCollection as Samples

from ..engine.job import JobImage
from ..segments.boxes import Proposer, get_proposer


def job_images(samples: Samples, segments: str | Proposer | None) -> list[JobImage]:
    """Return the images of samples, under the samples' ids.

    Args:
        samples: the samples
        segments: as in ``compute_segment_anomalies``; if it names a field, the images bring its boxes

    Raises:
        ValueError: if ``segments`` is neither a specification of segments nor a Detections field
    """
    ids, paths = samples.values(["id", "filepath"])
    boxes: list[Any] = [None] * len(ids)
    if isinstance(segments, str) and samples.has_sample_field(segments):
        kind = getattr(samples.get_field(segments), "document_type", None)
        if kind is not fo.Detections:
            raise ValueError(f"segments={segments!r} is a field, but not of Detections")
        boxes = [image_boxes or [] for image_boxes in samples.values(f"{segments}.detections.bounding_box")]
    elif segments is not None:
        get_proposer(segments)
    return [JobImage(*image) for image in zip(ids, paths, boxes, strict=True)]


def reference_images(samples: Samples, segments: str | Proposer | None) -> list[JobImage]:
    """Return the images of samples to compare with, each file once and under its path.

    Raises:
        ValueError: as ``job_images``
    """
    by_path = {image.path: image for image in job_images(samples, segments)}
    return [JobImage(path, path, image.boxes) for path, image in by_path.items()]


def segments_name(segments: str | Proposer | None) -> str | None:
    """Return the name by which a run keeps its segments: of a function, where it is defined."""
    if callable(segments):
        return f"{segments.__module__}.{getattr(segments, '__qualname__', repr(segments))}"
    return segments
