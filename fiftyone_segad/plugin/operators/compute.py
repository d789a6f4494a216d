"""Operator ``compute_segment_anomalies``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import fiftyone.operators as foo
import fiftyone.operators.types as types

from ...embedders.factory import DEFECTS, resolve_name
from ...engine.executors import EXECUTORS, ray_installed
from ...errors import SegadError
from ...registry.fields import flagged
from ...registry.run import check_key, list_runs, load_run
from ...runs.compute import compute_segment_anomalies
from ...scoring import METHODS
from ...scoring.thresholds import parse_threshold
from ...segments.boxes import DEFAULT_GRID, parse_spec
from ...utils.text import pluralize
from .. import execution, forms, normals
from ..estimate import estimate_run

METHOD_LABELS = {
    "reference": "reference: compare with normal images (ranks images and finds defects)",
    "unlabeled": "unlabeled: compare all images with each other (no normals known; defects must be rare)",
    "within_image": "within_image: compare the segments of each image with each other (the original method)",
}

DEFECT_LABELS = {
    "any": "any: all scales",
    "small": "small: fine patches only (finer maps; misses defects of texture and large areas)",
    "large": "large: coarse patches only (calmer maps; misses small defects)",
}

EXECUTOR_LABELS = {
    "local": "this machine",
    "ray": "ray: the cluster that RAY_ADDRESS names (its machines must see the images under the same paths)",
}

_LARGEST_GRID = 10
_MOST_ROTATIONS = 16
_DELEGATE_FROM = 200  # images; from there on it takes minutes


class ComputeSegmentAnomalies(foo.Operator):
    """Scores the segments of the images of the current view."""

    @property
    def config(self) -> foo.OperatorConfig:
        return execution.config(
            "compute_segment_anomalies",
            "Anomalies: compute segment anomalies",
            "Score segments of each image; add heatmaps, masks and regions",
            "thermostat",
        )

    def resolve_input(self, ctx: foo.ExecutionContext) -> types.Property:
        """The form."""
        inputs = types.Object()
        if forms.has_dataset(ctx, inputs):
            images = len(ctx.target_view())
            if images == 0:
                forms.stop(inputs, "empty", "There are no samples in the view", "Clear its filters")
            _add_inputs(ctx, inputs, images)
        return types.Property(inputs, view=types.View(label="Compute segment anomalies"))

    def resolve_execution_options(self, ctx: foo.ExecutionContext) -> foo.ExecutionOptions:
        """Offers delegated execution first where it would take minutes."""
        long = ctx.dataset is not None and len(ctx.target_view()) >= _DELEGATE_FROM
        return execution.options(long)

    def execute(self, ctx: foo.ExecutionContext) -> Any:
        """Run, and shows the samples by score."""
        samples, dataset = ctx.target_view(), ctx.dataset
        request = _Request.parse(_shown(ctx))
        reference = normals.select(dataset, ctx.params) if request.method == "reference" else None

        def work(progress: execution.Progress) -> dict[str, Any]:
            run = compute_segment_anomalies(
                samples,
                key=request.key,
                method=request.method,
                reference=reference,
                embedder=request.embedder,
                segments=request.segments,
                threshold=request.threshold,
                defects=request.defects,
                rotations=request.rotations,
                overwrite=request.overwrite,
                executor=request.executor,
                progress=progress,
            )
            return {
                "key": run.key,
                "scored": run.scored,
                "flagged": len(flagged(dataset, run)),
                "threshold": run.thresholds.image,
                "above": f"{run.thresholds.image:.4g}",
                "skipped": len(run.skipped),
                "messages": "\n\n".join(
                    [*run.warnings, *(f"{entry['filepath']}: {entry['reason']}" for entry in run.skipped[:10])]
                ),
            }

        def after(result: dict[str, Any]) -> Iterator[Any]:
            run = load_run(dataset, request.key)
            shown = ["score", "pred", *(["segments"] if request.method == "within_image" else ["map"])]
            view = samples.exists(run.field("score")).sort_by(run.field("score"), reverse=True)
            yield from execution.show(ctx, dataset, view, [run.field(name) for name in shown])

        return execution.execute(ctx, request.key, work, _outputs, after)

    def resolve_output(self, ctx: foo.ExecutionContext) -> types.Property:
        """The result."""
        return _outputs(ctx.results)

    def resolve_placement(self, ctx: foo.ExecutionContext) -> types.Placement:
        """A button above the grid."""
        return types.Placement(
            types.Places.SAMPLES_GRID_SECONDARY_ACTIONS,
            types.Button(label="Compute segment anomalies", icon="thermostat", prompt=True),
        )


@dataclass(frozen=True)
class _Request:
    """The parameters of a run as checked values."""

    key: str
    method: str
    embedder: str
    segments: str | None
    threshold: str | float | None
    defects: str
    rotations: int
    overwrite: bool
    executor: str

    @classmethod
    def parse(cls, params: dict[str, Any]) -> _Request:
        """Read the parameters, whether they come from the form or from Python.

        Raises:
            ValueError: if one is wrong
        """
        method = forms.text(params, "method", "reference")
        if method not in METHODS:
            raise ValueError(f"method={method!r} must be one of {list(METHODS)}")
        segments = forms.text(params, "segments")
        if method == "within_image" and segments is None:
            segments = f"grid:{forms.whole(params, 'grid', DEFAULT_GRID, low=1)}"
        threshold = params.get("threshold")
        return cls(
            key=forms.text(params, "key", "segad") or "segad",
            method=method,
            embedder=resolve_name(forms.embedder_name(params), method),
            segments=segments,
            threshold=forms.number_or_text(threshold) if isinstance(threshold, str) and threshold else threshold,
            defects=forms.text(params, "defects", "any") or "any",
            rotations=forms.whole(params, "rotations", 1, low=1),
            overwrite=bool(params.get("overwrite", False)),
            executor=forms.text(params, "executor", "local") or "local",
        )


def _add_inputs(ctx: foo.ExecutionContext, inputs: types.Object, images: int) -> None:
    dataset, params = ctx.dataset, ctx.params
    runs = list_runs(dataset)
    free = next(name for name in _key_names() if name not in runs)
    key = inputs.str(
        "key",
        default=free,
        label="Key",
        description="Names the run and begins the names of its fields",
    )
    name = forms.text(params, "key", free) or free
    if name in runs:
        inputs.bool("overwrite", default=False, label=f"Replace the run '{name}'")
    if name in runs and not params.get("overwrite"):
        key.invalid, key.error_message = True, f"Run '{name}' exists; tick the box to replace it, or use another key"
    else:
        forms.invalid(key, lambda: check_key(dataset, name, overwrite=True))

    methods = types.RadioGroup()
    for method in METHODS:
        methods.add_choice(method, label=METHOD_LABELS[method])
    inputs.enum(
        "method",
        methods.values(),
        default="reference",
        label="Method",
        description="What each segment of an image is compared with",
        view=methods,
    )
    method = params.get("method", "reference")
    if method == "within_image":
        grid = inputs.int(
            "grid",
            default=DEFAULT_GRID,
            min=1,
            max=_LARGEST_GRID,
            label="Grid",
            description="Each image is cut into this many segments a side",
            view=types.SliderView(value_precision=0, view_multiple_of=1),
        )
        forms.invalid(grid, lambda: forms.whole(params, "grid", DEFAULT_GRID, low=1))
    else:
        _add_comparison(ctx, inputs, method)

    forms.choose_embedder(ctx, inputs, method)
    if ray_installed():
        executors = types.DropdownView()
        for name in EXECUTORS:
            executors.add_choice(name, label=EXECUTOR_LABELS[name])
        inputs.enum("executor", executors.values(), default="local", label="Runs on", view=executors)
    inputs.view("count", types.Notice(label=f"{pluralize(images, 'image')} will be scored{_estimate(ctx)}"))


def _estimate(ctx: foo.ExecutionContext) -> str:
    """What the run will take, as the end of a sentence; empty if the form is not yet complete."""
    try:
        request = _Request.parse(_shown(ctx))
        if ctx.dataset.has_sample_field(request.segments or ""):
            return ""  # a trial of the one takes seconds, and boxes of the other differ from image to image
        reference = normals.select(ctx.dataset, ctx.params) if request.method == "reference" else None
        found = estimate_run(
            ctx.target_view().values("filepath"),
            [] if reference is None else reference.values("filepath"),
            request.method,
            request.embedder,
            request.segments,
            request.defects,
            request.rotations,
        )
    except (SegadError, ValueError):
        return ""  # told under the field that is wrong
    return forms.as_tried(found)


def _add_comparison(ctx: foo.ExecutionContext, inputs: types.Object, method: str) -> None:
    """The inputs of the methods that compare images with each other."""
    params = ctx.params
    if method == "reference":
        normals.add_inputs(ctx, inputs)
        rotations = inputs.int(
            "rotations",
            default=1,
            min=1,
            max=_MOST_ROTATIONS,
            label="Rotations",
            description="8 for parts that lie at any angle: each normal image also counts turned by 45, 90, "
            "... degrees. Reading the normal images takes that many times as long",
        )
        forms.invalid(rotations, lambda: forms.whole(params, "rotations", 1, low=1))
    defects = types.RadioGroup()
    for name in DEFECTS:
        defects.add_choice(name, label=DEFECT_LABELS[name])
    inputs.enum(
        "defects",
        defects.values(),
        default="any",
        label="Defects",
        description="The size of the patches that are compared",
        view=defects,
    )
    segments = inputs.str(
        "segments",
        label="Segments",
        description="Empty for the embedder's own patches; or 'tiles', 'tiles:SIZE:STRIDE' as shares of the shorter "
        "side, 'grid:N', or a Detections field",
    )
    spec = forms.text(params, "segments")
    if spec is not None and not ctx.dataset.has_sample_field(spec):
        forms.invalid(segments, lambda: parse_spec(spec))
    usual = "fpr:0.01" if method == "reference" else "quantile:0.95"
    threshold = inputs.str(
        "threshold",
        default=usual,
        label="Threshold",
        description="'fpr:0.01': share of normal images that may be flagged, if some are known; 'quantile:0.95' of the "
        "scored images; 'f1'; or a number",
    )
    forms.invalid(threshold, lambda: parse_threshold(forms.number_or_text(params.get("threshold") or usual)))


def _shown(ctx: foo.ExecutionContext) -> dict[str, Any]:
    """The parameters without those that the form no longer shows: the App sends their last values all the same."""
    hidden = {
        "within_image": ("segments", "threshold", "defects", "rotations"),
        "unlabeled": ("grid", "rotations"),
    }.get(ctx.params.get("method"), ("grid",))
    if not execution.in_app(ctx):
        return dict(ctx.params)
    return {name: value for name, value in ctx.params.items() if name not in hidden}


def _key_names() -> Iterator[str]:
    yield "segad"
    for number in count(2):
        yield f"segad_{number}"


def _outputs(result: dict[str, Any]) -> types.Property:
    form = types.Object()
    form.int("scored", label="Images scored")
    form.int("flagged", label="Anomalous")
    form.str("above", label="Those with scores above")
    if result.get("skipped"):
        form.int("skipped", label=f"Images skipped (tag {result['key']}_skipped)")
    if result.get("messages"):
        form.str("messages", label="Please note", view=types.MarkdownView())
    label = (
        f"Run '{result.get('key')}' is done; the grid shows the highest scores first. Next: move its threshold in the "
        "panel 'Anomaly triage' (+ beside the grid's tab), or evaluate it"
    )
    return forms.with_next_step(form, label)
