"""``evaluate_anomalies``: measure the maps, masks and scores of a run by ground-truth masks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import fiftyone.core.utils as fou
from fiftyone.core.collections import SampleCollection as Samples

from ..data.truth import GOOD, GT_FIELD, Truth, check_truth_field, read_truth, truth_warnings
from ..errors import RunError
from ..metrics.pimo import BOUNDS
from ..registry.keys import check_eval_key
from ..registry.run import load_record
from ..registry.samples import check_collection
from ..review.triage import reference_ids
from ..utils.text import pluralize
from .evaluator import Evaluator
from .parts import parts_of_run
from .results import AnomalyResults
from .sources import find_source
from .writer import EvaluationWriter


def evaluate_anomalies(
    samples: Samples,
    key: str = "segad",
    gt_field: str = GT_FIELD,
    eval_key: str | None = None,
    overwrite: bool = False,
    progress: bool | Callable[[Any], None] | None = None,
) -> AnomalyResults:
    """Evaluate a run on ground truth, from full-precision maps at image size.

    Where the run's folder is gone, heatmaps stand in for the maps, and where these are gone, too, the figures of images
    alone are computed; a warning says so.

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

    Examples:
        >>> results = segad.evaluate_anomalies(dataset.match_tags("test"), "segad", eval_key="eval")  # doctest: +SKIP
        >>> results.metrics()["image_auroc"]  # doctest: +SKIP
        0.987
    """
    dataset = check_collection(samples, "samples")
    run = load_record(samples, key)
    check_truth_field(dataset, gt_field)
    if eval_key is not None:
        check_eval_key(dataset, eval_key, overwrite)
    truths = read_truth(samples, gt_field)
    source = find_source(samples, run)
    thresholds = run.thresholds
    results = AnomalyResults(key, thresholds.image, thresholds.rule, gt_field, source.bins, samples=samples, run=run)
    writer = EvaluationWriter(dataset, eval_key, run, gt_field) if eval_key is not None else None
    with writer.writing() if writer is not None else nullcontext():
        evaluator = Evaluator(run, truths, source)
        with fou.ProgressBar(total=len(truths), progress=progress, iters_str="images") as bar:
            # Normal images first: they set the false-positive rates at which the defective ones are measured
            for defective in (False, True):
                for image in evaluator.images(defective, bar.update):
                    results.add(image.result, image.counts)
                    if writer is not None:
                        writer.add(image)
            evaluator.exclude_unscored()
            results.excluded += evaluator.excluded
            bar.update(len(results.excluded))
        if not results.images:
            reasons = f": {results.excluded[0]['reason']}" if results.excluded else ""
            raise RunError(
                f"None of the {len(truths)} samples can be evaluated on run '{key}'{reasons}. Evaluate samples that it "
                "scored and that have ground truth"
            )
        results.parts = parts_of_run(samples, key, gt_field)
        results.warnings += [*source.warnings, *_warnings(results, truths, reference_ids(samples, run))]
        if writer is not None:
            writer.finish(samples, results)
    return results


def resolution_warning(results: AnomalyResults) -> str | None:
    """Warn if the normal images have too few pixels for AUPIMO's false-positive rates."""
    normal = sum(float(counts.normal.sum()) for (_, defect), counts in results.groups.items() if defect == GOOD)
    if 0 < normal < 1 / BOUNDS[0]:
        return f"aupimo is coarse: the normal images have {normal:.0f} pixels, a rate of 1e-5 needs 100,000"
    return None


def _warnings(results: AnomalyResults, truths: Mapping[str, Truth], references: set[str]) -> list[str]:
    """List what a reader should know: odd ground truth, samples left out or seen by the run, too few normal pixels."""
    warnings = [*truth_warnings(truths.values()), *_contradictions(results, truths)]
    seen = len(references & results.images.keys())
    if seen:
        warnings.append(
            f"{pluralize(seen, 'evaluated sample is', 'evaluated samples are')} among the normal images that run "
            f"'{results.key}' compares with: counted as test images, they flatter it"
        )
    if results.excluded:
        first = results.excluded[0]
        warnings.append(
            f"{pluralize(len(results.excluded), 'sample was', 'samples were')} not evaluated (results.excluded); "
            f"the first is {first['id']}: {first['reason']}"
        )
    coarse = resolution_warning(results)
    return warnings + ([coarse] if coarse else [])


def _contradictions(results: AnomalyResults, truths: Mapping[str, Truth]) -> list[str]:
    """Warn of images whose mask says other than their kind of defect, or that are defective all over."""
    images = results.images.values()
    warnings = []
    unmarked = [image.id for image in images if not image.defective and truths[image.id].defect not in (None, GOOD)]
    if unmarked:
        warnings.append(
            f"{pluralize(len(unmarked), 'sample has', 'samples have')} a defect type but no or an empty mask: taken as "
            f"normal; the first is {unmarked[0]}"
        )
    marked = [image.id for image in images if image.defective and truths[image.id].defect == GOOD]
    if marked:
        warnings.append(
            f"{pluralize(len(marked), 'sample is', 'samples are')} called '{GOOD}' but the ground truth marks a defect"
            f": taken as anomalous; the first is {marked[0]}"
        )
    covered = [
        image.id for image in images if image.pixels.fp + image.pixels.tn == 0 < image.pixels.tp + image.pixels.fn
    ]
    if covered:
        field = results.gt_field
        warnings.append(
            f"{pluralize(len(covered), 'sample is', 'samples are')} defective in every pixel by '{field}'; if a value "
            f"other than 0 is normal there, name it: dataset.mask_targets['{field}'] = "
            "{1: 'background', 2: 'defect'}; "
            f"dataset.save(). The first is {covered[0]}"
        )
    return warnings
