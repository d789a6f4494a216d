"""``set_threshold``: choose where normal ends, and rewrite what follows from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.core.utils as fou
import numpy as np
from fiftyone.core.collections import SampleCollection as Samples

from ..data.truth import GT_FIELD, read_truth
from ..engine.calibration import Calibration, calibrate, records_of, score_bins
from ..errors import ImageError
from ..metrics import curves
from ..metrics.curves import count_scores
from ..metrics.pixels import PixelCounts
from ..registry.exclusive import holds_run_lock
from ..registry.fields import THRESHOLD_FIELDS, write_fields
from ..registry.run import Run, load_run
from ..scoring.thresholds import ThresholdRule, parse_threshold
from ..segments.maps import anomaly_map
from ..storage.records import ImageScores
from ..storage.store import RunStore
from ..utils.threads import prefetch_map
from .lifecycle import masks_name


@holds_run_lock
def set_threshold(
    samples: Samples,
    key: str,
    threshold: str | float,
    gt_field: str = GT_FIELD,
    progress: bool | Callable[[Any], None] | None = None,
) -> Run:
    """Change the thresholds of a run and rewrites its predictions, masks, segments and regions.

    Args:
        samples: the dataset, or a view of it; the whole run changes
        key: the run's key
        threshold: ``"fpr:0.01"``, ``"quantile:0.95"``, ``"f1"`` (the highest F1 on the ground truth: it has
            seen it), or a number
        gt_field ("defect_mask"): ground truth for ``"f1"``
        progress (None): whether to show a progress bar, or a function that gets it

    Returns:
        the changed run

    Raises:
        ValueError: if the threshold or the key is wrong, or ``"f1"`` finds no ground truth
    """
    rule = parse_threshold(threshold)
    run = load_run(samples, key)
    dataset = samples._root_dataset
    present = set(dataset.values("id"))
    calibration = calibrated(dataset, run.store, run.method, rule, present, gt_field)
    # What was said of the threshold before holds no more; that of the highest F1 says nothing, and needs the truth
    before = parse_threshold(run.thresholds.rule)
    said = calibrated(dataset, run.store, run.method, before, present).warnings if before.kind != "f1" else []
    kept = [warning for warning in run.warnings if warning not in (*said, *calibration.warnings)]
    changed = replace(run, thresholds=calibration.thresholds, masks=masks_name(), warnings=kept + calibration.warnings)
    with fou.ProgressBar(total=run.scored, progress=progress, iters_str="images") as bar:
        records = records_of(run.store, present)
        old = [str(Path(run.folder) / run.masks)]
        write_fields(dataset, changed, records, calibration.scores, THRESHOLD_FIELDS, bar.update, old)
    return changed


def calibrated(
    dataset: fo.Dataset, store: RunStore, method: str, rule: ThresholdRule, present: set[str], gt_field: str = GT_FIELD
) -> Calibration:
    """Calibrates a run whose images are scored; the ground truth is read only if the rule needs it."""
    truth = (lambda: best_thresholds(dataset, store, present, gt_field)) if rule.kind == "f1" else None
    return calibrate(store, method, rule, present, truth)


def best_thresholds(samples: Samples, store: RunStore, present: set[str], gt_field: str) -> tuple[float, float]:
    """Image and pixel thresholds with the highest F1 on the ground truth.

    Raises:
        ValueError: if there are no defective images
    """
    truths = {id: truth for id, truth in read_truth(samples, gt_field).items() if id in present and truth.known}
    bins = score_bins(store)
    pixels = PixelCounts(bins)
    scores, defective = [], []

    def count(record: ImageScores) -> tuple[PixelCounts, bool] | None:
        try:
            mask = truths[record.id].read(record.segments.size)
        except ImageError:
            return None
        return PixelCounts.of(bins, anomaly_map(record.segments, record.scores), mask), mask is not None

    records = (record for record in store.scores if record.id in truths)
    for record, found in prefetch_map(count, records):
        if found is not None:
            scores.append(record.image_score)
            defective.append(found[1])
            pixels.add(found[0])
    images, best = curves.f1_max(count_scores(scores, defective)), curves.f1_max(pixels.pixels())
    if images is None or best is None:
        raise ValueError(f"threshold='f1' needs defective images with masks in '{gt_field}'; use 'fpr:0.01'")
    # Scores from there on are flagged, and a threshold flags what is above it; pixel scores are centres of bins
    return float(np.nextafter(images[1], -np.inf)), best[1] - bins.width / 2
