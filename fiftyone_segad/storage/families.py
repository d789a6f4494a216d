"""Keep the families of a run's regions in its folder, with what later regions are compared with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import RunError
from ..scoring.families import SINGLE
from ..segments.boxes import RelativeBox
from ..utils.arrays import as_run_error, map_arrays, write_arrays

FILE = "families.safetensors"

NEW = -2
"""Number of the family of a later region that fits into none."""

NEW_LABEL, SINGLE_LABEL = "new", "single"
"""What stands for the name of a family where a region is in none."""


@dataclass(frozen=True)
class SavedFamilies:
    """The families of a run.

    Attributes:
        names: names of the families
        kept: for each, whether people have named, merged or split it, so that it stays as it is
        ids: ids of the regions; empty for one that is no more, which its family still knows
        samples: ids of their samples
        boxes: float64 array ``[n, 4]`` of their boxes, relative ``x, y, width, height``
        vectors: float32 array ``[n, d]`` of their descriptions
        families: int64 array ``[n]`` of the numbers of their families, ``SINGLE`` or ``NEW``
    """

    names: list[str] = field(default_factory=list)
    kept: list[bool] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    samples: list[str] = field(default_factory=list)
    boxes: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 4)))
    vectors: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    families: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    def __post_init__(self) -> None:
        count = len(self.ids)
        shapes = (len(self.samples), len(self.boxes), len(self.vectors), len(self.families))
        if any(length != count for length in shapes) or len(self.names) != len(self.kept):
            raise ValueError("its regions and families do not fit each other")
        if count and not NEW <= self.families.min() <= self.families.max() < len(self.names):
            raise ValueError("its regions are of families that it does not have")

    @classmethod
    def of_bank(cls, names: list[str], vectors: NDArray[np.float32], families: NDArray[np.int64]) -> SavedFamilies:
        """Make the families that a bank file holds: they stay as they are, and no region of theirs is known any more.

        Raises:
            ValueError: if they do not fit each other
        """
        nowhere = [""] * len(families)
        return cls(names, [True] * len(names), nowhere, nowhere, np.zeros((len(families), 4)), vectors, families)

    def for_bank(self) -> SavedFamilies:
        """Return what a bank file keeps of them: the descriptions of the regions that are in a family."""
        members = self.families >= 0
        return self.of_bank(self.names, self.vectors[members], self.families[members])

    def label(self, number: int) -> str:
        """Return the name of a family by its number, ``SINGLE`` and ``NEW`` included."""
        return {NEW: NEW_LABEL, SINGLE: SINGLE_LABEL}.get(number) or self.names[number]

    @property
    def places(self) -> list[tuple[str, RelativeBox]]:
        """Sample and rounded box of each region, by which it is known when its id has changed."""
        return [place_of(sample, box.tolist()) for sample, box in zip(self.samples, self.boxes, strict=True)]

    @property
    def is_current(self) -> NDArray[np.bool_]:
        """Whether each region is still one of the run's."""
        return np.array([bool(id) for id in self.ids], bool)

    def only(self, selected: NDArray[np.bool_]) -> SavedFamilies:
        """Return them with some of the regions."""
        places = np.flatnonzero(selected)
        return replace(
            self,
            ids=[self.ids[i] for i in places],
            samples=[self.samples[i] for i in places],
            boxes=self.boxes[places],
            vectors=self.vectors[places],
            families=self.families[places],
        )

    def with_samples(self, ids: Mapping[str, str]) -> SavedFamilies:
        """Return them with other ids of samples, without regions of samples that have none; no region is current.

        Those of a bank file, which are of no sample, stay.
        """
        selected = self.only(np.array([not sample or sample in ids for sample in self.samples], bool))
        samples = [ids[sample] if sample else "" for sample in selected.samples]
        return replace(selected, samples=samples, ids=[""] * len(selected.ids))


def place_of(sample: str, box: Sequence[float]) -> tuple[str, RelativeBox]:
    """Return by what a region is known when its id has changed."""
    x, y, width, height = (round(value, 6) for value in box)
    return sample, (x, y, width, height)


def save_families(folder: Path, families: SavedFamilies) -> None:
    """Write the families of the run in a folder."""
    write_arrays(
        folder / FILE,
        {
            "boxes": families.boxes,
            "vectors": families.vectors,
            "families": families.families,
            "kept": np.array(families.kept, bool),
        },
        {name: json.dumps(getattr(families, name)) for name in ("names", "ids", "samples")},
    )


def read_families(folder: Path) -> SavedFamilies | None:
    """Read the families of the run in a folder; None if nobody has looked for them yet.

    Raises:
        RunError: if the file is damaged
    """
    file = folder / FILE
    if not file.is_file():
        return None
    with as_run_error(file):
        arrays, texts = map_arrays(file)
        names, ids, samples = (json.loads(texts[name]) for name in ("names", "ids", "samples"))
        if not all(isinstance(text, str) for texts in (names, ids, samples) for text in texts):
            raise RunError("its names are no texts")
        return SavedFamilies(
            names,
            arrays["kept"].tolist(),
            ids,
            samples,
            np.array(arrays["boxes"]).reshape(-1, 4),
            np.array(arrays["vectors"]),
            np.array(arrays["families"]),
        )
