"""``evaluate_anomalies``: compares the maps and scores of a run with ground-truth masks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import fiftyone.core.utils as fou
import numpy as np
from fiftyone.core.collections import SampleCollection as Samples
from numpy.typing import NDArray

from ..data.truth import GOOD, GT_FIELD, NO_TRUTH, Truth, check_truth_field, read_truth, truth_warnings
from ..engine.calibration import score_bins
from ..engine.prediction import predicted_mask
from ..errors import ImageError, RunError
from ..metrics.curves import Confusion
from ..metrics.image_result import ImageResult
from ..metrics.pixels import Bins, PixelCounts
from ..registry.run import Run, check_eval_key, load_run
from ..registry.samples import check_collection
from ..scoring.thresholds import Thresholds
from ..segments.maps import anomaly_map
from ..segments.regions import Region, RegionCounts, label_regions, match_regions, regions_of, size_of
from ..storage.records import ImageScores
from ..storage.store import RunStore
from ..utils.text import pluralize
from ..utils.threads import prefetch_map
from .results import AnomalyResults, resolution_warning
from .writer import FALSE_ALARM, HIT, MISS, EvaluationWriter

_COARSE = np.concatenate([np.linspace(0, 0.99, 397), 1 - np.geomspace(1e-2, 1e-6, 300)])
"""Quantiles of the segment scores between which pixels count as equal in the bootstrap."""


def evaluate_anomalies(
    samples: Samples,
    key: str = "segad",
    gt_field: str = GT_FIELD,
    eval_key: str | None = None,
    overwrite: bool = False,
    progress: bool | Callable[[Any], None] | None = None,
) -> AnomalyResults:
    """Compare a run with ground truth, from full-precision maps at image size.

    Args:
        samples: the samples to evaluate, e.g. the test split; those that the run did not score are excluded
        key ("segad"): the run's key
        gt_field ("defect_mask"): Segmentation, Detections or Polylines field; nonzero is defective. No mask, or an
            empty one, is a normal image, and all its pixels count as normal
        eval_key (None): stores the evaluation on the dataset under this name, as FiftyOne's own evaluations are
            (``dataset.get_evaluation_info``, ``load_evaluation_results``, ``load_evaluation_view``, and the App's
            Model Evaluation panel), with the fields that ``EvaluationWriter`` lists
        overwrite (False): replaces an evaluation with the same ``eval_key``
        progress (None): whether to show a progress bar, or a function that gets it

    Returns:
        ``AnomalyResults``; a view with one class only has those metrics that exist

    Raises:
        ValueError: if the run, the field or the view is wrong, before any work
        RunError: if none of the samples was scored by the run
    """
    dataset = check_collection(samples, "samples")
    run = load_run(samples, key)
    check_truth_field(dataset, gt_field)
    if eval_key is not None:
        check_eval_key(dataset, eval_key, overwrite)
    truths = read_truth(samples, gt_field)
    bins = score_bins(run.store)
    edges = _coarse_edges(run.store, bins)
    results = AnomalyResults(key, run.thresholds.image, run.thresholds.rule, gt_field, bins, samples=samples, run=run)
    writer = EvaluationWriter(dataset, eval_key, run, gt_field) if eval_key is not None else None
    comparison = _Comparison(run, truths, bins, edges, results.excluded)
    with writer or nullcontext():
        with fou.ProgressBar(total=len(truths), progress=progress, iters_str="images") as bar:
            # Normal images first: they set the false-positive rates at which the defective ones are measured
            for defective in (False, True):
                for compared in comparison.images(defective, bar.update):
                    results.add(compared.result, compared.counts)
                    if writer is not None:
                        writer.add(compared.result, compared.predicted, compared.missed, compared.errors)
            comparison.exclude_unscored()
            bar.update(len(results.excluded))
        if not results.images:
            reasons = f": {results.excluded[0]['reason']}" if results.excluded else ""
            raise RunError(
                f"None of the {len(truths)} samples can be evaluated on run '{key}'{reasons}. Evaluate samples that it "
                "scored and that have ground truth"
            )
        results.warnings += _warnings(results, truths)
        if writer is not None:
            writer.finish(samples, results)
    return results


@dataclass(frozen=True)
class _Compared:
    """An image with what the writer needs of it.

    ``predicted`` are the regions of the predicted mask and whether they are true; ``missed`` the ground-truth regions
    that were not found; ``errors`` is an array ``[height, width]`` of ``ERRORS``.
    """

    result: ImageResult
    counts: PixelCounts
    predicted: list[tuple[Region, bool]]
    missed: list[Region]
    errors: NDArray[np.uint8]


class _Comparison:
    """Goes through the images of a run, first the normal and then the defective ones."""

    def __init__(
        self,
        run: Run,
        truths: dict[str, Truth],
        bins: Bins,
        edges: NDArray[np.int64],
        excluded: list[dict[str, str]],
    ) -> None:
        self.run = run
        self.truths = truths
        self.bins = bins
        self.edges = edges
        self.excluded = excluded
        self._left = set(truths)
        self._defective: set[str] = set()
        for id, truth in truths.items():
            if not truth.known:
                self._exclude(id, NO_TRUTH)

    def images(self, defective: bool, advance: Callable[[int], None]) -> Iterator[_Compared]:
        """Yield those that are normal, or those that are defective. The normal ones come first."""

        def compare(record: ImageScores) -> _Compared | ImageError | None:
            try:
                mask = self.truths[record.id].read(record.segments.size)
            except ImageError as error:
                return error
            return self._compare(record, mask) if (mask is not None) == defective else None

        chosen = self._defective if defective else self._left
        records = (record for record in self.run.store.scores if record.id in chosen)
        for record, compared in prefetch_map(compare, records):
            if isinstance(compared, ImageError):
                self._exclude(record.id, str(compared))
            elif compared is None:
                self._defective.add(record.id)
            else:
                self._left.discard(record.id)
                yield compared
                advance(1)

    def exclude_unscored(self) -> None:
        """Note what no score was found of."""
        for id in sorted(self._left):
            self._exclude(id, f"Run '{self.run.key}' has no score for it")

    def _exclude(self, id: str, reason: str) -> None:
        self._left.discard(id)
        self.excluded.append({"id": id, "reason": reason})

    def _compare(self, record: ImageScores, mask: NDArray[np.bool_] | None) -> _Compared:
        truth, thresholds = self.truths[record.id], self.run.thresholds
        anomaly = anomaly_map(record.segments, record.scores)
        counts = PixelCounts.of(self.bins, anomaly, mask)
        defect = GOOD
        if mask is not None:
            defect = truth.defect if truth.defect and truth.defect != GOOD else "defect"
        predicted, missed, errors, sizes = _masks(record, anomaly, mask, thresholds)
        result = ImageResult(
            id=record.id,
            score=record.image_score,
            defective=mask is not None,
            defect=defect,
            category=truth.category or "",
            flagged=record.image_score > thresholds.image,
            pixels=_confusion(errors),
            regions=sizes,
            normal=self._coarse(counts.normal),
            positive=self._coarse(counts.defective) if counts.defective is not None else None,
            overlap=self._coarse(counts.overlap) if counts.overlap is not None else None,
        )
        return _Compared(result, counts, predicted, missed, errors)

    def _coarse(self, counts: NDArray[np.float64]) -> NDArray[np.float32]:
        return np.add.reduceat(counts, self.edges).astype(np.float32)


def _masks(
    record: ImageScores, anomaly: NDArray[np.float32], mask: NDArray[np.bool_] | None, thresholds: Thresholds
) -> tuple[list[tuple[Region, bool]], list[Region], NDArray[np.uint8], dict[str, RegionCounts]]:
    """Compare predicted mask and ground truth: predicted regions, missed ones, errors and regions by size."""
    flags = predicted_mask(record, anomaly, thresholds) != 0
    errors = flags.view(np.uint8)
    if mask is not None:
        errors = errors + (mask.view(np.uint8) << 1)
    labels, count = label_regions(flags)
    predicted = regions_of(labels, count, anomaly)
    found = np.zeros(0, bool)
    true = np.zeros(count, bool)
    regions: list[Region] = []
    if mask is not None:
        truth_labels, truth_count = label_regions(mask)
        regions = regions_of(truth_labels, truth_count, anomaly)
        true, found = match_regions(labels, truth_labels, (count, truth_count))
    sizes: dict[str, RegionCounts] = {}
    for region, hit in zip(predicted, true, strict=True):
        size = size_of(region.area)
        sizes[size] = sizes.get(size, RegionCounts()) + RegionCounts(true=int(hit), false=int(not hit))
    for region, hit in zip(regions, found, strict=True):
        size = size_of(region.area)
        sizes[size] = sizes.get(size, RegionCounts()) + RegionCounts(found=int(hit), missed=int(not hit))
    missed = [region for region, hit in zip(regions, found, strict=True) if not hit]
    return [(region, bool(hit)) for region, hit in zip(predicted, true, strict=True)], missed, errors, sizes


def _confusion(errors: NDArray[np.uint8]) -> Confusion:
    counts = np.bincount(errors.ravel(), minlength=4).tolist()
    return Confusion(tp=counts[HIT], fp=counts[FALSE_ALARM], fn=counts[MISS], tn=counts[0])


def _coarse_edges(store: RunStore, bins: Bins) -> NDArray[np.int64]:
    """Group a run's score bins for the bootstrap: narrow groups where scores are high and decide.

    Returns:
        int array ``[g]``, the first bin of each group
    """
    counts = np.zeros(bins.count, np.int64)
    for record in store.scores:
        counts += np.bincount(bins(record.scores), minlength=bins.count)
    shares = np.cumsum(counts) / counts.sum()
    return np.unique(np.append(0, np.searchsorted(shares, _COARSE)))


def _warnings(results: AnomalyResults, truths: dict[str, Truth]) -> list[str]:
    warnings = truth_warnings(truths.values())
    images = results.images.values()
    unmarked = [image.id for image in images if not image.defective and truths[image.id].defect not in (None, GOOD)]
    if unmarked:
        warnings.append(
            f"{pluralize(len(unmarked), 'sample has', 'samples have')} a defect type but no or an empty mask: taken as "
            f"normal; the first is {unmarked[0]}"
        )
    marked = [image.id for image in images if image.defective and truths[image.id].defect == GOOD]
    if marked:
        warnings.append(
            f"{pluralize(len(marked), 'sample is', 'samples are')} called '{GOOD}' but the ground truth marks a "
            f"defect: taken as anomalous; the first is {marked[0]}"
        )
    whole = [image.id for image in images if image.pixels.fp + image.pixels.tn == 0]
    if whole:
        warnings.append(
            f"{pluralize(len(whole), 'sample is', 'samples are')} defective in every pixel by '{results.gt_field}'; if "
            f"a value other than 0 is normal there, name it: dataset.mask_targets['{results.gt_field}'] = "
            "{1: 'background', 2: 'defect'}; "
            f"dataset.save(). The first is {whole[0]}"
        )
    if results.excluded:
        first = results.excluded[0]
        warnings.append(
            f"{pluralize(len(results.excluded), 'sample was', 'samples were')} not evaluated (results.excluded); "
            f"the first is {first['id']}: {first['reason']}"
        )
    coarse = resolution_warning(results)
    return warnings + ([coarse] if coarse else [])
