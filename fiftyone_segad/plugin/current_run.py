"""The run that the panel, the grid, its overlays and the forms are on: one per dataset, for all pages.

Runs of slices are one there: each page is on that of the slice that its grid shows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import fiftyone as fo
import fiftyone.core.media as fom
import fiftyone.operators as foo
from bson import ObjectId

from ..registry import sidebar
from ..registry.keys import ALL_FIELD_NAMES, contours_field, field_name, list_runs, runs_of_slices

STORE = "fiftyone_segad_panel"
"""What the pages of a dataset have in common; it goes with the dataset."""

_KEY = "current_run"


def current_run(dataset: fo.Dataset) -> str | None:
    """Return the key of the run that was chosen last; the newest, if none was or a newer one has come since."""
    runs = list_runs(dataset)
    if not runs:
        return None
    chosen: dict[str, str] = panel_store(dataset).get(_KEY) or {}
    return chosen["run"] if chosen.get("newest") == runs[-1] and chosen["run"] in runs else runs[-1]


def current_run_of(ctx: foo.ExecutionContext, before: str | None = None) -> str | None:
    """Return the key of the current run; of runs of slices, that of the slice that the grid shows.

    Args:
        ctx: the context
        before: the run that the page was on; another slice's stays, as events tell of another slice in the grid
    """
    key = current_run(ctx.dataset)
    runs = {} if key is None else runs_of_slices(ctx.dataset, key)
    if before in runs.values():
        return before
    return runs.get(ctx.group_slice or ctx.view.group_slice, key) if shows_groups(ctx) else key


def shows_groups(ctx: foo.ExecutionContext) -> bool:
    """Return whether the grid shows a slice of groups, and not all of their images or patches of these."""
    return ctx.view is not None and ctx.view.media_type == fom.GROUP


def shows_other_slice(ctx: foo.ExecutionContext, key: str) -> bool:
    """Return whether the grid shows a slice of groups, and a run is of another one."""
    slice_of_run = next((name for name, run in runs_of_slices(ctx.dataset, key).items() if run == key), None)
    return shows_groups(ctx) and slice_of_run not in (None, ctx.group_slice or ctx.view.group_slice)


def set_current_run(dataset: fo.Dataset, key: str) -> None:
    """Choose a run, which the dataset shows when it is opened again; one that is gone is passed over."""
    runs = list_runs(dataset)
    if key in runs:
        panel_store(dataset).set(_KEY, {"run": key, "newest": runs[-1]})
        sidebar.show_run(dataset, key)


def panel_store(dataset: fo.Dataset) -> Any:
    """Return the store of what the pages of a dataset have in common."""
    return foo.ExecutionStore.create(STORE, ObjectId(dataset._doc.id))


def shown_fields(dataset: fo.Dataset, key: str, active: Sequence[str] = ()) -> list[str]:
    """Return the fields that the grid shows once it is on a run, with those that are ``active`` and of no run."""
    return sidebar.shown_fields(dataset, key, dataset.get_run_info(key).config.run["method"], active)


def with_lines(active: Sequence[str], key: str) -> list[str]:
    """Return the fields that the grid shows with the lines of a run's maps in place of the heatmaps."""
    return [*_without_maps(active, key), contours_field(key)]


def with_heatmaps(active: Sequence[str], key: str) -> list[str]:
    """Return the fields that the grid shows with the heatmaps of a run in place of the lines."""
    return [*_without_maps(active, key), field_name(key, "map")]


def _without_maps(active: Sequence[str], key: str) -> list[str]:
    return [path for path in active if path not in (field_name(key, "map"), contours_field(key))]


def names_other_run(dataset: fo.Dataset, key: str, view: fo.DatasetView | None) -> bool:
    """Return whether a view filters or sorts by, or shows patches of, a field of another run."""
    others = [field_name(run, name) for run in list_runs(dataset) if run != key for name in ALL_FIELD_NAMES]
    stages = json.dumps(view._serialize(), default=str) if view is not None else ""
    return any(re.search(rf"\b{path}\b", stages) for path in others)
