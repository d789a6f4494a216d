"""Operator ``load_mvtec``."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
import fiftyone.operators.types as types

from ...data.mvtec import category_names, load_mvtec
from ...data.sample_data import make_category
from ...utils.text import pluralize
from .. import forms
from .base import Line, OpeningOperator, short_config

FOLDER, SAMPLE = "folder", "sample"

SOURCES = {
    FOLDER: "A folder in MVTec layout",
    SAMPLE: "The sample dataset: 56 pictures of bricks, 20 of them with drawn defects, made within seconds",
}

_CATEGORY = "brick"
_LISTED_CATEGORIES = 15
_LISTED_PROBLEMS = 10


class LoadMvtec(OpeningOperator):
    """Loads a folder in the layout of MVTec AD, LOCO AD or AD 2 as a dataset."""

    config = short_config(
        "load_mvtec",
        "load an MVTec folder",
        "Load one category, or a folder of categories, with ground-truth masks",
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
        folder = forms.text(ctx.params, "dataset_dir")
        if _source(ctx.params) == SAMPLE:
            folder = str(_make_samples())
        if folder is None:
            raise ValueError("dataset_dir is missing: name the folder to load")
        dataset = load_mvtec(
            folder,
            name=forms.text(ctx.params, "name"),
            categories=ctx.params.get("categories") or None,
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


def _add_folder(ctx: foo.ExecutionContext, inputs: types.Object) -> None:
    prop = inputs.str(
        "dataset_dir",
        required=True,
        label="Folder",
        description="Holds train/good, test/<defect> and ground_truth/<defect> (or those of MVTec LOCO AD or "
        "MVTec AD 2), or categories that do",
    )
    path = forms.text(ctx.params, "dataset_dir")
    if path is None:
        return
    try:
        names = _categories(path)
    except (FileNotFoundError, ValueError) as error:
        forms.refuse(prop, str(error))
        return
    label = f"{pluralize(len(names), 'category', 'categories')}: {', '.join(names[:_LISTED_CATEGORIES])}"
    inputs.view("found", types.Notice(label=label))
    if len(names) > 1:
        inputs.list(
            "categories",
            types.String(),
            label="Categories",
            description="Leave empty for all",
            view=types.AutocompleteView(choices=[types.Choice(name) for name in names]),
        )


def _categories(path: str) -> list[str]:
    if not Path(path).expanduser().is_absolute():
        raise ValueError("Give the full path of the folder")
    return category_names(path)
