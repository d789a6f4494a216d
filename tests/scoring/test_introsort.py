"""The order of equal values, against the C++ library itself."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fiftyone_segad.scoring.introsort import descending_order

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
    several = list(arrays())
    text = "\n".join(f"{len(values)} {' '.join(map(repr, values))}" for values in several)
    answer = subprocess.run([tmp_path / "sort"], input=text, capture_output=True, text=True, check=True).stdout
    lines = answer.split("\n")[:-1]
    assert len(lines) == len(several)
    expected = [[int(position) for position in line.split()] for line in lines]
    assert [descending_order(values) for values in several] == expected
    stable = [sorted(range(len(values)), key=lambda i: -values[i]) for values in several]
    assert stable != expected  # else the comparison has shown nothing
