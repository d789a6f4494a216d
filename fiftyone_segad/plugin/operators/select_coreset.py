"""Operator ``select_coreset``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import fiftyone.operators as foo
import fiftyone.operators.types as types

from ...curation.select_coreset import select_coreset
from ...registry.samples import all_slices
from ...utils.text import pluralize
from .. import execution, forms, normals
from .base import Line, LongOperator, long_config

DEFAULT_TAG = "coreset"

_USUAL = 50
"""Images that are chosen by default."""


class SelectCoreset(LongOperator):
    """Chooses the normal images that cover a set best."""

    config = long_config(
        "select_coreset",
        "choose the normals that cover a set best",
        "Tag the k normal images whose segments stand for those of all",
        "filter_center_focus",
    )
    delegate_from = 300
    outputs = (Line("chosen", "Chosen"), Line("of", "Of"), Line("tag", "Tag", "text", when="tag"))

    def images(self, ctx: foo.ExecutionContext) -> int:
        return normals.count(ctx)

    def add_inputs(self, ctx: foo.ExecutionContext, inputs: types.Object) -> None:
        normals.add_inputs(ctx, inputs)
        count = self.images(ctx)
        number = inputs.int("k", default=_usual(count), min=1, label="How many to choose")
        forms.invalid(number, lambda: _number(ctx.params, count))
        inputs.str("tag", default=DEFAULT_TAG, label="Tag", description="The chosen ones get it; empty for no tag")
        tag = ctx.params.get("tag", DEFAULT_TAG)
        if tag and (tagged := len(all_slices(ctx.dataset).match_tags(tag))):
            label = f"{pluralize(tagged, 'sample has', 'samples have')} the tag '{tag}' already"
            inputs.view("tagged", types.Warning(label=label))
        forms.choose_embedder(ctx, inputs, description="As of the run to come")
        if count:
            label = f"{pluralize(count, 'image')} will be read{forms.speed_of(ctx)}"
            inputs.view("count", types.Notice(label=label))

    def execute(self, ctx: foo.ExecutionContext) -> Any:
        embedder = forms.embedder_name(ctx.params)
        tag = forms.text(ctx.params, "tag", None if "tag" in ctx.params else DEFAULT_TAG)
        dataset, samples = ctx.dataset, normals.select(ctx)
        k = _number(ctx.params, len(samples))

        def work(progress: execution.Progress) -> dict[str, Any]:
            view = select_coreset(samples, k, tag=tag, embedder=embedder, progress=progress)
            return {"chosen": len(view), "of": len(samples), "tag": tag or "", "ids": view.values("id")}

        def show(result: dict[str, Any]) -> Iterator[Any]:
            view = all_slices(dataset).select(result["ids"], ordered=True)
            yield from execution.show_fields(ctx, dataset, view, [*ctx.active_fields, "tags"])

        return self.run(ctx, "coreset", work, show)

    def next_step(self, result: dict[str, Any]) -> str:
        return (
            "Next: look whether the first of them are normal, since what is odd is chosen early; then use the tag as "
            "normal"
        )


def _usual(count: int) -> int:
    return min(_USUAL, max(count, 1))


def _number(params: dict[str, Any], count: int) -> int:
    k = forms.whole(params, "k", _usual(count), low=1)
    if k > count:
        raise ValueError(f"k={k} is more than the {count} normal images")
    return k
