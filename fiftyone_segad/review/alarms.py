"""Alarms of a run: its predicted regions with what people said of them, and their outlines."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import fiftyone as fo
import numpy as np
from fiftyone.core.collections import SampleCollection as Samples
from numpy.typing import NDArray

from ..data.truth import GT_FIELD, read_truth, truth_fields
from ..errors import SegadError
from ..registry.keys import list_runs, part_field
from ..registry.parts import decisions_of_run
from ..registry.run import Run
from ..registry.samples import all_slices
from ..segments.boxes import RelativeBox, Size
from ..storage.families import SINGLE_LABEL
from ..utils.outlines import contours, outline
from .families import FAMILY
from .mark_field import Mark, read_marks
from .queue import match_marks
from .triage import disagreements

_LEVELS = 4
"""Lines of a map, between the threshold and its peak."""

_MAP_SIDE = 384
"""Pixels of the longer side of a map whose lines are drawn."""


@dataclass(frozen=True)
class Alarm:
    """A predicted region.

    Attributes:
        id: id of its Detection
        sample_id: the sample
        filepath: file of the image
        box: relative ``x, y, width, height``
        score: its peak
        image_score: score of its image, which the threshold and scores of normal images compare with
        family: name of the regions that look like it, if they were grouped
        part: p-value and name of the part that its image shows, if something was decided on it
    """

    id: str
    sample_id: str
    filepath: str
    box: RelativeBox
    score: float
    image_score: float
    family: str | None = None
    part: tuple[float, str] | None = None


@dataclass(frozen=True)
class Shapes:
    """What is drawn over the image of an alarm, as SVG paths (``utils.outlines``).

    Attributes:
        size: width and height of the image
        region: outline of the alarm
        levels: lines of the anomaly map, lowest first
        truth: outline of the ground truth; empty for a normal image, None if it is not known
        hit: whether the alarm touches the ground truth; None if that is not known
    """

    size: Size
    region: str
    levels: list[str]
    truth: str | None
    hit: bool | None


def read_alarms(samples: Samples, run: Run) -> list[Alarm]:
    """Read the predicted regions of a run, highest score first; where parts were decided, the most unusual part "
    "first."""
    field = f"{run.field('regions')}.detections"
    view = all_slices(samples).exists(field)
    paths = [
        "id",
        "filepath",
        run.field("score"),
        *(f"{field}.{name}" for name in ("id", "bounding_box", "anomaly_score")),
    ]
    grouped = f"{field}.{FAMILY}" in samples.get_field_schema(flat=True)
    columns = view.values([*paths, f"{field}.{FAMILY}"] if grouped else paths)
    alarms = []
    for sample_id, filepath, image_score, ids, boxes, scores, *families in zip(*columns, strict=True):
        names = families[0] if families else [None] * len(ids or ())
        for id, (x, y, w, h), score, family in zip(ids or (), boxes or (), scores or (), names or (), strict=True):
            alarms.append(
                Alarm(
                    id,
                    sample_id,
                    filepath,
                    (x, y, w, h),
                    score,
                    image_score,
                    family if family != SINGLE_LABEL else None,
                )
            )
    return _by_part(samples, run, sorted(alarms, key=lambda alarm: (-alarm.score, alarm.id)))


def _by_part(samples: Samples, run: Run, alarms: list[Alarm]) -> list[Alarm]:
    """Put the alarms of a part next to each other, the most unusual part first, where something was decided on "
    "parts."""
    record = decisions_of_run(samples, run.key)
    if record is None:
        return alarms
    path = part_field(record.key)
    columns = all_slices(samples).exists(path).values(["id", f"{path}.part", f"{path}.p_value"])
    parts = {id: (p_value, part) for id, part, p_value in zip(*columns, strict=True)}
    found = [replace(alarm, part=parts.get(alarm.sample_id)) for alarm in alarms]
    return sorted(found, key=lambda alarm: (alarm.part is None, alarm.part or (0.0, "")))


def marks_of(samples: Samples, key: str, alarms: Sequence[Alarm]) -> dict[str, Mark]:
    """Return the mark that decides each alarm, by the alarm's id; those without one are left out."""
    marks: dict[str, list[Mark]] = {}
    for mark in read_marks(samples, key, None):
        marks.setdefault(mark.sample_id, []).append(mark)
    by_sample: dict[str, list[Alarm]] = {}
    for alarm in alarms:
        if alarm.sample_id in marks:
            by_sample.setdefault(alarm.sample_id, []).append(alarm)
    decided = {}
    for sample_id, its_alarms in by_sample.items():
        its_marks = marks[sample_id]
        boxes = np.array([alarm.box for alarm in its_alarms]), np.array([mark.box for mark in its_marks])
        for alarm, index in zip(its_alarms, match_marks(*boxes).tolist(), strict=True):
            if index >= 0:
                decided[alarm.id] = its_marks[index]
    return decided


def disputed_samples(samples: Samples, run: Run) -> set[str]:
    """Return the ids of the samples of which another run of the dataset says the opposite."""
    others = [key for key in list_runs(samples) if key != run.key]
    return {id for other in others for id in disagreements(samples, run.key, other)}


def read_shapes(samples: Samples, run: Run, ids: Collection[str]) -> dict[str, Shapes]:
    """Trace alarms, the maps of their images, and the ground truth in ``defect_mask``.

    Args:
        samples: the samples
        run: the run
        ids: ids of the alarms; those that are gone are left out
    """
    field = run.field("regions")
    view = all_slices(samples).select_labels(ids=list(ids), fields=field)
    regions: dict[str, list[fo.Detection]] = dict(zip(*view.values(["id", f"{field}.detections"]), strict=True))
    records = list(run.store.scores_of(regions.keys()))
    truths = _read_truth(samples, {record.id: record.segments.size for record in records})
    shapes: dict[str, Shapes] = {}
    for record in records:
        size, truth = record.segments.size, truths.get(record.id)
        levels = _map_lines(run, record.map(_smaller(size)))
        traced = None if truth is None else outline(truth)
        for region in regions[record.id] or []:
            mask = np.ones((1, 1), bool) if region.mask is None else np.asarray(region.mask, bool)
            hit = None if truth is None else _touches(truth, region)
            shapes[str(region.id)] = Shapes(size, outline(mask, tuple(region.bounding_box)), levels, traced, hit)
    return shapes


def _map_lines(run: Run, anomaly: NDArray[np.float32]) -> list[str]:
    lowest = run.thresholds.pixel if run.thresholds.pixel is not None else run.thresholds.image
    lines = contours(anomaly, np.linspace(lowest, float(anomaly.max()), _LEVELS + 1)[:-1].tolist())
    return [line for line in lines if line]


def _smaller(size: Size) -> Size:
    factor = min(1.0, _MAP_SIDE / max(size))
    return max(round(size[0] * factor), 1), max(round(size[1] * factor), 1)


def _read_truth(samples: Samples, sizes: dict[str, Size]) -> dict[str, NDArray[np.bool_]]:
    """Read the ground truth of samples; those of which nothing is known, or which cannot be read, are left out."""
    if GT_FIELD not in truth_fields(samples._root_dataset):
        return {}
    masks = {}
    for id, truth in read_truth(all_slices(samples).select(list(sizes)), GT_FIELD).items():
        if truth.source is None and truth.defect is None:
            continue
        try:
            mask = truth.read(sizes[id])
        except (SegadError, ValueError):
            continue
        masks[id] = np.zeros(sizes[id][::-1], bool) if mask is None else mask
    return masks


def _touches(truth: NDArray[np.bool_], region: fo.Detection) -> bool:
    x, y, w, h = region.bounding_box
    height, width = truth.shape
    rows = slice(int(y * height), int(np.ceil((y + h) * height)))
    columns = slice(int(x * width), int(np.ceil((x + w) * width)))
    return bool(truth[rows, columns].any())
