"""Operator ``try_image``: the original method's interface, one picture and a slider."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fiftyone.operators as foo
import fiftyone.operators.types as types

from ...embedders.factory import check_installed, resolve_name
from ...errors import ImageError, MissingDependencyError
from ...segments.boxes import DEFAULT_GRID
from ...utils.uploads import MAX_BYTES, decode_upload
from .. import forms
from ..trial import DATASET, TriedImage, set_pending, try_file, try_upload

LARGEST_GRID = 10

SAMPLE, UPLOAD = "sample", "upload"

_OTHER = {
    "efficientnet": "fastdup is not installed, so that EfficientNet's features stand in for its own: the answer is not "
    "that of the original method. Install it with: pip install --no-deps fastdup==2.54"
}


class TryImage(foo.Operator):
    """Finds the odd segments of one picture: an uploaded one, or that of a sample."""

    @property
    def config(self) -> foo.OperatorConfig:
        return foo.OperatorConfig(
            name="try_image",
            label="Anomalies: try one image",
            description="Upload a picture, or take the selected one: see which of its segments are unlike the others",
            icon="image_search",
            dynamic=True,
            risk_level=types.RiskLevel.LOW,
        )

    def resolve_input(self, ctx: foo.ExecutionContext) -> types.Property:
        """The form."""
        inputs = types.Object()
        sample = _shown_sample(ctx)
        if sample is not None:
            sources = types.RadioGroup()
            sources.add_choice(SAMPLE, label=f"{sample.label}: {Path(sample.filepath).name}")
            sources.add_choice(UPLOAD, label="Upload a picture")
            inputs.enum("source", sources.values(), default=SAMPLE, label="Picture", view=sources)
        if _source(ctx, sample) == UPLOAD:
            _add_upload(ctx, inputs)
        inputs.int(
            "grid",
            default=DEFAULT_GRID,
            min=1,
            max=LARGEST_GRID,
            label="Grid",
            description="The picture is cut into this many segments a side, which are compared with each other",
            view=types.SliderView(value_precision=0, view_multiple_of=1),
        )
        try:
            check_installed("auto", "within_image")
        except MissingDependencyError as error:
            forms.stop(inputs, "missing", "No embedder is installed", str(error))
        other = _OTHER.get(resolve_name("auto", "within_image"))
        if other is not None:
            inputs.view("other", types.Warning(label=other))
        return types.Property(inputs, view=types.View(label="Try one image"))

    def execute(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        """Find the outliers, and opens the picture with them."""
        grid = forms.whole(ctx.params, "grid", DEFAULT_GRID, low=1)
        sample = _shown_sample(ctx)
        if _source(ctx, sample) == UPLOAD:
            content = _content(ctx.params)
            if content is None:
                raise ValueError("picture is missing: upload one, or select a sample")
            tried = try_upload(decode_upload(content), grid)
        else:
            assert sample is not None
            tried = try_file(sample.filepath, grid)
        set_pending(tried.sample_id)
        if ctx.dataset is not None and ctx.dataset.name == DATASET:
            ctx.ops.close_sample()  # else it stays as it was read
            ctx.ops.reload_dataset()
            ctx.trigger(f"{self.plugin_name}/show_trial")
        else:
            ctx.ops.open_dataset(DATASET)  # then the App runs show_trial
        return _result(tried)

    def resolve_output(self, ctx: foo.ExecutionContext) -> types.Property:
        """The result."""
        form = types.Object()
        form.int("segments", label="Segments")
        form.int("outliers", label="Outlier segments (red)")
        row = types.Object()
        table = types.TableView()
        for name, label in _COLUMNS.items():
            row.str(name)
            table.add_column(name, label=label)
        form.list("rows", row, label="Most outlying first", view=table)
        form.str("next", label="Next", view=types.MarkdownView())
        return types.Property(form, view=types.View(label="Tried"))

    def resolve_placement(self, ctx: foo.ExecutionContext) -> types.Placement:
        """A button beside an open sample."""
        return types.Placement(
            types.Places.SAMPLES_VIEWER_ACTIONS,
            types.Button(label="Find the odd segments of this image", icon="image_search", prompt=True),
        )


@dataclass(frozen=True)
class _Sample:
    """A sample that a form can offer: its file, and what it is to the person."""

    filepath: str
    label: str


_COLUMNS = {
    "place": "Row, column",
    "similarity": "Similarity (fastdup's distance)",
    "nearest": "Most like (row, column)",
}


def _shown_sample(ctx: foo.ExecutionContext) -> _Sample | None:
    """The sample that parameters name, the open one, or the first selected one; None if there is none.

    Raises:
        ValueError: if a parameter names no image
    """
    if ctx.dataset is None:
        return None
    named = forms.text(ctx.params, "sample_id")
    if named is not None:
        filepath = _filepath(ctx, named)
        if filepath is None:
            raise ValueError(f"sample_id={named!r} is no image of dataset '{ctx.dataset.name}'")
        return _Sample(filepath, "The sample")
    selected = [*ctx.selected]
    label = "The selected sample" if len(selected) == 1 else f"The first of {len(selected)} selected samples"
    for id, text in [(ctx.current_sample, "The open sample"), *((id, label) for id in selected[:1])]:
        filepath = _filepath(ctx, id) if id else None
        if filepath is not None:
            return _Sample(filepath, text)
    return None


def _filepath(ctx: foo.ExecutionContext, id: str) -> str | None:
    """The file of an image of the view or dataset; a patch has that of its sample."""
    for samples in (ctx.view, ctx.dataset):
        try:
            sample = samples[id]
        except (KeyError, ValueError):
            continue
        return str(sample.filepath) if sample.media_type == "image" else None
    return None


def _source(ctx: foo.ExecutionContext, sample: _Sample | None) -> str:
    source = forms.text(ctx.params, "source")
    if source is None:
        source = SAMPLE if sample is not None and "picture" not in ctx.params else UPLOAD
    if source not in (SAMPLE, UPLOAD):
        raise ValueError(f"source={source!r} must be '{SAMPLE}' or '{UPLOAD}'")
    return source if sample is not None else UPLOAD


def _add_upload(ctx: foo.ExecutionContext, inputs: types.Object) -> None:
    picture = inputs.uploaded_file(
        "picture",
        required=True,
        label="Picture",
        description="PNG, JPEG, WebP, BMP, GIF or TIFF",
        # Without `types`: the App compares these with the ends of file names, and refuses .JPG where .jpg is taken
        view=types.FileView(max_size=MAX_BYTES, max_size_error_message=f"At most {MAX_BYTES // 2**20} MB"),
    )
    try:
        content = _content(ctx.params)
        if content is not None:
            pixels = decode_upload(content)
            inputs.view("size", types.Notice(label=f"{pixels.shape[1]} x {pixels.shape[0]} px"))
    except (ImageError, ValueError) as error:
        picture.invalid, picture.error_message = True, str(error)


def _content(params: dict[str, Any]) -> str | None:
    """The base64 content of the uploaded file; None before there is one."""
    picture = params.get("picture")
    if picture is None:
        return None
    content = picture.get("content") if isinstance(picture, dict) else None
    if not isinstance(content, str):
        raise ValueError("picture must be an uploaded file: {'name': ..., 'content': base64}")
    return content


def _result(tried: TriedImage) -> dict[str, Any]:
    def place(index: int) -> str:
        return f"{index // tried.grid + 1}, {index % tried.grid + 1}"

    found = tried.found
    outliers = zip(found.outliers.indices, found.outliers.similarities, found.nearest, strict=True)
    rows = [
        {"place": place(int(index)), "similarity": f"{similarity:.4f}", "nearest": place(int(nearest[0]))}
        for index, similarity, nearest in outliers
    ]
    return {
        "dataset": DATASET,
        "sample_id": tried.sample_id,
        "embedder": tried.embedder,
        "segments": len(found.segments),
        "outliers": len(rows),
        "rows": rows,
        "next": _advice(tried),
    }


def _advice(tried: TriedImage) -> str:
    if not len(tried.found.outliers.indices):
        return "One segment has nothing to be compared with: choose a grid of 2 or more."
    return (
        "Red segments are least like the others of this picture, green ones are what they are most like. Some segment "
        "is always the oddest one, also in a good picture: whether *images* are odd is told by 'Compute segment "
        "anomalies' on a dataset with normal images. Run this again with another grid to see smaller or larger parts."
    )
