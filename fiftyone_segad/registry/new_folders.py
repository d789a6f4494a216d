"""Know which folders of a run are about to be written, and which must stay."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import fiftyone as fo

from .folders import MASKS_NAME, runs_folder, stores
from .keys import list_runs, saved_values
from .uncommitted import uncommitted

if TYPE_CHECKING:
    from .run import Run

_MAPS = "maps"


@contextmanager
def new_folders(dataset: fo.Dataset, run: Run, names: Sequence[str]) -> Iterator[None]:
    """Remove the folders that are written for some fields of a run if the block ends before these are committed.

    Args:
        dataset: the dataset
        run: the run, which is not yet registered as it is
        names: which of the fields
    """
    folders = [Path(run.folder) / run.masks] if "mask" in names else []
    folders += [run.store.maps] if "map" in names else []
    with uncommitted(note_of(dataset, run.key), folders, lambda folder: must_stay(dataset, run.key, folder)):
        yield


def note_of(dataset: fo.Dataset, key: str) -> Path:
    """Return the file of the note of a key's folders that are not committed yet."""
    return runs_folder(dataset, key) / "uncommitted.json"


def must_stay(dataset: fo.Dataset, key: str, folder: Path) -> bool:
    """Return whether the run of a key uses a folder, or it is none of maps or masks of a run of this key."""
    if folder.name != _MAPS and not MASKS_NAME.match(folder.name):
        return True
    dataset.reload()
    saved = saved_values(dataset, key) if key in list_runs(dataset) else {}
    if str(folder.parent) == saved.get("folder"):
        return folder.name in (_MAPS, saved["masks"])
    return folder.parent not in [store.folder for store in stores(dataset, key)]
