"""How well chosen images cover all images, straight from the definition."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def distances(levels: Sequence[Sequence[np.ndarray]], chosen: list[int]) -> np.ndarray:
    """Mean distances ``[levels, images]`` of each image's rows to the nearest row of a chosen image."""
    by_level = []
    for images in levels:
        bank = np.concatenate([images[i] for i in chosen])
        by_level.append([np.linalg.norm(rows[:, None] - bank[None], axis=2).min(axis=1).mean() for rows in images])
    return np.array(by_level)
