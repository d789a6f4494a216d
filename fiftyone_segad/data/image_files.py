"""Image files in folders, and the masks that are theirs: what all layouts of folders have in common."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from ..errors import ImageError
from ..utils.images import read_header
from ..utils.listing import IMAGE_SUFFIXES
from ..utils.text import pluralize

OTHER_SUFFIXES = frozenset(
    {
        *(".heic", ".heif", ".hif", ".jxl", ".jxr", ".dib", ".tga", ".pcx", ".ico", ".svg", ".eps", ".psd", ".xcf"),
        *(".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".exr", ".hdr", ".pfm", ".mpo"),
        *(".npy", ".npz", ".mat", ".fits", ".dcm", ".nii", ".mp4", ".avi", ".mov", ".mkv"),
    }
)
"""Suffixes of files that hold pictures which are not read."""

_HIDDEN_NAMES = frozenset({"__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found"})
"""Folders that systems make, in lower case."""


@dataclass
class ImageFile:
    """An image with the masks that are its own.

    Attributes:
        path: its file
        category: name of its product, if it has one
        split: what its sample has as ``split``
        defect: name of its defect type, ``good`` for a normal image, or None if nothing says it
        masks: files of its ground truth; several are parts of one
        problems: why its masks cannot be used
        mask_decides: whether the mask alone says if the image is defective: it is normal if its mask is empty
        part_id: the part that it shows, if others may show the same one
        view: the side or camera from which it shows it
    """

    path: Path
    category: str | None
    split: str | None
    defect: str | None
    masks: list[Path] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    mask_decides: bool = False
    part_id: str | None = None
    view: str | None = None


@dataclass
class Listing:
    """The images of a folder.

    Attributes:
        images: the images
        problems: what else was found, and why it is not used
        expects_masks: whether a defective image without a mask is a problem
    """

    images: list[ImageFile] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    expects_masks: bool = True


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
    try:
        return os.fsencode(path).decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # a name out of a table, which no disk can hold
        return str(path).encode("utf-8", "backslashreplace").decode()


def is_file(path: Path) -> bool:
    """Return whether there is a file of a name that a table holds, which may be too long for any disk."""
    try:
        return path.is_file()
    except OSError:
        return False


def is_listed_image(path: Path, source: str, problems: list[str]) -> bool:
    """Return whether a file that is listed somewhere is there and can be read as an image; else note what is wrong.

    Args:
        path: the file
        source: what lists it, for people
        problems: gets what is wrong
    """
    if not is_file(path):
        problems.append(f"'{printable(path)}' is in {source}, but there is no such file")
    elif path.suffix.lower() not in IMAGE_SUFFIXES:
        problems.append(f"'{printable(path)}' is in {source}, but its suffix is none of an image")
    else:
        return True
    return False


def list_folders(folder: Path) -> list[Path]:
    """List the folders in a folder that may be absent, but for hidden ones."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:  # which knows folders without asking the disk for each file
        paths = [folder / entry.name for entry in entries if _is_folder(entry)]
    return sorted(path for path in paths if not is_hidden(path))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a folder, or a link to one; links may lead nowhere, or round."""
    return os.path.isdir(entry.path) and not leads_back(entry.path) if entry.is_symlink() else entry.is_dir()


def leads_back(path: str | Path) -> bool:
    """Return whether a folder is a link to one that it lies in: what is there is not in it once more."""
    if not os.path.islink(path):
        return False
    target, place = Path(os.path.realpath(path)), Path(os.path.realpath(os.path.dirname(path)))
    return target == place or target in place.parents


def holds_more_files(folder: Path, limit: int) -> bool:
    """Return whether a folder and those within it hold more files than a number; it looks at no more than that."""
    count = 0
    for _, folders, names in os.walk(folder):
        count += len(folders) + len(names)
        if count > limit:
            return True
    return False


def list_images(folder: Path, problems: list[str], recursive: bool = True) -> list[Path]:
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
        elif recursive and os.path.realpath(path) not in visited and not leads_back(path):
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
    for place in list_folders(folder):
        if place.name not in expected and (images := count(place)):
            yield f"'{printable(place)}' is none of {list(expected)}: {pluralize(images, 'image')} in it not loaded"
