"""Features of length one."""

from __future__ import annotations

import numpy as np
import pytest

from fiftyone_segad.embedders.base import normalize


def test_rows_get_length_one() -> None:
    rows = np.array([[3, 4, 0], [0, 0, 0], [-2e-3, 0, 0], [1e6, 0, 1e6]])
    expected = [[0.6, 0.8, 0], [0, 0, 0], [-1, 0, 0], [0.5**0.5, 0, 0.5**0.5]]
    units = normalize(rows)
    assert units.dtype == np.float32
    np.testing.assert_allclose(units, expected, rtol=1e-6)
    assert normalize(np.zeros((0, 5))).shape == (0, 5)


def test_the_given_features_are_not_changed() -> None:
    rows = np.full((2, 3), 2, np.float32)
    normalize(rows)
    assert (rows == 2).all()


@pytest.mark.filterwarnings("ignore:overflow encountered")
@pytest.mark.parametrize("value", [1e-30, 1e25])
def test_rows_of_extreme_values_get_length_one(value: float) -> None:
    np.testing.assert_allclose(normalize(np.array([[value, 0]])), [[1, 0]])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_error_of_values_that_are_not_finite(value: float) -> None:
    with pytest.raises(ValueError, match="NaN or infinite"):
        normalize(np.array([[1.0, 2.0], [value, 1.0]]))
