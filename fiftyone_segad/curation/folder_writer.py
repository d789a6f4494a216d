"""Writes images and masks into folders in the layout of MVTec AD, or in that of anomalib's ``Folder``."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from PIL import Image

from ..data.layouts.mvtec import GROUND_TRUTH, SPLITS
from ..data.truth import GOOD
from ..registry.keys import ANOMALOUS, NORMAL
from ..utils.files import UniqueNames, safe_name
from .decisions import Decision, Decisions, Undecided

FOR_ANOMALIB = ("normal", "normal_test", "abnormal", "abnormal_without_mask", "masks")
NORMAL_FOLDER, NORMAL_TEST_FOLDER, ABNORMAL_FOLDER, UNMASKED_FOLDER, MASKS_FOLDER = FOR_ANOMALIB
"""Folders for anomalib."""

_NO_CATEGORY = "no category"

Entry = dict[str, Any]
"""JSON values of an image in the manifest."""


class Places(Protocol):
    """Where a layout of folders has images and masks.

    Attributes:
        reserved: names that no folder of a category may have
        mask_ending: end of the names of masks
        reads_any_case: whether suffixes may have capital letters
    """

    reserved: ClassVar[tuple[str, ...]]
    mask_ending: ClassVar[str]
    reads_any_case: ClassVar[bool]

    def split(self, decision: Decision) -> str:
        """Return the split of an image."""

    def image_folder(self, decision: Decision, split: str, defect: str) -> Path:
        """Return the folder of an image in that of its category."""

    def mask_folder(self, defect: str) -> Path:
        """Return the folder of the masks of a defect type in that of the category."""


@dataclass(frozen=True)
class MvtecPlaces:
    """MVTec AD: ``train/good``, ``test/<defect>`` and ``ground_truth/<defect>/<name>_mask.png``.

    Attributes:
        normals: split of normal images that have none
    """

    normals: str
    reserved: ClassVar[tuple[str, ...]] = (*SPLITS, GROUND_TRUTH)
    mask_ending: ClassVar[str] = "_mask"
    reads_any_case: ClassVar[bool] = True

    def split(self, decision: Decision) -> str:
        if decision.anomalous:
            return "test"
        split = SPLITS.get(decision.split or self.normals, self.normals)
        return "test" if split.startswith("test") else split

    def image_folder(self, decision: Decision, split: str, defect: str) -> Path:
        return Path(split, defect)

    def mask_folder(self, defect: str) -> Path:
        return Path(GROUND_TRUTH, defect)


@dataclass(frozen=True)
class AnomalibPlaces:
    """The folders that anomalib's ``Folder`` takes: normal images to train and test on, defective ones, masks.

    anomalib pairs defective images and masks by their order, so that those without a mask need a folder of their own.

    Attributes:
        normals: split of normal images that have none, where no run says more
        compared: ids of the images that a run compares with; if there are some, only these are to be trained on
    """

    normals: str
    compared: Collection[str]
    reserved: ClassVar[tuple[str, ...]] = FOR_ANOMALIB
    mask_ending: ClassVar[str] = ""
    reads_any_case: ClassVar[bool] = False

    def split(self, decision: Decision) -> str:
        if decision.anomalous:
            return "test"
        if self.compared:
            return "train" if decision.id in self.compared else "test"
        return "test" if (decision.split or self.normals).startswith("test") else "train"

    def image_folder(self, decision: Decision, split: str, defect: str) -> Path:
        if decision.anomalous:
            return Path(ABNORMAL_FOLDER if decision.mask is not None else UNMASKED_FOLDER, defect)
        return Path(NORMAL_FOLDER if split == "train" else NORMAL_TEST_FOLDER)

    def mask_folder(self, defect: str) -> Path:
        return Path(MASKS_FOLDER, defect)


def write_folders(
    folder: Path, decisions: Decisions, ids: Iterable[str], places: Places, symlink: bool, moved: Mapping[str, str]
) -> tuple[list[Entry], list[Undecided]]:
    """Write the images and masks of samples.

    Args:
        folder: the folder, which exists
        decisions: decides on the samples
        ids: the samples' ids
        places: the layout
        symlink: whether to link to the images instead of copying them
        moved: splits, by id, of images that go where others of their part go

    Returns:
        what was written, one entry per image, and the samples that were not

    Raises:
        ValueError: if none of the samples can be written
        OSError: if writing fails
    """
    writer = _FolderWriter(folder, decisions.categorised, places, symlink, moved)
    entries, undecided = [], []
    for id in ids:
        decision = decisions.decide(id)
        if isinstance(decision, Undecided):
            undecided.append(decision)
        else:
            entries.append(writer.write(decision))
    if not entries:
        raise ValueError(
            f"None of the samples can be exported. The first: {undecided[0].filepath}: {undecided[0].reason}"
        )
    return entries, undecided


class _FolderWriter:
    """Writes into a folder, each image under a name of its own.

    Args:
        folder: the folder
        categorised: whether it has one folder per category
        places: the layout
        symlink: whether to link to the images instead of copying them
        moved: splits, by id, of images that go where others of their part go
    """

    def __init__(
        self, folder: Path, categorised: bool, places: Places, symlink: bool, moved: Mapping[str, str]
    ) -> None:
        self._folder = folder
        self._categorised = categorised
        self._places = places
        self._symlink = symlink
        self._moved = moved
        # Each label has a folder of its own, also where two differ in characters that a name cannot have
        self._categories = _FolderNames(list(places.reserved))
        self._defects = _FolderNames([GOOD, GROUND_TRUTH])
        self._stems: defaultdict[Path, UniqueNames] = defaultdict(UniqueNames)

    def write(self, decision: Decision) -> Entry:
        """Write one image, and its mask if it has one; return its entry in the manifest.

        Raises:
            OSError: if that fails
        """
        source = Path(decision.filepath)
        split = self._moved.get(decision.id) or self._places.split(decision)
        defect = self._defects.of(decision.defect) if decision.anomalous else GOOD
        category = Path(self._categories.of(decision.category or _NO_CATEGORY) if self._categorised else ".")
        folder = category / self._places.image_folder(decision, split, defect)
        stem = safe_name(source.stem)
        if stem.lower().endswith("_mask"):  # or it could be taken for the mask of another one
            stem += "_"
        stem = self._stems[folder].take(stem)
        file = folder / f"{stem}{source.suffix if self._places.reads_any_case else source.suffix.lower()}"
        self._put(source, self._folder / file)
        mask = None
        if decision.mask is not None:
            mask = category / self._places.mask_folder(defect) / f"{stem}{self._places.mask_ending}.png"
            (self._folder / mask).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(decision.mask.astype(np.uint8) * 255).save(self._folder / mask)
        return _entry(decision, file, mask, split)

    def _put(self, source: Path, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        if self._symlink:
            target.symlink_to(source.resolve())
        else:
            shutil.copyfile(source, target)


def _entry(decision: Decision, file: Path, mask: Path | None, split: str) -> Entry:
    return {
        "id": decision.id,
        "source": Path(decision.filepath).name,
        "file": file.as_posix(),
        "mask": None if mask is None else mask.as_posix(),
        "decision": ANOMALOUS if decision.anomalous else NORMAL,
        "decided_by": decision.decided_by,
        "label": decision.defect,
        "category": decision.category,
        "split": split,
        "split_before": decision.split,
        "mask_from": decision.mask_field,
        "score": decision.score,
        "tags": decision.tags,
        "marks": [
            {
                "label": mark.label,
                "kind": mark.kind,
                "box": list(mark.box),
                "by": mark.by,
                "at": mark.at.isoformat(),
                "why": mark.why,
            }
            for mark in decision.marks
        ],
    }


class _FolderNames:
    """Names of folders by label."""

    def __init__(self, taken: list[str]) -> None:
        self._unique = UniqueNames(taken)
        self._by_label: dict[str, str] = {}

    def of(self, label: str) -> str:
        if label not in self._by_label:
            self._by_label[label] = self._unique.take(safe_name(label))
        return self._by_label[label]
