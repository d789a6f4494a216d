"""The coreset, against greedy k-centre written out."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from fiftyone_segad.scoring import coreset
from fiftyone_segad.scoring.coreset import greedy_coreset, greedy_image_coreset
from oracles.image_coverage import distances


def naive(rows: NDArray[np.float64], size: int) -> list[int]:
    """Begins with what is farthest from the mean, and goes on with what is farthest from all that was chosen."""
    chosen = [int(np.linalg.norm(rows - rows.mean(axis=0), axis=1).argmax())]
    while len(chosen) < size:
        chosen.append(int(np.linalg.norm(rows[:, None] - rows[chosen], axis=2).min(axis=1).argmax()))
    return sorted(chosen)


def radius(rows: NDArray[np.float64], chosen: NDArray[np.int64]) -> float:
    """Distance of the row that is farthest from its nearest chosen one."""
    return float(np.linalg.norm(rows[:, None] - rows[chosen], axis=2).min(axis=1).max())


@pytest.mark.parametrize("size", [1, 2, 17, 119])
@pytest.mark.parametrize("width", [1, 5])
def test_one_block_equals_the_naive_choice(size: int, width: int) -> None:
    rows = np.random.default_rng(width).normal(size=(120, width))
    # Blocks shuffle the rows, so that seeds must not matter to a single one
    assert greedy_coreset(rows, size).tolist() == greedy_coreset(rows, size, seed=8).tolist() == naive(rows, size)


def test_every_cluster_is_represented() -> None:
    random = np.random.default_rng(2)
    of = np.repeat(np.arange(10), [500, 200, 100, 50, 20, 10, 5, 3, 2, 1])
    rows = 100 * random.normal(size=(10, 4))[of] + random.normal(size=(len(of), 4))
    assert sorted(of[greedy_coreset(rows, 10)]) == list(range(10))


@pytest.mark.parametrize("block", [4096, 100])
def test_the_choice_covers_better_than_a_random_one(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(coreset, "WORK", 1)
    monkeypatch.setattr(coreset, "BLOCK", block)
    random = np.random.default_rng(4)
    rows = random.standard_t(4, size=(1000, 3))  # with a few far from the others, as features have
    by_chance = min(radius(rows, random.choice(1000, 100, replace=False)) for _ in range(20))
    assert radius(rows, greedy_coreset(rows, 100)) < 0.8 * by_chance


@pytest.mark.parametrize("block", [4096, 64, 7, 1])
@pytest.mark.parametrize(("count", "size"), [(300, 1), (300, 5), (300, 150), (300, 299), (8, 7)])
def test_indices_are_sorted_unique_and_as_many_as_asked_for(
    monkeypatch: pytest.MonkeyPatch, block: int, count: int, size: int
) -> None:
    monkeypatch.setattr(coreset, "WORK", 1)
    monkeypatch.setattr(coreset, "BLOCK", block)
    chosen = greedy_coreset(np.random.default_rng(1).normal(size=(count, 3)), size)
    assert len(chosen) == size
    assert (np.diff(chosen) > 0).all()
    assert chosen[0] >= 0 and chosen[-1] < count


def test_rows_that_are_equal_are_still_different_rows() -> None:
    assert len(set(greedy_coreset(np.ones((50, 4)), 20).tolist())) == 20


def test_each_block_gives_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coreset, "WORK", 1)
    monkeypatch.setattr(coreset, "BLOCK", 100)
    seen: list[tuple[int, int]] = []

    def note(rows: NDArray[np.floating], size: int) -> NDArray[np.int64]:
        seen.append((len(rows), size))
        return np.arange(size)

    monkeypatch.setattr(coreset, "_greedy", note)
    greedy_coreset(np.zeros((950, 2)), 33)
    assert len(seen) == 10 and sum(rows for rows, _ in seen) == 950 and sum(size for _, size in seen) == 33
    assert max(rows for rows, _ in seen) <= 100 and {size for _, size in seen} <= {3, 4}


def test_blocks_are_chosen_by_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coreset, "WORK", 1)
    monkeypatch.setattr(coreset, "BLOCK", 50)
    rows = np.random.default_rng(9).normal(size=(500, 3))
    first = greedy_coreset(rows, 60, seed=3).tolist()
    assert greedy_coreset(rows, 60, seed=3).tolist() == first
    assert greedy_coreset(rows, 60, seed=4).tolist() != first


@pytest.mark.parametrize(("count", "size"), [(5, 5), (5, 6), (0, 3)])
def test_all_rows_if_there_are_no_more(count: int, size: int) -> None:
    assert greedy_coreset(np.zeros((count, 2)), size).tolist() == list(range(count))


@pytest.mark.parametrize("size", [0, -1])
def test_error_of_an_empty_choice(size: int) -> None:
    with pytest.raises(ValueError, match="at least 1 row"):
        greedy_coreset(np.ones((4, 2)), size)


def test_few_rows_of_many_are_chosen_among_all() -> None:
    random = np.random.default_rng(3)
    rows = random.normal(size=(3 * coreset.BLOCK, 2))
    assert greedy_coreset(rows, 5).tolist() == naive(rows, 5)


# Images


def random_levels(seed: int, images: int = 9, ragged: bool = True) -> list[list[np.ndarray]]:
    random = np.random.default_rng(seed)
    counts = random.integers(1, 6, images) if ragged else np.full(images, 4)
    return [[random.normal(0, scale, (n, 3)).astype(np.float32) for n in counts] for scale in (1, 50)]


@pytest.mark.parametrize("seed", range(8))
def test_each_choice_is_the_image_that_is_farthest(seed: int) -> None:
    levels = random_levels(seed, ragged=seed % 2 == 0)
    chosen, radii = greedy_image_coreset(levels, 9)
    assert sorted(chosen) == list(range(9))
    unit = distances(levels, chosen[:1]).mean(axis=1, keepdims=True)
    for count in range(1, 9):
        combined = (distances(levels, chosen[:count]) / unit).mean(axis=0)
        assert chosen[count] == combined.argmax()
        assert radii[count - 1] == pytest.approx(combined.max(), rel=1e-4)
    assert radii[-1] == 0
    assert greedy_image_coreset(levels, 4)[0] == chosen[:4], "fewer are the first ones of more"


def test_kinds_of_images_are_all_covered() -> None:
    """Four kinds of 20, 5, 2 and 1 images: four choices have one of each, which random ones seldom do."""
    random = np.random.default_rng(0)
    kinds = [0] * 20 + [1] * 5 + [2] * 2 + [3]
    centres = random.normal(0, 10, (4, 8))
    images = [(centres[kind] + random.normal(0, 1, (6, 8))).astype(np.float32) for kind in kinds]
    chosen, radii = greedy_image_coreset([images], 5)
    assert {kinds[i] for i in chosen[:4]} == {0, 1, 2, 3}
    assert kinds[chosen[0]] == 0, "the most usual one first"
    assert radii[3] < 0.3 * radii[2], "what is left is near, once each kind is there"


def test_one_odd_segment_does_not_decide() -> None:
    random = np.random.default_rng(0)
    images = [random.normal(0, 0.1, (50, 4)).astype(np.float32) for _ in range(6)]
    images[4] += 1
    images[5][0] += 20
    assert greedy_image_coreset([images], 2)[0][1] == 4


def test_equal_images() -> None:
    chosen, radii = greedy_image_coreset([[np.ones((2, 3), np.float32)] * 4], 4)
    assert sorted(chosen) == [0, 1, 2, 3] and radii == [0] * 4
