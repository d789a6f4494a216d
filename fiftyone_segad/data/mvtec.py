"""Loaders: from folders in the layouts of MVTec AD, MVTec LOCO AD and MVTec AD 2 to FiftyOne datasets."""

from __future__ import annotations

import logging
import mimetypes
import shutil
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import fiftyone as fo
import numpy as np
from PIL import Image

from ..errors import ImageError
from ..registry.fields import zero_mask
from ..registry.folders import dataset_folder
from ..utils.images import read_header
from ..utils.threads import usable_cores
from .masks import read_mask
from .truth import GOOD

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")

SPLITS = {
    "train": "train",
    "validation": "validation",
    "test": "test",
    "test_public": "test",
    "test_private": "test_private",
    "test_private_mixed": "test_private_mixed",
}
"""Folders of a category, and what samples in them have as ``split``."""

_GROUND_TRUTH = "ground_truth"

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
    """Load one category, or a folder of categories, in the layout of MVTec AD, MVTec LOCO AD or MVTec AD 2.

    A category holds

    - of MVTec AD: ``train/good/*``, ``test/<defect>/*`` and ``ground_truth/<defect>/<name>_mask.png``
    - of MVTec LOCO AD: also ``validation/good/*``, and its ground truth in any number of files an image:
      ``ground_truth/<defect>/<name>/*.png``
    - of MVTec AD 2: ``train/good/*``, ``validation/good/*``, ``test_public/<defect>/*``,
      ``test_public/ground_truth/<defect>/<name>_mask.png``, and images of which nothing is known in
      ``test_private/*`` and ``test_private_mixed/*``

    Masks are nonzero on defects, whatever the value. The samples get ``category`` and ``defect`` (Classification;
    "good" is normal), ``split`` ("train", "validation", "test", which ``test_public`` is too, "test_private" or
    "test_private_mixed") and ``defect_mask`` (Segmentation). Good images share one zero mask a size, so that false
    alarms on them count in an evaluation. Images that are in no folder of a defect or of good ones have neither
    ``defect`` nor ``defect_mask``, and evaluations leave them out. No image is copied, and no mask but where an
    image has several: their union, 0 or 255, is written to this package's folder of the dataset.

    What does not fit together is told by name in a warning and in ``dataset.info["problems"]``, and the samples
    are tagged ``problem``: images that cannot be read, defective images without a mask, masks that cannot be read
    or have another size than their image (these are left out, with all others of the image), and masks without an
    image.

    Args:
        dataset_dir: folder of one category, or of several
        name (None): name of the dataset; by default FiftyOne makes one
        categories (None): names of the categories to load; by default all
        persistent (False): whether the dataset stays in the database

    Returns:
        a ``Dataset``

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
    dataset = fo.Dataset(name, persistent=persistent)
    try:
        with ThreadPoolExecutor(usable_cores()) as threads:
            list(threads.map(lambda entry: entry.merge(dataset_folder(dataset) / "merged-masks"), entries))
        problems = [problem for entry in entries for problem in entry.problems]
        problems += [f"'{mask}' is a mask without an image" for mask in _orphan_masks(folders, entries)]
        for field_name in ("category", "defect"):
            dataset.add_sample_field(field_name, fo.EmbeddedDocumentField, embedded_doc_type=fo.Classification)
        dataset.add_sample_field("split", fo.StringField)
        dataset.add_sample_field("defect_mask", fo.EmbeddedDocumentField, embedded_doc_type=fo.Segmentation)
        dataset.add_samples([_sample(dataset, entry) for entry in entries], progress=False)
        dataset.info = {"dataset_dir": str(root), "problems": problems}
        dataset.mask_targets = {"defect_mask": {255: "defect"}}
        dataset.save()
    except BaseException:
        shutil.rmtree(dataset_folder(dataset), ignore_errors=True)
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
    """An image with what belongs to it.

    Attributes:
        path: its file
        category: name of its product
        split: what its sample has as ``split``
        defect: name of its defect type, or None if it is in no folder of one
        ground_truth: folder of the ground truth of its split, or None
        masks: files of its ground truth; what cannot be used is taken out
    """

    path: Path
    category: str
    split: str
    defect: str | None
    ground_truth: Path | None
    masks: list[Path]
    metadata: fo.ImageMetadata | None = None
    size: tuple[int, int] | None = None
    problems: list[str] = field(default_factory=list)

    def check(self) -> None:
        """Read the headers of image and masks and notes what does not fit."""
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
        if not self.masks and self.defect not in (None, GOOD):
            self.problems.append(f"'{self.path}' shows '{self.defect}' but has no mask")
        for mask in self.masks:
            try:
                size = read_header(str(mask)).size
            except ImageError as error:
                self._refuse_masks(str(error))
                break
            if self.size is not None and size != self.size:
                self._refuse_masks(
                    f"'{mask}' is {size[0]} x {size[1]} px, its image {self.size[0]} x {self.size[1]} px"
                )
                break

    def merge(self, folder: Path) -> None:
        """Make one mask of several, in a file below ``folder``."""
        if len(self.masks) < 2:
            return
        if self.size is None:  # nothing to compare the masks' sizes with, and an image that cannot be used
            self.masks = []
            return
        try:
            union = np.logical_or.reduce([read_mask(str(mask)) for mask in self.masks])
        except ImageError as error:
            self._refuse_masks(str(error))
            return
        # Images of one name may be in several categories, splits and defect types
        file = folder / self.path.relative_to(self.path.parents[3]).with_suffix(".png")
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(union.astype(np.uint8) * 255).save(file)
        self.masks = [file]

    def _refuse_masks(self, reason: str) -> None:
        """Leaves out all masks of the image: with a part of them, its other defects would count as normal pixels."""
        self.problems.append(reason)
        self.masks = []


def _category_folders(root: Path, categories: Sequence[str] | str | None) -> list[Path]:
    if not root.is_dir():
        raise FileNotFoundError(f"There is no folder '{root}'")
    found = [root] if _is_category(root) else sorted(folder for folder in root.iterdir() if _is_category(folder))
    if not found:
        raise FileNotFoundError(
            f"'{root}' is not in MVTec layout: expected train/good and test/<defect> (or test_public/<defect>) in it, "
            "or in its subfolders"
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
    for name, split in SPLITS.items():
        truth = _ground_truth(folder, name)
        yield from (_Entry(path, folder.name, split, None, None, []) for path in _images(folder / name))
        for defect in sorted(path for path in (folder / name).glob("*") if path.is_dir()):
            if defect.name == _GROUND_TRUTH:
                continue
            found = _masks(truth / defect.name) if truth is not None else {}
            for path in _images(defect):
                yield _Entry(path, folder.name, split, defect.name, truth, list(found.get(path.stem, [])))


def _ground_truth(folder: Path, split: str) -> Path | None:
    """The folder of a split's ground truth: in the split's folder (AD 2), or beside it; only tests have one."""
    if not split.startswith("test"):
        return None
    inside = folder / split / _GROUND_TRUTH
    return inside if inside.is_dir() else folder / _GROUND_TRUTH


def _masks(folder: Path) -> dict[str, list[Path]]:
    """The masks of a defect type by the name of their image."""
    found = {path.name: _images(path) for path in sorted(folder.glob("*")) if path.is_dir()}
    files = {path.stem: path for path in _images(folder)}
    found.update({stem: [path] for stem, path in files.items()})
    found.update({stem.removesuffix("_mask"): [path] for stem, path in files.items() if stem.endswith("_mask")})
    return {name: masks for name, masks in found.items() if masks}


def _images(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if path.suffix.lower() in IMAGE_SUFFIXES)


def _orphan_masks(folders: list[Path], entries: list[_Entry]) -> list[Path]:
    images = {(entry.ground_truth, entry.defect, entry.path.stem) for entry in entries}
    truths = sorted({truth for folder in folders for split in SPLITS if (truth := _ground_truth(folder, split))})
    return [
        mask
        for truth in truths
        for mask in sorted(truth.glob("*/*"))
        if (truth, mask.parent.name, mask.name if mask.is_dir() else mask.stem.removesuffix("_mask")) not in images
    ]


def _sample(dataset: fo.Dataset, entry: _Entry) -> fo.Sample:
    mask = entry.masks[0] if entry.masks else None
    if mask is None and entry.defect == GOOD and entry.size is not None:
        mask = zero_mask(dataset_folder(dataset) / "zero-masks", *entry.size)
    return fo.Sample(
        filepath=str(entry.path),
        tags=[PROBLEM_TAG] if entry.problems else [],
        metadata=entry.metadata,
        category=fo.Classification(label=entry.category),
        split=entry.split,
        defect=fo.Classification(label=entry.defect) if entry.defect is not None else None,
        defect_mask=fo.Segmentation(mask_path=str(mask)) if mask is not None else None,
    )
