"""How many threads to use, and work in portions for them."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def usable_cores() -> int:
    """Number of processor cores that this process may use; ``OMP_NUM_THREADS``, which Ray sets, lowers it."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    said = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(said)) if said.isdecimal() and int(said) else cores


def ahead(
    work: Callable[[_Item], _Result], items: Iterable[_Item], workers: int | None = None
) -> Iterator[tuple[_Item, _Result]]:
    """Yields each item, in order, with what threads made of it, at most two a worker ahead of the caller.

    By default there are as many threads as cores.
    """
    workers = workers or usable_cores()
    with ThreadPoolExecutor(workers, thread_name_prefix="segad-ahead") as threads:
        waiting: deque[tuple[_Item, Future[_Result]]] = deque()
        try:
            for item in items:
                waiting.append((item, threads.submit(work, item)))
                if len(waiting) > 2 * workers:
                    first, future = waiting.popleft()
                    yield first, future.result()
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result()
        finally:
            for _, future in waiting:
                future.cancel()


def batches(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    """Yields the items in lists of ``size``, the last one shorter; holds one list at a time."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
