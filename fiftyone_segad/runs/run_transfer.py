"""Carry one run: gather what an exported run holds, and take it over where its images are."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.core.utils as fou
from fiftyone.core.collections import SampleCollection as Samples

from ..errors import RunError
from ..registry.colours import owns_color_scheme
from ..registry.fields import write_fields
from ..registry.folders import current_folders, dataset_folder, in_use, runs_folder
from ..registry.parts import PartDecisions
from ..registry.run import Run, parse_run
from ..registry.samples import all_slices, check_collection
from ..review.mark_field import Mark, read_marks, write_marks
from ..storage.bank_images import FileState, bank_images, save_bank_images
from ..storage.families import read_families, save_families
from ..storage.parts import PART_SIZE, FeatureParts, ScoreParts
from ..storage.run_archive import CarriedImage, RunArchive, open_store
from ..storage.store import RunStore
from ..storage.zones import copy_zones
from ..utils.text import pluralize
from ..utils.values import make_dataclass
from .families import assign_families
from .lifecycle import new_masks_name
from .matching import LocalFiles, match_paths, match_samples
from .part_transfer import carried_parts, parse_parts, take_over_parts
from .score_new import calibration_of

logger = logging.getLogger(__name__)

_LOCAL = ("folder", "masks", "scored", "skipped", "owns_color_scheme", "pending", "obsolete")
"""Parts of a record that are true on one machine only."""

_NAMED = 5
"""Images that a message names."""


def gather_run(dataset: fo.Dataset, run: Run) -> RunArchive:
    """Gather what an exported run holds beside its store.

    Args:
        dataset: its dataset
        run: the run
    """
    store = run.store
    scored = all_slices(dataset).select(list(store.scores.ids()))
    names = dict.fromkeys(
        [*store.bank.paths(), *sorted(store.normals.ids()), *store.marked.paths(), *store.defects.paths()]
    )
    known = bank_images(store)  # of a bank file, whose images are not on this machine
    return RunArchive(
        run={name: value for name, value in asdict(run).items() if name not in _LOCAL},
        samples=[CarriedImage.of(id, file) for id, file in zip(*scored.values(["id", "filepath"]), strict=True)],
        normals=[CarriedImage.of(name, name) for name in names if name not in known],
        marks=[{**asdict(mark), "at": mark.at.isoformat()} for mark in read_marks(dataset, run.key, None)],
        parts=carried_parts(dataset, run.key),
    )


@dataclass(frozen=True)
class Arrival:
    """A run that is to be taken over, with the images of it that are here.

    Attributes:
        dataset: the dataset
        key: key of the run here
        archive: what is carried of it
        source: the folder or ZIP file
        folder: the folder in it that holds the run; empty for all of it
        ids: ids of the samples that are here, by those that they had
        paths: files of images to compare with that are here, by the names that they had
        marks: what people said of the images that are here
        parts: what was decided on parts; None if nothing was
    """

    dataset: fo.Dataset
    key: str
    archive: RunArchive
    source: Path
    folder: str
    ids: dict[str, str]
    paths: dict[str, str]
    marks: list[Mark]
    parts: PartDecisions | None

    @property
    def left_out(self) -> list[str]:
        """Paths, where they come from, of the images that are not here."""
        return [image.path for image in self.archive.samples if image.id not in self.ids]


def find_images(
    samples: Samples, key: str, source: Path, archive: RunArchive, folder: str = "", name: str = "samples"
) -> Arrival:
    """Find the images of an exported run that are here; nothing is written.

    Args:
        samples: the samples that are looked through
        key: key of the run here
        source: the folder or ZIP file
        archive: what is carried of the run
        folder (""): the folder in it that holds the run
        name ("samples"): name of the samples in messages

    Raises:
        ValueError: if none of them is here
        RunError: if marks or decisions on parts are damaged
    """
    dataset = check_collection(samples, name)
    files = LocalFiles(
        dict(zip(*samples.values(["id", "filepath"]), strict=True)), [*archive.samples, *archive.normals]
    )
    ids = match_samples(archive.samples, files)
    paths = match_paths(archive.normals, files)
    marks, parts = _marks_of(archive, ids), parse_parts(archive.parts)
    arrival = Arrival(dataset, key, archive, source, folder, ids, paths, marks, parts)
    if not ids:
        absent = arrival.left_out
        raise ValueError(
            f"None of the {pluralize(len(absent), 'image')} of run '{key}' is in dataset '{dataset.name}', by id, "
            f"content or name; the first is {absent[0] if absent else 'none'}. Add them first"
        )
    return arrival


def take_over_run(arrival: Arrival, progress: bool | Callable[[Any], None] | None) -> list[str]:
    """Make the run of what is carried of it; the caller holds the lock of its key.

    Returns:
        what the user should know of decisions on its parts

    Raises:
        RunError: if it is damaged
        OSError: if the run's folder cannot be written
    """
    dataset, key, archive, ids = arrival.dataset, arrival.key, arrival.archive, arrival.ids
    warnings = _warnings(arrival.left_out, len(archive.samples))
    store = RunStore(runs_folder(dataset, key) / uuid.uuid4().hex[:12])
    scratch = dataset_folder(dataset)
    try:
        with store.explain_write_errors(), open_store(arrival.source, scratch, arrival.folder) as carried:
            run = _run_of(archive, key, carried, warnings)
            compared = calibration_of(run, set()).compared
            _copy_store(carried, store, ids, archive.normals, arrival.paths)
            run = replace(run, folder=str(store.folder), scored=len(ids), owns_color_scheme=owns_color_scheme(dataset))
            if run.zones is not None and run.zones.zones_from in ids:
                run = replace(run, zones=replace(run.zones, zones_from=ids[run.zones.zones_from]))
            obsolete = current_folders(dataset, key)
            with fou.ProgressBar(total=len(ids), progress=progress, iters_str="images") as bar:
                write_fields(dataset, run, run.store.scores, compared, advance=bar.update, obsolete=obsolete)
    except BaseException:
        if not in_use(store.folder):
            store.delete()
        raise
    write_marks(dataset, key, arrival.marks)
    dataset.reload()
    assign_families(dataset, run)
    notes = take_over_parts(dataset, key, arrival.parts, ids)
    for warning in [*warnings, *notes]:
        logger.warning(warning)
    return notes


def _run_of(archive: RunArchive, key: str, carried: RunStore, warnings: list[str]) -> Run:
    """Return the run that is in an archive, its folder that from which it is taken over.

    Raises:
        RunError: if it is damaged
    """
    if carried.settings() is None or next(iter(carried.scores), None) is None:
        raise RunError("Files of the exported run are gone, or of another version; export it again")
    # A path that is of no machine, since a record names a folder of its key
    here = {"key": key, "folder": f"/{key}/imported", "masks": new_masks_name(), "scored": 0}
    try:
        run = parse_run({**archive.run, **here}, key)
    except ValueError as error:
        raise RunError(f"The record of the exported run is damaged: {error}. Export it again") from error
    return replace(run, folder=str(carried.folder), warnings=[*run.warnings, *warnings])


def _copy_store(
    carried: RunStore,
    store: RunStore,
    ids: Mapping[str, str],
    normals: list[CarriedImage],
    paths: Mapping[str, str],
) -> None:
    """Copy what is carried of a run into a new store, its images under the ids and paths that they have here."""
    settings = carried.settings()
    assert settings is not None
    RunStore.create(store.folder, settings)
    if levels := carried.levels():
        store.save_levels(levels)
    if (groups := carried.groups()) is not None:
        store.save_groups([[paths.get(path, path) for path in group] for group in groups])
    if left_out := carried.left_out():
        store.save_left_out([paths.get(path, path) for path in left_out])
    _copy_features(carried.bank, store.bank, paths)
    _copy_features(carried.marked, store.marked, paths)
    _copy_features(carried.defects, store.defects, paths)
    _copy_features(carried.features, store.features, ids, only_named=True)
    _copy_scores(carried.normals, store.normals, paths)
    _copy_scores(carried.scores, store.scores, ids, only_named=True)
    for level in range(len(list((carried.folder / "held_out").glob("*")))):
        _copy_scores(carried.held_out(level), store.held_out(level), paths)
    copy_zones(carried.folder, store.folder, {**ids, **paths})
    if (families := read_families(carried.folder)) is not None:
        save_families(store.folder, families.with_samples(ids))
    # An image to compare with that is not here is known by its content where it comes later
    states = [FileState(paths.get(image.id, image.id), image.size, image.sha256) for image in normals]
    save_bank_images(store, [*bank_images(carried).values(), *states])


def _copy_features(
    source: FeatureParts, target: FeatureParts, names: Mapping[str, str], only_named: bool = False
) -> None:
    images = (image for image in source if not only_named or image.path in names)
    for batch in fou.iter_batches(images, PART_SIZE):
        target.append([replace(image, path=names.get(image.path, image.path)) for image in batch])


def _copy_scores(source: ScoreParts, target: ScoreParts, names: Mapping[str, str], only_named: bool = False) -> None:
    for record in source:
        if not only_named or record.id in names:
            target.add(replace(record, id=names.get(record.id, record.id)))
    target.flush()


def _marks_of(archive: RunArchive, ids: Mapping[str, str]) -> list[Mark]:
    """Return the marks of the images that are here.

    Raises:
        RunError: if they are damaged
    """
    try:
        marks = [make_dataclass(Mark, {**mark, "at": datetime.fromisoformat(mark["at"])}) for mark in archive.marks]
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"The marks of the exported run are damaged: {error}. Export it again") from error
    return [replace(mark, sample_id=ids[mark.sample_id]) for mark in marks if mark.sample_id in ids]


def _warnings(left_out: list[str], count: int) -> list[str]:
    if not left_out:
        return []
    names = ", ".join(left_out[:_NAMED]) + (" ..." if len(left_out) > _NAMED else "")
    return [f"{len(left_out)} of the {pluralize(count, 'image')} of the run are not in the dataset: {names}"]
