"""Which executors there are, and that Ray is loaded only where it is asked for."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fiftyone as fo
import pytest

import fiftyone_segad as segad
from fiftyone_segad.errors import MissingDependencyError
from fiftyone_segad.executors import LocalExecutor, get_executor


def test_ray_is_loaded_only_where_it_is_asked_for() -> None:
    code = (
        "import sys, fiftyone_segad.compute, fiftyone_segad.operators.compute, fiftyone_segad.executors as e\n"
        "e.get_executor('local', 1)\n"
        "assert 'ray' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


def test_workers_need_no_fiftyone() -> None:
    code = (
        "import sys, fiftyone_segad.methods, fiftyone_segad.executors.local\n"
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
    monkeypatch.setattr("fiftyone_segad.executors.ray_installed", lambda: False)
    dataset = dataset_of(pictures)
    calls = colour_embedder.calls
    with pytest.raises(MissingDependencyError, match=r"needs Ray.*pip install 'fiftyone-segad\[ray\]'"):
        segad.compute_segment_anomalies(dataset, method="unlabeled", executor="ray")
    assert segad.list_runs(dataset) == [] and colour_embedder.calls == calls  # before any work
