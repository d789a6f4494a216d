"""Which executors there are, and that Ray is loaded only where it is asked for."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fiftyone as fo
import pytest

import fiftyone_segad as segad
from fiftyone_segad.engine.executors import LocalExecutor, Task, get_executor
from fiftyone_segad.errors import MissingDependencyError
from fiftyone_segad.utils.timing import StageTimer


def test_ray_is_loaded_only_where_it_is_asked_for() -> None:
    code = (
        "import sys, fiftyone_segad.runs.compute, fiftyone_segad.plugin.operators.compute\n"
        "import fiftyone_segad.engine.executors as e\n"
        "e.get_executor('local', 1)\n"
        "assert 'ray' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


def test_workers_need_no_fiftyone() -> None:
    code = (
        "import sys, fiftyone_segad.engine.methods, fiftyone_segad.engine.executors.local\n"
        "assert not {'fiftyone', 'mongoengine', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


def test_names() -> None:
    assert isinstance(get_executor("local", 2), LocalExecutor)
    with pytest.raises(ValueError, match=r"executor='spark' is not known; use one of \['local', 'ray'\]"):
        get_executor("spark", 2)


def test_error_without_ray(
    monkeypatch: pytest.MonkeyPatch, dataset_of: Callable[..., fo.Dataset], pictures: list[Path], colour_embedder: Any
) -> None:
    monkeypatch.setattr("fiftyone_segad.engine.executors.ray_installed", lambda: False)
    dataset = dataset_of(pictures)
    calls = colour_embedder.calls
    with pytest.raises(MissingDependencyError, match=r"needs Ray.*pip install 'fiftyone-segad\[ray\]'"):
        segad.compute_segment_anomalies(dataset, method="unlabeled", executor="ray")
    assert segad.list_runs(dataset) == [] and colour_embedder.calls == calls  # before any work


class _Noting(Task[int, int]):
    """Squares numbers in two steps; the first one that is finished waits until the second one is worked on."""

    def __init__(self) -> None:
        self.timer = StageTimer()
        self.second = threading.Event()
        self.callers: set[int] = set()
        self.finishers: set[int] = set()
        self.waiting = self.most = 0

    def read(self, item: int) -> int:
        return item

    def __call__(self, item: int, content: int) -> int:
        self.callers.add(threading.get_ident())
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        if item == 1:
            self.second.set()
        return content

    def finish(self, item: int, done: int) -> int:
        if item == 0:
            assert self.second.wait(60)
        self.finishers.add(threading.get_ident())
        self.waiting -= 1
        return done * item


def test_an_item_is_finished_while_the_next_one_is_worked_on() -> None:
    task = _Noting()
    assert list(LocalExecutor(2).map(task, range(50))) == [(i, i * i) for i in range(50)]
    assert task.callers == {threading.get_ident()}
    assert len(task.finishers) == 1 and task.finishers != task.callers
    assert task.most == 2 and task.waiting == 0


@pytest.mark.parametrize("step", ["read", "__call__", "finish"])
def test_errors_are_passed_on(step: str) -> None:
    def fail(self: object, item: int, *args: object) -> int:
        if item == 3:
            raise ZeroDivisionError("three")
        return item

    task = type("Failing", (_Noting,), {step: fail, "finish": fail})()
    results = LocalExecutor(2).map(task, range(50))
    with pytest.raises(ZeroDivisionError, match="three"):
        for item, _ in results:
            assert item < 3


def test_nothing_more_is_begun_when_the_results_are_closed() -> None:
    task = _Noting()
    results = LocalExecutor(2).map(task, range(1, 1000))
    assert next(results) == (1, 1)
    results.close()
    assert task.waiting == 0 and task.most <= 2
    assert not any(thread.name.startswith("segad-finish") for thread in threading.enumerate())
