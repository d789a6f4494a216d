"""``explain_sample``: the most anomalous segments of an image beside the nearest ones that it was compared with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from fiftyone.core.collections import SampleCollection as Samples
from numpy.typing import NDArray

from ..embedders.base import Patches
from ..errors import ImageError
from ..registry.keys import ANOMALOUS
from ..registry.run import Run, load_run
from ..registry.samples import all_slices, check_whole_number
from ..review.mark_field import read_marks
from ..runs.features import RunFeatures
from ..scoring.levels import LevelFeatures, LevelScorer
from ..segments.boxes import PixelBox, RelativeBox, Segments, Size
from ..segments.places import nearest_segments
from ..storage.bank_images import bank_copies
from ..storage.records import ImageFeatures, ImageScores
from ..storage.store import RunStore
from ..utils.copies import find_copies
from ..utils.images import read_image

_LEAST_DISTANCE = 0.08
"""Distance of the centres of two explained segments at least, as a share of the image's shorter side."""


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
            per image
        marked: the most similar segment of a marked defect, if it is more like marked defects than nine in ten normal
            images anywhere
        kind: kind of that defect, if the mark names one
        taught: what its likeness to marked defects adds to the score; 0 if none are marked
    """

    box: PixelBox
    score: float
    level: str
    neighbours: list[Neighbour]
    marked: Neighbour | None = None
    kind: str | None = None
    taught: float = 0.0

    def __str__(self) -> str:
        """Say in a sentence where the score comes from."""
        text = f"Score {self.score:.2f}"
        if self.taught:
            text += f": {self.score - self.taught:.2f}"
        text += " for its distance from all that it was compared with"
        if self.neighbours:
            text += f", of which {Path(self.neighbours[0].filepath).name} is nearest"
        if self.marked:
            kind, name = f" '{self.kind}'" if self.kind else "", Path(self.marked.filepath).name
            return f"{text}, and {self.taught:.2f} since it is like the marked defect{kind} in {name}"
        return (
            f"{text}, and {round(self.taught, 2) + 0.0:.2f} as it is hardly like marked defects"
            if self.taught
            else text
        )


def explain_sample(
    samples: Samples, key: str, sample_id: str, max_segments: int = 3, max_neighbours: int = 3
) -> list[ExplainedSegment]:
    """Explain what makes a sample anomalous: its highest segments, and the most similar ones that they differ from.

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

    Examples:
        >>> for segment in segad.explain_sample(dataset, "segad", sample.id):  # doctest: +SKIP
        ...     print(segment.box, segment.score, [normal.filepath for normal in segment.neighbours])
        ...     print(segment)
        Score 2.31: 1.90 for its distance from all that it was compared with, of which 017.png is nearest, and 0.41
        since it is like the marked defect 'scratch' in 003.png
    """
    check_whole_number("max_segments", max_segments)
    check_whole_number("max_neighbours", max_neighbours)
    if not isinstance(sample_id, str):
        raise ValueError(f"sample_id must be the id of a sample, e.g. sample.id, got {type(sample_id).__name__}")
    run = load_run(samples, key)
    record = next((record for record in run.store.scores if record.id == sample_id), None)
    if record is None:
        raise ValueError(f"Run '{key}' has no score for sample {sample_id}")
    filepath = samples._root_dataset[sample_id].filepath
    with RunFeatures(run) as features:
        return _explain(samples, features, record, filepath, _highest_apart(record, max_segments), max_neighbours)


def explain_boxes(
    samples: Samples, run: Run, boxes: Mapping[str, Sequence[RelativeBox]]
) -> dict[str, list[ExplainedSegment]]:
    """Explain the highest segment in each of some boxes, with the one that is most like it.

    Args:
        samples: the dataset, or a view of it
        run: the run
        boxes: relative ``x, y, width, height``, by sample id

    Returns:
        what ``explain_sample`` gives, by sample id and in the order of the boxes; samples whose image cannot be read,
        or that the run did not score, are left out

    Raises:
        RunError: as ``explain_sample``
        MissingDependencyError: as ``explain_sample``
    """
    paths = dict(zip(*all_slices(samples).select(list(boxes)).values(["id", "filepath"]), strict=True))
    explained = {}
    with RunFeatures(run) as features:
        for record in run.store.scores_of(boxes.keys()):
            indices = [_highest_within(record, box) for box in boxes[record.id]]
            with suppress(ImageError):
                explained[record.id] = _explain(samples, features, record, paths[record.id], indices, 1)
    return explained


def _explain(
    samples: Samples,
    features: RunFeatures,
    record: ImageScores,
    filepath: str,
    indices: list[int],
    max_neighbours: int,
) -> list[ExplainedSegment]:
    """Explain some segments of an image, by their indices."""
    run, scorer = features.run, features.levels
    patches = features.patches(record, read_image(filepath, run.grey_scale))
    rows = scorer.transform(patches)
    by_level = [nearest_segments(level.segments, record.segments.boxes[indices]) for level in patches]
    places = np.transpose(by_level).tolist()  # of each segment, by level
    if run.method == "within_image":
        neighbours = [[_nearest_within(filepath, patches[0].segments, rows[0], i, max_neighbours)] for (i,) in places]
    else:
        neighbours = _nearest_in_bank(_others(run.store, filepath), rows, places, max_neighbours)
    marked = _MarkedDefects(samples, run, scorer, filepath, rows, patches)
    explained = []
    for index, segment_places, segment_neighbours in zip(indices, places, neighbours, strict=True):
        level = _decisive_level(scorer, patches, segment_places, segment_neighbours)
        like, kind = marked.nearest(index, level, segment_places[level])
        explained.append(
            ExplainedSegment(
                box=pixel_box(patches[level].segments, segment_places[level]),
                score=float(record.scores[index]),
                level=scorer.levels[level].name,
                neighbours=segment_neighbours[level],
                marked=like,
                kind=kind,
                taught=float(marked.taught[index]),
            )
        )
    return explained


class _MarkedDefects:
    """The marked defects that a run has learnt, to be found beside the segments of an image.

    Args:
        samples: samples of the run's dataset
        run: the run
        scorer: its levels
        filepath: the image
        rows: its features ``[n, k]``, by level
        patches: its segments, by level

    Attributes:
        taught: float32 array ``[n]``, what likeness to marked defects adds to the scores of its finest segments
    """

    def __init__(
        self,
        samples: Samples,
        run: Run,
        scorer: LevelScorer,
        filepath: str,
        rows: LevelFeatures,
        patches: Sequence[Patches],
    ) -> None:
        self._samples, self._run, self._rows = samples, run, rows
        segments, none = [level.segments for level in patches], np.zeros(max(map(len, rows)), np.float32)
        model = scorer.defects
        self._standard = model.standard(rows, segments) if model else none
        self.taught = model.taught(rows, segments) if model else none
        self._images = [image for image in run.store.defects if image.path != filepath] if model else []

    def nearest(self, index: int, level: int, place: int) -> tuple[Neighbour | None, str | None]:
        """Return the marked defect that is most like a segment, and its kind; None if it is like none."""
        if self._standard[index] < 1 or not self._images:
            return None, None
        near = [_nearest_of_image(image, level, self._rows[level][place]) for image in self._images]
        number = int(np.argmin([neighbour.distance for neighbour in near]))
        return near[number], self._kind(near[number], self._images[number].segments[level].size)

    def _kind(self, defect: Neighbour, size: Size) -> str | None:
        """Return the kind that a mark around a segment names, else any mark of its image."""
        ids = all_slices(self._samples._root_dataset).match({"filepath": defect.filepath}).values("id")
        named = [mark for mark in read_marks(self._samples._root_dataset, self._run.key, ANOMALOUS) if mark.defect]
        named = [mark for mark in named if mark.sample_id in ids]
        assert defect.box is not None
        column, row = (defect.box[0] + defect.box[2]) // 2, (defect.box[1] + defect.box[3]) // 2
        around = []
        for mark in named:
            rows, columns = mark.pixels(size)
            if rows.start <= row < rows.stop and columns.start <= column < columns.stop:
                around.append(mark)
        return (around or named)[-1].defect if named else None


def _highest_within(record: ImageScores, box: RelativeBox) -> int:
    """Return the index of the highest segment whose centre is in a box; of the nearest to it, if none is."""
    x, y, w, h = box
    size = np.array(record.segments.size)
    centres = (record.segments.boxes[:, :2] + record.segments.boxes[:, 2:]) / 2 / size  # [n, 2], relative
    offsets = centres - (x + w / 2, y + h / 2)
    inside = (np.abs(offsets) <= (w / 2, h / 2)).all(axis=1)
    if not inside.any():
        return int((offsets**2).sum(axis=1).argmin())
    return int(np.where(inside, record.scores, -np.inf).argmax())


def _highest_apart(record: ImageScores, count: int) -> list[int]:
    """Return indices of the segments with the highest scores, leaving out those close to a higher one."""
    boxes = record.segments.boxes
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    least_distance = _LEAST_DISTANCE * min(record.segments.size)
    indices: list[int] = []
    for index in np.argsort(-record.scores, kind="stable").tolist():
        if len(indices) == count:
            break
        if all(np.abs(centres[index] - centres[higher]).max() >= least_distance for higher in indices):
            indices.append(index)
    return indices


def _others(store: RunStore, filepath: str) -> Iterator[ImageFeatures]:
    """Yield the images that a run compares with, but for a file itself, by whatever path, and copies of it."""
    paths = [*store.bank.paths(), *store.marked.paths()]
    same = {*store.left_out(), filepath, *find_copies(paths, [filepath]), *bank_copies(store, [filepath]).values()}
    return (image for image in chain(store.bank, store.marked) if image.path not in same)


def _nearest_within(
    filepath: str, segments: Segments, rows: NDArray[np.float32], index: int, count: int
) -> list[Neighbour]:
    """Return the nearest other segments of the same image, by their features ``[n, d]``."""
    distances = np.linalg.norm(rows - rows[index], axis=1)
    distances[index] = np.inf
    nearest = np.argsort(distances, kind="stable")[: min(count, len(rows) - 1)]
    return [Neighbour(filepath, pixel_box(segments, int(i)), float(distances[i])) for i in nearest]


def _nearest_in_bank(
    bank: Iterable[ImageFeatures], rows: LevelFeatures, places: list[list[int]], count: int
) -> list[list[list[Neighbour]]]:
    """Return the nearest segments of the bank, at most one per image: a list for each segment and each level.

    Args:
        bank: features of normal images
        rows: features of the explained image, ``[n, d]`` per level
        places: for each explained segment its row, per level
        count: neighbours at most
    """
    neighbours: list[list[list[Neighbour]]] = [[[] for _ in segment_places] for segment_places in places]
    for image in bank:
        for by_level, segment_places in zip(neighbours, places, strict=True):
            for level, place in enumerate(segment_places):
                by_level[level].append(_nearest_of_image(image, level, rows[level][place]))
    return [[sorted(near, key=lambda one: one.distance)[:count] for near in by_level] for by_level in neighbours]


def _nearest_of_image(image: ImageFeatures, level: int, query: NDArray[np.float32]) -> Neighbour:
    rows = np.asarray(image.features[level], np.float32)
    squares = ((rows - query) ** 2).sum(axis=1)
    place = int(squares.argmin())
    # Rows after those of the segments are of turned copies; where only some rows were kept, their places are unknown
    has_box = image.complete and place < len(image.segments[level])
    return Neighbour(
        image.path, pixel_box(image.segments[level], place) if has_box else None, float(np.sqrt(squares[place]))
    )


def _decisive_level(
    scorer: LevelScorer, patches: Sequence[Patches], places: list[int], neighbours: list[list[Neighbour]]
) -> int:
    """Return the level that adds most to the score of a segment."""
    if not scorer.has_common_scale:
        return 0
    shares = []
    for level, (level_patches, place) in enumerate(zip(patches, places, strict=True)):
        segment = Segments(level_patches.segments.size, level_patches.segments.boxes[[place]])
        distance = np.array([np.mean([neighbour.distance for neighbour in neighbours[level]])], np.float32)
        shares.append(scorer.levels[level].weight * float(scorer.to_common_scale(level, (segment, distance))[0]))
    return int(np.argmax(shares))


def pixel_box(segments: Segments, index: int) -> PixelBox:
    """Return the box of a segment in whole numbers."""
    x0, y0, x1, y1 = segments.boxes[index].tolist()
    return x0, y0, x1, y1
