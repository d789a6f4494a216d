"""P-values of parts: what is promised holds for parts, however their views depend on each other."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from fiftyone_segad.scoring.parts import BONFERRONI, CONFORMAL, NormalParts, min_p_rank

VIEWS = ["left", "right", "top"]


def draw(random: np.random.Generator, parts: int, correlation: float) -> NDArray[np.float64]:
    """Draw scores of views that share a component, each view on a scale of its own."""
    shared, own = random.standard_normal((parts, 1)), random.standard_normal((parts, len(VIEWS)))
    mixed = np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * own
    return np.asarray(np.exp(mixed) * [1, 10, 0.1] + [0, 5, -3])


def normal_parts(scores: NDArray[np.float64]) -> NormalParts:
    return NormalParts(scores.ravel(), np.repeat(np.arange(len(scores)), len(VIEWS)).tolist(), VIEWS * len(scores))


def slow_rank(normals: NDArray[np.float64], new: NDArray[np.float64]) -> float:
    """Compute the p-value as the docstring of the module says, part by part and view by view."""
    parts = [*normals.tolist(), new.tolist()]
    columns = list(zip(*parts, strict=True))

    def statistic(part: list[float]) -> tuple[float, float]:
        p_values = [
            sum(other >= value for other in column) / len(parts) for value, column in zip(part, columns, strict=True)
        ]
        excesses = []
        for value, column in zip(part, columns, strict=True):
            median = float(np.median(column))
            excesses.append((value - median) / float(np.median([abs(other - median) for other in column])))
        return -min(p_values), max(excesses)

    own = statistic(parts[-1])
    return sum(statistic(part) >= own for part in parts) / len(parts)


@pytest.mark.parametrize("seed", range(5))
def test_ranks_are_those_of_the_definition(seed: int) -> None:
    random = np.random.default_rng(seed)
    scores = np.round(draw(random, 24, 0.5), 2)  # with ties, most of them in the view of small scores
    assert min_p_rank(scores[:-1], scores[-1])[0] == pytest.approx(slow_rank(scores[:-1], scores[-1]))


@pytest.mark.parametrize("correlation", [0, 0.6, 1])
@pytest.mark.parametrize("parts", [39, 99])
def test_the_share_holds_for_parts_and_is_used_up(correlation: float, parts: int) -> None:
    random, asked, rounds = np.random.default_rng(7), 0.1, 2500
    flagged = 0
    for _ in range(rounds):
        scores = draw(random, parts + 1, correlation)
        flagged += min_p_rank(scores[:-1], scores[-1])[0] <= asked
    # Scores without ties make p-values uniform over k / (n + 1): the share is exact, and 0.018 are three standard
    # errors
    assert flagged / rounds == pytest.approx(asked, abs=0.018)


def test_a_view_that_is_far_out_gets_the_smallest_p_value_and_decides() -> None:
    scores = draw(np.random.default_rng(0), 99, 0.3)
    for number, view in enumerate(VIEWS):
        new = np.median(scores, axis=0)
        new[number] = scores[:, number].max() + 10 * scores[:, number].std()
        value = normal_parts(scores).part_value(new, VIEWS, 0.05)
        assert value is not None
        assert (value.p_value, VIEWS[value.picture], value.method) == (0.01, view, CONFORMAL)


def test_parts_that_lack_a_view_are_compared_in_the_views_that_they_have() -> None:
    scores = draw(np.random.default_rng(1), 40, 0.3)
    normals = normal_parts(scores)
    value = normals.part_value(scores[0, :2] + 100, VIEWS[:2], 0.05)
    assert value is not None
    assert (value.p_value, value.judged) == (pytest.approx(1 / 41), 2)
    assert value.p_value == min_p_rank(scores[:, :2], scores[0, :2] + 100)[0]


def test_too_few_complete_normal_parts_are_told_by_bonferroni() -> None:
    scores = draw(np.random.default_rng(2), 40, 0.3)
    parts = [f"{view} {number}" for number in range(40) for view in VIEWS]  # no two views are of one part
    value = NormalParts(scores.ravel(), parts, VIEWS * 40).part_value(scores.max(axis=0) + 1, VIEWS, 0.05)
    assert value is not None
    assert (value.method, value.p_value, value.smallest) == (BONFERRONI, pytest.approx(3 / 41), pytest.approx(3 / 41))


def test_a_normal_part_is_not_compared_with_itself() -> None:
    scores = draw(np.random.default_rng(3), 40, 0.3)
    value = normal_parts(scores).part_value(scores[5], VIEWS, 0.05, part=5)
    assert value is not None
    assert value.p_value == min_p_rank(np.delete(scores, 5, axis=0), scores[5])[0]
    alone = NormalParts([1.0], ["a"], ["left"]).part_value([2.0], ["left"], 0.05, part="a")
    assert alone is None


def test_pictures_without_a_view_of_their_own_are_compared_with_parts_of_as_many() -> None:
    """Of parts of five, three and one picture, those of three and more say what is usual of three."""
    random = np.random.default_rng(4)
    sizes = [5] * 30 + [3] * 30 + [1] * 30
    parts = np.repeat(np.arange(90), sizes)
    scores = random.standard_normal(len(parts))
    value = NormalParts(scores, parts.tolist(), [""] * len(parts)).part_value([0.0, 9.0, 0.0], [""] * 3, 0.05)
    assert value is not None
    assert (value.p_value, value.picture, value.method) == (pytest.approx(1 / 61), 1, CONFORMAL)


def test_pictures_of_one_part_do_not_count_as_parts_with_bonferroni() -> None:
    scores, parts = np.repeat(np.arange(9.0), 4), np.repeat(np.arange(9), 4).tolist()
    value = NormalParts(scores, parts, [""] * 36).part_value([20.0] * 5, [""] * 5, 0.05)
    assert value is not None
    assert (value.method, value.p_value) == (BONFERRONI, pytest.approx(5 * 0.1))
