"""MVTec AD, LOCO AD and AD 2, and what lies as they do: BTAD, MPDD, AutoVI and the one-class form of VisA."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path, PurePath

from ..classes import is_normal
from ..image_files import ImageFile, Listing, images_outside, list_folders, list_images, printable
from ..mask_folder import MaskFolder
from ..truth import GOOD
from .base import Layout

SPLITS = {
    "train": "train",
    "validation": "validation",
    "test": "test",
    "test_public": "test",
    "test_private": "test_private",
    "test_private_mixed": "test_private_mixed",
}
"""Folders of a category, and the ``split`` of samples in them."""

GROUND_TRUTH = "ground_truth"

VISA_CATEGORIES = frozenset(
    {"candle", "capsules", "cashew", "chewinggum", "fryum", "macaroni1", "macaroni2", "pipe_fryum"}
    | {f"pcb{number}" for number in range(1, 5)}
)

_MPDD_CATEGORIES = frozenset({"bracket_black", "bracket_brown", "bracket_white", "connector", "metal_plate", "tubes"})

_AUTOVI_CATEGORIES = frozenset(
    {"engine_wiring", "pipe_clip", "pipe_staple", "tank_screw", "underbody_pipes", "underbody_screw"}
)


def is_category(folder: Path) -> bool:
    """Return whether a folder holds one of the splits."""
    return any(os.path.isdir(folder / split) for split in SPLITS)  # False where it may not be read


def category_folders(root: Path) -> list[Path]:
    """List the folders of categories: the folder itself if it is one, else those in it that are.

    One may lie in a folder of its own name, as some programs unpack archives.
    """
    if is_category(root):
        return [root]
    places = ((folder, folder / folder.name) for folder in list_folders(root))
    return [folder for pair in places for folder in pair if is_category(folder)]


def category_names(root: Path) -> list[str]:
    """List the names of the categories, but for those that are not UTF-8, which no form can show."""
    return [folder.name for folder in category_folders(root) if printable(folder) == str(folder)]


def list_mvtec(root: Path, categories: Sequence[str] | None) -> Listing:
    """List the images of these categories, or of all."""
    folders = [folder for folder in category_folders(root) if categories is None or folder.name in categories]
    listing = Listing()
    for folder in folders:
        _add_category(listing, folder)
    if categories is None and folders != [root]:
        listing.problems += images_outside(root, [folder.name for folder in folders])
    return listing


def _add_category(listing: Listing, folder: Path) -> None:
    truths: dict[Path, MaskFolder] = {}
    for split_folder, split in SPLITS.items():
        truth = _ground_truth(folder, split_folder)
        if truth is not None and truth not in truths:
            truths[truth] = MaskFolder(truth, listing.problems)
        for path in list_images(folder / split_folder, listing.problems, recursive=False):
            listing.images.append(ImageFile(path, folder.name, split, None))
        for defect in list_folders(folder / split_folder):
            if defect.name == GROUND_TRUTH:
                continue
            label = GOOD if is_normal(defect.name) else defect.name
            for path in list_images(defect, listing.problems):
                image = ImageFile(path, folder.name, split, label)
                listing.images.append(image)
                if truth is not None:
                    truths[truth].add(image, PurePath(defect.name) / path.relative_to(defect).with_suffix(""))
    for masks in truths.values():
        listing.problems += masks.assign()
    listing.problems += images_outside(folder, [*SPLITS, GROUND_TRUTH])


def _ground_truth(folder: Path, split: str) -> Path | None:
    """Return the folder of a split's ground truth: in the split's folder (AD 2), or beside it; only tests have one."""
    if not split.startswith("test"):
        return None
    inside = folder / split / GROUND_TRUTH
    return inside if inside.is_dir() else folder / GROUND_TRUTH


def _layout(name: str, title: str, holds: str, is_like: Callable[[Path], bool]) -> Layout:
    """Make a layout whose categories all look like it."""

    def recognises(root: Path) -> bool:
        folders = category_folders(root)
        return bool(folders) and all(is_like(folder) for folder in folders)

    return Layout(name, title, holds, recognises, list_mvtec, category_names)


_LIKE_MVTEC = "train/good, test/<defect> and ground_truth/<defect>/<name>_mask.png, or categories with them"

MVTEC_LAYOUTS = [
    _layout(
        "mvtec_ad2",
        "MVTec AD 2",
        "train/good, validation/good, test_public/<defect> with its ground_truth, test_private",
        lambda folder: any((folder / split).is_dir() for split in SPLITS if split.startswith("test_")),
    ),
    _layout(
        "autovi",
        "AutoVI",
        "train/good, test/<defect> and ground_truth/<defect>/<name>/*.png",
        lambda folder: folder.name in _AUTOVI_CATEGORIES,
    ),
    _layout(
        "mvtec_loco",
        "MVTec LOCO AD",
        "train/good, validation/good, test/<defect> and ground_truth/<defect>/<name>/*.png",
        lambda folder: (folder / "test" / "logical_anomalies").is_dir(),
    ),
    _layout(
        "btad",
        "BTAD",
        "train/ok, test/ok, test/ko and ground_truth/ko",
        lambda folder: (folder / "train" / "ok").is_dir() and (folder / "test" / "ko").is_dir(),
    ),
    _layout("mpdd", "MPDD", _LIKE_MVTEC, lambda folder: folder.name in _MPDD_CATEGORIES),
    _layout(
        "visa_1cls",
        "VisA (one-class form)",
        "train/good, test/good, test/bad and ground_truth/bad",
        lambda folder: folder.name in VISA_CATEGORIES,
    ),
    _layout("mvtec", "MVTec AD", _LIKE_MVTEC, lambda folder: True),
]
"""Layouts that are read alike; the last of them takes what is like MVTec AD but none of the others."""
