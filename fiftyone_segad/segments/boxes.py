"""Segments: from an image size to the boxes that are compared with each other.

A *proposer* is any function from an image size ``(width, height)`` to ``Segments`` or to an
integer array of boxes ``[n, 4]``; ``get_proposer`` turns a specification into one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Size = tuple[int, int]
"""Image width and height in pixels."""

PixelBox = tuple[int, int, int, int]
"""``x0, y0, x1, y1`` in pixels, ends exclusive."""

RelativeBox = tuple[float, float, float, float]
"""``x, y, width, height`` as shares of the image's width and height, as FiftyOne has them."""

DEFAULT_GRID = 7
"""Grid of the original method: 7 x 7 segments."""

DEFAULT_TILE = 0.125
DEFAULT_STRIDE = 1 / 12
"""Tile size and stride as shares of the image's shorter side: 12 x 12 tiles on a square image, each overlapping
the next by a third."""

SMALLEST_TILE = 10
"""Pixels; fastdup itself takes no image with a shorter side."""

MAX_TILES = 20_000
"""Tiles of one image at most; 144 are usual. An image a hundred times as long as it is wide has 14,000."""


@dataclass(frozen=True)
class Segments:
    """Boxes of one image.

    Attributes:
        size: ``(width, height)`` of the image in pixels
        boxes: int array ``[n, 4]`` of ``x0, y0, x1, y1`` in pixels, ends exclusive
        shape: ``(rows, columns)`` if the boxes are the row-major cells of a grid (they may overlap),
            else None
    """

    size: Size
    boxes: NDArray[np.int64]
    shape: tuple[int, int] | None = None

    def __len__(self) -> int:
        return len(self.boxes)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle a grid as its intervals: they are a hundredth of its boxes."""
        if self.shape is None:
            return Segments, (self.size, self.boxes)
        return from_intervals, (self.size, self.columns, self.rows)

    @property
    def straight(self) -> Segments:
        """The segments as a grid of the part laid straight, if it was; else themselves."""
        return self

    @property
    def rows(self) -> NDArray[np.int64]:
        """The ``[rows, 2]`` vertical intervals of a grid."""
        assert self.shape is not None
        return self.boxes[:: self.shape[1], 1::2]

    @property
    def columns(self) -> NDArray[np.int64]:
        """The ``[columns, 2]`` horizontal intervals of a grid."""
        assert self.shape is not None
        return self.boxes[: self.shape[1], 0::2]

    @property
    def overlap(self) -> bool:
        """Whether the cells of a grid overlap; False for boxes in any other arrangement."""
        return self.shape is not None and (intervals_overlap(self.rows) or intervals_overlap(self.columns))

    def relative(self) -> NDArray[np.float64]:
        """Return the boxes as ``[n, 4]`` of ``x, y, width, height`` in [0, 1], each a ``RelativeBox``."""
        width, height = self.size
        starts = self.boxes[:, :2]
        return np.hstack([starts, self.boxes[:, 2:] - starts]) / [width, height, width, height]


Proposer = Callable[[Size], "Segments | ArrayLike"]


def grid(size: Size, n: int = DEFAULT_GRID) -> Segments:
    """Cut an image into ``n x n`` equal segments without overlap, as the original method does.

    Each segment is ``width // n`` by ``height // n`` pixels; the up to ``n - 1`` pixels that are left
    over at the right and lower border belong to no segment.

    Raises:
        ValueError: if ``n`` is below 1 or larger than a side of the image

    Examples:
        >>> grid((100, 50), 2).boxes
        array([[  0,   0,  50,  25],
               [ 50,   0, 100,  25],
               [  0,  25,  50,  50],
               [ 50,  25, 100,  50]])
    """
    if n < 1:
        raise ValueError(f"The grid must have at least 1 segment a side, got {n}")
    width, height = size[0] // n, size[1] // n
    if width < 1 or height < 1:
        raise ValueError(f"A {n} x {n} grid does not fit an image of {size[0]} x {size[1]} px; use a smaller grid")
    starts = np.arange(n)
    return _product(size, _intervals(starts * width, width), _intervals(starts * height, height))


def tiles(size: Size, tile: float = DEFAULT_TILE, stride: float = DEFAULT_STRIDE) -> Segments:
    """Cover an image with square tiles that overlap when ``stride < tile``.

    The tile's side is ``tile`` times the shorter side of the image. Along each axis the tiles are spread
    evenly from border to border, at most ``stride`` (times the shorter side) apart, so that every pixel is
    covered whatever the image's size.

    Raises:
        ValueError: if the image is smaller than ``SMALLEST_TILE`` pixels, a share is out of (0, 1], or there would
            be more than ``MAX_TILES``

    Examples:
        >>> segments = tiles((400, 200), tile=0.5, stride=0.25)
        >>> segments.shape  # rows and columns of tiles of 100 px, 50 px apart
        (3, 7)
        >>> segments.boxes[:2]
        array([[  0,   0, 100, 100],
               [ 50,   0, 150, 100]])
    """
    _check_tiles(tile, stride)
    shorter = min(size)
    if shorter < SMALLEST_TILE:
        raise ValueError(f"An image of {size[0]} x {size[1]} px is too small for tiles (at least {SMALLEST_TILE} px)")
    side = max(SMALLEST_TILE, round(tile * shorter))
    step = min(max(1.0, stride * shorter), side)  # rounding must not leave gaps

    columns, rows = (ceil(round((length - side) / step, 6)) + 1 for length in size)
    if columns * rows > MAX_TILES:
        raise ValueError(
            f"An image of {size[0]} x {size[1]} px would have {columns * rows:,} tiles, more than {MAX_TILES:,}; cut "
            "it into shorter ones, or use larger tiles"
        )

    def starts(length: int, count: int) -> NDArray[np.int64]:
        return np.round(np.linspace(0, length - side, count)).astype(np.int64)

    return _product(size, _intervals(starts(size[0], columns), side), _intervals(starts(size[1], rows), side))


@lru_cache(maxsize=64)
def patch_grid(size: Size, rows: int, columns: int) -> Segments:
    """Cut an image into the boxes of a network's feature map: ``rows x columns`` patches at even distances.

    Each box is centred on its patch and twice as wide and high as patches are apart (but for the border), as
    neighbouring features look at overlapping parts of the image.

    Examples:
        >>> patch_grid((40, 40), 2, 4).columns  # patches 10 px apart, boxes of 20 px but for the border
        array([[ 0, 15],
               [ 5, 25],
               [15, 35],
               [25, 40]])
    """

    def intervals(length: int, count: int) -> NDArray[np.int64]:
        centres = (np.arange(count) + 0.5) * length / count
        half = max(length / count, 0.5)
        starts = np.clip(np.floor(centres - half), 0, length - 1)
        return np.stack([starts, np.clip(np.ceil(centres + half), starts + 1, length)], axis=1).astype(np.int64)

    return _product(size, intervals(size[0], columns), intervals(size[1], rows))


def from_boxes(size: Size, boxes: ArrayLike) -> Segments:
    """Check pixel boxes ``[n, 4]`` (x0, y0, x1, y1) and clip them to the image.

    Raises:
        ValueError: if the array has another shape or a box holds no pixel of the image

    Examples:
        >>> from_boxes((100, 50), [[-10, 0, 30, 20], [60, 10, 120, 50]]).boxes
        array([[  0,   0,  30,  20],
               [ 60,  10, 100,  50]])
    """
    array = np.asarray(boxes, dtype=np.float64)
    if array.size == 0:
        return Segments(size, np.zeros((0, 4), np.int64))
    if array.ndim != 2 or array.shape[1] != 4:
        raise ValueError(f"Segments must be an array of boxes [n, 4], got shape {list(array.shape)}")
    if np.isnan(array).any():
        raise ValueError("Segments must not have NaN coordinates")
    clipped = np.clip(np.round(array), 0, [size[0], size[1]] * 2).astype(np.int64)
    empty = np.flatnonzero((clipped[:, 2:] <= clipped[:, :2]).any(axis=1))
    if empty.size:
        raise ValueError(
            f"Segment {empty[0]} {array[empty[0]].tolist()} holds no pixel of a {size[0]} x {size[1]} image"
        )
    return Segments(size, clipped)


def from_relative(size: Size, boxes: ArrayLike) -> Segments:
    """Check relative boxes ``[n, 4]`` of ``x, y, width, height`` in [0, 1] as ``from_boxes`` does.

    Examples:
        >>> from_relative((100, 50), [[0.25, 0, 0.5, 0.5]]).boxes
        array([[25,  0, 75, 25]])
    """
    array = np.asarray(boxes, dtype=np.float64).reshape(-1, 4) * (size * 2)
    array[:, 2:] += array[:, :2]
    return from_boxes(size, array)


def relative_box(box: PixelBox, size: Size) -> RelativeBox:
    """Convert one box of pixels to shares of an image of ``size``.

    Examples:
        >>> relative_box((25, 0, 75, 25), (100, 50))
        (0.25, 0.0, 0.5, 0.5)
    """
    (x0, y0, x1, y1), (width, height) = box, size
    return x0 / width, y0 / height, (x1 - x0) / width, (y1 - y0) / height


def parse_spec(spec: str) -> tuple[str, tuple[float, ...]]:
    """Parse ``"grid:7"``, ``"tiles"`` or ``"tiles:0.125:0.0625"`` into a kind and its numbers.

    Raises:
        ValueError: if the text is none of these, or a number is out of range

    Examples:
        >>> parse_spec("grid:7"), parse_spec("tiles:0.125:0.0625")
        (('grid', (7.0,)), ('tiles', (0.125, 0.0625)))
    """
    kind, *texts = str(spec).split(":")
    try:
        numbers = tuple(float(text) for text in texts)
    except ValueError:
        raise ValueError(f"segments={spec!r}: {texts} are not numbers") from None
    if kind == "grid" and len(numbers) <= 1:
        n = numbers[0] if numbers else DEFAULT_GRID
        if n < 1 or not float(n).is_integer():
            raise ValueError(f"segments={spec!r}: the grid must be a whole number from 1 on")
        return "grid", (n,)
    if kind == "tiles" and len(numbers) <= 2:
        tile = numbers[0] if numbers else DEFAULT_TILE
        stride = numbers[1] if len(numbers) == 2 else (tile / 2 if numbers else DEFAULT_STRIDE)
        _check_tiles(tile, stride)
        return "tiles", (tile, stride)
    raise ValueError(
        f"segments={spec!r} is not known; use 'grid:N', 'tiles', 'tiles:SIZE:STRIDE', "
        "the name of a Detections field, or a function of the image size"
    )


def get_proposer(spec: str | Proposer) -> Callable[[Size], Segments]:
    """Return the function from an image size to its ``Segments`` that a specification stands for."""
    if callable(spec):
        propose: Proposer = spec

        def checked(size: Size) -> Segments:
            proposed = propose(size)
            return proposed if isinstance(proposed, Segments) else from_boxes(size, proposed)

        return checked
    kind, numbers = parse_spec(spec)
    if kind == "grid":
        return lru_cache(maxsize=64)(lambda size: grid(size, int(numbers[0])))
    return lru_cache(maxsize=64)(lambda size: tiles(size, *numbers))


def from_intervals(size: Size, columns: NDArray[np.int64], rows: NDArray[np.int64]) -> Segments:
    """Rebuild the segments of a grid from its ``[columns, 2]`` and ``[rows, 2]`` intervals."""
    return _product(size, np.asarray(columns, np.int64), np.asarray(rows, np.int64))


def intervals_overlap(intervals: NDArray[np.int64]) -> bool:
    """Return True if any of ``[n, 2]`` intervals along an axis, in order, begins before the one before it ends."""
    return bool((intervals[1:, 0] < intervals[:-1, 1]).any())


def _check_tiles(tile: float, stride: float) -> None:
    if not 0 < tile <= 1:
        raise ValueError(f"The tile size must be in (0, 1], a share of the shorter side, got {tile}")
    if not 0 < stride <= tile:
        raise ValueError(f"The stride must be in (0, tile size {tile}], else pixels are left out, got {stride}")


def _intervals(starts: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    return np.stack([starts, starts + length], axis=1)


def _product(size: Size, columns: NDArray[np.int64], rows: NDArray[np.int64]) -> Segments:
    """Make the boxes of a grid, row by row, from its ``[c, 2]`` and ``[r, 2]`` intervals."""
    x = np.tile(columns, (len(rows), 1))  # [r * c, 2]
    y = np.repeat(rows, len(columns), axis=0)  # [r * c, 2]
    boxes = np.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], axis=1)  # [r * c, 4]
    return Segments(size, boxes, (len(rows), len(columns)))
