"""Read what people marked: the features of segments that are said to be normal, or to be defects."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import SegadError
from ..scoring.levels import LevelFeatures, LevelScorer, LevelScores
from ..segments.boxes import RelativeBox, Segments
from ..segments.places import COMPLETE_IMAGE, nearest_segments, segments_in
from ..storage.records import ImageFeatures
from ..storage.store import RunStore
from ..utils.arrays import spread_indices
from .job import Job, JobImage, JobSpec, MarkedImage
from .passes import MarkedIndexes, ScoreLevels, min_with_marks, upright_rows
from .siblings import FEWEST_PARTS, part_numbers

WHOLE_SHARE = 0.01
"""Share of the segments of an image, the highest, that a mark on the complete image stands for."""

_MOST_SEGMENTS = 200
"""Segments of a marked image that are learnt as defects at most."""


def read_normal_marks(job: Job, levels: LevelScorer) -> None:
    """Put the features of what is marked as normal into the store, where they are not there yet."""
    if not job.spec.marks or job.store.marked.paths():
        return
    job.stage("reading what is marked as normal")
    boxes = {image.path: image_boxes for image, image_boxes in job.spec.marks}
    features, skipped_before = [], len(job.report.skipped)
    for embedded in job.embed(_with_boxes(job, job.spec.marks), levels):
        segments, rows = [], []
        for level, values in zip(embedded.patches, levels.transform(embedded.patches), strict=True):
            indices = segments_in(level.segments, boxes[embedded.image.path])
            segments.append(Segments(level.segments.size, level.segments.boxes[indices]))
            rows.append(values[indices])
        features.append(ImageFeatures(embedded.image.path, segments, levels.to_stored(rows), True))
    _check_all_read(job, skipped_before)
    job.store.marked.append(features)


def normals_to_leave_out(spec: JobSpec, store: RunStore) -> list[str]:
    """Return the normal images that have marked defects, by path; none if too few parts would be left of the bank.

    What looks like their defects would else count as normal.

    Args:
        spec: a job
        store: its store, or that of the same run with other marks, with bank and groups
    """
    defective = {spec.bank_path(image) for image, _ in spec.marked_defects}
    paths = store.bank.paths()
    parts = part_numbers(paths, store.groups() or [])
    is_left = np.array([path not in defective for path in paths])
    return sorted(defective & set(paths)) if len(np.unique(parts[is_left])) >= FEWEST_PARTS else []


def read_marked_defects(job: Job, levels: LevelScorer, score_levels: ScoreLevels, marked: MarkedIndexes) -> None:
    """Put the features of what is marked as defective into the store, where they are not there yet."""
    if job.store.defects.paths():
        return
    job.stage("reading what is marked as anomalous")
    boxes = {image.id: image_boxes for image, image_boxes in job.spec.marked_defects}
    paths = {image.id: image.path for image, _ in job.spec.marked_defects}
    features = []

    def add(id: str, rows: LevelFeatures, scored: list[LevelScores]) -> None:
        segments = [cut for cut, _ in scored]
        indices = _marked_segments(levels, rows, min_with_marks(scored, rows, marked), boxes[id])
        chosen_rows, chosen = rows_at(levels.to_stored(rows), segments, indices)
        features.append(ImageFeatures(paths[id], chosen, chosen_rows, True))

    for image in job.store.features:
        if image.path in boxes:
            add(image.path, upright_rows(image), list(zip(image.segments, image.distances, strict=True)))
    read = {image.path for image in features}
    unread = [mark for mark in job.spec.marked_defects if mark[0].path not in read]
    skipped_before = len(job.report.skipped)
    for embedded in job.embed(_with_boxes(job, unread), levels):
        rows = levels.transform(embedded.patches)
        segments = [level.segments for level in embedded.patches]
        add(embedded.image.id, rows, score_levels(rows, segments, embedded.image.path))
    _check_all_read(job, skipped_before)
    job.store.defects.append(sorted(features, key=lambda image: image.path))


def _marked_segments(
    levels: LevelScorer, rows: LevelFeatures, scored: list[LevelScores], boxes: list[RelativeBox]
) -> NDArray[np.int64]:
    """Return the finest segments in some boxes; of a mark on the complete image the highest ones."""
    finest, scores = levels.fuse(scored)
    is_marked = np.zeros(len(finest), bool)
    regions = [box for box in boxes if box != COMPLETE_IMAGE]
    if regions:
        is_marked[segments_in(finest, regions)] = True
    if len(regions) < len(boxes):
        count = max(1, round(WHOLE_SHARE * len(finest)))
        is_marked[np.argsort(-scores, kind="stable")[:count]] = True
    indices = np.flatnonzero(is_marked)
    return indices[spread_indices(len(indices), _MOST_SEGMENTS)]


def rows_at(
    rows: Sequence[NDArray[np.floating]], segments: Sequence[Segments], indices: NDArray[np.int64]
) -> tuple[list[NDArray[np.floating]], list[Segments]]:
    """Return the rows ``[n, k]`` and the segments of each level that are nearest to some of the finest segments."""
    finest = max(segments, key=len)
    places = [indices if cut is finest else nearest_segments(cut, finest.boxes[indices]) for cut in segments]
    return (
        [level_rows[place] for level_rows, place in zip(rows, places, strict=True)],
        [Segments(cut.size, cut.boxes[place]) for cut, place in zip(segments, places, strict=True)],
    )


def _with_boxes(job: Job, marks: Sequence[MarkedImage]) -> list[JobImage]:
    """Return the marked images with the segments that the job's images bring."""
    scored = {image.id: image for image in job.spec.images}
    return [scored.get(image.id, image) for image, _ in marks]


def _check_all_read(job: Job, skipped_before: int) -> None:
    """Check that every marked image could be used: left out, it would count as learnt.

    Raises:
        SegadError: if one could not
    """
    if lost := job.report.skipped[skipped_before:]:
        raise SegadError(
            f"{len(lost)} of the images with marks cannot be used. The first: {lost[0]['filepath']}: "
            f"{lost[0]['reason']}. "
            "Restore them, or take their marks back with unmark()"
        )
