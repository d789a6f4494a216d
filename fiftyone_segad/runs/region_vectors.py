"""Describe the regions of a run, from the features that it keeps."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import fiftyone as fo
import fiftyone.core.utils as fou
import numpy as np
from numpy.typing import NDArray

from ..engine.families import normal_segments, segments_of_region
from ..errors import ImageError
from ..registry.run import Run
from ..registry.samples import all_slices
from ..scoring.levels import LevelFeatures
from ..scoring.region_vectors import RegionSegments, describe_regions
from ..segments.boxes import PixelBox, RelativeBox, Segments
from ..storage.records import ImageFeatures, ImageScores
from ..utils.images import read_image
from ..utils.text import pluralize
from .features import RunFeatures

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunRegion:
    """A predicted region of a run.

    Attributes:
        id: id of its Detection
        sample: id of its sample
        path: file of its image
        box: relative ``x, y, width, height``
        mask: bool array, True on the region within the box
        score: its peak
    """

    id: str
    sample: str
    path: str
    box: RelativeBox
    mask: NDArray[np.bool_]
    score: float

    def pixels(self, size: tuple[int, int]) -> PixelBox:
        """Return its box in pixels of an image of ``size``."""
        height, width = self.mask.shape
        left, top = round(self.box[0] * size[0]), round(self.box[1] * size[1])
        return left, top, left + width, top + height


def read_regions(dataset: fo.Dataset, run: Run) -> list[RunRegion]:
    """Read the regions of a run, highest first."""
    field = f"{run.field('regions')}.detections"
    samples = all_slices(dataset).exists(field)
    regions = []
    for sample, path, detections in zip(*samples.values(["id", "filepath", field]), strict=True):
        for detection in detections or ():
            x, y, width, height = detection.bounding_box
            mask = np.asarray(detection.mask, bool)
            score = float(detection["anomaly_score"])
            regions.append(RunRegion(detection.id, sample, path, (x, y, width, height), mask, score))
    return sorted(regions, key=lambda region: (-region.score, region.path, region.box))


def region_vectors(
    run: Run, regions: Sequence[RunRegion], progress: bool | Callable[[Any], None] | None = None
) -> tuple[list[RunRegion], NDArray[np.float32]]:
    """Describe regions of a run by vectors of length 1; images without stored features go through the embedder again.

    Args:
        run: the run
        regions: the regions
        progress: as in ``find_families``

    Returns:
        those of the regions whose images could be read, in their order, and a float32 array ``[n, d]``
    """
    if not regions:
        return [], np.zeros((0, 0), np.float32)
    by_sample: dict[str, list[int]] = {}
    for i, region in enumerate(regions):
        by_sample.setdefault(region.sample, []).append(i)
    described: dict[int, RegionSegments] = {}
    records = {record.id: record for record in run.store.scores_of(by_sample)}
    paths = {sample: regions[numbers[0]].path for sample, numbers in by_sample.items() if sample in records}
    for sample, segments, rows in _features(run, records, paths, progress):
        for i in by_sample[sample]:
            place = regions[i].path, regions[i].pixels(records[sample].segments.size)
            described[i] = segments_of_region(*place, regions[i].mask, records[sample], segments, rows)
    order = sorted(described)
    if not order:
        return [], np.zeros((0, 0), np.float32)
    normals = normal_segments(run.store.bank, len(run.store.bank.paths()))
    return [regions[i] for i in order], describe_regions([described[i] for i in order], normals)


def _features(
    run: Run,
    records: dict[str, ImageScores],
    paths: dict[str, str],
    progress: bool | Callable[[Any], None] | None,
) -> Iterator[tuple[str, Sequence[Segments], LevelFeatures]]:
    """Yield sample, segments and features ``[n, d]`` per level of each image that can be read.

    Args:
        run: the run
        records: the scores of the images, by sample
        paths: their files, by sample
        progress: as in ``find_families``
    """
    missing = dict(paths)
    for image in run.store.features:
        if missing.pop(image.path, None) is not None:
            yield image.path, image.segments, list(image.features)
    in_bank = {path: sample for sample, path in missing.items()}
    for image in run.store.bank:
        if image.complete and image.path in in_bank and missing.pop(in_bank[image.path], None) is not None:
            yield in_bank[image.path], image.segments, _upright(image)
    if not missing:
        return
    logger.info(
        "Run '%s' keeps no features of %s with regions: they go through the embedder again",
        run.key,
        pluralize(len(missing), "image"),
    )
    with RunFeatures(run) as features, fou.ProgressBar(total=len(missing), progress=progress) as bar:
        for sample, path in bar(missing.items()):
            try:
                patches = features.patches(records[sample], read_image(path, run.grey_scale))
            except ImageError as error:
                logger.warning("The regions of an image are left out: %s", error)
                continue
            yield sample, [level.segments for level in patches], features.levels.transform(patches)


def _upright(image: ImageFeatures) -> LevelFeatures:
    return [rows[: len(cut)] for rows, cut in zip(image.features, image.segments, strict=True)]
