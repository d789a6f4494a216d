"""What an evaluation measured of one image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..segments.regions import RegionCounts
from .confusion import Confusion


@dataclass
class ImageResult:
    """What was measured of one image.

    Attributes:
        id: the sample's id
        score: its anomaly score
        defective: whether its ground truth has a defect
        defect: its kind of defect, ``good`` for a normal image
        category: its product, empty if unknown
        flagged: whether its score is above the run's threshold
        pixels: its pixels by ground truth and predicted mask
        regions: its regions by size and outcome
        normal: coarse histogram ``[m]`` of its normal pixels, for the bootstrap
        positive: the same of its defective pixels; None if it is normal
        overlap: the same of its regions; None if it is normal
        aupimo: its recall at very low false-positive rates, in [0, 1]; None if it is normal, or nothing else is
    """

    id: str
    score: float
    defective: bool
    defect: str
    category: str
    flagged: bool
    pixels: Confusion
    regions: dict[str, RegionCounts]
    normal: NDArray[np.float32]
    positive: NDArray[np.float32] | None = None
    overlap: NDArray[np.float32] | None = None
    aupimo: float | None = None

    @property
    def outcome(self) -> str:
        """``TP``, ``FP``, ``FN`` or ``TN``."""
        return ("T" if self.flagged == self.defective else "F") + ("P" if self.flagged else "N")

    @property
    def group(self) -> tuple[str, str]:
        """Category and kind of defect: images that are reported together."""
        return self.category, self.defect
