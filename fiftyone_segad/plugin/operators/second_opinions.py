"""Operator ``second_opinions``."""

from __future__ import annotations

from typing import Any

import fiftyone.operators as foo
import fiftyone.operators.types as types

from ...registry.run import list_runs
from ...review.triage import SHOWN, disagreements, second_opinions
from .. import forms

_NONE = "none"


class SecondOpinions(foo.Operator):
    """Shows where a second person should look first."""

    @property
    def config(self) -> foo.OperatorConfig:
        return foo.OperatorConfig(
            name="second_opinions",
            label="Anomalies: second opinions",
            description="Show the samples on which two runs disagree, then those nearest to the threshold",
            icon="groups",
            dynamic=True,
            risk_level=types.RiskLevel.LOW,
        )

    def resolve_input(self, ctx: foo.ExecutionContext) -> types.Property:
        """The form."""
        inputs = types.Object()
        if (key := forms.choose_run(ctx, inputs)) is not None:
            others = [run for run in list_runs(ctx.dataset) if run != key]
            if others:
                about = "What the two call differently comes first"
                forms.choose(inputs, "other", [_NONE, *others], "Other run", about, others[-1])
            about = "Samples at most; those nearest to the threshold fill what the disagreements leave"
            number = inputs.int("max_images", default=SHOWN, min=1, label="Samples", description=about)
            forms.invalid(number, lambda: forms.whole(ctx.params, "max_images", SHOWN, low=1))
        return types.Property(inputs, view=types.View(label="Second opinions"))

    def execute(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        """Set the grid."""
        key, other = forms.run_key(ctx), forms.text(ctx.params, "other", _NONE)
        second = None if other in (_NONE, key) else other  # the form may still hold the one that is looked at now
        view = second_opinions(ctx.dataset, key, second, forms.whole(ctx.params, "max_images", SHOWN, low=1))
        ids = view.values("id")
        apart = [] if second is None else disagreements(ctx.dataset, key, second)
        if not ctx.delegated:
            ctx.ops.clear_sidebar_filters()
            ctx.ops.set_view(view)
        return {"key": key, "other": second or "", "shown": len(ids), "disagree": len(apart), "ids": ids}

    def resolve_output(self, ctx: foo.ExecutionContext) -> types.Property:
        """The result."""
        form = types.Object()
        form.int("shown", label="Samples shown")
        results = ctx.results or {}  # None after an error, which would be hidden by another one
        if results.get("other"):
            form.int("disagree", label=f"On which '{results['key']}' and '{results['other']}' disagree")
        label = "Next: look at them in this order, and mark what is normal and what is not"
        return forms.with_next_step(form, label)
