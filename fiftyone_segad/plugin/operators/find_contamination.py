"""Operator ``find_contamination``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import fiftyone.operators as foo
import fiftyone.operators.types as types

from ...curation.contamination import CONTAMINATION_FIELDS, CONTAMINATION_KEY, find_contamination
from ...utils.text import pluralize
from .. import execution, forms, normals
from .base import Line, LongOperator, long_config

_LISTED = 10
"""Reasons that a result lists."""


class FindContamination(LongOperator):
    """Looks for images among supposed normals that do not belong there."""

    config = long_config(
        "find_contamination",
        "find contamination",
        "Rank images that are taken for normal by how suspect they are, with the reason and the segment",
        "policy",
    )
    delegate_from = 500
    outputs = (
        Line("examined", "Images examined"),
        Line("suspect", "Suspect"),
        Line("messages", "Reasons of the first", "markdown", when="messages"),
    )

    def images(self, ctx: foo.ExecutionContext) -> int:
        return normals.count(ctx)

    def add_inputs(self, ctx: foo.ExecutionContext, inputs: types.Object) -> None:
        normals.add_inputs(ctx, inputs)
        about = "On a plain ground: each is turned to one angle and cut out first"
        inputs.bool("align", default=False, label="Parts at any angle", description=about)
        forms.choose_defects(inputs)
        forms.choose_embedder(ctx, inputs, "unlabeled")
        if count := self.images(ctx):
            label = f"{pluralize(count, 'image')} will be read{forms.speed_of(ctx, 'unlabeled')}"
            inputs.view("count", types.Notice(label=label))
        forms.add_curation(ctx, inputs, "contamination", CONTAMINATION_KEY, CONTAMINATION_FIELDS, "suspect images")

    def execute(self, ctx: foo.ExecutionContext) -> Any:
        key = forms.text(ctx.params, "key", CONTAMINATION_KEY) or CONTAMINATION_KEY
        options: dict[str, Any] = {
            "embedder": forms.embedder_name(ctx.params),
            "defects": forms.text(ctx.params, "defects", "any") or "any",
            "align": bool(ctx.params.get("align", False)),
            "tag": forms.text(ctx.params, "tag"),
        }
        reference = normals.select(ctx)
        views = []

        def work(progress: execution.Progress) -> dict[str, Any]:
            view = find_contamination(reference, key=key, progress=progress, **options)
            views.append(view)
            reasons = [reason for reason in view.values(f"{key}_reason") if reason is not None]
            return {
                "key": key,
                "examined": len(view),
                "suspect": len(reasons),
                "messages": "\n\n".join(reasons[:_LISTED]),
            }

        def show(result: dict[str, Any]) -> Iterator[Any]:
            fields = [f"{key}{name}" for name in CONTAMINATION_FIELDS]
            yield from execution.show_fields(ctx, ctx.dataset, views[0], [*ctx.active_fields, *fields])

        return self.run(ctx, "find_contamination", work, show)

    def next_step(self, result: dict[str, Any]) -> str:
        return "Next: look at the first images, and take the defective ones out of the normals"
