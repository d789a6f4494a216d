"""The original method: fastdup's outlier rule, on its own answers and on features made by hand; its sort's order."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from collections.abc import Iterator
from math import floor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from conftest import needs_fastdup, shared
from fiftyone_segad.embedders.base import Embedder
from fiftyone_segad.embedders.factory import get_embedder
from fiftyone_segad.scoring.fastdup_rule import descending_order, find_outliers, nearest_similarities, segment_scores
from fiftyone_segad.segments.boxes import grid
from fiftyone_segad.utils.images import read_image


def at_angles(*degrees: float) -> NDArray[np.float64]:
    """Features on the unit circle: the similarity of two is the cosine of the angle between them."""
    radians = np.radians(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1)


def cosine(degrees: float) -> float:
    return math.cos(math.radians(degrees))


@pytest.fixture(scope="module")
def embedder() -> Iterator[Embedder]:
    with get_embedder("fastdup") as model:
        yield model


@pytest.fixture(scope="module")
def expected() -> dict[str, dict[str, list[list[float]]]]:
    answers: dict[str, Any] = json.loads((shared("blog") / "expected.json").read_text())["outliers"]
    return answers


@needs_fastdup
@pytest.mark.parametrize("name", ["006", "007", "016", "024", "037", "263"])
def test_outliers_equal_those_of_fastdup(name: str, embedder: Embedder, expected: dict[str, Any]) -> None:
    image = read_image(str(shared("blog") / f"{name}.png"))
    assert expected[name]
    for n, listed in expected[name].items():
        outliers = find_outliers(embedder.embed(image, grid((image.shape[1], image.shape[0]), int(n))))
        similarities = dict(zip(outliers.indices.tolist(), outliers.similarities.tolist(), strict=True))
        assert set(similarities) == {index for index, _ in listed}, f"{name}, {n} x {n}"
        for index, similarity in listed:
            assert similarities[index] == pytest.approx(similarity, abs=1e-4), f"{name}, {n} x {n}"


@needs_fastdup
def test_all_33_answers_are_compared(expected: dict[str, Any]) -> None:
    assert sum(map(len, expected.values())) == 33


def test_a_single_segment_has_no_outlier() -> None:
    outliers = find_outliers(at_angles(10))
    assert len(outliers.indices) == len(outliers.similarities) == 0
    assert segment_scores(at_angles(10)).tolist() == [0]
    assert len(find_outliers(np.zeros((0, 4))).indices) == 0 and len(segment_scores(np.zeros((0, 4)))) == 0


def test_two_segments_have_one_outlier() -> None:
    outliers = find_outliers(at_angles(0, 60))
    assert len(outliers.indices) == 1
    assert outliers.similarities == pytest.approx([0.5])
    np.testing.assert_allclose(segment_scores(at_angles(0, 60)), [0.5, 0.5], atol=1e-6)


def test_nearest_similarities() -> None:
    expected = [[cosine(10), cosine(30)], [cosine(10), cosine(20)], [cosine(20), cosine(30)], [cosine(60), cosine(80)]]
    np.testing.assert_allclose(nearest_similarities(at_angles(0, 10, 30, 90)), expected, atol=1e-6)
    np.testing.assert_allclose(nearest_similarities(at_angles(0, 10, 30, 90) * 7), expected, atol=1e-6)


def test_the_lowest_pair_is_the_outlier() -> None:
    # 4 segments have 8 pairs: one is kept, that of the segment at 90 degrees and the one at 10
    outliers = find_outliers(at_angles(0, 10, 30, 90))
    assert outliers.indices.tolist() == [3] and outliers.similarities == pytest.approx([cosine(80)])


def test_a_segment_is_listed_once_with_its_lower_similarity() -> None:
    # 50 segments have 100 pairs: 5 are kept. Two of them start from the segment at 90 degrees
    angles = [*np.linspace(0, 4.6, 47), 30, 50, 90]
    outliers = find_outliers(at_angles(*angles))
    assert outliers.indices.tolist() == [49, 48, 47]
    nearest = [cosine(60), cosine(40), cosine(25.4)]  # 90 to 30, 50 to 90, 30 to 4.6
    np.testing.assert_allclose(outliers.similarities, nearest, atol=1e-5)


@pytest.mark.parametrize("n", [2, 3, 9, 10, 11, 25, 49, 100, 225])
def test_scores_rank_as_the_outlier_rule(n: int) -> None:
    features = np.random.default_rng(n).normal(size=(n, 5))
    outliers, scores = find_outliers(features), segment_scores(features)
    pairs = n * min(2, n - 1)
    assert 1 <= len(outliers.indices) <= max(1, floor(0.05 * pairs))
    assert len(set(outliers.indices.tolist())) == len(outliers.indices)
    np.testing.assert_allclose(1 - outliers.similarities, scores[outliers.indices], atol=1e-6)
    assert (np.diff(outliers.similarities) >= 0).all()  # most outlying first
    others = np.delete(scores, outliers.indices)
    assert others.size == 0 or scores[outliers.indices].min() >= others.max() - 1e-6


def test_scores_equal_the_direct_computation() -> None:
    features = np.random.default_rng(2).normal(size=(30, 6))
    rows = features / np.linalg.norm(features, axis=1, keepdims=True)
    similarities = [
        sorted((float(a @ b) for b in np.delete(rows, i, axis=0)), reverse=True) for i, a in enumerate(rows)
    ]
    expected = [1 - second for _, second, *_ in similarities]
    np.testing.assert_allclose(segment_scores(features), expected, atol=1e-6)


def test_scores_of_equal_segments_are_not_negative() -> None:
    for row in np.random.default_rng(0).random((50, 1, 576)):
        assert segment_scores(np.repeat(row, 5, axis=0)).min() >= 0


# The order of equal values, against the C++ library itself

PROGRAM = """
#include <algorithm>
#include <cstdio>
#include <utility>
#include <vector>
int main() {
    int n;
    while (std::scanf("%d", &n) == 1) {
        std::vector<std::pair<double, int>> pairs(n);
        for (int i = 0; i < n; i++) { std::scanf("%lf", &pairs[i].first); pairs[i].second = i; }
        std::sort(pairs.begin(), pairs.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
        for (const auto& pair : pairs) std::printf("%d ", pair.second);
        std::printf("\\n");
    }
}
"""


def arrays() -> Iterator[list[float]]:
    """Lengths around the run of 16 and beyond, few and many distinct values, random and in patterns."""
    random = np.random.default_rng(11)
    for n in [*range(24), 31, 32, 33, 63, 98, 100, 200, 201, 500, 1000]:
        for distinct in (1, 2, 5, max(1, n // 2), 10**6):
            yield (random.integers(0, distinct, n) / 8).tolist()
        yield list(map(float, range(n)))
        yield list(map(float, range(n, 0, -1)))
        yield np.repeat(random.random(n), 2).tolist()  # mutual neighbours: pairs of equal similarity
        yield (np.arange(n) % 7).astype(float).tolist()


def test_is_a_permutation_from_high_to_low() -> None:
    for values in arrays():
        order = descending_order(values)
        assert sorted(order) == list(range(len(values)))
        assert [values[i] for i in order] == sorted(values, reverse=True)


def test_up_to_16_values_keep_the_order_of_equal_ones() -> None:
    assert descending_order([1.0] * 16) == list(range(16))
    assert descending_order([1.0, 2.0, 1.0, 2.0]) == [1, 3, 0, 2]


def test_equals_the_sort_of_the_cpp_library(tmp_path: Path) -> None:
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("g++ is not installed")
    (tmp_path / "sort.cpp").write_text(PROGRAM)
    subprocess.run([compiler, "-O1", "-o", tmp_path / "sort", tmp_path / "sort.cpp"], check=True)
    cases = list(arrays())
    text = "\n".join(f"{len(values)} {' '.join(map(repr, values))}" for values in cases)
    answer = subprocess.run([tmp_path / "sort"], input=text, capture_output=True, text=True, check=True).stdout
    lines = answer.split("\n")[:-1]
    assert len(lines) == len(cases)
    expected = [[int(position) for position in line.split()] for line in lines]
    assert [descending_order(values) for values in cases] == expected
    stable = [sorted(range(len(values)), key=lambda i: -values[i]) for values in cases]
    assert stable != expected  # else the comparison has shown nothing
