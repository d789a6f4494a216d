"""The executor of a single machine: items one after the other, in their order, read ahead by threads."""

from __future__ import annotations

from collections.abc import Iterable

from ..threads import ahead
from .base import Executor, Item, Result, Results, Task


class LocalExecutor(Executor):
    """Works in the calling thread.

    Args:
        workers: threads that read
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers

    def map(self, task: Task[Item, Result], items: Iterable[Item], ordered: bool = False) -> Results[Item, Result]:
        """As in the base class, always in order."""
        contents = ahead(task.read, items, self._workers)
        while True:
            with task.clock("decode"):
                following = next(contents, None)
            if following is None:
                return
            yield following[0], task(*following)
