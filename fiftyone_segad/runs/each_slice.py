"""Have a function of one run work on the run of each slice, by the key that stands for them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from inspect import signature
from typing import Any, ParamSpec, TypeVar

from fiftyone.core.collections import SampleCollection as Samples

from ..registry.keys import list_views
from ..registry.locks import run_lock
from ..registry.run import Run
from ..registry.samples import root_dataset
from ..registry.views import ViewRuns, load_views
from .parts import decide_again, decisions_wait

P = ParamSpec("P")
T = TypeVar("T")
V = TypeVar("V")

SliceCalls = dict[str, dict[str, Any]]
"""Arguments of the call of each slice that has something to do, by the slice's name."""


def works_on_each_slice(
    plan: Callable[[ViewRuns, dict[str, Any]], SliceCalls], gather: Callable[[ViewRuns, dict[str, T]], V]
) -> Callable[[Callable[P, T]], Callable[P, T | V]]:
    """Make a function of ``samples`` and ``key`` work on the run of each slice where the key stands for them.

    The slices follow each other, and the decisions on parts follow once, when all are done. Where the work stops half
    way, the same call does the rest.

    Args:
        plan: checks the arguments of a call for all slices before any work, and gives those of each slice but its key
        gather: makes the result of all slices from the runs as they are now and the result of each slice
    """

    def decorate(work: Callable[P, T]) -> Callable[P, T | V]:
        parameters = signature(work)

        @wraps(work)
        def worked(*args: P.args, **kwargs: P.kwargs) -> T | V:
            bound = parameters.bind(*args, **kwargs)
            bound.apply_defaults()
            samples, key = bound.arguments["samples"], bound.arguments["key"]
            if not isinstance(samples, Samples) or key not in list_views(samples):
                return work(*args, **kwargs)
            dataset = root_dataset(samples, "samples")
            with run_lock(dataset, key):
                views = load_views(dataset, key)
                calls = plan(views, dict(bound.arguments))
                with decisions_wait(key):
                    results = _work_on(work, views, calls)
                decide_again(dataset, key)
                return gather(load_views(dataset, key), results)

        return worked

    return decorate


def _work_on(work: Callable[..., T], views: ViewRuns, calls: SliceCalls) -> dict[str, T]:
    results = {}
    progress = ProgressOfSlices(list(calls))
    for name, call in calls.items():
        results[name] = work(**{**call, "key": views.runs[name].key, "progress": progress.of(name, call["progress"])})
    return results


def check_each(runs: Mapping[str, Run], check: Callable[[Run], object]) -> None:
    """Check the run of each slice.

    Raises:
        ValueError: if the check of one does; the message names the slice
    """
    for name, run in runs.items():
        with naming(name):
            check(run)


@contextmanager
def naming(slice: str) -> Iterator[None]:
    """Name the slice in the errors of what is checked."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"Slice '{slice}': {error}") from error


class ProgressOfSlices:
    """Shows slices that follow each other as one bar to a function that gets progress bars.

    Args:
        slices: their names, in the order of the work
    """

    def __init__(self, slices: list[str]) -> None:
        self._slices, self._begun = slices, time.monotonic()

    def of(self, slice: str, progress: Any) -> Any:
        """Return the ``progress`` of a slice's call; what is no function stays as it is."""
        if not callable(progress):
            return progress
        return lambda bar: progress(_BarOfSlices(bar, slice, self._slices, self._begun))


class _BarOfSlices:
    """The progress bar of a slice as that of all of them."""

    def __init__(self, bar: Any, slice: str, slices: list[str], begun: float) -> None:
        self._bar, self._slice, self._slices, self._begun = bar, slice, slices, begun

    @property
    def progress(self) -> float:
        done: float = self._slices.index(self._slice) + self._bar.progress
        return done / len(self._slices)

    @property
    def elapsed_time(self) -> float:
        return time.monotonic() - self._begun

    @property
    def stage(self) -> str:
        stage = getattr(self._bar, "stage", None)
        return f"slice '{self._slice}'" + (f": {stage}" if stage else "")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bar, name)
