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

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from numpy.typing import NDArray

from ..utils.array_files import as_run_error, map_arrays, read_arrays, write_arrays
from ..utils.whole_files import read_json, write_json
from .records import ImageFeatures, ImageScores, pack_features, pack_scores, unpack_features, unpack_scores

_Record = TypeVar("_Record")

PART_SIZE = 32
"""Images a part: what a crash can lose, and what is held in memory."""


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
        """Add a part; it appears whole or not at all."""
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
            with as_run_error(file):
                yield from unpack(part)

    def values(self, name: str) -> list[str]:
        """The texts in one array of all parts; the others are not read."""
        return [str(value) for file in self._files() for value in read_arrays(file, [name])[name]]

    def check(self) -> None:
        """Read everything.

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
    """The ``ImageScores`` of many images on disk; at most one part of them is in memory."""

    def __init__(self, folder: Path) -> None:
        self._parts = Parts(folder)
        self._pending: list[ImageScores] = []

    def add(self, record: ImageScores) -> None:
        """Add an image; it is on disk after ``PART_SIZE`` more, or after ``flush``."""
        self._pending.append(record)
        if len(self._pending) >= PART_SIZE:
            self.flush()

    def flush(self) -> None:
        """Write what is not yet on disk."""
        if self._pending:
            self._parts.append(pack_scores(self._pending))
            self._pending = []

    def ids(self) -> set[str]:
        """The ids of the images that are on disk."""
        return set(self._parts.values("ids"))

    def check(self) -> None:
        """Read everything.

        Raises:
            RunError: if something is damaged
        """
        self._parts.check()

    def __iter__(self) -> Iterator[ImageScores]:
        return self._parts.unpacked(unpack_scores)


class FeatureParts:
    """The ``ImageFeatures`` of many images on disk; at most one part of them is in memory."""

    def __init__(self, folder: Path) -> None:
        self._parts = Parts(folder, mapped=True)

    def append(self, images: list[ImageFeatures]) -> None:
        """Add images as one part."""
        if not images:
            return
        self._parts.append(pack_features(images))

    def size(self) -> int:
        """Bytes on disk."""
        return self._parts.size()

    def paths(self) -> list[str]:
        """The files of the images that are on disk, in order."""
        return self._parts.values("paths")

    def __iter__(self) -> Iterator[ImageFeatures]:
        return self._parts.unpacked(unpack_features)


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
        """Make the folder of a new run.

        Raises:
            OSError: if the folder cannot be written; the message names it
        """
        store = cls(folder)
        with store.explain_write_errors():
            folder.mkdir(parents=True)
            write_json(folder / "settings.json", settings)
        return store

    def explain_write_errors(self) -> AbstractContextManager[None]:
        """Says what to do where the folder cannot be written, as ``explain_write_errors`` does."""
        return explain_write_errors(self.folder)

    def settings(self) -> dict[str, Any] | None:
        """What the folder was made for; None if that cannot be read."""
        return read_json(self.folder / "settings.json")

    def held_out(self, level: int) -> ScoreParts:
        """Scores of images at one level, each without its own features in the bank."""
        return ScoreParts(self.folder / "held_out" / str(level))

    def link_from(self, other: RunStore) -> None:
        """Take over what does not depend on marks from the store of the same run without them.

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
        """Keep what was fitted to the levels."""
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
        """Remove the folder and, if they are empty then, the two above it (dataset and key)."""
        delete_files(self.folder)


@contextmanager
def explain_write_errors(folder: Path) -> Iterator[None]:
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
    """Remove a folder and, if they are empty then, the two above it."""
    shutil.rmtree(folder, ignore_errors=True)
    for parent in list(folder.parents)[:2]:
        try:
            parent.rmdir()
        except OSError:
            return
