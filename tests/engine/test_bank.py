"""The bank's coreset in two stages, beside a choice among all rows at once; and how large a bank may be."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from numpy.typing import NDArray

from fiftyone_segad.embedders.base import Level
from fiftyone_segad.engine import bank as module
from fiftyone_segad.engine.bank import bank_coreset, row_limits
from fiftyone_segad.engine.executors import LocalExecutor
from fiftyone_segad.engine.executors.base import Item, Result, Results, Task
from fiftyone_segad.scoring import coreset
from fiftyone_segad.scoring.coreset import greedy_coreset
from fiftyone_segad.scoring.levels import LevelScorer
from fiftyone_segad.segments.boxes import grid
from fiftyone_segad.utils.timing import StageTimer


def images_of(counts: list[int], seed: int = 4) -> list[NDArray[np.float64]]:
    random = np.random.default_rng(seed)
    return [random.standard_t(4, size=(count, 3)) for count in counts]


def coreset_of(images: list[NDArray[np.float64]], size: int, seed: int = 0) -> list[NDArray[np.floating]]:
    return bank_coreset(images, size, seed, LocalExecutor(1), StageTimer())


def radius(rows: NDArray[np.floating], subset: NDArray[np.floating]) -> float:
    return float(np.linalg.norm(rows[:, None] - subset, axis=2).min(axis=1).max())


def test_as_before_where_the_candidates_are_all_rows() -> None:
    images = images_of([50, 0, 70, 30])
    rows = np.concatenate(images)
    expected = rows[greedy_coreset(rows, 75, seed=3)]
    thinned = coreset_of(images, 75, seed=3)
    np.testing.assert_array_equal(np.concatenate(thinned), expected)
    for image, rows_left in zip(images, thinned, strict=True):
        assert {tuple(row) for row in rows_left} <= {tuple(row) for row in image}
    assert len(thinned[1]) == 0


@pytest.mark.parametrize("group", [1, 150, 10_000])
def test_covers_better_than_by_chance(monkeypatch: pytest.MonkeyPatch, group: int) -> None:
    monkeypatch.setattr(module, "GROUP_ROWS", group)
    images = images_of([100, 1, 250, 149, 100, 200])
    rows = np.concatenate(images)
    thinned = coreset_of(images, 80)
    assert sum(map(len, thinned)) == 80 and [rows_left.shape[1] for rows_left in thinned] == [3] * 6
    random = np.random.default_rng(1)
    by_chance = min(radius(rows, rows[random.choice(800, 80, replace=False)]) for _ in range(20))
    assert radius(rows, np.concatenate(thinned)) < 0.8 * by_chance


def test_no_machine_gets_more_than_a_group_or_the_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GROUP_ROWS", 200)
    monkeypatch.setattr(coreset, "BLOCK", 50)
    monkeypatch.setattr(coreset, "WORK", 1)
    seen: list[tuple[int, int]] = []

    class Noting(LocalExecutor):
        def map(self, task: Task[Item, Result], items: Iterable[Item], ordered: bool = False) -> Results[Item, Result]:
            given = list(items)
            seen.extend((len(rows), size) for rows, size in given)  # type: ignore[misc, attr-defined]
            return super().map(task, given, ordered)

    images = images_of([90] * 20)
    thinned = bank_coreset(images, 100, 0, Noting(1), StageTimer())
    assert max(rows for rows, _ in seen) <= 200 + 90
    groups = [share for rows, share in seen if rows > 50]
    assert sum(groups) == 4 * 100 and sum(size for _, size in seen) == 5 * 100
    for one, other in zip(thinned, coreset_of(images, 100), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("components", "bank_size", "limits"),
    [
        pytest.param((64, 64), None, [131_072, 131_072 * 4], id="the search takes as long at each level"),
        pytest.param((64, 1024), None, [131_072, 65_536], id="256 MiB of 1,024 features are 65,536 rows"),
        pytest.param((1024, 4096), None, [65_536, 16_384], id="256 MiB at each level"),
        pytest.param((1024, 4096), 200_000, [200_000, 200_000], id="more, if that is asked for"),
    ],
)
def test_a_level_of_the_bank_has_a_size_at_most(
    components: tuple[int, int], bank_size: int | None, limits: list[int]
) -> None:
    levels = LevelScorer([Level(f"level {count}", components=count) for count in components])
    assert row_limits(bank_size, levels, [grid((64, 64), 8), grid((64, 64), 4)]) == limits
