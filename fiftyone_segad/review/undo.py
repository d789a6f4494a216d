"""Undo of the review: a log per run, beside the dataset, of what each of the last actions replaced."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import fiftyone as fo
from bson import json_util
from fiftyone.core.collections import SampleCollection as Samples

from ..registry.keys import review_field, review_log
from .mark_field import read_detections, reviewed_dataset, write_detections

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
    log = _read_log(dataset, key)
    if not log or not dataset.has_sample_field(review_field(key)):
        return False
    last = log.pop()
    replaced = {id: [fo.Detection.from_dict(mark) for mark in marks] for id, marks in last["replaced"].items()}
    current = read_detections(dataset, key, {*replaced, *last["samples"]})
    restored = {
        id: [mark for mark in marks if mark["action"] != last["action"]] + replaced.get(id, [])
        for id, marks in current.items()
    }
    write_detections(dataset, key, restored)
    _write_log(dataset, key, log)
    return True


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
    log = _read_log(dataset, key)
    removed = {id: [mark.to_dict() for mark in marks] for id, marks in replaced.items()}
    log.append({"action": action, "samples": list(marked), "replaced": removed})
    _write_log(dataset, key, log[-UNDOABLE:])


def _read_log(dataset: fo.Dataset, key: str) -> list[dict[str, Any]]:
    log: list[dict[str, Any]] = json_util.loads(review_log(dataset).get(key) or "[]")
    return log


def _write_log(dataset: fo.Dataset, key: str, log: list[dict[str, Any]]) -> None:
    review_log(dataset).set(key, json_util.dumps(log))
