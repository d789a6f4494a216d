"""Images of which nothing is known, in a folder and in folders within it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..image_files import ImageFile, Listing, list_images
from .base import Layout


def _list_files(root: Path, categories: Sequence[str] | None) -> Listing:
    listing = Listing(expects_masks=False)
    listing.images = [ImageFile(path, None, None, None) for path in list_images(root, listing.problems)]
    return listing


IMAGES = Layout(
    "images",
    "Images",
    "images, in it or in folders within it",
    lambda root: False,  # it is what is left
    _list_files,
    takes_any=True,
)
