"""A layout: what is recognised as it, and how its images, splits, defect types and masks are found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..image_files import Listing


@dataclass(frozen=True)
class Layout:
    """A way in which images and masks lie in folders.

    Attributes:
        name: name by which it is asked for
        title: name for people
        holds: what such a folder holds, for people
        recognises: tells whether a folder looks like it, from a few names in it
        list_files: lists the images of a folder, of these categories or (None) of all
        categories: lists the names of the categories in a folder; empty if it has none
        takes_any: whether it can be asked for where it is not recognised
    """

    name: str
    title: str
    holds: str
    recognises: Callable[[Path], bool]
    list_files: Callable[[Path, Sequence[str] | None], Listing]
    categories: Callable[[Path], list[str]] = lambda root: []
    takes_any: bool = False
