"""Operator ``show_contours``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import fiftyone.operators as foo
import fiftyone.operators.types as types

from ...registry.keys import contours_field
from ...runs.contours import write_contours
from .. import execution, forms
from ..current_run import with_lines
from .base import Line, LongOperator, long_config


class ShowContours(LongOperator):
    """Draws the maps of a run as lines, and shows these in place of the heatmaps."""

    config = long_config(
        "show_contours",
        "show the maps of a run as lines",
        "Draw lines of equal score, which leave free what a heatmap covers",
        "blur_circular",
    )
    outputs = (Line("drawn", "Images with lines"),)

    def add_inputs(self, ctx: foo.ExecutionContext, inputs: types.Object) -> None:
        forms.load_chosen_run(ctx, inputs)

    def execute(self, ctx: foo.ExecutionContext) -> Any:
        dataset, view, key = ctx.dataset, ctx.view, forms.run_key(ctx)

        def work(progress: execution.Progress) -> dict[str, Any]:
            return {"key": key, "drawn": write_contours(dataset, key, progress)}

        def show(result: dict[str, Any]) -> Iterator[Any]:
            yield from execution.show_fields(ctx, dataset, view, with_lines(ctx.active_fields, key))

        return self.run(ctx, f"lines of {key}", work, show, key)

    def next_step(self, result: dict[str, Any]) -> str:
        field = contours_field(str(result.get("key")))
        return f"The lines are in '{field}', which goes when maps or threshold change: draw them again then"
