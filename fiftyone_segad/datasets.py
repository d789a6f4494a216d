"""Loaders: from folders in MVTec layout to FiftyOne datasets."""

from __future__ import annotations

import logging
import mimetypes
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import fiftyone as fo

from .errors import ImageError
from .fields import zero_mask
from .images import read_header
from .runs import dataset_folder
from .threads import usable_cores
from .truth import GOOD

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")

SPLITS = ("train", "test")

PROBLEM_TAG = "problem"
"""Tag of samples whose image or mask cannot be used."""

_SHOWN = 5
"""Problems that a message lists by name; the others are counted."""


def load_mvtec(
    dataset_dir: str | Path,
    name: str | None = None,
    categories: Sequence[str] | str | None = None,
    persistent: bool = False,
) -> fo.Dataset:
    """Loads one category, or a folder of categories, in the layout of MVTec AD.

    The layout of a category is ``train/good/*``, ``test/<defect>/*`` and
    ``ground_truth/<defect>/<name>_mask.png`` (nonzero on defects). The samples get ``category`` and ``defect``
    (Classification; "good" is normal), ``split`` ("train" or "test") and ``defect_mask`` (Segmentation). Good
    images share one zero mask a size, so that false alarms on them count in an evaluation. No image or mask is
    copied.

    What does not fit together is told by name in a warning and in ``dataset.info["problems"]``, and the samples
    are tagged ``problem``: images that cannot be read, defective images without a mask, masks that cannot be read
    or have another size than their image (these are left out), and masks without an image.

    Args:
        dataset_dir: folder of one category, or of several
        name (None): name of the dataset; by default FiftyOne makes one
        categories (None): names of the categories to load; by default all
        persistent (False): whether the dataset stays in the database

    Returns:
        a :class:`fiftyone.core.dataset.Dataset`

    Raises:
        FileNotFoundError: if the folder does not exist or is not in this layout
        ValueError: if a category does not exist, or the name is taken
    """
    root = Path(dataset_dir).expanduser().absolute()
    folders = _category_folders(root, categories)
    if name is not None and fo.dataset_exists(name):
        raise ValueError(f"Dataset '{name}' exists; pass another name, or use it: fo.load_dataset('{name}')")
    entries = [entry for folder in folders for entry in _entries(folder)]
    if not entries:
        raise FileNotFoundError(f"'{root}' holds no images ({', '.join(IMAGE_SUFFIXES)})")
    with ThreadPoolExecutor(usable_cores()) as threads:
        list(threads.map(_Entry.check, entries))
    problems = [problem for entry in entries for problem in entry.problems]
    problems += [f"'{mask}' is a mask without an image" for mask in _orphan_masks(folders, entries)]

    dataset = fo.Dataset(name, persistent=persistent)
    try:
        dataset.add_samples([_sample(dataset, entry) for entry in entries], progress=False)
        dataset.info = {"dataset_dir": str(root), "problems": problems}
        dataset.mask_targets = {"defect_mask": {255: "defect"}}
        dataset.save()
    except BaseException:
        dataset.delete()
        raise
    if problems:
        shown = "".join(f"\n  {problem}" for problem in problems[:_SHOWN])
        more = f"\n  ... {len(problems) - _SHOWN} more in dataset.info['problems']" if len(problems) > _SHOWN else ""
        logger.warning("%d problems in '%s':%s%s", len(problems), root, shown, more)
    return dataset


def category_names(dataset_dir: str | Path) -> list[str]:
    """Names of the categories that a folder holds.

    Raises:
        FileNotFoundError: if the folder does not exist or is not in MVTec layout
    """
    return [folder.name for folder in _category_folders(Path(dataset_dir).expanduser().absolute(), None)]


@dataclass
class _Entry:
    """An image with what belongs to it."""

    path: Path
    category: str
    split: str
    defect: str
    mask: Path | None
    metadata: fo.ImageMetadata | None = None
    size: tuple[int, int] | None = None
    problems: list[str] = field(default_factory=list)

    def check(self) -> None:
        """Reads the headers of image and mask and notes what does not fit."""
        try:
            header = read_header(str(self.path))
            self.size = header.size
            self.metadata = fo.ImageMetadata(
                size_bytes=self.path.stat().st_size,
                mime_type=mimetypes.guess_type(self.path)[0],
                width=header.size[0],
                height=header.size[1],
                num_channels=header.channels,
            )
        except ImageError as error:
            self.problems.append(str(error))
        if self.mask is None:
            if self.defect != GOOD:
                self.problems.append(f"'{self.path}' shows '{self.defect}' but has no mask")
            return
        try:
            size = read_header(str(self.mask)).size
        except ImageError as error:
            self.problems.append(str(error))
            self.mask = None
            return
        if self.size is not None and size != self.size:
            self.problems.append(
                f"'{self.mask}' is {size[0]} x {size[1]} px, its image {self.size[0]} x {self.size[1]} px"
            )
            self.mask = None


def _category_folders(root: Path, categories: Sequence[str] | str | None) -> list[Path]:
    if not root.is_dir():
        raise FileNotFoundError(f"There is no folder '{root}'")
    found = [root] if _is_category(root) else sorted(folder for folder in root.iterdir() if _is_category(folder))
    if not found:
        raise FileNotFoundError(
            f"'{root}' is not in MVTec layout: expected train/good and test/<defect> in it, or in its subfolders"
        )
    if categories is None:
        return found
    wanted = [categories] if isinstance(categories, str) else list(categories)
    by_name = {folder.name: folder for folder in found}
    if unknown := [category for category in wanted if category not in by_name]:
        raise ValueError(f"There are no categories {unknown} in '{root}'; it has {list(by_name)}")
    return [by_name[category] for category in wanted]


def _is_category(folder: Path) -> bool:
    return any((folder / split).is_dir() for split in SPLITS)


def _entries(folder: Path) -> Iterable[_Entry]:
    for split in SPLITS:
        for defect in sorted(path for path in (folder / split).glob("*") if path.is_dir()):
            masks = {mask.stem: mask for mask in _images(folder / "ground_truth" / defect.name)}
            for path in _images(defect):
                mask = masks.get(f"{path.stem}_mask") or masks.get(path.stem)
                yield _Entry(path, folder.name, split, defect.name, mask if split == "test" else None)


def _images(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if path.suffix.lower() in IMAGE_SUFFIXES)


def _orphan_masks(folders: list[Path], entries: list[_Entry]) -> list[Path]:
    images = {(entry.path.parents[2], entry.defect, entry.path.stem) for entry in entries if entry.split == "test"}
    return [
        mask
        for folder in folders
        for mask in sorted((folder / "ground_truth").glob("*/*"))
        if (folder, mask.parent.name, mask.stem.removesuffix("_mask")) not in images
    ]


def _sample(dataset: fo.Dataset, entry: _Entry) -> fo.Sample:
    mask = entry.mask
    if mask is None and entry.defect == GOOD and entry.size is not None:
        mask = zero_mask(dataset_folder(dataset) / "zero-masks", *entry.size)
    return fo.Sample(
        filepath=str(entry.path),
        tags=[PROBLEM_TAG] if entry.problems else [],
        metadata=entry.metadata,
        category=fo.Classification(label=entry.category),
        split=entry.split,
        defect=fo.Classification(label=entry.defect),
        defect_mask=fo.Segmentation(mask_path=str(mask)) if mask is not None else None,
    )
