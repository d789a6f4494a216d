"""What runs on a dataset, and what went wrong, as parts of a panel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fiftyone.operators as foo
import fiftyone.operators.types as types

from .. import execution

_POLL = 1500  # milliseconds between looks at what runs

Handler = Callable[[foo.ExecutionContext], None]


NOTHING: dict[str, Any] = {"running": {}, "failed": {}}


def state(ctx: foo.ExecutionContext) -> dict[str, Any]:
    """What runs and what failed, as plain values that tell whether something has changed."""
    dataset_id = execution.dataset_id(ctx)
    return {
        "running": {activity.name: activity.label for activity in execution.activities(dataset_id)},
        "failed": execution.failures(dataset_id),
    }


def add(
    panel: types.Object, ctx: foo.ExecutionContext, on_poll: Handler, on_cancel: Handler, on_dismiss: Handler
) -> None:
    """Add what runs, with its progress and a way to stop it, and what failed, with its error."""
    dataset_id = execution.dataset_id(ctx)
    for i, activity in enumerate(execution.activities(dataset_id)):
        label = f"Running '{activity.name}': {activity.label}"
        panel.float(f"progress{i}", default=activity.share, view=types.ProgressView(label=label))
        panel.btn(
            f"cancel{i}",
            label=f"Cancel {activity.name}",
            icon="cancel",
            on_click=on_cancel,
            params={"name": activity.name},
        )
    for i, (name, error) in enumerate(execution.failures(dataset_id).items()):
        panel.view(f"failed{i}", types.AlertView(severity="error", label=f"'{name}' did not end: {error}"))
        panel.btn(f"dismiss{i}", label="Dismiss", icon="close", on_click=on_dismiss, params={"name": name})
    panel.view("poll", types.TimerView(interval=_POLL, on_interval=on_poll))
