"""``explain_miss``: which normal images excuse a defect that is not flagged, and its score without each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

import fiftyone as fo
import numpy as np
from fiftyone.core.collections import SampleCollection as Samples
from numpy.typing import NDArray

from ..data.truth import GT_FIELD, read_truth, truth_fields
from ..engine.passes import upright_rows
from ..engine.prediction import score_with
from ..engine.siblings import part_numbers
from ..errors import SegadError
from ..registry.keys import ANOMALOUS
from ..registry.run import Run, load_run
from ..registry.samples import all_slices, check_whole_number
from ..review.mark_field import read_marks
from ..review.triage import read_score_table
from ..runs.features import RunFeatures
from ..scoring.excuses import USUAL, Matches
from ..scoring.levels import LevelFeatures, LevelScorer
from ..segments.boxes import PixelBox, RelativeBox, Segments, relative_box
from ..segments.places import COMPLETE_IMAGE, nearest_segments, segments_in
from ..segments.regions import label_regions, regions_of
from ..storage.bank_images import bank_copies
from ..storage.records import ImageScores
from ..utils.arrays import spread_indices
from ..utils.copies import find_copies
from ..utils.images import read_image
from .explain import Neighbour, pixel_box

_MOST_SEGMENTS = 400
"""Segments of a defect that are looked at, where its place is known."""

_OTHER_DEFECTS = 20
"""Other missed defects that are looked at."""


@dataclass(frozen=True)
class Excuse:
    """A normal part that a missed defect is like.

    Attributes:
        box: the segment of the defect that it excuses most
        neighbour: the segment of a normal image that this one is most like
        filepaths: all images of the part in the bank, that of the segment first
        score_without: about the image's score if nothing were compared with them
        found_without: whether it would be flagged then
        is_mark: whether people marked it as normal, and it is in no bank
        excused: ids of the samples with missed defects that it alone excuses, this one among them
    """

    box: PixelBox
    neighbour: Neighbour
    filepaths: list[str]
    score_without: float
    found_without: bool
    is_mark: bool
    excused: list[str] = field(default_factory=list)

    @property
    def suspicious(self) -> bool:
        """Whether it excuses several defects, and is probably defective itself."""
        return len(self.excused) > 1

    def __str__(self) -> str:
        name, found = Path(self.neighbour.filepath).name, ", and be flagged" if self.found_without else ""
        more = f" and {len(self.filepaths) - 1} more of its part" if len(self.filepaths) > 1 else ""
        text = f"Without {name}{more} the score would be about {self.score_without:.2f}{found}"
        if self.suspicious:
            remedy = "take its mark back with unmark()" if self.is_mark else "mark it as anomalous, and rescore"
            text += f". It excuses {len(self.excused)} missed defects, and is probably defective itself: {remedy}"
        return text


@dataclass(frozen=True)
class Miss:
    """The reasons why a defect is missed.

    Attributes:
        sample_id: the sample
        score: its score
        threshold: that of the run, which the score does not exceed
        excuses: normal parts that excuse it, those first without which the score would be highest
    """

    sample_id: str
    score: float
    threshold: float
    excuses: list[Excuse]

    def __str__(self) -> str:
        text = f"Missed: the score is {self.score:.2f}, the threshold {self.threshold:.2f}"
        if not self.excuses:
            return f"{text}. No normal image alone excuses it: it is as normal as many"
        return "\n".join([text, *map(str, self.excuses)])


def explain_miss(samples: Samples, key: str, sample_id: str, max_excuses: int = 3) -> Miss:
    """Explain why a defect is not flagged: which normal images it is like, and what it would score without each.

    The defect is where the ground truth or a mark says, else anywhere in the image. Only distances there are looked at,
    and nothing is computed anew: what an image would score without another one is an estimate, mostly a low one.

    Args:
        samples: the dataset, or a view of it
        key: the run's key
        sample_id: the sample's id
        max_excuses (3): normal parts at most

    Returns:
        the reasons

    Raises:
        ValueError: if the run does not exist, did not score the sample, flags it, or compares with no normal images
        RunError: if the features of the image are not stored, and the embedder is not the run's any more
        ImageError: if they are not, and the image cannot be read

    Examples:
        >>> miss = segad.explain_miss(dataset, "segad", sample.id)  # doctest: +SKIP
        >>> print(miss)  # doctest: +SKIP
        Missed: the score is 1.12, the threshold 1.38
        Without 017.png the score would be about 1.61, and be flagged. It excuses 3 missed defects, and is probably
        defective itself: mark it as anomalous, and rescore
    """
    check_whole_number("max_excuses", max_excuses)
    run = load_run(samples, key)
    _check_run(run)
    records = {record.id: record for record in run.store.scores}
    if sample_id not in records:
        raise ValueError(f"Run '{key}' has no score for sample {sample_id}")
    dataset, record, threshold = samples._root_dataset, records[sample_id], run.thresholds.image
    if record.image_score > threshold:
        raise ValueError(
            f"Sample {sample_id} is flagged: its score {record.image_score:.3g} is above the threshold "
            f"{threshold:.3g}; ask explain_sample() why"
        )
    scorer, cuts, rows = _features(run, dataset, record)
    bank = _Bank(run, dataset[sample_id].filepath)
    indices = _defect_segments(record, _defect_boxes(dataset, run, [sample_id]).get(sample_id, []))
    places = [np.unique(nearest_segments(cut, record.segments.boxes[indices])) for cut in cuts]
    near = [bank.search(level, rows[level][place]) for level, place in enumerate(places)]
    excuses = {}
    for part in {part for level in near for part in level.matches.parts.tolist()}:
        raised = [level.matches.raised_without(part) for level in near]
        score = _raised_score(scorer, record, cuts, places, raised)
        if score > record.image_score:
            level = max(range(len(near)), key=lambda i: scorer.levels[i].weight * raised[i].max(initial=0))
            most = int(raised[level].argmax())
            box, neighbour = pixel_box(cuts[level], int(places[level][most])), near[level].neighbours[most]
            paths, is_mark = bank.images_of(part)
            paths = sorted(paths, key=lambda path: path != neighbour.filepath)
            excuses[part] = Excuse(box, neighbour, paths, score, score > threshold, is_mark)
    best = sorted(excuses, key=lambda part: -excuses[part].score_without)[:max_excuses]
    excused = {part: [sample_id] if excuses[part].found_without else [] for part in best}
    _add_others(excused, run, dataset, records, bank, scorer.heaviest)
    return Miss(sample_id, record.image_score, threshold, [replace(excuses[p], excused=excused[p]) for p in best])


def _check_run(run: Run) -> None:
    if run.method != "reference":
        raise ValueError(f"Run '{run.key}' compares with no normal images: its method is '{run.method}'")
    if run.settings.get("clean"):
        raise ValueError(
            f"Run '{run.key}' was made with clean=True, by which no normal image alone excuses a defect; look at the "
            "neighbours that explain_sample() shows"
        )


def _features(run: Run, dataset: fo.Dataset, record: ImageScores) -> tuple[LevelScorer, list[Segments], LevelFeatures]:
    """Return the levels of a run, and segments and features ``[n, k]`` of an image at each."""
    stored = next((image for image in run.store.features if image.path == record.id), None)
    with RunFeatures(run) as features:
        if stored:
            return features.levels, stored.segments, upright_rows(stored)
        patches = features.patches(record, read_image(dataset[record.id].filepath, run.grey_scale))
        return features.levels, [level.segments for level in patches], features.levels.transform(patches)


@dataclass(frozen=True)
class _Nearest:
    """What is nearest to some segments: parts, and the segment of an image of each nearest part."""

    matches: Matches
    neighbours: list[Neighbour]


class _Bank:
    """All that a run compares an image with: normal images and what is marked as normal.

    Args:
        run: the run
        filepath: the image, which is not compared with itself and its copies
    """

    def __init__(self, run: Run, filepath: str) -> None:
        store, paths = run.store, run.store.bank.paths()
        marked = store.marked.paths()
        same = {filepath, *find_copies([*paths, *marked], [filepath]), *bank_copies(store, [filepath]).values()}
        parts = part_numbers(paths, store.groups() or []).tolist()
        own = {part for path, part in zip(paths, parts, strict=True) if path in same}
        named = [(path, part, False) for path, part in zip(paths, parts, strict=True)]
        named += [(path, len(paths) + i, True) for i, path in enumerate(marked)]
        unused = same | set(store.left_out())
        self._store = store
        self._used = [path not in unused and part not in own for path, part, _ in named]
        self._named = [one for one, used in zip(named, self._used, strict=True) if used]

    def images_of(self, part: int) -> tuple[list[str], bool]:
        """Return the images of a part, and whether they are marked as normal."""
        found = [(path, is_mark) for path, number, is_mark in self._named if number == part]
        return [path for path, _ in found], found[0][1]

    def search(self, level: int, queries: NDArray[np.float32]) -> _Nearest:
        """Compare features ``[n, k]`` of one level with every row of each image."""
        squares = (queries**2).sum(axis=1)  # [n]
        images, places, nearest = [], [], []
        for image, used in zip(chain(self._store.bank, self._store.marked), self._used, strict=True):
            if not used:
                continue
            rows = np.asarray(image.features[level], np.float32)  # [m, k]
            products = (rows**2).sum(axis=1) - 2 * queries @ rows.T  # [n, m], |q - m|^2 less |q|^2
            images.append((image.path, image.segments[level] if image.complete else None))
            places.append(products.argmin(axis=1))
            nearest.append(np.sqrt(np.maximum(products.min(axis=1) + squares, 0)))
        distances = np.array(nearest)  # [images, n]
        parts = np.array([part for _, part, _ in self._named])
        first = distances.argmin(axis=0)  # [n]
        others = np.where(parts[:, None] == parts[first], np.inf, distances)  # [images, n]
        second = np.where(np.isfinite(others).any(axis=0), others.min(axis=0), distances.min(axis=0))
        neighbours = []
        for query, image_number in enumerate(first.tolist()):
            path, segments = images[image_number]
            place = int(places[image_number][query])
            # Rows after those of the segments are of turned copies
            box = pixel_box(segments, place) if segments is not None and place < len(segments) else None
            neighbours.append(Neighbour(path, box, float(distances[image_number, query])))
        return _Nearest(Matches(distances.min(axis=0), parts[first], second), neighbours)


def _raised_score(
    scorer: LevelScorer,
    record: ImageScores,
    cuts: Sequence[Segments],
    places: Sequence[NDArray[np.int64]],
    raised: Sequence[NDArray[np.floating]],
) -> float:
    """Return the score of an image after distances at some places ``[n]`` of each level are raised ``[n]``."""
    flat = [(cut, np.zeros(len(cut), np.float32)) for cut in cuts]
    higher = [(cut, zeros.copy()) for cut, zeros in flat]
    for (_, distances), place, more in zip(higher, places, raised, strict=True):
        distances[place] = more
    # Scores are linear in the distances
    return score_with(record, lambda scores: scores + scorer.fuse(higher)[1] - scorer.fuse(flat)[1])


def _defect_segments(record: ImageScores, boxes: list[RelativeBox]) -> NDArray[np.int64]:
    """Return the segments of an image in some boxes, or all if there are none: what is excused is not high."""
    if not boxes:
        return np.arange(len(record.segments))
    indices = segments_in(record.segments, boxes)
    return indices[spread_indices(len(indices), _MOST_SEGMENTS)]


def _defect_boxes(dataset: fo.Dataset, run: Run, ids: Sequence[str]) -> dict[str, list[RelativeBox]]:
    """Find where the defects of samples are, by the marks in a review and the regions of the ground truth."""
    boxes: dict[str, list[RelativeBox]] = {}
    for mark in read_marks(dataset, run.key, ANOMALOUS):
        if mark.box != COMPLETE_IMAGE and mark.sample_id in ids:
            boxes.setdefault(mark.sample_id, []).append(mark.box)
    view, gt_field = all_slices(dataset).select(list(ids)), run.gt_field or GT_FIELD
    if gt_field not in truth_fields(dataset):
        return boxes
    sizes = {record.id: record.segments.size for record in run.store.scores_of(ids)}
    for id, truth in read_truth(view, gt_field).items():
        try:
            mask = truth.read(sizes[id])
        except (SegadError, ValueError):
            continue
        if mask is not None and mask.any():
            labels, count = label_regions(mask)
            regions = regions_of(labels, count, mask.astype(np.float32))
            boxes.setdefault(id, []).extend(relative_box(region.box, sizes[id]) for region in regions)
    return boxes


def _add_others(
    excused: dict[int, list[str]],
    run: Run,
    dataset: fo.Dataset,
    records: dict[str, ImageScores],
    bank: _Bank,
    level: int,
) -> None:
    """Add to the samples that parts excuse, by part, those with other missed defects that they alone excuse."""
    known = {id for ids in excused.values() for id in ids}
    table = read_score_table(dataset, run)
    missed = set(table.ids[(table.truth == ANOMALOUS) & (table.scores <= run.thresholds.image)].tolist())
    missed |= {mark.sample_id for mark in read_marks(dataset, run.key, ANOMALOUS)}
    ids = [id for id in missed - known if id in records and records[id].image_score <= run.thresholds.image]
    ids = sorted(ids, key=lambda id: -records[id].image_score)[:_OTHER_DEFECTS]
    usual = [record.scores for record in run.store.held_out(level)]
    if not excused or not ids or not usual:
        return
    limit = float(np.quantile(np.concatenate(usual), USUAL))
    boxes, owners, queries = _defect_boxes(dataset, run, ids), [], []
    for image in run.store.features:
        if image.path in ids:
            indices = _defect_segments(records[image.path], boxes.get(image.path, []))
            places = np.unique(nearest_segments(image.segments[level], records[image.path].segments.boxes[indices]))
            owners += [image.path] * len(places)
            queries.append(upright_rows(image)[level][places])
    if not queries:
        return
    matches = bank.search(level, np.concatenate(queries)).matches
    for id in dict.fromkeys(owners):
        mine = np.array(owners) == id
        for part in Matches(matches.nearest[mine], matches.parts[mine], matches.second[mine]).excusing(limit):
            if part in excused:
                excused[part].append(id)
