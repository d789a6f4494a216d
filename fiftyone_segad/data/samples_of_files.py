"""Make a dataset of listed image files: read headers and masks, and tell what does not fit."""

from __future__ import annotations

import logging
import mimetypes
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import fiftyone as fo
import fiftyone.core.utils as fou
import numpy as np
from numpy.typing import NDArray

from ..errors import ImageError
from ..utils.images import Header, read_header
from ..utils.listing import IMAGE_SUFFIXES
from ..utils.threads import usable_cores
from .image_files import ImageFile, Listing, printable
from .masks import read_mask
from .truth import GOOD, UNNAMED

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


def check_name(name: str | None) -> None:
    """Refuse the name of a dataset that exists.

    Raises:
        ValueError: if it does
    """
    if name is not None and fo.dataset_exists(name):
        raise ValueError(f"Dataset '{name}' exists; pass another name, or use it: fo.load_dataset('{name}')")


def make_dataset(listing: Listing, root: Path, title: str, name: str | None, persistent: bool) -> fo.Dataset:
    """Make a dataset of the images of a folder, and log what does not fit.

    Args:
        listing: the images
        root: the folder
        title: name of its layout
        name: name of the dataset, or None
        persistent: whether the dataset stays in the database

    Raises:
        FileNotFoundError: if there is no image that can be loaded
        ValueError: if the name is taken
    """
    check_name(name)
    entries = [_Entry(image, listing.expects_masks) for image in listing.images]
    with ThreadPoolExecutor(usable_cores()) as threads:
        list(threads.map(_Entry.read, entries))
    problems = [problem for entry in entries for problem in entry.image.problems] + listing.problems
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
        _add_fields(dataset, listing)
        dataset.add_samples((entry.sample() for entry in loadable), progress=False, num_samples=len(loadable))
        dataset.info = {"dataset_dir": printable(root), "layout": title, "problems": problems}
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


def _add_fields(dataset: fo.Dataset, listing: Listing) -> None:
    """Add the fields of all layouts, and those that only some have where an image of the folder has them."""
    for field_name in ("category", "defect"):
        dataset.add_sample_field(field_name, fo.EmbeddedDocumentField, embedded_doc_type=fo.Classification)
    dataset.add_sample_field("split", fo.StringField)
    dataset.add_sample_field("defect_mask", fo.EmbeddedDocumentField, embedded_doc_type=fo.Segmentation)
    for field_name in ("part_id", "view"):
        if any(getattr(image, field_name) is not None for image in listing.images):
            dataset.add_sample_field(field_name, fo.StringField)


@dataclass
class _Entry:
    """An image that becomes a sample.

    Attributes:
        image: the image and its masks; what cannot be used is taken out
        expects_mask: whether it is a problem if it is defective and has no mask
        metadata: the header of the image; None if it cannot be read
        union: the union of several masks, compressed
    """

    image: ImageFile
    expects_mask: bool
    metadata: fo.ImageMetadata | None = None
    union: bytes | None = None

    def read(self) -> None:
        """Read the headers of image and masks, unite several masks, and note what does not fit."""
        image = self.image
        if not self.loadable:
            image.problems = [f"'{printable(image.path)}' is not loaded: its name is not UTF-8; rename it"]
            return
        lacks_mask = self.expects_mask and not image.masks and not image.problems
        if lacks_mask and image.defect not in (None, GOOD):
            image.problems.append(f"'{image.path}' shows '{image.defect}' but has no mask")
        try:
            self._read_metadata()
        except ImageError as error:
            image.problems.append(str(error))
        try:
            self._check_masks()
            if image.mask_decides:
                image.defect = UNNAMED if self._shows_defect() else GOOD
        except ImageError as error:
            # With a part of them, the other defects of the image would count as normal pixels
            image.problems.append(str(error))
            image.masks, self.union = [], None

    @property
    def loadable(self) -> bool:
        """True if the database can hold the path."""
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

    def _shows_defect(self) -> bool:
        """Return whether the mask marks any pixel.

        Raises:
            ImageError: if there is none, or it cannot be read
        """
        if self.union is not None:
            return bool(fou.deserialize_numpy_array(self.union).any())
        if not self.image.masks:
            raise ImageError(f"'{self.image.path}' has no mask, which would say whether it is defective")
        return bool(read_mask(str(self.image.masks[0])).any())

    @property
    def _size(self) -> tuple[int, int] | None:
        return None if self.metadata is None else (self.metadata.width, self.metadata.height)

    def sample(self) -> fo.Sample:
        """Make the sample."""
        image = self.image
        values = {name: getattr(image, name) for name in ("part_id", "view")}
        return fo.Sample(
            filepath=str(image.path),
            tags=[PROBLEM_TAG] if image.problems else [],
            metadata=self.metadata,
            category=fo.Classification(label=image.category) if image.category is not None else None,
            split=image.split,
            defect=fo.Classification(label=image.defect) if image.defect is not None else None,
            defect_mask=self._mask(),
            **{name: value for name, value in values.items() if value is not None},
        )

    def _mask(self) -> fo.Segmentation | None:
        if self.image.masks:
            return fo.Segmentation(mask_path=str(self.image.masks[0]))
        if self.union is not None:
            return fo.Segmentation(mask=fou.deserialize_numpy_array(self.union))
        if self.image.defect == GOOD and self._size is not None:
            return fo.Segmentation(mask=np.zeros(self._size[::-1], np.uint8))
        return None
