"""The field ``<key>_review``, in which a dataset keeps what people said of its samples: one Detection per mark.

As Detections the marks are seen in the App, survive new runs of the key, and are exported with the dataset.
"""

from __future__ import annotations

import getpass
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from math import ceil, floor

import fiftyone as fo
from fiftyone.core.collections import SampleCollection as Samples

from ..registry.colours import GREEN, MAGENTA, set_colours
from ..registry.folders import dataset_folder
from ..registry.keys import ANOMALOUS, NORMAL, list_runs, review_field
from ..registry.samples import all_slices
from ..registry.sidebar import add_group
from ..segments.boxes import RelativeBox, Size

SAMPLE, REGION, SEGMENT = "sample", "region", "segment"
"""Kinds of marks."""

_DESCRIPTION = (
    "What people said: normal or anomalous (defect: its kind); by, at (UTC), why, kind (sample, region or segment)"
)
_ROUNDING = 1e-6
_PATIENCE = 30
"""Seconds to wait for those who mark at the same time."""


@dataclass(frozen=True)
class Mark:
    """What a person said of one image, or of a region or segment of it.

    Attributes:
        sample_id: the sample
        label: ``normal`` or ``anomalous``
        box: relative ``x, y, width, height``; the complete image for a sample
        kind: ``sample``, ``region`` or ``segment``
        by: who said it
        at: when, in UTC
        why: the reason, empty if none was given
        id: the id of its Detection
        action: marks that were made by one call share it
        defect: the kind of defect, if one was named
    """

    sample_id: str
    label: str
    box: RelativeBox
    kind: str
    by: str
    at: datetime
    why: str
    id: str
    action: str
    defect: str | None = None

    def pixels(self, size: Size) -> tuple[slice, slice]:
        """Return rows and columns of the box in an image of ``size``; pixels that it cuts are in it.

        Examples:
            >>> mark = Mark("1", "normal", (0.25, 0.5, 0.3, 0.5), "region", "ada", datetime.now(), "", "2", "3")
            >>> mark.pixels((8, 4))
            (slice(2, 4, None), slice(2, 5, None))
        """
        (x, y, w, h), (width, height) = self.box, size
        # A box from pixels to shares of the image and back must not gain a row by rounding
        columns = slice(floor(x * width + _ROUNDING), ceil((x + w) * width - _ROUNDING))
        return slice(floor(y * height + _ROUNDING), ceil((y + h) * height - _ROUNDING)), columns


def reviewed_dataset(samples: Samples, key: str) -> fo.Dataset:
    """Return the dataset of samples whose run is reviewed.

    Raises:
        ValueError: if they are no samples, or there is no such run
    """
    if not isinstance(samples, Samples):
        raise ValueError(f"samples must be a FiftyOne dataset or view, got {type(samples).__name__}")
    dataset: fo.Dataset = samples._root_dataset
    if key not in list_runs(dataset):
        raise ValueError(f"Dataset '{dataset.name}' has no run '{key}' to review; its runs are {list_runs(dataset)}")
    return dataset


@contextmanager
def review_lock(dataset: fo.Dataset) -> Iterator[None]:
    """Hold the lock of the marks of datasets, so that nobody's are lost where two people mark at once.

    Unlike that of a run it waits, for the milliseconds that a mark takes, and is free while a run is scored. Where its
    folder cannot be written, there is none: marks need no folder.
    """
    import filelock  # here, so that the package imports in no time

    folder = dataset_folder(dataset).parent
    lock = filelock.FileLock(folder / "review.lock", timeout=_PATIENCE)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError:  # among them that of the timeout
        yield
        return
    try:
        yield
    finally:
        lock.release()


def rounded_box(box: Iterable[float]) -> tuple[float, ...]:
    """Round a box, so that two that are the same are equal."""
    return tuple(round(value, 6) for value in box)


def user_name() -> str:
    """Return the name of the user of the machine."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a user that has no name
        return "unknown"


def declare_review_field(dataset: fo.Dataset, key: str) -> None:
    """Add the field of a run's marks with its colours, unless it is there."""
    field = review_field(key)
    if dataset.has_sample_field(field):
        return
    dataset.add_sample_field(field, fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections, description=_DESCRIPTION)
    by_label = [{"value": NORMAL, "color": GREEN}, {"value": ANOMALOUS, "color": MAGENTA}]
    colours = {"path": field, "fieldColor": GREEN, "colorByAttribute": "label", "valueColors": by_label}
    set_colours(dataset, [colours])
    add_group(dataset, key, [field])


def read_detections(dataset: fo.Dataset, key: str, ids: Iterable[str]) -> dict[str, list[fo.Detection]]:
    """Read the marks of some samples as they are stored, by id, in no particular order."""
    sample_ids, detections = all_slices(dataset).select(list(ids)).values(["id", f"{review_field(key)}.detections"])
    return {id: marks or [] for id, marks in zip(sample_ids, detections, strict=True)}


def write_detections(dataset: fo.Dataset, key: str, detections: dict[str, list[fo.Detection]]) -> None:
    """Replace the marks of some samples."""
    labels = {id: fo.Detections(detections=marks) for id, marks in detections.items()}
    dataset.set_values(review_field(key), labels, key_field="id")


def write_marks(dataset: fo.Dataset, key: str, marks: Sequence[Mark]) -> None:
    """Write marks that come from elsewhere, unless the run has marks of its own."""
    if not marks or read_marks(dataset, key, None):
        return
    declare_review_field(dataset, key)
    detections: dict[str, list[fo.Detection]] = {}
    for mark in marks:
        values = {name: getattr(mark, name) for name in ("label", "kind", "by", "at", "why", "action", "defect")}
        detections.setdefault(mark.sample_id, []).append(fo.Detection(bounding_box=list(mark.box), **values))
    write_detections(dataset, key, detections)
    dataset.add_dynamic_sample_fields(all_slices(dataset).get_dynamic_field_schema(fields=review_field(key)))


def read_marks(samples: Samples, key: str, label: str | None) -> list[Mark]:
    """Read the marks of samples, oldest first, of one label or all; none where there is no field for them yet."""
    field = review_field(key)
    if not samples.has_sample_field(field):
        return []
    ids, detections = all_slices(samples).exists(f"{field}.detections").values(["id", f"{field}.detections"])
    marks = [mark_of(id, detection) for id, stored in zip(ids, detections, strict=True) for detection in stored or []]
    return sorted(
        (mark for mark in marks if label in (None, mark.label)), key=lambda mark: (mark.at, mark.sample_id, mark.box)
    )


def mark_of(sample_id: str, detection: fo.Detection) -> Mark:
    """Convert a mark of a sample from how it is stored."""
    x, y, width, height = detection.bounding_box
    return Mark(
        sample_id=sample_id,
        label=detection.label,
        box=(x, y, width, height),
        kind=detection["kind"],
        by=detection["by"],
        at=detection["at"].replace(tzinfo=timezone.utc),  # the database has no time zones
        why=detection["why"],
        id=str(detection.id),
        action=detection["action"],
        defect=detection["defect"] if detection.has_field("defect") else None,  # marks of older versions have none
    )
