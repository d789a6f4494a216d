"""Stored values become dataclasses, or an error says which of them is wrong."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from fiftyone_segad.utils.values import all_finite, make_dataclass


@dataclass(frozen=True)
class Inner:
    name: str


@dataclass(frozen=True)
class Outer:
    inner: Inner
    pair: tuple[float, float]
    names: list[str] = field(default_factory=list)


def test_values_of_the_right_types() -> None:
    made = make_dataclass(Outer, {"inner": {"name": "a"}, "pair": [1, 2.5], "names": ["b"]})
    assert made == Outer(Inner("a"), (1, 2.5), ["b"])


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"pair": [1, 2]}, "inner"),
        ({"inner": {"name": 7}, "pair": [1, 2]}, "inner.name"),
        ({"inner": {"name": "a"}, "pair": [1, 2, 3]}, "pair"),
        ({"inner": {"name": "a"}, "pair": 7}, ""),
        ({"inner": {"name": "a"}, "pair": [1, 2], "names": "b"}, "names"),
        ({"inner": {"name": "a"}, "pair": [1, 2], "other": 7}, "other"),
        ([], ""),
        (7, ""),
        (None, ""),
    ],
)
def test_values_of_others(values: Any, reason: str) -> None:
    with pytest.raises(ValueError) as caught:
        make_dataclass(Outer, values)
    assert reason in str(caught.value)


def test_unknown_values_can_be_passed_over() -> None:
    assert make_dataclass(Inner, {"name": "a", "other": 7}, ignore_unknown=True) == Inner("a")


@pytest.mark.parametrize("number", [float("inf"), float("-inf"), float("nan"), 10**400])
def test_numbers_that_are_not_finite(number: float) -> None:
    assert all_finite([0.0, -1e300, 7, None]) and not all_finite([0.0, number])
