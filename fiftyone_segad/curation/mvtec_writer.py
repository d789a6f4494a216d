"""Writes images and masks into folders in the layout of MVTec AD, the reverse of ``load_mvtec``."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..data.layouts.mvtec import GROUND_TRUTH, SPLITS
from ..data.truth import GOOD
from ..registry.keys import ANOMALOUS, NORMAL
from ..utils.files import UniqueNames, safe_name
from .decisions import Decision, Decisions, Undecided

_NO_CATEGORY = "no category"

Entry = dict[str, Any]
"""JSON values of an image in the manifest."""


def write_mvtec(
    folder: Path, decisions: Decisions, ids: Iterable[str], normals: str, symlink: bool
) -> tuple[list[Entry], list[Undecided]]:
    """Write the images and masks of samples.

    Args:
        folder: the folder, which exists
        decisions: decides on the samples
        ids: the samples' ids
        normals: split of normal images that have none
        symlink: whether to link to the images instead of copying them

    Returns:
        what was written, one entry per image, and the samples that were not

    Raises:
        ValueError: if none of the samples can be written
        OSError: if writing fails
    """
    writer = _MvtecWriter(folder, decisions.categorised, normals, symlink)
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


class _MvtecWriter:
    """Writes into a folder, each image under a name of its own.

    Args:
        folder: the folder
        categorised: whether it has one folder per category
        normals: split of normal images that have none
        symlink: whether to link to the images instead of copying them
    """

    def __init__(self, folder: Path, categorised: bool, normals: str, symlink: bool) -> None:
        self._folder = folder
        self._categorised = categorised
        self._normals = normals
        self._symlink = symlink
        # Each label has a folder of its own, also where two differ in characters that a name cannot have
        self._categories = _FolderNames([*SPLITS, GROUND_TRUTH])
        self._defects = _FolderNames([GOOD, GROUND_TRUTH])
        self._stems: defaultdict[Path, UniqueNames] = defaultdict(UniqueNames)

    def write(self, decision: Decision) -> Entry:
        """Write one image, and its mask if it has one; return its entry in the manifest.

        Raises:
            OSError: if that fails
        """
        source = Path(decision.filepath)
        split = self._split(decision)
        defect = self._defects.of(decision.defect) if decision.anomalous else GOOD
        category = Path(self._categories.of(decision.category or _NO_CATEGORY) if self._categorised else ".")
        folder = category / split / defect
        stem = safe_name(source.stem)
        if stem.lower().endswith("_mask"):  # or it could be taken for the mask of another one
            stem += "_"
        stem = self._stems[folder].take(stem)
        file = folder / f"{stem}{source.suffix}"
        self._put(source, self._folder / file)
        mask = None
        if decision.mask is not None:
            mask = category / GROUND_TRUTH / defect / f"{stem}_mask.png"
            (self._folder / mask).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(decision.mask.astype(np.uint8) * 255).save(self._folder / mask)
        return _entry(decision, file, mask, split)

    def _split(self, decision: Decision) -> str:
        if decision.anomalous:
            return "test"
        split = SPLITS.get(decision.split or self._normals, self._normals)
        return "test" if split.startswith("test") else split

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
