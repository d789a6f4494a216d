"""The order in which C++'s ``std::sort`` leaves equal values.

Two segments that are each other's neighbour have the same similarity, and fastdup keeps only the lowest few
pairs, so that which of the two it names depends on how its (unstable) sort moves equal values. To give
fastdup's own answer this module follows the introsort of the GNU C++ library: median-of-three quicksort down
to runs of 16, then insertion sort (Musser, 1997).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

SHORT_RUN = 16
"""Runs of at most this many values are left to the final insertion sort."""


def descending_order(values: Sequence[float]) -> list[int]:
    """Return the positions of the values from highest to lowest, equal ones as ``std::sort`` leaves them.

    The library turns to heapsort when its partitions are extremely uneven; this does not.
    """
    order = list(range(len(values)))
    pending = [(0, len(order))]
    while pending:
        first, last = pending.pop()
        while last - first > SHORT_RUN:
            cut = _partition(order, values, first, last)
            pending.append((cut, last))
            last = cut
    order.sort(key=lambda position: -values[position])  # an insertion sort is stable, as is this one
    return order


def _partition(order: list[int], values: Sequence[float], first: int, last: int) -> int:
    def before(a: int, b: int) -> bool:
        return values[order[a]] > values[order[b]]

    median = _median(before, first + 1, first + (last - first) // 2, last - 1)
    order[first], order[median] = order[median], order[first]
    low, high = first + 1, last
    while True:
        while before(low, first):
            low += 1
        high -= 1
        while before(first, high):
            high -= 1
        if low >= high:
            return low
        order[low], order[high] = order[high], order[low]
        low += 1


def _median(before: Callable[[int, int], bool], a: int, b: int, c: int) -> int:
    if before(a, b):
        return b if before(b, c) else c if before(a, c) else a
    return a if before(a, c) else c if before(b, c) else b
