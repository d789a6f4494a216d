"""What a run keeps of an image, and how that of several images is packed into arrays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..segments.boxes import Segments, from_intervals

MOST_SEGMENTS = 2**20
"""Segments that an image may have whose features were thinned."""


@dataclass(frozen=True)
class ImageScores:
    """What a run keeps of one image.

    Attributes:
        id: the sample's id (a normal image's path)
        segments: the image's segments
        scores: float32 array ``[n]``, one anomaly score a segment
        outliers: bool array ``[n]``, segments that the method itself calls outliers (all False if it has no
            such rule)
        image_score: the image's anomaly score
    """

    id: str
    segments: Segments
    scores: NDArray[np.float32]
    outliers: NDArray[np.bool_]
    image_score: float


@dataclass(frozen=True)
class ImageFeatures:
    """What a run keeps of one image to compare others with.

    Attributes:
        path: the image's file
        segments: its segments, one entry a level
        rows: their features, float arrays ``[m, k]``, one entry a level. The first rows are those of the segments, in
            their order; rows of rotated copies follow
        whole: whether that is so; else only a choice of rows was kept
        distances: of the segments to the bank, float32 arrays ``[n]``, one entry a level; empty if they are not known
    """

    path: str
    segments: list[Segments]
    rows: list[NDArray[np.floating]]
    whole: bool
    distances: Sequence[NDArray[np.float32]] = ()


def pack_scores(records: Iterable[ImageScores]) -> dict[str, NDArray[Any]]:
    """The scores of at least one image as arrays."""
    several = list(records)
    return {
        "ids": np.array([record.id for record in several]),
        **_pack_segments([record.segments for record in several]),
        "scores": np.concatenate([record.scores for record in several]).astype(np.float32),
        "outliers": np.concatenate([record.outliers for record in several]).astype(bool),
        "score_ends": np.cumsum([len(record.scores) for record in several]),
        "image_scores": np.array([record.image_score for record in several], np.float64),
    }


def unpack_scores(part: Mapping[str, NDArray[Any]]) -> Iterator[ImageScores]:
    """What ``pack_scores`` packed.

    Raises:
        ValueError: if the arrays do not fit each other
    """
    scores = _split(part["scores"], part["score_ends"])
    outliers = _split(part["outliers"], part["score_ends"])
    segments = _unpack_segments(part, "", [len(own) for own in scores])
    images = zip(part["ids"], segments, scores, outliers, part["image_scores"], strict=True)
    for id, cut, own, outlying, image_score in images:
        if len(cut) != len(own):
            raise ValueError(f"'{id}' has {len(cut)} segments and {len(own)} scores")
        yield ImageScores(str(id), cut, own, outlying, float(image_score))


def pack_features(images: Sequence[ImageFeatures]) -> dict[str, NDArray[Any]]:
    """The features of at least one image as arrays."""
    part: dict[str, NDArray[Any]] = {
        "paths": np.array([image.path for image in images]),
        "whole": np.array([image.whole for image in images]),
    }
    for level in range(len(images[0].rows)):
        part[f"rows{level}"] = np.concatenate([image.rows[level] for image in images])
        part[f"ends{level}"] = np.cumsum([len(image.rows[level]) for image in images])
        packed = _pack_segments([image.segments[level] for image in images])
        part |= {f"{name}{level}": array for name, array in packed.items()}
        if images[0].distances:
            part[f"distances{level}"] = np.concatenate([image.distances[level] for image in images])
    return part


def unpack_features(part: Mapping[str, NDArray[Any]]) -> Iterator[ImageFeatures]:
    """What ``pack_features`` packed.

    Raises:
        ValueError: if the arrays do not fit each other
    """
    levels = range(sum(name.startswith("rows") for name in part))
    rows = [_split(part[f"rows{level}"], part[f"ends{level}"]) for level in levels]
    # Of an image that is not whole there may be fewer rows than segments
    most = [np.where(part["whole"], [len(own) for own in level], MOST_SEGMENTS).tolist() for level in rows]
    segments = [_unpack_segments(part, str(level), most[level]) for level in levels]
    distances = [
        _split(part[f"distances{level}"], np.cumsum([len(each) for each in segments[level]]))
        for level in levels
        if f"distances{level}" in part
    ]
    for i, (path, whole) in enumerate(zip(part["paths"], part["whole"], strict=True)):
        own = [rows[level][i] for level in levels]
        cut, away = [each[i] for each in segments], [each[i] for each in distances]
        yield ImageFeatures(str(path), cut, own, bool(whole), away)


def _split(values: NDArray[Any], ends: NDArray[Any]) -> list[NDArray[Any]]:
    """The values of each image, from where they end."""
    if ends.ndim != 1 or ends.dtype.kind not in "iu" or (np.diff(ends, prepend=0) < 0).any():
        raise ValueError("its images have no ends")
    if len(values) != (ends[-1] if len(ends) else 0):
        raise ValueError(f"its images end at {ends[-1:]}, their values at {len(values)}")
    return np.split(values, ends[:-1]) if len(ends) else []


def _pack_segments(several: list[Segments]) -> dict[str, NDArray[Any]]:
    geometries = [_geometry(segments) for segments in several]
    return {
        "sizes": np.array([segments.size for segments in several], np.int64),
        "shapes": np.array([segments.shape or (0, 0) for segments in several], np.int64),
        "geometry": np.concatenate(geometries),
        "geometry_ends": np.cumsum([len(geometry) for geometry in geometries]),
    }


def _unpack_segments(part: Mapping[str, NDArray[Any]], suffix: str, most: Sequence[int]) -> list[Segments]:
    """The segments of each image, of which there may be so many."""
    geometries = _split(part[f"geometry{suffix}"], part[f"geometry_ends{suffix}"])
    images = zip(part[f"sizes{suffix}"].tolist(), part[f"shapes{suffix}"].tolist(), geometries, most, strict=True)
    return [_segments((width, height), tuple(shape), own, limit) for (width, height), shape, own, limit in images]


def _geometry(segments: Segments) -> NDArray[np.int64]:
    """The numbers from which the boxes can be rebuilt: intervals of a grid, or all coordinates."""
    if segments.shape is None:
        return segments.boxes.ravel()
    return np.concatenate([segments.columns.ravel(), segments.rows.ravel()])


def _segments(size: tuple[int, int], shape: tuple[int, ...], geometry: NDArray[np.int64], most: int) -> Segments:
    if shape == (0, 0):
        return Segments(size, geometry.reshape(-1, 4))
    rows, columns = shape
    # A short list of intervals can stand for more boxes than any memory holds
    if rows < 1 or columns < 1 or rows * columns > most or len(geometry) != 2 * (rows + columns):
        raise ValueError(f"{rows} x {columns} segments do not fit {most} values and {len(geometry)} coordinates")
    across, down = geometry[: 2 * columns], geometry[2 * columns :]
    return from_intervals(size, across.reshape(-1, 2), down.reshape(-1, 2))
