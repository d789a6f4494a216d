"""The folder of a run: settings, bank and scores, written in parts that are whole or absent.

    <folder>/settings.json    what was asked for; a run with the same settings can be resumed
    <folder>/levels.npz       what was fitted to the levels: components and scales
    <folder>/bank/            features of the normal images, or of all images if none are known to be normal
    <folder>/held_out/        scores by level of images that were left out of the bank in turn
    <folder>/marked/          features of segments that people marked as normal
    <folder>/features/        features of the images of the run, as far as there is room for them, and their distances
                              to the bank without what is marked
    <folder>/normals/         scores of the normal images, each without its own segments in the bank
    <folder>/scores/          scores of the images of the run
    <folder>/maps/, masks-*/  PNG files that the label fields point to

Every part is a ``.npz`` file without pickled objects, written under another name and then moved into place. Features,
which are most of it, are mapped into memory: what is not looked at is not held.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from .array_files import damage_told, map_arrays, read_arrays, write_arrays
from .segments import Segments, from_intervals

_Record = TypeVar("_Record")

PART_SIZE = 32
"""Images a part: what a crash can lose, and what is held in memory."""

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


class Parts:
    """A sequence of dictionaries of arrays on disk, in the order in which they were added.

    Args:
        folder: their folder
        mapped: whether they are mapped into memory instead of being read
    """

    def __init__(self, folder: Path, mapped: bool = False) -> None:
        self.folder = folder
        self._read = map_arrays if mapped else read_arrays
        self._next = 0

    def append(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Adds a part; it appears whole or not at all."""
        # To list the folder for each part would take longer than all else from some 100,000 parts on
        while (file := self.folder / f"part-{self._next:06d}.npz").exists():
            self._next += 1
        write_arrays(file, arrays)

    def __iter__(self) -> Iterator[dict[str, NDArray[Any]]]:
        for file in self._files():
            yield self._read(file)

    def unpacked(self, unpack: Callable[[dict[str, NDArray[Any]]], Iterator[_Record]]) -> Iterator[_Record]:
        """What a function makes of each part, in order.

        Raises:
            RunError: if a part is damaged, or its arrays do not fit each other
        """
        for file in self._files():
            part = self._read(file)
            with damage_told(file):
                yield from unpack(part)

    def values(self, name: str) -> list[str]:
        """The texts in one array of all parts; the others are not read."""
        return [str(value) for file in self._files() for value in read_arrays(file, [name])[name]]

    def check(self) -> None:
        """Reads everything.

        Raises:
            RunError: if something is damaged
        """
        for file in self._files():
            read_arrays(file)

    def size(self) -> int:
        """Bytes on disk."""
        return sum(file.stat().st_size for file in self._files())

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("part-*.npz"))


class ScoreParts:
    """The :class:`ImageScores` of many images on disk; at most one part of them is in memory."""

    def __init__(self, folder: Path) -> None:
        self._parts = Parts(folder)
        self._pending: list[ImageScores] = []

    def add(self, record: ImageScores) -> None:
        """Adds an image; it is on disk after :data:`PART_SIZE` more, or after :meth:`flush`."""
        self._pending.append(record)
        if len(self._pending) >= PART_SIZE:
            self.flush()

    def flush(self) -> None:
        """Writes what is not yet on disk."""
        if self._pending:
            self._parts.append(pack_scores(self._pending))
            self._pending = []

    def ids(self) -> set[str]:
        """The ids of the images that are on disk."""
        return set(self._parts.values("ids"))

    def check(self) -> None:
        """Reads everything.

        Raises:
            RunError: if something is damaged
        """
        self._parts.check()

    def __iter__(self) -> Iterator[ImageScores]:
        return self._parts.unpacked(unpack_scores)


class FeatureParts:
    """The :class:`ImageFeatures` of many images on disk; at most one part of them is in memory."""

    def __init__(self, folder: Path) -> None:
        self._parts = Parts(folder, mapped=True)

    def append(self, images: list[ImageFeatures]) -> None:
        """Adds images as one part."""
        if not images:
            return
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
        self._parts.append(part)

    def size(self) -> int:
        """Bytes on disk."""
        return self._parts.size()

    def paths(self) -> list[str]:
        """The files of the images that are on disk, in order."""
        return self._parts.values("paths")

    def __iter__(self) -> Iterator[ImageFeatures]:
        return self._parts.unpacked(_unpack_features)


class RunStore:
    """One run's folder."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.bank = FeatureParts(self.folder / "bank")
        self.marked = FeatureParts(self.folder / "marked")
        self.features = FeatureParts(self.folder / "features")
        self.normals = ScoreParts(self.folder / "normals")
        self.scores = ScoreParts(self.folder / "scores")

    @classmethod
    def create(cls, folder: Path, settings: dict[str, Any]) -> RunStore:
        """Makes the folder of a new run.

        Raises:
            OSError: if the folder cannot be written; the message names it
        """
        store = cls(folder)
        with store.explained():
            folder.mkdir(parents=True)
            write_json(folder / "settings.json", settings)
        return store

    def explained(self) -> AbstractContextManager[None]:
        """Says what to do where the folder cannot be written, as :func:`explained` does."""
        return explained(self.folder)

    def settings(self) -> dict[str, Any] | None:
        """What the folder was made for; None if that cannot be read."""
        return read_json(self.folder / "settings.json")

    def held_out(self, level: int) -> ScoreParts:
        """Scores of images at one level, each without its own features in the bank."""
        return ScoreParts(self.folder / "held_out" / str(level))

    def take_over(self, other: RunStore) -> None:
        """Takes over what does not depend on marks from the store of the same run without them.

        Files are shared where the disk can do that; they are never changed once they are written.
        """
        names = ("bank", "held_out", "features", "levels.npz")
        files = [file for name in names for file in (other.folder / name, *(other.folder / name).rglob("*"))]
        for file in files:
            target = self.folder / file.relative_to(other.folder)
            if not file.is_file() or target.exists():
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(file, target)
            except OSError:
                shutil.copyfile(file, target)

    def save_levels(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Keeps what was fitted to the levels."""
        write_arrays(self.folder / "levels.npz", arrays)

    def levels(self) -> dict[str, NDArray[Any]]:
        """What was fitted to the levels so far; empty if nothing was.

        Raises:
            RunError: if the file is damaged
        """
        file = self.folder / "levels.npz"
        return read_arrays(file) if file.is_file() else {}

    @property
    def maps(self) -> Path:
        return self.folder / "maps"

    def exists(self) -> bool:
        return self.folder.is_dir()

    def delete(self) -> None:
        """Removes the folder and, if they are empty then, the two above it (dataset and key)."""
        delete_files(self.folder)


@contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Says what to do where a folder cannot be written.

    Raises:
        OSError: with the folder and the remedy, for an OSError in the block
    """
    try:
        yield
    except OSError as error:
        raise OSError(
            error.errno,
            f"Cannot write the run's files to '{folder}' ({error.strerror or error}). Free the disk, allow "
            "writing, or set the variable FIFTYONE_SEGAD_DIR to another folder; a run goes on where it stopped",
        ) from error


def delete_files(folder: Path) -> None:
    """Removes a folder and, if they are empty then, the two above it."""
    shutil.rmtree(folder, ignore_errors=True)
    for parent in list(folder.parents)[:2]:
        try:
            parent.rmdir()
        except OSError:
            return


def write_json(file: Path, value: dict[str, Any]) -> None:
    """Writes a JSON file that appears whole or not at all."""
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(value, indent=1))
    os.replace(partial, file)


def read_json(file: Path) -> dict[str, Any] | None:
    """Reads a JSON object; None if the file is absent or damaged."""
    try:
        value = json.loads(file.read_text())
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


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
    """What :func:`pack_scores` packed.

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


def _unpack_features(part: Mapping[str, NDArray[Any]]) -> Iterator[ImageFeatures]:
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
