"""Keep arrays of many images in parts on disk, each written atomically; at most one part is in memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..utils.arrays import as_run_error, map_arrays, read_texts, write_arrays
from .records import ImageFeatures, ImageScores, pack_features, pack_scores, unpack_features, unpack_scores

_Arrays = dict[str, NDArray[Any]]
_Record = TypeVar("_Record")

PART_SIZE = 32
"""Images per part: what a crash can lose, and what is held in memory."""


class Parts:
    """A sequence of parts on disk, in the order in which they were added: arrays of some images, and their names.

    Args:
        folder: their folder
        mapped: whether the arrays stay mapped into memory instead of being copied
    """

    def __init__(self, folder: Path, mapped: bool = False) -> None:
        self.folder = folder
        self._mapped = mapped
        self._next = 0

    def append(self, names: Sequence[str], arrays: _Arrays) -> None:
        """Add a part atomically.

        Raises:
            OSError: if it cannot be written
        """
        # To list the folder for each part would take longer than all else from some 100,000 parts on
        while (file := self.folder / f"part-{self._next:06d}.safetensors").exists():
            self._next += 1
        write_arrays(file, arrays, {"names": json.dumps(list(names))})

    def unpacked(self, unpack: Callable[[list[str], _Arrays], Iterator[_Record]]) -> Iterator[_Record]:
        """Yield what a function makes of the names and arrays of each part, in order.

        Raises:
            RunError: if a part is damaged, or its arrays do not fit each other
        """
        for file in self._files():
            with as_run_error(file):
                arrays, texts = map_arrays(file)
                if not self._mapped:
                    arrays = {name: np.array(array) for name, array in arrays.items()}
                yield from unpack(_names(texts), arrays)

    def names(self) -> list[str]:
        """Read the names of the images of all parts, without their arrays.

        Raises:
            RunError: if a part is damaged
        """
        names = []
        for file in self._files():
            with as_run_error(file):
                names += _names(read_texts(file))
        return names

    def discard(
        self,
        names: set[str],
        unpack: Callable[[list[str], _Arrays], Iterator[_Record]],
        pack: Callable[[list[_Record]], _Arrays],
    ) -> None:
        """Remove the images of these names, by functions that turn a part into records and back.

        Raises:
            RunError: if a part is damaged, or its arrays do not fit each other
        """
        for file in self._files():
            with as_run_error(file):
                arrays, texts = map_arrays(file)
                part = _names(texts)
                if names.isdisjoint(part):
                    continue
                records = zip(part, unpack(part, arrays), strict=True)
                rest = {name: record for name, record in records if name not in names}
            if rest:
                write_arrays(file, pack(list(rest.values())), {"names": json.dumps(list(rest))})
            else:
                file.unlink()

    def check(self) -> None:
        """Read everything.

        Raises:
            RunError: if something is damaged
        """
        for file in self._files():
            with as_run_error(file):
                map_arrays(file)

    def size(self) -> int:
        """Count the bytes on disk."""
        return sum(file.stat().st_size for file in self._files())

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("part-*.safetensors"))


class ScoreParts:
    """The ``ImageScores`` of many images on disk; at most one part of them is in memory.

    Args:
        folder: where they are
        adjust (None): turns what is read into what is given out
    """

    def __init__(self, folder: Path, adjust: Callable[[ImageScores], ImageScores] | None = None) -> None:
        self._parts = Parts(folder)
        self._adjust = adjust
        self._pending: list[ImageScores] = []

    def add(self, record: ImageScores) -> None:
        """Add an image; it is on disk after ``PART_SIZE`` more, or after ``flush``."""
        self._pending.append(record)
        if len(self._pending) >= PART_SIZE:
            self.flush()

    def flush(self) -> None:
        """Write what is not yet on disk."""
        if self._pending:
            self._parts.append([record.id for record in self._pending], pack_scores(self._pending))
            self._pending = []

    def ids(self) -> set[str]:
        """Read the ids of the images that are on disk."""
        return set(self._parts.names())

    def discard(self, ids: set[str]) -> None:
        """Remove the scores of some images."""
        self._parts.discard(ids, unpack_scores, pack_scores)

    def check(self) -> None:
        """Read everything.

        Raises:
            RunError: if something is damaged
        """
        self._parts.check()

    def __iter__(self) -> Iterator[ImageScores]:
        records = self._parts.unpacked(unpack_scores)
        return records if self._adjust is None else map(self._adjust, records)


class FeatureParts:
    """The ``ImageFeatures`` of many images on disk; at most one part of them is in memory."""

    def __init__(self, folder: Path) -> None:
        self._parts = Parts(folder, mapped=True)

    def append(self, images: list[ImageFeatures]) -> None:
        """Add images as one part."""
        if images:
            self._parts.append([image.path for image in images], pack_features(images))

    def size(self) -> int:
        """Count the bytes on disk."""
        return self._parts.size()

    def paths(self) -> list[str]:
        """Read the paths of the images that are on disk, in order."""
        return self._parts.names()

    def discard(self, paths: set[str]) -> None:
        """Remove the features of some images."""
        self._parts.discard(paths, unpack_features, pack_features)

    def __iter__(self) -> Iterator[ImageFeatures]:
        return self._parts.unpacked(unpack_features)


def _names(texts: dict[str, str]) -> list[str]:
    return [str(name) for name in json.loads(texts["names"])]
