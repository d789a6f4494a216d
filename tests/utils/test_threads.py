"""How many threads are used."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from fiftyone_segad.engine.executors import LocalExecutor, Task
from fiftyone_segad.utils.threads import one_blas_thread, prefetch_map, usable_cores
from fiftyone_segad.utils.timing import StageTimer


def test_fewer_threads_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    cores = usable_cores()
    assert cores >= 1
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert usable_cores() == 1
    for value in (str(cores + 1), "0", "many", "-1", ""):
        monkeypatch.setenv("OMP_NUM_THREADS", value)
        assert usable_cores() == cores


def blas_threads() -> set[int]:
    np.ones((2, 2)) @ np.ones((2, 2))
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


@pytest.fixture
def three_blas_threads() -> Iterator[None]:
    with threadpool_limits(3, "blas"):
        if blas_threads() != {3}:
            pytest.skip("the matrix library of this NumPy has no threads that can be set")
        yield


@pytest.mark.usefixtures("three_blas_threads")
def test_one_blas_thread_until_the_last_block_is_left() -> None:
    first, second = one_blas_thread(), one_blas_thread()
    first.__enter__()
    assert blas_threads() == {1}
    other = threading.Thread(target=second.__enter__)  # as a run in another thread
    other.start()
    other.join()
    first.__exit__(None, None, None)
    assert blas_threads() == {1}
    second.__exit__(None, None, None)
    assert blas_threads() == {3}


@pytest.mark.usefixtures("three_blas_threads")
@pytest.mark.parametrize("end", ["all", "closed", "error"])
def test_blas_has_its_threads_back_after_the_work(end: str) -> None:
    class Counting(Task[int, set[int]]):
        timer = StageTimer()

        def __call__(self, item: int, content: None) -> set[int]:
            if item == 3 and end == "error":
                raise ZeroDivisionError
            return blas_threads()

    results = LocalExecutor(1).map(Counting(), range(5))
    assert next(results) == (0, {1})
    if end == "closed":
        results.close()
    elif end == "all":
        assert list(results) == [(item, {1}) for item in range(1, 5)]
    else:
        with pytest.raises(ZeroDivisionError):
            list(results)
    assert blas_threads() == {3}


@pytest.mark.parametrize("seed", range(5))
def test_heavy_items_are_not_all_worked_on_ahead(seed: int) -> None:
    weights = np.random.default_rng(seed).choice([0, 1, 4, 9, 25], size=60).tolist()
    changing, held, most = threading.Lock(), [0], [0]

    def work(item: int) -> int:
        with changing:
            held[0] += weights[item]
            most[0] = max(most[0], held[0] if held[0] > weights[item] else 0)  # not of one that is alone
        return -item

    results = []
    for item, result in prefetch_map(work, range(60), 3, lambda item: weights[item], 10):
        results.append((item, result))
        with changing:
            held[0] -= weights[item]
    assert results == [(item, -item) for item in range(60)]
    assert 0 < most[0] <= 10 + 25  # those that wait, and the one that was just given out


@pytest.mark.skipif(not hasattr(threading, "_shutdown_locks_lock"), reason="Python 3.13 starts threads without it")
def test_what_the_garbage_collector_closes_needs_no_lock_of_starting_threads() -> None:
    """It may do so in a thread that is being started, and holds this lock then."""
    results = prefetch_map(len, ["a", "bc", "d", "ef"], workers=1)
    assert next(results) == ("a", 1)

    def close() -> None:
        with threading._shutdown_locks_lock:  # type: ignore[attr-defined]
            results.close()  # type: ignore[attr-defined]

    closing = threading.Thread(target=close, daemon=True)
    closing.start()
    closing.join(30)
    assert not closing.is_alive()
