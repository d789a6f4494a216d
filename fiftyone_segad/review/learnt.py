"""What a run learns from marks, and how many of them it has not learnt yet."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import fiftyone as fo

from ..engine.job import JobImage, MarkedImage
from ..registry.keys import ANOMALOUS, NORMAL
from ..registry.samples import all_slices
from ..segments.boxes import RelativeBox
from .mark_field import Mark, read_marks

MARKS = "marks"
"""Setting of a run: the digest of the marks that it has learnt; None if there are none."""


class LearntMarks(NamedTuple):
    """The marks that a run learns.

    Attributes:
        normal: images with boxes that are marked as normal
        defects: images with boxes that are marked as anomalous
        digest: a digest of both; None if there are none
    """

    normal: list[MarkedImage]
    defects: list[MarkedImage]
    digest: str | None


def learnt_marks(dataset: fo.Dataset, key: str) -> LearntMarks:
    """Return what a run learns from the marks of its images."""
    marks = read_marks(dataset, key, None)
    return _learnt(_paths(dataset, marks), marks)


def unlearnt_marks(dataset: fo.Dataset, key: str, learnt: str | None) -> int | None:
    """Count the marks that have come since a run learnt; None if marks that it learnt are gone.

    Args:
        dataset: the dataset
        key: key of the run
        learnt: digest of the marks that the run has learnt, its setting ``MARKS``
    """
    marks = read_marks(dataset, key, None)
    if learnt is None:
        return len(marks)
    paths = _paths(dataset, marks)
    counts = range(len(marks) + 1)
    return next((count for count in counts if _learnt(paths, marks[: len(marks) - count]).digest == learnt), None)


def _learnt(paths: dict[str, str], marks: Sequence[Mark]) -> LearntMarks:
    normal, defects = (
        _marked_images(paths, [mark for mark in marks if mark.label == label]) for label in (NORMAL, ANOMALOUS)
    )
    if not normal and not defects:
        return LearntMarks([], [], None)
    contents = [[(image.path, boxes) for image, boxes in images] for images in (normal, defects)]
    digest = hashlib.sha256(repr(contents if defects else contents[0]).encode())
    return LearntMarks(normal, defects, digest.hexdigest())


def _paths(dataset: fo.Dataset, marks: Iterable[Mark]) -> dict[str, str]:
    """Return the file of each sample that has marks, by its id and in the order of the ids."""
    ids = list({mark.sample_id for mark in marks})
    return dict(sorted(zip(*all_slices(dataset).select(ids).values(["id", "filepath"]), strict=True))) if ids else {}


def _marked_images(paths: dict[str, str], marks: Iterable[Mark]) -> list[MarkedImage]:
    """Return the images with marks, and the boxes of these, in an order that no order of marking changes."""
    boxes: dict[str, list[RelativeBox]] = {}
    for mark in sorted(marks, key=lambda mark: (mark.sample_id, mark.box)):
        boxes.setdefault(mark.sample_id, []).append(mark.box)
    return [(JobImage(id, path), boxes[id]) for id, path in paths.items() if id in boxes]
