"""Thresholds: from the scores of normals (or of any sample) to the score above which an image is flagged."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..utils.text import pluralize
from .conformal import NormalScores

DEFAULT_FPR = 0.05
"""Share of normal images that may be flagged by default. A smaller one rests on the highest few of 50 to 300 normals:
it is hardly known, and misses most defects (``benchmarks/calibration.py``)."""

DEFAULT_QUANTILE = 0.95
"""Default without normals: the highest-scoring 5 %, the share at which fastdup calls pairs outliers."""

PIXEL_SHARE = 0.01
"""Share of the pixels of normal images above the pixel threshold. Regions must also reach the image threshold
(hysteresis), so that this sets how far a mask extends, not how many false regions there are."""


_RANGES: dict[str, tuple[Callable[[float], bool], str]] = {
    "fpr": (lambda value: 0 < value < 1, "the share must be in (0, 1)"),
    "quantile": (lambda value: 0 < value < 1, "the share must be in (0, 1)"),
    "alarms": (lambda value: value >= 0 and value.is_integer(), "the number of alarms must be 0, 1, 2, ..."),
}
"""Values that the kinds of rules may have, and what else is told."""


@dataclass(frozen=True)
class ThresholdRule:
    """How a threshold is chosen.

    Attributes:
        kind: ``fpr`` (conformal, from normals), ``f1`` (has seen the truth), ``quantile`` or ``alarms`` (of the
            scored images), or ``value``
        value: the share, the quantile, the number of alarms, or the threshold itself; unused for ``f1``
    """

    kind: str
    value: float = 0.0

    def __str__(self) -> str:
        text = f"{self.value:g}" if float(f"{self.value:g}") == self.value else repr(self.value)  # parsed again exactly
        named = {"f1": "f1", "value": text}
        return named.get(self.kind, f"{self.kind}:{text}")


def parse_threshold(threshold: str | float) -> ThresholdRule:
    """Parse ``"fpr:0.05"``, ``"quantile:0.95"``, ``"alarms:20"``, ``"f1"`` or a number.

    Raises:
        ValueError: if it is none of these, not finite, a share outside (0, 1), or no whole number of alarms

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
        if kind in _RANGES and text:
            is_valid, sentence = _RANGES[kind]
            if not is_valid(value):
                raise ValueError(f"threshold={threshold!r}: {sentence}")
            return ThresholdRule(kind, value)
    elif isinstance(threshold, (int, float, np.number)) and not isinstance(threshold, bool):
        text, value = "", float(threshold)
    else:
        text, value = "?", math.nan
    if text or not math.isfinite(value):
        raise ValueError(
            f"threshold={threshold!r} is not a threshold; use 'fpr:0.05' (share of normals that may be flagged), "
            "'alarms:20' (images flagged at most), 'quantile:0.95', 'f1' (needs ground truth), or a finite number"
        )
    return ThresholdRule("value", value)


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


def alarms_threshold(scores: ArrayLike, alarms: int) -> float:
    """Find the lowest threshold at which at most a number of the scored images are flagged.

    Raises:
        ValueError: if there are no scores

    Examples:
        >>> alarms_threshold([4, 1, 3, 2], 1), alarms_threshold([4, 3, 3, 2], 2), alarms_threshold([4, 3], 2)
        (3.0, 3.0, 2.9999999999999996)
    """
    values = np.sort(np.asarray(scores, dtype=np.float64))[::-1]
    if values.size == 0:
        raise ValueError("A number of alarms needs scores")
    if alarms >= values.size:
        return float(np.nextafter(values[-1], -np.inf))
    return float(values[alarms])


@dataclass(frozen=True)
class Thresholds:
    """The thresholds of a run.

    Attributes:
        rule: the rule they follow, as given (``"fpr:0.01"``)
        image: images whose score is above it are predicted anomalous
        pixel: pixels of the map above it are predicted, in regions that reach ``image``. None if the method's
            own outlier segments are the mask
        min_area: pixels that a region must have to count, by the zone of its peak; ``""`` is for all other zones

    Examples:
        >>> thresholds = Thresholds("fpr:0.05", 1.5, 1.0, {"": 20, "rim": 5})
        >>> thresholds.min_area_in("rim"), thresholds.min_area_in("face")
        (5, 20)
    """

    rule: str
    image: float
    pixel: float | None
    min_area: dict[str, float] = field(default_factory=dict, repr=False)

    def min_area_in(self, zone: str) -> float:
        """Return the pixels that a region in a zone must have."""
        return self.min_area.get(zone, self.min_area.get("", 0))


def threshold_text(value: float, rule: str) -> str:
    """Write a threshold with the rule that it follows, unless it was given as a number."""
    try:
        float(rule)
    except ValueError:
        return f"{value:.4g} ({rule})"
    return f"{value:.4g}"


def rule_in_words(rule: str) -> str:
    """Say what a rule asks for; empty for a threshold that was given as a number.

    >>> rule_in_words("fpr:0.05"), rule_in_words("alarms:20")
    ('set so that about 5 of 100 good images are flagged', 'set for at most 20 alarms')
    """
    parsed = parse_threshold(rule)
    words = {
        "fpr": f"set so that about {100 * parsed.value:g} of 100 good images are flagged",
        "alarms": f"set for at most {pluralize(int(parsed.value), 'alarm')}",
        "quantile": f"set so that {100 * (1 - parsed.value):.3g} of 100 scored images are flagged",
        "f1": "set for the best F1 on the ground truth, which it has seen",
    }
    return words.get(parsed.kind, "")


def choose_thresholds(
    rule: ThresholdRule,
    image_scores: NDArray[np.float64],
    normal_scores: NormalScores,
    normal_pixels: NDArray[np.floating],
    f1: tuple[float, float] | None = None,
) -> tuple[Thresholds, list[str]]:
    """Apply a rule to scores.

    Args:
        rule: the rule
        image_scores: scores ``[n]`` of the scored images
        normal_scores: those of normal images, empty if none are known
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
            raise ValueError("threshold='f1' needs ground-truth masks with defects; use 'fpr:0.05' without them")
        return Thresholds(str(rule), *f1), warnings
    if rule.kind == "fpr":
        if len(normal_scores) == 0:
            raise ValueError(f"threshold='{rule}' needs normal images; pass reference=..., or use 'quantile:0.95'")
        image = normal_scores.threshold(rule.value)
        smallest = normal_scores.smallest_share
        if rule.value < smallest:
            more = normal_scores.false_alarm_share(image).parts_for(rule.value)
            images = f"{len(normal_scores)} normal images"
            images += f" of {normal_scores.parts} parts" if normal_scores.parts < len(normal_scores) else ""
            warnings.append(
                f"{images} cannot support a false-alarm share of {rule.value:g}; the "
                f"threshold is their highest score, for a share of about {smallest:.3g}. Add {more} more, of other "
                "parts, or ask for a larger share"
            )
    elif rule.kind == "quantile":
        image = quantile_threshold(image_scores, rule.value)
    elif rule.kind == "alarms":
        image = alarms_threshold(image_scores, int(rule.value))
    else:
        image = rule.value
    if normal_pixels.size == 0:
        return Thresholds(str(rule), image, image), warnings
    return Thresholds(str(rule), image, min(image, quantile_threshold(normal_pixels, 1 - PIXEL_SHARE))), warnings
