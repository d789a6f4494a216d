"""Keep a run in a folder: settings, bank and scores, written in parts, each atomically.

    <folder>/settings.json       what was asked for; a run with the same settings can be resumed
    <folder>/images.json         digests of the images of the run, to tell which ones have changed when it goes on
    <folder>/levels.safetensors  what was fitted to the levels: components and scales
    <folder>/groups.json         normal images that show the same part
    <folder>/families.safetensors  families of the regions, see ``families.py``
    <folder>/left_out.json       normal images that people marked as defective: nothing is compared with them
    <folder>/bank/               features of the normal images, or of all images if none are known to be normal
    <folder>/held_out/           scores per level of images that were left out of the bank in turn
    <folder>/marked/             features of segments that people marked as normal
    <folder>/defects/            features of segments that people marked as anomalous
    <folder>/features/           features of the images of the run, as far as the limit allows, and their distances to
                                 the bank without what is marked
    <folder>/normals/            scores of the normal images, each without its own segments in the bank
    <folder>/scores/             scores of the images of the run
    <folder>/maps/, masks-*/     PNG files that the label fields point to

Every part is a safetensors file, see ``parts.py``. Features, which are most of it, stay mapped into memory: what is
not looked at is not held.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import RunError
from ..scoring.levels import ALIGNED
from ..utils.arrays import as_run_error, map_arrays, write_arrays
from ..utils.files import link_or_copy, read_json, write_json
from .families import FILE as _FAMILIES
from .parts import FeatureParts, ScoreParts
from .records import ImageScores

_FORMAT = 2
"""Version of the files. A folder of another version is not resumed; that of fiftyone_segad 0.1 was 1."""

_LEVELS, _STATES, _GROUPS, _LEFT_OUT = "levels.safetensors", "images.json", "groups.json", "left_out.json"


class RunStore:
    """One run's folder.

    Examples:
        >>> from tempfile import mkdtemp
        >>> from fiftyone_segad.segments.boxes import grid
        >>> store = RunStore.create(Path(mkdtemp()) / "run", {"method": "within_image"})
        >>> store.scores.add(ImageScores("a.png", grid((8, 8), 2), np.ones(4, np.float32), np.zeros(4, bool), 1.0))
        >>> store.scores.flush()
        >>> RunStore(store.folder).scores.ids()
        {'a.png'}
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.bank = FeatureParts(self.folder / "bank")
        self.marked = FeatureParts(self.folder / "marked")
        self.defects = FeatureParts(self.folder / "defects")
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
            write_json(folder / "settings.json", {"format": _FORMAT, "settings": settings})
        return store

    def explain_write_errors(self) -> AbstractContextManager[None]:
        """Explain errors of writing to the folder, as the function ``explain_write_errors`` does."""
        return explain_write_errors(self.folder)

    def settings(self) -> dict[str, Any] | None:
        """Read what the folder was made for; None if that is damaged, or of another version of this package."""
        saved = read_json(self.folder / "settings.json") or {}
        settings = saved.get("settings")
        return settings if saved.get("format") == _FORMAT and isinstance(settings, dict) else None

    def scores_of(self, ids: Collection[str]) -> Iterator[ImageScores]:
        """Yield the scores of those images that have one of these ids."""
        return (record for record in self.scores if record.id in ids)

    def forget_changed(self, states: dict[str, str]) -> None:
        """Remove scores and features of images that are in another state than before, and keep the states.

        Args:
            states: a digest of each image, by its id
        """
        before = read_json(self.folder / _STATES) or {}
        changed = {id for id, state in states.items() if before.get(id, state) != state}
        if changed:
            self.scores.discard(changed)
            self.features.discard(changed)
        write_json(self.folder / _STATES, {**before, **states})

    def held_out(self, level: int) -> ScoreParts:
        """Return the scores of images at one level, each without its own features in the bank."""
        return ScoreParts(self.folder / "held_out" / str(level))

    def link_from(self, other: RunStore, distances: bool = True) -> None:
        """Link the files that do not depend on marks from the store of the same run with other marks.

        Files are shared where the disk can do that; they are never changed once they are written.

        Args:
            other: that store
            distances (True): False if it leaves other images out, so that its distances to the bank are others
        """
        with_distances = ("held_out", "features") if distances else ()
        names = ("bank", *with_distances, _LEVELS, _STATES, _GROUPS, _FAMILIES)
        (self.folder / _FAMILIES).unlink(missing_ok=True)  # people may have named some since it was interrupted
        files = [file for name in names for file in (other.folder / name, *(other.folder / name).rglob("*"))]
        for file in files:
            target = self.folder / file.relative_to(other.folder)
            if not file.is_file() or target.exists():
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            link_or_copy(file, target)

    def save_levels(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Keep what was fitted to the levels."""
        write_arrays(self.folder / _LEVELS, arrays)

    def levels(self) -> dict[str, NDArray[Any]]:
        """Read what was fitted to the levels so far; empty if nothing was.

        Raises:
            RunError: if the file is damaged
        """
        file = self.folder / _LEVELS
        if not file.is_file():
            return {}
        with as_run_error(file):
            return {name: np.array(array) for name, array in map_arrays(file)[0].items()}

    @property
    def aligned(self) -> bool:
        """Whether the part on each image is laid straight before it is compared."""
        return ALIGNED in self.levels()

    def save_groups(self, groups: Sequence[Sequence[str]]) -> None:
        """Keep which normal images, by path, show the same part; those that are in no group stand alone."""
        write_json(self.folder / _GROUPS, {"groups": [list(group) for group in groups]})

    def groups(self) -> list[list[str]] | None:
        """Read which normal images show the same part; None if nobody has looked yet.

        Raises:
            RunError: if the file is damaged
        """
        return self._path_lists(_GROUPS, "groups")

    def save_left_out(self, paths: Sequence[str]) -> None:
        """Keep which images of the bank, by path, nothing is compared with."""
        write_json(self.folder / _LEFT_OUT, {"left_out": [list(paths)]})

    def left_out(self) -> list[str]:
        """Read which images of the bank, by path, nothing is compared with.

        Raises:
            RunError: if the file is damaged
        """
        return [path for paths in self._path_lists(_LEFT_OUT, "left_out") or [] for path in paths]

    def _path_lists(self, name: str, key: str) -> list[list[str]] | None:
        file = self.folder / name
        if not file.is_file():
            return None
        lists = (read_json(file) or {}).get(key)
        if not isinstance(lists, list) or not all(
            isinstance(paths, list) and all(isinstance(path, str) for path in paths) for paths in lists
        ):
            raise RunError(f"'{file}' is damaged; compute the run again")
        return lists

    @property
    def maps(self) -> Path:
        return self.folder / "maps"

    def exists(self) -> bool:
        """Return whether the folder is there."""
        return self.folder.is_dir()

    def delete(self) -> None:
        """Remove the folder and, if they are empty then, the two above it (dataset and key)."""
        delete_files(self.folder)


@contextmanager
def explain_write_errors(folder: Path) -> Iterator[None]:
    """Add to an error of writing which folder it was, and the remedy.

    Raises:
        OSError: for an OSError in the block
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
