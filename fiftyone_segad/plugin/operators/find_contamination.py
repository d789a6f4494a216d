"""Operator ``find_contamination``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import fiftyone.operators as foo
import fiftyone.operators.types as types

from ...curation.contamination import CONTAMINATION_FIELDS, CONTAMINATION_KEY, find_contamination
from ...embedders.factory import DEFECTS
from .. import curating, execution, forms, normals
from .compute import DEFECT_LABELS


class FindContamination(foo.Operator):
    """Looks for images among supposed normals that do not belong there."""

    @property
    def config(self) -> foo.OperatorConfig:
        return execution.config(
            "find_contamination",
            "Anomalies: find contamination",
            "Rank images that are taken for normal by how suspect they are, with the reason and the segment",
            "policy",
        )

    def resolve_input(self, ctx: foo.ExecutionContext) -> types.Property:
        """The form."""
        inputs = types.Object()
        if forms.has_dataset(ctx, inputs):
            normals.add_inputs(ctx, inputs)
            _add_inputs(ctx, inputs)
        return types.Property(inputs, view=types.View(label="Find contamination"))

    def resolve_execution_options(self, ctx: foo.ExecutionContext) -> foo.ExecutionOptions:
        """Offers delegated execution first where it would take minutes."""
        return curating.execution_options(ctx)

    def execute(self, ctx: foo.ExecutionContext) -> Any:
        """Examine the images, and shows the most suspect first."""
        reference, params = normals.select(ctx.dataset, ctx.params), ctx.params
        key = forms.text(params, "key", CONTAMINATION_KEY) or CONTAMINATION_KEY
        embedder = forms.embedder_name(params)
        views = []

        def work(progress: execution.Progress) -> dict[str, Any]:
            view = find_contamination(
                reference,
                key=key,
                embedder=embedder,
                defects=forms.text(params, "defects", "any") or "any",
                align=bool(params.get("align", False)),
                tag=forms.text(params, "tag"),
                progress=progress,
            )
            views.append(view)
            reasons = [reason for reason in view.values(f"{key}_reason") if reason is not None]
            return {"key": key, "examined": len(view), "suspect": len(reasons), "messages": "\n".join(reasons[:10])}

        def after(result: dict[str, Any]) -> Iterator[Any]:
            yield ctx.ops.reload_dataset()
            yield ctx.ops.set_view(views[0])
            yield ctx.ops.set_active_fields([key, f"{key}_reason", f"{key}_segment"])

        return execution.execute(ctx, "find_contamination", work, _outputs, after)

    def resolve_output(self, ctx: foo.ExecutionContext) -> types.Property:
        """The result."""
        return _outputs(ctx.results)


def _add_inputs(ctx: foo.ExecutionContext, inputs: types.Object) -> None:
    inputs.bool(
        "align",
        default=False,
        label="Parts at any angle",
        description="On a plain ground: each is turned to one angle and cut out first",
    )
    defects = types.RadioGroup()
    for name in DEFECTS:
        defects.add_choice(name, label=DEFECT_LABELS[name])
    inputs.enum("defects", defects.values(), default="any", label="Defects", view=defects)
    forms.choose_embedder(ctx, inputs, "unlabeled")
    time = forms.reading_time(
        lambda: normals.select(ctx.dataset, ctx.params).values("filepath"), ctx.params, "unlabeled", work=3.0
    )
    if time:
        inputs.view("time", types.Notice(label=f"The normal images will be read{time}"))
    curating.add_outputs(ctx, inputs, "contamination", CONTAMINATION_KEY, CONTAMINATION_FIELDS, "suspect images")


def _outputs(result: dict[str, Any]) -> types.Property:
    form = types.Object()
    form.int("examined", label="Images examined")
    form.int("suspect", label="Suspect")
    if result.get("messages"):
        form.str("messages", label="Reasons of the first", view=types.MarkdownView())
    label = "Next: look at the first images, and take the defective ones out of the normals"
    return forms.with_next_step(form, label)
