"""Real-IAD: a JSON file for each category says what its images show; each part is seen from five sides."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ...utils.files import read_json
from ..classes import is_normal
from ..image_files import ImageFile, Listing, is_hidden, is_listed_image, list_folders
from ..truth import GOOD
from .base import Layout

_JSONS = (Path("realiad_jsons", "realiad_jsons"), Path("realiad_jsons"), Path())
"""Folders in which the JSON files may be, that of all views first."""

_IMAGES = ("realiad_raw", "realiad_1024", "realiad_512", "realiad_256")
"""Folders of images, the finest first."""

_KINDS = {
    "AK": "pit",
    "BX": "deformation",
    "CH": "abrasion",
    "HS": "scratch",
    "PS": "damage",
    "QS": "missing parts",
    "YW": "foreign objects",
    "ZW": "contamination",
}
"""Defect types by the letters that stand for them."""

_SPLITS = ("train", "test")

_SHOWN = 200
"""Characters of a wrong entry that a message shows."""

_PART_AND_VIEW = re.compile(r"(?:^|/)(S\d+)/[^/]*_(C\d+)_[^/]*$")


def _descriptions(root: Path) -> dict[str, Path]:
    """Find the JSON file of each category whose images are there."""
    for base in (root, root.parent):  # where one of the folders of images is named
        for folder in _JSONS:
            files = sorted(file for file in (base / folder).glob("*.json") if not is_hidden(file))
            described = {file.stem: file for file in files if _image_folder(root, file.stem) is not None}
            if described:
                return described
    return {}


def _image_folder(root: Path, category: str) -> Path | None:
    """Return the folder of a category's images."""
    places = (root / name / category for name in (*_IMAGES, "."))
    folders = (folder for place in places for folder in (place, place / category))  # as some programs unpack archives
    return next((folder for folder in folders if (folder / "OK").is_dir()), None)


def _recognises(root: Path) -> bool:
    places = [root / name for name in (*_IMAGES, ".")]
    has_images = any(_image_folder(root, category.name) for place in places for category in list_folders(place))
    return has_images and bool(_descriptions(root))


def _list_files(root: Path, categories: Sequence[str] | None) -> Listing:
    listing = Listing()
    for category, file in _descriptions(root).items():
        folder = _image_folder(root, category)
        if folder is None or (categories is not None and category not in categories):
            continue
        for split, entry in _entries(file):
            path = folder / entry["image_path"]
            if is_listed_image(path, f"'{file.name}'", listing.problems):
                listing.images.append(_image(path, category, split, entry, folder))
    return listing


def _entries(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the split of each image, and what the file says of it.

    Raises:
        ValueError: if it is no such file
    """
    described = read_json(file)
    if described is None:
        raise ValueError(f"'{file}' is not a JSON file of Real-IAD: it is damaged, or no JSON object")
    for split in _SPLITS:
        entries = described.get(split, [])
        if not isinstance(entries, list):
            raise ValueError(f"'{file}' is not a JSON file of Real-IAD: '{split}' is no list of images")
        for number, entry in enumerate(entries):
            if not _is_entry(entry):
                raise ValueError(
                    f"'{file}' is not a JSON file of Real-IAD: '{split}' is no list of images with texts as "
                    f"image_path, anomaly_class and mask_path: its number {number} is {repr(entry)[:_SHOWN]}"
                )
            yield split, entry


def _is_entry(entry: Any) -> bool:
    if not isinstance(entry, dict):
        return False
    texts = [entry.get("image_path"), entry.get("anomaly_class"), entry.get("mask_path") or ""]
    return all(isinstance(text, str) for text in texts)


def _image(path: Path, category: str, split: str, entry: dict[str, Any], folder: Path) -> ImageFile:
    # A side of a defective part on which nothing is to be seen lies with the defective ones, but is called OK
    kind = entry["anomaly_class"]
    defect = GOOD if is_normal(kind) else _KINDS.get(kind, kind)
    match = _PART_AND_VIEW.search(path.as_posix())
    # Numbers of parts begin anew in each folder of defects
    part = path.parent.relative_to(folder).as_posix() if match else None
    mask = entry.get("mask_path")
    masks = [folder / mask] if mask else []
    return ImageFile(path, category, split, defect, masks, part_id=part, view=match[2] if match else None)


REAL_IAD = Layout(
    "real_iad",
    "Real-IAD",
    "realiad_jsons/<category>.json and realiad_1024/<category>/OK and NG (or another size)",
    _recognises,
    _list_files,
    lambda root: list(_descriptions(root)),
)
