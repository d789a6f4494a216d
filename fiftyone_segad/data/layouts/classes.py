"""Folders as classes: one for normal images, others for defective ones, and maybe one for masks, as in anomalib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePath

from ..classes import is_normal, plain_name
from ..image_files import ImageFile, Listing, images_outside, list_folders, list_images
from ..mask_folder import MASK, MaskFolder
from ..truth import GOOD
from .base import Layout

_DEFECTIVE = frozenset(
    {"abnormal", "anomaly", "anomalous", "bad", "defect", "defects", "defective", "faulty", "ko", "ng", "nok", "not ok"}
    | {"reject", "rejects", "abnormal without mask"}
)
"""Names of folders of defective images, as ``plain_name`` gives them.

Folders in them, and all others, are named after defect types."""

_MASKS = frozenset({"mask", "masks", "ground truth", "groundtruth", "gt", "label", "labels", "annotations"})
"""Names of folders of masks."""

_ENDINGS = (MASK, "_gt", "_label", "_seg")

_TEST = " test"
"""End of the name of a folder of normal images to test on, as in anomalib: ``normal_test``."""


def _is_good(folder: Path) -> bool:
    return is_normal(plain_name(folder.name).removesuffix(_TEST))


def _recognises(root: Path) -> bool:
    folders = list_folders(root)
    return any(_is_good(folder) or plain_name(folder.name) in _DEFECTIVE for folder in folders)


def _list_files(root: Path, categories: Sequence[str] | None) -> Listing:
    folders = list_folders(root)
    mask_folder = next((folder for folder in folders if plain_name(folder.name) in _MASKS), None)
    classes = [folder for folder in folders if plain_name(folder.name) not in _MASKS]
    listing = Listing(expects_masks=mask_folder is not None)
    has_test = any(_is_good(folder) and _is_test(folder) for folder in classes)
    images = [
        (folder, ImageFile(path, None, _split(folder) if has_test else None, _defect(folder, path)))
        for folder in classes
        for path in list_images(folder, listing.problems)
    ]
    listing.images = [image for _, image in images]
    if mask_folder is not None:
        _assign_masks(listing, mask_folder, images)
    listing.problems += images_outside(root, [folder.name for folder in (*classes, mask_folder) if folder is not None])
    return listing


def _defect(folder: Path, path: Path) -> str:
    """Return the defect type of an image in the folder of a class."""
    if _is_good(folder):
        return GOOD
    inner = path.relative_to(folder).parts
    return inner[0] if plain_name(folder.name) in _DEFECTIVE and len(inner) > 1 else folder.name


def _is_test(folder: Path) -> bool:
    return plain_name(folder.name).endswith(_TEST)


def _split(folder: Path) -> str:
    return "train" if _is_good(folder) and not _is_test(folder) else "test"


def _assign_masks(listing: Listing, mask_folder: Path, images: list[tuple[Path, ImageFile]]) -> None:
    """Give images their masks, which lie in folders of the classes' names, or all together."""
    masks = MaskFolder(mask_folder, listing.problems, _ENDINGS)
    defective = set()
    for folder, image in sorted(images, key=lambda entry: entry[1].defect == GOOD):
        name = image.path.relative_to(folder).with_suffix("")
        if (mask_folder / folder.name).is_dir():
            name = Path(folder.name) / name
        elif image.defect != GOOD:
            defective.add(name)
        elif name in defective:
            continue  # the mask of a name is that of the defective image
        masks.add(image, PurePath(name))
    listing.problems += masks.assign()


CLASSES = Layout(
    "classes",
    "Folders as classes",
    "good (or ok, normal) and a folder of each defect type, and maybe masks of the same names in masks",
    _recognises,
    _list_files,
    takes_any=True,
)
