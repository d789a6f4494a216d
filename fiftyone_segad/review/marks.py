"""Marks: what people say of samples, regions and segments of a run, so that ``rescore`` can learn it."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Collection, Iterable
from datetime import datetime, timezone
from typing import NamedTuple

import fiftyone as fo
import fiftyone.core.labels as fol
import fiftyone.core.patches as fop
from bson import ObjectId
from fiftyone.core.collections import SampleCollection as Samples

from ..data.truth import GT_FIELD, read_truth, truth_fields
from ..errors import SegadError
from ..registry.keys import ANOMALOUS, NORMAL, field_name, review_field
from ..registry.samples import all_slices
from ..segments.boxes import RelativeBox
from ..segments.places import COMPLETE_IMAGE
from ..utils.images import read_header
from ..utils.text import pluralize
from .mark_field import (
    REGION,
    SAMPLE,
    SEGMENT,
    Mark,
    declare_review_field,
    mark_of,
    read_detections,
    read_marks,
    review_lock,
    reviewed_dataset,
    rounded_box,
    user_name,
    write_detections,
)
from .undo import log_action

logger = logging.getLogger(__name__)


class _Target(NamedTuple):
    """A box that is to be marked."""

    box: RelativeBox
    kind: str


def mark_normal(
    samples: Samples, key: str, why: str = "", by: str | None = None, label_ids: Collection[str] | None = None
) -> list[Mark]:
    """Mark samples, or patches of them, as normal; ``rescore`` learns it.

    Marks that lie on defects of the ground truth in ``defect_mask`` are kept, with a warning.

    Args:
        samples: samples, or patches of a field of Detections, such as the run's regions:
            ``dataset.to_patches("segad_regions")``. An earlier mark of the same box is replaced
        key: key of the run that is reviewed
        why (""): the reason
        by (None): who says so; by default the user of the machine
        label_ids (None): ids of the run's regions or segments in these samples, which are meant instead of the samples

    Returns:
        the new marks

    Raises:
        ValueError: if there is no such run, nothing is chosen, the patches have no boxes, or the run has no such label

    Examples:
        >>> regions = dataset.to_patches("segad_regions")  # doctest: +SKIP
        >>> segad.mark_normal(regions.limit(1), "segad", why="only dust")  # doctest: +SKIP
        >>> segad.rescore(dataset, "segad")  # doctest: +SKIP
    """
    marks = _mark(samples, key, label_ids, label=NORMAL, why=why, by=by)
    if wrong := marks_on_defects(samples, marks):
        logger.warning("%s Undo it with undo_review(), unless the ground truth is wrong", on_defects_text(wrong))
    return marks


def mark_anomalous(
    samples: Samples,
    key: str,
    label: str | None = None,
    why: str = "",
    by: str | None = None,
    label_ids: Collection[str] | None = None,
) -> list[Mark]:
    """Mark samples, or patches of them, as defective; ``rescore`` raises what looks like them.

    Args:
        samples: as for ``mark_normal``. A mark on a complete sample stands for its highest places: mark regions where
            you can
        key: key of the run
        label (None): the kind of defect, e.g. ``"scratch"``
        why: as for ``mark_normal``
        by (None): as for ``mark_normal``
        label_ids (None): as for ``mark_normal``

    Returns:
        the new marks

    Raises:
        ValueError: as ``mark_normal``

    Examples:
        >>> segad.mark_anomalous(dataset.match_tags("scrap"), "segad", by="ada")  # doctest: +SKIP
        >>> region = dataset.first().segad_regions.detections[0]  # doctest: +SKIP
        >>> segad.mark_anomalous(dataset, "segad", "scratch", label_ids=[region.id])  # doctest: +SKIP
    """
    if label is not None and not (isinstance(label, str) and label.strip()):
        raise ValueError(f"label={label!r} must be the name of a kind of defect, or None")
    return _mark(samples, key, label_ids, label=ANOMALOUS, why=why, by=by, defect=label)


def unmark(samples: Samples, key: str) -> list[Mark]:
    """Take marks back: all of some samples, or those that have the boxes of some patches.

    Args:
        samples: samples, patches as for ``mark_normal``, or patches of the field ``<key>_review`` itself
        key: key of the run

    Returns:
        the marks that were taken back

    Raises:
        ValueError: if there is no such run, or nothing is chosen

    Examples:
        >>> segad.unmark(dataset.limit(1), "segad")  # doctest: +SKIP
    """
    dataset = reviewed_dataset(samples, key)
    targets = _targets(samples, key)
    if not dataset.has_sample_field(review_field(key)):
        return []
    every_mark = not isinstance(samples, fop.PatchesView)
    removed: dict[str, list[fo.Detection]] = {}
    left: dict[str, list[fo.Detection]] = {}
    with review_lock(dataset):
        for id, marks in read_detections(dataset, key, targets).items():
            boxes = {rounded_box(target.box) for target in targets[id]}
            taken_back = [mark for mark in marks if every_mark or rounded_box(mark.bounding_box) in boxes]
            if taken_back:
                removed[id] = taken_back
                left[id] = [mark for mark in marks if mark not in taken_back]
        if removed:
            write_detections(dataset, key, left)
            log_action(dataset, key, uuid.uuid4().hex, removed)
    return [mark_of(id, mark) for id, marks in removed.items() for mark in marks]


def list_marks(samples: Samples, key: str, label: str | None = None) -> list[Mark]:
    """List the marks of samples, oldest first.

    Args:
        samples: the samples
        key: key of the run
        label (None): only those that are ``normal`` or ``anomalous``

    Raises:
        ValueError: if there is no such run

    Examples:
        >>> [(mark.label, mark.by, mark.why) for mark in segad.list_marks(dataset, "segad")]  # doctest: +SKIP
        [('normal', 'ada', 'only dust')]
    """
    reviewed_dataset(samples, key)
    return read_marks(samples, key, label)


def marks_on_defects(samples: Samples, marks: Iterable[Mark], gt_field: str = GT_FIELD) -> list[Mark]:
    """Find the marks that call normal what the ground truth calls a defect.

    Args:
        samples: the dataset, or a view of it
        marks: the marks
        gt_field ("defect_mask"): ground truth; nothing is known where it does not exist or cannot be read
    """
    normal = [mark for mark in marks if mark.label == NORMAL]
    dataset = samples._root_dataset
    if not normal or gt_field not in truth_fields(dataset):
        return []
    view = all_slices(dataset).select(list({mark.sample_id for mark in normal}))
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


def on_defects_text(wrong: list[Mark]) -> str:
    """Say that marks lie on defects."""
    marks = pluralize(len(wrong), "mark calls", "marks call")
    return f"{marks} normal what the ground truth calls a defect: the next rescore() learns to miss it."


def _mark(
    samples: Samples,
    key: str,
    label_ids: Collection[str] | None,
    *,
    label: str,
    why: str,
    by: str | None,
    defect: str | None = None,
) -> list[Mark]:
    dataset = reviewed_dataset(samples, key)
    if label_ids is None:
        flat = all_slices(samples)  # of groups, those samples are meant that the run scored
        targets = _targets(samples if flat is samples else flat.exists(field_name(key, "score")), key)
    else:
        targets = _label_targets(samples, key, label_ids)
    declare_review_field(dataset, key)
    action = uuid.uuid4().hex
    common = {
        "label": label,
        "by": by or user_name(),
        "at": datetime.now(timezone.utc),
        "why": why or "",
        "action": action,
        "defect": defect,
    }
    added: list[Mark] = []
    replaced: dict[str, list[fo.Detection]] = {}
    detections: dict[str, list[fo.Detection]] = {}
    with review_lock(dataset):
        for id, marks in read_detections(dataset, key, targets).items():
            new = [fo.Detection(bounding_box=list(box), kind=kind, **common) for box, kind in targets[id]]
            boxes = {rounded_box(mark.bounding_box) for mark in new}
            old = [mark for mark in marks if rounded_box(mark.bounding_box) in boxes]
            if old:
                replaced[id] = old
            detections[id] = [mark for mark in marks if mark not in old] + new
            added += [mark_of(id, mark) for mark in new]
        write_detections(dataset, key, detections)
        dataset.add_dynamic_sample_fields(all_slices(dataset).get_dynamic_field_schema(fields=review_field(key)))
        log_action(dataset, key, action, replaced, detections)
    return added


def _targets(samples: Samples, key: str) -> dict[str, list[_Target]]:
    """Return the boxes that are meant, by sample: complete images, or those of patches."""
    if len(samples) == 0:
        raise ValueError("Nothing is chosen: the view is empty")
    if not isinstance(samples, fop.PatchesView):
        if isinstance(samples, fop.EvaluationPatchesView):
            raise ValueError("Patches of an evaluation cannot be marked; use patches of a field of Detections")
        return {id: [_Target(COMPLETE_IMAGE, SAMPLE)] for id in all_slices(samples).values("id")}
    field = samples.patches_field
    if samples._root_dataset.get_field(field).document_type is not fol.Detections:
        raise ValueError(f"Patches of '{field}' have no boxes; use patches of a field of Detections")
    kind = SEGMENT if field == f"{key}_segments" else REGION
    targets: dict[str, list[_Target]] = {}
    for id, (x, y, width, height) in zip(*samples.values(["sample_id", f"{field}.bounding_box"]), strict=True):
        targets.setdefault(str(id), []).append(_Target((x, y, width, height), kind))
    return targets


def _label_targets(samples: Samples, key: str, label_ids: Collection[str]) -> dict[str, list[_Target]]:
    """Return the boxes of the run's regions and segments that have some ids, by sample."""
    if isinstance(label_ids, str) or not label_ids:
        raise ValueError(f"label_ids={label_ids!r} must be a list of ids of labels, at least one")
    missing = set(label_ids)
    targets: dict[str, list[_Target]] = {}
    for name, kind in (("regions", REGION), ("segments", SEGMENT)):
        field = field_name(key, name)
        if not missing or not samples.has_sample_field(field):
            continue
        view = all_slices(samples).select_labels(ids=list(filter(ObjectId.is_valid, missing)), fields=field)
        paths = ["id", f"{field}.detections.id", f"{field}.detections.bounding_box"]
        for sample_id, ids, boxes in zip(*view.values(paths), strict=True):
            for id, (x, y, width, height) in zip(ids or (), boxes or (), strict=True):
                missing.discard(id)
                targets.setdefault(sample_id, []).append(_Target((x, y, width, height), kind))
    if missing:
        raise ValueError(
            f"Run '{key}' has no region or segment with the id {sorted(missing)[0]} in these samples; ids change when "
            "it is scored again or its threshold is set"
        )
    return targets
