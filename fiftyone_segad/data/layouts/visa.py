"""VisA as it is published: a table of splits, and tables that name the defect types."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..classes import is_normal
from ..image_files import ImageFile, Listing, is_listed_image, list_folders
from ..truth import GOOD
from .base import Layout
from .csv_rows import Row, file_of, read_rows

_SPLITS, _KINDS = Path("split_csv", "1cls.csv"), "image_anno.csv"


def _recognises(root: Path) -> bool:
    return (root / _SPLITS).is_file() or any((folder / _KINDS).is_file() for folder in (root, *list_folders(root)))


@dataclass(frozen=True)
class _Tables:
    """The rows of all tables.

    Attributes:
        base: folder that the paths in them start from
        rows: rows of the images, with the category as ``object``
        kinds: names of defect types, by the path of the image
    """

    base: Path
    rows: list[Row]
    kinds: dict[str, str]

    @classmethod
    def read(cls, root: Path) -> _Tables:
        """Read them.

        Raises:
            ValueError: if one of them lacks a column, or is no text
        """
        kinds: dict[str, str] = {}
        unsplit: list[Row] = []
        base = root.parent if (root / _KINDS).is_file() else root  # of one category, or of all
        for folder in [root] if base != root else list_folders(root):
            if (folder / _KINDS).is_file():
                rows = read_rows(folder / _KINDS, ["image", "label", "mask"])
                unsplit += [{**row, "object": folder.name, "split": ""} for row in rows]
                kinds |= {_key(row): row["label"] for row in rows}
        if not (base / _SPLITS).is_file():
            return cls(base, unsplit, kinds)
        rows = read_rows(base / _SPLITS, ["object", "split", "label", "image", "mask"])
        return cls(base, [row for row in rows if base == root or row["object"] == root.name], kinds)


def _key(row: Row) -> str:
    """Return the path of an image, by which the tables are joined: one of them may have been saved by Windows."""
    return row["image"].replace("\\", "/")


def _categories(root: Path) -> list[str]:
    return sorted({row["object"] for row in _Tables.read(root).rows})


def _list_files(root: Path, categories: Sequence[str] | None) -> Listing:
    listing = Listing()
    tables = _Tables.read(root)
    for row in tables.rows:
        if categories is not None and row["object"] not in categories:
            continue
        path = file_of(tables.base, row["image"])
        if not is_listed_image(path, "a table of VisA", listing.problems):
            continue
        # The table of splits says only 'anomaly'; the other one says which
        defect = GOOD if is_normal(row["label"]) else tables.kinds.get(_key(row)) or row["label"]
        image = ImageFile(path, row["object"], row["split"] or None, defect)
        image.masks = [file_of(tables.base, row["mask"])] if row["mask"] else []
        listing.images.append(image)
    return listing


VISA = Layout(
    "visa",
    "VisA",
    "split_csv/1cls.csv, and <category>/Data/Images and <category>/Data/Masks",
    _recognises,
    _list_files,
    _categories,
)
