"""Bound a share from counts: how many of all defects may be missed, if so many of those at hand were.

The bound is that of Clopper and Pearson ("The use of confidence or fiducial limits illustrated in the case of the
binomial", Biometrika 1934), which keeps its promise for any share and any number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scipy import special  # scipy.stats takes longer to import than all of the package

from .image_result import ImageResult

CONFIDENCE = 0.95
"""Chance with which a bound holds, over the choice of the images."""


def upper_bound(events: int, trials: int, confidence: float = CONFIDENCE) -> float:
    """Return the share that is not exceeded, of all that the trials are a random sample of.

    It is the share ``p`` at which ``events`` or fewer in ``trials`` have the chance ``1 - confidence``; with ``k``
    events of ``n``, the quantile ``confidence`` of Beta(k + 1, n - k).

    Args:
        events: trials of which it is true, 0 to ``trials``
        trials: number of trials
        confidence (0.95): chance with which the bound holds

    Returns:
        the bound, in (0, 1]; 1 without trials

    Raises:
        ValueError: if there are no such numbers

    Examples:
        >>> round(upper_bound(0, 59), 3), upper_bound(3, 3), upper_bound(0, 0)
        (0.05, 1.0, 1.0)
    """
    if not 0 <= events <= trials or not 0 < confidence < 1:
        raise ValueError(f"{events} events of {trials} have no bound at a confidence of {confidence}")
    return 1.0 if events == trials else float(special.betaincinv(events + 1, trials - events, confidence))


def bound_row(
    group: str, outcome: str, images: Sequence[ImageResult], confidence: float = CONFIDENCE
) -> dict[str, Any]:
    """Return the row of a table of bounds on how many images like some are judged wrongly.

    Args:
        group: name of the images
        outcome: what becomes of those that are judged wrongly: ``missed`` or ``false alarms``
        images: the images, at least one
        confidence (0.95): chance with which the bound holds
    """
    wrong = sum(image.flagged != image.defective for image in images)
    return {
        "group": group,
        "outcome": outcome,
        "images": len(images),
        "wrong": wrong,
        "share": wrong / len(images),
        "at_most": upper_bound(wrong, len(images), confidence),
    }
