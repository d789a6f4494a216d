"""Runs a long function from an operator: progress where it can be seen, cancel, and a result form.

In the App an operator runs as a generator, which can report while it works: the function works in a thread
and the generator passes on what it reports. Delegated, and called from Python, it is a plain call.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import fiftyone.operators as foo
import fiftyone.operators.types as types

from ..errors import RunCancelled, SegadError

Progress = Callable[[Any], None]
"""A progress function as FiftyOne's functions take it: called with the progress bar."""

Result = dict[str, Any]

_STORE = "fiftyone_segad"
_INTERVAL = 0.5  # seconds between reports
_TTL = 60  # seconds after which a run that does not report counts as gone


def execute(
    ctx: foo.ExecutionContext,
    name: str,
    work: Callable[[Progress], Result],
    outputs: Callable[[Result], types.Property],
    after: Callable[[Result], Iterator[Any]],
) -> Any:
    """Executes a long function in the way that suits where it was called from.

    Args:
        ctx: the context
        name: what the user may cancel it by
        work: the function; gets a progress function and returns a dict of plain values
        outputs: the form that shows its result
        after: triggers for the App (reload, view) once it is done

    Returns:
        the function's result, or in the App a generator of messages
    """
    watch = _Watch(dataset_id(ctx), name)
    if ctx.delegated or not in_app(ctx):
        with watch:
            return work(lambda bar: watch.report(bar, lambda share, label: ctx.set_progress(share, label)))
    return _live(ctx, watch, work, outputs, after)


def dataset_id(ctx: foo.ExecutionContext) -> str:
    """Id of the context's dataset, which calls from Python name but do not identify."""
    return str(ctx.dataset._doc.id)


def running(dataset_id: str) -> list[str]:
    """Names of what is running on a dataset."""
    prefix = f"running:{dataset_id}:"
    return [key.removeprefix(prefix) for key in _store().list_keys() if key.startswith(prefix)]


def cancel(dataset_id: str, name: str) -> None:
    """Asks what runs under a name to stop; it keeps what it has finished."""
    _store().set(f"cancel:{dataset_id}:{name}", True, ttl=_TTL)


class _Watch:
    """Reports progress now and then, says that the run is alive, and stops it when that was asked for."""

    def __init__(self, dataset_id: str, name: str) -> None:
        self._running = f"running:{dataset_id}:{name}"
        self._cancel = f"cancel:{dataset_id}:{name}"
        self._last = 0.0
        self.stopped = threading.Event()

    def __enter__(self) -> _Watch:
        _store().delete(self._cancel)
        _store().set(self._running, True, ttl=_TTL)
        return self

    def __exit__(self, *error: object) -> None:
        _store().delete(self._running)
        _store().delete(self._cancel)

    def report(self, bar: Any, show: Callable[[float, str], None]) -> None:
        """Called at each step of the progress bar.

        Raises:
            RunCancelled: if the run is to stop
        """
        now = time.monotonic()
        if self.stopped.is_set():
            raise RunCancelled("Cancelled. Run again with the same settings to go on where it stopped")
        if now - self._last < _INTERVAL:
            return
        self._last = now
        if _store().has(self._cancel):
            self.stopped.set()
        _store().set(self._running, True, ttl=_TTL)
        show(bar.progress, f"{bar.iteration:,} of {bar.total:,} steps")


def _live(
    ctx: foo.ExecutionContext,
    watch: _Watch,
    work: Callable[[Progress], Result],
    outputs: Callable[[Result], types.Property],
    after: Callable[[Result], Iterator[Any]],
) -> Iterator[Any]:
    reports: queue.Queue[tuple[float, str] | Result | Exception] = queue.Queue()

    def run() -> None:
        try:
            with watch:
                reports.put(work(lambda bar: watch.report(bar, lambda *report: reports.put(report))))
        except Exception as error:  # passed on to the generator, which shows or raises it
            reports.put(error)

    threading.Thread(target=run, name=f"segad-{ctx.operator_uri}", daemon=True).start()
    try:
        yield ctx.ops.set_progress(label="Starting", progress=0)
        while isinstance(report := reports.get(), tuple):
            yield ctx.ops.set_progress(label=report[1], progress=report[0])
    finally:
        watch.stopped.set()  # the page was closed or reloaded: nobody would see the result
    if isinstance(report, dict):
        yield from after(report)
        yield ctx.ops.show_output(outputs(report).to_json(), report)
        return
    yield ctx.ops.show_output(_error_form().to_json(), {"error": str(report)})
    if not isinstance(report, (SegadError, ValueError, OSError)):
        raise report


def in_app(ctx: foo.ExecutionContext) -> bool:
    """Whether the App asked for the execution: its requests hold the state of its sidebar, those from Python do not."""
    return "extended" in ctx.request_params


def _error_form() -> types.Property:
    form = types.Object()
    form.str("error", label="Nothing was changed")
    return types.Property(form, view=types.View(label="It did not work"))


def _store() -> Any:
    return foo.ExecutionStore.create(_STORE)
