"""Have the work on the images of a run done: by this machine, or by a cluster."""

from __future__ import annotations

import importlib.util

from ...errors import MissingDependencyError
from .base import Executor, Task
from .local import LocalExecutor

EXECUTORS = ("local", "ray")
"""This machine alone, or the cluster that Ray is connected to."""


def ray_installed() -> bool:
    """Tell whether the executor ``ray`` can be used; imports nothing."""
    return importlib.util.find_spec("ray") is not None and importlib.util.find_spec("pyarrow") is not None


def get_executor(name: str, workers: int) -> Executor:
    """Make an executor ready.

    Args:
        name: one of ``EXECUTORS``
        workers: threads that read images, on each machine

    Raises:
        ValueError: if there is no such executor
        MissingDependencyError: if Ray is not installed
        SegadError: if there is no cluster at the address that was given
    """
    check_executor(name)
    if name == "local":
        return LocalExecutor(workers)
    from .ray_data import RayExecutor  # starts slowly, and is not needed otherwise

    return RayExecutor(workers)


def check_executor(name: str) -> None:
    """Check, without loading anything, that an executor is there.

    Raises:
        ValueError: if there is no such executor
        MissingDependencyError: if Ray is not installed
    """
    if name not in EXECUTORS:
        raise ValueError(f"executor={name!r} is not known; use one of {list(EXECUTORS)}")
    if name == "ray" and not ray_installed():
        raise MissingDependencyError(
            "executor='ray' needs Ray, which is not installed. Install it on all machines with: "
            "pip install 'fiftyone-segad[ray]', or pip install 'ray[data]>=2.40'"
        )


__all__ = ["EXECUTORS", "Executor", "LocalExecutor", "Task", "check_executor", "get_executor", "ray_installed"]
