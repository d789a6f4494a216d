"""Keep a bank in a file: what a run compares images with, to score others on any machine.

It holds no pickles and no path: of the normal images it has their names and checksums, so that an image of the bank is
not compared with itself where it turns up again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..embedders.base import Level
from ..embedders.torch_loading import is_torch_name
from ..errors import BankError
from ..scoring.levels import ALIGNED, LevelScorer
from ..scoring.region_vectors import description_width
from ..scoring.thresholds import Thresholds
from ..segments.boxes import Segments
from ..segments.zones import ZoneMap
from ..utils.arrays import map_arrays, read_texts, write_arrays
from ..utils.files import UniqueNames
from .bank_checks import (
    check_alignment,
    check_defects,
    check_fitted,
    check_rows,
    require,
    unpack_calibration,
    unpack_families,
    unpack_zones,
)
from .bank_header import BankHeader, parse_header
from .bank_images import bank_images, file_state, save_bank_images
from .families import SavedFamilies, save_families
from .records import ImageFeatures, ImageScores, pack_scores
from .store import RunStore

FORMAT = "fiftyone_segad bank"
VERSION, VERSION_WITH_PLACES = 3, 4
"""Versions of the files, the second of those with zones or of parts that are laid straight: who knows neither must not
score without them. 1 and 2 were those of fiftyone_segad 0.1, which are not read."""

BANK_SETTING = "bank"
"""Setting of a run that was made with a bank file: its checksum."""


@dataclass(frozen=True)
class BankLevel:
    """The features of a bank at one level.

    Attributes:
        rows: float array ``[n, k]``, image after image
        ends: int64 array ``[images]``, where the rows of each image end
        marked_rows: float array ``[m, k]``, features of what was marked as normal; None if nothing was
        marked_ends: int64 array ``[marked images]``, where the marked rows of each image end; None if nothing was
    """

    rows: NDArray[np.floating]
    ends: NDArray[np.int64]
    marked_rows: NDArray[np.floating] | None = None
    marked_ends: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class BankFile:
    """The content of a bank file.

    Attributes:
        header: all but the arrays
        levels: features, one entry per level
        fitted: arrays that were fitted to the levels, as ``LevelScorer.arrays`` gives them
        calibration: scores of normal images, each without itself; their ids are names
        families: families of anomalous regions; None if nobody has looked for them
        zones: the zones of all images of their size; None if images are inspected as a whole
        checksum: SHA-256 of the file; empty before it is read
    """

    header: BankHeader
    levels: list[BankLevel]
    fitted: dict[str, NDArray[Any]]
    calibration: list[ImageScores]
    families: SavedFamilies | None = None
    zones: ZoneMap | None = None
    checksum: str = ""

    @classmethod
    def of(
        cls,
        store: RunStore,
        scorer: LevelScorer,
        rows: Iterable[Sequence[NDArray[np.floating]]],
        *,
        embedder: str,
        settings: Mapping[str, Any],
        thresholds: Thresholds,
        map_range: tuple[float, float],
        families: SavedFamilies | None = None,
        zones: ZoneMap | None = None,
    ) -> BankFile:
        """Make the bank of a run of the method ``reference``.

        Args:
            store: the run's store: its images, their scores as they are without zones, and what is marked as normal
            scorer: the levels as they were fitted
            rows: float arrays ``[n_i, k]`` of each image of ``store.bank``, one entry per level
            embedder: name of the embedder
            settings: the run's settings
            thresholds: the run's thresholds
            map_range: scores that heatmaps show as 0 and 255
            families: the families of the run's regions, if there are any
            zones: the zones that all images of their size have, if they have some

        Examples:
            >>> rows = bank_rows(job, scorer, store.bank)  # doctest: +SKIP
            >>> bank = BankFile.of(store, scorer, rows, embedder="efficientnet", settings=run.settings,
            ...                    thresholds=run.thresholds, map_range=run.map_range)  # doctest: +SKIP
            >>> bank.write(Path("screws.safetensors"))  # doctest: +SKIP
        """
        paths = store.bank.paths()
        names = dict(zip(paths, _unique(paths), strict=True))
        from_bank = bank_images(store)
        marked = list(store.marked)
        calibration = [replace(record, id=names[record.id]) for record in store.normals]
        levels = [BankLevel(*_joined(images)) for images in rows]
        if marked:
            features = zip(*(image.features for image in marked), strict=True)
            levels = [BankLevel(a.rows, a.ends, *_joined(images)) for a, images in zip(levels, features, strict=True)]
        header = BankHeader(
            embedder,
            {name: value for name, value in settings.items() if name != BANK_SETTING},
            thresholds,
            map_range,
            [level.name for level in scorer.levels],
            [from_bank.get(path) or file_state(path, name) for path, name in names.items()],
            [record.id for record in calibration],
            _unique(image.path for image in marked),
            [[names[path] for path in group if path in names] for group in store.groups() or []],
            families.names if families else [],
            list(zones.names) if zones else [],
        )
        return cls(header, levels, scorer.arrays(), calibration, families and families.for_bank(), zones)

    def write(self, file: Path) -> None:
        """Write the file atomically.

        Raises:
            OSError: if it cannot be written
        """
        arrays = {f"fitted.{name}": array for name, array in self.fitted.items()}
        for i, level in enumerate(self.levels):
            arrays |= {f"{name}.{i}": array for name, array in vars(level).items() if array is not None}
        if self.calibration:
            packed = pack_scores(self.calibration)
            del packed["outliers"]  # of normal images there are none
            arrays |= {f"normals.{name}": array for name, array in packed.items()}
        if self.families is not None:
            arrays |= {"families.vectors": self.families.vectors, "families.numbers": self.families.families}
        if self.zones is not None:
            arrays["zones.labels"] = self.zones.labels
            arrays |= {"zones.part": self.zones.part} if self.zones.part is not None else {}
        version = VERSION_WITH_PLACES if self.zones is not None or ALIGNED in self.fitted else VERSION
        texts = {"format": FORMAT, "version": str(version), "bank": json.dumps(asdict(self.header))}
        write_arrays(file, arrays, texts)

    @classmethod
    def read(cls, file: Path) -> BankFile:
        """Read a file; the features stay on disk until they are used.

        Raises:
            FileNotFoundError: if there is no such file
            BankError: if it is not a bank file, is damaged, was altered, or is of another version
        """
        try:
            texts = read_texts(file)
            if texts.get("format") != FORMAT:
                raise BankError(f"'{file}' is a file of arrays, but not of a bank")
            if texts.get("version") not in (str(VERSION), str(VERSION_WITH_PLACES)):
                raise BankError(
                    f"'{file}' is of version {texts.get('version')} of the format, this package reads {VERSION} and "
                    f"{VERSION_WITH_PLACES}; update fiftyone_segad here, or save the bank with this version"
                )
            arrays, _ = map_arrays(file)
        except ValueError as error:
            raise BankError(
                f"'{file}' is not a bank file, or is damaged: {error}. Copy it again, or save it again with "
                "this version"
            ) from error
        try:
            header = parse_header(texts["bank"])
            has_places = bool(header.zones) or f"fitted.{ALIGNED}" in arrays
            require(has_places == (texts["version"] == str(VERSION_WITH_PLACES)), "its version is another one")
            return _checked(header, arrays, file_state(file, file.name).sha256)
        except (ValueError, TypeError, KeyError) as error:  # TypeError: an array of another shape
            raise BankError(f"'{file}' holds no bank that can be used: {error}") from error

    def check_trust(self, embedder: str | None) -> None:
        """Check that the embedder is one that this package brings, or that the user names.

        Raises:
            ValueError: if it must be named, or is not the bank's
        """
        needed = self.header.embedder
        if embedder is None and any(is_torch_name(part) for part in needed.split("+")):
            raise ValueError(
                f"The bank needs '{needed}', which can be code from anywhere; pass embedder='{needed}' if you trust it"
            )
        if embedder not in (None, needed):
            raise ValueError(f"embedder={embedder!r} is not that of the bank, which needs '{needed}'")

    def check_levels(self, levels: Sequence[Level]) -> None:
        """Check that an embedder gives what the bank holds.

        Raises:
            BankError: if it does not
        """
        names = [level.name for level in levels]
        projected = [f"matrix{i}" in self.fitted for i in range(len(self.levels))]
        scaled = [f"scale{i}" in self.fitted for i in range(len(self.levels))]
        if (
            names != self.header.levels
            or projected != [level.components is not None for level in levels]
            or (LevelScorer(levels).has_common_scale and not all(scaled))
        ):
            raise BankError(
                f"The bank has features of {self.header.levels}, the embedder gives {names}; save the bank again"
            )

    def unpack(self, store: RunStore) -> None:
        """Put the bank into the store of a new run; does nothing where that was done before."""
        if store.bank.paths():
            return
        save_bank_images(store, self.header.images)
        store.save_groups(self.header.groups)
        store.save_levels(self.fitted)
        if self.families is not None:
            save_families(store.folder, self.families)
        stored = store.normals.ids()
        for record in self.calibration:
            if record.id not in stored:
                store.normals.add(record)
        store.normals.flush()
        if self.header.marked and not store.marked.paths():
            store.marked.append(_split(self.header.marked, [(a.marked_rows, a.marked_ends) for a in self.levels]))
        store.bank.append(self.images())  # last: a store with a bank is complete

    def images(self) -> list[ImageFeatures]:
        """Return the features of the normal images."""
        names = [image.name for image in self.header.images]
        return _split(names, [(level.rows, level.ends) for level in self.levels])


def _unique(paths: Iterable[str]) -> list[str]:
    """Name files without their folders, each differently."""
    names = UniqueNames()
    return [names.take(Path(path).stem) + Path(path).suffix for path in paths]


def _joined(images: Sequence[NDArray[Any]]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Join the rows of all images, and say where those of each end."""
    return np.concatenate(images), np.cumsum([len(rows) for rows in images], dtype=np.int64)


def _split(names: list[str], levels: Sequence[tuple[Any, Any]]) -> list[ImageFeatures]:
    """Split the rows of each level, with their ends, into the features of the images."""
    no_segments = [Segments((1, 1), np.zeros((0, 4), np.int64))] * len(levels)
    by_level = [np.split(rows, ends[:-1]) for rows, ends in levels]
    return [ImageFeatures(name, no_segments, [rows[i] for rows in by_level], False) for i, name in enumerate(names)]


def _checked(header: BankHeader, arrays: dict[str, NDArray[Any]], checksum: str) -> BankFile:
    """Make a bank of what was read; every error says what is wrong with it."""
    fitted = {
        name.removeprefix("fitted."): np.asarray(array) for name, array in arrays.items() if name.startswith("fitted.")
    }
    levels = []
    for i in range(len(header.levels)):
        rows, ends = arrays[f"rows.{i}"], np.asarray(arrays[f"ends.{i}"])
        check_rows(f"of level {i}", rows, ends, len(header.images))
        check_fitted(i, rows.shape[1], fitted)
        if not header.marked:
            levels.append(BankLevel(rows, ends))
            continue
        marked_rows, marked_ends = arrays[f"marked_rows.{i}"], np.asarray(arrays[f"marked_ends.{i}"])
        check_rows(f"of the marks of level {i}", marked_rows, marked_ends, len(header.marked))
        require(marked_rows.shape[1] == rows.shape[1], f"marks of level {i} are of another width")
        levels.append(BankLevel(rows, ends, marked_rows, marked_ends))
    check_alignment(fitted)
    check_defects(fitted, [level.rows.shape[1] for level in levels])
    families = unpack_families(header.families, arrays, description_width([level.rows.shape[1] for level in levels]))
    zones = unpack_zones(header.zones, arrays)
    return BankFile(header, levels, fitted, unpack_calibration(header.normals, arrays), families, zones, checksum)
