"""Operator ``find_duplicates``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import fiftyone.operators as foo
import fiftyone.operators.types as types

from ...curation.duplicates import DUPLICATE_FIELDS, check_parameters, find_duplicates
from ...curation.groups import THRESHOLD
from ...embedders.factory import check_installed
from ...errors import MissingDependencyError
from .. import execution, forms
from ..target import target_samples
from .base import NOTES, Line, LongOperator, long_config, notes

KEY = "duplicates"

KIND_LABELS = {
    "near": "near: the same to the eye (fastdup's connected components)",
    "part": "part: the same part, photographed again under other light or slightly moved",
    "exact": "exact: the same pixels, whatever their files",
}


class FindDuplicates(LongOperator):
    """Groups images that show the same."""

    config = long_config(
        "find_duplicates",
        "find duplicates",
        "Group images that show the same; find those that are both in train and test",
        "filter_none",
    )
    delegate_from = 500
    outputs = (
        Line("groups", "Groups"),
        Line("images", "Images in them"),
        Line("leaks", "Groups in more than one split"),
        Line("skipped", "Images skipped", when="skipped"),
        NOTES,
    )

    def add_inputs(self, ctx: foo.ExecutionContext, inputs: types.Object) -> None:
        if not forms.has_images(ctx, inputs):
            return
        forms.choose_one(inputs, "kind", KIND_LABELS, "near", "What is the same")
        if ctx.params.get("kind", "near") == "near":
            _add_threshold(ctx, inputs)
        forms.add_curation(ctx, inputs, "duplicates", KEY, DUPLICATE_FIELDS, "all images of a group but the first")

    def execute(self, ctx: foo.ExecutionContext) -> Any:
        kind = forms.text(ctx.params, "kind", "near") or "near"
        threshold = ctx.params.get("threshold") if kind == "near" else None
        key, tag = forms.text(ctx.params, "key", KEY), forms.text(ctx.params, "tag")
        samples = target_samples(ctx)

        def work(progress: execution.Progress) -> dict[str, Any]:
            duplicates = find_duplicates(samples, kind, threshold=threshold, key=key, tag=tag, progress=progress)
            return {
                "key": key,
                "groups": len(duplicates.groups),
                "images": sum(map(len, duplicates.groups)),
                "leaks": len(duplicates.leaks),
                "skipped": len(duplicates.skipped),
                "messages": notes(duplicates.warnings, duplicates.skipped),
            }

        def show(result: dict[str, Any]) -> Iterator[Any]:
            group, view = f"{key}_group", ctx.view
            if result["groups"]:
                view = ctx.dataset.exists(group).sort_by(group).group_by(group)
            fields = [f"{key}{name}" for name in DUPLICATE_FIELDS]
            yield from execution.show_fields(ctx, ctx.dataset, view, [*ctx.active_fields, *fields])

        return self.run(ctx, "find_duplicates", work, show)

    def next_step(self, result: dict[str, Any]) -> str:
        if not result.get("groups"):
            return "No image has a duplicate"
        if result.get("leaks"):
            return (
                f"Next: filter by {result['key']}_leak and move these groups to one side, for results on them flatter"
            )
        return "Next: open the groups, and keep one image of each"


def _add_threshold(ctx: foo.ExecutionContext, inputs: types.Object) -> None:
    threshold = inputs.float(
        "threshold",
        default=THRESHOLD,
        min=0,
        max=1,
        label="Similarity",
        description="Cosine similarity from which two images are the same. Images of one product are all alike: raise "
        "it if the groups are too large",
    )
    forms.invalid(threshold, lambda: check_parameters("near", ctx.params.get("threshold")))
    try:
        check_installed("fastdup")
    except MissingDependencyError as error:
        forms.stop(inputs, "no_fastdup", str(error), "Or look for exact duplicates, or for parts")
