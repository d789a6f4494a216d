"""Score all slices of a grouped dataset by one call: each against its own normals, as a run of its own."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import wraps
from inspect import signature
from typing import Any, ParamSpec

import fiftyone as fo
import fiftyone.core.media as fom
from fiftyone.core.collections import SampleCollection as Samples

from ..registry.keys import check_key, check_name, list_runs
from ..registry.locks import run_lock
from ..registry.removal import delete_run
from ..registry.run import Run
from ..registry.samples import root_dataset, samples_of_slice
from ..registry.views import ViewRuns, ViewsRecord, load_views, read_views, save_views, view_keys
from .each_slice import ProgressOfSlices
from .parts import decide_again

logger = logging.getLogger(__name__)

P = ParamSpec("P")

_NOT_SCORES = (
    *("samples", "reference", "key", "overwrite", "resume", "progress"),
    *("batch_size", "num_workers", "executor"),
)
"""Arguments on which scores do not depend, or of which the digest of a call holds the images."""


def scores_each_slice(compute: Callable[P, Run]) -> Callable[P, Run | ViewRuns]:
    """Make a function of ``samples`` and ``key`` score each slice of grouped samples by a call of its own.

    Slices that are done are passed over when an interrupted call is made again.

    Raises:
        ValueError: if grouped samples have no slice of images, or a slice has no normal images of its own
    """
    parameters = signature(compute)

    @wraps(compute)
    def scored(*args: P.args, **kwargs: P.kwargs) -> Run | ViewRuns:
        bound = parameters.bind(*args, **kwargs)
        bound.apply_defaults()
        samples = bound.arguments["samples"]
        if not isinstance(samples, Samples) or samples.media_type != fom.GROUP:
            return compute(*args, **kwargs)
        call = dict(bound.arguments)
        dataset, key = root_dataset(samples, "samples"), call["key"]
        check_name("key", key)
        with run_lock(dataset, key):
            _score(dataset, key, call, lambda options: compute(**options))  # type: ignore[call-arg]
            decide_again(dataset, key)
            views = load_views(dataset, key)
        logger.info("%s", views)
        return views

    return scored


def _score(dataset: fo.Dataset, key: str, call: Mapping[str, Any], compute: Callable[[dict[str, Any]], Run]) -> None:
    slices, notes = image_slices(call["samples"])
    references = {name: _reference_of(call["reference"], name) for name in slices}
    keys = view_keys(key, list(slices))
    before = read_views(dataset, key)
    record = ViewsRecord(
        key,
        keys,
        None if call["reference"] is None else call["reference"]._root_dataset.name,
        _digest(call, slices, references),
        list(slices),
        notes,
    )
    if before is not None and before.pending and before.digest == record.digest and call["resume"]:
        record = replace(record, pending=before.pending)
    else:
        check_view_keys(dataset, record, before, call["overwrite"])
    progress = ProgressOfSlices(record.pending)

    def compute_slice(name: str) -> None:
        options = {"samples": slices[name], "reference": references[name], "key": keys[name]}
        options["progress"] = progress.of(name, call["progress"])
        compute({**call, **options, "overwrite": keys[name] in list_runs(dataset)})

    work_on_slices(dataset, record, before, compute_slice)
    for run_key in set(before.keys.values() if before else ()) - set(keys.values()):
        if run_key in list_runs(dataset):
            delete_run(dataset, run_key)  # of a slice that is gone


def work_on_slices(
    dataset: fo.Dataset, record: ViewsRecord, before: ViewsRecord | None, work: Callable[[str], object]
) -> None:
    """Make the runs of the slices that are pending, and keep after each which are done.

    Args:
        dataset: the dataset
        record: what it is to hold of them
        before: what it held, which it holds again if the first slice fails; None for nothing
        work: makes the run of a slice
    """
    save_views(dataset, record)
    todo = record.pending
    for name in todo:
        try:
            work(name)
        except BaseException:
            if record.pending == todo:  # nothing has changed
                _restore(dataset, record, before)
            raise
        record = replace(record, pending=record.pending[1:])
        save_views(dataset, record)


def image_slices(samples: Samples) -> tuple[dict[str, Samples], list[str]]:
    """Return the samples of each slice of images that has any, and a note on each other slice.

    Raises:
        ValueError: if there is none
    """
    slices, notes = {}, []
    for name, media_type in samples.group_media_types.items():
        if media_type != fom.IMAGE:
            notes.append(f"Slice '{name}' is of media type '{media_type}' and was left out: only images can be scored")
            continue
        of_slice = samples.select_group_slices(name)
        if len(of_slice) == 0:
            notes.append(f"Slice '{name}' has no samples here and was left out")
        else:
            slices[name] = of_slice
    if not slices:
        raise ValueError("samples has no slice of images: " + ("; ".join(notes) or "it is empty"))
    return slices, notes


def _reference_of(reference: Any, name: str) -> Samples | None:
    """Return the normal images of a slice.

    Raises:
        ValueError: if there is none
    """
    if reference is None:
        return None
    root = root_dataset(reference, "reference")
    if root.group_field is None:
        raise ValueError(
            "samples is grouped, and reference is not: each slice is compared with normal images of its own, which the "
            "slices of a grouped dataset tell; pass one slice as samples, or a grouped reference"
        )
    of_slice = samples_of_slice(reference, name)
    if len(of_slice) == 0:
        raise ValueError(
            f"reference has no normal images of slice '{name}', with which it could be compared; add some, or "
            "leave the slice out by samples.select_group_slices([...]) and one call per slice"
        )
    return of_slice


def check_view_keys(dataset: fo.Dataset, record: ViewsRecord, before: ViewsRecord | None, overwrite: bool) -> None:
    """Check that runs of slices may be stored under a key.

    Raises:
        ValueError: if they may not
    """
    key = record.key
    if before is None:
        if key in list_runs(dataset):
            raise ValueError(
                f"'{key}' is the key of a run on dataset '{dataset.name}'; use another key=... for those of all "
                f"slices, or remove it with delete_run(dataset, '{key}')"
            )
        check_key(dataset, key, overwrite=False)
    elif not before.pending and not overwrite:
        raise ValueError(
            f"The runs of slices '{key}' exist on dataset '{dataset.name}'; pass overwrite=True to replace them, "
            f"another key=..., or remove them with delete_run(dataset, '{key}')"
        )
    for run_key in record.keys.values():
        check_key(dataset, run_key, overwrite or (before is not None and run_key in before.keys.values()))


def _restore(dataset: fo.Dataset, record: ViewsRecord, before: ViewsRecord | None) -> None:
    if before is None:
        dataset.delete_run(record.key)
    else:
        save_views(dataset, before)


def _digest(call: Mapping[str, Any], slices: Mapping[str, Samples], references: Mapping[str, Samples | None]) -> str:
    """Digest what is asked, by which a call is told from one with other arguments or images."""
    options = [
        (name, getattr(value, "__qualname__", value)) for name, value in sorted(call.items()) if name not in _NOT_SCORES
    ]
    images = [(name, samples.values("id")) for name, samples in sorted(slices.items())]
    normals = [
        (name, [] if normal is None else normal.values("filepath")) for name, normal in sorted(references.items())
    ]
    return hashlib.sha256(repr((options, images, normals)).encode()).hexdigest()
