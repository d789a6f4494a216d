"""A bank as a file: what a run compares images with, to score others on any machine. Knows nothing of FiftyOne.

It holds no pickles and no path: of the normal images it has their names and checksums, so that an image of the bank is
not compared with itself where it turns up again.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..embedders.base import Level
from ..errors import BankError
from ..scoring.levels import MAP_SIDE, LevelScorer
from ..segments.boxes import Segments
from ..utils.array_files import as_run_error
from ..utils.tensor_file import read_tensors, write_tensors
from ..utils.whole_files import read_json, write_json
from .records import ImageFeatures, ImageScores, pack_scores, unpack_scores
from .store import RunStore

FORMAT = "fiftyone_segad bank"
VERSION = 2
"""Files without marks are still written as version 1, which older versions of this package read."""

_CHUNK = 2**20
_ROWS_AT_ONCE = 65_536
_COPIES = "copies.json"
_SETTINGS = {"embedder": str, "defects": str, "embedder_kwargs": dict, "seed": int}
_SCORE_ARRAYS = ("sizes", "shapes", "geometry", "geometry_ends", "scores", "score_ends", "image_scores")


@dataclass(frozen=True)
class FileState:
    """A file, wherever it lies.

    Attributes:
        name: its name without folders, unlike that of any other of the bank
        size: bytes, -1 if it could not be read
        sha256: checksum of its content, empty if it could not be read
    """

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class BankFile:
    """What a bank file holds.

    Attributes:
        embedder: name of the embedder
        settings: the run's settings, as JSON values
        thresholds: ``rule``, ``image`` and ``pixel`` of the run's thresholds
        map_range: scores that heatmaps show as 0 and 255
        levels: names of the embedder's levels
        fitted: what was fitted to the levels, as ``arrays`` gives it
        images: the normal images
        rows: features ``[n, k]``, one array a level, image after image
        ends: int64 ``[images]``, one array a level: where the rows of each image end
        calibration: scores of normal images, each without itself; their ids are names
        marked: names of the images of which parts were marked as normal in a review
        marked_rows: features of these parts, as ``rows``; no array if there are none
        marked_ends: where those of each image end, as ``ends``
        checksum: of the file; empty before it is written
    """

    embedder: str
    settings: dict[str, Any]
    thresholds: dict[str, Any]
    map_range: tuple[float, float]
    levels: list[str]
    fitted: dict[str, NDArray[Any]]
    images: list[FileState]
    rows: list[NDArray[np.floating]]
    ends: list[NDArray[np.int64]]
    calibration: list[ImageScores]
    marked: list[str] = field(default_factory=list)
    marked_rows: list[NDArray[np.floating]] = field(default_factory=list)
    marked_ends: list[NDArray[np.int64]] = field(default_factory=list)
    checksum: str = ""

    def write(self, file: Path) -> None:
        """Write the file, whole or not at all.

        Raises:
            OSError: if it cannot be written
        """
        arrays: dict[str, NDArray[Any]] = {f"fitted.{name}": array for name, array in self.fitted.items()}
        for level, (rows, ends) in enumerate(zip(self.rows, self.ends, strict=True)):
            arrays |= {f"rows.{level}": rows, f"ends.{level}": ends}
        for level, (rows, ends) in enumerate(zip(self.marked_rows, self.marked_ends, strict=True)):
            arrays |= {f"marked.{level}": rows, f"marked_ends.{level}": ends}
        if self.calibration:
            packed = pack_scores(self.calibration)
            arrays |= {f"normals.{name}": packed[name] for name in _SCORE_ARRAYS}
        described = {
            "embedder": self.embedder,
            "settings": self.settings,
            "thresholds": self.thresholds,
            "map_range": list(self.map_range),
            "levels": self.levels,
            "images": [[image.name, image.size, image.sha256] for image in self.images],
            "normals": [record.id for record in self.calibration],
        }
        if self.marked:
            described["marked"] = self.marked
        version = VERSION if self.marked else 1
        metadata = {"format": FORMAT, "version": str(version), "bank": json.dumps(described)}
        write_tensors(file, arrays, metadata)

    @classmethod
    def read(cls, file: Path) -> BankFile:
        """Read a file; the features stay on disk until they are used.

        Raises:
            FileNotFoundError: if there is no such file
            BankError: if it is not a bank file, is damaged, was altered, or is of a newer version
        """
        arrays, metadata, checksum = read_tensors(file)
        if metadata.get("format") != FORMAT:
            raise BankError(f"'{file}' is a file of tensors, but not of a bank")
        version = metadata.get("version", "")
        if not version.isdecimal() or not 1 <= int(version) <= VERSION:
            raise BankError(
                f"'{file}' is of version {version} of the format, this package knows up to {VERSION}; update "
                "fiftyone_segad here, or save the bank with this version"
            )
        try:
            return _checked(json.loads(metadata["bank"]), arrays, checksum)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError) as error:
            raise BankError(f"'{file}' holds no bank that can be used: {error}") from error

    def check_levels(self, levels: Sequence[Level]) -> None:
        """Check that an embedder gives what the bank holds.

        Raises:
            BankError: if it does not
        """
        fitted = [f"matrix{i}" in self.fitted for i in range(len(self.levels))]
        scaled = [f"scale{i}" in self.fitted for i in range(len(self.levels))]
        needed = [level.components is not None for level in levels]
        names = [level.name for level in levels]
        if names != self.levels or fitted != needed or not (all(scaled) or not LevelScorer(levels).has_common_scale):
            raise BankError(f"The bank has features of {self.levels}, the embedder gives {names}; save the bank again")

    def unpack(self, store: RunStore) -> None:
        """Put the bank into the store of a new run; does nothing where that was done before."""
        if store.bank.paths():
            return
        write_json(
            store.folder / _COPIES, {image.sha256: [image.name, image.size] for image in self.images if image.sha256}
        )
        store.save_levels(self.fitted)
        known = store.normals.ids()
        for record in self.calibration:
            if record.id not in known:
                store.normals.add(record)
        store.normals.flush()
        if self.marked and not store.marked.paths():
            store.marked.append(_features(self.marked, self.marked_rows, self.marked_ends))
        names = [image.name for image in self.images]
        store.bank.append(_features(names, self.rows, self.ends))  # last, and at once: a store with a bank is complete


def _features(names: list[str], rows: list[NDArray[np.floating]], ends: list[NDArray[np.int64]]) -> list[ImageFeatures]:
    nowhere = [Segments((1, 1), np.zeros((0, 4), np.int64))] * len(rows)
    parts = [np.split(level, own[:-1]) for level, own in zip(rows, ends, strict=True)]
    return [ImageFeatures(name, nowhere, [part[i] for part in parts], False) for i, name in enumerate(names)]


def bank_copies(store: RunStore, paths: Iterable[str]) -> dict[str, str]:
    """Find the files that are images of a bank that was unpacked into a store.

    Returns:
        names in the bank, by path
    """
    known = {image.sha256: image for image in bank_images(store).values()}
    sizes = {image.size for image in known.values()}
    found = {}
    for path in set(paths) if known else ():
        try:
            state = file_state(path, Path(path).name) if os.path.getsize(path) in sizes else None
        except OSError:
            continue  # it is skipped when it is read
        if state is not None and state.sha256 in known:
            found[path] = known[state.sha256].name
    return found


def bank_images(store: RunStore) -> dict[str, FileState]:
    """The images of a bank that was unpacked into a store, by name; empty for a run that has a bank of its own.

    Raises:
        RunError: if what is known of them is damaged
    """
    known = read_json(store.folder / _COPIES) or {}
    with as_run_error(store.folder / _COPIES):
        return {str(name): FileState(str(name), int(size), sha256) for sha256, (name, size) in known.items()}


def file_state(path: str, name: str) -> FileState:
    """Read what tells a file apart."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as source:
            while chunk := source.read(_CHUNK):
                digest.update(chunk)
            return FileState(name, source.tell(), digest.hexdigest())
    except OSError:
        return FileState(name, -1, "")


def _checked(described: dict[str, Any], arrays: dict[str, NDArray[Any]], checksum: str) -> BankFile:
    """The bank in arrays that were read; every error says what is wrong."""
    settings = described["settings"]
    for name, kind in _SETTINGS.items():
        _require(type(settings[name]) is kind, f"its setting '{name}' is {settings[name]!r}")
    _require(settings["bank_size"] is None or type(settings["bank_size"]) is int, "its 'bank_size' is no number")
    _require(settings["segments"] is None or type(settings["segments"]) is str, "its 'segments' is no text")
    _require(type(described["embedder"]) is str, "its embedder has no name")
    thresholds = described["thresholds"]
    numbers = [thresholds["image"], *described["map_range"]]
    numbers += [] if thresholds["pixel"] is None else [thresholds["pixel"]]
    _require(
        set(thresholds) == {"rule", "image", "pixel"} and type(thresholds["rule"]) is str, "its thresholds are odd"
    )
    _require(all(type(each) in (int, float) and math.isfinite(each) for each in numbers), "a threshold is no number")
    low, high = described["map_range"]
    _require(low < high, "its range of heatmaps is empty")
    images = [FileState(name, size, sha256) for name, size, sha256 in described["images"]]
    names = {image.name for image in images}
    for image in images:
        _require(type(image.size) is int and type(image.sha256) is str, "an image has no checksum")
        _require(Path(image.name).name == image.name, f"'{image.name}' is not the name of a file")
    _require(len(names) == len(images) > 0, "it has no images, or two of one name")
    levels = [str(name) for name in described["levels"]]
    _require(bool(levels), "it has no levels")
    rows = [arrays[f"rows.{level}"] for level in range(len(levels))]
    ends = [np.asarray(arrays[f"ends.{level}"]) for level in range(len(levels))]
    fitted = {
        name.removeprefix("fitted."): np.asarray(array) for name, array in arrays.items() if name.startswith("fitted.")
    }
    for level in range(len(levels)):
        _check_level(level, rows[level], ends[level], fitted, len(images))
    marked = described.get("marked", [])
    _require(type(marked) is list, "what was marked has no names")
    _require(all(type(name) is str and Path(name).name == name for name in marked), "a mark is of no file")
    known = range(len(levels)) if marked else ()
    marked_rows = [arrays[f"marked.{level}"] for level in known]
    marked_ends = [np.asarray(arrays[f"marked_ends.{level}"]) for level in known]
    for level in known:
        _check_rows(f"of the marks of level {level}", marked_rows[level], marked_ends[level], len(marked))
        _require(marked_rows[level].shape[1] == rows[level].shape[1], f"marks of level {level} are of another width")
    return BankFile(
        described["embedder"],
        settings,
        thresholds,
        (float(low), float(high)),
        levels,
        fitted,
        images,
        rows,
        ends,
        _calibration(described["normals"], arrays),
        marked,
        marked_rows,
        marked_ends,
        checksum,
    )


def _check_level(
    level: int, rows: NDArray[Any], ends: NDArray[Any], fitted: dict[str, NDArray[Any]], images: int
) -> None:
    where = f"of level {level}"
    _check_rows(where, rows, ends, images)
    shapes = {"mean": None, "matrix": None, "scale": (2,), "damping": (MAP_SIDE, MAP_SIDE)}
    found = {name: fitted[f"{name}{level}"] for name in shapes if f"{name}{level}" in fitted}
    for name, array in found.items():
        _require(array.dtype.kind == "f" and bool(np.isfinite(array).all()), f"'{name}' {where} is not finite")
        _require(shapes[name] in (None, array.shape), f"'{name}' {where} has the shape {array.shape}")
    _require(("mean" in found) == ("matrix" in found), f"the components {where} are not complete")
    _require(("scale" in found) == ("damping" in found), f"the scale {where} is not complete")
    if "matrix" in found:
        fits = found["matrix"].shape == (found["mean"].size, rows.shape[1]) and found["mean"].ndim == 1
        _require(fits, f"the components {where} do not fit its features")
    if "scale" in found:
        _require(found["scale"][1] > 0 and found["damping"].min() > 0, f"the scale {where} is not positive")


def _check_rows(where: str, rows: NDArray[Any], ends: NDArray[Any], images: int) -> None:
    _require(rows.ndim == 2 and rows.dtype.kind == "f" and rows.size > 0, f"the features {where} are no table")
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        _require(bool(np.isfinite(rows[start : start + _ROWS_AT_ONCE]).all()), f"a feature {where} is not finite")
    _require(ends.dtype == np.int64 and ends.shape == (images,), f"the images {where} are not those it names")
    _require(bool((np.diff(ends, prepend=0) >= 0).all()) and ends[-1] == len(rows), f"the images {where} overlap")


def _calibration(ids: list[str], arrays: dict[str, NDArray[Any]]) -> list[ImageScores]:
    if not ids:
        return []
    part = {name: np.asarray(arrays[f"normals.{name}"]) for name in _SCORE_ARRAYS}
    count = len(ids)
    fits = all(len(part[name]) == count for name in ("sizes", "shapes", "geometry_ends", "score_ends", "image_scores"))
    _require(fits and all(type(id) is str for id in ids), "the scores of its normal images are not complete")
    _require(part["sizes"].shape == part["shapes"].shape == (count, 2), "its normal images have no sizes")
    # A short list of intervals can stand for more boxes than any memory holds
    lengths, numbers = np.diff(part["score_ends"], prepend=0), np.diff(part["geometry_ends"], prepend=0)
    for (rows, columns), length, geometry in zip(part["shapes"].tolist(), lengths, numbers, strict=True):
        boxes, needed = (rows * columns, 2 * (rows + columns)) if rows else (geometry // 4, 4 * length)
        _require(rows >= 0 and boxes == length > 0 and geometry == needed, "its normal images have no segments")
    _require(len(part["scores"]) == part["score_ends"][-1], "its normal images have other segments than scores")
    _require(len(part["geometry"]) == part["geometry_ends"][-1], "its normal images have other segments than boxes")
    for name in ("scores", "image_scores"):
        _require(bool(np.isfinite(part[name]).all()), "a score of its normal images is not finite")
    _require(bool((part["sizes"] > 0).all()), "a normal image has no size")
    return list(unpack_scores({**part, "ids": np.array(ids), "outliers": np.zeros(len(part["scores"]), bool)}))


def _require(fits: bool | np.bool_, otherwise: str) -> None:
    if not fits:
        raise ValueError(otherwise)
