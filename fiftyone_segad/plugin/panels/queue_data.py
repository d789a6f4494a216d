"""What the panel *Review* sends to its half in the browser, in plain values."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Container, Sequence
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np

from ...engine.calibration import normal_scores
from ...registry.keys import list_runs
from ...registry.parts import decisions_of_run
from ...registry.run import Run
from ...review.alarms import Alarm, disputed_samples, marks_of, read_alarms, read_shapes
from ...review.learnt import MARKS, unlearnt_marks
from ...review.mark_field import Mark, read_marks
from ...review.queue import first_open, rarity_text, score_histogram, telling_order
from ...scoring.conformal import NormalScores
from ...scoring.thresholds import rule_in_words
from ...storage.bank_file import BANK_SETTING
from ...visualization.explain import ExplainedSegment, explain_boxes

PLUGIN_NAME = "@segad/anomaly"
"""Name of the plugin, under which the App keeps its settings."""

KEYS = {
    "defect": "d",
    "harmless": "h",
    "skip": "s",
    "undo": "u",
    "previous": "ArrowLeft",
    "next": "ArrowRight",
    "family": "f",
    "whole": "w",
    "zoom_in": "+",
    "zoom_out": "-",
    "map": "m",
    "outline": "o",
    "truth": "t",
    "learn": "l",
}
"""The key of each thing that one can do, as the browser names keys."""

_NAMED_KEYS = ("ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Enter", "Backspace", " ")


def queue(
    dataset: fo.Dataset, run: Run, sample_id: str | None, order: str = "highest", most: int | None = None
) -> dict[str, Any]:
    """Describe the alarms of a run.

    Args:
        dataset: the dataset
        run: the run
        sample_id: the open sample, with whose alarms the review begins
        order ("highest"): ``telling`` for the order of what would teach most; decides which alarms are the first
        most (None): alarms at most that are not reviewed; those that are reviewed, or of the open sample, come anyway
    """
    alarms = read_alarms(dataset, run)
    present = state(dataset, run, alarms)
    telling = _telling(dataset, run, alarms, present["marks"]).tolist()
    indices = _first(alarms, telling if order == "telling" else range(len(alarms)), present["marks"], sample_id, most)
    places = {index: place for place, index in enumerate(indices)}
    normals = normal_scores(run.store) if run.store.exists() else NormalScores.of([])
    known = len(normals) > 0
    image_scores = np.array([alarm.image_score for alarm in alarms], np.float64)
    compared = normals if known else NormalScores.of(_all_scores(dataset, run))
    edges, good, alarming = score_histogram(image_scores, compared.scores, run.thresholds.image)
    keys, problems = review_keys(dataset)
    return {
        **present,
        "dataset": dataset.name,
        "run": run.key,
        "runs": list_runs(dataset),
        "threshold": run.thresholds.image,
        "rule": ", ".join(filter(None, [f"{run.thresholds.image:.3g}", rule_in_words(run.thresholds.rule)])),
        "learns": run.method == "reference" and BANK_SETTING not in run.settings,
        "alarms": [_alarm(alarms[index], compared, known) for index in indices],
        "total": len(alarms),
        "telling": [places[index] for index in telling if index in places],
        "histogram": {"edges": edges, "compared": good, "alarms": alarming, "good": known},
        "keys": keys,
        "problems": problems,
        "sample": sample_id,
    }


def state(
    dataset: fo.Dataset, run: Run, alarms: Sequence[Alarm] | None = None, seen: str | None = None
) -> dict[str, Any]:
    """Describe what other people, and the run's learning, may have changed.

    Args:
        dataset: the dataset
        run: the run
        alarms: its alarms, if they have been read
        seen: the version that the browser has; nothing else is read and sent while it is the present one
    """
    stamp = " ".join(
        map(str, filter(None, [run.folder, run.masks, run.thresholds, decisions_of_run(dataset, run.key)]))
    )
    marks = "".join(mark.id for mark in read_marks(dataset, run.key, None))
    version = hashlib.sha256(f"{stamp} {marks}".encode()).hexdigest()
    if seen == version:
        return {"stamp": stamp, "version": version}
    decided = marks_of(dataset, run.key, read_alarms(dataset, run) if alarms is None else alarms)
    return {
        "stamp": stamp,
        "version": version,
        "marks": {id: plain_mark(mark) for id, mark in decided.items()},
        "unlearnt": unlearnt_marks(dataset, run.key, run.settings.get(MARKS)),
    }


def plain_mark(mark: Mark | None) -> dict[str, Any] | None:
    """Return a mark as the browser gets it."""
    return None if mark is None else {"label": mark.label, "by": mark.by, "action": mark.action}


def shapes(dataset: fo.Dataset, run: Run, ids: Collection[str]) -> dict[str, Any]:
    """Describe what is drawn over the images of some alarms."""
    return {
        id: {
            "size": traced.size,
            "outline": traced.region,
            "map": traced.levels,
            "truth": traced.truth,
            "hit": traced.hit,
        }
        for id, traced in read_shapes(dataset, run, ids).items()
    }


def normals(dataset: fo.Dataset, run: Run, ids: Collection[str]) -> dict[str, Any]:
    """Describe the normal segment that is most like each of some alarms; alarms without one are None."""
    by_sample: dict[str, list[Alarm]] = {}
    for alarm in read_alarms(dataset, run):
        if alarm.id in ids:
            by_sample.setdefault(alarm.sample_id, []).append(alarm)
    boxes = {id: [alarm.box for alarm in alarms] for id, alarms in by_sample.items()}
    found: dict[str, Any] = dict.fromkeys(ids)
    for sample_id, segments in explain_boxes(dataset, run, boxes).items():
        for alarm, segment in zip(by_sample[sample_id], segments, strict=True):
            if segment.neighbours:
                near = segment.neighbours[0]
                found[alarm.id] = {
                    "path": near.filepath,
                    "name": Path(near.filepath).name,
                    "box": near.box,
                    "distance": near.distance,
                    "like": _like(segment),
                }
    return found


def review_keys(dataset: fo.Dataset) -> tuple[dict[str, str], list[str]]:
    """Return the keys of the review as the settings of the App and of the dataset have them, and what is wrong there.

    Examples:
        >>> dataset.app_config.plugins[PLUGIN_NAME] = {"review_keys": {"harmless": "f"}}  # doctest: +SKIP
        >>> review_keys(dataset)[0]["harmless"]  # doctest: +SKIP
        'f'
    """
    keys, problems = dict(KEYS), []
    for plugins in (fo.app_config.plugins, dataset.app_config.plugins):
        settings = (plugins or {}).get(PLUGIN_NAME) or {}
        wanted = settings.get("review_keys") or {} if isinstance(settings, dict) else {}
        for name, key in wanted.items() if isinstance(wanted, dict) else ():
            if name not in KEYS:
                problems.append(f"review_keys has '{name}', which is none of {', '.join(KEYS)}")
            elif not isinstance(key, str) or not (len(key) == 1 or key in _NAMED_KEYS):
                problems.append(f"review_keys has {key!r} for '{name}', which is the name of no key")
            else:
                keys[name] = key
    taken: dict[str, str] = {}
    for name, key in keys.items():
        if key.lower() in taken:
            problems.append(f"'{taken[key.lower()]}' and '{name}' have the same key '{key}'")
        taken.setdefault(key.lower(), name)
    return keys, problems


def _like(segment: ExplainedSegment) -> str | None:
    """Say which marked defect a segment is like, if it is like one."""
    if segment.marked is None:
        return None
    kind = f" '{segment.kind}'" if segment.kind else ""
    return f"Like the marked defect{kind} in {Path(segment.marked.filepath).name}"


def _first(
    alarms: Sequence[Alarm], order: Sequence[int], decided: Container[str], sample_id: str | None, most: int | None
) -> list[int]:
    said = np.array([alarm.id in decided for alarm in alarms], bool)
    opened = np.array([alarm.sample_id == sample_id for alarm in alarms], bool)
    return first_open(order, said, len(alarms) if most is None else most, opened)


def _alarm(alarm: Alarm, compared: NormalScores, known: bool) -> dict[str, Any]:
    return {
        "id": alarm.id,
        "sample": alarm.sample_id,
        "path": alarm.filepath,
        "name": Path(alarm.filepath).name,
        "box": alarm.box,
        "score": alarm.score,
        "imageScore": alarm.image_score,
        "family": alarm.family,
        "rarity": "; ".join(filter(None, [rarity_text(alarm.image_score, compared, known), _part_text(alarm)])),
    }


def _part_text(alarm: Alarm) -> str:
    """Say how unusual the part of an alarm is by all of its pictures; empty if nothing was decided on parts."""
    return "" if alarm.part is None else f"its part has p = {alarm.part[0]:.3g} by all of its pictures"


def _telling(dataset: fo.Dataset, run: Run, alarms: Sequence[Alarm], decided: Container[str]) -> Any:
    disputed = disputed_samples(dataset, run)
    return telling_order(
        np.array([alarm.image_score for alarm in alarms], np.float64),
        run.thresholds.image,
        [alarm.family for alarm in alarms],
        np.array([alarm.id in decided for alarm in alarms], bool),
        np.array([alarm.sample_id in disputed for alarm in alarms], bool),
    )


def _all_scores(dataset: fo.Dataset, run: Run) -> list[float]:
    score = run.field("score")
    values: list[float] = dataset.exists(score).values(score)
    return values
