"""How many threads to use, and work in portions for them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

_Item = TypeVar("_Item")


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
