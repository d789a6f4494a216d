"""Segments of a part that was laid straight: a grid on the straight part, and where its cells lie in the image."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .boxes import Segments, Size


@dataclass(frozen=True)
class TurnedSegments(Segments):
    """Boxes of one image around the cells of a grid on a part that was cut out of it and laid straight.

    In the image the cells lie askew: ``boxes`` are upright ones around them, and in no grid. Scores are drawn, fused
    and averaged on the grid.

    Attributes:
        grid: the cells in pixels of the straight part
        back: float array ``[2, 3]`` that takes points ``(x, y, 1)`` of the straight part to the image; pixel ``i``
            reaches from ``i`` to ``i + 1``
    """

    grid: Segments = field(kw_only=True)
    back: NDArray[np.float64] = field(kw_only=True)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the grid, from which the boxes follow."""
        return lay_back, (self.size, self.grid, self.back)

    @property
    def part(self) -> NDArray[np.float64]:
        """Where the part lies: float array ``[2, 3]`` that takes places on it, from 0 to 1 each way, to the image."""
        return part_place(self.back, self.grid.size)

    @property
    def straight(self) -> Segments:
        return self.grid

    @property
    def overlap(self) -> bool:
        return self.grid.overlap


def part_place(back: NDArray[np.float64], straight_size: Size) -> NDArray[np.float64]:
    """Return where a part lies, as ``TurnedSegments.part``, from its way back and the size of the straight part."""
    return back * [*straight_size, 1]


def lay_back(size: Size, grid: Segments, back: NDArray[np.float64]) -> TurnedSegments:
    """Find the boxes of the cells of a grid in the image that the part was cut out of.

    Args:
        size: ``(width, height)`` of the image
        grid: the cells in pixels of the straight part
        back: float array ``[2, 3]``, see ``TurnedSegments``

    Examples:
        >>> from fiftyone_segad.segments.boxes import grid
        >>> quarter_turn = np.array([[0.0, -1.0, 50.0], [1.0, 0.0, 10.0]])
        >>> lay_back((60, 60), grid((40, 20), 2), quarter_turn).boxes[:2]
        array([[40, 10, 50, 30],
               [40, 30, 50, 50]])
    """
    corners = grid.boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)  # [n, 4, 2], x and y
    places = corners @ back[:, :2].T + back[:, 2]  # [n, 4, 2] in the image
    last = np.array(size) - 1
    starts = np.clip(np.floor(places.min(axis=1) + 1e-6), 0, last)
    ends = np.clip(np.ceil(places.max(axis=1) - 1e-6), starts + 1, last + 1)  # also of a cell beside the image
    return TurnedSegments(size, np.hstack([starts, ends]).astype(np.int64), grid=grid, back=back)
