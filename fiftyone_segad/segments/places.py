"""Find segments by their places in the image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .boxes import RelativeBox, Segments
from .turned import TurnedSegments

COMPLETE_IMAGE: RelativeBox = (0.0, 0.0, 1.0, 1.0)
"""The box of an image itself."""


def segments_in(segments: Segments, boxes: Sequence[RelativeBox]) -> NDArray[np.int64]:
    """Find the segments whose centres lie in one of some boxes or less than half a step of the grid outside.

    What lies in a box is seen by the segments around it, too: marked as normal without them, it would go on to raise an
    alarm as a ring. Where no segment lies in a box, that nearest to its centre does for it.

    Examples:
        >>> from fiftyone_segad.segments.boxes import grid
        >>> segments_in(grid((8, 8), 2), [(0.5, 0.0, 0.5, 1.0)]).tolist()
        [1, 3]
    """
    centres = segments.boxes.reshape(-1, 2, 2).mean(axis=1) / segments.size  # [n, 2], relative x, y
    margin = _steps(segments) / 2 - 1e-6  # segments side by side do not belong to each other's boxes
    in_any = np.zeros(len(segments), bool)
    for x, y, width, height in boxes:
        low, high = np.array([x, y]) - margin, np.array([x + width, y + height]) + margin
        inside = ((centres >= low) & (centres <= high)).all(axis=1)
        if not inside.any():
            inside[((centres - (low + high) / 2) ** 2).sum(axis=1).argmin()] = True
        in_any |= inside
    return np.flatnonzero(in_any)


def _steps(segments: Segments) -> NDArray[np.float64]:
    """Return the relative steps ``[2]`` from column to column and from row to row; 0 for boxes in no grid."""
    grid = segments.straight
    if grid.shape is None:
        return np.zeros(2)
    centres = [grid.columns.mean(axis=1), grid.rows.mean(axis=1)]
    steps = np.array([np.diff(along).mean() if len(along) > 1 else 0.0 for along in centres])
    if isinstance(segments, TurnedSegments):  # how far a step reaches across and down the image
        steps = np.abs(segments.back[:, :2]) @ steps
    return steps / segments.size


def nearest_segments(segments: Segments, boxes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Find the segments whose centres are nearest to those of boxes ``[m, 4]`` in pixels; returns indices ``[m]``.

    Examples:
        >>> from fiftyone_segad.segments.boxes import grid
        >>> nearest_segments(grid((8, 8), 2), np.array([[4, 0, 6, 2], [0, 5, 2, 7]])).tolist()
        [1, 2]
    """
    centres, wanted = (array.reshape(-1, 2, 2).mean(axis=1) for array in (segments.boxes, boxes))  # [n, 2], [m, 2]
    squares: NDArray[np.float64] = ((centres[:, None] - wanted) ** 2).sum(axis=2)  # [n, m]
    return squares.argmin(axis=0)
