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
from .. import curating, execution, forms, times

KEY = "duplicates"

KIND_LABELS = {
    "near": "near: the same to the eye (fastdup's connected components)",
    "part": "part: the same part, photographed again under other light or slightly moved",
    "exact": "exact: the same pixels, whatever their files",
}


class FindDuplicates(foo.Operator):
    """Groups images that show the same."""

    @property
    def config(self) -> foo.OperatorConfig:
        return execution.config(
            "find_duplicates",
            "Anomalies: find duplicates",
            "Group images that show the same; find those that are both in train and test",
            "filter_none",
        )

    def resolve_input(self, ctx: foo.ExecutionContext) -> types.Property:
        """The form."""
        inputs = types.Object()
        kind = ctx.params.get("kind", "near")
        if curating.has_images(ctx, inputs, lambda samples: times.duplicates(samples, kind)):
            kinds = types.RadioGroup()
            for name, label in KIND_LABELS.items():
                kinds.add_choice(name, label=label)
            inputs.enum("kind", kinds.values(), default="near", label="What is the same", view=kinds)
            if kind == "near":
                _add_threshold(ctx, inputs)
            curating.add_outputs(
                ctx, inputs, "duplicates", KEY, DUPLICATE_FIELDS, "all images of a group but the first"
            )
        return types.Property(inputs, view=types.View(label="Find duplicates"))

    def resolve_execution_options(self, ctx: foo.ExecutionContext) -> foo.ExecutionOptions:
        """Offers delegated execution first where it would take minutes."""
        return curating.execution_options(ctx)

    def execute(self, ctx: foo.ExecutionContext) -> Any:
        """Find them, and shows each group as one tile."""
        samples, params = ctx.target_view(), ctx.params
        kind = forms.text(params, "kind", "near") or "near"
        key = forms.text(params, "key", KEY)

        def work(progress: execution.Progress) -> dict[str, Any]:
            found = find_duplicates(
                samples,
                kind=kind,
                threshold=params.get("threshold") if kind == "near" else None,
                key=key,
                tag=forms.text(params, "tag"),
                progress=progress,
            )
            return {
                "key": key,
                "groups": len(found.groups),
                "images": sum(map(len, found.groups)),
                "leaks": len(found.leaks),
                "skipped": len(found.skipped),
                "messages": "\n".join(
                    [*found.warnings, *(f"{entry['filepath']}: {entry['reason']}" for entry in found.skipped[:10])]
                ),
            }

        def after(result: dict[str, Any]) -> Iterator[Any]:
            yield ctx.ops.reload_dataset()
            if result["groups"]:
                field = f"{key}_group"
                yield ctx.ops.set_view(ctx.dataset.exists(field).sort_by(field).group_by(field))

        return execution.execute(ctx, "find_duplicates", work, _outputs, after)

    def resolve_output(self, ctx: foo.ExecutionContext) -> types.Property:
        """The result."""
        return _outputs(ctx.results)


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


def _outputs(result: dict[str, Any]) -> types.Property:
    form = types.Object()
    form.int("groups", label="Groups")
    form.int("images", label="Images in them")
    form.int("leaks", label="Groups in more than one split")
    if result.get("skipped"):
        form.int("skipped", label="Images skipped")
    if result.get("messages"):
        form.str("messages", label="Please note", view=types.MarkdownView())
    if not result.get("groups"):
        label = "No image has a duplicate"
    elif result.get("leaks"):
        label = f"Next: filter by {result['key']}_leak and move these groups to one side, for results on them flatter"
    else:
        label = "Next: open the groups, and keep one image of each"
    return forms.with_next_step(form, label)
