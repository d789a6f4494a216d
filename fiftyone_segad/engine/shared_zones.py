"""Zones that all images have in common, as where a camera and its parts stay in place."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..segments.zones import MOST_ZONES, ZoneMap, fit_scales
from ..storage.records import ImageScores
from .prediction import zone_scores
from .zones import WHOLE, adjust_scores


class SharedZones:
    """Brings the scores of images to the scale that their zones have in common.

    Args:
        zones: the zones
        normals: scores of normal images, which tell what is usual in each zone
        any_size: whether images of another size have the zones enlarged or reduced; else they are inspected as a whole,
            as in a run whose zones are drawn on one sample

    Examples:
        >>> from fiftyone_segad.segments.boxes import grid
        >>> scores = np.array([1, 2, 3, 9], np.float32)
        >>> record = ImageScores("a.png", grid((8, 8), 2), scores, np.zeros(4, bool), 9.0)
        >>> upper = np.arange(8)[:, None].repeat(8, 1) < 4
        >>> SharedZones(parse_zones(upper, ()), [record], any_size=True)(record).image_score
        2.0
    """

    def __init__(self, zones: ZoneMap, normals: Sequence[ImageScores], any_size: bool) -> None:
        self._map, self._any_size = zones, any_size
        scores: dict[str, list[float]] = {}
        for record in normals:
            if self._applies_to(record):
                for name, score in zone_scores(record, self._at(record), has_outliers=False).items():
                    scores.setdefault(name, []).append(score)
        self._scales = fit_scales({name: np.array(values, np.float64) for name, values in scores.items()})

    def __call__(self, record: ImageScores) -> ImageScores:
        """Return the scores of an image in its zones.

        Raises:
            ValueError: if nothing of the zones is left at the size of the image
        """
        if not self._applies_to(record):
            return record
        zones = self._at(record)
        return adjust_scores(record, zones, zone_scores(record, zones, has_outliers=False), self._scales)

    def _applies_to(self, record: ImageScores) -> bool:
        return self._any_size or self._map.labels.shape == record.segments.size[::-1]

    def _at(self, record: ImageScores) -> ZoneMap:
        size = record.segments.size
        zones = self._map.on(record.segments)
        if not zones.present:
            raise ValueError(f"The zones leave nothing to inspect of an image of {size[0]} x {size[1]} px")
        return zones


def parse_zones(labels: NDArray[np.integer] | NDArray[np.bool_], names: Sequence[str]) -> ZoneMap:
    """Check zones that a user gives.

    Args:
        labels: array ``[height, width]`` of integers, 0 where nothing counts, else the number of a zone; or of bools,
            True where images are inspected
        names: names of zones 1, 2, ...

    Raises:
        ValueError: if they do not fit, or nothing is left to inspect
    """
    array = np.asarray(labels)
    if array.ndim != 2 or array.dtype.kind not in "bui" or not array.size:
        raise ValueError(
            f"labels is an array {array.dtype} {list(array.shape)}; give integers or bools [height, width]"
        )
    lowest, highest = int(array.min()), int(array.max())
    known = tuple(names) or (WHOLE,)
    if lowest < 0 or highest > len(known) or len(known) > MOST_ZONES:
        raise ValueError(
            f"labels has values from {lowest} to {highest}; use 0 for what is ignored and 1 to {len(known)} for "
            f"{list(known)}, or give a name for each zone as names=..., {MOST_ZONES} at most"
        )
    if len(set(known)) < len(known) or not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"names={list(names)!r} must be texts, each another one")
    if highest == 0:
        raise ValueError("labels leaves nothing to inspect: it is 0 everywhere")
    return ZoneMap(array.astype(np.uint8), known)
