"""Review: what people decided about samples, regions and segments, kept on the dataset.

The decisions about a run are Detections in the field ``<key>_review`` of its samples, so that they are seen in the App,
survive new runs of the key, and are exported with the dataset. What each action replaced is kept besides, for
``undo_review``.
"""

from __future__ import annotations

import getpass
import hashlib
import logging
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from math import ceil, floor
from typing import Any

import fiftyone as fo
import fiftyone.core.labels as fol
import fiftyone.core.patches as fop
from bson import json_util
from fiftyone.core.collections import SampleCollection as Samples

from ..data.truth import GT_FIELD, read_truth, truth_fields
from ..engine.job import JobImage
from ..errors import SegadError
from ..registry.fields import ANOMALOUS, NORMAL, set_colours
from ..registry.run import list_runs, review_field, review_log
from ..utils.images import read_header
from ..utils.text import pluralize

MARKS = "marks"
"""Setting of a run: the digest of the marks that it has learnt; None if there are none."""

MarkedImages = list[tuple[JobImage, list[tuple[float, ...]]]]
"""Images and the boxes in them, as a job takes them."""

logger = logging.getLogger(__name__)

SAMPLE, REGION, SEGMENT = "sample", "region", "segment"
"""Kinds of marks."""

UNDOABLE = 50
"""Actions that can be undone."""

_DESCRIPTION = "What people decided: normal or anomalous; by, at (UTC), why, kind (sample, region or segment)"
_GREEN, _MAGENTA = "#00c853", "#d500f9"
_ROUNDING = 1e-6
_WHOLE = [0.0, 0.0, 1.0, 1.0]


@dataclass(frozen=True)
class Mark:
    """A decision.

    Attributes:
        sample_id: the sample
        label: ``normal`` or ``anomalous``
        box: relative ``x, y, width, height``; the whole image for a sample
        kind: ``sample``, ``region`` or ``segment``
        by: who decided
        at: when, in UTC
        why: the reason, empty if none was given
        id: the id of its Detection
        action: marks that were made by one call share it
    """

    sample_id: str
    label: str
    box: tuple[float, float, float, float]
    kind: str
    by: str
    at: datetime
    why: str
    id: str
    action: str

    def pixels(self, size: tuple[int, int]) -> tuple[slice, slice]:
        """Rows and columns of the box in an image of ``size`` (width, height); pixels that it cuts are in it."""
        (x, y, w, h), (width, height) = self.box, size
        # A box from pixels to shares of the image and back must not gain a row by rounding
        columns = slice(floor(x * width + _ROUNDING), ceil((x + w) * width - _ROUNDING))
        return slice(floor(y * height + _ROUNDING), ceil((y + h) * height - _ROUNDING)), columns


def mark_normal(samples: Samples, key: str, why: str = "", by: str | None = None) -> list[Mark]:
    """Says that samples, or patches of them, are normal; ``rescore`` learns it.

    Marks that lie on defects of the ground truth in ``defect_mask`` are kept, with a warning.

    Args:
        samples: samples, or patches of a field of Detections, such as the run's regions:
            ``dataset.to_patches("segad_regions")``. An earlier mark of the same box is replaced
        key: key of the run that is reviewed
        why (""): the reason
        by (None): who decided; by default the user of the machine

    Returns:
        the new marks

    Raises:
        ValueError: if there is no such run, nothing is chosen, or the patches have no boxes
    """
    marks = _mark(samples, key, NORMAL, why, by)
    if wrong := marks_on_defects(samples, marks):
        logger.warning("%s Undo it with undo_review(), unless the ground truth is wrong", on_defects_text(wrong))
    return marks


def mark_anomalous(samples: Samples, key: str, why: str = "", by: str | None = None) -> list[Mark]:
    """Says that samples, or patches of them, are defective.

    Args:
        samples, key, why, by: as for ``mark_normal``

    Returns:
        the new marks

    Raises:
        ValueError: as ``mark_normal``
    """
    return _mark(samples, key, ANOMALOUS, why, by)


def on_defects_text(wrong: list[Mark]) -> str:
    """Says that marks lie on defects."""
    marks = pluralize(len(wrong), "mark calls", "marks call")
    return f"{marks} normal what the ground truth calls a defect: the next rescore() learns to miss it."


def marks_on_defects(samples: Samples, marks: Iterable[Mark], gt_field: str = GT_FIELD) -> list[Mark]:
    """Those marks that call normal what the ground truth calls a defect.

    Args:
        samples: the dataset, or a view of it
        marks: the marks
        gt_field ("defect_mask"): ground truth; nothing is known where it does not exist or cannot be read
    """
    normal = [mark for mark in marks if mark.label == NORMAL]
    dataset = samples._root_dataset
    if not normal or gt_field not in truth_fields(dataset):
        return []
    view = dataset.select(list({mark.sample_id for mark in normal}))
    truths = read_truth(view, gt_field)
    wrong: set[str] = set()
    for id, path in zip(*view.values(["id", "filepath"]), strict=True):
        try:
            size = read_header(path).size
            mask = truths[id].read(size)
        except (SegadError, ValueError):
            continue
        if mask is not None:
            wrong |= {mark.id for mark in normal if mark.sample_id == id and mask[mark.pixels(size)].any()}
    return [mark for mark in normal if mark.id in wrong]


def unmark(samples: Samples, key: str) -> list[Mark]:
    """Take marks back: all of some samples, or those that have the boxes of some patches.

    Args:
        samples: samples, patches as for ``mark_normal``, or patches of the field ``<key>_review`` itself
        key: key of the run

    Returns:
        the marks that were taken back

    Raises:
        ValueError: if there is no such run, or nothing is chosen
    """
    dataset = _dataset(samples, key)
    field = review_field(key)
    chosen = _chosen(samples, key)
    if not dataset.has_sample_field(field):
        return []
    patches = isinstance(samples, fop.PatchesView)
    taken: dict[str, list[fo.Detection]] = {}
    kept: dict[str, fo.Detections] = {}
    for id, marks in _detections(dataset, field, chosen).items():
        boxes = [_rounded(patch.box) for patch in chosen[id]]
        gone = [mark for mark in marks if not patches or _rounded(mark.bounding_box) in boxes]
        if gone:
            taken[id] = gone
            kept[id] = fo.Detections(detections=[mark for mark in marks if mark not in gone])
    if taken:
        dataset.set_values(field, kept, key_field="id")
        _remember(dataset, key, uuid.uuid4().hex, taken)
    return [_mark_of(id, mark) for id, marks in taken.items() for mark in marks]


def undo_review(samples: Samples, key: str) -> bool:
    """Take back the last action of ``mark_normal``, ``mark_anomalous`` or ``unmark``.

    Args:
        samples: the dataset, or a view of it
        key: key of the run

    Returns:
        whether there was one; the last 50 are kept

    Raises:
        ValueError: if there is no such run
    """
    dataset = _dataset(samples, key)
    log = _log(dataset, key)
    if not log or not dataset.has_sample_field(review_field(key)):
        return False
    last = log.pop()
    field = review_field(key)
    restored = {id: [fo.Detection.from_dict(mark) for mark in marks] for id, marks in last["replaced"].items()}
    touched = {*restored, *last["samples"]}
    values = {}
    for id, marks in _detections(dataset, field, touched).items():
        kept = [mark for mark in marks if mark["action"] != last["action"]]
        values[id] = fo.Detections(detections=kept + restored.get(id, []))
    dataset.set_values(field, values, key_field="id")
    _keep(dataset, key, log)
    return True


def list_marks(samples: Samples, key: str, label: str | None = None) -> list[Mark]:
    """The marks of samples, oldest first.

    Args:
        samples: the samples
        key: key of the run
        label (None): only those that are ``normal`` or ``anomalous``

    Raises:
        ValueError: if there is no such run
    """
    _dataset(samples, key)
    return _marks(samples, key, label)


def _marks(samples: Samples, key: str, label: str | None) -> list[Mark]:
    """The marks; none where there is no run yet."""
    field = review_field(key)
    if not samples.has_sample_field(field):
        return []
    marked = samples.exists(f"{field}.detections")
    pairs = zip(*marked.values(["id", f"{field}.detections"]), strict=True)
    marks = [_mark_of(id, mark) for id, several in pairs for mark in several or []]
    return sorted((m for m in marks if label in (None, m.label)), key=lambda mark: (mark.at, mark.sample_id, mark.box))


def marked_images(dataset: fo.Dataset, key: str) -> tuple[MarkedImages, str | None]:
    """The images with boxes that are marked as normal, and a digest of them; None if there are none."""
    marks = _marks(dataset, key, NORMAL)
    if not marks:
        return [], None
    by_sample: dict[str, list[Mark]] = {}
    for mark in sorted(marks, key=lambda mark: (mark.sample_id, mark.box)):
        by_sample.setdefault(mark.sample_id, []).append(mark)
    found, paths = dataset.select(list(by_sample)).values(["id", "filepath"])
    images: MarkedImages = []
    for id, path in sorted(zip(found, paths, strict=True)):
        images.append((JobImage(id, path), [mark.box for mark in by_sample[id]]))
    digest = hashlib.sha256(repr([(image.path, boxes) for image, boxes in images]).encode())
    return images, digest.hexdigest()


@dataclass(frozen=True)
class _Chosen:
    """A box that somebody chose."""

    box: list[float]
    kind: str


def _mark(samples: Samples, key: str, label: str, why: str, by: str | None) -> list[Mark]:
    dataset = _dataset(samples, key)
    chosen = _chosen(samples, key)
    _declare(dataset, key)
    field, action = review_field(key), uuid.uuid4().hex
    at, author, why = datetime.now(timezone.utc), by or _user(), why or ""
    made: list[Mark] = []
    replaced: dict[str, list[fo.Detection]] = {}
    values: dict[str, fo.Detections] = {}
    for id, marks in _detections(dataset, field, chosen).items():
        new = [
            fo.Detection(label=label, bounding_box=each.box, kind=each.kind, by=author, at=at, why=why, action=action)
            for each in chosen[id]
        ]
        boxes = {_rounded(mark.bounding_box) for mark in new}
        old = [mark for mark in marks if _rounded(mark.bounding_box) in boxes]
        if old:
            replaced[id] = old
        values[id] = fo.Detections(detections=[mark for mark in marks if mark not in old] + new)
        made += [_mark_of(id, mark) for mark in new]
    dataset.set_values(field, values, key_field="id")
    dataset.add_dynamic_sample_fields(fields=field)
    _remember(dataset, key, action, replaced, values)
    return made


def _dataset(samples: Samples, key: str) -> fo.Dataset:
    """The dataset of what is reviewed.

    Raises:
        ValueError: if they are no samples, or there is no such run
    """
    if not isinstance(samples, Samples):
        raise ValueError(f"samples must be a FiftyOne dataset or view, got {type(samples).__name__}")
    dataset: fo.Dataset = samples._root_dataset
    if key not in list_runs(dataset):
        raise ValueError(f"Dataset '{dataset.name}' has no run '{key}' to review; its runs are {list_runs(dataset)}")
    return dataset


def _chosen(samples: Samples, key: str) -> dict[str, list[_Chosen]]:
    """The boxes that are meant, by sample."""
    if len(samples) == 0:
        raise ValueError("Nothing is chosen: the view is empty")
    if not isinstance(samples, fop.PatchesView):
        if isinstance(samples, fop.EvaluationPatchesView):
            raise ValueError("Patches of an evaluation cannot be marked; use patches of a field of Detections")
        return {id: [_Chosen(_WHOLE, SAMPLE)] for id in samples.values("id")}
    field = samples.patches_field
    if samples._root_dataset.get_field(field).document_type is not fol.Detections:
        raise ValueError(f"Patches of '{field}' have no boxes; use patches of a field of Detections")
    kind = SEGMENT if field == f"{key}_segments" else REGION
    chosen: dict[str, list[_Chosen]] = {}
    for id, box in zip(*samples.values(["sample_id", f"{field}.bounding_box"]), strict=True):
        chosen.setdefault(str(id), []).append(_Chosen(list(box), kind))
    return chosen


def _detections(dataset: fo.Dataset, field: str, ids: Iterable[str]) -> dict[str, list[fo.Detection]]:
    """The marks of some samples, in no particular order."""
    found, marks = dataset.select(list(ids)).values(["id", f"{field}.detections"])
    return {id: several or [] for id, several in zip(found, marks, strict=True)}


def _mark_of(id: str, mark: fo.Detection) -> Mark:
    x, y, width, height = mark.bounding_box
    at = mark["at"].replace(tzinfo=timezone.utc)  # the database has no time zones
    return Mark(
        id, mark.label, (x, y, width, height), mark["kind"], mark["by"], at, mark["why"], str(mark.id), mark["action"]
    )


def _rounded(box: Iterable[float]) -> tuple[float, ...]:
    return tuple(round(value, 6) for value in box)


def _declare(dataset: fo.Dataset, key: str) -> None:
    field = review_field(key)
    if dataset.has_sample_field(field):
        return
    dataset.add_sample_field(field, fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections, description=_DESCRIPTION)
    by_label = [{"value": NORMAL, "color": _GREEN}, {"value": ANOMALOUS, "color": _MAGENTA}]
    colours = {"path": field, "fieldColor": _GREEN, "colorByAttribute": "label", "valueColors": by_label}
    set_colours(dataset, [colours])


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a user that has no name
        return "unknown"


def _remember(
    dataset: fo.Dataset,
    key: str,
    action: str,
    replaced: dict[str, list[fo.Detection]],
    touched: Iterable[str] = (),
) -> None:
    log = _log(dataset, key)
    gone = {id: [mark.to_dict() for mark in marks] for id, marks in replaced.items()}
    log.append({"action": action, "samples": list(touched), "replaced": gone})
    _keep(dataset, key, log[-UNDOABLE:])


def _log(dataset: fo.Dataset, key: str) -> list[dict[str, Any]]:
    log: list[dict[str, Any]] = json_util.loads(review_log(dataset).get(key) or "[]")
    return log


def _keep(dataset: fo.Dataset, key: str, log: list[dict[str, Any]]) -> None:
    review_log(dataset).set(key, json_util.dumps(log))
