"""Segments: boxes of grids, tiles and free boxes, and the specifications that name them."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from numpy.typing import NDArray

from fiftyone_segad.segments.boxes import (
    DEFAULT_STRIDE,
    DEFAULT_TILE,
    Segments,
    Size,
    from_boxes,
    from_intervals,
    from_relative,
    get_proposer,
    grid,
    parse_spec,
    patch_grid,
    relative_box,
    tiles,
)

SIZES = [(10, 10), (11, 10), (10, 31), (64, 64), (97, 101), (100, 112), (199, 67), (255, 256), (333, 77), (641, 479)]


def covered(segments: Segments) -> NDArray[np.int64]:
    """Count the segments that cover each pixel."""
    count = np.zeros(segments.size[::-1], np.int64)
    for x0, y0, x1, y1 in segments.boxes:
        assert 0 <= x0 < x1 <= segments.size[0] and 0 <= y0 < y1 <= segments.size[1]
        count[y0:y1, x0:x1] += 1
    return count


@pytest.mark.parametrize(
    ("size", "n", "side"),
    [
        pytest.param((1024, 1024), 7, (146, 146), id="1024 by 7, as in the original method: 2 px left over"),
        pytest.param((10, 10), 10, (1, 1), id="one pixel each"),
        pytest.param((11, 7), 3, (3, 2), id="not square"),
        pytest.param((5, 9), 1, (5, 9), id="one segment"),
    ],
)
def test_grid_sizes(size: Size, n: int, side: tuple[int, int]) -> None:
    segments = grid(size, n)
    assert len(segments) == n * n and segments.shape == (n, n)
    for index, box in enumerate(segments.boxes):
        row, column = divmod(index, n)
        x, y = column * side[0], row * side[1]
        assert box.tolist() == [x, y, x + side[0], y + side[1]]
    count = covered(segments)
    assert count[: n * side[1], : n * side[0]].all() and count.sum() == n * n * side[0] * side[1]


@pytest.mark.parametrize(("size", "n"), [((6, 100), 7), ((100, 6), 7), ((1, 1), 2)])
def test_error_of_a_grid_larger_than_the_image(size: Size, n: int) -> None:
    with pytest.raises(ValueError, match=f"A {n} x {n} grid does not fit an image of {size[0]} x {size[1]} px"):
        grid(size, n)


@pytest.mark.parametrize("n", [0, -3])
def test_error_of_a_grid_without_segments(n: int) -> None:
    with pytest.raises(ValueError, match="at least 1 segment"):
        grid((10, 10), n)


@pytest.mark.parametrize("share", [(DEFAULT_TILE, DEFAULT_STRIDE), (0.5, 0.25), (0.3, 0.1), (0.25, 0.2), (1, 1)])
@pytest.mark.parametrize("size", SIZES)
def test_tiles_cover_every_pixel_evenly(size: Size, share: tuple[float, float]) -> None:
    segments = tiles(size, *share)
    side = max(10, round(share[0] * min(size)))
    step = max(1.0, share[1] * min(size))
    assert covered(segments).all()
    assert ((segments.boxes[:, 2:] - segments.boxes[:, :2]) == side).all()
    for intervals, length in ((segments.columns, size[0]), (segments.rows, size[1])):
        assert intervals[0, 0] == 0 and intervals[-1, 1] == length
        gaps = np.diff(intervals[:, 0])
        assert gaps.size == 0 or (gaps.max() - gaps.min() <= 1 and gaps.max() <= math.ceil(step))
    assert segments.shape == (len(segments.rows), len(segments.columns))


def test_default_tiles_of_a_square_image() -> None:
    segments = tiles((960, 960))  # 120 px, 80 px apart: (960 - 120) / 80 + 1 = 11.5, so 12
    assert segments.shape == (12, 12)
    assert segments.columns[:2].tolist() == [[0, 120], [76, 196]]  # 840 / 11 = 76.4


@pytest.mark.parametrize(
    ("size", "share"),
    [
        pytest.param((112, 100), 0.125, id="12 px tiles, 12.5 px apart"),
        pytest.param((137, 87), 0.125, id="11 px tiles"),
        pytest.param((97, 33), 0.5, id="16 px tiles"),
    ],
)
def test_tiles_side_by_side_cover_every_pixel(size: Size, share: float) -> None:
    assert covered(tiles(size, share, share)).all()


@pytest.mark.parametrize("size", [(7, 100), (100, 7), (1, 1)])
def test_error_of_an_image_too_small_for_tiles(size: Size) -> None:
    with pytest.raises(ValueError, match=f"{size[0]} x {size[1]} px is too small for tiles"):
        tiles(size)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("grid", ("grid", (7,))),
        ("grid:1", ("grid", (1,))),
        ("grid:12", ("grid", (12,))),
        ("tiles", ("tiles", (0.125, 1 / 12))),
        pytest.param("tiles:0.2", ("tiles", (0.2, 0.1)), id="the stride is half of a given tile"),
        ("tiles:0.5:0.125", ("tiles", (0.5, 0.125))),
        ("tiles:1:1", ("tiles", (1, 1))),
    ],
)
def test_parse_spec(spec: str, expected: tuple[str, tuple[float, ...]]) -> None:
    assert parse_spec(spec) == expected


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("grid:0", "whole number from 1 on"),
        ("grid:-2", "whole number from 1 on"),
        ("grid:2.5", "whole number from 1 on"),
        ("grid:nan", "whole number from 1 on"),
        ("grid:seven", "are not numbers"),
        ("grid:", "are not numbers"),
        ("grid:7:7", "is not known"),
        ("tiles:0", "tile size must be in"),
        ("tiles:1.5", "tile size must be in"),
        ("tiles:nan", "tile size must be in"),
        ("tiles:0.1:0.2", "pixels are left out"),
        ("tiles:0.1:0", "stride must be in"),
        ("tiles:0.1:0.1:0.1", "is not known"),
        ("ground_truth", "is not known"),
        ("", "is not known"),
        ("Grid:7", "is not known"),
    ],
)
def test_error_of_a_spec(spec: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_spec(spec)


def test_error_of_an_infinite_grid() -> None:
    with pytest.raises(ValueError, match="whole number"):
        parse_spec("grid:inf")


@pytest.mark.parametrize(
    ("spec", "expected"), [("grid:3", grid((90, 60), 3)), ("tiles:0.5:0.25", tiles((90, 60), 0.5, 0.25))]
)
def test_proposer_of_a_spec(spec: str, expected: Segments) -> None:
    proposed = get_proposer(spec)((90, 60))
    np.testing.assert_array_equal(proposed.boxes, expected.boxes)
    assert proposed.shape == expected.shape and proposed.size == (90, 60)


def test_callable_proposer_may_give_boxes_or_segments() -> None:
    boxes = get_proposer(lambda size: [[0, 0, size[0] / 2, size[1]], [-5, 0, 4, 4]])((20, 10))
    assert boxes.boxes.tolist() == [[0, 0, 10, 10], [0, 0, 4, 4]] and boxes.shape is None
    assert get_proposer(lambda size: grid(size, 2))((20, 10)).shape == (2, 2)
    with pytest.raises(ValueError, match="holds no pixel"):
        get_proposer(lambda size: [[30, 0, 40, 4]])((20, 10))


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        pytest.param([2, 3, 5, 7], [2, 3, 5, 7], id="inside"),
        pytest.param([-4, -1, 30, 30], [0, 0, 20, 10], id="larger than the image"),
        pytest.param([18, 8, math.inf, 30], [18, 8, 20, 10], id="beyond a corner"),
        pytest.param([1.4, 1.6, 3.4, 3.6], [1, 2, 3, 4], id="rounded"),
    ],
)
def test_boxes_are_clipped(box: list[float], expected: list[int]) -> None:
    segments = from_boxes((20, 10), [box])
    assert segments.boxes.tolist() == [expected]
    assert segments.boxes.dtype == np.int64 and segments.shape is None


@pytest.mark.parametrize(
    "box",
    [
        pytest.param([20, 0, 25, 5], id="right of the image"),
        pytest.param([0, -5, 5, 0], id="above"),
        pytest.param([3, 3, 3, 8], id="no width"),
        pytest.param([5, 5, 2, 8], id="ends exchanged"),
        pytest.param([3.1, 0, 3.4, 5], id="less than half a pixel"),
    ],
)
def test_error_of_a_box_without_pixels(box: list[float]) -> None:
    with pytest.raises(ValueError, match=r"Segment 1 .* holds no pixel of a 20 x 10 image"):
        from_boxes((20, 10), [[0, 0, 5, 5], box])


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")
def test_error_of_a_box_with_nan() -> None:
    with pytest.raises(ValueError):
        from_boxes((20, 10), [[math.nan, 0, 5, 5]])


@pytest.mark.parametrize("boxes", [[1, 2, 3, 4], [[1, 2, 3]], [[[0, 0, 1, 1]]]])
def test_error_of_another_shape(boxes: list[object]) -> None:
    with pytest.raises(ValueError, match=r"array of boxes \[n, 4\]"):
        from_boxes((20, 10), boxes)


def test_no_boxes() -> None:
    assert from_boxes((20, 10), []).boxes.shape == (0, 4)
    assert from_relative((20, 10), []).boxes.shape == (0, 4)


def test_relative_boxes() -> None:
    segments = from_boxes((200, 50), [[50, 10, 150, 20], [0, 0, 200, 50]])
    np.testing.assert_allclose(segments.relative(), [[0.25, 0.2, 0.5, 0.2], [0, 0, 1, 1]])
    for other in (segments, tiles((333, 77)), grid((333, 77), 7)):
        np.testing.assert_array_equal(from_relative(other.size, other.relative()).boxes, other.boxes)


def test_one_relative_box() -> None:
    assert relative_box((50, 10, 150, 20), (200, 50)) == (0.25, 0.2, 0.5, 0.2)
    assert relative_box((0, 0, 200, 50), (200, 50)) == (0, 0, 1, 1)


def test_grid_is_rebuilt_from_its_intervals() -> None:
    segments = tiles((97, 61))
    rebuilt = from_intervals(segments.size, segments.columns, segments.rows)
    np.testing.assert_array_equal(rebuilt.boxes, segments.boxes)
    assert rebuilt.shape == segments.shape


def test_images_of_too_many_tiles_are_refused() -> None:
    assert len(tiles((100, 10_000))) == 12 * 1200
    with pytest.raises(ValueError, match=r"20 x 1000000 px would have .* tiles, more than 20,000; cut it"):
        tiles((20, 1_000_000))


@pytest.mark.parametrize(
    "cut", [tiles((97, 64)), patch_grid((90, 70), 40, 50), Segments((9, 9), np.array([[0, 1, 2, 3]]))]
)
def test_a_grid_is_sent_as_its_intervals(cut: Segments) -> None:
    sent = pickle.dumps(cut)
    again = pickle.loads(sent)
    assert (again.size, again.shape) == (cut.size, cut.shape)
    np.testing.assert_array_equal(again.boxes, cut.boxes)
    assert len(sent) < 600 + 16 * sum(cut.shape or (2, 2))
