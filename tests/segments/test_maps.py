"""Anomaly maps and masks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from fiftyone_segad.segments.boxes import Segments, from_boxes, grid, tiles
from fiftyone_segad.segments.maps import EXTENT, WIDE, WIDE_EXTENT, anomaly_map, anomaly_mask, segments_mask

SIDE, STEP = 48, 16
TILED = tiles((192, 192), SIDE / 192, STEP / 192)
"""Tiles that each overlap the next by two thirds: away from the border three cover a pixel along each axis."""


def uniform_map(segments: Segments, scores: NDArray[np.floating]) -> NDArray[np.float64]:
    """Take the plain mean of the tiles that cover a pixel."""
    total, count = np.zeros((2, *segments.size[::-1]))
    for (x0, y0, x1, y1), score in zip(segments.boxes, scores, strict=True):
        total[y0:y1, x0:x1] += score
        count[y0:y1, x0:x1] += 1
    return total / count


def random_scores(segments: Segments, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).random(len(segments)).astype(np.float32)


@pytest.mark.parametrize(
    "segments",
    [
        pytest.param(grid((31, 23), 4), id="grid with left-over pixels"),
        pytest.param(TILED, id="tiles"),
        pytest.param(from_boxes((20, 20), [[0, 0, 9, 9], [5, 5, 20, 20]]), id="boxes that leave pixels out"),
    ],
)
@pytest.mark.parametrize("size", [None, (13, 7)])
def test_constant_scores_give_a_constant_map(segments: Segments, size: tuple[int, int] | None) -> None:
    anomaly = anomaly_map(segments, np.full(len(segments), 0.7), size)
    assert anomaly.dtype == np.float32
    assert anomaly.shape == (size or segments.size)[::-1]
    assert (anomaly == np.float32(0.7)).all()


def test_segments_without_overlap_give_constant_blocks() -> None:
    scores = np.arange(9, dtype=np.float32).reshape(3, 3)
    blocks = np.kron(scores, np.ones((7, 10)))
    # 32 x 22 px by 3: segments of 10 x 7; the 2 columns and 1 row left over take the nearest segment
    expected = np.pad(blocks, ((0, 1), (0, 2)), mode="edge")
    np.testing.assert_allclose(anomaly_map(grid((32, 22), 3), scores.ravel()), expected, rtol=1e-6)


def test_pixels_that_no_box_covers_take_the_lowest_score() -> None:
    anomaly = anomaly_map(from_boxes((6, 4), [[0, 0, 2, 2], [3, 1, 6, 4]]), np.array([5.0, 2.0]))
    expected = np.full((4, 6), 2.0)
    expected[:2, :2] = 5
    np.testing.assert_allclose(anomaly, expected)


def test_no_segments_give_zero() -> None:
    assert not anomaly_map(from_boxes((6, 4), []), np.zeros(0)).any()


def test_weights_of_free_boxes_are_hann_windows() -> None:
    # Two tiles of 6 px, 2 px apart, on one row: at pixel centre x the weights are sin^2(pi (x - start) / 6)
    segments = from_boxes((8, 1), [[0, 0, 6, 1], [2, 0, 8, 1]])
    expected = []
    for x in np.arange(8) + 0.5:
        first = math.sin(math.pi * x / 6) ** 2 if x < 6 else 0
        second = math.sin(math.pi * (x - 2) / 6) ** 2 if x > 2 else 0
        expected.append((1 * first + 3 * second) / (first + second))
    np.testing.assert_allclose(anomaly_map(segments, np.array([1.0, 3.0]))[0], expected, rtol=1e-5)


def test_a_tile_is_a_pyramid() -> None:
    scores = np.zeros(len(TILED), np.float32)
    index = 4 * TILED.shape[1] + 4
    scores[index] = 1
    x0, _, x1, _ = TILED.boxes[index]
    centre = (x0 + x1) // 2
    row = anomaly_map(TILED, scores)[centre]  # the tile lies on the diagonal
    # At pixel centre x the weight is 1 - |x - centre| / STEP, and half a pixel off the centre along the other axis
    x = np.arange(192) + 0.5
    expected = np.maximum(1 - np.abs(x - centre) / STEP, 0) * (1 - 0.5 / STEP)
    np.testing.assert_allclose(row, expected, atol=1e-6)
    assert uniform_map(TILED, scores)[centre, x0] > 0.1, "a plain mean jumps where the tile begins"


def test_random_tiles_have_no_seams() -> None:
    scores = random_scores(TILED)
    blended, uniform = anomaly_map(TILED, scores), uniform_map(TILED, scores)
    steps = [max(np.abs(np.diff(m, axis=axis)).max() for axis in (0, 1)) for m in (blended, uniform)]
    # From one centre to the next the map goes straight from score to score
    assert steps[0] <= (scores.max() - scores.min()) / STEP + 1e-6
    assert steps[1] > 3 * steps[0]


@pytest.mark.parametrize("size", [None, (31, 17)])
@pytest.mark.parametrize("free", [False, True])
def test_map_stays_within_the_range_of_its_scores(free: bool, size: tuple[int, int] | None) -> None:
    segments = tiles((130, 91))
    segments = Segments(segments.size, segments.boxes) if free else segments
    for seed in range(5):
        scores = random_scores(segments, seed) * np.float32(1e-3) + np.float32(1.7)
        anomaly = anomaly_map(segments, scores, size)
        assert scores.min() <= anomaly.min() and anomaly.max() <= scores.max()


@pytest.mark.parametrize("free", [False, True])
def test_smaller_map_samples_the_full_one(free: bool) -> None:
    segments = tiles((153, 99))
    segments = Segments(segments.size, segments.boxes) if free else segments
    scores = random_scores(segments)
    # A third of the size: the centres of the small map's pixels are the centres of every third pixel
    small = anomaly_map(segments, scores, (51, 33))
    np.testing.assert_allclose(small, anomaly_map(segments, scores)[1::3, 1::3], atol=1e-6)


@pytest.mark.parametrize("segments", [grid((35, 28), 7), tiles((64, 64), 0.5, 0.5), tiles((64, 64), 1, 1)])
def test_boxes_of_a_grid_give_the_map_of_the_grid(segments: Segments) -> None:
    scores = random_scores(segments)
    free = Segments(segments.size, segments.boxes)
    np.testing.assert_allclose(anomaly_map(segments, scores), anomaly_map(free, scores), atol=1e-6)


def test_smaller_map_of_adjoining_boxes_has_no_lines() -> None:
    segments = from_boxes((14, 14), [[0, 0, 7, 14], [7, 0, 14, 7], [7, 7, 14, 14]])
    anomaly = anomaly_map(segments, np.array([2.0, 3.0, 1.0]), (7, 7))
    assert (anomaly[:3, 3] >= 2).all()  # between the scores 2 and 3 of the boxes on both sides


MAP = np.array(
    [
        [0.9, 0.6, 0.0, 0.0, 0.6],
        [0.0, 0.0, 0.6, 0.0, 0.0],
        [0.0, 0.0, 0.0, 0.0, 0.6],
        [0.5, 0.8, 0.0, 0.0, 0.6],
    ]
)


@pytest.mark.parametrize(
    ("threshold", "peak", "kept"),
    [
        pytest.param(0.5, None, MAP > 0.5, id="one threshold; 0.5 itself is not above it"),
        pytest.param(0.5, 0.85, [(0, 0), (0, 1), (1, 2)], id="only the region of the 0.9, joined at a corner"),
        pytest.param(0.5, 0.7, [(0, 0), (0, 1), (1, 2), (3, 1)], id="two regions have a peak"),
        pytest.param(0.5, 0.8, [(0, 0), (0, 1), (1, 2)], id="a peak equal to the threshold is not above it"),
        pytest.param(0.4, 0.7, [(0, 0), (0, 1), (1, 2), (3, 0), (3, 1)], id="a lower threshold extends regions"),
        pytest.param(0.5, 0.95, [], id="no peak"),
    ],
)
def test_mask(threshold: float, peak: float | None, kept: list[tuple[int, int]] | NDArray[np.bool_]) -> None:
    expected = np.zeros(MAP.shape, bool)
    if isinstance(kept, list):
        for pixel in kept:
            expected[pixel] = True
    else:
        expected = kept
    mask = anomaly_mask(MAP, threshold, peak)
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, np.where(expected, 255, 0))


def masked(rows: list[str], peak: float = 5.5, cut: bool = True) -> list[str]:
    """Mask a map drawn in digits, at a threshold of 1.5; what is masked stays, the rest becomes dots."""
    anomaly = np.array([[float(digit) for digit in row] for row in rows])
    mask = anomaly_mask(anomaly, 1.5, peak, cut) > 0
    return ["".join(np.where(line, list(row), ".")) for row, line in zip(rows, mask, strict=True)]


def test_a_region_reaches_to_a_share_of_its_own_peak() -> None:
    assert (EXTENT, WIDE_EXTENT, WIDE) == (0.65, 0.4, 9 / 64)
    rows = ["0000000000"] * 4 + ["0257965200", "0000000000", "0000000000", "2346432000"] + ["0000000000"] * 4
    uncut = masked(rows, cut=False)
    assert (uncut[4], uncut[7]) == (".2579652..", "2346432...")
    cut = masked(rows)
    assert (cut[4], cut[7]) == ("...796....", "..464....."), "above 5.85 and 3.9"


def test_a_wide_region_reaches_further() -> None:
    """In a map of 12 px a circle of 1.7 px has room in a square of 4 px, and none in one of 3 px."""
    rows = [["0"] * 12 for _ in range(12)]
    for y, x, size in [(1, 1, 4), (8, 8, 3)]:
        for i in range(size):
            rows[y + i][x : x + size] = ["5"] * size
        rows[y][x] = "9"
    cut = masked(["".join(row) for row in rows])
    assert [cut[1], cut[2]] == [".9555.......", ".5555......."]
    assert [cut[8], cut[9]] == ["........9...", "............"]


def test_what_falls_off_a_region_stays_only_with_a_peak_of_its_own() -> None:
    assert masked(["8272"]) == ["8.7."]
    assert masked(["8252"], peak=6.5) == ["8..."]
    assert masked(["8262"], peak=6.5) == ["8..."], "6 is above 5.2, but not above the peak that is asked for"


def test_holes_are_filled() -> None:
    assert masked(["9999", "9029", "9999"]) == ["9999", "9029", "9999"]


def test_a_negative_peak_cuts_nothing() -> None:
    anomaly = np.array([[-3.0, -2.0, -1.0]])
    assert (anomaly_mask(anomaly, -2.5, -1.5, cut=True) > 0).tolist() == [[False, True, True]]


def test_thresholds_are_not_rounded_to_single_precision() -> None:
    anomaly = np.array([[0.1, 0.7]], np.float32)  # 0.100000001 and 0.699999988
    assert anomaly_mask(anomaly, 0.1).tolist() == [[255, 255]]
    assert anomaly_mask(anomaly, 0.7).tolist() == [[0, 0]]
    assert anomaly_mask(anomaly[:, :1], 0.0, 0.1).any() and not anomaly_mask(anomaly, 0.0, 0.7).any()


def test_masks_are_those_of_double_precision() -> None:
    random = np.random.default_rng(5)
    anomaly = random.random((40, 50)).astype(np.float32)
    values = anomaly.ravel()[:9].astype(np.float64)
    for threshold in [*values, *np.nextafter(values, 1), *np.nextafter(values, 0), -np.inf, np.inf]:
        expected = anomaly.astype(np.float64) > threshold
        np.testing.assert_array_equal(anomaly_mask(anomaly, threshold) > 0, expected)


def test_mask_of_selected_segments() -> None:
    mask = segments_mask(grid((7, 5), 2), np.array([False, True, True, False]))
    expected = np.zeros((5, 7))
    expected[:2, 3:6] = expected[2:4, :3] = 255
    np.testing.assert_array_equal(mask, expected)
