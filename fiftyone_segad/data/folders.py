"""Load folders as they are: ``load_folder`` finds their layout, or takes any."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import fiftyone as fo

from ..utils.text import pluralize
from .classes import is_normal
from .image_files import Listing, is_hidden, list_folders, printable
from .layouts.all_layouts import LAYOUTS
from .layouts.base import Layout
from .layouts.csv_rows import read_rows
from .layouts.images import IMAGES
from .layouts.table import TABLE, list_table, table_files
from .samples_of_files import check_name, make_dataset
from .truth import GOOD

AUTO = "auto"
"""Layout that stands for the one that is recognised."""

_PURPOSES = {"train": " to train on", "validation": " to validate on", "test": " to test on", None: ""}
"""Words for the splits that most layouts have, in their order."""

_KINDS = {GOOD: "good", None: "of which nothing is known"}
_DEFECTIVE, _MASK_DECIDES = "defective", "that their masks call good or defective"
_ORDER = (_KINDS[GOOD], _DEFECTIVE, _MASK_DECIDES, _KINDS[None])

_DEEPEST = 3
"""Folders within each other that are gone through."""


@dataclass(frozen=True)
class FolderContent:
    """The images that a folder holds, before any of them is read.

    Attributes:
        root: the folder
        layout: its layout
        present: names of its categories
        categories: names of those that are listed
        listing: the images
        hints: what else could be meant
    """

    root: Path
    layout: Layout
    present: list[str]
    categories: list[str]
    listing: Listing
    hints: list[str]

    def __str__(self) -> str:
        images = self.listing.images
        names = pluralize(len(self.categories), "category", "categories") if len(self.categories) > 1 else ""
        splits = dict.fromkeys([*_PURPOSES, *sorted({image.split for image in images if image.split is not None})])
        phrases = [phrase for split in splits if (phrase := self._phrase(split))]
        if masked := sum(bool(image.masks) and image.defect != GOOD for image in images):
            phrases.append(f"masks of {masked}")
        text = ", ".join([self.layout.title, *([names] if names else [])]) + ": " + (", ".join(phrases) or "no images")
        return ". But ".join([text, *self.hints[:1]])

    def _phrase(self, split: str | None) -> str:
        """Count the images of a split by what is known of them."""
        counts = Counter(
            _MASK_DECIDES if image.mask_decides else _KINDS.get(image.defect, _DEFECTIVE)
            for image in self.listing.images
            if image.split == split
        )
        text = " and ".join(f"{counts[kind]} {kind}" for kind in _ORDER if counts[kind])
        return text and text + _PURPOSES.get(split, f" in '{split}'")


def load_folder(
    dataset_dir: str | Path,
    layout: str = AUTO,
    name: str | None = None,
    categories: Sequence[str] | str | None = None,
    label: str | None = None,
    columns: Mapping[str, str] | None = None,
    persistent: bool = False,
) -> fo.Dataset:
    """Load a folder in any of the layouts in which people have such images; by default it is recognised.

    - ``mvtec``: MVTec AD, and what lies like it: ``mvtec_loco``, ``mvtec_ad2``, ``btad``, ``mpdd``, ``autovi`` and
      ``visa_1cls``
    - ``visa``: VisA as it is published, with ``split_csv/1cls.csv`` or ``<category>/image_anno.csv``
    - ``real_iad``: ``realiad_jsons/<category>.json`` and ``realiad_1024/<category>``, of the finest size that is there
    - ``kolektor_sdd``: ``kos01/Part0.jpg`` with ``kos01/Part0_label.bmp``; it has no splits
    - ``kolektor_sdd2``: ``train/10000.png`` with ``train/10000_GT.png``
    - ``mvtec_3d``: the colour images of MVTec 3D AD
    - ``classes``: ``good`` (or ``ok``, ``normal``), folders of defect types, and maybe ``masks``; a folder
      ``normal_test`` makes ``normal`` the images to train on and the others those to test on, as in anomalib
    - ``table``: a ``.csv`` file, or a folder with one, of paths and maybe labels, masks, splits, categories, parts and
      views; an image in several rows has several masks
    - ``images``: images of which nothing is known

    The samples get ``category``, ``defect`` ("good" is normal), ``split`` and ``defect_mask`` as those of
    ``load_mvtec``, as far as the layout has them, and ``part_id`` and ``view`` where it shows parts from several sides.
    Images and masks stay as and where they are; several masks of an image are united in the database. What does not fit
    together is told in a warning and in ``dataset.info["problems"]``, and tagged ``problem``.

    Args:
        dataset_dir: the folder, or a table
        layout ("auto"): one of those above, or ``auto``
        name (None): name of the dataset; by default FiftyOne makes one
        categories (None): names of the categories to load; by default all
        label (None): defect type of images of which the folder says nothing, e.g. ``"good"`` if all are normal
        columns (None): of a table, names of the columns of ``image``, ``label``, ``mask``, ``split``, ``category``,
            ``part_id`` and ``view``; usual names are recognised
        persistent (False): whether the dataset stays in the database

    Returns:
        a ``Dataset``

    Raises:
        FileNotFoundError: if the folder does not exist, is not in this layout, or has no image that can be loaded
        ValueError: if a category, column or layout does not exist, a table cannot be read, or the name is taken

    Examples:
        >>> dataset = segad.load_folder("VisA_20220922", categories="candle")  # doctest: +SKIP
        >>> segad.load_folder("line2.csv", columns={"image": "Bild", "label": "Fehler"})  # doctest: +SKIP
        >>> segad.load_folder("morning", label="good")  # all of them are normal  # doctest: +SKIP
    """
    check_name(name)
    content = look_into(dataset_dir, layout, categories, columns)
    for image in content.listing.images:
        if image.defect is None and not image.mask_decides and label is not None:
            image.defect = GOOD if is_normal(label) else label
    return make_dataset(content.listing, content.root, content.layout.title, name, persistent)


def look_into(
    dataset_dir: str | Path,
    layout: str = AUTO,
    categories: Sequence[str] | str | None = None,
    columns: Mapping[str, str] | None = None,
) -> FolderContent:
    """List what ``load_folder`` would load; the arguments are its own.

    Raises:
        FileNotFoundError: if the folder does not exist, or is not in this layout
        ValueError: if a category, column or layout does not exist, or a table cannot be read
    """
    names = _check_names(dataset_dir, layout, categories, columns)
    root, chosen = find_layout(Path(dataset_dir).expanduser().absolute(), TABLE.name if columns else layout)
    present = [] if columns else chosen.categories(root)
    if unknown := [category for category in names or [] if category not in present and not columns]:
        raise ValueError(f"There are no categories {unknown} in '{root}'; it has {present or 'none'}")
    list_files = partial(list_table, columns=columns) if columns else chosen.list_files
    listing = list_files(root, names)
    hints = _look_below(root) if layout == AUTO and chosen is IMAGES else []
    listing.problems += hints
    return FolderContent(root, chosen, present, present if names is None else names, listing, hints)


def _check_names(dataset_dir: Any, layout: Any, categories: Any, columns: Any) -> list[str] | None:
    """Check the types of what names a folder and what is in it; returns the names of the categories to load.

    Raises:
        ValueError: if one is of another type
    """
    if not isinstance(dataset_dir, (str, Path)) or not str(dataset_dir).strip():
        raise ValueError(f"dataset_dir={dataset_dir!r} must be the path of a folder, or of a table")
    if columns is not None and not (
        isinstance(columns, Mapping) and all(isinstance(name, str) for name in columns.values())
    ):
        raise ValueError(f"columns={columns!r} must be names of columns by what they hold, e.g. {{'image': 'file'}}")
    if columns and layout not in (AUTO, TABLE.name):
        raise ValueError(f"columns=... are those of a table, and layout={layout!r}; leave one of them out")
    names = [categories] if isinstance(categories, str) else categories
    if names is not None and not (isinstance(names, Iterable) and all(isinstance(name, str) for name in names)):
        raise ValueError(f"categories={categories!r} must be a name or a list of names")
    return None if names is None else list(names)


def _look_below(root: Path) -> list[str]:
    """Tell of folders and tables in a folder of images that are in a layout themselves."""
    hints = [
        f"'{printable(folder)}' looks like {layout.title}; load it by itself"
        for folder in list_folders(root)
        if (layout := find_layout(folder)[1]) is not IMAGES
    ]
    return hints + [hint for file in table_files(root) if (hint := _hint_of_table(file))]


def _hint_of_table(file: Path) -> str | None:
    try:
        read_rows(file)
    except (ValueError, OSError) as error:
        return str(error)
    return f"'{printable(file)}' is a table of images; load it by itself" if TABLE.recognises(file) else None


def find_layout(root: Path, name: str = AUTO) -> tuple[Path, Layout]:
    """Find the layout of a folder, or check that it is in the one that is named.

    Returns:
        the folder, or the only one in it if that is what looks like the layout, and the layout

    Raises:
        FileNotFoundError: if the folder does not exist, or is not in this layout
        ValueError: if there is no such layout
    """
    if name != AUTO and name not in LAYOUTS:
        raise ValueError(f"layout={name!r} is none of {[AUTO, *LAYOUTS]}")
    if root.is_file():
        if name not in (AUTO, TABLE.name) or root.suffix.lower() not in (".csv", ".tsv"):
            raise FileNotFoundError(f"'{root}' is a file; name a folder, or a .csv file")
        return root, TABLE
    if not root.is_dir():
        raise FileNotFoundError(f"There is no folder '{root}'")
    wanted = [layout for layout in LAYOUTS.values() if name in (AUTO, layout.name)]
    folders = list(_nested(root))
    for layout in wanted:
        for folder in folders:
            if _is_like(folder, layout):
                return folder, layout
    layout = IMAGES if name == AUTO else LAYOUTS[name]
    if not layout.takes_any:
        raise FileNotFoundError(f"'{printable(root)}' is not in the layout of {layout.title}: {layout.holds}")
    return root, layout


def _is_like(folder: Path, layout: Layout) -> bool:
    try:
        return layout.recognises(folder)
    except OSError:  # a folder in it may not be read, which is told where it should be loaded
        return False


def _nested(root: Path) -> Iterator[Path]:
    """Yield a folder, and the one in it as long as it is alone there: archives are often unpacked so."""
    yield root
    for _ in range(_DEEPEST):
        entries = [path for path in root.iterdir() if not is_hidden(path)]
        if len(entries) != 1 or not entries[0].is_dir():
            return
        root = entries[0]
        yield root
