"""Triage: which images of a run to look at first, and their counts and rates at any threshold, from arrays."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import fiftyone as fo
import numpy as np
from fiftyone.core.collections import SampleCollection as Samples
from numpy.typing import NDArray

from ..data.classes import is_normal
from ..metrics.confusion import Confusion, confusion
from ..metrics.curves import OperatingPoints, count_scores, operating_points
from ..metrics.summary import image_metrics
from ..registry.evaluations import written_key
from ..registry.keys import ANOMALOUS, NORMAL, evaluation_field, list_evaluations
from ..registry.run import Run, load_record
from ..registry.samples import all_slices

HISTOGRAM_BINS = 40
"""Bars of the histogram."""

MAX_CURVE_POINTS = 200
"""Points of a curve at most."""

UNKNOWN = "unknown"
"""Truth of images that nothing is known of."""

REFERENCE = "reference"
"""Truth of normal images that the run compares with: it has seen them, so they are no test of it."""

MAX_IMAGES = 60
"""Images at most of a choice that has no natural end, such as the highest scores."""

CHOICES = ("highest", "uncertain", "flagged", "TP", "FP", "FN", "TN")


@dataclass(frozen=True)
class ScoreTable:
    """Scores and truth of the images of a run.

    Attributes:
        ids: sample ids ``[n]``
        scores: float64 array ``[n]``
        truth: ``normal``, ``anomalous``, ``unknown`` or ``reference``, array ``[n]``; rates and curves are of the
            first two
        defects: kind of defect or None, ``[n]``

    Examples:
        >>> truth = np.array(["normal", "anomalous", "unknown"])
        >>> table = ScoreTable(np.array(["a", "b", "c"]), np.array([0.2, 0.9, 0.5]), truth, [None, "dent", None])
        >>> table.flagged(0.4), table.confusion(0.4)
        (2, Confusion(tp=1, fp=0, fn=0, tn=1))
        >>> table.choose("uncertain", 0.4)  # nearest to the threshold first
        ['c', 'a', 'b']
    """

    ids: NDArray[np.str_]
    scores: NDArray[np.float64]
    truth: NDArray[np.str_]
    defects: Sequence[str | None]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def labelled(self) -> bool:
        """Whether the truth of an image is known that is none of the reference."""
        return bool(self._tested.any())

    @property
    def references(self) -> int:
        """Number of images of the reference."""
        return int((self.truth == REFERENCE).sum())

    @property
    def _tested(self) -> NDArray[np.bool_]:
        return np.isin(self.truth, (NORMAL, ANOMALOUS))

    @property
    def range(self) -> tuple[float, float]:
        """Lowest and highest score."""
        return float(self.scores.min()), float(self.scores.max())

    def flagged(self, threshold: float) -> int:
        """Count the images above a threshold."""
        return int((self.scores > threshold).sum())

    def confusion(self, threshold: float) -> Confusion:
        """Count the images whose truth is known, by outcome at a threshold."""
        tested = self._tested
        return confusion(self.scores[tested] > threshold, self.truth[tested] == ANOMALOUS)

    def histogram(self) -> tuple[NDArray[np.float64], dict[str, NDArray[np.int64]]]:
        """Count the images by score and truth.

        Returns:
            edges ``[HISTOGRAM_BINS + 1]`` and, by truth that occurs, counts ``[HISTOGRAM_BINS]``
        """
        low, high = self.range
        edges = np.linspace(low, high if high > low else low + 1, HISTOGRAM_BINS + 1)
        return edges, {
            truth: np.histogram(self.scores[self.truth == truth], edges)[0]
            for truth in (NORMAL, ANOMALOUS, UNKNOWN, REFERENCE)
            if (self.truth == truth).any()
        }

    def between(self, low: float, high: float) -> list[str]:
        """Return the ids of the images with scores from ``low`` to ``high``, highest first."""
        return self._highest_first((self.scores >= low) & (self.scores <= high))

    def choose(self, choice: str, threshold: float) -> list[str]:
        """Return ids of images, in the order in which one would look at them.

        Args:
            choice: ``highest`` scores; ``uncertain``, those nearest to the threshold; ``flagged``, or those with an
                outcome: ``TP``, ``FP``, ``FN``, ``TN``. Highest scores first, but for the uncertain ones
            threshold: the threshold

        Raises:
            ValueError: if there is no such choice
        """
        if choice not in CHOICES:
            raise ValueError(f"There is no choice {choice!r}; use one of {list(CHOICES)}")
        above = self.scores > threshold
        if choice == "highest":
            return self._highest_first(np.ones(len(self), bool))[:MAX_IMAGES]
        if choice == "uncertain":
            order = np.argsort(np.abs(self.scores - threshold), kind="stable")[:MAX_IMAGES]
            return [str(id) for id in self.ids[order]]
        if choice == "flagged":
            return self._highest_first(above)
        truth = ANOMALOUS if choice in ("TP", "FN") else NORMAL
        return self._highest_first((self.truth == truth) & (above == (choice[1] == "P")))

    def rates(self) -> OperatingPoints | None:
        """Compute false-positive rate, recall and precision for each threshold at which one of them changes.

        Returns:
            at most ``MAX_CURVE_POINTS`` of them; None if the truth of normal or of defective images is unknown
        """
        tested = self._tested
        counts = count_scores(self.scores[tested], self.truth[tested] == ANOMALOUS)
        return operating_points(counts, MAX_CURVE_POINTS)

    def by_defect(self, threshold: float) -> list[dict[str, Any]]:
        """Compute rows ``defect``, ``images``, ``flagged``, ``recall`` and ``auroc`` (against all normal images)."""
        normal = self.truth == NORMAL
        rows = []
        for defect in sorted({name for name in self.defects if name and not is_normal(name)}):
            with_defect = self._has_defect(defect)
            scores = np.concatenate([self.scores[normal], self.scores[with_defect]])
            metrics = image_metrics(scores, scores > threshold, np.arange(len(scores)) >= normal.sum())
            rows.append(
                {
                    "defect": defect,
                    "images": metrics["n_anomalous"],
                    "flagged": int((self.scores[with_defect] > threshold).sum()),
                    "recall": metrics["recall"],
                    "auroc": metrics["image_auroc"],
                }
            )
        return rows

    def of_defect(self, defect: str) -> list[str]:
        """Return the ids of the images with a kind of defect, highest score first."""
        return self._highest_first(self._has_defect(defect))

    def _has_defect(self, defect: str) -> NDArray[np.bool_]:
        return np.array([name == defect for name in self.defects])

    def _highest_first(self, selected: NDArray[np.bool_]) -> list[str]:
        index = np.flatnonzero(selected)
        return [str(id) for id in self.ids[index[np.argsort(-self.scores[index], kind="stable")]]]


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
    evaluation = _latest_evaluation(samples, run)
    has_defects = "defect.label" in samples.get_field_schema(flat=True)
    paths = ["id", run.field("score")]
    paths += ["defect.label"] if has_defects else []
    if evaluation is not None:
        paths.append(f"{evaluation_field(written_key(samples._root_dataset, evaluation), 'truth')}.label")
    ids, scores, *labels = scored.values(paths)
    defects: list[str | None] = labels.pop(0) if has_defects else [None] * len(ids)
    evaluated: list[str | None] = labels[0] if labels else [None] * len(ids)
    references = reference_ids(samples, run)
    truth = [
        label or (REFERENCE if id in references else _truth_by_defect(defect))
        for id, label, defect in zip(ids, evaluated, defects, strict=True)
    ]
    return ScoreTable(np.array(ids, str), np.array(scores, np.float64), np.array(truth, str), defects)


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
