"""Operator ``second_opinions``."""

from __future__ import annotations

from typing import Any

import fiftyone.operators as foo
import fiftyone.operators.types as types

from ...registry.keys import list_runs
from ...review.score_table import MAX_IMAGES
from ...review.triage import disagreements, second_opinions
from .. import forms
from ..current_run import set_current_run
from .base import Line, Operator, short_config

_NONE = "none"


class SecondOpinions(Operator):
    """Shows where a second person should look first."""

    config = short_config(
        "second_opinions",
        "second opinions",
        "Show the samples on which two runs disagree, then those nearest to the threshold",
        "groups",
        risk_level=types.RiskLevel.LOW,
    )
    outputs = (
        Line("shown", "Samples shown"),
        Line("disagree", "On which '{key}' and '{other}' disagree", when="other"),
    )

    def add_inputs(self, ctx: foo.ExecutionContext, inputs: types.Object) -> None:
        key = forms.choose_run(ctx, inputs)
        if key is None:
            return
        others = [run for run in list_runs(ctx.dataset) if run != key]
        if others:
            about = "What the two call differently comes first"
            forms.choose(inputs, "other", [_NONE, *others], "Other run", about, others[-1])
        about = "Samples at most; those nearest to the threshold fill what the disagreements leave"
        forms.choose_number(ctx, inputs, "max_images", MAX_IMAGES, "Samples", about)

    def execute(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        key, other = forms.run_key(ctx), forms.text(ctx.params, "other", _NONE)
        second = None if other in (_NONE, key) else other  # the form may still hold the one that is looked at now
        view = second_opinions(ctx.dataset, key, second, forms.whole(ctx.params, "max_images", MAX_IMAGES, low=1))
        ids = view.values("id")
        set_current_run(ctx.dataset, key)
        apart = [] if second is None else disagreements(ctx.dataset, key, second)
        if not ctx.delegated:
            ctx.ops.clear_sidebar_filters()
            ctx.ops.set_view(view)
        return {"key": key, "other": second or "", "shown": len(ids), "disagree": len(apart), "ids": ids}

    def next_step(self, result: dict[str, Any]) -> str:
        return "Next: look at them in this order, and mark what is normal and what is not"
