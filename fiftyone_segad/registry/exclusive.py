"""Have one function at a time write a run, on a dataset that is still there."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import ParamSpec, TypeVar

from ..errors import RunError
from .folders import delete_interrupted, runs_folder, stores
from .keys import check_name
from .locks import run_lock
from .run import recover
from .samples import exists, root_dataset

P = ParamSpec("P")
T = TypeVar("T")


def holds_run_lock(write: Callable[P, T]) -> Callable[P, T]:
    """Make a function of ``samples`` and ``key`` hold the lock of the run while it works.

    First it finishes, or takes back, what a process that ended early left of the run. Where the dataset is deleted in
    the meantime, the files of its runs of this key are removed.

    Raises:
        ValueError: if ``samples`` is no collection, or ``key`` no identifier
        RunBusyError: if another holds the lock
        RunError: if the dataset was deleted
    """
    parameters = signature(write)

    @wraps(write)
    def locked(*args: P.args, **kwargs: P.kwargs) -> T:
        bound = parameters.bind(*args, **kwargs)
        bound.apply_defaults()
        dataset = root_dataset(bound.arguments["samples"], "samples")
        key = bound.arguments["key"]
        check_name("key", key)
        with run_lock(dataset, key):
            recover(dataset, key)
            try:
                return write(*args, **kwargs)
            except Exception as error:
                if exists(dataset):
                    raise
                delete_interrupted(dataset, key)
                if not stores(dataset, key):
                    shutil.rmtree(runs_folder(dataset, key), ignore_errors=True)
                raise RunError(
                    f"Dataset '{dataset.name}' was deleted while its run '{key}' was being written; the run's files "
                    "are removed"
                ) from error

    return locked
