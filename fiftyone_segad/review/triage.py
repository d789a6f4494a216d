"""Triage: which images of a run to look at first, and what is known of them."""

from __future__ import annotations

import os
from dataclasses import dataclass

import fiftyone as fo
import numpy as np
from fiftyone.core.collections import SampleCollection as Samples

from ..data.classes import is_normal
from ..registry.evaluations import written_key
from ..registry.keys import ANOMALOUS, NORMAL, evaluation_field, list_evaluations
from ..registry.run import Run, load_record
from ..registry.samples import all_slices
from .score_table import MAX_IMAGES, REFERENCE, UNKNOWN, ScoreTable


@dataclass(frozen=True)
class Overlap:
    """Overlap of regions (PRO) over the false-positive rate of pixels, as an evaluation kept it.

    Attributes:
        eval_key: the evaluation's key
        fpr: false-positive rates of pixels, ``[k]`` in [0, 0.3], ascending
        overlap: mean share of each ground-truth region that is found, ``[k]`` in [0, 1]
        metrics: the evaluation's figures by name
    """

    eval_key: str
    fpr: list[float]
    overlap: list[float]
    metrics: dict[str, float | int | None]


def read_overlap(samples: Samples, run: Run) -> Overlap | None:
    """Read the overlap curve of the run's latest evaluation.

    None without an evaluation, or if its images had no defects or nothing else.
    """
    eval_key = _latest_evaluation(samples, run)
    if eval_key is None:
        return None
    config = samples._root_dataset.get_run_info(eval_key).config
    fpr, overlap = getattr(config, "pro", None) or ([], [])  # an older version did not keep it
    return Overlap(eval_key, fpr, overlap, config.metrics) if fpr else None


def read_score_table(samples: Samples, run: Run) -> ScoreTable:
    """Read scores and truth of the samples that a run scored.

    The truth is that of the run's latest evaluation, else the field ``defect`` (``good`` is normal), else unknown.
    Images of the reference are told apart, unless that evaluation has counted them.

    Args:
        samples: the samples
        run: the run
    """
    scored = all_slices(samples).exists(run.field("score"))
    has_defects = "defect.label" in samples.get_field_schema(flat=True)
    paths = ["id", run.field("score")]
    paths += ["defect.label"] if has_defects else []
    evaluated_truth = truth_path(samples, run)
    paths += [] if evaluated_truth is None else [evaluated_truth]
    ids, scores, *labels = scored.values(paths)
    defects: list[str | None] = labels.pop(0) if has_defects else [None] * len(ids)
    evaluated: list[str | None] = labels[0] if labels else [None] * len(ids)
    references = reference_ids(samples, run)
    truth = [
        label or (REFERENCE if id in references else _truth_by_defect(defect))
        for id, label, defect in zip(ids, evaluated, defects, strict=True)
    ]
    return ScoreTable(np.array(ids, str), np.array(scores, np.float64), np.array(truth, str), defects)


def truth_path(samples: Samples, run: Run) -> str | None:
    """Return the path of what the run's latest evaluation calls the truth of images; None without an evaluation."""
    evaluation = _latest_evaluation(samples, run)
    if evaluation is None:
        return None
    return f"{evaluation_field(written_key(samples._root_dataset, evaluation), 'truth')}.label"


def regions_field(samples: Samples, run: Run) -> str | None:
    """Return the field of the regions of the run's latest evaluation; None without an evaluation."""
    evaluation = _latest_evaluation(samples, run)
    return None if evaluation is None else evaluation_field(written_key(samples._root_dataset, evaluation), "regions")


def reference_ids(samples: Samples, run: Run) -> set[str]:
    """Return the ids of the samples whose files are among the normal images that a run compares with."""
    if run.method != "reference":
        return set()
    paths = {*run.store.bank.paths(), *run.store.normals.ids()}
    pairs = zip(*samples.values(["id", "filepath"]), strict=True)
    return {id for id, path in pairs if path in paths or os.path.realpath(path) in paths}


def second_opinions(
    samples: Samples, key: str, other: str | None = None, max_images: int = MAX_IMAGES
) -> fo.DatasetView:
    """Find the samples at which a second person should look first.

    Those on which two runs disagree come first, the clearest disagreement leading; then those whose scores are nearest
    to the threshold.

    Args:
        samples: the samples
        key: the run's key
        other (None): key of a second run to compare with
        max_images (60): samples at most

    Returns:
        a view in this order

    Raises:
        ValueError: if there is no such run, or ``max_images`` is no number of images

    Examples:
        >>> session.view = segad.second_opinions(dataset, "segad", other="segad_within")  # doctest: +SKIP
    """
    if not isinstance(max_images, int) or max_images < 1:
        raise ValueError(f"max_images must be a whole number from 1 on, got {max_images!r}")
    margins = _margins(samples, key)
    nearest_first = sorted(margins, key=lambda id: abs(margins[id]))
    disputed = [] if other is None else disagreements(samples, key, other)
    queue = list(dict.fromkeys([*disputed, *nearest_first]))
    view: fo.DatasetView = all_slices(samples).select(queue[:max_images], ordered=True)
    return view


def disagreements(samples: Samples, key: str, other: str) -> list[str]:
    """Return the ids of the samples that one of two runs calls anomalous and the other normal, the clearest first.

    Raises:
        ValueError: if there is no such run
    """
    margins, others = _margins(samples, key), _margins(samples, other)
    distances = {
        id: abs(margin - others[id]) for id, margin in margins.items() if id in others and margin * others[id] < 0
    }
    return sorted(distances, key=lambda id: -distances[id])


def _margins(samples: Samples, key: str) -> dict[str, float]:
    """Compute how far above a run's threshold its samples lie, in standard deviations of its scores, by id."""
    run = load_record(samples, key)
    ids, scores = all_slices(samples).exists(run.field("score")).values(["id", run.field("score")])
    values = np.array(scores, np.float64)
    margins = values - run.thresholds.image
    margins[margins == 0] = -1e-12  # a score that is equal to the threshold is not flagged
    deviation = max(float(values.std()), 1e-12) if len(values) else 1.0
    return dict(zip(ids, (margins / deviation).tolist(), strict=True))


def _latest_evaluation(samples: Samples, run: Run) -> str | None:
    root = samples._root_dataset
    keys = [key for key in list_evaluations(root) if root.get_run_info(key).config.evaluated == run.key]
    return max(keys, key=lambda key: root.get_run_info(key).timestamp, default=None)


def _truth_by_defect(defect: str | None) -> str:
    if defect is None:
        return UNKNOWN
    return NORMAL if is_normal(defect) else ANOMALOUS
