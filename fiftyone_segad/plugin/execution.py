"""Runs a long function from an operator: progress where it can be seen, cancel, and a result form.

In the App an operator runs as a generator: the function works in a thread, and the panel shows how far it is and
cancels it, so that nothing covers the page. Delegated, and called from Python, it is a plain call.
"""

from __future__ import annotations

import logging
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
from .wording import duration_text, in_app_words

logger = logging.getLogger(__name__)

Progress = Callable[[Any], None]
"""A progress function as FiftyOne's functions take it: called with the progress bar."""

Result = dict[str, Any]

PANEL = "anomaly_triage"
"""Name of the panel that shows what runs."""

_IN_BACKGROUND = "in_background"
"""Parameter of an execution whose form has closed."""

_STORE = "fiftyone_segad"
_INTERVAL = 0.5
"""Seconds between reports."""
_FORESEEABLE = 0.05
"""Share that must be done before the rest can be foreseen."""
_TTL = 60
"""Seconds after which a run that does not report counts as gone."""
_KEEP_FAILURES = 7 * 24 * 3600
"""Seconds for which a failure is shown."""


def execute(
    ctx: foo.ExecutionContext,
    name: str,
    work: Callable[[Progress], Result],
    output_form: Callable[[Result], types.Property],
    show: Callable[[Result], Iterator[Any]],
) -> Any:
    """Execute a long function in the way that suits where it was called from.

    Args:
        ctx: the context
        name: what the user may cancel it by
        work: the function; gets a progress function and returns a dict of plain values
        output_form: makes the form that shows its result
        show: gives triggers for the App (reload, view) once it is done

    Returns:
        the function's result, or in the App a generator of messages
    """
    if in_app(ctx) and not ctx.delegated and not in_background(ctx):
        return _close_form(ctx)
    monitor = _RunMonitor(dataset_id(ctx), name)
    if ctx.delegated or not in_app(ctx):
        with monitor:
            return work(lambda bar: monitor.report(bar, lambda share, label: ctx.set_progress(share, label)))
    return _execute_as_generator(ctx, monitor, work, output_form, show)


def start(dataset_id: str, name: str, work: Callable[[Progress], None]) -> None:
    """Start a long function that goes on without the page; what runs and what failed are shown as of any other.

    Args:
        dataset_id: id of the dataset
        name: what the user may cancel it by
        work: the function; gets a progress function
    """
    monitor, begun = _RunMonitor(dataset_id, name), threading.Event()

    def run() -> None:
        try:
            with monitor:
                begun.set()
                work(lambda bar: monitor.report(bar, lambda share, label: None))
        except (SegadError, ValueError, OSError):
            pass  # the store of failures has it
        except Exception:
            logger.exception("'%s' failed", name)
        finally:
            begun.set()

    threading.Thread(target=run, name=f"segad-{name}", daemon=True).start()
    begun.wait()  # so that the next look at what runs finds it


def reload(ctx: foo.ExecutionContext) -> list[Any]:
    """Give the triggers by which the App reads the dataset anew, samples that were opened included.

    FiftyOne's own trigger leaves these as they were; the other one is in ``app/``.
    """
    return [ctx.ops.reload_dataset(), ctx.trigger("@segad/anomaly/reload_opened_samples")]


def show_fields(ctx: foo.ExecutionContext, dataset: fo.Dataset, view: Any, fields: list[str]) -> Iterator[Any]:
    """Give the triggers by which the App shows a view with new fields of a dataset in their colours.

    A reload alone leaves the colours as they were; opening the dataset anew would bring them, and close all panels.
    """
    yield from reload(ctx)
    scheme = dataset.app_config.color_scheme
    if scheme is not None:
        colours: dict[str, Any] = {"color_by": scheme.color_by, "fields": scheme.fields or []}
        if scheme.color_pool:
            colours["color_pool"] = list(scheme.color_pool)
        yield ctx.trigger("set_color_scheme", colours)
    yield ctx.ops.set_view(view)
    yield ctx.ops.set_active_fields([path for path in dict.fromkeys(fields) if _exists(dataset, path)])


def _exists(dataset: fo.Dataset, path: str) -> bool:
    return path == "tags" or dataset.get_field(path) is not None


def dataset_id(ctx: foo.ExecutionContext) -> str:
    """Return the id of the context's dataset, which calls from Python name but do not identify."""
    return str(ctx.dataset._doc.id)


@dataclass(frozen=True)
class Activity:
    """What runs on a dataset, in whichever process.

    Attributes:
        name: what it may be cancelled by
        share: how much of it is done, in [0, 1]
        label: the same in words
        cancelling: whether it was asked to stop
    """

    name: str
    share: float
    label: str
    cancelling: bool = False


def activities(dataset_id: str) -> list[Activity]:
    """Return what is running on a dataset."""
    cancelled = _values(f"cancel:{dataset_id}:")
    running = _values(f"running:{dataset_id}:")
    return [Activity(name, **value, cancelling=name in cancelled) for name, value in running.items()]


def failures(dataset_id: str) -> dict[str, str]:
    """Return why what ran on a dataset lately did not end well, by name; gone once it ends well or is dismissed.

    What is about to end still counts as running, so that one is shown after the other and never both.
    """
    ending = running(dataset_id)
    return {name: error for name, error in _values(f"failed:{dataset_id}:").items() if name not in ending}


def dismiss_failure(dataset_id: str, name: str) -> None:
    """Forget a failure."""
    _store().delete(f"failed:{dataset_id}:{name}")


def running(dataset_id: str) -> list[str]:
    """Return the names of what is running on a dataset."""
    return [activity.name for activity in activities(dataset_id)]


def cancel(dataset_id: str, name: str) -> None:
    """Ask what runs under a name to stop; it keeps what it has finished.

    The request lasts until the run has ended: between two of its steps minutes may pass.
    """
    _store().set(f"cancel:{dataset_id}:{name}", True)


class _RunMonitor:
    """Publishes how far a run is and that it is alive, and stops it when that was asked for."""

    def __init__(self, dataset_id: str, name: str) -> None:
        self.name = name
        self._running = f"running:{dataset_id}:{name}"
        self._cancel = f"cancel:{dataset_id}:{name}"
        self._failed = f"failed:{dataset_id}:{name}"
        self._reported = 0.0
        self._status = (0.0, "starting")
        self.stopped = threading.Event()
        self._ended = threading.Event()
        self._publishing = threading.Lock()  # so that nothing is published after the end

    def __enter__(self) -> _RunMonitor:
        _store().delete(self._cancel)
        _store().delete(self._failed)
        self._publish(*self._status)
        threading.Thread(target=self._keep_alive, name="segad-alive", daemon=True).start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._ended.set()
        if error is not None:  # told before it is gone from what runs, so that no poll misses it
            _store().set(self._failed, in_app_words(str(error)) or type(error).__name__, ttl=_KEEP_FAILURES)
        with self._publishing:
            _store().delete(self._running)
        _store().delete(self._cancel)

    def _keep_alive(self) -> None:
        """Publish the last status again, for as long as the process lives: some steps report nothing for minutes."""
        while not self._ended.wait(_TTL / 3):
            with self._publishing:
                if not self._ended.is_set():
                    self._publish(*self._status)

    def _publish(self, share: float, label: str) -> None:
        self._status = (share, label)
        _store().set(self._running, {"share": share, "label": label}, ttl=_TTL)

    def report(self, bar: Any, show: Callable[[float, str], None]) -> None:
        """Publish and show where the progress bar is; to be called at each of its steps.

        Raises:
            RunCancelled: if the run is to stop
        """
        now = time.monotonic()
        if self.stopped.is_set():
            raise RunCancelled("Cancelled. Run again with the same settings to go on where it stopped")
        if now - self._reported < _INTERVAL and bar.progress < 1:  # the end is always shown
            return
        self._reported = now
        if _store().has(self._cancel):
            self.stopped.set()
        label = _progress_text(bar)
        self._publish(bar.progress, label)
        show(bar.progress, label)


def _progress_text(bar: Any) -> str:
    """Say what is being done, how much of all is, and how long the rest takes if it goes on like this."""
    share = bar.progress
    text = f"{share:.0%}"
    if stage := getattr(bar, "stage", None):
        text = f"{stage}, {text}"
    if _FORESEEABLE <= share < 1:
        text += f", about {duration_text((bar.elapsed_time or 0) * (1 - share) / share)} left"
    return text


def _close_form(ctx: foo.ExecutionContext) -> Iterator[Any]:
    yield execute_again(ctx)


def execute_again(ctx: foo.ExecutionContext) -> Any:
    """Give the trigger by which the App executes the same operator without a form.

    A form covers the page until its execution ends, and it begins anew where that opens a dataset on a page without
    one.
    """
    params = {**ctx.params, _IN_BACKGROUND: True}
    if "view_target" in ctx.request_params:
        params["view_target"] = ctx.request_params["view_target"]
    return ctx.trigger(ctx.operator_uri, params)


def in_background(ctx: foo.ExecutionContext) -> bool:
    """Return whether the form of the execution has closed."""
    return bool(ctx.params.get(_IN_BACKGROUND))


def _execute_as_generator(
    ctx: foo.ExecutionContext,
    monitor: _RunMonitor,
    work: Callable[[Progress], Result],
    output_form: Callable[[Result], types.Property],
    show: Callable[[Result], Iterator[Any]],
) -> Iterator[Any]:
    reports: queue.Queue[tuple[float, str] | Result | Exception] = queue.Queue()

    def run() -> None:
        try:
            with monitor:
                result = work(lambda bar: monitor.report(bar, lambda *report: reports.put(report)))
            reports.put(result)
        except Exception as error:  # passed on to the generator, which shows or raises it
            reports.put(error)

    threading.Thread(target=run, name=f"segad-{ctx.operator_uri}", daemon=True).start()
    try:
        yield ctx.ops.open_panel(PANEL, layout="horizontal")
        while isinstance(report := reports.get(), tuple):
            # Only what is sent to it tells whether the page is still there. ``set_progress`` would cover it with a
            # dialog that opens again whenever it is closed
            yield ctx.trigger("console_log", {"message": f"{monitor.name}: {report[1]}"})
    finally:
        monitor.stopped.set()  # the page was closed or reloaded: nobody would see the result
    if isinstance(report, dict):
        yield from show(report)
        yield ctx.ops.show_output(output_form(report).to_json(), report)
        return
    yield show_error(ctx, report)
    if not isinstance(report, (SegadError, ValueError, OSError)):
        raise report


def in_app(ctx: foo.ExecutionContext) -> bool:
    """Return whether the App asked for the execution: its requests hold the state of its sidebar, others do not."""
    return "extended" in ctx.request_params


def show_error(ctx: foo.ExecutionContext, error: Exception) -> Any:
    """Give the trigger by which the App shows why an execution did not come to its end."""
    form = types.Object()
    if isinstance(error, RunCancelled):
        form.view("cancelled", types.Notice(label="Cancelled; what was finished is kept"))
    else:
        form.view("failed", types.Error(label="It did not work; nothing was changed"))
        form.str("error", label="Why")
    return ctx.ops.show_output(types.Property(form).to_json(), {"error": in_app_words(str(error))})


def _values(prefix: str) -> dict[str, Any]:
    """Return entries of the store by the rest of their keys; one may go while they are read."""
    store = _store()
    values = {key.removeprefix(prefix): store.get(key) for key in store.list_keys() if key.startswith(prefix)}
    return {name: value for name, value in values.items() if value is not None}


def _store() -> Any:
    return foo.ExecutionStore.create(_STORE)
