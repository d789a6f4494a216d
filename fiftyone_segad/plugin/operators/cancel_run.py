"""Operator ``cancel_run``."""

from __future__ import annotations

from typing import Any

import fiftyone.operators as foo
import fiftyone.operators.types as types

from .. import execution, forms


class CancelRun(foo.Operator):
    """Stops what runs on the dataset, in this page, another one, or delegated."""

    @property
    def config(self) -> foo.OperatorConfig:
        return foo.OperatorConfig(
            name="cancel_run",
            label="Anomalies: cancel a running run",
            description="Stop a run; the same settings go on later where it stopped",
            icon="cancel",
            dynamic=True,
            risk_level=types.RiskLevel.MEDIUM,
        )

    def resolve_input(self, ctx: foo.ExecutionContext) -> types.Property:
        """The form."""
        inputs = types.Object()
        names = [] if ctx.dataset is None else execution.running(execution.dataset_id(ctx))
        if names:
            forms.choose(inputs, "name", names, "Run", "What is running on this dataset", names[0])
        else:
            forms.stop(inputs, "nothing", "Nothing is running on this dataset")
        return types.Property(inputs, view=types.View(label="Cancel a running run"))

    def execute(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        """Asks the run to stop."""
        name = forms.text(ctx.params, "name")
        names = execution.running(execution.dataset_id(ctx))
        if name not in names:
            raise ValueError(f"name={name!r} is not running on this dataset; running are {names}")
        execution.cancel(execution.dataset_id(ctx), name)
        return {"cancelled": name}

    def resolve_output(self, ctx: foo.ExecutionContext) -> types.Property:
        """The result."""
        form = types.Object()
        form.str("cancelled", label="It stops within seconds")
        return forms.with_next_step(form, "Next: the same settings go on where it stopped")
