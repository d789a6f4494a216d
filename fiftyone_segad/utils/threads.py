"""Choose how many threads work, and have them work ahead of the caller."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

from threadpoolctl import threadpool_limits

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_entering = threading.Lock()
_users = 0
"""Blocks of ``one_blas_thread`` that are entered now; the last one to be left restores what the first has changed."""
_limited: threadpool_limits | None = None


def usable_cores() -> int:
    """Count the processor cores that this process may use; ``OMP_NUM_THREADS``, which Ray sets, lowers the number."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(limit)) if limit.isdecimal() and int(limit) else cores


def prefetch_map(
    work: Callable[[_Item], _Result],
    items: Iterable[_Item],
    workers: int | None = None,
    cost: Callable[[_Item], int] = lambda item: 0,
    budget: int = 0,
) -> Iterator[tuple[_Item, _Result]]:
    """Yield each item, in order, with what threads made of it, at most two items per worker ahead of the caller.

    Args:
        work: what is done with an item
        items: the items
        workers: threads; by default as many as cores
        cost: what an item costs
        budget: what the items ahead of the caller may cost together; an item that costs more runs alone

    Examples:
        >>> list(prefetch_map(len, ["a", "bcd"]))
        [('a', 1), ('bcd', 3)]
    """
    workers = workers or usable_cores()
    threads = ThreadPoolExecutor(workers, thread_name_prefix="segad-ahead")
    waiting: deque[tuple[_Item, int, Future[_Result]]] = deque()
    spent = 0
    try:
        for item in items:
            item_cost = cost(item)
            while waiting and (len(waiting) > 2 * workers or spent + item_cost > budget):
                first, first_cost, future = waiting.popleft()
                spent -= first_cost
                yield first, future.result()
            spent += item_cost
            waiting.append((item, item_cost, threads.submit(work, item)))
        while waiting:
            first, _, future = waiting.popleft()
            yield first, future.result()
    finally:
        # Threads are not joined: where the garbage collector closes the generator while some thread is being started,
        # that would wait for a lock which this very thread holds
        wait([future for _, _, future in waiting if not future.cancel()])
        threads.shutdown(wait=False)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Keep matrix products to the calling thread within the block, in the whole process.

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
