"""A table of images, labels and masks, whose columns are named or recognised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from ..classes import is_normal, plain_name
from ..image_files import ImageFile, Listing, is_file, is_hidden, is_listed_image, printable
from ..truth import GOOD, UNNAMED
from .base import Layout
from .csv_rows import Row, file_of, read_rows

IMAGE, LABEL, MASK, SPLIT, CATEGORY, PART, VIEW = "image", "label", "mask", "split", "category", "part_id", "view"

COLUMNS: dict[str, frozenset[str]] = {
    IMAGE: frozenset(
        {"image", "image path", "image file", "filepath", "file path", "path", "file", "filename", "file name", "img"}
    ),
    LABEL: frozenset({"label", "labels", "defect", "defect type", "class", "kind", "anomaly class", "label index"}),
    MASK: frozenset({"mask", "mask path", "mask file", "ground truth", "gt"}),
    SPLIT: frozenset({"split", "set", "subset"}),
    CATEGORY: frozenset({"category", "object", "product"}),
    PART: frozenset({"part id", "part", "serial number", "serial"}),
    VIEW: frozenset({"view", "camera", "side"}),
}
"""Names by which the columns are recognised, as ``plain_name`` gives them."""

_NORMAL, _DEFECTIVE = frozenset({"0", "0.0", "false"}), frozenset({"1", "1.0", "true"})
"""Labels, in lower case, that do not name a defect type."""


_SUFFIXES = (".csv", ".tsv")


def table_file(root: Path) -> Path | None:
    """Return the table in a folder, or the file itself if it is one; None if there are none or several."""
    if root.is_file():
        return root if root.suffix.lower() in _SUFFIXES else None
    files = table_files(root)
    return files[0] if len(files) == 1 else None


def table_files(root: Path) -> list[Path]:
    """List the tables in a folder."""
    files = (file for file in root.iterdir() if file.suffix.lower() in _SUFFIXES and not is_hidden(file))
    return sorted(file for file in files if file.is_file())


def _recognises(root: Path) -> bool:
    file = table_file(root)
    if file is None:
        return False
    try:
        rows = read_rows(file)
        names = _column_names(rows, {}, file)
    except ValueError:
        return False
    return any(is_file(file_of(file.parent, row[names[IMAGE]])) for row in rows[:1])


def _column_names(rows: list[Row], columns: Mapping[str, str], file: Path) -> dict[str, str]:
    """Return the name of each column that there is, by what it holds.

    Raises:
        ValueError: if a column that is named does not exist, or none names images
    """
    if unknown := [name for name in columns if name not in COLUMNS]:
        raise ValueError(f"columns={dict(columns)!r} names {unknown}; columns can be named for {list(COLUMNS)}")
    if not rows:
        raise ValueError(f"'{file}' has no rows; the first one names the columns, and each further one is of an image")
    present = list(rows[0])
    if absent := [name for name in columns.values() if name.strip().lower() not in present]:
        raise ValueError(f"columns: '{file}' has no columns {absent}; it has {present}")
    names = {kind: name.strip().lower() for kind, name in columns.items()}
    for name in present:
        kind = next((kind for kind, usual in COLUMNS.items() if plain_name(name) in usual), None)
        if kind is not None:
            names.setdefault(kind, name)
    if IMAGE not in names:
        raise ValueError(f"No column of '{file}' is known to name images; pass columns={{'image': ...}}, of {present}")
    return names


def list_table(root: Path, categories: Sequence[str] | None, columns: Mapping[str, str]) -> Listing:
    """List the images of a table.

    Args:
        root: the table, or its folder
        categories: the categories to list, or None
        columns: names of columns by what they hold, of those that are not recognised

    Raises:
        ValueError: if there is no table, or it has no column of images
    """
    file = table_file(root)
    if file is None:
        raise ValueError(f"'{root}' is no table, nor a folder with one; name the file")
    rows = read_rows(file)
    names = _column_names(rows, columns, file)
    listing = Listing(expects_masks=MASK in names)
    images: dict[Path, ImageFile] = {}
    for row in rows:
        cells = {kind: row[name] for kind, name in names.items() if row[name]}
        if IMAGE in cells and (categories is None or cells.get(CATEGORY) in categories):
            _add_row(listing, images, cells, file)
    listing.images = list(images.values())
    return listing


def _add_row(listing: Listing, images: dict[Path, ImageFile], cells: Mapping[str, str], file: Path) -> None:
    """Add the image of a row, or what the row says of an image that was in one before: another mask."""
    path = file_of(file.parent, cells[IMAGE])
    if not is_listed_image(path, f"'{file.name}'", listing.problems):
        return
    defect = _defect(cells.get(LABEL))
    split = cells.get(SPLIT, "").lower() or None
    image = ImageFile(path, cells.get(CATEGORY), split, defect, part_id=cells.get(PART), view=cells.get(VIEW))
    image = images.setdefault(path, image)
    image.defect = defect if image.defect is None else image.defect
    if defect not in (None, image.defect):
        image.problems.append(f"'{printable(path)}' is '{image.defect}' and '{defect}' in '{file.name}'; keep one")
    if MASK in cells:
        image.masks.append(file_of(file.parent, cells[MASK]))
    image.mask_decides = image.defect is None and bool(image.masks)


def _defect(label: str | None) -> str | None:
    if label is None or not label:
        return None
    if is_normal(label) or label.lower() in _NORMAL:
        return GOOD
    return UNNAMED if label.lower() in _DEFECTIVE else label


def _categories(root: Path) -> list[str]:
    file = table_file(root)
    if file is None:
        return []
    rows = read_rows(file)
    column = _column_names(rows, {}, file).get(CATEGORY)
    return sorted({row[column] for row in rows if row[column]}) if column is not None else []


TABLE = Layout(
    "table",
    "A table",
    "a .csv file with a row for each image: its path, and maybe its label, mask, split, category, part and view",
    _recognises,
    partial(list_table, columns={}),
    _categories,
    takes_any=True,
)
