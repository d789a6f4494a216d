"""Carry the runs of all slices of a grouped dataset together, with what was decided on their parts."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import fiftyone as fo
from fiftyone.core.collections import SampleCollection as Samples

from ..registry.exclusive import holds_run_lock
from ..registry.locks import run_lock
from ..registry.run import recover
from ..registry.samples import root_dataset, samples_of_slice
from ..registry.views import ViewRuns, ViewsRecord, load_views, read_views, view_keys
from ..storage.run_archive import SlicesArchive, read_archive, write_slices
from .each_slice import ProgressOfSlices, naming
from .part_transfer import carried_parts, parse_parts, take_over_parts
from .parts import decisions_wait
from .run_transfer import Arrival, find_images, gather_run, take_over_run
from .views import check_view_keys, work_on_slices

logger = logging.getLogger(__name__)


def export_slices(dataset: fo.Dataset, key: str, target: Path) -> None:
    """Write the runs of all slices, none of which changes meanwhile.

    Raises:
        ValueError: if they are not complete
        RunError: if the files of one are gone
        RunBusyError: if one is being written
        OSError: if they cannot be written
    """
    with ExitStack() as locks:
        locks.enter_context(run_lock(dataset, key))
        for run_key in (run.key for run in load_views(dataset, key).runs.values()):
            locks.enter_context(run_lock(dataset, run_key))
            recover(dataset, run_key)
        views, record = load_views(dataset, key), read_views(dataset, key)
        assert record is not None
        reference = "" if record.reference == dataset.name else record.reference
        slices = SlicesArchive(key, list(views), reference, views.notes, carried_parts(dataset, key))
        runs = [(gather_run(dataset, run), run.store) for run in views.values()]
        with runs[0][1].explain_write_errors():
            write_slices(target, slices, runs)


def import_slices(
    samples: Samples,
    key: str,
    source: Path,
    slices: SlicesArchive,
    overwrite: bool,
    progress: bool | Callable[[Any], None] | None,
) -> ViewRuns:
    """Take over the runs of all slices; all images are looked for before anything is written.

    Raises:
        ValueError: if the key is taken, or a slice or all of its images are not here
        RunError: if the runs are damaged
        OSError: if the folder of one cannot be written
    """
    dataset = root_dataset(samples, "samples")
    parts, notes = parse_parts(slices.parts), list[str]()
    with run_lock(dataset, key):
        before = read_views(dataset, key)
        keys = view_keys(key, slices.slices)
        others = (
            {} if before is None else {name: run for name, run in before.keys.items() if name not in before.pending}
        )
        reference = dataset.name if slices.reference == "" else slices.reference
        record = ViewsRecord(key, {**others, **keys}, reference, "", list(slices.slices), slices.notes)
        check_view_keys(dataset, record, before, overwrite)
        arrivals = _find_slices(samples, keys, source, slices)
        bars = ProgressOfSlices(slices.slices)

        def take_over(name: str) -> None:
            texts = _take_over_slice(dataset, keys[name], arrivals[name], bars.of(name, progress))
            notes.extend(f"{name}: {text}" for text in texts)

        with decisions_wait(key):
            work_on_slices(dataset, record, before, take_over)
        ids = {id: here for arrival in arrivals.values() for id, here in arrival.ids.items()}
        of_parts = take_over_parts(dataset, key, parts, ids)
        for note in of_parts:
            logger.warning(note)
        views = load_views(dataset, key)
        return replace(views, notes=[*views.notes, *notes, *of_parts])


def _find_slices(samples: Samples, keys: dict[str, str], source: Path, slices: SlicesArchive) -> dict[str, Arrival]:
    """Find the images of each slice.

    Raises:
        ValueError: if the dataset has no groups, or a slice has none of its images
    """
    dataset = samples._root_dataset
    if dataset.group_field is None:
        raise ValueError(
            f"'{source}' holds the runs of the slices {slices.slices}, and dataset '{dataset.name}' has no groups; "
            "pass a grouped dataset with these slices"
        )
    by_slice = {name: samples_of_slice(samples, name) for name in slices.slices}
    absent = [name for name, of_slice in by_slice.items() if len(of_slice) == 0]
    if absent:
        raise ValueError(
            f"'{source}' holds the runs of the slices {slices.slices}, and samples has no images of {absent}, only of "
            f"{dataset.group_slices}; pass groups with all of them, or export the run of one slice by its own key"
        )
    arrivals = {}
    for name, folder in slices.folders().items():
        with naming(name):
            archive = read_archive(source, folder)
            arrivals[name] = find_images(by_slice[name], keys[name], source, archive, folder)
    return arrivals


@holds_run_lock
def _take_over_slice(
    samples: fo.Dataset, key: str, arrival: Arrival, progress: bool | Callable[[Any], None] | None
) -> list[str]:
    return take_over_run(arrival, progress)
