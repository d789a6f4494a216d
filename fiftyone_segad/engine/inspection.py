"""The outcome of one image on the line: its score, the decision, and where its defects are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..scoring.conformal import NormalScores
from ..scoring.thresholds import Thresholds
from ..segments.regions import Region
from ..storage.records import ImageScores
from .prediction import decided_score, predict_regions


@dataclass(frozen=True, eq=False)
class Inspection:
    """An image that was compared with a bank. Map, mask and regions are made when they are first asked for.

    Attributes:
        record: the scores of its segments
        thresholds: the thresholds that decide
        normals: the scores of normal images that the p-value is relative to
        name_families: names the families of its regions; None if the bank knows no families

    Examples:
        >>> from fiftyone_segad.segments.boxes import grid
        >>> record = ImageScores("a.png", grid((8, 6), 2), np.array([0, 0, 0, 2], np.float32), np.zeros(4, bool), 2.0)
        >>> inspection = Inspection(record, Thresholds("fpr:0.2", 1.5, 1.0), NormalScores.of([0.1, 0.7, 1.2, 1.5]))
        >>> inspection.anomalous, inspection.score, inspection.p_value
        (True, 2.0, 0.2)
        >>> [(region.box, region.area) for region in inspection.regions]
        [((4, 3, 8, 6), 12)]
        >>> inspection.mask.shape, inspection.map.max()
        ((6, 8), np.float32(2.0))
    """

    record: ImageScores
    thresholds: Thresholds
    normals: NormalScores
    name_families: Callable[[ImageScores, list[Region]], list[str]] | None = None

    @cached_property
    def score(self) -> float:
        """The image's anomaly score, higher is more anomalous."""
        return decided_score(self.record, self.thresholds, lambda: self.regions)

    @property
    def anomalous(self) -> bool:
        """The decision: True if the score is above the threshold."""
        return self.score > self.thresholds.image

    @property
    def zone(self) -> str | None:
        """Name of the zone that decides, the one of the highest score; None without zones that have names."""
        return None if self.record.zones is None else self.record.zones.decisive or None

    @cached_property
    def p_value(self) -> float:
        """Share of good images that are expected to look as odd as this one, in (0, 1]."""
        return float(self.normals.p_values([self.score])[0])

    @cached_property
    def map(self) -> NDArray[np.float32]:
        """The anomaly map ``[height, width]``, float32, on the scale of the scores."""
        return self.record.map()

    @property
    def mask(self) -> NDArray[np.uint8]:
        """The predicted mask ``[height, width]``, uint8: 255 on defects and 0 elsewhere; empty on a good image."""
        mask = self._prediction[0]
        return np.zeros(self.record.segments.size[::-1], np.uint8) if mask is None else mask

    @property
    def regions(self) -> list[Region]:
        """The connected regions of the mask, highest peak first."""
        return self._prediction[1]

    @cached_property
    def families(self) -> list[str | None]:
        """Name of the family of each region: ``new`` if it fits into none, None if the bank knows no families.

        Raises:
            ImageError: if the image is one of the bank, and can no longer be read
        """
        if self.name_families is None:
            return [None] * len(self.regions)
        return list(self.name_families(self.record, self.regions))

    @cached_property
    def _prediction(self) -> tuple[NDArray[np.uint8] | None, list[Region]]:
        return predict_regions(self.record, self.thresholds)
