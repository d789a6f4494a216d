"""Operator ``worst_first``."""

from __future__ import annotations

from typing import Any

import fiftyone.operators as foo
import fiftyone.operators.types as types

from ...registry.keys import list_runs
from ...registry.run import load_record
from ...review.choices import Choices
from .. import execution, forms
from ..current_run import set_current_run, shown_fields
from ..execution import PANEL
from ..panels.run_view import remember_choice
from .base import Line, Operator, short_config


class WorstFirst(Operator):
    """Shows the most anomalous images of the current run, with map and score, beside the triage panel."""

    config = short_config(
        "worst_first",
        "worst first",
        "Show the highest scores first, with their maps, beside the panel 'Anomaly triage'",
        "troubleshoot",
        dynamic=False,
        risk_level=types.RiskLevel.LOW,
    )
    outputs = (Line("shown", "Samples shown"),)

    def add_inputs(self, ctx: foo.ExecutionContext, inputs: types.Object) -> None:
        forms.choose_run(ctx, inputs)

    def execute(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        run = load_record(ctx.dataset, forms.run_key(ctx))
        view = Choices(ctx.dataset, run).choose("highest", run.thresholds.image)
        ids = view.values("id")
        if not execution.in_app(ctx):
            return {"key": run.key, "shown": len(ids), "ids": ids}
        set_current_run(ctx.dataset, run.key)  # the grid shows no slice any more that would tell it
        remember_choice(view, "highest", run.thresholds.image)
        ctx.ops.clear_sidebar_filters()
        ctx.ops.set_view(view)
        ctx.ops.set_active_fields(shown_fields(ctx.dataset, run.key, ctx.active_fields))
        ctx.ops.open_panel(PANEL, layout="horizontal")
        return {}  # a result would cover what it shows

    def next_step(self, result: dict[str, Any]) -> str:
        return "Next: select one, and ask why it is anomalous"

    def resolve_placement(self, ctx: foo.ExecutionContext) -> types.Placement | None:
        if ctx.dataset is None or not list_runs(ctx.dataset):
            return None
        button = types.Button(label=self.title, icon=self.config.icon, prompt=False)
        return types.Placement(types.Places.SAMPLES_GRID_ACTIONS, button)
