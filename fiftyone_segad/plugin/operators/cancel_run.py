"""Operator ``cancel_run``."""

from __future__ import annotations

from typing import Any

import fiftyone.operators as foo
import fiftyone.operators.types as types

from .. import execution, forms
from .base import Line, Operator, short_config


class CancelRun(Operator):
    """Stops what runs on the dataset, in this page, another one, or delegated."""

    config = short_config("cancel_run", "cancel a running run", "Stop a run; the same settings go on later", "cancel")
    outputs = (Line("cancelled", "It stops within seconds", "text"),)

    def add_inputs(self, ctx: foo.ExecutionContext, inputs: types.Object) -> None:
        names = execution.running(execution.dataset_id(ctx))
        if names:
            forms.choose(inputs, "name", names, "Run", "What is running on this dataset", names[0])
        else:
            forms.stop(inputs, "nothing", "Nothing is running on this dataset")

    def execute(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        name = forms.text(ctx.params, "name")
        dataset_id = execution.dataset_id(ctx)
        names = execution.running(dataset_id)
        if name not in names:
            raise ValueError(f"name={name!r} is not running on this dataset; running are {names}")
        execution.cancel(dataset_id, name)
        return {"cancelled": name}

    def next_step(self, result: dict[str, Any]) -> str:
        return "Next: the same settings go on where it stopped"
