"""Runs a long function from an operator: progress where it can be seen, cancel, and a result form.

In the App an operator runs as a generator, which can report while it works: the function works in a thread
and the generator passes on what it reports. Delegated, and called from Python, it is a plain call.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
import fiftyone.operators.types as types

from ..errors import RunCancelled, SegadError

Progress = Callable[[Any], None]
"""A progress function as FiftyOne's functions take it: called with the progress bar."""

Result = dict[str, Any]

_STORE = "fiftyone_segad"
_INTERVAL = 0.5  # seconds between reports
_TTL = 60  # seconds after which a run that does not report counts as gone
_KEPT = 7 * 24 * 3600  # seconds for which a failure is shown


def config(name: str, label: str, description: str, icon: str) -> foo.OperatorConfig:
    """The configuration of an operator that runs by ``execute``."""
    return foo.OperatorConfig(
        name=name,
        label=label,
        description=description,
        icon=icon,
        dynamic=True,
        execute_as_generator=True,
        allow_delegated_execution=True,
        risk_level=types.RiskLevel.MEDIUM,
    )


def options(long: bool) -> foo.ExecutionOptions:
    """Immediate and delegated execution, the second one first where it would take minutes."""
    return foo.ExecutionOptions(
        allow_immediate_execution=True, allow_delegated_execution=True, default_choice_to_delegated=long
    )


def execute(
    ctx: foo.ExecutionContext,
    name: str,
    work: Callable[[Progress], Result],
    outputs: Callable[[Result], types.Property],
    after: Callable[[Result], Iterator[Any]],
) -> Any:
    """Execute a long function in the way that suits where it was called from.

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


def show(ctx: foo.ExecutionContext, dataset: fo.Dataset, view: Any, fields: list[str]) -> Iterator[Any]:
    """Triggers by which the App shows new fields of a dataset in their colours.

    A reload alone leaves the colours as they were; opening the dataset anew would bring them, and close all panels.
    """
    yield ctx.ops.reload_dataset()
    scheme = dataset.app_config.color_scheme
    if scheme is not None:
        yield ctx.trigger("set_color_scheme", {"color_by": scheme.color_by, "fields": scheme.fields or []})
    yield ctx.ops.set_view(view)
    yield ctx.ops.set_active_fields(fields)


def dataset_id(ctx: foo.ExecutionContext) -> str:
    """Id of the context's dataset, which calls from Python name but do not identify."""
    return str(ctx.dataset._doc.id)


@dataclass(frozen=True)
class Activity:
    """What runs on a dataset, in whichever process.

    Attributes:
        name: what it may be cancelled by
        share: how much of it is done, in [0, 1]
        label: the same in words
    """

    name: str
    share: float
    label: str


def activities(dataset_id: str) -> list[Activity]:
    """What is running on a dataset."""
    return [Activity(name, **value) for name, value in _values(f"running:{dataset_id}:").items()]


def failures(dataset_id: str) -> dict[str, str]:
    """Why what ran on a dataset lately did not end well, by name; gone once it ends well or is dismissed."""
    return _values(f"failed:{dataset_id}:")


def dismiss_failure(dataset_id: str, name: str) -> None:
    """Forgets a failure."""
    _store().delete(f"failed:{dataset_id}:{name}")


def running(dataset_id: str) -> list[str]:
    """Names of what is running on a dataset."""
    return [activity.name for activity in activities(dataset_id)]


def cancel(dataset_id: str, name: str) -> None:
    """Asks what runs under a name to stop; it keeps what it has finished."""
    _store().set(f"cancel:{dataset_id}:{name}", True, ttl=_TTL)


class _Watch:
    """Reports progress now and then, says that the run is alive, and stops it when that was asked for."""

    def __init__(self, dataset_id: str, name: str) -> None:
        self._running = f"running:{dataset_id}:{name}"
        self._cancel = f"cancel:{dataset_id}:{name}"
        self._failed = f"failed:{dataset_id}:{name}"
        self._last = 0.0
        self._said = (0.0, "starting")
        self.stopped = threading.Event()
        self._ended = threading.Event()
        self._saying = threading.Lock()  # so that nothing is said after the end

    def __enter__(self) -> _Watch:
        _store().delete(self._cancel)
        _store().delete(self._failed)
        self._say(*self._said)
        threading.Thread(target=self._live_on, name="segad-alive", daemon=True).start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._ended.set()
        with self._saying:
            _store().delete(self._running)
        _store().delete(self._cancel)
        if error is not None:
            _store().set(self._failed, str(error) or type(error).__name__, ttl=_KEPT)

    def _live_on(self) -> None:
        """Says again what was said, for as long as the process lives: some steps take minutes and report nothing."""
        while not self._ended.wait(_TTL / 3):
            with self._saying:
                if not self._ended.is_set():
                    self._say(*self._said)

    def _say(self, share: float, label: str) -> None:
        self._said = (share, label)
        _store().set(self._running, {"share": share, "label": label}, ttl=_TTL)

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
        label = f"{bar.iteration:,} of {bar.total:,} steps"
        self._say(bar.progress, label)
        show(bar.progress, label)


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
    form.view("failed", types.Error(label="It did not work; nothing was changed"))
    form.str("error", label="Why")
    return types.Property(form)


def _values(prefix: str) -> dict[str, Any]:
    """Entries of the store by the rest of their keys; one may go while they are read."""
    store = _store()
    found = {key.removeprefix(prefix): store.get(key) for key in store.list_keys() if key.startswith(prefix)}
    return {name: value for name, value in found.items() if value is not None}


def _store() -> Any:
    return foo.ExecutionStore.create(_STORE)
