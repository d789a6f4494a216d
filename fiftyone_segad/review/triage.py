"""What the triage panel shows of a run: counts, histogram and choices of images at any threshold, from arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import fiftyone as fo
import numpy as np
from fiftyone.core.collections import SampleCollection as Samples
from numpy.typing import NDArray

from ..data.truth import GOOD
from ..data.truth_sources import NORMAL_NAMES
from ..metrics import curves
from ..metrics.curves import Confusion, confusion, count_scores
from ..registry.fields import ANOMALOUS, NORMAL
from ..registry.run import Run, evaluation_field, list_evaluations, load_run

BINS = 40
"""Bars of the histogram."""

POINTS = 200
"""Points of a curve at most."""

UNKNOWN = "unknown"
"""Truth of images that nothing is known of."""

SHOWN = 60
"""Images of a choice that has no natural end, such as the highest scores."""

CHOICES = ("highest", "uncertain", "flagged", "TP", "FP", "FN", "TN")


@dataclass(frozen=True)
class ScoreTable:
    """Scores and truth of the images of a run.

    Attributes:
        ids: sample ids ``[n]``
        scores: float64 array ``[n]``
        truth: ``normal``, ``anomalous`` or ``unknown``, array ``[n]``
        defects: kind of defect or None, ``[n]``
    """

    ids: NDArray[np.str_]
    scores: NDArray[np.float64]
    truth: NDArray[np.str_]
    defects: Sequence[str | None]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def labelled(self) -> bool:
        """Whether the truth of an image is known."""
        return bool((self.truth != UNKNOWN).any())

    @property
    def range(self) -> tuple[float, float]:
        """Lowest and highest score."""
        return float(self.scores.min()), float(self.scores.max())

    def flagged(self, threshold: float) -> int:
        """Number of images above a threshold."""
        return int((self.scores > threshold).sum())

    def confusion(self, threshold: float) -> Confusion:
        """The images whose truth is known, by outcome at a threshold."""
        known = self.truth != UNKNOWN
        return confusion(self.scores[known] > threshold, self.truth[known] == ANOMALOUS)

    def histogram(self) -> tuple[NDArray[np.float64], dict[str, NDArray[np.int64]]]:
        """Numbers of images by score and truth.

        Returns:
            edges ``[BINS + 1]`` and, by truth that occurs, counts ``[BINS]``
        """
        low, high = self.range
        edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
        return edges, {
            truth: np.histogram(self.scores[self.truth == truth], edges)[0]
            for truth in (NORMAL, ANOMALOUS, UNKNOWN)
            if (self.truth == truth).any()
        }

    def between(self, low: float, high: float) -> list[str]:
        """Ids of the images with scores from ``low`` to ``high``, highest first."""
        return self._ordered((self.scores >= low) & (self.scores <= high))

    def choose(self, choice: str, threshold: float) -> list[str]:
        """Ids of images, in the order in which one would look at them.

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
            return self._ordered(np.ones(len(self), bool))[:SHOWN]
        if choice == "uncertain":
            order = np.argsort(np.abs(self.scores - threshold), kind="stable")[:SHOWN]
            return [str(id) for id in self.ids[order]]
        if choice == "flagged":
            return self._ordered(above)
        wanted = ANOMALOUS if choice in ("TP", "FN") else NORMAL
        return self._ordered((self.truth == wanted) & (above == (choice[1] == "P")))

    def rates(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]] | None:
        """False-positive rate, recall and precision for each threshold at which one of them changes.

        Returns:
            thresholds, descending, and the three rates, ``[k]`` each; at most ``POINTS`` of them. None if the truth
            of normal or of defective images is unknown
        """
        known = self.truth != UNKNOWN
        counts = count_scores(self.scores[known], self.truth[known] == ANOMALOUS)
        if not counts.both_classes:
            return None
        fpr, recall = (rates[1:] for rates in counts.rates())
        # An image is flagged above a threshold: it lies between two scores
        below = np.append(counts.scores[1:], counts.scores[-1] - 1e-6)
        kept = np.unique(np.linspace(0, len(below) - 1, min(POINTS, len(below))).round().astype(int))
        thresholds = (counts.scores + below) / 2
        return thresholds[kept], fpr[kept], recall[kept], curves.precision_of(counts)[kept]

    def by_defect(self, threshold: float) -> list[dict[str, Any]]:
        """Rows ``defect``, ``images``, ``flagged``, ``recall`` and ``auroc`` (against all normal images)."""
        normal = self.scores[self.truth == NORMAL]
        rows = []
        for defect in sorted({name for name in self.defects if name and name.lower() not in NORMAL_NAMES}):
            own = self.scores[np.array([name == defect for name in self.defects])]
            flagged = int((own > threshold).sum())
            counts = count_scores(np.concatenate([normal, own]), np.arange(len(normal) + len(own)) >= len(normal))
            rows.append(
                {
                    "defect": defect,
                    "images": len(own),
                    "flagged": flagged,
                    "recall": flagged / len(own),
                    "auroc": curves.auroc(counts),
                }
            )
        return rows

    def of_defect(self, defect: str) -> list[str]:
        """Ids of the images with a kind of defect, highest score first."""
        return self._ordered(np.array([name == defect for name in self.defects]))

    def _ordered(self, chosen: NDArray[np.bool_]) -> list[str]:
        places = np.flatnonzero(chosen)
        return [str(id) for id in self.ids[places[np.argsort(-self.scores[places], kind="stable")]]]


@dataclass(frozen=True)
class Overlap:
    """The curve of the overlap of regions (PRO) that an evaluation kept.

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
    """The curve of the run's latest evaluation; None without one, or if its images had no defects or nothing else."""
    eval_key = _latest_evaluation(samples, run)
    if eval_key is None:
        return None
    config = samples._root_dataset.get_run_info(eval_key).config
    fpr, overlap = getattr(config, "pro", None) or ([], [])  # an older version did not keep it
    return Overlap(eval_key, fpr, overlap, config.metrics) if fpr else None


def read_score_table(samples: Samples, run: Run) -> ScoreTable:
    """Read scores and truth of the samples that a run scored.

    The truth is that of the run's latest evaluation, else the field ``defect`` (``good`` is normal), else unknown.

    Args:
        samples: the samples
        run: the run
    """
    scored = samples.exists(run.field("score"))
    schema = samples.get_field_schema()
    evaluation = _latest_evaluation(samples, run)
    has_defects = "defect" in schema and "defect.label" in samples.get_field_schema(flat=True)
    paths = ["id", run.field("score")]
    paths += ["defect.label"] if has_defects else []
    paths += [f"{evaluation_field(evaluation, 'truth')}.label"] if evaluation is not None else []
    ids, scores, *labels = scored.values(paths)
    defects: list[str | None] = labels.pop(0) if has_defects else [None] * len(ids)
    judged: list[str | None] = labels[0] if labels else [None] * len(ids)
    truth = [label or _by_defect(defect) for label, defect in zip(judged, defects, strict=True)]
    return ScoreTable(np.array(ids, str), np.array(scores, np.float64), np.array(truth, str), defects)


def second_opinions(samples: Samples, key: str, other: str | None = None, max_images: int = SHOWN) -> fo.DatasetView:
    """The samples at which a second person should look first.

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
    """
    if not isinstance(max_images, int) or max_images < 1:
        raise ValueError(f"max_images must be a whole number from 1 on, got {max_images!r}")
    ids, above = _margins(samples, key)
    order = sorted(ids, key=lambda id: abs(above[id]))
    first = [] if other is None else disagreements(samples, key, other)
    queue = list(dict.fromkeys([*first, *order]))
    view: fo.DatasetView = samples.select(queue[:max_images], ordered=True)
    return view


def disagreements(samples: Samples, key: str, other: str) -> list[str]:
    """Ids of the samples that one of two runs calls anomalous and the other normal, the clearest first.

    Raises:
        ValueError: if there is no such run
    """
    ids, above = _margins(samples, key)
    _, beside = _margins(samples, other)
    clear = {id: abs(above[id] - beside[id]) for id in ids if id in beside and above[id] * beside[id] < 0}
    return sorted(clear, key=lambda id: -clear[id])


def _margins(samples: Samples, key: str) -> tuple[list[str], dict[str, float]]:
    """Ids of a run's samples, and how far above its threshold they lie, in standard deviations of its scores."""
    run = load_run(samples, key)
    ids, scores = samples.exists(run.field("score")).values(["id", run.field("score")])
    values = np.array(scores, np.float64)
    margins = values - run.thresholds.image
    margins[margins == 0] = -1e-12  # flagged is what lies above the threshold
    spread = max(float(values.std()), 1e-12) if len(values) else 1.0
    return ids, dict(zip(ids, (margins / spread).tolist(), strict=True))


def _latest_evaluation(samples: Samples, run: Run) -> str | None:
    root = samples._root_dataset
    keys = [key for key in list_evaluations(root) if root.get_run_info(key).config.evaluated == run.key]
    return max(keys, key=lambda key: root.get_run_info(key).timestamp, default=None)


def _by_defect(defect: str | None) -> str:
    if defect is None:
        return UNKNOWN
    return NORMAL if defect.lower() in NORMAL_NAMES or defect == GOOD else ANOMALOUS
