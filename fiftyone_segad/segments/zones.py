"""Zones of an image: which of its pixels are inspected, in which zone, and on which scale their scores count."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .boxes import Segments, Size
from .turned import TurnedSegments

IGNORED = 0
"""Number of the pixels that count in nothing; zones have the numbers 1, 2, ..."""

HATCHED, BORDER = 1, 2
"""Values of a picture of zones: stripes on what is ignored, and lines between zones."""

_STRIPES = 64
"""Stripes along the longer side of such a picture, and as many gaps."""

MOST_ZONES = 255
"""Zones of a run at most: numbers of zones are kept in 8 bits."""


@dataclass(frozen=True)
class ZoneScale:
    """The scale that the scores of a zone are brought to, ``factor * score + offset``, and so compared with others.

    Examples:
        >>> scale = ZoneScale(factor=2.0, offset=1.0)
        >>> scale(3.0), scale.undo(7.0)
        (7.0, 3.0)
    """

    factor: float = 1.0
    offset: float = 0.0

    def __call__(self, score: float) -> float:
        """Return a zone's score on the scale that all zones have in common."""
        return score if self == ZoneScale() else self.factor * score + self.offset

    def undo(self, score: float) -> float:
        """Return the score in the zone itself of one on the common scale."""
        return score if self == ZoneScale() else (score - self.offset) / self.factor


def fit_scales(scores: Mapping[str, NDArray[np.float64]]) -> dict[str, ZoneScale]:
    """Fit scales on which the scores of normal images are alike in all zones: same median, same highest tenth.

    The median of each zone goes to the mean of the medians, and so does its distance to the 90 % quantile.

    Args:
        scores: by zone, the scores ``[n]`` of normal images in it

    Examples:
        >>> calm, rough = np.arange(11.0), 10 * np.arange(11.0)
        >>> scales = fit_scales({"rim": calm, "face": rough})
        >>> scales["rim"](9.0), scales["face"](90.0)
        (49.5, 49.5)
    """
    if len(scores) == 1:
        return {name: ZoneScale() for name in scores}
    medians = {name: float(np.median(values)) for name, values in scores.items()}
    widths = {name: float(np.quantile(values, 0.9)) - medians[name] for name, values in scores.items()}
    centre, width = float(np.mean(list(medians.values()))), float(np.mean(list(widths.values())))
    if width <= 0:  # a single normal image, or none that differ: nothing tells how zones vary
        return {name: ZoneScale() for name in scores}
    factors = {name: width / max(widths[name], 1e-3 * width) for name in scores}
    return {name: ZoneScale(factors[name], centre - factors[name] * medians[name]) for name in scores}


@dataclass(frozen=True, eq=False)
class ZoneMap:
    """The zones of one image.

    Attributes:
        labels: uint8 array ``[height, width]``: ``IGNORED``, or the number of a pixel's zone
        names: names of zones 1, 2, ...; some may have no pixel here
        part: where the part lies on which they were drawn, as ``TurnedSegments.part``; None if they stay in place
        drawn: the zones that these were moved from; None if they were not

    Examples:
        >>> zones = ZoneMap(np.array([[0, 0, 1, 2]], np.uint8), ("rim", "face"))
        >>> zones.present, zones.at((2, 1)).tolist()
        (['rim', 'face'], [[0, 2]])
    """

    labels: NDArray[np.uint8]
    names: tuple[str, ...]
    part: NDArray[np.float64] | None = None
    drawn: ZoneMap | None = None

    @property
    def present(self) -> list[str]:
        """The names of the zones that the image has."""
        numbers = np.flatnonzero(np.bincount(self.labels.ravel(), minlength=1))
        return [self.names[number - 1] for number in numbers if number != IGNORED]

    def at(self, size: Size) -> NDArray[np.uint8]:
        """Return the labels ``[height, width]`` at another size ``(width, height)``, each from the nearest pixel."""
        if self.labels.shape == size[::-1]:
            return self.labels
        rows, columns = (  # of the pixels in which the centres of the new ones lie
            (2 * np.arange(new) + 1) * old // (2 * new) for new, old in zip(size[::-1], self.labels.shape, strict=True)
        )
        return self.labels[np.ix_(rows, columns)]

    def on(self, segments: Segments) -> ZoneMap:
        """Return the zones of another image: moved with its part if that was laid straight, else in the same place.

        What was beside the image on which they were drawn has the labels of its border.
        """
        if self.part is None or not isinstance(segments, TurnedSegments):
            return ZoneMap(self.at(segments.size), self.names)
        way = _affine(segments.part) @ np.linalg.inv(_affine(self.part))  # from where they were drawn to this image
        way[:2, 2] += way[:2, :2].sum(axis=1) / 2 - 0.5  # OpenCV counts from the centres of pixels
        flags, border = cv2.INTER_NEAREST, cv2.BORDER_REPLICATE
        moved = cv2.warpAffine(self.labels, way[:2], segments.size, flags=flags, borderMode=border)
        return ZoneMap(np.asarray(moved, np.uint8), self.names, drawn=self)

    def hatch(self) -> NDArray[np.uint8]:
        """Draw stripes on what is ignored, and the borders of zones: a uint8 array ``[height, width]``, 0 elsewhere.

        Examples:
            >>> ZoneMap(np.array([[0, 0, 0, 0, 1, 1, 2, 2]], np.uint8), ("rim", "face")).hatch().tolist()
            [[1, 0, 1, 0, 0, 2, 0, 0]]
        """
        height, width = self.labels.shape
        step = -(-max(height, width) // (2 * _STRIPES))
        stripes = (np.add.outer(np.arange(height), np.arange(width)) // step) % 2 == 0
        picture = np.where((self.labels == IGNORED) & stripes, HATCHED, 0).astype(np.uint8)
        for here, beside in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
            first, second = self.labels[here], self.labels[beside]
            picture[here][(first != second) & (first != IGNORED) & (second != IGNORED)] = BORDER
        return picture

    def of_segments(self, segments: Segments) -> NDArray[np.uint8]:
        """Return the number ``[n]`` of the zone in which the centre of each segment lies."""
        x, y = segments.boxes.reshape(-1, 2, 2).sum(axis=1).T // 2  # [n] each
        width, height = segments.size
        return np.asarray(self.at(segments.size)[np.minimum(y, height - 1), np.minimum(x, width - 1)])


def _affine(way: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a way ``[2, 3]`` as a matrix ``[3, 3]``, so that ways can be inverted and follow each other."""
    return np.vstack([way, [0, 0, 1]])


@dataclass(frozen=True, eq=False)
class RecordZones:
    """The zones of an image whose scores were adjusted to them.

    Attributes:
        zones: the zones
        scales: scale of each zone, by its name
        scores: score of the image in each zone that it has, by name, on the common scale
        raw: float32 array ``[n]``, the scores of the segments before
        of_segments: uint8 array ``[n]``, number of each segment's zone
    """

    zones: ZoneMap
    scales: Mapping[str, ZoneScale]
    scores: Mapping[str, float]
    raw: NDArray[np.float32]
    of_segments: NDArray[np.uint8]

    @property
    def decisive(self) -> str:
        """The zone of the highest score."""
        return max(self.scores, key=lambda name: self.scores[name])

    def scale(self, values: NDArray[np.float32], labels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Bring scores to the common scale by their zones; ignored ones become the lowest of the others.

        Args:
            values: float32 array of any shape
            labels: number of the zone of each
        """
        factors, offsets = np.ones((2, len(self.zones.names) + 1), np.float32)
        offsets[:] = 0
        for number, name in enumerate(self.zones.names, 1):
            scale = self.scales.get(name, ZoneScale())
            factors[number], offsets[number] = scale.factor, scale.offset
        scaled: NDArray[np.float32] = values * factors[labels] + offsets[labels]
        counts = labels != IGNORED
        if not counts.all():
            scaled[~counts] = scaled[counts].min() if counts.any() else scaled.min(initial=math.inf)
        return scaled

    def adjust(self, anomaly: NDArray[np.float32]) -> NDArray[np.float32]:
        """Bring an anomaly map ``[height, width]`` to the common scale."""
        return self.scale(anomaly, self.labels(anomaly))

    def labels(self, anomaly: NDArray[np.floating]) -> NDArray[np.uint8]:
        """Return the numbers of the zones of the pixels of a map, in its shape."""
        return self.zones.at((anomaly.shape[1], anomaly.shape[0]))
