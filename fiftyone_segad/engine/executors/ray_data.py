"""Work on a cluster: Ray Data has a pool of actors do it. Imported only where it is asked for.

Each actor gets the task once, through Ray's object store, with the bank in it, and does its items as a single machine
does them. What a node that dies has not delivered is done again by another one.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from contextlib import closing
from functools import cached_property
from itertools import islice
from math import ceil
from typing import Any

# Before Ray is imported, which reads it once
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import numpy as np
import ray
import ray.data
from ray import cloudpickle
from ray.data.context import DataContext

from ...errors import SegadError
from .base import Executor, Item, Result, Results, Task
from .local import LocalExecutor

ACTOR_CORES = 4
"""Cores of an actor at most. An image is embedded by all of them; each actor holds a copy of the bank."""

BATCH = 32
"""Items that an actor gets at once at most: what a node that dies has to do again."""

WAVE = 2**18
"""Items of one pass through Ray Data at most, for the memory of the machine that the run was started on."""


class RayExecutor(Executor):
    """Works on the cluster that Ray is connected to or ``RAY_ADDRESS`` names, or else on a local one of its own.

    Args:
        workers: threads of an actor that read

    Raises:
        SegadError: if there is no such cluster
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        self._started = not ray.is_initialized()
        if self._started:
            address = os.environ.get("RAY_ADDRESS")
            local: dict[str, Any] = {} if address else {"include_dashboard": False}
            try:
                ray.init(address or "local", log_to_driver=False, logging_level=logging.ERROR, **local)
            except (ConnectionError, RuntimeError) as error:
                raise SegadError(
                    f"executor='ray' cannot use the cluster at RAY_ADDRESS='{address}': {error}"
                ) from error

    def map(self, task: Task[Item, Result], items: Iterable[Item], ordered: bool = False) -> Results[Item, Result]:
        """Yield results as in the base class."""
        remaining = iter(items)
        while wave := list(islice(remaining, WAVE)):
            alone = len(wave) == 1  # not worth a pool
            yield from LocalExecutor(self._workers).map(task, wave) if alone else self._map(task, wave, ordered)

    def _map(self, task: Task[Item, Result], items: list[Item], ordered: bool) -> Results[Item, Result]:
        actors, cores = _pool()
        blocks = max(ceil(len(items) / BATCH), min(4 * actors, len(items)))
        context = DataContext.get_current().copy()
        context.enable_progress_bars = context.print_on_execution_start = False
        context.execution_options.preserve_order = ordered
        with DataContext.current(context):
            rows = ray.data.from_items(
                [{"number": i, "item": _Wrapped(item)} for i, item in enumerate(items)], override_num_blocks=blocks
            ).map_batches(
                _Actor,
                batch_size=None,
                fn_constructor_args=(ray.put(np.frombuffer(cloudpickle.dumps(task), np.uint8)), self._workers),
                compute=ray.data.ActorPoolStrategy(size=min(actors, blocks)),
                num_cpus=cores,
            )
        with closing(iter(rows.iter_batches(batch_size=None, batch_format="numpy"))) as done:
            for batch in done:
                for number, wrapped in zip(batch["number"], batch["result"], strict=True):
                    if isinstance(wrapped.value, Exception):
                        raise wrapped.value
                    result, seconds = wrapped.value
                    task.timer.add(seconds)
                    yield items[number], result

    def close(self) -> None:
        if self._started:
            ray.shutdown()


class _Wrapped:
    """Keeps Ray Data from making columns of numbers of what it passes on."""

    def __init__(self, value: Any) -> None:
        self.value = value


class _Actor:
    """Does a task with batches of items, as a single machine does it."""

    def __init__(self, task: Any, workers: int) -> None:
        self._ref, self._executor = task, LocalExecutor(workers)

    @cached_property
    def _task(self) -> Task[Any, Any]:
        # Not when the actor starts, and not by Ray: what goes wrong would be taken for a failure of the machine
        task: Task[Any, Any] = cloudpickle.loads(ray.get(self._ref))
        task.timer.take()
        return task

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        results = np.empty(len(batch["item"]), object)
        try:
            timer = self._task.timer
            for i, (_, result) in enumerate(
                self._executor.map(self._task, [wrapped.value for wrapped in batch["item"]])
            ):
                results[i] = _Wrapped((result, timer.take()))
        except Exception as error:  # sent as a result: Ray keeps the text of an error only
            results[:] = [_Wrapped(error)] * len(results)
        return {"number": batch["number"], "result": results}


def _pool() -> tuple[int, int]:
    """Return how many actors fit on the cluster, and the cores of each."""
    nodes = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    nodes = [cores for cores in nodes if cores > 0]
    if not nodes:
        raise SegadError("executor='ray': no node of the cluster has a CPU for the work; start it with --num-cpus")
    cores = min(*nodes, ACTOR_CORES)
    return sum(node_cores // cores for node_cores in nodes), cores
