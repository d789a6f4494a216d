"""``set_threshold``: choose where normal ends, and rewrite what follows from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.core.utils as fou
import numpy as np
from fiftyone.core.collections import SampleCollection as Samples

from ..data.truth import GT_FIELD, check_defects, read_truth
from ..engine.calibration import Calibration, calibrate, score_bins
from ..errors import ImageError
from ..metrics.curves import count_scores, f1_max
from ..metrics.pixels import PixelCounts
from ..registry.exclusive import holds_run_lock
from ..registry.fields import THRESHOLD_FIELDS, write_fields
from ..registry.run import Run, load_run
from ..registry.samples import all_slices
from ..registry.views import ViewRuns
from ..scoring.thresholds import ThresholdRule, parse_threshold
from ..storage.records import ImageScores
from ..storage.store import RunStore
from ..utils.threads import prefetch_map
from .each_slice import SliceCalls, check_each, works_on_each_slice
from .families import assign_families
from .inspection import MinArea, parse_min_area
from .lifecycle import new_masks_name, scored_ids
from .parts import decide_again


def _plan_slices(views: ViewRuns, call: dict[str, Any]) -> SliceCalls:
    """Check that a rule and smallest areas can be those of each slice.

    Raises:
        ValueError: if they cannot; a number is of one scale, and each slice has its own
    """
    dataset, rule = call["samples"]._root_dataset, parse_threshold(call["threshold"])
    if rule.kind == "value" and len(views.runs) > 1:
        key = next(iter(views.runs.values())).key
        raise ValueError(
            f"threshold={call['threshold']!r} is a number, and the scores of the slices {list(views.runs)} are on "
            "scales of their own: give a rule, e.g. 'fpr:0.05', by which each finds its own threshold, or a number by "
            f"the key of one slice, set_threshold(dataset, '{key}', {call['threshold']!r})"
        )

    def check(run: Run) -> None:
        ids = scored_ids(dataset, run)
        _areas(run, call["min_area"])
        if rule.kind == "f1":
            check_defects(all_slices(dataset).select(list(ids)), call["gt_field"])
        else:
            calibrate_run(dataset, run.store, run.method, rule, ids)

    check_each(views.runs, check)
    return dict.fromkeys(views.runs, call)


def _views_of(views: ViewRuns, _: Mapping[str, Run]) -> ViewRuns:
    return views


@works_on_each_slice(_plan_slices, _views_of)
@holds_run_lock
def set_threshold(
    samples: Samples,
    key: str,
    threshold: str | float,
    gt_field: str = GT_FIELD,
    progress: bool | Callable[[Any], None] | None = None,
    min_area: MinArea = None,
) -> Run:
    """Change the thresholds of a run, and rewrite its predictions, masks, segments and regions.

    By the key of the runs of all slices of a grouped dataset each slice gets a threshold of its own by the rule
    (``"alarms:20"``: 20 of each). What was decided on parts follows a new share where theirs was that of the threshold.

    Args:
        samples: the dataset, or a view of it; the whole run changes
        key: the run's key, or that of the runs of all slices
        threshold: ``"fpr:0.05"``, ``"alarms:20"``, ``"quantile:0.95"``, ``"f1"`` (the highest F1 on the ground truth:
            it has seen it), or a number, which several slices cannot have in common
        gt_field ("defect_mask"): ground truth for ``"f1"``
        progress (None): whether to show a progress bar, or a function that gets it
        min_area (None): as in ``compute_segment_anomalies``, 0 for any size; by default the run's

    Returns:
        the changed ``Run``; for the key of all slices ``ViewRuns`` with that of each

    Raises:
        ValueError: if the threshold or the key is wrong, or ``"f1"`` finds no ground truth

    Examples:
        >>> segad.set_threshold(dataset, "segad", 1.5).thresholds.image  # doctest: +SKIP
        1.5
    """
    rule = parse_threshold(threshold)
    run = load_run(samples, key)
    dataset = samples._root_dataset
    ids = scored_ids(dataset, run)
    calibration = calibrate_run(dataset, run.store, run.method, rule, ids, gt_field, _areas(run, min_area))
    stale = calibration_warnings(dataset, run, ids)
    warnings = [text for text in run.warnings if text not in (*stale, *calibration.warnings)] + calibration.warnings
    changed = replace(
        run,
        thresholds=calibration.thresholds,
        false_alarm_share=calibration.false_alarm_share,
        masks=new_masks_name(),
        warnings=warnings,
        gt_field=gt_field if rule.kind == "f1" else "",
    )
    with fou.ProgressBar(total=run.scored, progress=progress, iters_str="images") as bar:
        records = run.store.scores_of(ids)
        old_masks = str(Path(run.folder) / run.masks)
        write_fields(dataset, changed, records, calibration.compared, THRESHOLD_FIELDS, bar.update, [old_masks])
    assign_families(dataset, changed)
    decide_again(dataset, key)
    return changed


def _areas(run: Run, min_area: MinArea) -> Mapping[str, float]:
    """Return the smallest areas in pixels by zone; those of the run if none are given."""
    if min_area is None:
        return run.thresholds.min_area
    return parse_min_area(min_area, {zone.name for zone in run.zone_summaries}, run.pixel_size)


def calibration_warnings(dataset: fo.Dataset, run: Run, ids: set[str]) -> list[str]:
    """Return the warnings that a run's present threshold gave rise to."""
    rule = parse_threshold(run.thresholds.rule)
    if rule.kind == "f1":  # it gives rise to none, and needs the ground truth
        return []
    return calibrate_run(dataset, run.store, run.method, rule, ids).warnings


def calibrate_run(
    dataset: fo.Dataset,
    store: RunStore,
    method: str,
    rule: ThresholdRule,
    ids: set[str],
    gt_field: str = GT_FIELD,
    min_area: Mapping[str, float] | None = None,
) -> Calibration:
    """Calibrate a run whose images are scored; the ground truth is read only if the rule needs it.

    Args:
        dataset: the dataset
        store: the run's store
        method: the run's method
        rule: the rule of the thresholds
        ids: ids of the scored samples that the dataset has
        gt_field: ground truth for the rule ``f1``
        min_area: pixels that a region must have, by zone

    Raises:
        ValueError: if the rule needs normal images or ground truth, and there are none
    """
    truth = (lambda: best_thresholds(dataset, store, ids, gt_field)) if rule.kind == "f1" else None
    calibration = calibrate(store, method, rule, ids, truth)
    return replace(calibration, thresholds=replace(calibration.thresholds, min_area=dict(min_area or {})))


def best_thresholds(samples: Samples, store: RunStore, ids: set[str], gt_field: str) -> tuple[float, float]:
    """Find the image and the pixel threshold with the highest F1 on the ground truth.

    Raises:
        ValueError: if there are no defective images
    """
    truths = {id: truth for id, truth in read_truth(all_slices(samples), gt_field).items() if id in ids and truth.known}
    bins = score_bins(store)
    pixels = PixelCounts(bins)
    scores, defective = [], []

    def count(record: ImageScores) -> tuple[PixelCounts, bool] | None:
        try:
            areas = truths[record.id].read_areas(record.segments.size).without(record.ignored)
        except ImageError:
            return None
        mask = areas.mask  # [height, width], None on a good image
        anomaly = record.map()
        return PixelCounts.of(bins, anomaly, mask, areas.void), mask is not None

    for record, counted in prefetch_map(count, store.scores_of(truths)):
        if counted is not None:
            image_pixels, is_defective = counted
            scores.append(record.image_score)
            defective.append(is_defective)
            pixels.add(image_pixels)
    best_image, best_pixel = f1_max(count_scores(scores, defective)), f1_max(pixels.pixels())
    if best_image is None or best_pixel is None:
        raise ValueError(f"threshold='f1' needs defective images with masks in '{gt_field}'; use 'fpr:0.05'")
    # Scores from there on are flagged, and a threshold flags what is above it; pixel scores are centres of bins
    return float(np.nextafter(best_image[1], -np.inf)), best_pixel[1] - bins.width / 2
