"""Operator ``image_quality``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import fiftyone.operators as foo
import fiftyone.operators.types as types

from ...curation.quality import QUALITY_FIELDS, QUALITY_KEY, image_quality
from .. import execution, forms
from ..target import target_samples
from .base import NOTES, Line, LongOperator, long_config

_LISTED = 10
"""Images that cannot be read that a result lists."""


class ImageQuality(LongOperator):
    """Measures sharpness, exposure and size."""

    config = long_config(
        "image_quality",
        "measure image quality",
        "Blur, brightness, contrast, dark share and odd sizes as fields",
        "camera",
    )
    delegate_from = 500
    outputs = (
        Line("measured", "Images measured"),
        Line("odd", "Images of an odd size"),
        Line("skipped", "Images that cannot be read", when="skipped"),
        NOTES,
    )

    def add_inputs(self, ctx: foo.ExecutionContext, inputs: types.Object) -> None:
        if forms.has_images(ctx, inputs):
            tagged = "images that cannot be read or have an odd size"
            forms.add_curation(ctx, inputs, "quality", QUALITY_KEY, QUALITY_FIELDS, tagged)

    def execute(self, ctx: foo.ExecutionContext) -> Any:
        key = forms.text(ctx.params, "key", QUALITY_KEY) or QUALITY_KEY
        tag = forms.text(ctx.params, "tag")
        samples = target_samples(ctx)
        views = []

        def work(progress: execution.Progress) -> dict[str, Any]:
            view = image_quality(samples, key=key, tag=tag, progress=progress)
            views.append(view)
            errors = view.exists(f"{key}_error").values(f"{key}_error")
            return {
                "key": key,
                "measured": len(view) - len(errors),
                "odd": len(view.match({f"{key}_odd_size": True})),
                "skipped": len(errors),
                "messages": "\n\n".join(errors[:_LISTED]),
            }

        def show(result: dict[str, Any]) -> Iterator[Any]:
            fields = [f"{key}{name}" for name in QUALITY_FIELDS]
            yield from execution.show_fields(ctx, ctx.dataset, views[0], [*ctx.active_fields, *fields])

        return self.run(ctx, "image_quality", work, show)

    def next_step(self, result: dict[str, Any]) -> str:
        key = result.get("key")
        return f"The most blurred are first. Next: filter by {key}_brightness, {key}_dark and {key}_odd_size"
