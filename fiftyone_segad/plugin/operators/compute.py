"""Operator ``compute_segment_anomalies``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import fiftyone.core.media as fom
import fiftyone.operators as foo
import fiftyone.operators.types as types

from ...embedders.factory import resolve_name
from ...engine.executors import EXECUTORS, ray_installed
from ...registry.run import load_run
from ...registry.samples import MAX_ROTATIONS, check_numbers
from ...registry.views import load_views
from ...runs.compute import compute_segment_anomalies
from ...runs.inspection import MinArea
from ...scoring import METHODS
from ...scoring.thresholds import DEFAULT_FPR, DEFAULT_QUANTILE, parse_threshold
from ...segments.boxes import DEFAULT_GRID, parse_spec
from .. import execution, forms, normals, zones
from ..current_run import shown_fields
from ..target import grouped_samples, target_samples, wants_each_slice
from .base import LongOperator, long_config
from .new_run import OUTPUTS, add_key, result_of

METHOD_LABELS = {
    "reference": "reference: compare with normal images (ranks images and finds defects)",
    "unlabeled": "unlabeled: compare all images with each other (no normals known; defects must be rare)",
    "within_image": "within_image: compare the segments of each image with each other (the original method)",
}

EXECUTOR_LABELS = {
    "local": "this machine",
    "ray": "ray: the cluster that RAY_ADDRESS names (its machines must see the images under the same paths)",
}

ALIGN_LABELS = {
    "auto": "auto: lay parts straight if a few images say that it helps",
    "always": "lay them straight: what lies beside the part is not inspected",
    "never": "compare images as they are",
}

_ALIGN = {"auto": None, "always": True, "never": False}

_ABOUT_ALIGN = "Parts on a plain ground can be laid straight and cut out before they are compared"

_FIELDS = {
    "reference": ("defects", "segments", "threshold", "align", "rotations", "clean"),
    "unlabeled": ("defects", "segments", "threshold", "align"),
    "within_image": ("grid",),
}
"""Fields that a form has for one method and not for others."""

_ABOUT_SLICES = (
    "Each is compared with the normal images of its own slice, and is a run of its own; 'Decide on parts' takes them "
    "together. Else the slice that is looked at is scored"
)


class ComputeSegmentAnomalies(LongOperator):
    """Scores the segments of the images of the current view."""

    config = long_config(
        "compute_segment_anomalies",
        "compute segment anomalies",
        "Score segments of each image; add heatmaps, masks and regions",
        "thermostat",
    )
    place = types.Places.SAMPLES_GRID_SECONDARY_ACTIONS
    delegate_from = 200
    outputs = OUTPUTS

    def add_inputs(self, ctx: foo.ExecutionContext, inputs: types.Object) -> None:
        add_key(ctx, inputs, "segad")
        if ctx.dataset.media_type == fom.GROUP:
            inputs.bool("each_slice", default=False, label="All slices, each by itself", description=_ABOUT_SLICES)
        labels = {method: METHOD_LABELS[method] for method in METHODS}
        about = "What each segment of an image is compared with"
        forms.choose_one(inputs, "method", labels, "reference", "Method", about)
        method = ctx.params.get("method", "reference")
        if method == "reference":
            _add_normals(ctx, inputs)
        if method == "unlabeled":
            _choose_align(inputs)
        if method == "within_image":
            forms.choose_grid(ctx, inputs, "Each image is cut into this many segments a side")
        else:
            _add_comparison(ctx, inputs, method)
        zones.add_zones(ctx, inputs)
        zones.add_min_area(ctx, inputs)
        forms.choose_embedder(ctx, inputs, method)
        if ray_installed():
            forms.choose(inputs, "executor", EXECUTORS, "Runs on", default="local", labels=EXECUTOR_LABELS)
        forms.has_images(ctx, inputs, "scored", forms.speed_of(ctx, method))

    def execute(self, ctx: foo.ExecutionContext) -> Any:
        request = _Request.parse(_visible_params(ctx))
        samples, dataset = grouped_samples(ctx) if wants_each_slice(ctx) else target_samples(ctx), ctx.dataset
        reference = normals.select(ctx) if request.method == "reference" else None

        def work(progress: execution.Progress) -> dict[str, Any]:
            run = compute_segment_anomalies(samples, reference=reference, progress=progress, **vars(request))
            return result_of(dataset, run)

        def show(result: dict[str, Any]) -> Iterator[Any]:
            if wants_each_slice(ctx):
                run = next(iter(load_views(dataset, request.key).runs.values()))  # shown with those of other slices
                yield from execution.show_fields(ctx, dataset, ctx.view, shown_fields(dataset, run.key))
                return
            run = load_run(dataset, request.key)
            view = samples.exists(run.field("score")).sort_by(run.field("score"), reverse=True)
            yield from execution.show_fields(ctx, dataset, view, shown_fields(dataset, request.key))

        return self.run(ctx, request.key, work, show, request.key)

    def next_step(self, result: dict[str, Any]) -> str:
        return (
            f"Run '{result.get('key')}' is done; the grid shows the highest scores first. Next: move its threshold in "
            "the panel 'Anomaly triage' (+ beside the grid's tab), or evaluate it"
        )


@dataclass(frozen=True)
class _Request:
    """Parameters of ``compute_segment_anomalies`` as checked values."""

    key: str
    method: str
    embedder: str
    segments: str | None
    threshold: str | float | None
    defects: str
    align: bool | None
    rotations: int | None
    clean: bool
    overwrite: bool
    executor: str
    zones: str | None
    zones_from: str | None
    min_area: MinArea

    @classmethod
    def parse(cls, params: dict[str, Any]) -> _Request:
        """Read the parameters, whether they come from the form or from Python.

        Raises:
            ValueError: if one is wrong
        """
        method = forms.one_of(params, "method", METHODS, "reference")
        segments = forms.text(params, "segments")
        if method == "within_image" and segments is None:
            segments = f"grid:{forms.whole(params, 'grid', DEFAULT_GRID, low=1)}"
        threshold, field = params.get("threshold"), zones.chosen(params, "zones")
        return cls(
            key=forms.text(params, "key", "segad") or "segad",
            method=method,
            embedder=resolve_name(forms.embedder_name(params), method),
            segments=segments,
            threshold=forms.number_or_text(threshold) if isinstance(threshold, str) and threshold else threshold,
            defects=forms.text(params, "defects", "any") or "any",
            align=_ALIGN[forms.one_of(params, "align", _ALIGN, "auto")],
            rotations=_rotations(params),
            clean=bool(params.get("clean", False)),
            overwrite=bool(params.get("overwrite", False)),
            executor=forms.text(params, "executor", "local") or "local",
            zones=field,
            zones_from=zones.chosen(params, "zones_from") if field is not None else None,
            min_area=zones.min_area(params),
        )


def _rotations(params: dict[str, Any]) -> int | None:
    if params.get("rotations") is None:
        return None
    rotations = forms.whole(params, "rotations", 1, low=1)
    check_numbers(None, rotations=rotations)
    return rotations


def _choose_align(inputs: types.Object) -> None:
    forms.choose_one(inputs, "align", ALIGN_LABELS, "auto", "Parts at any angle", _ABOUT_ALIGN)


def _add_normals(ctx: foo.ExecutionContext, inputs: types.Object) -> None:
    normals.add_inputs(ctx, inputs)
    _choose_align(inputs)
    about = (
        "Angles at which each normal image is taken, where parts lie at any angle and are not laid straight; 1 for as "
        "it is. Empty: a few normal images tell, and up to 8 angles are taken then. Normal images take that many times "
        "as long"
    )
    rotations = inputs.int("rotations", min=1, max=MAX_ROTATIONS, label="Rotations", description=about)
    forms.invalid(rotations, lambda: _rotations(ctx.params))
    inputs.bool(
        "clean",
        default=False,
        label="Some normal images may be defective",
        description="A segment must then be like normal images of two parts, as a defect usually is in one. Costs "
        "accuracy where normal parts vary and are few",
    )


def _add_comparison(ctx: foo.ExecutionContext, inputs: types.Object, method: str) -> None:
    """Add the inputs of the methods that compare images with each other."""
    forms.choose_defects(inputs, "The size of the patches that are compared")
    segments = inputs.str(
        "segments",
        label="Segments",
        description="Empty for the embedder's own patches; or 'tiles', 'tiles:SIZE:STRIDE' as shares of the shorter "
        "side, 'grid:N', or a Detections field",
    )
    spec = forms.text(ctx.params, "segments")
    if spec is not None and not ctx.dataset.has_sample_field(spec):
        forms.invalid(segments, lambda: parse_spec(spec))
    usual = f"fpr:{DEFAULT_FPR}" if method == "reference" else f"quantile:{DEFAULT_QUANTILE}"
    threshold = inputs.str(
        "threshold",
        default=usual,
        label="Threshold",
        description="'fpr:0.05': about 5 of 100 good images are flagged, if normal ones are known; 'alarms:20': at "
        "most that many images are; 'quantile:0.95': 5 of 100 scored images are; 'f1'; or a number",
    )
    forms.invalid(threshold, lambda: parse_threshold(forms.number_or_text(ctx.params.get("threshold") or usual)))


def _visible_params(ctx: foo.ExecutionContext) -> dict[str, Any]:
    """Return the parameters without those that the form no longer shows: the App sends their last values all the same.

    From Python there is no form, and all of them count.
    """
    if not execution.in_app(ctx):
        return dict(ctx.params)
    visible = _FIELDS.get(ctx.params.get("method", "reference"), ())
    hidden = {name for names in _FIELDS.values() for name in names if name not in visible}
    return {name: value for name, value in ctx.params.items() if name not in hidden}
