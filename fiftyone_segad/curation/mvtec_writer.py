"""Writes images and masks into folders in the layout of MVTec AD, the reverse of ``load_mvtec``."""

from __future__ import annotations

import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..data.mvtec import SPLITS
from ..data.truth import GOOD
from ..registry.fields import ANOMALOUS, NORMAL
from ..utils.file_names import UniqueNames, safe_name
from .decisions import Decision

_GROUND_TRUTH = "ground_truth"
_NO_CATEGORY = "no category"


class MvtecFolder:
    """A folder that is being written.

    Args:
        folder: the folder, which is made
        categorised: whether it has a folder a category
        normals: split of normal images that have none
        symlink: whether to link to the images instead of copying them

    Attributes:
        entries: what was written, one dictionary of JSON values an image
    """

    def __init__(self, folder: Path, categorised: bool, normals: str, symlink: bool) -> None:
        folder.mkdir(parents=True)
        self.entries: list[dict[str, Any]] = []
        self._folder = folder
        self._categorised = categorised
        self._normals = normals
        self._symlink = symlink
        # Each label has a folder of its own, also where two differ in characters that a name cannot have
        self._categories = _Folders([*SPLITS, _GROUND_TRUTH])
        self._defects = _Folders([GOOD, _GROUND_TRUTH])
        self._stems: defaultdict[Path, UniqueNames] = defaultdict(UniqueNames)

    def add(self, decision: Decision) -> None:
        """Write one image, and its mask if it has one.

        Raises:
            OSError: if that fails
        """
        source = Path(decision.filepath)
        split = self._split(decision)
        defect = self._defects.of(decision.defect) if decision.anomalous else GOOD
        category = Path(self._categories.of(decision.category or _NO_CATEGORY) if self._categorised else ".")
        folder = category / split / defect
        stem = safe_name(source.stem)
        if stem.endswith("_mask"):  # or it could be taken for the mask of another one
            stem += "_"
        stem = self._stems[folder].take(stem)
        file = folder / f"{stem}{source.suffix}"
        self._put(source, self._folder / file)
        mask = None
        if decision.mask is not None:
            mask = category / _GROUND_TRUTH / defect / f"{stem}_mask.png"
            (self._folder / mask).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(decision.mask.astype(np.uint8) * 255).save(self._folder / mask)
        self.entries.append(
            {
                "id": decision.id,
                "source": source.name,
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
        )

    def _split(self, decision: Decision) -> str:
        if decision.anomalous:
            return "test"
        known = SPLITS.get(decision.split or self._normals, self._normals)
        return "test" if known.startswith("test") else known

    def _put(self, source: Path, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        if self._symlink:
            target.symlink_to(source.resolve())
        else:
            shutil.copyfile(source, target)


class _Folders:
    """Names of folders by label."""

    def __init__(self, taken: list[str]) -> None:
        self._names = UniqueNames(taken)
        self._known: dict[str, str] = {}

    def of(self, label: str) -> str:
        if label not in self._known:
            self._known[label] = self._names.take(safe_name(label))
        return self._known[label]
