"""Give a run a folder of its own before something is added to it that the run of a clone must not have."""

from __future__ import annotations

import os
import shutil
import uuid
from dataclasses import replace
from pathlib import Path

import fiftyone as fo

from ..storage.store import RunStore, explain_write_errors
from ..utils.files import link_or_copy
from .folders import MASKS_NAME, is_shared, runs_folder
from .keys import ZONES
from .retry import retry_on_reconnect
from .run import Run, save_run
from .samples import all_slices

_FILES = {"map": "map_path", "mask": "mask_path", ZONES: "mask_path"}
"""Fields of a run that name files in its folder."""


def separate_run(dataset: fo.Dataset, run: Run) -> Run:
    """Copy the folder of a run if the run of another dataset has the same one: a clone shares it with its source.

    Args:
        dataset: the dataset
        run: its run, of which the caller holds the lock

    Returns:
        the run as it is registered then

    Raises:
        OSError: if the folder cannot be written; nothing has changed then
    """
    folder = Path(run.folder)
    if not is_shared(folder):
        return run
    store = RunStore(runs_folder(dataset, run.key) / uuid.uuid4().hex[:12])

    def masks_of_others(_: str, names: list[str]) -> list[str]:
        return [name for name in names if MASKS_NAME.match(name) and name != run.masks]

    try:
        with explain_write_errors(store.folder):
            shutil.copytree(folder, store.folder, ignore=masks_of_others, copy_function=link_or_copy)
    except BaseException:
        store.delete()
        raise
    separated = replace(run, folder=str(store.folder))
    retry_on_reconnect(save_run)(dataset, separated)
    _move_paths(dataset, separated, run.folder)
    return separated


def _move_paths(dataset: fo.Dataset, run: Run, before: str) -> None:
    """Have the fields of a run name the files in its folder, which are copies of those in the folder before."""
    for name, attribute in _FILES.items():
        path = f"{run.field(name)}.{attribute}"
        if not dataset.has_sample_field(run.field(name)):
            continue
        files = dict(zip(*all_slices(dataset).values(["id", path]), strict=True))
        moved = {
            id: str(Path(run.folder) / Path(file).relative_to(before))
            for id, file in files.items()
            if file is not None and file.startswith(before + os.sep)
        }
        retry_on_reconnect(dataset.set_values)(path, moved, key_field="id")
