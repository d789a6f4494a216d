"""``evaluate_anomalies``: compares the maps and scores of a run with ground-truth masks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import fiftyone as fo
import fiftyone.core.utils as fou
import numpy as np
from fiftyone.core.collections import SampleCollection as Samples
from numpy.typing import NDArray
from tabulate import tabulate

from . import metrics
from .errors import ImageError, RunError
from .maps import anomaly_map
from .metrics import PixelCounts, count_scores
from .runs import PLUGIN, Run, check_eval_key, delete_evaluation, load_run
from .store import ImageScores, RunStore
from .threads import batches, usable_cores
from .truth import GOOD, GT_FIELD, Truth, read_truth

METRIC_NAMES = (
    "image_auroc",
    "image_ap",
    "image_f1max",
    "pixel_auroc",
    "pixel_ap",
    "pixel_f1max",
    "aupro_30",
    "aupro_05",
    "precision",
    "recall",
    "fpr",
    "n_normal",
    "n_anomalous",
)

_BATCH = 16


@dataclass
class _Group:
    """Images that are reported together: one category and one kind of defect ("good" for normal images)."""

    pixels: PixelCounts
    scores: list[float] = field(default_factory=list)


class AnomalyResults:
    """What :func:`evaluate_anomalies` found.

    Attributes:
        key: the run's key
        threshold: the run's image threshold
        threshold_rule: the rule it follows
        outcomes: ``TP``, ``FP``, ``TN`` or ``FN`` of each evaluated sample, by id
        excluded: ``{"id", "reason"}`` of the samples that could not be evaluated
        warnings: what a reader of the figures should know
    """

    def __init__(self, run: Run, score_range: tuple[float, float]) -> None:
        self.key = run.key
        self._range = score_range
        self.threshold = run.thresholds.image
        self.threshold_rule = run.thresholds.rule
        self.outcomes: dict[str, str] = {}
        self.excluded: list[dict[str, str]] = []
        self.warnings: list[str] = []
        self._groups: dict[tuple[str, str], _Group] = {}

    def metrics(self, defect: str | None = None, category: str | None = None) -> dict[str, float | int | None]:
        """Computes the metrics.

        Args:
            defect (None): one defect type against all normal images, instead of all types
            category (None): one category only

        Returns:
            a dict with ``image_auroc``, ``image_ap``, ``image_f1max`` (images; a normal image has no or an
            empty mask), ``pixel_auroc``, ``pixel_ap``, ``pixel_f1max`` (pixels of all images, at image size),
            ``aupro_30`` and ``aupro_05`` (per-region overlap up to a false-positive rate of 0.3 and 0.05),
            all in [0, 1]; ``precision``, ``recall`` and ``fpr`` of the images at the run's threshold;
            ``n_normal`` and ``n_anomalous`` images. ``image_f1max`` and ``pixel_f1max`` are at their best
            thresholds, which have seen the truth. What does not exist, because a class is absent, is None
        """
        chosen = {
            name: group
            for name, group in self._groups.items()
            if category in (None, name[0]) and (name[1] == GOOD or defect in (None, name[1]))
        }
        scores = [score for group in chosen.values() for score in group.scores]
        truth = [name[1] != GOOD for name, group in chosen.items() for _ in group.scores]
        images = count_scores(scores, truth)
        result: dict[str, float | int | None] = {
            "image_auroc": metrics.auroc(images),
            "image_ap": metrics.average_precision(images) if images.both_classes else None,
            "image_f1max": _first(metrics.f1_max(images)) if images.both_classes else None,
        }
        merged = PixelCounts.merge(*self._range, [group.pixels for group in chosen.values()])
        pixels, overlap = merged.pixels(), merged.overlap()
        result["pixel_auroc"] = metrics.auroc(pixels)
        result["pixel_ap"] = metrics.average_precision(pixels) if pixels.both_classes else None
        result["pixel_f1max"] = _first(metrics.f1_max(pixels)) if pixels.both_classes else None
        for limit in metrics.AUPRO_LIMITS:
            result[f"aupro_{round(limit * 100):02d}"] = metrics.partial_area(overlap, limit)
        result.update(metrics.rates_at(scores, truth, self.threshold))
        result["n_normal"], result["n_anomalous"] = truth.count(False), truth.count(True)
        return result

    def missing(self) -> list[str]:
        """Names of the metrics that do not exist for these samples."""
        return _missing(self.metrics())

    @property
    def categories(self) -> list[str]:
        """Names of the categories, empty if the samples have none."""
        return sorted({category for category, _ in self._groups if category})

    @property
    def defects(self) -> list[str]:
        """Names of the defect types."""
        return sorted({defect for _, defect in self._groups if defect != GOOD})

    def rows(self) -> list[dict[str, Any]]:
        """The metrics as rows: each defect type of each category, each category, and all samples together."""
        rows = []
        categories: list[str | None] = [*self.categories] or [None]
        for category in categories:
            for defect in self.defects:
                if (category or "", defect) in self._groups:
                    rows.append({"category": category or "", "defect": defect, **self.metrics(defect, category)})
            if category is not None and len(categories) > 1:
                rows.append({"category": category, "defect": "all", **self.metrics(category=category)})
        rows.append({"category": "all", "defect": "all", **self.metrics()})
        return rows

    def report(self) -> str:
        """The metrics per defect type and category as a text table, with what a reader should know."""
        rows = self.rows()
        shown = ["category"] * (len(self.categories) > 0) + ["defect", "n_normal", "n_anomalous"]
        shown += [name for name in METRIC_NAMES if not name.startswith("n_")]
        body = [[format_metric(row[name]) for name in shown] for row in rows]
        titles = [name.removeprefix("n_").replace("_", "\n") for name in shown]
        lines = [tabulate(body, titles, disable_numparse=True, stralign="right")]
        lines.append(
            f"Precision, recall and fpr of images with a score above {self.threshold:.4g} ({self.threshold_rule}); "
            "f1max is at the best threshold, which has seen the truth."
        )
        total = rows[-1]
        if missing := _missing(total):
            reasons = {
                "no defective images": not total["n_anomalous"],
                "no normal images": not total["n_normal"],
                "no image is flagged": total["precision"] is None,
            }
            why = ", ".join(reason for reason, holds in reasons.items() if holds)
            lines.append(f"Not defined here ({why}): {', '.join(missing)}.")
        lines += [f"Warning: {warning}" for warning in self.warnings]
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.report()

    def _add(
        self, record: ImageScores, truth: Truth, mask: NDArray[np.bool_] | None, anomaly: NDArray[np.float32]
    ) -> None:
        defect = GOOD
        if mask is not None:
            defect = truth.defect if truth.defect and truth.defect != GOOD else "defect"
        name = (truth.category or "", defect)
        if name not in self._groups:
            self._groups[name] = _Group(PixelCounts(*self._range))
        group = self._groups[name]
        group.scores.append(record.image_score)
        group.pixels.add(anomaly, mask)
        flagged = record.image_score > self.threshold
        self.outcomes[record.id] = ("T" if flagged == (mask is not None) else "F") + ("P" if flagged else "N")


def evaluate_anomalies(
    samples: Samples,
    key: str = "segad",
    gt_field: str = GT_FIELD,
    eval_key: str | None = None,
    overwrite: bool = False,
    progress: bool | Callable[[Any], None] | None = None,
) -> AnomalyResults:
    """Compares a run with ground truth, from full-precision maps at image size.

    Args:
        samples: the samples to evaluate, e.g. the test split; those that the run did not score are excluded
        key ("segad"): the run's key
        gt_field ("defect_mask"): Segmentation field; nonzero is defective. No mask, or an empty one, is a
            normal image, and all its pixels count as normal
        eval_key (None): stores the metrics as a run of the dataset and TP/FP/TN/FN in a field of this name
        overwrite (False): replaces an evaluation with the same ``eval_key``
        progress (None): whether to show a progress bar, or a function that gets it

    Returns:
        :class:`AnomalyResults`; a view with one class only has those metrics that exist

    Raises:
        ValueError: if the run, the field or the view is wrong, before any work
        RunError: if none of the samples was scored by the run
    """
    if len(samples) == 0:
        raise ValueError("samples is an empty view; check its filters")
    run = load_run(samples, key)
    dataset = samples._root_dataset
    if eval_key is not None:
        check_eval_key(dataset, eval_key, overwrite)
    truths = read_truth(samples, gt_field)
    results = AnomalyResults(run, _score_range(run.store))
    with fou.ProgressBar(total=len(truths), progress=progress, iters_str="images") as bar:
        for record, mask, anomaly in _compare(run.store, truths, results.excluded, bar.update):
            results._add(record, truths[record.id], mask, anomaly)
    if not results.outcomes:
        raise RunError(f"Run '{key}' scored none of the {len(truths)} samples; evaluate the samples that it scored")
    results.warnings += _warnings(results, truths)
    if eval_key is not None:
        _save(dataset, eval_key, results, gt_field)
    return results


def best_thresholds(samples: Samples, store: RunStore, present: set[str], gt_field: str) -> tuple[float, float]:
    """Image and pixel thresholds with the highest F1 on the ground truth.

    Raises:
        ValueError: if there are no defective images
    """
    truths = {id: truth for id, truth in read_truth(samples, gt_field).items() if id in present}
    pixels = PixelCounts(*_score_range(store))
    scores, defective = [], []
    for record, mask, anomaly in _compare(store, truths, [], lambda count: None):
        scores.append(record.image_score)
        defective.append(mask is not None)
        pixels.add(anomaly, mask)
    images, best = metrics.f1_max(count_scores(scores, defective)), metrics.f1_max(pixels.pixels())
    if images is None or best is None:
        raise ValueError(f"threshold='f1' needs defective images with masks in '{gt_field}'; use 'fpr:0.01'")
    # Scores from there on are flagged, and a threshold flags what is above it; pixel scores are centres of bins
    return float(np.nextafter(images[1], -np.inf)), best[1] - pixels.bin_width / 2


def _compare(
    store: RunStore,
    truths: dict[str, Truth],
    excluded: list[dict[str, str]],
    advance: Callable[[int], None],
) -> Iterator[tuple[ImageScores, NDArray[np.bool_] | None, NDArray[np.float32]]]:
    """Yields the scores, ground truth and map of each sample; the others are noted in ``excluded``."""

    def read(record: ImageScores) -> tuple[NDArray[np.bool_] | ImageError | None, NDArray[np.float32]]:
        try:
            mask: NDArray[np.bool_] | ImageError | None = truths[record.id].read(record.segments.size)
        except ImageError as error:
            mask = error
        return mask, anomaly_map(record.segments, record.scores)

    left = set(truths)
    records = (record for record in store.scores if record.id in truths)
    with ThreadPoolExecutor(usable_cores(), thread_name_prefix="segad-truth") as threads:
        for batch in batches(records, _BATCH):
            for record, (mask, anomaly) in zip(batch, threads.map(read, batch), strict=True):
                left.discard(record.id)
                if isinstance(mask, ImageError):
                    excluded.append({"id": record.id, "reason": str(mask)})
                else:
                    yield record, mask, anomaly
                advance(1)
    excluded += [{"id": id, "reason": "The run has no score for it"} for id in sorted(left)]
    advance(len(left))


def _score_range(store: RunStore) -> tuple[float, float]:
    """Lowest and highest segment score of a run; its maps stay within."""
    lows, highs = zip(*((record.scores.min(), record.scores.max()) for record in store.scores), strict=True)
    return float(min(lows)), float(max(highs))


def _warnings(results: AnomalyResults, truths: dict[str, Truth]) -> list[str]:
    warnings = []
    unmarked = [
        id
        for id, outcome in results.outcomes.items()
        if outcome in ("TN", "FP") and truths[id].defect not in (None, GOOD)
    ]
    if unmarked:
        warnings.append(
            f"{len(unmarked)} samples have a defect type but no or an empty mask, and count as normal; "
            f"the first is {unmarked[0]}"
        )
    if results.excluded:
        first = results.excluded[0]
        warnings.append(
            f"{len(results.excluded)} samples were not evaluated (results.excluded); "
            f"the first is {first['id']}: {first['reason']}"
        )
    return warnings


def _save(dataset: fo.Dataset, eval_key: str, results: AnomalyResults, gt_field: str) -> None:
    """Stores an evaluation as a run of the dataset and the outcomes in a field."""
    if eval_key in dataset.list_runs():
        delete_evaluation(dataset, eval_key)
    dataset.add_sample_field(eval_key, fo.StringField, description=f"Outcome of run '{results.key}' on {gt_field}")
    dataset.set_values(eval_key, results.outcomes, key_field="id")
    config = dataset.init_run(plugin=PLUGIN, evaluated=results.key, gt_field=gt_field, metrics=results.metrics())
    dataset.register_run(eval_key, config)


def _first(pair: tuple[float, float] | None) -> float | None:
    return pair[0] if pair else None


def format_metric(value: Any) -> str:
    """A metric as tables show it; one that does not exist is a dash."""
    return "-" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


def _missing(metrics: dict[str, Any]) -> list[str]:
    return [name for name, value in metrics.items() if value is None]
