"""Operator ``load_folder``."""

from __future__ import annotations

import time
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
import fiftyone.operators.types as types

from ...data.folders import AUTO, find_layout, load_folder, look_into
from ...data.image_files import holds_more_files
from ...data.layouts.all_layouts import LAYOUTS
from ...data.layouts.images import IMAGES
from ...data.layouts.table import IMAGE, LABEL, MASK, TABLE
from ...data.sample_data import make_category
from ...data.truth import GOOD
from .. import forms, paths
from .base import Line, OpeningOperator, short_config

FOLDER, SAMPLE = "folder", "sample"

SOURCES = {
    FOLDER: "A folder of images, in any usual layout",
    SAMPLE: "The sample dataset: 56 pictures of bricks, 20 of them with drawn defects, made within seconds",
}

UNKNOWN, NORMAL = "unknown", "normal"

OTHERS = {
    UNKNOWN: "Nothing is known of them, until they are scored and reviewed",
    NORMAL: "They are all normal",
}

_COLUMNS = {IMAGE: "Column of image files", LABEL: "Column of labels", MASK: "Column of mask files"}

_CATEGORY = "brick"
_COUNTED = 50_000
"""Files that are looked at while a form is filled in."""

_REMEMBERED = 20
"""Seconds in which a folder is not looked into again while its form is filled in."""

_LISTED_PROBLEMS = 10


class LoadFolder(OpeningOperator):
    """Loads a folder of images as a dataset, in whatever layout they lie."""

    config = short_config(
        "load_folder",
        "load a folder",
        "Load images with their splits, defect types and masks from any usual layout of folders, or from a table",
        "create_new_folder",
        allow_delegated_execution=True,
    )
    outputs = (
        Line("dataset", "Dataset", "text"),
        Line("samples", "Samples"),
        Line("problems", "Problems (tag 'problem')"),
        Line("messages", "The first problems", "markdown", when="messages"),
    )

    def add_inputs(self, ctx: foo.ExecutionContext, inputs: types.Object) -> None:
        forms.choose_one(inputs, "source", SOURCES, FOLDER, "Images")
        if _source(ctx.params) == FOLDER:
            _add_folder(ctx, inputs)
        usual = None if _source(ctx.params) == FOLDER else _free_name()
        prop = inputs.str("name", default=usual, label="Dataset name", description="Empty: FiftyOne makes one")
        name = forms.text(ctx.params, "name")
        if name is not None and fo.dataset_exists(name):
            forms.refuse(prop, f"Dataset '{name}' exists; choose another name")
        about = "Else it goes when FiftyOne is closed; the images stay in any case"
        inputs.bool("persistent", default=True, label="Keep the dataset in the database", description=about)

    def open(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        folder = paths.path_of(ctx.params, "dataset_dir")
        if _source(ctx.params) == SAMPLE:
            folder = str(_make_samples())
        if folder is None:
            raise ValueError("dataset_dir is missing: name the folder to load")
        dataset = load_folder(
            folder,
            _layout(ctx.params),
            name=forms.text(ctx.params, "name"),
            categories=ctx.params.get("categories") or None,
            label=GOOD if forms.one_of(ctx.params, "others", OTHERS, UNKNOWN) == NORMAL else None,
            columns=_columns(ctx.params) or None,
            persistent=bool(ctx.params.get("persistent", True)),
        )
        if not ctx.delegated:
            ctx.ops.open_dataset(dataset.name)
        problems = dataset.info["problems"]
        return {
            "dataset": dataset.name,
            "samples": len(dataset),
            "problems": len(problems),
            "messages": "\n\n".join(problems[:_LISTED_PROBLEMS]),
        }

    def next_step(self, result: dict[str, Any]) -> str:
        return "Next: 'Compute segment anomalies', in the panel 'Anomaly triage' or above the grid"


def _source(params: dict[str, Any]) -> str:
    return forms.one_of(params, "source", SOURCES, FOLDER)


def _make_samples() -> Path:
    """Make the folder of the sample dataset where it is not there yet, and return it."""
    folder = Path(fo.config.default_dataset_dir) / "segad-sample" / _CATEGORY
    if not folder.is_dir():
        partial = folder.with_name(f"{_CATEGORY}.partial")  # one that was interrupted does not count
        make_category(partial, _CATEGORY)
        partial.replace(folder)
    return folder


def _free_name() -> str:
    names = ("segad-sample" if number == 1 else f"segad-sample-{number}" for number in count(1))
    return next(name for name in names if not fo.dataset_exists(name))


def _layout(params: dict[str, Any]) -> str:
    return forms.one_of(params, "layout", [AUTO, *LAYOUTS], AUTO)


def _columns(params: dict[str, Any]) -> dict[str, str]:
    names = {column: forms.text(params, f"{column}_column") for column in _COLUMNS}
    return {column: name for column, name in names.items() if name is not None}


def _add_folder(ctx: foo.ExecutionContext, inputs: types.Object) -> None:
    about = "A folder, or a table (.csv) of images, labels and masks"
    prop = paths.choose_path(ctx, inputs, "dataset_dir", "Folder", about, folder=True)
    labels = {AUTO: "Recognise it"} | {name: f"{layout.title}: {layout.holds}" for name, layout in LAYOUTS.items()}
    forms.choose(inputs, "layout", labels, "Layout", default=AUTO, labels=labels)
    path = paths.path_of(ctx.params, "dataset_dir")
    if path is None:
        return
    layout, columns = _layout(ctx.params), _columns(ctx.params)
    if layout == TABLE.name or Path(path).suffix.lower() == ".csv":
        for column, label in _COLUMNS.items():
            inputs.str(f"{column}_column", label=label, description="Usual names are recognised")
    categories = tuple(name for name in ctx.params.get("categories") or () if isinstance(name, str))
    try:
        if not Path(path).expanduser().is_absolute():
            raise ValueError("Give the full path of the folder")
        now = int(time.monotonic() / _REMEMBERED)
        said, present, unknown = _survey(path, layout, categories, tuple(columns.items()), now)
    except (OSError, ValueError) as error:
        forms.refuse(prop, str(error))
        return
    inputs.view("found", types.Notice(label=said))
    if len(present) > 1:
        view = types.AutocompleteView(choices=[types.Choice(name) for name in present])
        inputs.list("categories", types.String(), label="Categories", description="Leave empty for all", view=view)
    if unknown:
        forms.choose_one(inputs, "others", OTHERS, UNKNOWN, "Images of which the folder says nothing")


@lru_cache(maxsize=8)
def _survey(
    path: str, layout: str, categories: tuple[str, ...], columns: tuple[tuple[str, str], ...], now: int
) -> tuple[str, list[str], bool]:
    """Return what is in a folder in words, its categories, and whether it says nothing of some images.

    Forms are made anew with each key that is pressed, and folders may be large: ``now`` changes every few seconds.
    """
    root, recognised = find_layout(Path(path).expanduser(), layout)
    if root.is_dir() and holds_more_files(root, _COUNTED):
        said = f"{recognised.title}: more than {_COUNTED:,} files, which are counted when they are loaded"
        return said, recognised.categories(root), recognised is IMAGES
    content = look_into(path, layout, categories or None, dict(columns) or None)
    unknown = any(image.defect is None and not image.mask_decides for image in content.listing.images)
    return str(content), content.present, unknown
