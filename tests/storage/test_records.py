"""Pack what a run keeps of images into arrays, and unpack it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fiftyone_segad.segments.boxes import Segments, grid, patch_grid
from fiftyone_segad.segments.turned import TurnedSegments, lay_back
from fiftyone_segad.storage.records import (
    ImageFeatures,
    ImageScores,
    pack_features,
    pack_scores,
    unpack_features,
    unpack_scores,
)

BACK = np.array([[0.6, -0.8, 20.5], [0.8, 0.6, 3.25]])
TURNED = lay_back((50, 40), patch_grid((30, 16), 2, 3), BACK)


def record(segments: Segments) -> ImageScores:
    values = np.arange(len(segments), dtype=np.float32)
    return ImageScores("a.png", segments, values, np.zeros(len(values), bool), 1.0)


def assert_same(segments: Segments, expected: Segments) -> None:
    assert type(segments) is type(expected) and segments.size == expected.size
    np.testing.assert_array_equal(segments.boxes, expected.boxes)
    assert segments.straight.shape == expected.straight.shape and segments.straight.size == expected.straight.size
    if isinstance(expected, TurnedSegments) and isinstance(segments, TurnedSegments):
        np.testing.assert_array_equal(segments.back, expected.back)


@pytest.mark.parametrize("kinds", [[TURNED], [TURNED, grid((50, 40), 2)], [grid((50, 40), 2), TURNED, TURNED]])
def test_parts_that_were_laid_straight(kinds: list[Segments]) -> None:
    """Also beside images without one, which were compared as they are."""
    names = [f"{i}.png" for i in range(len(kinds))]
    for unpacked, expected in zip(unpack_scores(names, pack_scores(list(map(record, kinds)))), kinds, strict=True):
        assert_same(unpacked.segments, expected)
    images = [
        ImageFeatures(name, [cut, cut], [np.ones((len(cut), 4), np.float32)] * 2, True)
        for name, cut in zip(names, kinds, strict=True)
    ]
    for image, expected in zip(unpack_features(names, pack_features(images)), kinds, strict=True):
        for segments in image.segments:
            assert_same(segments, expected)


def test_others_are_packed_as_ever() -> None:
    assert not {"backs", "image_sizes"} & set(pack_scores([record(grid((50, 40), 2))]))


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("backs", np.zeros((2, 2, 3))),
        ("backs", np.zeros((1, 3, 3))),
        ("image_sizes", np.array([[50.0, 40.0]])),
        ("image_sizes", np.array([[50, 40, 3]])),
        ("backs", np.where(np.eye(2, 3) > 0, np.inf, BACK)[None]),
        ("backs", np.where(np.eye(2, 3) > 0, np.nan, BACK)[None]),
    ],
)
def test_arrays_that_do_not_fit(name: str, array: NDArray[Any]) -> None:
    packed = {**pack_scores([record(TURNED)]), name: array}
    with pytest.raises(ValueError, match=r"parts do not fit|parts lie is not finite"):
        list(unpack_scores(["a.png"], packed))
