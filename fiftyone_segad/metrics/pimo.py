"""AUPIMO: the recall of each defective image at false-positive rates so low that only normal images can set them.

Source: Bertoldo et al., "AUPIMO: Redefining Visual Anomaly Detection Benchmarks with High Speed and Low Tolerance",
BMVC 2024. Its symbols: ``F_sh(t)`` is the shared false-positive rate of threshold t on normal images only, ``T_i(t)``
the share of the defective pixels of image i that t flags, L and U the bounds of the rates. Of image i

    AUPIMO_i = 1 / (log U - log L) * integral from log L to log U of T_i(F_sh^-1(z)) d log z

The pixels of all normal images are counted together in ``F_sh``, which for images of one size is the paper's mean over
images.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BOUNDS = (1e-5, 1e-4)
"""L and U: shared false-positive rates between which the recall is averaged, on a logarithmic axis."""


def pimo_weights(normal: NDArray[np.float64], bounds: tuple[float, float] = BOUNDS) -> NDArray[np.float64]:
    """Compute the weight of each threshold in an image's AUPIMO: its share of the axis from ``log L`` to ``log U``.

    At a false-positive rate the threshold holds that flags at most this share of the normal pixels: a staircase, as
    the rate cannot be between two scores. With fewer normal pixels than one in ``bounds[0]`` the rates cannot be
    resolved, and thresholds above all normal pixels stand for them.

    Args:
        normal: pixels of normal images at each score ``[k]``, highest score first; not all zero
        bounds: lowest and highest rate, L and U

    Returns:
        float64 array ``[k + 1]`` that sums to 1: weights of flagging nothing, the first score, the first two, ...

    Examples:
        >>> pimo_weights(np.array([0.0, 1.0, 9.0]), bounds=(0.01, 1.0))  # the rates 0, 0, 0.1 and 1
        array([0. , 0.5, 0.5, 0. ])
    """
    rates = np.concatenate([[0.0], np.cumsum(normal) / normal.sum()])  # F_sh of each threshold, ascending, [k + 1]
    low, high = np.log(bounds)
    with np.errstate(divide="ignore"):
        logs = np.clip(np.log(rates), low, high)
    # A threshold holds from its own rate to that of the next one; the last one up to U
    weights: NDArray[np.float64] = np.diff(np.append(logs, high)) / (high - low)
    return weights


def aupimo(weights: NDArray[np.float64], defective: NDArray[np.float64]) -> float:
    """Compute the AUPIMO of one image, in [0, 1]: its mean pixel recall between the bounds.

    Args:
        weights: from ``pimo_weights``, ``[k + 1]``
        defective: the image's defective pixels at each score ``[k]``, highest score first; not all zero

    Examples:
        >>> weights = pimo_weights(np.array([0.0, 1.0, 9.0]), bounds=(0.01, 1.0))
        >>> aupimo(weights, np.array([3.0, 1.0, 0.0]))  # the recalls 0.75 and 1 on half of the axis each
        0.875
    """
    recall = np.concatenate([[0.0], np.cumsum(defective) / defective.sum()])  # T_i of each threshold, [k + 1]
    return float(min(weights @ recall, 1.0))  # rounding
