"""KolektorSDD and KolektorSDD2: each image has its mask beside it, and only the mask says whether it is defective."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from ..image_files import ImageFile, Listing, list_folders, list_images, printable
from .base import Layout

_LABEL, _GT = "_label", "_gt"
"""Ends of the names of masks, in lower case: of KolektorSDD, and of KolektorSDD2."""

_SPLITS = ("train", "test")

_COPY = r"(?: ?\(\d+\)| - .+| copy(?: \d+)?)?"
"""What systems add to the names of copies: that of a mask is no image."""


def _has_masks(folder: Path, ending: str) -> bool:
    """Return whether a mask with this ending lies beside its image."""
    stems = {path.stem for path in folder.iterdir()} if folder.is_dir() else set()
    return any(stem.lower().endswith(ending) and stem[: -len(ending)] in stems for stem in stems)


def _recognises_sdd(root: Path) -> bool:
    return any(_has_masks(folder, _LABEL) for folder in list_folders(root))


def _recognises_sdd2(root: Path) -> bool:
    return any(_has_masks(root / split, _GT) for split in _SPLITS)


def _list_sdd(root: Path, categories: Sequence[str] | None) -> Listing:
    """List the images of KolektorSDD, where a folder is a part and its images are the sides of it."""
    listing = Listing()
    for folder in list_folders(root):

        def make(path: Path, part: str = folder.name) -> ImageFile:
            return ImageFile(path, None, None, None, mask_decides=True, part_id=part, view=path.stem)

        _add_pairs(listing, folder, _LABEL, make)
    return listing


def _list_sdd2(root: Path, categories: Sequence[str] | None) -> Listing:
    listing = Listing()
    for split in _SPLITS:
        make = partial(ImageFile, category=None, split=split, defect=None, mask_decides=True)
        _add_pairs(listing, root / split, _GT, make)
    return listing


def _add_pairs(listing: Listing, folder: Path, ending: str, make: Callable[[Path], ImageFile]) -> None:
    """Add the images of a folder, each with the mask of its name and this ending."""
    masks: defaultdict[str, list[Path]] = defaultdict(list)
    images = []
    mask_name = re.compile(rf"(.*){ending}({_COPY})", re.IGNORECASE)
    for path in list_images(folder, listing.problems, recursive=False):
        if match := mask_name.fullmatch(path.stem):
            masks[match[1] + match[2]].append(path)
        else:
            images.append(make(path))
    for image in images:
        image.masks = masks.pop(image.path.stem, [])
    listing.images += images
    listing.problems += [f"'{printable(path)}' is a mask without an image" for left in masks.values() for path in left]


KOLEKTOR_SDD = Layout(
    "kolektor_sdd",
    "KolektorSDD",
    "kos01/Part0.jpg with kos01/Part0_label.bmp beside it, and so on",
    _recognises_sdd,
    _list_sdd,
)

KOLEKTOR_SDD2 = Layout(
    "kolektor_sdd2",
    "KolektorSDD2",
    "train/10000.png with train/10000_GT.png beside it, and test",
    _recognises_sdd2,
    _list_sdd2,
)
