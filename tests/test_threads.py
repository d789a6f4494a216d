"""How many threads are used."""

from __future__ import annotations

import pytest

from fiftyone_segad.threads import usable_cores


def test_fewer_threads_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    cores = usable_cores()
    assert cores >= 1
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert usable_cores() == 1
    for value in (str(cores + 1), "0", "many", "-1", ""):
        monkeypatch.setenv("OMP_NUM_THREADS", value)
        assert usable_cores() == cores
