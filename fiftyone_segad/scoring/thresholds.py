"""Thresholds: from the scores of normals (or of any sample) to the score above which an image is flagged.

``fpr`` thresholds are those of split conformal prediction (Vovk, Gammerman and Shafer, "Algorithmic learning in a
random world", 2005; for outliers Bates et al., "Testing for outliers with conformal p-values", Ann. Statist. 2023).
Normals that the bank does not hold are the calibration set; if a new normal is exchangeable with them, its rank among
their scores is uniform, whatever the distribution of scores.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

DEFAULT_FPR = 0.01
"""Share of normal images that may be flagged by default."""

DEFAULT_QUANTILE = 0.95
"""Default without normals: the highest-scoring 5 %, the share at which fastdup calls pairs outliers."""

PIXEL_SHARE = 0.002
"""Share of the pixels of normal images above the pixel threshold. Regions must also reach the image threshold
(hysteresis), so that this sets how far a mask extends, not how many false regions there are."""


@dataclass(frozen=True)
class ThresholdRule:
    """How a threshold is chosen.

    Attributes:
        kind: ``fpr`` (conformal, from normals), ``f1`` (has seen the truth), ``quantile`` (of the scored
            images), or ``value``
        value: the share, the quantile, or the threshold itself; unused for ``f1``
    """

    kind: str
    value: float = 0.0

    def __str__(self) -> str:
        text = f"{self.value:g}" if float(f"{self.value:g}") == self.value else repr(self.value)  # parsed again exactly
        named = {"f1": "f1", "value": text}
        return named.get(self.kind, f"{self.kind}:{text}")


def parse_threshold(threshold: str | float) -> ThresholdRule:
    """Parse ``"fpr:0.01"``, ``"quantile:0.95"``, ``"f1"`` or a number.

    Raises:
        ValueError: if it is none of these, not finite, or a share outside (0, 1)

    Examples:
        >>> parse_threshold("fpr:0.01")
        ThresholdRule(kind='fpr', value=0.01)
        >>> parse_threshold(0.5)
        ThresholdRule(kind='value', value=0.5)
    """
    if isinstance(threshold, str):
        kind, colon, text = threshold.partition(":")
        if threshold == "f1":
            return ThresholdRule("f1")
        try:
            value = float(text or kind) if text or not colon else math.nan
        except ValueError:
            value = math.nan
        if kind in ("fpr", "quantile") and text:
            if not 0 < value < 1:
                raise ValueError(f"threshold={threshold!r}: the share must be in (0, 1)")
            return ThresholdRule(kind, value)
    elif isinstance(threshold, (int, float, np.number)) and not isinstance(threshold, bool):
        text, value = "", float(threshold)
    else:
        text, value = "?", math.nan
    if text or not math.isfinite(value):
        raise ValueError(
            f"threshold={threshold!r} is not a threshold; use 'fpr:0.01' (share of normals that may be flagged), "
            "'quantile:0.95', 'f1' (needs ground truth), or a finite number"
        )
    return ThresholdRule("value", value)


def conformal_threshold(normal_scores: ArrayLike, fpr: float) -> float:
    """Find the threshold above which at most a share ``fpr`` of normals is expected (split conformal prediction).

    An image is flagged if its score is *above* the threshold, which is the same as a p-value (``p_values``) of at most
    ``fpr``. With the ``n`` scores in descending order ``s_(1) >= ... >= s_(n)``, the threshold is ``s_(k)`` with
    ``k = floor(fpr * (n + 1))``: the chance that a new normal is above it is at most ``k / (n + 1)``.

    Args:
        normal_scores: scores ``[n]`` of normals that the bank does not hold
        fpr: asked share in (0, 1). ``n`` normals can support no share below ``smallest_fpr``; for a
            smaller one the threshold is the highest score of a normal

    Raises:
        ValueError: if there are no scores

    Examples:
        >>> conformal_threshold([3, 1, 2, 4], 0.4)  # a fifth normal is above 3 with a chance of at most 2 / 5
        3.0
    """
    scores = np.sort(np.asarray(normal_scores, dtype=np.float64))[::-1]  # s_(1), ..., s_(n)
    if scores.size == 0:
        raise ValueError("A conformal threshold needs scores of normal images")
    # The small addend keeps fpr = k / (n + 1) from being rounded down to k - 1
    k = math.floor(fpr * (scores.size + 1) + 1e-9)
    return float(scores[min(max(k, 1), scores.size) - 1])


def smallest_fpr(normals: int) -> float:
    """Return the smallest share of false alarms that a number of normals can support: ``1 / (n + 1)``."""
    return 1 / (normals + 1)


def p_values(scores: ArrayLike, normal_scores: ArrayLike) -> NDArray[np.float64]:
    """Compute the conformal p-values ``(1 + #{normal score >= s}) / (n + 1)`` of scores ``[m]``, in (0, 1].

    Examples:
        >>> p_values([0, 2.5, 9], [1, 2, 2, 3]).tolist()
        [1.0, 0.4, 0.2]
    """
    normals = np.sort(np.asarray(normal_scores, dtype=np.float64))
    at_least = normals.size - np.searchsorted(normals, np.asarray(scores, dtype=np.float64), side="left")
    return (1 + at_least) / (normals.size + 1)


def quantile_threshold(scores: ArrayLike, quantile: float) -> float:
    """Find the score that a share ``quantile`` of the scored images does not exceed.

    Raises:
        ValueError: if there are no scores

    Examples:
        >>> quantile_threshold([4, 1, 3, 2], 0.5)
        2.0
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.size == 0:
        raise ValueError("A quantile threshold needs scores")
    return float(np.quantile(values, quantile, method="inverted_cdf"))


@dataclass(frozen=True)
class Thresholds:
    """The thresholds of a run.

    Attributes:
        rule: the rule they follow, as given (``"fpr:0.01"``)
        image: images whose score is above it are predicted anomalous
        pixel: pixels of the map above it are predicted, in regions that reach ``image``. None if the method's
            own outlier segments are the mask
    """

    rule: str
    image: float
    pixel: float | None


def threshold_text(value: float, rule: str) -> str:
    """Write a threshold with the rule that it follows, unless it was given as a number."""
    try:
        float(rule)
    except ValueError:
        return f"{value:.4g} ({rule})"
    return f"{value:.4g}"


def choose_thresholds(
    rule: ThresholdRule,
    image_scores: NDArray[np.float64],
    normal_scores: NDArray[np.float64],
    normal_pixels: NDArray[np.floating],
    f1: tuple[float, float] | None = None,
) -> tuple[Thresholds, list[str]]:
    """Apply a rule to scores.

    Args:
        rule: the rule
        image_scores: scores ``[n]`` of the scored images
        normal_scores: scores ``[m]`` of normal images, empty if none are known
        normal_pixels: map values of normal images, empty if none are known
        f1: image and pixel thresholds of the highest F1, for the rule ``f1``

    Returns:
        the thresholds, and warnings that the user should read

    Raises:
        ValueError: if the rule needs normals or ground truth and there are none
    """
    warnings: list[str] = []
    if rule.kind == "f1":
        if f1 is None:
            raise ValueError("threshold='f1' needs ground-truth masks with defects; use 'fpr:0.01' without them")
        return Thresholds(str(rule), *f1), warnings
    if rule.kind == "fpr":
        if normal_scores.size == 0:
            raise ValueError(f"threshold='{rule}' needs normal images; pass reference=..., or use 'quantile:0.95'")
        image = conformal_threshold(normal_scores, rule.value)
        smallest = smallest_fpr(normal_scores.size)
        if rule.value < smallest:
            warnings.append(
                f"{normal_scores.size} normal images cannot support a false-alarm share of {rule.value:g}; the "
                f"threshold is their highest score, for a share of about {smallest:.3g}. Add normals to lower it"
            )
    elif rule.kind == "quantile":
        image = quantile_threshold(image_scores, rule.value)
    else:
        image = rule.value
    if normal_pixels.size == 0:
        return Thresholds(str(rule), image, image), warnings
    return Thresholds(str(rule), image, min(image, quantile_threshold(normal_pixels, 1 - PIXEL_SHARE))), warnings
