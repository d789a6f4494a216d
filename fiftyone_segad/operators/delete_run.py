"""Operator ``delete_run``."""

from __future__ import annotations

from typing import Any

import fiftyone.operators as foo
import fiftyone.operators.types as types

from ..runs import FIELD_NAMES, delete_run, field_name
from . import forms


class DeleteRun(foo.Operator):
    """Removes a run without trace."""

    @property
    def config(self) -> foo.OperatorConfig:
        return foo.OperatorConfig(
            name="delete_run",
            label="Anomalies: delete a run",
            description="Remove a run's fields, files, tags and evaluations; images and ground truth stay",
            icon="delete",
            dynamic=True,
            risk_level=types.RiskLevel.HIGH,
        )

    def resolve_input(self, ctx: foo.ExecutionContext) -> types.Property:
        """The form; no run is chosen beforehand."""
        inputs = types.Object()
        if ctx.dataset is None:
            forms.stop(inputs, "no_dataset", "Open a dataset first")
        else:
            key = forms.choose_run(ctx, inputs, default=False)
            if key is not None:
                fields = ", ".join(field_name(key, name) for name in FIELD_NAMES)
                inputs.view(
                    "warning", types.Warning(label=f"This removes {fields}, their files and evaluations for good")
                )
        return types.Property(inputs, view=types.View(label="Delete a run"))

    def execute(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        """Deletes."""
        key = forms.text(ctx.params, "key")
        if key is None:
            raise ValueError("key is missing: name the run to delete")
        delete_run(ctx.dataset, key)
        if not ctx.delegated:
            ctx.ops.clear_view()
            ctx.ops.reload_dataset()
        return {"deleted": key}

    def resolve_output(self, ctx: foo.ExecutionContext) -> types.Property:
        """The result."""
        form = types.Object()
        form.str("deleted", label="Run deleted")
        return forms.told(form, "Nothing of it is left. Next: compute another run, or go on with those that are there")
