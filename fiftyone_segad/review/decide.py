"""Decisions on alarms, one key each, that many people may send at once and some of them twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import fiftyone as fo

from ..registry.keys import ANOMALOUS, NORMAL, review_field
from ..registry.samples import all_slices
from ..segments.boxes import RelativeBox
from .mark_field import (
    REGION,
    Mark,
    declare_review_field,
    mark_of,
    read_detections,
    review_lock,
    reviewed_dataset,
    rounded_box,
    user_name,
    write_detections,
)
from .undo import UNDOABLE, log_entry, read_log, take_back, write_log

Detections = dict[str, list[fo.Detection]]
"""Marks as they are stored, by sample."""


@dataclass(frozen=True)
class Decision:
    """What a person decided of one alarm, or that a decision is taken back.

    Attributes:
        action: identifies the decision; whoever makes it chooses it, so that one that arrives twice counts once
        sample_id: the sample
        box: relative ``x, y, width, height`` of the alarm
        label: ``normal`` or ``anomalous``; None to take the decision ``action`` back
        replaces: action of the mark that the alarm had when it was looked at, None if it had none
    """

    action: str
    sample_id: str
    box: RelativeBox
    label: str | None
    replaces: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of a decision.

    Attributes:
        action: that of the decision
        mark: the mark that the alarm has now; None if it has none
        refused: whether another person has decided in the meantime, whose mark stays
    """

    action: str
    mark: Mark | None
    refused: bool = False


def decide(dataset: fo.Dataset, key: str, decisions: Sequence[Decision], by: str | None = None) -> list[Outcome]:
    """Write decisions on alarms, and take decisions back, in their order.

    A decision that was written before is not written again. One on an alarm that somebody else has decided since it
    was looked at is refused, so that no mark is overwritten unseen.

    Args:
        dataset: the dataset
        key: key of the run
        decisions: the decisions
        by (None): who decides; by default the user of the machine

    Raises:
        ValueError: if there is no such run, or a label is neither ``normal`` nor ``anomalous``

    Examples:
        >>> decision = Decision("a-new-uuid", sample.id, (0.1, 0.2, 0.1, 0.1), "normal")  # doctest: +SKIP
        >>> decide(dataset, "segad", [decision])[0].refused  # doctest: +SKIP
        False
    """
    reviewed_dataset(dataset, key)
    wrong = {decision.label for decision in decisions} - {NORMAL, ANOMALOUS, None}
    if wrong:
        raise ValueError(f"label={wrong.pop()!r} must be '{NORMAL}', '{ANOMALOUS}' or None")
    with review_lock(dataset):
        declare_review_field(dataset, key)
        log = read_log(dataset, key)
        ids = {decision.sample_id for decision in decisions}
        marks = read_detections(dataset, key, ids)
        changed: Detections = {}
        outcomes = []
        for decision in decisions:
            if decision.sample_id not in marks:  # the sample is gone
                outcomes.append(Outcome(decision.action, None, refused=True))
                continue
            before = marks[decision.sample_id]
            outcome, after = _decided(decision, before, log, by or user_name())
            outcomes.append(outcome)
            if after is not before:
                marks[decision.sample_id] = changed[decision.sample_id] = after
        if changed:
            write_detections(dataset, key, changed)
            if not dataset.has_field(f"{review_field(key)}.detections.by"):
                schema = all_slices(dataset).get_dynamic_field_schema(fields=review_field(key))
                dataset.add_dynamic_sample_fields(schema)
            write_log(dataset, key, log[-UNDOABLE:])
    return outcomes


def _decided(
    decision: Decision, marks: list[fo.Detection], log: list[dict[str, Any]], by: str
) -> tuple[Outcome, list[fo.Detection]]:
    """Return what becomes of a decision and the marks of its sample then; the log changes with them."""
    if decision.label is None:
        return _taken_back(decision, marks, log)
    at_box = [mark for mark in marks if rounded_box(mark.bounding_box) == rounded_box(decision.box)]
    present = at_box[-1] if at_box else None
    if present is not None and present["action"] == decision.action:
        return Outcome(decision.action, mark_of(decision.sample_id, present)), marks
    if present is not None and present["action"] != decision.replaces:
        return Outcome(decision.action, mark_of(decision.sample_id, present), refused=True), marks
    new = fo.Detection(
        bounding_box=list(decision.box),
        label=decision.label,
        kind=REGION,
        by=by,
        at=datetime.now(timezone.utc),
        why="",
        action=decision.action,
        defect=None,
    )
    replaced = {decision.sample_id: at_box} if at_box else {}
    log.append(log_entry(decision.action, replaced, [decision.sample_id]))
    left = [mark for mark in marks if mark not in at_box]
    return Outcome(decision.action, mark_of(decision.sample_id, new)), [*left, new]


def _taken_back(
    decision: Decision, marks: list[fo.Detection], log: list[dict[str, Any]]
) -> tuple[Outcome, list[fo.Detection]]:
    entries = [entry for entry in log if entry["action"] == decision.action]
    ours = [mark for mark in marks if mark["action"] == decision.action]
    if entries:
        log.remove(entries[0])
    if ours:  # else it was taken back before, or somebody has replaced it since
        entry = entries[0] if entries else log_entry(decision.action, {}, [decision.sample_id])
        marks = take_back(entry, {decision.sample_id: marks})[decision.sample_id]
    at_box = [mark for mark in marks if rounded_box(mark.bounding_box) == rounded_box(decision.box)]
    return Outcome(decision.action, mark_of(decision.sample_id, at_box[-1]) if at_box else None), marks
