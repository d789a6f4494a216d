"""Work on a single machine: items in their order, read ahead by threads and finished by another one."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor

from ...utils.threads import one_blas_thread, prefetch_map
from .base import Executor, Item, Result, Results, Task


class LocalExecutor(Executor):
    """Works in the calling thread.

    Args:
        workers: threads that read
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers

    def map(self, task: Task[Item, Result], items: Iterable[Item], ordered: bool = False) -> Results[Item, Result]:
        """Yield results as in the base class, always in order; those from before an error come before it is raised."""
        contents = prefetch_map(task.read, items, self._workers, task.cost, task.budget)
        last: tuple[Item, Future[Result]] | None = None
        failed: Exception | None = None
        with one_blas_thread(), ThreadPoolExecutor(1, thread_name_prefix="segad-finish") as finishing:
            while True:
                with task.timer("decode"):
                    following = next(contents, None)
                begun = None
                try:
                    if following:
                        item, content = following
                        begun = item, finishing.submit(task.finish, item, task(item, content))
                except Exception as error:
                    failed = error
                if last:
                    yield last[0], last[1].result()
                if failed:
                    raise failed
                if not begun:
                    return
                last = begun
