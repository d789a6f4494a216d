"""``explain_sample``: the most anomalous segments of an image beside the nearest ones that it was compared with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from fiftyone.core.collections import SampleCollection as Samples
from numpy.typing import NDArray

from ..embedders.factory import Patches
from ..registry.run import load_run
from ..runs.features import RunFeatures, nearest_segments
from ..scoring.levels import LevelFeatures, LevelScorer
from ..segments.boxes import PixelBox, Segments
from ..storage.records import ImageFeatures, ImageScores
from ..utils.images import read_image

_APART = 0.08
"""Distance of the centres of two segments that are shown, at least, as a share of the shorter side."""


@dataclass(frozen=True)
class Neighbour:
    """A segment that another one was compared with.

    Attributes:
        filepath: its image
        box: its box; None if that is not known: it is of a turned copy, or the bank keeps a choice of segments only
        distance: Euclidean distance of the features; the smaller, the more alike
    """

    filepath: str
    box: PixelBox | None
    distance: float


@dataclass(frozen=True)
class ExplainedSegment:
    """An anomalous segment with those that are most like it.

    Attributes:
        box: its box
        score: its anomaly score
        level: name of the level of features at which it is most anomalous, and at which the others were sought
        neighbours: the most similar segments of other images (of its own for ``within_image``), nearest first, one
            an image
    """

    box: PixelBox
    score: float
    level: str
    neighbours: list[Neighbour]


def explain_sample(
    samples: Samples, key: str, sample_id: str, max_segments: int = 3, max_neighbours: int = 3
) -> list[ExplainedSegment]:
    """Show what makes a sample anomalous: its highest segments, and what they were found to differ from.

    The image goes through the embedder once more; the bank is searched exhaustively.

    Args:
        samples: the dataset, or a view of it
        key: the run's key
        sample_id: the sample's id
        max_segments (3): segments at most, highest score first, no two of them close to each other
        max_neighbours (3): neighbours of each at most

    Raises:
        ValueError: if the run does not exist or did not score the sample
        RunError: if the embedder is not the run's any more
        ImageError: if the image cannot be read
        MissingDependencyError: if the embedder is not installed
    """
    run = load_run(samples, key)
    record = next((record for record in run.store.scores if record.id == sample_id), None)
    if record is None:
        raise ValueError(f"Run '{key}' has no score for sample {sample_id}")
    filepath = samples._root_dataset[sample_id].filepath
    pixels = read_image(filepath)
    with RunFeatures(run) as features:
        levels, patches = features.levels, features.patches(record, pixels)
    rows = levels.transform(patches)
    chosen = _spread(record, max_segments)
    queries = [nearest_segments(patches, record.segments, index) for index in chosen]
    if run.method == "within_image":
        found = [[_within(filepath, patches[0].segments, rows[0], index, max_neighbours)] for (index,) in queries]
    else:
        found = _across(chain(run.store.bank, run.store.marked), filepath, rows, queries, max_neighbours)
    explained = []
    for index, places, near in zip(chosen, queries, found, strict=True):
        level = _decisive(levels, patches, places, near)
        box = _box(patches[level].segments, places[level])
        explained.append(ExplainedSegment(box, float(record.scores[index]), levels.levels[level].name, near[level]))
    return explained


def _spread(record: ImageScores, count: int) -> list[int]:
    """Return indices of the highest segments that are not close to each other."""
    boxes = record.segments.boxes
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    apart = _APART * min(record.segments.size)
    chosen: list[int] = []
    for index in np.argsort(-record.scores, kind="stable").tolist():
        if len(chosen) == count:
            break
        if all(np.abs(centres[index] - centres[other]).max() >= apart for other in chosen):
            chosen.append(index)
    return chosen


def _within(filepath: str, segments: Segments, rows: NDArray[np.float32], index: int, count: int) -> list[Neighbour]:
    distances = np.linalg.norm(rows - rows[index], axis=1)
    distances[index] = np.inf
    nearest = np.argsort(distances, kind="stable")[: min(count, len(rows) - 1)]
    return [Neighbour(filepath, _box(segments, int(i)), float(distances[i])) for i in nearest]


def _across(
    bank: Iterable[ImageFeatures], filepath: str, rows: LevelFeatures, queries: list[list[int]], count: int
) -> list[list[list[Neighbour]]]:
    """The nearest segments of other images: for each segment and each level a list."""
    found: list[list[list[Neighbour]]] = [[[] for _ in places] for places in queries]
    for image in bank:
        if image.path == filepath:
            continue
        for near, places in zip(found, queries, strict=True):
            for level, place in enumerate(places):
                near[level].append(_nearest(image, level, rows[level][place]))
    return [[sorted(several, key=lambda each: each.distance)[:count] for several in near] for near in found]


def _nearest(image: ImageFeatures, level: int, query: NDArray[np.float32]) -> Neighbour:
    rows = np.asarray(image.rows[level], np.float32)
    squares = ((rows - query) ** 2).sum(axis=1)
    place = int(squares.argmin())
    # Rows after those of the segments are of turned copies; of an image that is not whole the places are not known
    known = image.whole and place < len(image.segments[level])
    return Neighbour(image.path, _box(image.segments[level], place) if known else None, float(np.sqrt(squares[place])))


def _decisive(levels: LevelScorer, patches: Sequence[Patches], places: list[int], near: list[list[Neighbour]]) -> int:
    """The level that adds most to the score of a segment."""
    if not levels.has_common_scale:
        return 0
    shares = []
    for level, (each, place) in enumerate(zip(patches, places, strict=True)):
        segment = Segments(each.segments.size, each.segments.boxes[[place]])
        distance = np.array([np.mean([neighbour.distance for neighbour in near[level]])], np.float32)
        shares.append(levels.levels[level].weight * float(levels.to_common_scale(level, (segment, distance))[0]))
    return int(np.argmax(shares))


def _box(segments: Segments, index: int) -> PixelBox:
    x0, y0, x1, y1 = segments.boxes[index].tolist()
    return x0, y0, x1, y1
