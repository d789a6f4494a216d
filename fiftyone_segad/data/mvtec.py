"""Load folders in the layouts of MVTec AD, MVTec LOCO AD and MVTec AD 2 as FiftyOne datasets."""

from __future__ import annotations

import logging
import mimetypes
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import fiftyone as fo
import fiftyone.core.utils as fou
import numpy as np
from numpy.typing import NDArray

from ..errors import ImageError
from ..utils.images import Header, read_header
from ..utils.threads import usable_cores
from .masks import read_mask
from .mvtec_files import IMAGE_SUFFIXES, ImageFile, find_files, images_outside, is_category, is_hidden, printable
from .truth import GOOD

logger = logging.getLogger(__name__)

PROBLEM_TAG = "problem"
"""Tag of samples whose image or mask cannot be used as it is."""

_LISTED_PROBLEMS = 5
"""Problems that a message lists by name; the others are counted."""

_MEDIA_TYPES = {
    **{".apng": "image/apng", ".avif": "image/avif", ".jfif": "image/jpeg", ".webp": "image/webp"},
    **dict.fromkeys((".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"), "image/jp2"),
}
"""Types of image files that not every machine knows. FiftyOne asks ``mimetypes`` whether a sample is an image."""


def load_mvtec(
    dataset_dir: str | Path,
    name: str | None = None,
    categories: Sequence[str] | str | None = None,
    persistent: bool = False,
) -> fo.Dataset:
    """Load one category, or a folder of categories, in the layout of MVTec AD, MVTec LOCO AD or MVTec AD 2.

    A category holds

    - of MVTec AD: ``train/good/*``, ``test/<defect>/*`` and ``ground_truth/<defect>/<name>_mask.png``
    - of MVTec LOCO AD: also ``validation/good/*``, and its ground truth in any number of files per image:
      ``ground_truth/<defect>/<name>/*.png``
    - of MVTec AD 2: ``train/good/*``, ``validation/good/*``, ``test_public/<defect>/*``,
      ``test_public/ground_truth/<defect>/<name>_mask.png``, and images of which nothing is known in
      ``test_private/*`` and ``test_private_mixed/*``

    Folders of good images may be called ``ok`` or ``normal`` too, as in BTAD. Images may lie deeper, in folders within
    these; hidden files and folders are passed over.

    The samples get ``category`` and ``defect`` (Classification; "good" is normal), ``split`` ("train", "validation",
    "test", which ``test_public`` is too, "test_private" or "test_private_mixed") and ``defect_mask`` (Segmentation;
    nonzero is defective, whatever the value). Good images have a zero mask, so that false alarms on them count in an
    evaluation. It is in the database, as the union of several masks of an image is; no file is written or copied.
    Images that are in no folder of a defect or of good ones have neither ``defect`` nor ``defect_mask``, and
    evaluations leave them out.

    What does not fit together is told by name in a warning and in ``dataset.info["problems"]``, and the samples
    are tagged ``problem``: images that cannot be read, defective images without a mask, masks that cannot be read,
    that have another size than their image or could be of another one (these are left out, with all others of the
    image), masks without an image, and images that are not loaded.

    Args:
        dataset_dir: folder of one category, or of several
        name (None): name of the dataset; by default FiftyOne makes one
        categories (None): names of the categories to load; by default all
        persistent (False): whether the dataset stays in the database

    Returns:
        a ``Dataset``

    Raises:
        FileNotFoundError: if the folder does not exist, is not in this layout, or has no image that can be loaded
        ValueError: if a category does not exist, or the name is taken

    Examples:
        >>> dataset = segad.load_mvtec("mvtec", categories="screw")  # doctest: +SKIP
        >>> dataset.count_values("split")  # doctest: +SKIP
        {'train': 320, 'test': 160}
    """
    root = Path(dataset_dir).expanduser().absolute()
    folders = _category_folders(root, categories)
    if name is not None and fo.dataset_exists(name):
        raise ValueError(f"Dataset '{name}' exists; pass another name, or use it: fo.load_dataset('{name}')")
    contents = [find_files(folder) for folder in folders]
    entries = [_Entry(image) for category in contents for image in category.images]
    with ThreadPoolExecutor(usable_cores()) as threads:
        list(threads.map(_Entry.read, entries))
    problems = [problem for entry in entries for problem in entry.image.problems]
    problems += [problem for category in contents for problem in category.problems]
    if categories is None and folders != [root]:
        problems += images_outside(root, [folder.name for folder in folders])
    loadable = [entry for entry in entries if entry.loadable]
    if not loadable:
        raise FileNotFoundError(
            f"'{printable(root)}' holds no images that can be loaded ({', '.join(IMAGE_SUFFIXES)})"
            + (f". The first: {problems[0]}" if problems else "")
        )
    for suffix, media_type in _MEDIA_TYPES.items():
        mimetypes.add_type(media_type, suffix)
    dataset = fo.Dataset(name, persistent=persistent)
    try:
        for field_name in ("category", "defect"):
            dataset.add_sample_field(field_name, fo.EmbeddedDocumentField, embedded_doc_type=fo.Classification)
        dataset.add_sample_field("split", fo.StringField)
        dataset.add_sample_field("defect_mask", fo.EmbeddedDocumentField, embedded_doc_type=fo.Segmentation)
        dataset.add_samples((entry.sample() for entry in loadable), progress=False, num_samples=len(loadable))
        dataset.info = {"dataset_dir": printable(root), "problems": problems}
        dataset.mask_targets = {"defect_mask": {255: "defect"}}
        dataset.save()
    except BaseException:
        dataset.delete()
        raise
    if problems:
        listed = "".join(f"\n  {problem}" for problem in problems[:_LISTED_PROBLEMS])
        left = len(problems) - _LISTED_PROBLEMS
        more = f"\n  ... {left} more in dataset.info['problems']" if left > 0 else ""
        logger.warning("%d problems in '%s':%s%s", len(problems), printable(root), listed, more)
    return dataset


def category_names(dataset_dir: str | Path) -> list[str]:
    """List the names of the categories that a folder holds, but for those that are not UTF-8.

    Raises:
        FileNotFoundError: if the folder does not exist or is not in MVTec layout
    """
    folders = _category_folders(Path(dataset_dir).expanduser().absolute(), None)
    return [folder.name for folder in folders if printable(folder) == str(folder)]


def _category_folders(root: Path, categories: Sequence[str] | str | None) -> list[Path]:
    if not root.is_dir():
        raise FileNotFoundError(f"There is no folder '{root}'")
    folders = [root]
    if not is_category(root):
        folders = sorted(folder for folder in root.iterdir() if is_category(folder) and not is_hidden(folder))
    if not folders:
        raise FileNotFoundError(
            f"'{root}' is not in MVTec layout: expected train/good and test/<defect> (or test_public/<defect>) in it, "
            "or in its subfolders"
        )
    if categories is None:
        return folders
    names = [categories] if isinstance(categories, str) else list(dict.fromkeys(categories))
    by_name = {folder.name: folder for folder in folders}
    if unknown := [category for category in names if category not in by_name]:
        raise ValueError(f"There are no categories {unknown} in '{root}'; it has {list(by_name)}")
    return [by_name[category] for category in names]


@dataclass
class _Entry:
    """An image that becomes a sample.

    Attributes:
        image: the image and its masks; what cannot be used is taken out
        metadata: the header of the image; None if it cannot be read
        union: the union of several masks, compressed
    """

    image: ImageFile
    metadata: fo.ImageMetadata | None = None
    union: bytes | None = None

    def read(self) -> None:
        """Read the headers of image and masks, unite several masks, and note what does not fit."""
        image = self.image
        if not self.loadable:
            image.problems = [f"'{printable(image.path)}' is not loaded: its name is not UTF-8; rename it"]
            return
        if not image.masks and not image.problems and image.defect not in (None, GOOD):
            image.problems.append(f"'{image.path}' shows '{image.defect}' but has no mask")
        try:
            self._read_metadata()
        except ImageError as error:
            image.problems.append(str(error))
        try:
            self._check_masks()
        except ImageError as error:
            # With a part of them, the other defects of the image would count as normal pixels
            image.problems.append(str(error))
            image.masks, self.union = [], None

    @property
    def loadable(self) -> bool:
        """Whether the database can hold the path."""
        return printable(self.image.path) == str(self.image.path)

    def _read_metadata(self) -> None:
        path = self.image.path
        header = self._header(path)
        width, height = header.size
        self.metadata = fo.ImageMetadata(
            size_bytes=path.stat().st_size,
            mime_type=mimetypes.guess_type(path)[0],
            width=width,
            height=height,
            num_channels=header.channels,
        )

    def _header(self, path: Path) -> Header:
        header = read_header(str(path))
        if header.more_frames:
            self.image.problems.append(f"'{printable(path)}' has more than one page or frame; only the first is read")
        return header

    def _check_masks(self) -> None:
        """Compare the masks with the image, and unite them where one path does not hold them.

        Raises:
            ImageError: if one of them cannot be used
        """
        size = self._size
        for mask in self.image.masks:
            width, height = self._header(mask).size
            if size is not None and (width, height) != size:
                raise ImageError(f"'{printable(mask)}' is {width} x {height} px, its image {size[0]} x {size[1]} px")
        masks = self.image.masks
        if len(masks) > 1 or any(printable(mask) != str(mask) for mask in masks):
            self.image.masks = []
            if size is not None:  # else there is nothing to compare their sizes with, and no use for them
                union: NDArray[np.bool_] = np.logical_or.reduce([read_mask(str(mask)) for mask in masks])
                self.union = fou.serialize_numpy_array(union.astype(np.uint8) * 255)

    @property
    def _size(self) -> tuple[int, int] | None:
        return None if self.metadata is None else (self.metadata.width, self.metadata.height)

    def sample(self) -> fo.Sample:
        """Make the sample."""
        image = self.image
        return fo.Sample(
            filepath=str(image.path),
            tags=[PROBLEM_TAG] if image.problems else [],
            metadata=self.metadata,
            category=fo.Classification(label=image.category),
            split=image.split,
            defect=fo.Classification(label=image.defect) if image.defect is not None else None,
            defect_mask=self._mask(),
        )

    def _mask(self) -> fo.Segmentation | None:
        if self.image.masks:
            return fo.Segmentation(mask_path=str(self.image.masks[0]))
        if self.union is not None:
            return fo.Segmentation(mask=fou.deserialize_numpy_array(self.union))
        if self.image.defect == GOOD and self._size is not None:
            return fo.Segmentation(mask=np.zeros(self._size[::-1], np.uint8))
        return None
