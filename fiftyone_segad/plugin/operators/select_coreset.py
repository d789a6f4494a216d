"""Operator ``select_coreset``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import fiftyone.operators as foo
import fiftyone.operators.types as types

from ...curation.select_coreset import select_coreset
from ...utils.text import pluralize
from .. import execution, forms, normals

DEFAULT_TAG = "coreset"

_USUAL = 50
_DELEGATE_FROM = 300  # images; from there on it takes minutes


class SelectCoreset(foo.Operator):
    """Chooses the normal images that cover a set best."""

    @property
    def config(self) -> foo.OperatorConfig:
        return execution.config(
            "select_coreset",
            "Anomalies: choose the normals that cover a set best",
            "Tag the k normal images whose segments stand for those of all",
            "filter_center_focus",
        )

    def resolve_input(self, ctx: foo.ExecutionContext) -> types.Property:
        """The form."""
        inputs = types.Object()
        if not forms.has_dataset(ctx, inputs):
            return types.Property(inputs)
        normals.add_inputs(ctx, inputs)
        try:
            count = len(normals.select(ctx.dataset, ctx.params))
        except ValueError:
            count = 0
        number = inputs.int("k", default=min(_USUAL, max(count, 1)), min=1, label="How many to choose")
        forms.invalid(number, lambda: _number(ctx.params, count))
        inputs.str("tag", default=DEFAULT_TAG, label="Tag", description="The chosen ones get it; empty for no tag")
        tag = ctx.params.get("tag", DEFAULT_TAG)
        if tag and (tagged := len(ctx.dataset.match_tags(tag))):
            inputs.view(
                "tagged",
                types.Warning(label=f"{pluralize(tagged, 'sample has', 'samples have')} the tag '{tag}' already"),
            )
        forms.choose_embedder(ctx, inputs, description="As of the run to come")
        if count:
            paths = normals.select(ctx.dataset, ctx.params)
            time = forms.reading_time(lambda: paths.values("filepath"), ctx.params, "reference", work=2.0)
            inputs.view("count", types.Notice(label=f"{pluralize(count, 'image')} will be read{time}"))
        return types.Property(inputs, view=types.View(label="Choose the normals that cover a set best"))

    def resolve_execution_options(self, ctx: foo.ExecutionContext) -> foo.ExecutionOptions:
        """Offers delegated execution first where it would take minutes."""
        long = ctx.dataset is not None and len(ctx.dataset) >= _DELEGATE_FROM
        return execution.options(long)

    def execute(self, ctx: foo.ExecutionContext) -> Any:
        """Chooses, and shows the chosen ones in their order."""
        dataset, params = ctx.dataset, ctx.params
        samples = normals.select(dataset, params)
        k = _number(params, len(samples))
        tag = forms.text(params, "tag", None if "tag" in params else DEFAULT_TAG)
        embedder = forms.embedder_name(params)

        def work(progress: execution.Progress) -> dict[str, Any]:
            view = select_coreset(samples, k, tag=tag, embedder=embedder, progress=progress)
            return {"chosen": len(view), "of": len(samples), "tag": tag or "", "ids": view.values("id")}

        def after(result: dict[str, Any]) -> Iterator[Any]:
            yield ctx.ops.reload_dataset()
            yield ctx.ops.set_view(dataset.select(result["ids"], ordered=True))

        return execution.execute(ctx, "coreset", work, _outputs, after)

    def resolve_output(self, ctx: foo.ExecutionContext) -> types.Property:
        """The result."""
        return _outputs(ctx.results)


def _number(params: dict[str, Any], count: int) -> int:
    k = forms.whole(params, "k", min(_USUAL, max(count, 1)), low=1)
    if k > count:
        raise ValueError(f"k={k} is more than the {count} normal images")
    return k


def _outputs(result: dict[str, Any]) -> types.Property:
    form = types.Object()
    form.int("chosen", label="Chosen")
    form.int("of", label="Of")
    if result.get("tag"):
        form.str("tag", label="Tag")
    label = (
        "Next: look whether the first of them are normal, since what is odd is chosen early; then use the tag as normal"
    )
    return forms.with_next_step(form, label)
