"""Load and show the runs of all slices, by the key that stands for them, as operators do one run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import fiftyone as fo
import fiftyone.operators as foo
import fiftyone.operators.types as types

from ..errors import RunError
from ..registry.keys import list_views
from ..registry.run import Run, load_run
from ..registry.views import load_views
from . import forms
from .current_run import shown_fields


def runs_of(dataset: fo.Dataset, key: str) -> dict[str, Run]:
    """Load the run of each slice by its name, or the run of a key, whose name is empty.

    Raises:
        ValueError: if there is none, or not all are done
        RunError: if the folder of one is gone
    """
    return dict(load_views(dataset, key)) if key in list_views(dataset) else {"": load_run(dataset, key)}


def load_chosen_runs(ctx: foo.ExecutionContext, inputs: types.Object) -> dict[str, Run] | None:
    """Add a list of the dataset's runs, with those of all slices; returns the chosen ones as ``runs_of`` does.

    None after saying why they cannot be used.
    """
    key = forms.choose_run(ctx, inputs, with_views=True, views_first=False)
    try:
        return None if key is None else runs_of(ctx.dataset, key)
    except (RunError, ValueError) as error:
        forms.stop(inputs, "gone", "The run cannot be used", str(error))
        return None


def shown_of_runs(dataset: fo.Dataset, key: str, active: Sequence[str]) -> list[str]:
    """Return the fields that the grid shows once it is on a run, or on those of all slices."""
    run = next(iter(runs_of(dataset, key).values()))  # that of a slice is shown with those of the others
    return shown_fields(dataset, run.key, active)


def by_slice(runs: dict[str, Run], value: Callable[[Run], str]) -> str:
    """Say a value of a run, or of that of each slice."""
    return ", ".join(f"{name}: {value(run)}" if name else value(run) for name, run in runs.items())


def thresholds_of(runs: dict[str, Run]) -> float | dict[str, float]:
    """Return the threshold of a run, or that of each slice by its name."""
    if "" in runs:
        return runs[""].thresholds.image
    return {name: run.thresholds.image for name, run in runs.items()}
