"""Ground truth of boxes and polygons, on images of 8 x 6 px."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

from fiftyone_segad.errors import ImageError
from truths import SIZE, MakeDataset, pixels, save, truths_of


def detection(box: list[float], label: str | None = "dent", **fields: Any) -> fo.Detection:
    return fo.Detection(label=label, bounding_box=box, **fields)


DIAGONAL = np.array([[1, 0], [0, 1]], bool)


CORNER = np.array([[0, 0], [0, 1]], bool)


@pytest.mark.parametrize(
    ("box", "mask", "expected"),
    [
        # A box is filled: columns 2 to 4, rows 1 and 2
        ([2 / 8, 1 / 6, 3 / 8, 2 / 6], None, ["........", "..###...", "..###..."] + ["........"] * 3),
        # An instance mask is stretched to its box, 4 x 4 px
        (
            [2 / 8, 1 / 6, 4 / 8, 4 / 6],
            DIAGONAL,
            ["........", "..##....", "..##....", "....##..", "....##..", "........"],
        ),
        # Both end outside of the image: box and mask keep their place, 4 x 4 px from (-2, -2) and to (10, 8)
        ([-2 / 8, -2 / 6, 4 / 8, 4 / 6], None, ["##......", "##......"] + ["........"] * 4),
        ([-2 / 8, -2 / 6, 4 / 8, 4 / 6], CORNER, ["##......", "##......"] + ["........"] * 4),
        ([-2 / 8, -2 / 6, 4 / 8, 4 / 6], ~DIAGONAL, None),
        ([6 / 8, 4 / 6, 4 / 8, 4 / 6], CORNER, None),
        ([6 / 8, 4 / 6, 4 / 8, 4 / 6], DIAGONAL, ["........"] * 4 + ["......##", "......##"]),
        # Less than a pixel is a pixel, also in the corner
        ([0.3, 0.3, 0.001, 0.001], None, ["........", "........", "..#....."] + ["........"] * 3),
        ([1.0, 1.0, 0.0, 0.0], None, ["........"] * 5 + [".......#"]),
        # So is what ends within the first pixel
        ([-0.2, 0, 0.21, 1 / 6], None, ["#......."] + ["........"] * 5),
    ],
)
def test_detections(
    dataset_of: MakeDataset, box: list[float], mask: np.ndarray | None, expected: list[str] | None
) -> None:
    (truth,) = truths_of(dataset_of, [fo.Detections(detections=[detection(box, mask=mask)])])
    read = truth.read(SIZE)
    assert read is None if expected is None else pixels(read) == expected
    assert not truth.resized, "instance masks have no size of their own"


def test_detections_are_united_and_normal_ones_left_out(dataset_of: MakeDataset, tmp_path: Path) -> None:
    file = save(tmp_path / "instance.png", Image.fromarray(np.array([[0, 2], [2, 2]], np.uint8)))
    labels = [
        fo.Detections(
            detections=[
                detection([0, 0, 2 / 8, 2 / 6], mask_path=file),
                detection([1 / 8, 1 / 6, 2 / 8, 1 / 6], label=None),
                detection([0, 0, 1, 1], label="Good"),
                fo.Detection(label="background"),  # says nothing of a place, and needs none
            ]
        ),
        fo.Detections(detections=[detection([0, 0, 1, 1], label="normal")]),
        fo.Detections(),
        None,
    ]
    truths = truths_of(dataset_of, labels)
    assert pixels(truths[0].read(SIZE)) == [".#......", "###....."] + ["........"] * 4
    assert [truth.read(SIZE) for truth in truths[1:]] == [None, None, None]


def test_a_single_detection(dataset_of: MakeDataset) -> None:
    truths = truths_of(dataset_of, [detection([0, 0, 1 / 8, 1 / 6]), None])
    assert pixels(truths[0].read(SIZE)) == ["#......."] + ["........"] * 5
    assert truths[1].read(SIZE) is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (fo.Detection(label="dent"), r"'dent' in 'gt' of sample \w{24} has the bounding box.*must be \[x, y, width"),
        (detection([0.5, 0.5, -0.1, 0.1]), "has the bounding box"),
        (detection([2, 1, 3, 2]), r"outside of its image, from \[2.0, 1.0\] to \[5.0, 3.0\]; coordinates are relative"),
        (detection([0, 0, 5, 3]), "outside of its image"),
        (detection([-0.5, 0, 0.25, 1]), "outside of its image"),
        (detection([float("nan"), 0, 1, 1]), "outside of its image"),
        (detection([0, 0, 1, 1], mask_path="/absent.png"), r"No such image file: '/absent.png'"),
        (detection([0, 0, 1, 1], mask=np.full((2, 2), 0.5)), r"of 'dent' in 'gt' of sample \w{24} holds fractions"),
    ],
)
def test_detections_that_are_refused(dataset_of: MakeDataset, wrong: fo.Detection, message: str) -> None:
    right = detection([0, 0, 1, 1])
    (truth,) = truths_of(dataset_of, [fo.Detections(detections=[right, wrong])])
    with pytest.raises(ImageError, match=message):
        truth.read(SIZE)


def polyline(*shapes: list[tuple[float, float]], label: str = "crack", filled: bool = True) -> fo.Polyline:
    points = [[(x / 8, y / 6) for x, y in shape] for shape in shapes]
    return fo.Polyline(label=label, points=points, closed=True, filled=filled)


def rectangle(x0: float, y0: float, x1: float, y1: float) -> list[tuple[float, float]]:
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]


@pytest.mark.parametrize(
    ("drawn", "expected"),
    [
        # As a box of the same corners: columns 2 to 4, rows 1 and 2
        (polyline(rectangle(2, 1, 5, 3)), ["........", "..###...", "..###..."] + ["........"] * 3),
        # A pixel belongs to the polygon that holds its centre: column 1 begins at 1.4, row 3 ends at 3.4
        (polyline(rectangle(1.4, 1.6, 4, 3.4)), ["........", "........", ".###...."] + ["........"] * 3),
        # Centres (c + 0.5, r + 0.5) below the diagonal from (4, 0) to (0, 4): c + r < 3
        (polyline([(0, 0), (4, 0), (0, 4)]), ["###.....", "##......", "#.......", "........", "........", "........"]),
        # A shape in a shape is a hole
        (
            polyline(rectangle(1, 0, 7, 6), rectangle(3, 2, 5, 4)),
            [".######.", ".######.", ".##..##.", ".##..##.", ".######.", ".######."],
        ),
        # It ends outside of the image
        (polyline(rectangle(6, -2, 12, 2)), ["......##", "......##"] + ["........"] * 4),
        # Too thin to hold the centre of a pixel: drawn as a line
        (polyline([(1.1, 2.1), (5.1, 2.2), (1.1, 2.2)]), ["........", "........", ".#####.."] + ["........"] * 3),
    ],
)
def test_polygons(dataset_of: MakeDataset, drawn: fo.Polyline, expected: list[str]) -> None:
    for label in (drawn, fo.Polylines(polylines=[drawn])):
        (truth,) = truths_of(dataset_of, [label])
        assert pixels(truth.read(SIZE)) == expected


def test_polylines_are_united_and_normal_ones_left_out(dataset_of: MakeDataset) -> None:
    drawn = [
        polyline(rectangle(0, 0, 3, 1)),
        polyline(rectangle(2, 0, 4, 2)),  # overlaps: no hole, as it is another object
        polyline(rectangle(0, 0, 8, 6), label="background"),
        polyline(rectangle(0, 0, 8, 6), label="good", filled=False),
    ]
    truths = truths_of(dataset_of, [fo.Polylines(polylines=drawn), fo.Polylines(polylines=drawn[2:]), None])
    assert pixels(truths[0].read(SIZE)) == ["####....", "..##...."] + ["........"] * 4
    assert [truth.read(SIZE) for truth in truths[1:]] == [None, None]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (polyline(rectangle(0, 0, 3, 3), filled=False), r"'crack' in 'gt' of sample \w{24} is a line.*set filled=True"),
        (polyline(), "'crack' in 'gt' of sample .* has no points"),
        (polyline(rectangle(80, 60, 90, 70)), "outside of its image.*coordinates are relative"),
    ],
)
def test_polylines_that_are_refused(dataset_of: MakeDataset, wrong: fo.Polyline, message: str) -> None:
    (truth,) = truths_of(dataset_of, [fo.Polylines(polylines=[wrong])])
    with pytest.raises(ImageError, match=message):
        truth.read(SIZE)
