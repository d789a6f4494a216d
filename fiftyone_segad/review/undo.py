"""Undo of the review: a log per run, beside the dataset, of what each of the last actions replaced."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import fiftyone as fo
from bson import json_util
from fiftyone.core.collections import SampleCollection as Samples

from ..registry.keys import review_field, review_log
from .mark_field import read_detections, review_lock, reviewed_dataset, rounded_box, write_detections

UNDOABLE = 50
"""Actions that can be undone."""


def undo_review(samples: Samples, key: str) -> bool:
    """Take back the last action of ``mark_normal``, ``mark_anomalous`` or ``unmark``.

    Args:
        samples: the dataset, or a view of it
        key: key of the run

    Returns:
        whether there was one; the last 50 are kept

    Raises:
        ValueError: if there is no such run

    Examples:
        >>> segad.mark_normal(dataset.limit(1), "segad")  # doctest: +SKIP
        >>> segad.undo_review(dataset, "segad")  # doctest: +SKIP
        True
    """
    dataset = reviewed_dataset(samples, key)
    with review_lock(dataset):
        log = read_log(dataset, key)
        if not log or not dataset.has_sample_field(review_field(key)):
            return False
        last = log.pop()
        current = read_detections(dataset, key, {*last["replaced"], *last["samples"]})
        write_detections(dataset, key, take_back(last, current))
        write_log(dataset, key, log)
    return True


def take_back(entry: dict[str, Any], current: dict[str, list[fo.Detection]]) -> dict[str, list[fo.Detection]]:
    """Return the marks of samples without those of an action, and with those that it replaced.

    Args:
        entry: what the log holds of the action
        current: the marks of samples as they are
    """
    restored = {}
    for id, marks in current.items():
        left = [mark for mark in marks if mark["action"] != entry["action"]]
        taken = {rounded_box(mark.bounding_box) for mark in left}
        replaced = [fo.Detection.from_dict(mark) for mark in entry["replaced"].get(id, [])]
        restored[id] = left + [mark for mark in replaced if rounded_box(mark.bounding_box) not in taken]
    return restored


def log_action(
    dataset: fo.Dataset,
    key: str,
    action: str,
    replaced: dict[str, list[fo.Detection]],
    marked: Iterable[str] = (),
) -> None:
    """Remember an action, so that it can be undone.

    Args:
        dataset: the dataset
        key: key of the run
        action: what identifies the action; its new marks have it too
        replaced: the marks that it removed, by sample
        marked: ids of the samples that it gave new marks
    """
    log = [*read_log(dataset, key), log_entry(action, replaced, marked)]
    write_log(dataset, key, log[-UNDOABLE:])


def log_entry(action: str, replaced: dict[str, list[fo.Detection]], marked: Iterable[str]) -> dict[str, Any]:
    """Return what the log holds of an action; the arguments are those of ``log_action``."""
    removed = {id: [mark.to_dict() for mark in marks] for id, marks in replaced.items()}
    return {"action": action, "samples": list(marked), "replaced": removed}


def read_log(dataset: fo.Dataset, key: str) -> list[dict[str, Any]]:
    """Read the log of a run's actions, oldest first."""
    log: list[dict[str, Any]] = json_util.loads(review_log(dataset).get(key) or "[]")
    return log


def write_log(dataset: fo.Dataset, key: str, log: list[dict[str, Any]]) -> None:
    """Replace the log of a run's actions."""
    review_log(dataset).set(key, json_util.dumps(log))
