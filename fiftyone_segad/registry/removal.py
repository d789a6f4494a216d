"""Remove runs and evaluations of a dataset without trace."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import fiftyone as fo
from fiftyone.core.collections import SampleCollection as Samples

from .clearing import delete_contours, delete_fields, delete_plot, delete_targets
from .colours import delete_colours
from .evaluations import written_key
from .fields import DESCRIPTIONS
from .folders import delete_interrupted, delete_unused, delete_unused_evaluation, runs_folder
from .keys import (
    ALL_FIELD_NAMES,
    EVALUATION_FIELDS,
    KEY,
    check_name,
    evaluation_field,
    field_name,
    list_evaluations,
    list_runs,
    list_views,
    owners_of,
    review_field,
    review_log,
    saved_values,
    skipped_tag_of,
)
from .locks import run_lock
from .parts import delete_parts
from .run import recover
from .samples import all_slices
from .sidebar import remove_groups, show_another_run
from .views import read_views, save_views


def delete_run(dataset: Samples, key: str) -> None:
    """Remove a run: fields, tags, colours, files, marks, evaluations and registration. Images and ground truth stay.

    The key that stands for the runs of all slices of a grouped dataset removes each of them, and what was decided on
    their parts. A run that was renamed goes by its record. Remains of a run that was interrupted, or whose record is
    gone, are removed, too.

    Raises:
        ValueError: if there is no such run
        RunBusyError: if it is being written

    Examples:
        >>> delete_run(dataset, "segad")  # doctest: +SKIP
    """
    root = dataset._root_dataset
    check_name("key", key)
    if key in list_views(root):
        _delete_views(root, key)
        return
    _delete(root, key)
    _leave_views(root, key)


def _delete(root: fo.Dataset, key: str) -> None:
    with run_lock(root, key):
        recover(root, key)
        is_orphaned = any(_is_written_by_run(root, field_name(key, name)) for name in ALL_FIELD_NAMES)
        if key in list_runs(root):
            _delete_run(root, key)
        elif is_orphaned:
            _delete_written(root, key)
            show_another_run(root)
        elif not runs_folder(root, key).is_dir():
            raise ValueError(f"Dataset '{root.name}' has no run '{key}'; its runs are {list_runs(root)}")
        delete_interrupted(root, key)


def _delete_views(root: fo.Dataset, key: str) -> None:
    """Remove the runs of all slices, as far as they are there, and then their record."""
    with run_lock(root, key):
        views = root.get_run_info(key).config.views
        delete_parts(root, key)
        for run_key in dict(views.get("keys", {})).values():
            if run_key in list_runs(root) or runs_folder(root, run_key).is_dir():
                _delete(root, run_key)
        root.delete_run(key)


def _leave_views(root: fo.Dataset, key: str) -> None:
    """Take a run that is removed out of those of all slices; what was decided on parts rested on it."""
    for owner in owners_of(root, key):
        record = read_views(root, owner)
        assert record is not None
        delete_parts(root, owner)
        left = {name: run_key for name, run_key in record.keys.items() if run_key != key}
        if left:
            pending = [name for name in record.pending if name in left]
            save_views(root, replace(record, keys=left, pending=pending))
        else:
            root.delete_run(owner)


def _delete_run(root: fo.Dataset, key: str) -> None:
    """Remove a run by its record, which names the key that its fields begin with: ``rename_run`` changes no field."""
    saved = saved_values(root, key)
    owner = saved.get("key")
    if not isinstance(owner, str) or not KEY.match(owner):
        owner = key
    if owner not in [saved_values(root, other).get("key") for other in list_runs(root) if other != key]:
        _delete_written(root, owner)
    if saved.get("owns_color_scheme") and root.app_config.color_scheme and not root.app_config.color_scheme.fields:
        root.app_config.color_scheme = None
        root.save()
    root.delete_run(key)
    show_another_run(root)
    folder = Path(str(saved.get("folder")))
    delete_unused(root, folder / str(saved.get("masks")))
    delete_unused(root, folder)


def _delete_written(root: fo.Dataset, key: str) -> None:
    """Remove what a run wrote to a dataset under a key: fields, tags, colours, marks, plot and evaluations."""
    for eval_key in list_evaluations(root):
        if root.get_run_info(eval_key).config.evaluated == key:
            remove_evaluation(root, eval_key)
    delete_plot(root, key)
    delete_contours(root, key)
    delete_review(root, key)
    delete_parts(root, key)
    delete_fields(root, key)
    remove_groups(root, [key])
    delete_colours(root, {field_name(key, name) for name in ALL_FIELD_NAMES})
    all_slices(root).match_tags(skipped_tag_of(key)).untag_samples(skipped_tag_of(key))


def _is_written_by_run(root: fo.Dataset, path: str) -> bool:
    field = root.get_field(path)
    return field is not None and field.description in DESCRIPTIONS.values()


def delete_evaluation(dataset: Samples, eval_key: str) -> None:
    """Remove an evaluation: its fields, colours, files and registration. The run and the ground truth stay.

    Examples:
        >>> delete_evaluation(dataset, "eval")  # doctest: +SKIP

    Raises:
        ValueError: if there is no such evaluation of this package
    """
    root = dataset._root_dataset
    if eval_key not in list_evaluations(root):
        raise ValueError(
            f"Dataset '{root.name}' has no evaluation '{eval_key}' of this package; its evaluations are "
            f"{list_evaluations(root)}"
        )
    remove_evaluation(root, eval_key)


def remove_evaluation(dataset: Samples, eval_key: str, keep_pending: bool = False) -> None:
    """Remove an evaluation: its fields, colours, files and registration; one that is absent is passed over.

    ``keep_pending`` spares the fields of the one that is about to replace it.
    """
    root = dataset._root_dataset
    if eval_key not in list_evaluations(root):
        return
    config = root.get_run_info(eval_key).config
    key = written_key(root, eval_key)
    truth = evaluation_field(key, "truth")
    groups = {key}
    for name in root.list_evaluations():  # FiftyOne's part may have another name by now: its panel can rename it
        if name == key or getattr(root.get_evaluation_info(name).config, "gt_field", None) == truth:
            root.delete_evaluation(name)  # with the field of this name
            groups.add(name)
    if not keep_pending:
        delete_evaluation_fields(root, key, pending=True)
    delete_evaluation_fields(root, key)
    remove_groups(root, groups)
    delete_colours(root, {evaluation_field(key, name) for name in EVALUATION_FIELDS})
    root.delete_run(eval_key)
    folder = Path(str(config.errors)).name
    if folder.startswith(f"{key}-"):  # else it is not what was stored
        delete_unused_evaluation(root, folder)


def delete_evaluation_fields(dataset: fo.Dataset, eval_key: str, pending: bool = False) -> None:
    """Remove the fields of an evaluation with their mask targets, or the pending ones; absent ones are passed over."""
    names = [evaluation_field(eval_key, name, pending) for name in EVALUATION_FIELDS]
    if not pending:
        names.append(eval_key)
    dataset.delete_sample_fields([name for name in names if dataset.has_sample_field(name)])
    if not pending:
        delete_targets(dataset, evaluation_field(eval_key, "errors"))


def delete_review(dataset: Samples, key: str) -> None:
    """Remove all marks of a run, and what could be undone; images and ground truth stay."""
    root = dataset._root_dataset
    if root.has_sample_field(review_field(key)):
        root.delete_sample_field(review_field(key))
        delete_colours(root, {review_field(key)})
    review_log(root).delete(key)
