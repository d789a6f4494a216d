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
from .. import forms

FOLDER, SAMPLE = "folder", "sample"

SOURCES = {
    FOLDER: "A folder in MVTec layout",
    SAMPLE: "The sample dataset: 56 pictures of bricks, 20 of them with drawn defects, made within seconds",
}

_CATEGORY = "brick"
_SHOWN = 10


class LoadMvtec(foo.Operator):
    """Loads a folder in the layout of MVTec AD, LOCO AD or AD 2 as a dataset."""

    @property
    def config(self) -> foo.OperatorConfig:
        return foo.OperatorConfig(
            name="load_mvtec",
            label="Anomalies: load an MVTec folder",
            description="Load one category, or a folder of categories, with ground-truth masks",
            icon="create_new_folder",
            dynamic=True,
            allow_delegated_execution=True,
            risk_level=types.RiskLevel.MEDIUM,
        )

    def resolve_input(self, ctx: foo.ExecutionContext) -> types.Property:
        """The form."""
        inputs = types.Object()
        sources = types.RadioGroup()
        for source, label in SOURCES.items():
            sources.add_choice(source, label=label)
        inputs.enum("source", sources.values(), default=FOLDER, label="Images", view=sources)
        if _source(ctx.params) == FOLDER:
            _add_folder(ctx, inputs)
        usual = None if _source(ctx.params) == FOLDER else _free_name()
        name = inputs.str("name", default=usual, label="Dataset name", description="Empty: FiftyOne makes one")
        wanted = forms.text(ctx.params, "name")
        if wanted is not None and fo.dataset_exists(wanted):
            name.invalid, name.error_message = True, f"Dataset '{wanted}' exists; choose another name"
        inputs.bool(
            "persistent",
            default=True,
            label="Keep the dataset in the database",
            description="Else it goes when FiftyOne is closed; the images stay in any case",
        )
        return types.Property(inputs, view=types.View(label="Load images"))

    def execute(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        """Load, and opens the dataset."""
        folder = forms.text(ctx.params, "dataset_dir")
        if _source(ctx.params) == SAMPLE:
            folder = str(_sample_folder())
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
            "messages": "\n\n".join(problems[:_SHOWN]),
        }

    def resolve_output(self, ctx: foo.ExecutionContext) -> types.Property:
        """The result."""
        form = types.Object()
        form.str("dataset", label="Dataset")
        form.int("samples", label="Samples")
        form.int("problems", label="Problems (tag 'problem')")
        if ctx.results.get("messages"):
            form.str("messages", label="The first problems", view=types.MarkdownView())
        return forms.with_next_step(
            form, "Next: 'Compute segment anomalies', in the panel 'Anomaly triage' or above the grid"
        )


def _source(params: dict[str, Any]) -> str:
    source = forms.text(params, "source", FOLDER)
    if source not in SOURCES:
        raise ValueError(f"source={source!r} must be one of {list(SOURCES)}")
    return source


def _sample_folder() -> Path:
    """The folder of the sample dataset, made where it is not there yet."""
    folder = Path(fo.config.default_dataset_dir) / "segad-sample" / _CATEGORY
    if not folder.is_dir():
        partial = folder.with_name(f"{_CATEGORY}.partial")  # one that was interrupted does not count
        make_category(partial, _CATEGORY)
        partial.replace(folder)
    return folder


def _free_name() -> str:
    """A name for the sample dataset."""
    names = ("segad-sample" if number == 1 else f"segad-sample-{number}" for number in count(1))
    return next(name for name in names if not fo.dataset_exists(name))


def _add_folder(ctx: foo.ExecutionContext, inputs: types.Object) -> None:
    folder = inputs.str(
        "dataset_dir",
        required=True,
        label="Folder",
        description="Holds train/good, test/<defect> and ground_truth/<defect> (or those of MVTec LOCO AD or "
        "MVTec AD 2), or categories that do",
    )
    path = forms.text(ctx.params, "dataset_dir")
    if path is not None and not _invalid_folder(folder, path):
        found = category_names(path)
        inputs.view("found", types.Notice(label=f"{len(found)} categories: {', '.join(found[:15])}"))
        if len(found) > 1:
            inputs.list(
                "categories",
                types.String(),
                label="Categories",
                description="Leave empty for all",
                view=types.AutocompleteView(choices=[types.Choice(name) for name in found]),
            )


def _invalid_folder(folder: types.Property, path: str) -> bool:
    if not Path(path).expanduser().is_absolute():
        folder.invalid, folder.error_message = True, "Give the full path of the folder"
        return True
    try:
        category_names(path)
    except FileNotFoundError as error:
        folder.invalid, folder.error_message = True, str(error)
        return True
    return False
