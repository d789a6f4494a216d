"""Operator ``image_quality``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import fiftyone.operators as foo
import fiftyone.operators.types as types

from ...curation.quality import QUALITY_FIELDS, QUALITY_KEY, image_quality
from .. import curating, execution, forms, times


class ImageQuality(foo.Operator):
    """Measures sharpness, exposure and size."""

    @property
    def config(self) -> foo.OperatorConfig:
        return execution.config(
            "image_quality",
            "Anomalies: measure image quality",
            "Blur, brightness, contrast, dark share and odd sizes as fields",
            "camera",
        )

    def resolve_input(self, ctx: foo.ExecutionContext) -> types.Property:
        """The form."""
        inputs = types.Object()
        if curating.has_images(ctx, inputs, times.quality):
            tagged = "images that cannot be read or have an odd size"
            curating.add_outputs(ctx, inputs, "quality", QUALITY_KEY, QUALITY_FIELDS, tagged)
        return types.Property(inputs, view=types.View(label="Measure image quality"))

    def resolve_execution_options(self, ctx: foo.ExecutionContext) -> foo.ExecutionOptions:
        """Offers delegated execution first where it would take minutes."""
        return curating.execution_options(ctx)

    def execute(self, ctx: foo.ExecutionContext) -> Any:
        """Measures, and shows the images that cannot be read, then the most blurred."""
        samples, params = ctx.target_view(), ctx.params
        key = forms.text(params, "key", QUALITY_KEY) or QUALITY_KEY
        views = []

        def work(progress: execution.Progress) -> dict[str, Any]:
            view = image_quality(samples, key=key, tag=forms.text(params, "tag"), progress=progress)
            views.append(view)
            errors = view.exists(f"{key}_error").values(f"{key}_error")
            return {
                "key": key,
                "measured": len(view) - len(errors),
                "odd": len(view.match({f"{key}_odd_size": True})),
                "skipped": len(errors),
                "messages": "\n".join(errors[:10]),
            }

        def after(result: dict[str, Any]) -> Iterator[Any]:
            yield ctx.ops.reload_dataset()
            yield ctx.ops.set_view(views[0])

        return execution.execute(ctx, "image_quality", work, _outputs, after)

    def resolve_output(self, ctx: foo.ExecutionContext) -> types.Property:
        """The result."""
        return _outputs(ctx.results)


def _outputs(result: dict[str, Any]) -> types.Property:
    form = types.Object()
    form.int("measured", label="Images measured")
    form.int("odd", label="Images of an odd size")
    if result.get("skipped"):
        form.int("skipped", label="Images that cannot be read")
        form.str("messages", label="Please note", view=types.MarkdownView())
    key = result.get("key")
    label = f"The most blurred are first. Next: filter by {key}_brightness, {key}_dark and {key}_odd_size"
    return forms.with_next_step(form, label)
