"""Executors: where the work on the images of a run is done."""

from .base import Executor, Task
from .local import LocalExecutor

__all__ = ["Executor", "LocalExecutor", "Task"]
