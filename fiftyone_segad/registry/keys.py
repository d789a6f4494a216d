"""Name what runs and evaluations write: fields, labels, tags and keys, and check that a name is free."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
from bson import ObjectId
from fiftyone.core.collections import SampleCollection as Samples

from .samples import all_slices

PLUGIN = "fiftyone_segad"
"""Marks the runs of this package among a dataset's runs."""

FIELD_NAMES = ("score", "pred", "map", "mask", "segments", "regions")

ZONES = "zones"
"""Name of the field that shows what a run with zones ignores."""

ALL_FIELD_NAMES = (*FIELD_NAMES, ZONES)

NORMAL, ANOMALOUS = "normal", "anomalous"
"""Labels of samples and segments."""

EVALUATION_FIELDS = ("truth", "regions", "errors", "iou", "f1", "aupimo")

_LONGEST_KEY = 100
"""Characters; keys are in the names of files, which have at most 255."""

KEY = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")


def field_name(key: str, name: str, pending: bool = False) -> str:
    """Return the sample field of a run; ``pending`` names the field that is written but not yet committed.

    Examples:
        >>> field_name("segad", "score"), field_name("segad", "score", pending=True)
        ('segad_score', 'segad-pending-score')
    """
    # No key holds a hyphen, so that no run or evaluation of another key has this field
    return f"{key}-pending-{name}" if pending else f"{key}_{name}"


def evaluation_field(eval_key: str, name: str, pending: bool = False) -> str:
    """Return the sample field of an evaluation; ``pending`` as for ``field_name``."""
    return field_name(eval_key, name, pending)


def skipped_tag_of(key: str) -> str:
    """Return the tag of the samples that a run could not score."""
    return f"{key}_skipped"


def plot_key(key: str) -> str:
    """Return the key of the plot of a run's segments among the dataset's brain runs."""
    return f"{key}_plot"


def review_field(key: str) -> str:
    """Return the sample field of the marks that people gave to a run."""
    return f"{key}_review"


def part_field(key: str) -> str:
    """Return the sample field of what was decided on the parts that the samples show."""
    return f"{key}_part"


def parts_key(key: str) -> str:
    """Return the key of the record of that decision among the dataset's runs."""
    return f"{key}_parts"


def contours_field(key: str) -> str:
    """Return the sample field of the lines of a run's maps."""
    return f"{key}_contours"


def review_log(dataset: fo.Dataset) -> foo.ExecutionStore:
    """Return the store of the actions of reviews, by key of the run, so that they can be undone."""
    return foo.ExecutionStore.create("fiftyone_segad_review", ObjectId(dataset._doc.id))  # it goes with the dataset


def list_runs(dataset: Samples) -> list[str]:
    """Return the keys of this package's runs on a dataset, the newest last.

    Examples:
        >>> list_runs(dataset)  # doctest: +SKIP
        ['segad']
    """
    return _keys_with(dataset, "run")


def list_views(dataset: Samples) -> list[str]:
    """Return the keys that stand for a run of each slice of a grouped dataset, the newest last."""
    return _keys_with(dataset, "views")


def stands_for_slices(dataset: fo.Dataset, key: str) -> str:
    """Say of a key that stands for runs of slices which keys these have."""
    keys = sorted(_keys_of_slices(dataset, key).values())
    return (
        f"'{key}' stands for the runs of all slices of dataset '{dataset.name}': name one of them, {keys}; "
        "set_threshold(), rescore(), score_new() and decide_parts() take them together"
    )


def owners_of(dataset: fo.Dataset, key: str) -> list[str]:
    """Return the keys that stand for runs of slices, a run among them."""
    return [name for name in list_views(dataset) if key in _keys_of_slices(dataset, name).values()]


def runs_of_slices(dataset: fo.Dataset, key: str) -> dict[str, str]:
    """Return the keys of the runs that were made together with a run, by their slices; none if it is of no slice."""
    owner = next(iter(reversed(owners_of(dataset, key))), None)
    keys = {} if owner is None else _keys_of_slices(dataset, owner)
    runs = list_runs(dataset) if keys else []
    return {name: run for name, run in keys.items() if run in runs}


def _keys_of_slices(dataset: fo.Dataset, key: str) -> dict[str, str]:
    return dict(dataset.get_run_info(key).config.views["keys"])


def list_evaluations(dataset: Samples) -> list[str]:
    """Return the keys of this package's evaluations on a dataset, the newest last."""
    return _keys_with(dataset, "evaluated")


def _keys_with(dataset: Samples, attribute: str) -> list[str]:
    """Return the keys of this package's runs whose stored values have an attribute."""
    root = dataset._root_dataset
    infos = sorted(map(root.get_run_info, root.list_runs()), key=lambda info: info.timestamp)
    return [
        info.key for info in infos if getattr(info.config, "plugin", None) == PLUGIN and hasattr(info.config, attribute)
    ]


def written_fields(dataset: Samples) -> dict[str, str]:
    """Name the fields that runs and evaluations of this package write, each with what wrote it."""
    writers: dict[str, str] = {}
    for key in list_runs(dataset):
        writers |= {field_name(key, name): f"run '{key}'" for name in ALL_FIELD_NAMES}
        writers[contours_field(key)] = f"run '{key}'"
        writers[review_field(key)] = f"the review of run '{key}'"
    for key in [*list_runs(dataset), *list_views(dataset)]:
        writers[part_field(key)] = f"the parts of run '{key}'"
    for key in list_evaluations(dataset):
        writers |= {evaluation_field(key, name): f"evaluation '{key}'" for name in EVALUATION_FIELDS}
    return writers


def check_name(parameter: str, name: Any) -> None:
    """Check that fields can begin with a name.

    Raises:
        ValueError: if it is not an identifier; the message names the parameter

    Examples:
        >>> check_name("key", "../up")
        Traceback (most recent call last):
        ...
        ValueError: key='../up' must be letters, digits and underscores, beginning with a letter
    """
    if not isinstance(name, str) or not KEY.match(name):
        raise ValueError(f"{parameter}={name!r} must be letters, digits and underscores, beginning with a letter")
    if len(name) > _LONGEST_KEY:
        raise ValueError(f"{parameter} has {len(name)} characters; use at most {_LONGEST_KEY}")


def check_key(dataset: fo.Dataset, key: str, overwrite: bool) -> None:
    """Check that a run may be stored under a key.

    Raises:
        ValueError: if the key is not an identifier, belongs to a run and ``overwrite`` is False, or one of
            its fields exists and belongs to something else
    """
    check_name("key", key)
    if key in list_runs(dataset):
        if not overwrite:
            raise ValueError(
                f"Run '{key}' exists on dataset '{dataset.name}'; pass overwrite=True to replace it, another key=..., "
                f"or remove it with delete_run(dataset, '{key}')"
            )
        return
    if key in list_views(dataset):
        raise ValueError(
            f"'{key}' stands for the runs of slices on dataset '{dataset.name}'; use another key=..., or remove "
            f"them with delete_run(dataset, '{key}')"
        )
    if dataset.has_run(key) or dataset.has_brain_run(key) or dataset.has_evaluation(key):
        raise ValueError(f"'{key}' is the key of another kind of run on dataset '{dataset.name}'; use another key=...")
    own = (contours_field(key), review_field(key), part_field(key))
    taken = _taken(dataset, [*(field_name(key, name) for name in ALL_FIELD_NAMES), *own])
    if taken:
        raise ValueError(f"Fields {taken} exist and belong to no run '{key}'; use another key=... so that they stay")
    if dataset.has_brain_run(plot_key(key)):
        raise ValueError(f"Brain run '{plot_key(key)}' belongs to no run '{key}'; use another key=... so that it stays")
    if len(all_slices(dataset).match_tags(skipped_tag_of(key)).limit(1)):
        raise ValueError(f"Tag '{skipped_tag_of(key)}' belongs to no run '{key}'; use another key=... so that it stays")


def saved_values(dataset: fo.Dataset, key: str) -> dict[str, Any]:
    """Return what is stored of a run, as plain values instead of the database's wrappers."""
    saved: dict[str, Any] = json.loads(json.dumps(dataset.get_run_info(key).config.run))
    return saved


def check_eval_key(dataset: fo.Dataset, eval_key: str, overwrite: bool) -> None:
    """Check that an evaluation may be stored under a key, which also names its field.

    Raises:
        ValueError: if the key is not an identifier, is taken and ``overwrite`` is False, or belongs to something
            else
    """
    check_name("eval_key", eval_key)
    if eval_key in list_evaluations(dataset):
        if not overwrite:
            raise ValueError(f"Evaluation '{eval_key}' exists; pass overwrite=True to replace it")
        return
    taken = _taken(dataset, [eval_key, *(evaluation_field(eval_key, name) for name in EVALUATION_FIELDS)])
    if dataset.has_run(eval_key) or dataset.has_evaluation(eval_key) or taken:
        raise ValueError(f"'{eval_key}' is the name of another run or field of the dataset; use another eval_key=...")


def _taken(dataset: fo.Dataset, paths: Iterable[str]) -> list[str]:
    """Return those of some fields that exist, or that a run or evaluation of this package may yet add."""
    written = written_fields(dataset)
    return [path for path in paths if path in written or dataset.has_sample_field(path)]
