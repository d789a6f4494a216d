"""Make dataclasses of stored values, which may be damaged or made up."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, TypeVar

import dacite

_T = TypeVar("_T")


def make_dataclass(kind: type[_T], values: Any, ignore_unknown: bool = False) -> _T:
    """Make a dataclass of JSON values, whose types must be those of its fields; lists become tuples.

    Args:
        kind: the dataclass; its fields may be dataclasses, too
        values: the values by name
        ignore_unknown (False): whether there may be other names

    Raises:
        ValueError: if a value is absent, of another type, or unknown

    Examples:
        >>> from fiftyone_segad.scoring.thresholds import Thresholds
        >>> make_dataclass(Thresholds, {"rule": "fpr:0.01", "image": 1.5, "pixel": None})
        Thresholds(rule='fpr:0.01', image=1.5, pixel=None)
        >>> make_dataclass(Thresholds, {"rule": "fpr:0.01", "image": "high", "pixel": None})
        Traceback (most recent call last):
        ...
        ValueError: wrong value type for field "image" - should be "float" instead of value "high" of type "str"
    """
    try:
        return dacite.from_dict(kind, values, dacite.Config(strict=not ignore_unknown, cast=[tuple]))
    except (dacite.DaciteError, AttributeError, TypeError) as error:  # the last two if they are no dictionary
        raise ValueError(str(error)) from error


def all_finite(numbers: Iterable[float | None]) -> bool:
    """Return whether numbers are finite as floats; None, which stands for no number, is passed over.

    Examples:
        >>> all_finite([1, 2.5, None]), all_finite([float("nan")]), all_finite([10**400])
        (True, False, False)
    """
    try:
        return all(number is None or math.isfinite(number) for number in numbers)
    except OverflowError:
        return False
