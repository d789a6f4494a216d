"""How many threads to use, and work in portions for them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_BATCH = 16


def usable_cores() -> int:
    """Number of processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def batches(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    """Yields the items in lists of ``size``, the last one shorter; holds one list at a time."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def in_threads(work: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[tuple[_Item, _Result]]:
    """Yields each item, in order, with what some work made of it; holds few items at a time."""
    with ThreadPoolExecutor(usable_cores(), thread_name_prefix="segad-work") as threads:
        for batch in batches(items, _BATCH):
            yield from zip(batch, threads.map(work, batch), strict=True)
