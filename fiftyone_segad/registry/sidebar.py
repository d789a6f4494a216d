"""Arrange a dataset in the App: a group of the sidebar per run, and the fields that it shows when it is opened.

Groups and choices that people made stay. Where there were none, removing what was added leaves none: the App then makes
its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import fiftyone as fo

from .keys import ALL_FIELD_NAMES, ZONES, contours_field, field_name, list_runs, review_field, runs_of_slices

_OF_APP = ("tags", "metadata", "labels", "frame labels", "primitives", "other")
"""Groups that the App makes of all fields."""


@contextmanager
def arranged_run(dataset: fo.Dataset, key: str, method: str) -> Iterator[None]:
    """Keep where the App has the fields of a run while the block replaces them; a new run is shown, in its own group.

    Args:
        dataset: the dataset
        key: the run's key
        method: the run's method
    """
    groups = {group.name: list(group.paths) for group in dataset.app_config.sidebar_groups or []}
    active = _active_paths(dataset)
    yield
    paths = [path for path in (*_names(key), review_field(key)) if dataset.has_sample_field(path)]
    gone = set(_names(key)).difference(paths)
    for group in dataset.app_config.sidebar_groups or []:
        group.paths = [path for path in groups.get(group.name, group.paths) if path not in gone]
    if any(path in placed for placed in groups.values() for path in paths):
        _activate(dataset, [path for path in active if path not in gone])
    else:
        _activate(dataset, shown_fields(dataset, key, method, active))
        _expand(dataset, key)
    add_group(dataset, key, paths)


def add_group(dataset: fo.Dataset, name: str, paths: Sequence[str]) -> None:
    """Add fields to a group of the sidebar, which is made if it is absent; those in a group of somebody's own stay."""
    groups = dataset.app_config.sidebar_groups or []
    kept = {path for group in groups if group.name not in (*_OF_APP, name) for path in group.paths}
    for group in groups:
        if group.name in _OF_APP:
            group.paths = [path for path in group.paths if path not in paths]
    group = next((group for group in groups if group.name == name), None)
    if group is None:
        group = fo.SidebarGroupDocument(name=name, expanded=True)
        groups = [*groups, group]
    group.paths = [*group.paths, *(path for path in paths if path not in kept and path not in group.paths)]
    dataset.app_config.sidebar_groups = groups
    dataset.save()


def remove_groups(dataset: fo.Dataset, names: Iterable[str]) -> None:
    """Remove groups of the sidebar that hold no field any more; absent ones are passed over."""
    groups, removed = dataset.app_config.sidebar_groups or [], set(names)
    left = [group for group in groups if group.paths or group.name not in removed]
    dataset.app_config.sidebar_groups = left or None
    dataset.save()


def show_run(dataset: fo.Dataset, key: str) -> None:
    """Have a dataset show a run when it is opened, in place of other runs."""
    method = dataset.get_run_info(key).config.run["method"]
    _expand(dataset, key)
    _activate(dataset, shown_fields(dataset, key, method, _active_paths(dataset)))


def show_another_run(dataset: fo.Dataset) -> None:
    """Have a dataset show its newest run when it is opened, unless it shows one; to be called when one is removed."""
    runs, active = list_runs(dataset), _active_paths(dataset)
    if runs and not any(path in active for run in runs for path in _names(run)):
        show_run(dataset, runs[-1])
    else:
        _activate(dataset, active)


def shown_fields(dataset: fo.Dataset, key: str, method: str, active: Sequence[str] = ()) -> list[str]:
    """Return the fields that are shown of a run: score, prediction, and what shows where.

    That is the map, or the segments where the method itself says which of them are odd (``within_image``), and what is
    ignored. Fields that are ``active`` now and belong to no run stay. A run of a slice is shown with those of the other
    slices: no image has the fields of two of them.
    """
    of_runs = {path for run in list_runs(dataset) for path in _names(run)}
    names = ["score", "pred", "segments" if method == "within_image" else "map"]
    names += [ZONES] if dataset.has_sample_field(field_name(key, ZONES)) else []
    keys = runs_of_slices(dataset, key).values() or [key]
    return [path for path in active if path not in of_runs] + [field_name(run, name) for run in keys for name in names]


def _expand(dataset: fo.Dataset, key: str) -> None:
    """Open the group of a run, and close those of the others."""
    runs = list_runs(dataset)
    for group in dataset.app_config.sidebar_groups or []:
        if group.name in runs:
            group.expanded = group.name == key


def _names(key: str) -> list[str]:
    return [*(field_name(key, name) for name in ALL_FIELD_NAMES), contours_field(key)]


def _active_paths(dataset: fo.Dataset) -> list[str]:
    """Return the fields that a dataset shows when it is opened; none if the App chooses them."""
    active = dataset.app_config.active_fields
    return [] if active is None or active.exclude else list(active.paths)


def _activate(dataset: fo.Dataset, paths: Sequence[str]) -> None:
    """Have a dataset show some fields when it is opened, unless somebody has named those that it does not show."""
    active = dataset.app_config.active_fields
    if active is None or not active.exclude:
        dataset.app_config.active_fields = fo.ActiveFields(paths=list(paths)) if paths else None
        dataset.save()
