"""Operators ``try_image``, one picture with the original method's slider or against a run, and ``show_trial``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fiftyone.operators as foo
import fiftyone.operators.types as types
from fiftyone.core.session.events import SetSample
from fiftyone.server.events import dispatch_event

from ...embedders.factory import check_installed, resolve_name
from ...engine.calibration import normal_scores
from ...errors import ImageError, MissingDependencyError
from ...registry.keys import list_runs
from ...registry.run import load_record
from ...review.queue import rarity_text
from ...segments.boxes import DEFAULT_GRID
from ...utils.uploads import MAX_UPLOAD_BYTES, decode_upload
from .. import forms
from ..current_run import current_run_of
from ..trial import (
    DATASET,
    NEAREST,
    OUTLIERS,
    JudgedImage,
    TriedImage,
    save_upload,
    set_pending,
    take_pending,
    try_against_run,
    try_file,
)
from .base import Line, OpeningOperator, Operator, Table, short_config

SAMPLE, UPLOAD = "sample", "upload"

ITSELF, RUN = "itself", "run"

_LAST = "The picture that was tried last"

_OTHER = {
    "efficientnet": "fastdup is not installed, so that EfficientNet's features stand in for its own: the answer is not "
    "that of the original method. Install it with: pip install --no-deps fastdup==2.54"
}


class TryImage(OpeningOperator):
    """Finds the odd segments of one picture, an uploaded one or that of a sample, or judges it as a run does."""

    config = short_config(
        "try_image",
        "try one image",
        "Upload a picture, or take the selected one: see which of its segments are odd, or what a run says of it",
        "image_search",
        risk_level=types.RiskLevel.LOW,
    )
    outputs = (
        Line("decision", "Decision", "text", when="decision"),
        Line("rarity", "Compared with what the run knows as normal", "text", when="rarity"),
        Line("regions", "Regions above the threshold", when="decision"),
        Line("segments", "Segments", when="segments"),
        Line("outliers", "Outlier segments (red)", when="segments"),
        Table(
            "rows",
            "Most outlying first",
            {
                "place": "Row, column",
                "similarity": "Similarity (fastdup's distance)",
                "nearest": "Most like (row, column)",
            },
            when="segments",
        ),
    )
    place = types.Places.SAMPLES_VIEWER_ACTIONS
    button_label = "Find the odd segments of this image"

    def add_inputs(self, ctx: foo.ExecutionContext, inputs: types.Object) -> None:
        sample = _sample_of(ctx)
        if sample is not None:
            sources = {SAMPLE: f"{sample.label}: {Path(sample.filepath).name}", UPLOAD: "Upload a picture"}
            forms.choose_one(inputs, "source", sources, SAMPLE, "Picture")
        if _source(ctx, sample) == UPLOAD:
            _add_upload(ctx, inputs)
        runs = _runs(ctx)
        if runs:
            ways = {ITSELF: "Its own other segments: the original method", RUN: "The normal images of a run"}
            forms.choose_one(inputs, "compare", ways, ITSELF, "Compare it with")
        if _compared(ctx, runs) == RUN:
            forms.choose(inputs, "key", runs, "Run", "Its bank and its threshold; it stays as it is", _usual(ctx, runs))
            return
        about = "The picture is cut into this many segments a side, which are compared with each other"
        forms.choose_grid(ctx, inputs, about)
        try:
            check_installed("auto", "within_image")
        except MissingDependencyError as error:
            forms.stop(inputs, "missing", "No embedder is installed", str(error))
        if other := _OTHER.get(resolve_name("auto", "within_image")):
            inputs.view("other", types.Warning(label=other))

    def open(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        grid = forms.whole(ctx.params, "grid", DEFAULT_GRID, low=1)
        runs = _runs(ctx)
        key = forms.one_of(ctx.params, "key", runs, _usual(ctx, runs)) if _compared(ctx, runs) == RUN else None
        sample = _sample_of(ctx)
        if sample is None or _source(ctx, sample) == UPLOAD:
            content = _content(ctx.params)
            if content is None:
                raise ValueError("picture is missing: upload one, or select a sample")
            filepath = save_upload(decode_upload(content))
        else:
            filepath = sample.filepath
        if key is None:
            tried = try_file(filepath, grid)
            _show(ctx, tried.sample_id, [OUTLIERS, NEAREST])
            return _result(tried)
        judged = try_against_run(ctx.dataset, key, filepath)
        _show(ctx, judged.sample_id, judged.fields)
        return _judgement(judged)

    def next_step(self, result: dict[str, Any]) -> str:
        return str(result.get("advice", ""))


class ShowTrial(Operator):
    """Opens the sample that was tried last: the second half of ``try_image``, once the App has opened its dataset.

    The App runs it by itself when a dataset has been opened: what is triggered along with ``open_dataset`` still meets
    the dataset before it. The trigger ``open_sample`` would show the fields of that one too, which the event that
    ``session.sample_id = ...`` sends does not.
    """

    config = short_config(
        "show_trial",
        "show the image that was tried",
        "Runs by itself after 'try one image'",
        "image_search",
        dynamic=False,
        unlisted=True,
        on_dataset_open=True,
        risk_level=types.RiskLevel.LOW,
    )
    needs_dataset = False

    async def execute(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        sample_id = take_pending() if ctx.dataset_name == DATASET else None
        if sample_id is not None:
            await dispatch_event(None, SetSample(sample_id=sample_id))
        return {}

    def next_step(self, result: dict[str, Any]) -> str:
        return ""


def _show(ctx: foo.ExecutionContext, sample_id: str, fields: list[str]) -> None:
    """Have the App show a sample of the dataset of trials."""
    set_pending(sample_id)
    if ctx.dataset is not None and ctx.dataset.name == DATASET:
        ctx.ops.close_sample()  # else it stays as it was read
        ctx.ops.reload_dataset()
        ctx.ops.set_active_fields(fields)
        ctx.trigger("@segad/anomaly/show_trial")
    else:
        ctx.ops.open_dataset(DATASET)  # then the App runs show_trial


def _runs(ctx: foo.ExecutionContext) -> list[str]:
    """Return the keys of the runs that a picture can be compared with."""
    if ctx.dataset is None:
        return []
    return [key for key in list_runs(ctx.dataset) if load_record(ctx.dataset, key).method == "reference"]


def _compared(ctx: foo.ExecutionContext, runs: list[str]) -> str:
    ways = (ITSELF, RUN) if runs else (ITSELF,)
    return forms.one_of(ctx.params, "compare", ways, ITSELF)


def _usual(ctx: foo.ExecutionContext, runs: list[str]) -> str:
    key = current_run_of(ctx)
    return key if key in runs else runs[-1]


@dataclass(frozen=True)
class _Sample:
    """A sample that a form can offer: its file, and what it is to the person."""

    filepath: str
    label: str


def _sample_of(ctx: foo.ExecutionContext) -> _Sample | None:
    """Return the sample that parameters name, the open one, the first selected one, or the one that was tried last.

    Raises:
        ValueError: if a parameter names no image
    """
    if ctx.dataset is None:
        return None
    sample_id = forms.text(ctx.params, "sample_id")
    if sample_id is not None:
        filepath = _filepath(ctx, sample_id)
        if filepath is None:
            raise ValueError(f"sample_id={sample_id!r} is no image of dataset '{ctx.dataset.name}'")
        return _Sample(filepath, "The sample")
    selected = [*ctx.selected]
    label = "The selected sample" if len(selected) == 1 else f"The first of {len(selected)} selected samples"
    for id, text in [(ctx.current_sample, "The open sample"), *((id, label) for id in selected[:1])]:
        filepath = _filepath(ctx, id) if id else None
        if filepath is not None:
            return _Sample(filepath, text)
    if ctx.dataset.name == DATASET and len(ctx.dataset):  # another grid needs no other upload
        return _Sample(str(ctx.dataset.sort_by("last_modified_at", reverse=True).first().filepath), _LAST)
    return None


def _filepath(ctx: foo.ExecutionContext, id: str) -> str | None:
    """Return the file of an image of the view or dataset; a patch has that of its sample."""
    for samples in (ctx.view, ctx.dataset):
        try:
            sample = samples[id]
        except (KeyError, ValueError):
            continue
        return str(sample.filepath) if sample.media_type == "image" else None
    return None


def _source(ctx: foo.ExecutionContext, sample: _Sample | None) -> str:
    usual = SAMPLE if sample is not None and "picture" not in ctx.params else UPLOAD
    source = forms.one_of(ctx.params, "source", (SAMPLE, UPLOAD), usual)
    return source if sample is not None else UPLOAD


def _add_upload(ctx: foo.ExecutionContext, inputs: types.Object) -> None:
    picture = inputs.uploaded_file(
        "picture",
        required=True,
        label="Picture",
        description="PNG, JPEG, WebP, BMP, GIF or TIFF",
        # Without `types`: the App compares these with the ends of file names, and refuses .JPG where .jpg is taken
        view=types.FileView(
            max_size=MAX_UPLOAD_BYTES, max_size_error_message=f"At most {MAX_UPLOAD_BYTES // 2**20} MB"
        ),
    )
    try:
        content = _content(ctx.params)
        if content is not None:
            pixels = decode_upload(content)
            inputs.view("size", types.Notice(label=f"{pixels.shape[1]} x {pixels.shape[0]} px"))
    except (ImageError, ValueError) as error:
        forms.refuse(picture, str(error))


def _content(params: dict[str, Any]) -> str | None:
    """Return the base64 content of the uploaded file; None before there is one."""
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

    result = tried.result
    outliers = zip(result.outliers.indices, result.outliers.similarities, result.nearest, strict=True)
    rows = [
        {"place": place(int(index)), "similarity": f"{similarity:.3g}", "nearest": place(int(nearest[0]))}
        for index, similarity, nearest in outliers
    ]
    return {
        "dataset": DATASET,
        "sample_id": tried.sample_id,
        "embedder": tried.embedder,
        "segments": len(result.segments),
        "outliers": len(rows),
        "rows": rows,
        "advice": _advice(tried),
    }


def _judgement(judged: JudgedImage) -> dict[str, Any]:
    run, score, threshold = judged.run, judged.score, judged.run.thresholds.image
    verdict, relation = ("anomalous", "") if score > threshold else ("normal", "not ")
    return {
        "dataset": DATASET,
        "sample_id": judged.sample_id,
        "score": score,
        "decision": f"{verdict}: its score {score:.3g} is {relation}above the threshold {threshold:.3g}",
        "rarity": rarity_text(score, normal_scores(run.store)),
        "regions": judged.regions,
        "advice": f"Map, mask and regions are as run '{run.key}' makes them, and nothing has changed in it. To have it "
        "score pictures for good, add them to its dataset and use 'Score new images'.",
    }


def _advice(tried: TriedImage) -> str:
    if not len(tried.result.outliers.indices):
        return "One segment has nothing to be compared with: choose a grid of 2 or more."
    return (
        "Red segments are least like the others of this picture, green ones are what they are most like. Some segment "
        "is always the oddest one, also in a good picture: whether images are odd is told by 'Compute segment "
        "anomalies' on a dataset with normal images. Run this again with another grid to see smaller or larger "
        "parts; it offers this picture."
    )
