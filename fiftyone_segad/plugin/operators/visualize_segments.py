"""Operator ``visualize_segments``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import fiftyone.operators as foo
import fiftyone.operators.types as types

from ...registry.keys import plot_key
from ...utils.text import pluralize
from ...visualization.segment_plot import MAX_IMAGES, visualize_segments
from .. import execution, forms
from .base import Line, LongOperator, long_config


class VisualizeSegments(LongOperator):
    """Lays out the segments of a run in the plane."""

    config = long_config(
        "visualize_segments",
        "plot the segments of a run",
        "Put segments that look alike beside each other, coloured by their anomaly score",
        "bubble_chart",
        risk_level=types.RiskLevel.LOW,
    )
    outputs = (Line("segments", "Segments"), Line("plot", "Key of the plot in the Embeddings panel", "text"))

    def add_inputs(self, ctx: foo.ExecutionContext, inputs: types.Object) -> None:
        run = forms.load_chosen_run(ctx, inputs)
        if run is None:
            return
        about = "At most so many, those with the highest scores; they go through the embedder once more"
        if forms.choose_number(ctx, inputs, "max_images", MAX_IMAGES, "Images", about):
            count = min(run.scored, _max_images(ctx))
            label = f"{pluralize(count, 'image')} will be read{forms.speed_of(ctx, run=run)}"
            inputs.view("count", types.Notice(label=label))

    def execute(self, ctx: foo.ExecutionContext) -> Any:
        max_images = _max_images(ctx)
        dataset, key = ctx.dataset, forms.run_key(ctx)

        def work(progress: execution.Progress) -> dict[str, Any]:
            results = visualize_segments(dataset, key, max_images, progress=progress)
            return {"plot": plot_key(key), "segments": len(results.points)}

        def show(result: dict[str, Any]) -> Iterator[Any]:
            yield ctx.ops.reload_dataset()

        return self.run(ctx, f"plot of {key}", work, show, key)

    def next_step(self, result: dict[str, Any]) -> str:
        return "Next: look at it in the panel 'Anomaly triage'"


def _max_images(ctx: foo.ExecutionContext) -> int:
    return forms.whole(ctx.params, "max_images", MAX_IMAGES, low=1)
