"""``export_run`` and ``import_run``: carry a run to another machine, with all that it needs to go on there."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import fiftyone as fo
from fiftyone.core.collections import SampleCollection as Samples

from ..registry.exclusive import holds_run_lock
from ..registry.keys import check_key, list_views
from ..registry.run import Run, load_run
from ..registry.samples import root_dataset
from ..registry.views import ViewRuns
from ..storage.run_archive import RunArchive, is_archive, read_archive, read_slices, write_archive
from .part_transfer import carried_slice, take_over_slice
from .run_transfer import find_images, gather_run, take_over_run
from .slices_transfer import export_slices, import_slices

logger = logging.getLogger(__name__)


def export_run(samples: Samples, key: str, path: str | Path, overwrite: bool = False) -> Path:
    """Save a run with the files by which it goes on, for ``import_run`` on any machine and dataset.

    It holds the scores of all segments, the features that the run compares with, thresholds, marks, and what was
    decided on the run's parts, but no images; these are known by their checksums and paths. Evaluations are not in it.
    The key that stands for the runs of all slices of a grouped dataset exports these together, with what was decided on
    parts by all slices; the key of one slice its run alone.

    Args:
        samples: the dataset, or a view of it; all of the run is exported
        key: the run's key, or that of the runs of all slices
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
    dataset = root_dataset(samples, "samples")
    target = Path(path).expanduser().absolute()
    if target.exists() and not overwrite:
        raise ValueError(f"path='{target}' exists; pass overwrite=True to replace it")
    if target.exists() and not is_archive(target):
        raise ValueError(f"path='{target}' exists and is no exported run; name another one")
    (export_slices if key in list_views(dataset) else _export)(dataset, key, target)
    return target


@holds_run_lock
def _export(samples: fo.Dataset, key: str, target: Path) -> None:
    run = load_run(samples, key)
    archive = replace(gather_run(samples, run), slice=carried_slice(samples, key))
    with run.store.explain_write_errors():
        write_archive(target, archive, run.store)


def import_run(
    samples: Samples,
    path: str | Path,
    key: str | None = None,
    overwrite: bool = False,
    progress: bool | Callable[[Any], None] | None = None,
) -> Run | ViewRuns:
    """Take over a run that ``export_run`` has saved, with its fields for the images that are here.

    An image is known by the sample's id, else by its content, so that it may lie elsewhere. What is not in the dataset
    is left out, with a warning that names it. The runs of all slices that were exported together are taken over
    together, with what was decided on parts; an import that was interrupted is completed by the same call. The run of a
    slice that was exported alone belongs to those of all slices again if it is imported under the key that it had, and
    a warning says by which call parts are decided.

    Args:
        samples: the dataset, or a view of it, whose samples are looked through; of a grouped dataset the groups for the
            runs of all slices, and one slice for the run of that slice
        path: the folder or ZIP file
        key (None): key of the run here, or that which stands for those of all slices; by default the one that it had
        overwrite (False): whether a run of this key is replaced, e.g. one that came with an exported dataset but
            without its folder

    Returns:
        the run, or those of all slices

    Raises:
        FileNotFoundError: if there is no such folder or file
        ValueError: if the key is taken, or none of the images, or of those of a slice, is in the dataset
        RunError: if it is no exported run, or damaged
        OSError: if the run's folder cannot be written

    Examples:
        >>> run = segad.import_run(dataset, "line2.zip")  # doctest: +SKIP
        >>> segad.score_new(dataset, run.key)  # doctest: +SKIP
    """
    source = Path(path).expanduser().absolute()
    slices = read_slices(source)
    if slices is not None:
        return import_slices(samples, slices.key if key is None else key, source, slices, overwrite, progress)
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
    dataset = root_dataset(samples, "samples")
    check_key(dataset, key, overwrite)
    notes = take_over_run(find_images(samples, key, source, archive), progress)
    of_slice = take_over_slice(dataset, key, archive.slice)
    for note in of_slice:
        logger.warning(note)
    run = load_run(dataset, key)
    return replace(run, warnings=[*run.warnings, *notes, *of_slice])
