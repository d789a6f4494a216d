"""The levels of an embedder within a run: prepared for comparison, and fused after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..embedders.base import Level, Patches, normalize
from .fusion import LevelScores, ScoreNormalizer, fit_scale, fuse
from .pca import Projection, fit_projection

FIT_IMAGES = 16
"""Images whose features the components are fitted to."""

_FIT_ROWS = 50_000

Rows = list[NDArray[np.float32]]
"""Features of one image that can be compared by Euclidean distance, one array ``[n, k]`` a level."""


class LevelScorer:
    """What is fitted to a run's levels.

    Args:
        levels: the levels
        arrays: what ``arrays`` gave, to go on with it
    """

    def __init__(self, levels: Sequence[Level], arrays: dict[str, NDArray[Any]] | None = None) -> None:
        self.levels = tuple(levels)
        arrays = arrays or {}
        self._projections: list[Projection | None] = [
            Projection(arrays[f"mean{i}"], arrays[f"matrix{i}"]) if f"mean{i}" in arrays else None
            for i in range(len(self.levels))
        ]
        self._scales = [
            ScoreNormalizer(float(arrays[f"scale{i}"][0]), float(arrays[f"scale{i}"][1]), arrays[f"damping{i}"])
            for i in range(len(self.levels))
            if f"scale{i}" in arrays
        ]

    @property
    def scaled(self) -> bool:
        """Whether scores are put on a common scale; those of a single level compared by cosine stay distances."""
        return len(self.levels) > 1 or self.levels[0].components is not None

    @property
    def needs_fit(self) -> bool:
        """Whether ``fit`` is still to be done."""
        pairs = zip(self.levels, self._projections, strict=True)
        return any(level.components is not None and fitted is None for level, fitted in pairs)

    def fit(self, images: Sequence[list[Patches]], seed: int) -> None:
        """Fits the components of the levels that have any.

        Raises:
            ValueError: if a feature is not finite
        """
        for i, level in enumerate(self.levels):
            if level.components is not None:
                rows = np.concatenate([patches[i].features for patches in images])
                if len(rows) > _FIT_ROWS:
                    rows = rows[np.random.default_rng(seed).choice(len(rows), _FIT_ROWS, replace=False)]
                self._projections[i] = fit_projection(rows, level.components, level.whiten)

    def rows(self, patches: Sequence[Patches]) -> Rows:
        """Make the features of one image comparable.

        Raises:
            ValueError: if a feature is not finite
        """
        rows = []
        for level, projection in zip(patches, self._projections, strict=True):
            if not np.isfinite(level.features).all():
                raise ValueError("The embedder gave values that are not finite")
            # Components are stored in half precision: rounded at once, what is stored and what is not compare alike
            rows.append(
                normalize(level.features)
                if projection is None
                else projection(level.features).astype(np.float16).astype(np.float32)
            )
        return rows

    def stored(self, rows: Rows) -> list[NDArray[np.floating]]:
        """Rows as they are stored, without loss."""
        return [
            values.astype(np.float16) if level.components is not None else values
            for values, level in zip(rows, self.levels, strict=True)
        ]

    def fit_scales(self, scored: Sequence[Sequence[LevelScores]]) -> None:
        """Fits the common scale to the scores of images, each scored without itself."""
        self._scales = [fit_scale(level, [image[i] for image in scored]) for i, level in enumerate(self.levels)]

    def scale(self, level: int, scored: LevelScores) -> NDArray[np.float32]:
        """The scores of one level on the common scale."""
        return self._scales[level](scored)

    def fuse(self, scored: Sequence[LevelScores]) -> LevelScores:
        """One score a segment from the scores of the levels of one image."""
        return fuse(self.levels, scored, self._scales) if self.scaled else scored[0]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All that was fitted, to be stored."""
        arrays: dict[str, NDArray[Any]] = {}
        for i, projection in enumerate(self._projections):
            if projection is not None:
                arrays |= {f"mean{i}": projection.mean, f"matrix{i}": projection.matrix}
        for i, scale in enumerate(self._scales):
            arrays |= {f"scale{i}": np.array([scale.centre, scale.spread]), f"damping{i}": scale.damping}
        return arrays
