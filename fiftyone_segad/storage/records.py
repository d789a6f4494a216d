"""Hold what a run keeps of an image, and pack that of many images into arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..segments.boxes import Segments, Size, from_intervals
from ..segments.maps import anomaly_map
from ..segments.turned import TurnedSegments, lay_back
from ..segments.zones import IGNORED, RecordZones

_NOT_TURNED = np.full((2, 3), np.nan)
"""Stands for ``TurnedSegments.back`` of other segments."""

MOST_SEGMENTS = 2**20
"""Segments that an image may have of which not all features are kept."""


@dataclass(frozen=True)
class ImageScores:
    """The scores of one image.

    Attributes:
        id: the sample's id (a normal image's path)
        segments: the image's segments
        scores: float32 array ``[n]``, one anomaly score per segment
        outliers: bool array ``[n]``, segments that the method itself calls outliers (all False if it has no
            such rule)
        image_score: the image's anomaly score
        zones: the zones that the scores were adjusted to; None for those of a complete image
    """

    id: str
    segments: Segments
    scores: NDArray[np.float32]
    outliers: NDArray[np.bool_]
    image_score: float
    zones: RecordZones | None = None

    def map(self, size: Size | None = None) -> NDArray[np.float32]:
        """Draw the anomaly map ``[height, width]`` (``anomaly_map``); what is ignored has the lowest score."""
        if self.zones is None:
            return anomaly_map(self.segments, self.scores, size)
        return self.zones.adjust(anomaly_map(self.segments, self.zones.raw, size))

    @property
    def ignored(self) -> NDArray[np.bool_] | None:
        """The pixels ``[height, width]`` that count in nothing; None if there are none."""
        if self.zones is None:
            return None
        return self.zones.zones.at(self.segments.size) == IGNORED

    @property
    def counted_scores(self) -> NDArray[np.float32]:
        """The scores of the segments that are not ignored."""
        return self.scores if self.zones is None else self.scores[self.zones.of_segments > 0]


@dataclass(frozen=True)
class ImageFeatures:
    """The features of one image, to compare others with.

    Attributes:
        path: the image's file
        segments: its segments, one entry per level
        features: float arrays ``[m, k]``, one entry per level. The first rows are those of the segments, in their
            order; rows of rotated copies follow
        complete: True if every segment has its row; False if only a coreset of the rows was kept
        distances: of the segments to the bank, float32 arrays ``[n]``, one entry per level; empty if not known
    """

    path: str
    segments: list[Segments]
    features: list[NDArray[np.floating]]
    complete: bool
    distances: Sequence[NDArray[np.float32]] = ()

    @property
    def rotations(self) -> int:
        """Angles at which it is shown, if it is complete."""
        return len(self.features[0]) // len(self.segments[0])


def pack_scores(records: Sequence[ImageScores]) -> dict[str, NDArray[Any]]:
    """Pack the scores of at least one image into arrays; the ids are left out.

    Examples:
        >>> from fiftyone_segad.segments.boxes import grid
        >>> record = ImageScores("a.png", grid((8, 8), 2), np.ones(4, np.float32), np.zeros(4, bool), 1.0)
        >>> packed = pack_scores([record, record])
        >>> packed["scores"].shape, packed["score_ends"].tolist()
        ((8,), [4, 8])
        >>> [unpacked.image_score for unpacked in unpack_scores(["a.png", "b.png"], packed)]
        [1.0, 1.0]
    """
    return {
        **_pack_segments([record.segments for record in records]),
        "scores": np.concatenate([record.scores for record in records]).astype(np.float32),
        "outliers": np.concatenate([record.outliers for record in records]).astype(bool),
        "score_ends": np.cumsum([len(record.scores) for record in records]),
        "image_scores": np.array([record.image_score for record in records], np.float64),
    }


def unpack_scores(ids: Sequence[str], packed: Mapping[str, NDArray[Any]]) -> Iterator[ImageScores]:
    """Yield the records of images with these ids from the arrays of ``pack_scores``.

    Raises:
        ValueError: if the arrays do not fit each other
    """
    scores = _split(packed["scores"], packed["score_ends"])
    outliers = _split(packed["outliers"], packed["score_ends"])
    segments = _unpack_segments(packed, "", [len(values) for values in scores])
    for id, boxes, values, flags, image_score in zip(
        ids, segments, scores, outliers, packed["image_scores"], strict=True
    ):
        if len(boxes) != len(values):
            raise ValueError(f"'{id}' has {len(boxes)} segments and {len(values)} scores")
        yield ImageScores(id, boxes, values, flags, float(image_score))


def pack_features(images: Sequence[ImageFeatures]) -> dict[str, NDArray[Any]]:
    """Pack the features of at least one image into arrays; the paths are left out."""
    packed: dict[str, NDArray[Any]] = {"complete": np.array([image.complete for image in images])}
    for level in range(len(images[0].features)):
        packed[f"features{level}"] = np.concatenate([image.features[level] for image in images])
        packed[f"ends{level}"] = np.cumsum([len(image.features[level]) for image in images])
        segments = _pack_segments([image.segments[level] for image in images])
        packed |= {f"{name}{level}": array for name, array in segments.items()}
        if images[0].distances:
            packed[f"distances{level}"] = np.concatenate([image.distances[level] for image in images])
    return packed


def unpack_features(paths: Sequence[str], packed: Mapping[str, NDArray[Any]]) -> Iterator[ImageFeatures]:
    """Yield the features of images with these paths from the arrays of ``pack_features``.

    Raises:
        ValueError: if the arrays do not fit each other
    """
    levels = range(sum(name.startswith("features") for name in packed))
    features = [_split(packed[f"features{level}"], packed[f"ends{level}"]) for level in levels]
    # A coreset may have fewer rows than the image has segments
    limits = [np.where(packed["complete"], [len(f) for f in rows], MOST_SEGMENTS).tolist() for rows in features]
    segments = [_unpack_segments(packed, str(level), limits[level]) for level in levels]
    distances = [
        _split(packed[f"distances{level}"], np.cumsum([len(boxes) for boxes in segments[level]]))
        for level in levels
        if f"distances{level}" in packed
    ]
    for i, (path, complete) in enumerate(zip(paths, packed["complete"], strict=True)):
        yield ImageFeatures(
            path,
            [level[i] for level in segments],
            [level[i] for level in features],
            bool(complete),
            [level[i] for level in distances],
        )


def _split(values: NDArray[Any], ends: NDArray[Any]) -> list[NDArray[Any]]:
    """Split values into those of each image, by where these end."""
    if ends.ndim != 1 or ends.dtype.kind not in "iu" or (np.diff(ends, prepend=0) < 0).any():
        raise ValueError("its images have no ends")
    if len(values) != (ends[-1] if len(ends) else 0):
        raise ValueError(f"its images end at {ends[-1:]}, their values at {len(values)}")
    return np.split(values, ends[:-1]) if len(ends) else []


def _pack_segments(images: list[Segments]) -> dict[str, NDArray[Any]]:
    grids = [segments.straight for segments in images]
    coordinates = [_coordinates(grid) for grid in grids]
    packed = {
        "sizes": np.array([grid.size for grid in grids], np.int64),
        "shapes": np.array([grid.shape or (0, 0) for grid in grids], np.int64),
        "geometry": np.concatenate(coordinates),
        "geometry_ends": np.cumsum([len(numbers) for numbers in coordinates]),
    }
    if any(isinstance(segments, TurnedSegments) for segments in images):
        packed["image_sizes"] = np.array([segments.size for segments in images], np.int64)
        packed["backs"] = np.array([getattr(segments, "back", _NOT_TURNED) for segments in images], np.float64)
    return packed


def _unpack_segments(packed: Mapping[str, NDArray[Any]], suffix: str, limits: Sequence[int]) -> list[Segments]:
    """Rebuild the segments of each image, which may have as many as its limit says."""
    if any(packed[f"{name}{suffix}"].dtype.kind not in "iu" for name in ("sizes", "shapes", "geometry")):
        raise ValueError("its segments are not in whole pixels")
    images = zip(
        packed[f"sizes{suffix}"].tolist(),
        packed[f"shapes{suffix}"].tolist(),
        _split(packed[f"geometry{suffix}"], packed[f"geometry_ends{suffix}"]),
        limits,
        strict=True,
    )
    grids = [
        _segments((width, height), tuple(shape), numbers, limit) for (width, height), shape, numbers, limit in images
    ]
    if f"backs{suffix}" not in packed:
        return grids
    sizes, backs = packed[f"image_sizes{suffix}"], packed[f"backs{suffix}"]
    if sizes.shape != (len(grids), 2) or sizes.dtype.kind not in "iu" or backs.shape != (len(grids), 2, 3):
        raise ValueError("its parts do not fit its images")
    is_turned = np.isfinite(backs).all(axis=(1, 2))  # [images]
    if not np.isnan(backs[~is_turned]).all():
        raise ValueError("where its parts lie is not finite")
    return [
        lay_back((width, height), grid, back) if turned else grid
        for grid, (width, height), back, turned in zip(grids, sizes.tolist(), backs, is_turned, strict=True)
    ]


def _coordinates(segments: Segments) -> NDArray[np.int64]:
    """Return the numbers from which boxes can be rebuilt: the intervals of a grid, or all coordinates."""
    if segments.shape is None:
        return segments.boxes.ravel()
    return np.concatenate([segments.columns.ravel(), segments.rows.ravel()])


def _segments(size: tuple[int, int], shape: tuple[int, ...], numbers: NDArray[np.int64], limit: int) -> Segments:
    if shape == (0, 0):
        return Segments(size, numbers.reshape(-1, 4))
    rows, columns = shape
    # A short list of intervals can stand for more boxes than any memory holds
    if rows < 1 or columns < 1 or rows * columns > limit or len(numbers) != 2 * (rows + columns):
        raise ValueError(f"{rows} x {columns} segments do not fit {limit} values and {len(numbers)} coordinates")
    across, down = numbers[: 2 * columns], numbers[2 * columns :]
    return from_intervals(size, across.reshape(-1, 2), down.reshape(-1, 2))
