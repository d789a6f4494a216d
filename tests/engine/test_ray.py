"""The executor ``ray`` on a cluster of two nodes on this machine, beside a run without it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fiftyone_segad.embedders.base import Embedder
from fiftyone_segad.embedders.factory import get_embedder
from fiftyone_segad.engine.executors import Executor, Task
from fiftyone_segad.engine.job import Job, JobContext, JobImage, JobSpec
from fiftyone_segad.engine.methods import run_job
from fiftyone_segad.errors import SegadError
from fiftyone_segad.storage.records import ImageScores
from fiftyone_segad.storage.store import RunStore
from fiftyone_segad.utils.threads import usable_cores
from fiftyone_segad.utils.timing import StageTimer

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'ray[data]'")

pytestmark = pytest.mark.ray

NORMALS, IMAGES = 24, 40
BROKEN = 3
CORES = min(usable_cores(), 4)
TOLERANCE = 0 if usable_cores() == CORES else 1e-3
"""Sums of many numbers differ in their last bits by the number of threads."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes, each with as many cores as a run without Ray uses, up to those of an actor."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    quick = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 4}
    node = {"num_cpus": CORES, "object_store_memory": 150 * 2**20, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args={**node, "_system_config": quick})
    made.add_node(**node)
    ray.init(made.address, log_to_driver=False, logging_level="ERROR")
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture(scope="module")
def on_ray(cluster: Any) -> Executor:
    from fiftyone_segad.engine.executors.ray_data import RayExecutor

    return RayExecutor(1)


@pytest.fixture(scope="module")
def embedder() -> Iterator[Embedder]:
    with get_embedder("efficientnet", options={"input_size": 64, "levels": [8, 16]}) as model:
        yield model


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Images of smooth noise; one of the last is broken."""
    folder, random = tmp_path_factory.mktemp("images"), np.random.default_rng(5)
    made = [str(folder / f"{i}.png") for i in range(NORMALS + IMAGES)]
    for path in made:
        coarse = Image.fromarray(random.integers(0, 255, (9, 11, 3), dtype=np.uint8))
        coarse.resize((88, 72), Image.Resampling.BICUBIC).save(path)
    Path(made[-BROKEN]).write_bytes(b"no image")
    return made


@pytest.fixture
def make_job(tmp_path: Path, paths: list[str], embedder: Embedder) -> Callable[..., Job]:
    def make(
        name: str,
        executor: Executor | None,
        on_progress: Callable[[int], None] = lambda count: None,
        method: str = "reference",
        segments: str | None = None,
        **changed: Any,
    ) -> Job:
        images = [JobImage(f"id-{i}", path) for i, path in enumerate(paths[NORMALS:])]
        normals = [JobImage(path, path) for path in paths[:NORMALS]]
        spec = JobSpec(images, normals, method, segments, **changed)
        return Job(spec, JobContext(embedder, RunStore(tmp_path / name), 1, executor, on_progress))

    return make


def by_id(records: Any) -> dict[str, ImageScores]:
    stored = list(records)
    assert len({record.id for record in stored}) == len(stored), "an image was scored twice"
    return {record.id: record for record in stored}


def assert_same(one: Job, other: Job) -> None:
    for name in ("scores", "normals"):
        first, second = by_id(getattr(one.store, name)), by_id(getattr(other.store, name))
        assert first.keys() == second.keys()
        for id, record in first.items():
            np.testing.assert_allclose(record.scores, second[id].scores, atol=TOLERANCE, rtol=0)
            np.testing.assert_array_equal(record.outliers, second[id].outliers)
            np.testing.assert_array_equal(record.segments.boxes, second[id].segments.boxes)
            assert record.image_score == pytest.approx(second[id].image_score, abs=TOLERANCE)
    assert sorted(map(str, one.report.skipped)) == sorted(map(str, other.report.skipped))
    assert sorted(one.report.warnings) == sorted(other.report.warnings)


class Stopped(Exception):
    """What the caller's ``on_progress`` raises."""


@pytest.mark.parametrize(
    "changed",
    [
        # Turned twice, 24 normals have 3,072 rows of the finest level, more than twice as many as may be chosen
        pytest.param({"bank_size": 800, "rotations": 2}, id="reference, a coreset"),
        pytest.param({"method": "unlabeled"}, id="unlabeled"),
        pytest.param({"method": "within_image", "segments": "grid:3"}, id="within_image"),
    ],
)
def test_equal_to_a_run_without_ray(
    make_job: Callable[..., Job], on_ray: Executor, changed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fiftyone_segad.engine.bank.GROUP_ROWS", 500)
    local, remote = make_job("local", None, **changed), make_job("remote", on_ray, **changed)
    run_job(local)
    run_job(remote)
    assert len(by_id(remote.store.scores)) == IMAGES - 1
    assert [entry["id"] for entry in remote.report.skipped] == [f"id-{IMAGES - BROKEN}"]
    assert_same(remote, local)
    assert remote.report.seconds["embed"] > 0


def test_stopped_and_resumed_by_the_other(make_job: Callable[..., Job], on_ray: Executor) -> None:
    whole = make_job("whole", None)
    run_job(whole)
    seen: list[int] = []

    def advance(count: int) -> None:
        seen.append(count)
        if sum(seen) == 2 * NORMALS + 10:  # the bank is done, its images are scored, and ten others
            raise Stopped

    stopped = make_job("parts", on_ray, on_progress=advance)
    with pytest.raises(Stopped):
        run_job(stopped)
    assert len(stopped.store.scores.ids()) == 10
    assert _no_actors_left()
    resumed = make_job("parts", None)
    run_job(resumed)
    assert_same(resumed, whole)


def test_work_is_on_both_nodes_by_processes_without_fiftyone(on_ray: Executor) -> None:
    class Where(Task[int, Any]):
        timer = StageTimer()

        def __call__(self, item: int, content: None) -> Any:
            time.sleep(0.2)
            return os.getpid(), ray.get_runtime_context().get_node_id(), sorted(sys.modules)

    done = dict(on_ray.map(Where(), range(20)))
    assert sorted(done) == list(range(20))
    assert len({pid for pid, _, _ in done.values()}) == len({node for _, node, _ in done.values()}) == 2
    assert os.getpid() not in {pid for pid, _, _ in done.values()}
    loaded = set.union(*(set(modules) for _, _, modules in done.values()))
    assert "fiftyone_segad.engine.executors.local" in loaded
    assert not {"fiftyone", "mongoengine", "torch"} & loaded


def test_errors_are_those_of_the_task(on_ray: Executor) -> None:
    class Failing(Task[int, int]):
        timer = StageTimer()

        def __call__(self, item: int, content: None) -> int:
            if item == 3:
                raise MemoryError("no memory for item 3")
            return item

    with pytest.raises(MemoryError, match="no memory for item 3"):
        list(on_ray.map(Failing(), range(8)))


def test_error_of_a_machine_with_another_embedder(
    make_job: Callable[..., Job], on_ray: Executor, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedder, "identity", "efficientnet of another version")
    with pytest.raises(SegadError, match=r"of another version.*install the same versions"):
        run_job(make_job("other", on_ray, method="within_image", segments="grid:3"))


def test_results_in_order_if_asked_for(on_ray: Executor) -> None:
    class Slow(Task[int, int]):
        timer = StageTimer()

        def __call__(self, item: int, content: None) -> int:
            time.sleep(0.5 if item == 0 else 0)
            return 10 * item

    assert list(on_ray.map(Slow(), range(9), ordered=True)) == [(i, 10 * i) for i in range(9)]


def test_fields_of_a_dataset(cluster: Any, dataset_of: Callable[..., Any], paths: list[str]) -> None:
    import fiftyone_segad as segad

    dataset = dataset_of(paths[NORMALS - 8 :])
    options: dict[str, Any] = {"embedder": "efficientnet", "embedder_kwargs": {"input_size": 64, "levels": [8, 16]}}
    normals = dataset.limit(8)
    local = segad.compute_segment_anomalies(dataset, "local", reference=normals, **options)
    remote = segad.compute_segment_anomalies(dataset, "remote", reference=normals, executor="ray", **options)
    assert [entry["filepath"] for entry in remote.skipped] == [paths[-BROKEN]] and remote.scored == local.scored
    assert dataset.values("remote_score") == pytest.approx(dataset.values("local_score"), abs=TOLERANCE)
    assert remote.thresholds.image == pytest.approx(local.thresholds.image, abs=TOLERANCE)
    assert ray.is_initialized()  # the cluster was there before


def test_a_node_is_killed_in_the_middle(make_job: Callable[..., Job], cluster: Any, on_ray: Executor) -> None:
    whole = make_job("whole", None)
    run_job(whole)
    seen: list[int] = []
    extra = next(iter(cluster.worker_nodes))

    def advance(count: int) -> None:
        seen.append(count)
        if sum(seen) == 2 * NORMALS + 5:
            cluster.remove_node(extra, allow_graceful=False)

    job = make_job("killed", on_ray, on_progress=advance)
    run_job(job)
    assert sum(node["Alive"] for node in ray.nodes()) == 1
    assert_same(job, whole)


def _no_actors_left() -> bool:
    """Whether the pool is given back: all cores of the cluster are free again."""
    for _ in range(100):
        if ray.available_resources().get("CPU") == ray.cluster_resources()["CPU"]:
            return True
        time.sleep(0.1)
    return False
