"""``export_run`` and ``import_run``: carry a run to another machine, with all that it needs to go on there."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import fiftyone.core.utils as fou
from fiftyone.core.collections import SampleCollection as Samples

from ..errors import RunError
from ..registry.colours import owns_color_scheme
from ..registry.exclusive import holds_run_lock
from ..registry.fields import write_fields
from ..registry.folders import current_folders, dataset_folder, in_use, runs_folder
from ..registry.keys import check_key
from ..registry.run import Run, load_run, parse_run
from ..registry.samples import all_slices, check_collection
from ..review.mark_field import Mark, read_marks, write_marks
from ..storage.bank_images import FileState, bank_images, save_bank_images
from ..storage.families import read_families, save_families
from ..storage.parts import PART_SIZE, FeatureParts, ScoreParts
from ..storage.run_archive import CarriedImage, RunArchive, is_archive, open_store, read_archive, write_archive
from ..storage.store import RunStore
from ..storage.zones import copy_zones
from ..utils.text import pluralize
from ..utils.values import make_dataclass
from .families import assign_families
from .lifecycle import new_masks_name
from .matching import LocalFiles, match_paths, match_samples
from .part_transfer import carried_parts, carried_slice, parse_parts, take_over_parts, take_over_slice
from .score_new import calibration_of

logger = logging.getLogger(__name__)

_LOCAL = ("folder", "masks", "scored", "skipped", "owns_color_scheme", "pending", "obsolete")
"""Parts of a record that are true on one machine only."""

_NAMED = 5
"""Images that a message names."""


@holds_run_lock
def export_run(samples: Samples, key: str, path: str | Path, overwrite: bool = False) -> Path:
    """Save a run with the files by which it goes on, for ``import_run`` on any machine and dataset.

    It holds the scores of all segments, the features that the run compares with, thresholds, marks, and what was
    decided on the run's parts, but no images; these are known by their checksums and paths. Evaluations are not in it.
    Of a grouped dataset the run of each slice is exported by itself, without the decisions on parts, which rest on all
    slices.

    Args:
        samples: the dataset, or a view of it; all of the run is exported
        key: the run's key
        path: a folder, or a file whose name ends with ``.zip``
        overwrite (False): whether an exported run that is there is replaced

    Returns:
        the folder or file

    Raises:
        ValueError: if there is no such run, or something is there
        RunError: if the run's files are gone
        OSError: if it cannot be written

    Examples:
        >>> segad.export_run(dataset, "segad", "line2.zip")  # doctest: +SKIP
        >>> segad.import_run(fo.load_dataset("line2"), "line2.zip")  # on another machine  # doctest: +SKIP
    """
    run = load_run(samples, key)
    target = Path(path).expanduser().absolute()
    if target.exists() and not overwrite:
        raise ValueError(f"path='{target}' exists; pass overwrite=True to replace it")
    if target.exists() and not is_archive(target):
        raise ValueError(f"path='{target}' exists and is no exported run; name another one")
    dataset, store = samples._root_dataset, run.store
    scored = all_slices(dataset).select(list(store.scores.ids()))
    names = dict.fromkeys(
        [*store.bank.paths(), *sorted(store.normals.ids()), *store.marked.paths(), *store.defects.paths()]
    )
    known = bank_images(store)  # of a bank file, whose images are not on this machine
    archive = RunArchive(
        run={name: value for name, value in asdict(run).items() if name not in _LOCAL},
        samples=[CarriedImage.of(id, file) for id, file in zip(*scored.values(["id", "filepath"]), strict=True)],
        normals=[CarriedImage.of(name, name) for name in names if name not in known],
        marks=[{**asdict(mark), "at": mark.at.isoformat()} for mark in read_marks(dataset, key, None)],
        parts=carried_parts(dataset, key),
        slice=carried_slice(dataset, key),
    )
    with store.explain_write_errors():
        write_archive(target, archive, store)
    return target


def import_run(
    samples: Samples,
    path: str | Path,
    key: str | None = None,
    overwrite: bool = False,
    progress: bool | Callable[[Any], None] | None = None,
) -> Run:
    """Take over a run that ``export_run`` has saved, with its fields for the images that are here.

    An image is known by the sample's id, else by its content, so that it may lie elsewhere. What is not in the dataset
    is left out, with a warning that names it. Runs of slices that are imported under the keys that they had are those
    of all slices again, and a warning says by which call parts are decided.

    Args:
        samples: the dataset, or a view of it, whose samples are looked through; of a grouped dataset, one slice
        path: the folder or ZIP file
        key (None): key of the run here; by default the one that it had
        overwrite (False): whether a run of this key is replaced, e.g. one that came with an exported dataset but
            without its folder

    Returns:
        the run

    Raises:
        FileNotFoundError: if there is no such folder or file
        ValueError: if the key is taken, or none of the images is in the dataset
        RunError: if it is no exported run, or damaged
        OSError: if the run's folder cannot be written

    Examples:
        >>> run = segad.import_run(dataset, "line2.zip")  # doctest: +SKIP
        >>> segad.score_new(dataset, run.key)  # doctest: +SKIP
    """
    source = Path(path).expanduser().absolute()
    archive = read_archive(source)
    return _import(samples, archive.run.get("key") if key is None else key, source, archive, overwrite, progress)


@holds_run_lock
def _import(
    samples: Samples,
    key: Any,
    source: Path,
    archive: RunArchive,
    overwrite: bool,
    progress: bool | Callable[[Any], None] | None,
) -> Run:
    dataset = check_collection(samples, "samples")
    check_key(dataset, key, overwrite)
    paths = dict(zip(*samples.values(["id", "filepath"]), strict=True))
    files = LocalFiles(paths, [*archive.samples, *archive.normals])
    ids = match_samples(archive.samples, files)
    marks, parts = _marks_of(archive, ids), parse_parts(archive.parts)
    left_out = [image.path for image in archive.samples if image.id not in ids]
    if not ids:
        raise ValueError(
            f"None of the {pluralize(len(left_out), 'image')} of run '{key}' is in dataset '{dataset.name}', by id, "
            f"content or name; the first is {left_out[0] if left_out else 'none'}. Add them first"
        )
    store = RunStore(runs_folder(dataset, key) / uuid.uuid4().hex[:12])
    try:
        with store.explain_write_errors(), open_store(source, dataset_folder(dataset)) as carried:
            run = _run_of(archive, key, carried, _warnings(left_out, len(archive.samples)))
            compared = calibration_of(run, set()).compared
            _copy_store(carried, store, ids, archive.normals, match_paths(archive.normals, files))
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
    write_marks(dataset, key, marks)
    dataset.reload()
    assign_families(dataset, run)
    notes = [*take_over_parts(dataset, key, parts, ids), *take_over_slice(dataset, key, archive.slice)]
    for warning in [*_warnings(left_out, len(archive.samples)), *notes]:
        logger.warning(warning)
    run = load_run(dataset, key)
    return replace(run, warnings=[*run.warnings, *notes])


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
