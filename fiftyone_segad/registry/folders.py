"""Find the folders of the runs and evaluations of a dataset."""

from __future__ import annotations

import os
from pathlib import Path

import fiftyone as fo

from ..errors import RunError
from ..storage.store import RunStore


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
    return _no_link(dataset_folder(dataset) / "evaluation-maps")  # no key of a run holds a hyphen


def delete_interrupted(dataset: fo.Dataset, key: str) -> None:
    """Remove the folders of the runs of a key; that of a run that is registered must be gone already."""
    for store in stores(dataset, key):
        store.delete()


def stores(dataset: fo.Dataset, key: str) -> list[RunStore]:
    """Return the stores of the runs of a key, interrupted ones among them."""
    folder = runs_folder(dataset, key)
    return [RunStore(path) for path in sorted(folder.iterdir()) if path.is_dir()] if folder.is_dir() else []


def delete_folder(dataset: fo.Dataset, key: str, folder: str) -> None:
    """Remove a run's folder, if it is one that this dataset made (a clone shares that of its source)."""
    path = Path(folder).resolve()
    if path.parts[-3:-1] == (str(dataset._doc.id), key) and (path / "settings.json").is_file():
        RunStore(path).delete()


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
