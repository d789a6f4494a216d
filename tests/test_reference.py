"""The reference method: distances to a bank, and to a bank without the image itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
from fiftyone_segad.scoring.reference import build_bank, score_own, score_segments

X, Y = [1.0, 0.0], [0.0, 1.0]


@pytest.mark.parametrize(
    ("query", "distance"),
    [
        pytest.param([1, 0], 0, id="the same"),
        pytest.param([9, 0], 0, id="the same direction"),
        pytest.param([0, 1], math.sqrt(2), id="at a right angle"),
        pytest.param([-3, 0], 2, id="opposite"),
        pytest.param([1, 1], 2 * math.sin(math.pi / 8), id="at 45 degrees"),
        pytest.param([0, 0], math.sqrt(2), id="zero"),
    ],
)
def test_distance_on_the_unit_circle(query: list[float], distance: float) -> None:
    bank = build_bank([np.array([[5.0, 0.0]])])
    assert score_segments(np.array([query]), bank)[0] == pytest.approx(distance, abs=1e-6)


def test_nearest_of_several_images() -> None:
    bank = build_bank([np.array([X]), np.array([Y, [-1.0, 0.0]])])
    scores = score_segments(np.array([[1.0, 0.1], [0.1, 1.0], [-1.0, -1.0]]), bank)
    near = 2 * math.sin(math.atan(0.1) / 2)
    np.testing.assert_allclose(scores, [near, near, 2 * math.sin(math.pi / 8)], atol=1e-6)
    assert scores.dtype == np.float32


def test_bank_keeps_images_apart() -> None:
    bank = build_bank([np.ones((2, 3)), np.zeros((0, 3)), np.ones((4, 3))])
    assert bank.images == 3 and len(bank.features) == 6
    assert [bank.rows(image) for image in range(3)] == [slice(0, 2), slice(2, 2), slice(2, 6)]


def test_an_image_is_not_compared_with_itself() -> None:
    random = np.random.default_rng(5)
    features = [random.normal(size=(n, 8)) for n in (3, 1, 6, 4)]
    bank = build_bank(features)
    for image, own in enumerate(features):
        others = np.concatenate([other for index, other in enumerate(features) if index != image])
        expected = [
            min(np.linalg.norm(a / np.linalg.norm(a) - b / np.linalg.norm(b)) for b in others)  # in double precision
            for a in own
        ]
        np.testing.assert_allclose(score_own(bank, image), expected, atol=1e-5)
        assert score_segments(own, bank).max() < 1e-3  # with itself there is no distance


def test_an_exact_copy_is_another_image() -> None:
    bank = build_bank([np.array([X, Y]), np.array([X])])
    np.testing.assert_allclose(score_own(bank, 0), [0, math.sqrt(2)], atol=1e-6)


def test_errors() -> None:
    with pytest.raises(ValueError, match="at least one normal image"):
        build_bank([])
    with pytest.raises(ValueError, match="at least two"):
        score_own(build_bank([np.array([X])]), 0)
    with pytest.raises(ValueError, match="NaN or infinite"):
        build_bank([np.array([X]), np.array([[np.nan, 0]])])
    with pytest.raises(ValueError, match="NaN or infinite"):
        score_segments(np.array([[np.inf, 0]]), build_bank([np.array([X])]))
