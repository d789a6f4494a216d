"""AUPIMO: the recall of each defective image at false-positive rates so low that only normal images can set them.

Source: Bertoldo et al., "AUPIMO: Redefining Visual Anomaly Detection Benchmarks with High Speed and Low Tolerance",
BMVC 2024.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BOUNDS = (1e-5, 1e-4)
"""Shared false-positive rates between which the recall is averaged, on a logarithmic axis."""


def pimo_weights(normal: NDArray[np.float64], bounds: tuple[float, float] = BOUNDS) -> NDArray[np.float64]:
    """Weight of each threshold in an image's AUPIMO.

    At a false-positive rate the threshold holds that flags at most this share of the normal pixels: a staircase, as
    the rate cannot be between two scores. With fewer normal pixels than one in ``bounds[0]`` the rates cannot be
    resolved, and thresholds above all normal pixels stand for them.

    Args:
        normal: pixels of normal images at each score ``[k]``, highest score first; not all zero
        bounds: lowest and highest rate

    Returns:
        float64 array ``[k + 1]`` that sums to 1: weights of flagging nothing, the first score, the first two, ...
    """
    rates = np.concatenate([[0.0], np.cumsum(normal) / normal.sum()])
    low, high = np.log(bounds)
    with np.errstate(divide="ignore"):
        logs = np.clip(np.log(rates), low, high)
    weights: NDArray[np.float64] = np.diff(np.append(logs, high)) / (high - low)
    return weights


def aupimo(weights: NDArray[np.float64], defective: NDArray[np.float64]) -> float:
    """The AUPIMO of one image, in [0, 1]: its mean pixel recall between the bounds.

    Args:
        weights: from ``pimo_weights``
        defective: the image's defective pixels at each score ``[k]``, highest score first; not all zero
    """
    recall = np.concatenate([[0.0], np.cumsum(defective) / defective.sum()])
    return float(min(weights @ recall, 1.0))
