"""How many threads to use, and work in portions for them."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

from threadpoolctl import threadpool_limits

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_entering = threading.Lock()
_users = (
    0  # blocks of one_blas_thread() that are entered now: the last one to be left restores what was found by the first
)
_limited: threadpool_limits | None = None


def usable_cores() -> int:
    """Number of processor cores that this process may use; ``OMP_NUM_THREADS``, which Ray sets, lowers it."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    said = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(said)) if said.isdecimal() and int(said) else cores


def prefetch_map(
    work: Callable[[_Item], _Result],
    items: Iterable[_Item],
    workers: int | None = None,
    cost: Callable[[_Item], int] = lambda item: 0,
    budget: int = 0,
) -> Iterator[tuple[_Item, _Result]]:
    """Yield each item, in order, with what threads made of it, at most two a worker ahead of the caller.

    Args:
        work: what is done with an item
        items: the items
        workers: threads; by default as many as cores
        weigh: what an item takes of the room
        room: what those that the caller does not have yet may take together; one of them may take more, alone
    """
    workers = workers or usable_cores()
    with ThreadPoolExecutor(workers, thread_name_prefix="segad-ahead") as threads:
        waiting: deque[tuple[_Item, int, Future[_Result]]] = deque()
        taken = 0
        try:
            for item in items:
                weight = cost(item)
                while waiting and (len(waiting) > 2 * workers or taken + weight > budget):
                    first, less, future = waiting.popleft()
                    taken -= less
                    yield first, future.result()
                taken += weight
                waiting.append((item, weight, threads.submit(work, item)))
            while waiting:
                first, _, future = waiting.popleft()
                yield first, future.result()
        finally:
            for _, _, future in waiting:
                future.cancel()


def batches(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    """Yield the items in lists of ``size``, the last one shorter; holds one list at a time."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Within the block matrix products take the calling thread alone, in the whole process.

    Between products OpenBLAS's threads wait actively, and take the cores from a model that runs meanwhile.
    """
    global _users, _limited
    with _entering:
        _users += 1
        if _users == 1:
            _limited = threadpool_limits(1, "blas")
    try:
        yield
    finally:
        with _entering:
            _users -= 1
            if _users == 0 and _limited:
                _limited.restore_original_limits()
