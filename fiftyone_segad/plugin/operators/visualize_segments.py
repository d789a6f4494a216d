"""Operator ``visualize_segments``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import fiftyone.operators as foo
import fiftyone.operators.types as types

from ...errors import RunError
from ...registry.run import load_run, plot_key
from ...utils.text import pluralize
from ...visualization.segment_plot import MAX_IMAGES, visualize_segments
from .. import execution, forms


class VisualizeSegments(foo.Operator):
    """Lays out the segments of a run in the plane."""

    @property
    def config(self) -> foo.OperatorConfig:
        return foo.OperatorConfig(
            name="visualize_segments",
            label="Anomalies: plot the segments of a run",
            description="Put segments that look alike beside each other, coloured by their anomaly score",
            icon="bubble_chart",
            dynamic=True,
            execute_as_generator=True,
            allow_delegated_execution=True,
            risk_level=types.RiskLevel.LOW,
        )

    def resolve_input(self, ctx: foo.ExecutionContext) -> types.Property:
        """The form."""
        inputs = types.Object()
        if forms.choose_run(ctx, inputs) is not None:
            images = inputs.int(
                "max_images",
                default=MAX_IMAGES,
                min=1,
                label="Images",
                description="At most so many, those with the highest scores; they go through the embedder once more",
            )
            if not forms.invalid(images, lambda: forms.whole(ctx.params, "max_images", MAX_IMAGES, low=1)):
                _add_time(ctx, inputs)
        return types.Property(inputs, view=types.View(label="Plot the segments of a run"))

    def execute(self, ctx: foo.ExecutionContext) -> Any:
        """Compute the plot."""
        dataset, key = ctx.dataset, forms.run_key(ctx)
        count = forms.whole(ctx.params, "max_images", MAX_IMAGES, low=1)

        def work(progress: execution.Progress) -> dict[str, Any]:
            results = visualize_segments(dataset, key, count, progress=progress)
            return {"plot": plot_key(key), "segments": len(results.points)}

        def after(result: dict[str, Any]) -> Iterator[Any]:
            yield ctx.ops.reload_dataset()

        return execution.execute(ctx, f"plot of {key}", work, _outputs, after)

    def resolve_output(self, ctx: foo.ExecutionContext) -> types.Property:
        """The result."""
        return _outputs(ctx.results)


def _add_time(ctx: foo.ExecutionContext, inputs: types.Object) -> None:
    try:
        run = load_run(ctx.dataset, forms.run_key(ctx))
    except (RunError, ValueError) as error:
        forms.stop(inputs, "gone", "The run cannot be plotted", str(error))
        return
    scored = ctx.dataset.exists(run.field("score")).limit(forms.whole(ctx.params, "max_images", MAX_IMAGES, low=1))
    paths = scored.values("filepath")
    time = forms.reading_time(lambda: paths, ctx.params, run.method, run=run)
    inputs.view("count", types.Notice(label=f"{pluralize(len(paths), 'image')} will be read{time}"))


def _outputs(result: dict[str, Any]) -> types.Property:
    form = types.Object()
    form.int("segments", label="Segments")
    form.str("plot", label="Key of the plot in the Embeddings panel")
    return forms.with_next_step(form, "Next: look at it in the panel 'Anomaly triage'")
