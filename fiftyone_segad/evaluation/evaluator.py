"""Measure each image of a run against its ground truth, from maps at image size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..data.masks import Areas
from ..data.truth import GOOD, NO_TRUTH, Truth
from ..errors import ImageError
from ..metrics.confusion import Confusion
from ..metrics.image_result import ImageResult
from ..metrics.pixels import PixelCounts
from ..registry.run import Run
from ..segments.regions import Region, RegionCounts, RegionMatches, label_regions, match_regions, regions_of, size_of
from ..utils.threads import prefetch_map
from .sources import ScoredImage, ScoreSource

FALSE_ALARM, MISS, HIT = 1, 2, 3
"""Values of an error map: flagged only, defective only, both."""


@dataclass(frozen=True)
class RegionOutcomes:
    """The regions of an image by outcome.

    Attributes:
        predicted: regions of the predicted mask, whether a defect matches them, and their IoU with the nearest one
        missed: ground-truth regions that no predicted one matches
        by_size: numbers of regions by size
    """

    predicted: list[tuple[Region, bool, float]]
    missed: list[Region]
    by_size: dict[str, RegionCounts]


@dataclass(frozen=True)
class EvaluatedImage:
    """What an evaluation measured of an image, with what is written of it.

    Attributes:
        result: the figures
        counts: its pixels by score
        regions: its regions by outcome
        errors: uint8 array ``[height, width]`` of 0 (also where the ground truth is void), ``FALSE_ALARM``, ``MISS``
            and ``HIT``; None if nothing is known of its pixels but the ground truth
    """

    result: ImageResult
    counts: PixelCounts
    regions: RegionOutcomes
    errors: NDArray[np.uint8] | None


class Evaluator:
    """Goes through the images of a run, first the normal and then the defective ones.

    Args:
        run: the run
        truths: ground truth of the samples to evaluate, by id
        source: where the run's scores are

    Attributes:
        excluded: ``{"id", "reason"}`` of the samples that could not be evaluated
    """

    def __init__(self, run: Run, truths: dict[str, Truth], source: ScoreSource) -> None:
        self.run = run
        self.truths = truths
        self.source = source
        self.excluded: list[dict[str, str]] = []
        self._remaining = set(truths)
        self._defective: set[str] = set()
        for id, truth in truths.items():
            if not truth.known:
                self._exclude(id, NO_TRUTH)

    def images(self, defective: bool, advance: Callable[[int], None]) -> Iterator[EvaluatedImage]:
        """Yield the normal or the defective images. To be called for the normal ones first, which finds the others."""

        def evaluate(scored: ScoredImage) -> EvaluatedImage | ImageError | None:
            try:
                areas = self.truths[scored.id].read_areas(scored.measure()).without(scored.ignored())
                return self._evaluate(scored, areas) if (areas.mask is not None) == defective else None
            except ImageError as error:
                return error

        ids = frozenset(self._defective if defective else self._remaining)
        for scored, image in prefetch_map(evaluate, self.source.images(ids)):
            if isinstance(image, ImageError):
                self._exclude(scored.id, str(image))
            elif image is None:
                self._defective.add(scored.id)
            else:
                self._remaining.discard(scored.id)
                yield image
                advance(1)

    def exclude_unscored(self) -> None:
        """Exclude the samples that the run has no score for."""
        for id in sorted(self._remaining):
            self._exclude(id, f"Run '{self.run.key}' has no score for it")

    def _exclude(self, id: str, reason: str) -> None:
        self._remaining.discard(id)
        self.excluded.append({"id": id, "reason": reason})

    def _evaluate(self, scored: ScoredImage, areas: Areas) -> EvaluatedImage:
        truth, mask, bins = self.truths[scored.id], areas.mask, self.source.bins
        counts, errors, outcomes, pixels = PixelCounts(bins), None, RegionOutcomes([], [], {}), Confusion()
        if scored.predict is not None:
            anomaly, flags = scored.predict()
            counts = PixelCounts.of(bins, anomaly, mask, areas.void)
            if areas.void is not None:
                flags = flags & ~areas.void
            errors = flags.view(np.uint8)  # FALSE_ALARM
            if mask is not None:
                errors = errors + (mask.view(np.uint8) << 1)  # MISS, or HIT where both are
            outcomes = _match(flags, mask, anomaly)
            pixels = _count_errors(errors if areas.void is None else errors[~areas.void])
        defect = GOOD
        if mask is not None:
            defect = truth.defect if truth.defect and truth.defect != GOOD else "defect"
        result = ImageResult(
            id=scored.id,
            score=scored.score,
            defective=mask is not None,
            defect=defect,
            category=truth.category or "",
            flagged=scored.score > self.run.thresholds.image,
            pixels=pixels,
            regions=outcomes.by_size,
            normal=self._coarse(counts.normal),
            positive=self._coarse(counts.defective) if counts.defective is not None else None,
            overlap=self._coarse(counts.overlap) if counts.overlap is not None else None,
        )
        return EvaluatedImage(result, counts, outcomes, errors)

    def _coarse(self, counts: NDArray[np.float64]) -> NDArray[np.float32]:
        return np.add.reduceat(counts, self.source.coarse_edges).astype(np.float32)


def _match(flags: NDArray[np.bool_], mask: NDArray[np.bool_] | None, anomaly: NDArray[np.float32]) -> RegionOutcomes:
    """Match the regions of a predicted mask with those of the ground truth, None if all of it is normal."""
    labels, count = label_regions(flags)
    predicted = regions_of(labels, count, anomaly)
    truth: list[Region] = []
    matches = RegionMatches(np.zeros(count, bool), np.zeros(0, bool), np.zeros(count))
    if mask is not None:
        truth_labels, truth_count = label_regions(mask)
        truth = regions_of(truth_labels, truth_count, anomaly)
        matches = match_regions(labels, truth_labels, (count, truth_count))
    by_size: dict[str, RegionCounts] = {}

    def add(region: Region, counts: RegionCounts) -> None:
        size = size_of(region.area)
        by_size[size] = by_size.get(size, RegionCounts()) + counts

    for region, hit in zip(predicted, matches.true, strict=True):
        add(region, RegionCounts(true=int(hit), false=int(not hit)))
    for region, hit in zip(truth, matches.found, strict=True):
        add(region, RegionCounts(found=int(hit), missed=int(not hit)))
    return RegionOutcomes(
        predicted=list(zip(predicted, matches.true.tolist(), matches.iou.tolist(), strict=True)),
        missed=[region for region, hit in zip(truth, matches.found, strict=True) if not hit],
        by_size=by_size,
    )


def _count_errors(errors: NDArray[np.uint8]) -> Confusion:
    counts = np.bincount(errors.ravel(), minlength=4).tolist()
    return Confusion(tp=counts[HIT], fp=counts[FALSE_ALARM], fn=counts[MISS], tn=counts[0])
