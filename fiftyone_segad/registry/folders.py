"""Find the folders of the runs and evaluations of a dataset."""

from __future__ import annotations

import os
import re
from pathlib import Path

import fiftyone as fo
from bson import ObjectId
from fiftyone.core.odm.database import get_db_conn

from ..errors import RunError
from ..storage.store import RunStore, delete_files
from .keys import PLUGIN, list_runs, saved_values

MASKS_NAME = re.compile(r"masks-[0-9a-f]{8}\Z")
"""Names of the folders of predicted masks in a run's folder."""

_EVALUATIONS = "evaluation-maps"  # no key of a run holds a hyphen


def dataset_folder(dataset: fo.Dataset) -> Path:
    """Return the folder of this package's files for a dataset.

    It is below the variable ``FIFTYONE_SEGAD_DIR`` if that is set, else below ``segad`` in FiftyOne's default
    dataset folder, and named by the dataset's id, which renaming does not change.

    Raises:
        RunError: if it is a symbolic link; what it is in may be one
    """
    root = os.environ.get("FIFTYONE_SEGAD_DIR") or Path(fo.config.default_dataset_dir) / "segad"
    return _no_link(Path(root).expanduser().absolute() / str(dataset._doc.id))


def runs_folder(dataset: fo.Dataset, key: str) -> Path:
    """Return the folder of the folders of the runs of a key; there are two of these while one replaces another."""
    return _no_link(dataset_folder(dataset) / key)


def evaluations_folder(dataset: fo.Dataset) -> Path:
    """Return the folder of the error maps of evaluations, which stay when their run is replaced."""
    return _no_link(dataset_folder(dataset) / _EVALUATIONS)


def current_folders(dataset: fo.Dataset, key: str) -> list[str]:
    """Return the folders of a key's registered run, if there is one: that of its masks, then its own."""
    saved = saved_values(dataset, key) if key in list_runs(dataset) else None
    return [] if saved is None else [str(Path(saved["folder"]) / saved["masks"]), saved["folder"]]


def delete_interrupted(dataset: fo.Dataset, key: str) -> None:
    """Remove the folders of the runs of a key that no record names."""
    for store in stores(dataset, key):
        if not in_use(store.folder):
            store.delete()


def stores(dataset: fo.Dataset, key: str) -> list[RunStore]:
    """Return the stores of the runs of a key, interrupted ones among them."""
    folder = runs_folder(dataset, key)
    return [RunStore(path) for path in sorted(folder.iterdir()) if path.is_dir()] if folder.is_dir() else []


def in_use(folder: Path) -> bool:
    """Return whether a record of any dataset names a run's folder, or one of masks in it.

    A clone has the records of its source, and shares the files with it until one of them changes.
    """
    path = folder.resolve()
    return any(path in (run_folder, run_folder / masks) for run_folder, masks in _recorded_folders())


def is_shared(folder: Path) -> bool:
    """Return whether the records of several runs name a run's folder, as those of a dataset and its clone do."""
    path = folder.resolve()
    return sum(run_folder == path for run_folder, _ in _recorded_folders()) > 1


def _recorded_folders() -> list[tuple[Path, str]]:
    """Read the folder of each run of any dataset, and the name of the folder of masks in it."""
    records = get_db_conn()["runs"].find(
        {"config.plugin": PLUGIN, "config.run.folder": {"$type": "string"}},
        {"config.run.folder": True, "config.run.masks": True},
    )
    runs = [record["config"]["run"] for record in records]
    return [(Path(run["folder"]).resolve(), str(run.get("masks"))) for run in runs]


def dataset_of(key: str, folder: str) -> fo.Dataset | None:
    """Find the dataset whose run of a key has a folder; of several, as of clones, that which the folder is named by.

    Returns:
        the dataset, or None if no record names the folder
    """
    records = get_db_conn()["runs"].find({"config.plugin": PLUGIN, "key": key, "config.run.folder": folder})
    ids = sorted((record["_dataset_id"] for record in records), key=lambda id: str(id) not in Path(folder).parts)
    for id in ids:
        saved = get_db_conn()["datasets"].find_one({"_id": id}, {"name": True})
        if saved is not None:
            return fo.load_dataset(saved["name"])
    return None


def delete_unused(dataset: fo.Dataset, folder: Path) -> None:
    """Remove a run's folder, or one of masks in it, if this package made it and no record names it any more."""
    path = folder.resolve()
    run_folder = path.parent if MASKS_NAME.match(path.name) else path
    if _is_ours(dataset, run_folder) and not in_use(path):
        delete_files(path)


def delete_unused_evaluation(dataset: fo.Dataset, name: str) -> None:
    """Remove the folder of an evaluation's error maps, which has a name of its own, if no record names it any more."""
    if get_db_conn()["runs"].find_one({"config.plugin": PLUGIN, "config.errors": name}) is None:
        for folder in dataset_folder(dataset).parent.glob(f"*/{_EVALUATIONS}/{name}"):
            delete_files(folder)


def _is_ours(dataset: fo.Dataset, run_folder: Path) -> bool:
    """Return whether a path is one of a run's folder: of any dataset in this package's folder, or of this dataset."""
    if len(run_folder.parts) < 4 or not ObjectId.is_valid(run_folder.parts[-3]):
        return False
    if run_folder.parents[2] == dataset_folder(dataset).parent.resolve():
        return True
    return run_folder.parts[-3] == str(dataset._doc.id) and (run_folder / "settings.json").is_file()


def check_links(folder: Path) -> None:
    """Check that what is written to a run's folder stays in it.

    Raises:
        RunError: if the folder is a symbolic link, or holds one to a folder
    """
    for path in (folder, *(folder.iterdir() if folder.is_dir() else ())):
        _no_link(path)


def _no_link(path: Path) -> Path:
    if path.is_symlink():
        raise RunError(f"'{path}' is a symbolic link, through which files would be written elsewhere; remove it")
    return path
