"""MVTec 3D AD: colour images, points and masks of each defect type in folders of their own. Only colours are read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePath

from ..classes import is_normal
from ..image_files import ImageFile, Listing, list_folders, list_images
from ..mask_folder import MaskFolder
from ..truth import GOOD
from .base import Layout
from .mvtec import SPLITS, category_folders, category_names

_COLOURS, _MASKS = "rgb", "gt"


def _recognises(root: Path) -> bool:
    return any((folder / "train" / "good" / _COLOURS).is_dir() for folder in category_folders(root))


def _list_files(root: Path, categories: Sequence[str] | None) -> Listing:
    listing = Listing()
    for folder in category_folders(root):
        if categories is not None and folder.name not in categories:
            continue
        for split_folder, split in SPLITS.items():
            for defect in list_folders(folder / split_folder):
                _add_defect(listing, defect, folder.name, split)
    return listing


def _add_defect(listing: Listing, defect: Path, category: str, split: str) -> None:
    label = GOOD if is_normal(defect.name) else defect.name
    masks = MaskFolder(defect / _MASKS, listing.problems)
    for path in list_images(defect / _COLOURS, listing.problems):
        image = ImageFile(path, category, split, label)
        listing.images.append(image)
        masks.add(image, PurePath(path.relative_to(defect / _COLOURS).with_suffix("")))
    listing.problems += masks.assign()


MVTEC_3D = Layout(
    "mvtec_3d",
    "MVTec 3D AD (its colour images)",
    "train/good/rgb, test/<defect>/rgb and test/<defect>/gt",
    _recognises,
    _list_files,
    category_names,
)
