"""Find the images and masks of a category in the layouts of MVTec AD, MVTec LOCO AD and MVTec AD 2."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from ..errors import ImageError
from ..utils.images import read_header
from ..utils.text import pluralize
from .classes import is_normal
from .truth import GOOD

IMAGE_SUFFIXES = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".avif"),
    *(".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm"),
)
"""Suffixes of files that are read as images."""

OTHER_SUFFIXES = frozenset(
    {
        *(".heic", ".heif", ".hif", ".jxl", ".jxr", ".dib", ".tga", ".pcx", ".ico", ".svg", ".eps", ".psd", ".xcf"),
        *(".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".exr", ".hdr", ".pfm", ".mpo"),
        *(".npy", ".npz", ".mat", ".fits", ".dcm", ".nii", ".mp4", ".avi", ".mov", ".mkv"),
    }
)
"""Suffixes of files that hold pictures which are not read."""

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

_HIDDEN_NAMES = frozenset({"__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found"})
"""Folders that systems make, in lower case."""

_MASK = "_mask"
"""End of the names of masks in MVTec AD."""


@dataclass
class ImageFile:
    """An image with the masks that are its own.

    Attributes:
        path: its file
        category: name of its product
        split: what its sample has as ``split``
        defect: name of its defect type, ``good`` for a normal image, or None if it is in no folder of one
        masks: files of its ground truth; several are parts of one
        problems: why its masks cannot be used
    """

    path: Path
    category: str
    split: str
    defect: str | None
    masks: list[Path] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@dataclass
class CategoryFiles:
    """The files of a category.

    Attributes:
        images: its images
        problems: what else was found, and why it is not used
    """

    images: list[ImageFile] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def is_category(folder: Path) -> bool:
    """Return whether a folder holds one of the splits."""
    return any((folder / split).is_dir() for split in SPLITS)


def is_hidden(path: PurePath) -> bool:
    """Return whether a file or folder is one that people do not see.

    Examples:
        >>> [is_hidden(PurePath(name)) for name in ("._000.png", ".ipynb_checkpoints", "__MACOSX", "000.png")]
        [True, True, True, False]
    """
    return path.name.startswith(".") or path.name.lower() in _HIDDEN_NAMES


def printable(path: PurePath) -> str:
    r"""Return a path as text that any file and database can hold.

    Examples:
        >>> printable(PurePath(os.fsdecode(b"ma\xdf.png")))
        'ma\\xdf.png'
    """
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def find_files(folder: Path) -> CategoryFiles:
    """Find the files of a category."""
    category = CategoryFiles()
    truths: dict[Path, _Masks] = {}
    for split_folder, split in SPLITS.items():
        truth = _ground_truth(folder, split_folder)
        if truth is not None and truth not in truths:
            truths[truth] = _Masks(truth, category.problems)
        for path in _files(folder / split_folder, category.problems, recursive=False):
            category.images.append(ImageFile(path, folder.name, split, None))
        for defect in _folders(folder / split_folder):
            if defect.name == GROUND_TRUTH:
                continue
            label = GOOD if is_normal(defect.name) else defect.name
            for path in _files(defect, category.problems):
                image = ImageFile(path, folder.name, split, label)
                category.images.append(image)
                if truth is not None:
                    truths[truth].add(image, defect)
    for masks in truths.values():
        category.problems += masks.assign()
    category.problems += images_outside(folder, [*SPLITS, GROUND_TRUTH])
    return category


def _ground_truth(folder: Path, split: str) -> Path | None:
    """Return the folder of a split's ground truth: in the split's folder (AD 2), or beside it; only tests have one."""
    if not split.startswith("test"):
        return None
    inside = folder / split / GROUND_TRUTH
    return inside if inside.is_dir() else folder / GROUND_TRUTH


def _folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and not is_hidden(path))


def _files(folder: Path, problems: list[str], recursive: bool = True) -> list[Path]:
    """List the images in a folder, and note the pictures that cannot be read."""
    images = []
    for path in sorted(_walk(folder, problems, set(), recursive)):
        suffix = path.suffix.lower()
        if suffix in IMAGE_SUFFIXES:
            images.append(path)
        elif suffix in OTHER_SUFFIXES:
            problems.append(f"'{printable(path)}' is not read; convert it to one of {', '.join(IMAGE_SUFFIXES)}")
        elif _is_image(path):
            problems.append(f"'{printable(path)}' is not read: its suffix is none of an image; rename it")
    return images


def _walk(folder: Path, problems: list[str], visited: set[str], recursive: bool = True) -> Iterator[Path]:
    """Yield the files in a folder, and in folders in it unless these were visited before: links may go round."""
    visited.add(os.path.realpath(folder))
    try:
        paths = list(folder.iterdir()) if folder.is_dir() else []
    except OSError as error:
        problems.append(f"'{printable(folder)}' cannot be read: {error.strerror}")
        return
    for path in paths:
        if is_hidden(path):
            continue
        if not path.is_dir():  # a link that leads nowhere is told when it is read
            yield path
        elif recursive and os.path.realpath(path) not in visited:
            yield from _walk(path, problems, visited)


def _is_image(path: Path) -> bool:
    try:
        read_header(str(path))
    except ImageError:
        return False
    return True


def images_outside(folder: Path, expected: Collection[str]) -> Iterator[str]:
    """Tell of images in a folder that are in none of the folders which are expected in it."""

    def count(place: Path, recursive: bool = True) -> int:
        return sum(path.suffix.lower() in IMAGE_SUFFIXES for path in _walk(place, [], set(), recursive))

    if loose := count(folder, recursive=False):
        yield f"'{printable(folder)}' holds {pluralize(loose, 'image')} outside of {list(expected)}, not loaded"
    for place in _folders(folder):
        if place.name not in expected and (images := count(place)):
            yield f"'{printable(place)}' is none of {list(expected)}: {pluralize(images, 'image')} in it not loaded"


class _Masks:
    """The masks in a folder of ground truth, and the images that they may be of.

    Args:
        folder: the folder, which may be absent
        problems: gets what cannot be read
    """

    def __init__(self, folder: Path, problems: list[str]) -> None:
        self._folder = folder
        self._files = _files(folder, problems)
        self._images: defaultdict[PurePath, list[ImageFile]] = defaultdict(list)

    def add(self, image: ImageFile, defect: Path) -> None:
        """Add an image, whose masks lie in the folder of its defect type as it does itself."""
        self._images[PurePath(defect.name) / image.path.relative_to(defect).with_suffix("")].append(image)

    def assign(self) -> list[str]:
        """Give each image its masks, and none that could be another one's; return what is told of the others."""
        named: defaultdict[PurePath, list[Path]] = defaultdict(list)
        parts: defaultdict[PurePath, list[Path]] = defaultdict(list)
        orphans = set()
        for file in self._files:
            place = file.relative_to(self._folder)
            names = [PurePath(place.parent, stem) for stem in (_without_mask(place.stem), place.stem)]
            used = [name for name in names if name in self._images]
            if used:
                named[used[0]].append(file)
            elif place.parent in self._images:  # of LOCO, in a folder of the image's name
                parts[place.parent].append(file)
            else:
                orphans.add(file.parent if len(place.parts) > 2 else file)
        for name, images in self._images.items():
            _choose(images, named[name], parts[name])
        return [f"'{printable(path)}' is a mask without an image" for path in sorted(orphans)]


def _choose(images: list[ImageFile], named: list[Path], parts: list[Path]) -> None:
    """Give images of one name their masks: those of the same name, or the parts of one."""
    masks = [*named, *parts]
    if images[0].defect == GOOD and (len(images) > 1 or len(masks) > 1):
        return  # all of a good image is normal, whatever its mask is called
    if len(images) > 1 and masks:
        by_suffix = {mask.suffix.lower(): [mask] for mask in named}
        suffixes = {image.path.suffix.lower() for image in images}
        if len(masks) == len(by_suffix) == len(suffixes) == len(images) and suffixes == set(by_suffix):
            for image in images:
                image.masks = by_suffix[image.path.suffix.lower()]
            return
        names = " or ".join(f"'{printable(image.path)}'" for image in images)
        for image in images:
            image.problems.append(f"'{printable(masks[0])}' could be the mask of {names}; name them differently")
    elif len(named) > 1 or (named and parts):
        names = " and ".join(f"'{printable(mask)}'" for mask in masks[:2])
        images[0].problems.append(f"{names} are both masks of '{printable(images[0].path)}'; keep one")
    else:
        images[0].masks = masks


def _without_mask(stem: str) -> str:
    return stem[: -len(_MASK)] if stem.lower().endswith(_MASK) else stem
