"""What operators share that make a run: the choice of its key, and its result."""

from __future__ import annotations

from itertools import count
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
import fiftyone.operators.types as types

from ...registry.evaluations import stale_evaluations
from ...registry.fields import flagged
from ...registry.keys import check_key, list_runs, list_views
from ...registry.run import Run
from ...registry.views import ViewRuns
from .. import forms
from .base import NOTES, Line, notes

OUTPUTS = (
    Line("scored", "Images scored"),
    Line("flagged", "Anomalous"),
    Line("above", "Those with scores above", "text"),
    Line("skipped", "Images skipped (tag {key}_skipped)", when="skipped"),
    NOTES,
)
"""What the form of the result holds."""


def add_key(ctx: foo.ExecutionContext, inputs: types.Object, usual: str) -> None:
    """Add the choice of a run's key to a form; by default it is ``usual``, or that with a number."""
    views = list_views(ctx.dataset)
    runs = [*list_runs(ctx.dataset), *views]
    names = (usual if number == 1 else f"{usual}_{number}" for number in count(1))
    free = next(name for name in names if name not in runs)
    prop = inputs.str("key", default=free, label="Key", description="Names the run and begins the names of its fields")
    key = forms.text(ctx.params, "key", free) or free
    if key in runs:
        inputs.bool("overwrite", default=False, label=f"Replace the run '{key}'")
    if key in runs and not ctx.params.get("overwrite"):
        forms.refuse(prop, f"Run '{key}' exists; tick the box to replace it, or use another key")
    elif key not in views:
        forms.invalid(prop, lambda: check_key(ctx.dataset, key, overwrite=True))


def result_of(dataset: fo.Dataset, run: Run | ViewRuns) -> dict[str, Any]:
    """Return the values of the result of a run that was made, or of those of all slices."""
    if isinstance(run, ViewRuns):
        thresholds = {name: run_of_slice.thresholds.image for name, run_of_slice in run.runs.items()}
        return {
            "key": run.key,
            "scored": run.scored,
            "flagged": sum(len(flagged(dataset, run_of_slice)) for run_of_slice in run.runs.values()),
            "threshold": thresholds,
            "above": ", ".join(f"{name}: {threshold:.4g}" for name, threshold in thresholds.items()),
            "skipped": len(run.skipped),
            "messages": notes(run.warnings, run.skipped),
        }
    return {
        "key": run.key,
        "scored": run.scored,
        "flagged": len(flagged(dataset, run)),
        "threshold": run.thresholds.image,
        "above": f"{run.thresholds.image:.3g}",
        "skipped": len(run.skipped),
        "messages": notes([*run.warnings, *stale_evaluations(dataset, run)], run.skipped),
    }
