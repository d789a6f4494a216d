"""Remove what runs and evaluations wrote beside their records: fields, mask targets and plots."""

from __future__ import annotations

from collections.abc import Collection

import fiftyone as fo

from .colours import delete_colours
from .keys import ALL_FIELD_NAMES, ZONES, contours_field, field_name, plot_key


def delete_fields(dataset: fo.Dataset, key: str, pending_only: bool = False) -> None:
    """Remove the fields of a run with their mask targets; absent ones are passed over."""
    paths = [field_name(key, name, pending=True) for name in ALL_FIELD_NAMES]
    if not pending_only:
        paths += [field_name(key, name) for name in ALL_FIELD_NAMES]
    dataset.delete_sample_fields([path for path in paths if dataset.has_sample_field(path)])
    if not pending_only:
        for name in ("mask", ZONES):
            delete_targets(dataset, field_name(key, name))


def swap_fields(dataset: fo.Dataset, key: str, names: Collection[str]) -> None:
    """Put fields that are pending in the place of those of a run; where all were swapped before nothing changes.

    Args:
        dataset: the dataset
        key: the run's key
        names: the fields; if the score is among them, the zones of a run go that is replaced by one without
    """
    pending = {name: field_name(key, name, pending=True) for name in names}
    renamed = {path: field_name(key, name) for name, path in pending.items() if dataset.has_sample_field(path)}
    gone = [field_name(key, ZONES)] if "score" in names and ZONES not in names else []
    dataset.delete_sample_fields([path for path in (*renamed.values(), *gone) if dataset.has_sample_field(path)])
    for path in gone:
        delete_targets(dataset, path)
    if renamed:
        dataset.rename_sample_fields(renamed)


def delete_targets(dataset: fo.Dataset, path: str) -> None:
    """Remove the mask targets of a field; absent ones are passed over."""
    targets = dict(dataset.mask_targets)
    if targets.pop(path, None) is not None:
        dataset.mask_targets = targets


def delete_plot(dataset: fo.Dataset, key: str) -> None:
    """Remove the plot of a run's segments; one that is absent is passed over."""
    if dataset.has_brain_run(plot_key(key)):
        dataset.delete_brain_run(plot_key(key))


def delete_contours(dataset: fo.Dataset, key: str) -> None:
    """Remove the lines of a run's maps; absent ones are passed over."""
    if dataset.has_sample_field(contours_field(key)):
        dataset.delete_sample_field(contours_field(key))
        delete_colours(dataset, {contours_field(key)})
