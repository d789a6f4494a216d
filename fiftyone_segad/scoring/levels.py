"""Levels: features made comparable within each level, and the scores of all levels fused into one per segment.

An embedder looks at an image at several levels, such as the layers of a network. What a distance of 1 means differs
from level to level, and within a level from the border of the image to its middle. Images that were scored without
themselves tell both: they give each level a common scale, on which 0 is usual and 1 is the peak of a usual image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..embedders.base import Level, Patches, normalize
from ..segments.boxes import Segments
from ..segments.maps import anomaly_map, onto_finest
from .teaching import DefectModel

LevelFeatures = list[NDArray[np.float32]]
"""Features of one image that can be compared by Euclidean distance, one array ``[n, k]`` per level."""

LevelScores = tuple[Segments, NDArray[np.float32]]
"""The segments of one level of one image, and their scores ``[n]``."""

FIT_IMAGES = 16
"""Images to whose features the principal components are fitted."""

ALIGNED = "aligned"
"""Name of the array that says that parts are laid straight: its one number is the version of how."""

ALIGNED_ONLY: dict[str, NDArray[Any]] = {ALIGNED: np.ones(1, np.int64)}
"""Levels of parts that are laid straight, before anything is fitted to them."""

_FIT_ROWS = 50_000
"""Features of these images that are used at most, per level."""

MAP_SIDE = 32
"""Cells per side of a damping map."""

_SMOOTHING = 1.0
"""Standard deviation, in cells, of the Gaussian that smooths a damping map."""

_HALF_STRENGTH = 10
"""Images at which damping has half of its full strength."""


@dataclass(frozen=True)
class Projection:
    """Maps features ``[n, d]`` to components ``[n, k]``: ``(x - mean) @ matrix``.

    Attributes:
        mean: float32 array ``[d]``
        matrix: float32 array ``[d, k]``
    """

    mean: NDArray[np.float32]
    matrix: NDArray[np.float32]

    def __call__(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray((features - self.mean) @ self.matrix, np.float32)


def fit_projection(features: NDArray[np.floating], components: int, whiten: bool) -> Projection:
    """Fit principal components to standardised features.

    With ``Z`` the features ``[n, d]`` at mean 0 and variance 1, and ``V diag(λ) V^T`` the eigendecomposition of their
    correlations ``Z^T Z / n``, the components are ``Z V``, or ``Z V diag(λ)^-1/2`` if they are whitened: then a
    distance counts each direction alike, however much the features vary along it.

    Args:
        features: array ``[n, d]``
        components: components ``k`` to keep, those of the largest variance; at most ``d``
        whiten: whether to scale the components to variance 1

    Raises:
        ValueError: if a feature is not finite, or there are none

    Examples:
        >>> features = np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])  # both columns vary together
        >>> projection = fit_projection(features, 1, whiten=True)
        >>> projection(features.astype(np.float32)).var(axis=0).round(3).tolist()
        [1.0]
    """
    rows = np.asarray(features, np.float64)
    if not len(rows) or not np.isfinite(rows).all():
        raise ValueError("Components need features, all of them finite")
    mean, deviation = rows.mean(axis=0), rows.std(axis=0)  # [d]
    deviation[deviation < 1e-6 * max(deviation.max(), 1e-12)] = np.inf  # a constant feature says nothing: Z is 0
    standard = (rows - mean) / deviation  # Z: [n, d]
    variances, vectors = np.linalg.eigh(standard.T @ standard / len(rows))  # λ: [d], V: [d, d]
    order = np.argsort(-variances, kind="stable")[:components]
    vectors = vectors[:, order]  # [d, k]
    # The sign of a component is arbitrary, but must be the same on every machine: its largest entry is positive
    vectors = vectors * np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(vectors.shape[1])])
    if whiten:
        vectors = vectors / np.sqrt(np.maximum(variances[order], 1e-6))
    # Products of matrices differ in the last bit by the order in memory, which not every file keeps
    return Projection(mean.astype(np.float32), np.ascontiguousarray(vectors / deviation[:, None], np.float32))


@dataclass(frozen=True)
class ScoreNormalizer:
    """Puts the scores of one level on the common scale: ``(score / damping - centre) / scale``.

    Attributes:
        centre: median over images of their mean damped score
        scale: median over images of their highest damped score, above ``centre``
        damping: float32 array ``[32, 32]`` over the image, or its straight part, by which scores are divided; at
            least 1
    """

    centre: float
    scale: float
    damping: NDArray[np.float32]

    def __call__(self, scored: LevelScores) -> NDArray[np.float32]:
        """Return the scores ``[n]`` on the common scale: 0 is usual, 1 is the peak of a usual image."""
        segments, scores = scored
        return ((scores / self.factors(segments) - self.centre) / self.scale).astype(np.float32)

    def factors(self, segments: Segments) -> NDArray[np.float64]:
        """Look up by which number ``[n]`` the score of each segment is divided."""
        # [n, 2] centres (x, y) in cells of the map, whose own centres are at whole numbers
        cells = segments.straight
        centres = (cells.boxes[:, :2] + cells.boxes[:, 2:]) / 2 / cells.size * MAP_SIDE - 0.5
        factors: NDArray[np.float64] = ndimage.map_coordinates(
            self.damping, centres[:, ::-1].T, order=1, mode="nearest"
        )
        return factors


def fit_normalizer(level: Level, scored: Sequence[LevelScores]) -> ScoreNormalizer:
    """Find the common scale of a level from images that were scored without themselves.

    If the level is ``positional``, scores are first damped where they are usually high, as at the borders of a
    network's maps or of parts: they are divided by ``max(u / mean(u), 1) ** s``, with ``u`` the median over the images
    of their anomaly maps, smoothed, and ``s = 0.5 * n / (n + 10)`` for ``n`` images. The square root lets a defect at
    such a place still stand out; few images damp less, as their map tells of them rather than of the product.

    Medians over the images keep a few defective ones among them from changing the scale.

    Args:
        level: the level
        scored: scores of at least one image

    Raises:
        ValueError: if there is no image

    Examples:
        >>> from fiftyone_segad.segments.boxes import patch_grid
        >>> segments = patch_grid((64, 64), 2, 2)
        >>> images = [(segments, np.array(scores)) for scores in ([1, 1, 1, 5], [1, 1, 1, 5], [1, 1, 1, 7])]
        >>> normalizer = fit_normalizer(Level("plain"), images)
        >>> normalizer.centre, normalizer.scale  # the means are 2, 2 and 2.5, the peaks 5, 5 and 7
        (2.0, 3.0)
        >>> normalizer(images[1]).tolist()[3]
        1.0
    """
    if not scored:
        raise ValueError("A scale needs scored images")
    damping = _fit_damping(scored) if level.positional else np.ones((MAP_SIDE, MAP_SIDE), np.float32)
    damp = ScoreNormalizer(0, 1, damping)
    damped = [damp(image) for image in scored]  # one array [n] per image
    centre = float(np.median([scores.mean() for scores in damped]))
    scale = float(np.median([scores.max() for scores in damped])) - centre
    return ScoreNormalizer(centre, max(scale, 1e-6), damping)


def _fit_damping(scored: Sequence[LevelScores]) -> NDArray[np.float32]:
    maps = [anomaly_map(segments.straight, scores, (MAP_SIDE, MAP_SIDE)) for segments, scores in scored]
    usual = np.median(maps, axis=0)  # [32, 32]
    usual = ndimage.gaussian_filter(usual, _SMOOTHING, mode="nearest")
    strength = 0.5 * len(scored) / (len(scored) + _HALF_STRENGTH)
    damping: NDArray[np.float32] = np.maximum(usual / max(float(usual.mean()), 1e-12), 1) ** strength
    return damping.astype(np.float32)


def fuse(levels: Sequence[Level], scored: Sequence[LevelScores], normalizers: Sequence[ScoreNormalizer]) -> LevelScores:
    """Average the scores of all levels, by the levels' weights, on the segments of the finest level.

    Args:
        levels: the levels
        scored: the scores of one image at each level
        normalizers: what puts each level on the common scale

    Returns:
        the finest segments and their scores: 0 is usual, about 1 is the peak of a usual image
    """
    total = sum(level.weight for level in levels)
    normalized = [(image[0], normalizer(image)) for image, normalizer in zip(scored, normalizers, strict=True)]
    finest, by_level = onto_finest(normalized)
    fused = np.zeros(len(finest), np.float32)
    for level, values in zip(levels, by_level, strict=True):
        fused += level.weight / total * values
    return finest, fused


class LevelScorer:
    """Everything that is fitted to the levels of a run: principal components, and the common scale of scores.

    Args:
        levels: the levels
        arrays: what the method ``arrays`` gave, to continue with it

    Attributes:
        levels: the levels
        defects: what marked defects look like; None if none are marked
        aligned: whether they are of parts that were laid straight
    """

    def __init__(self, levels: Sequence[Level], arrays: dict[str, NDArray[Any]] | None = None) -> None:
        self.levels = tuple(levels)
        arrays = arrays or {}
        numbers = range(len(self.levels))
        self._projections: list[Projection | None] = [
            Projection(arrays[f"mean{i}"], arrays[f"matrix{i}"]) if f"mean{i}" in arrays else None for i in numbers
        ]
        self._normalizers = [
            ScoreNormalizer(float(arrays[f"scale{i}"][0]), float(arrays[f"scale{i}"][1]), arrays[f"damping{i}"])
            for i in numbers
            if f"scale{i}" in arrays
        ]
        self.defects = DefectModel.of(arrays, len(self.levels))
        self.aligned = ALIGNED in arrays

    @property
    def has_common_scale(self) -> bool:
        """Whether scores are put on the common scale; those of a single level compared by cosine stay distances."""
        return len(self.levels) > 1 or self.levels[0].components is not None

    @property
    def heaviest(self) -> int:
        """Number of the level that counts most."""
        return int(np.argmax([level.weight for level in self.levels]))

    @property
    def needs_fit(self) -> bool:
        """Whether ``fit`` is still to be called."""
        pairs = zip(self.levels, self._projections, strict=True)
        return any(level.components is not None and projection is None for level, projection in pairs)

    def fit(self, images: Sequence[list[Patches]], seed: int) -> None:
        """Fit the principal components of the levels that have any.

        Args:
            images: the features of each image, by level
            seed: seed of the choice among many features

        Raises:
            ValueError: if a feature is not finite
        """
        for i, level in enumerate(self.levels):
            if level.components is not None:
                features = np.concatenate([patches[i].features for patches in images])  # [n, d]
                if len(features) > _FIT_ROWS:
                    features = features[np.random.default_rng(seed).choice(len(features), _FIT_ROWS, replace=False)]
                self._projections[i] = fit_projection(features, level.components, level.whiten)

    def transform(self, patches: Sequence[Patches]) -> LevelFeatures:
        """Make the features of one image comparable: project them onto components, or scale them to length 1.

        Raises:
            ValueError: if a feature is not finite
        """
        features = []
        for level, projection in zip(patches, self._projections, strict=True):
            if not np.isfinite(level.features).all():
                raise ValueError("The embedder gave values that are not finite")
            # Components are stored in half precision: rounded at once, stored and fresh ones compare alike
            features.append(
                normalize(level.features)
                if projection is None
                else projection(level.features).astype(np.float16).astype(np.float32)
            )
        return features

    def to_stored(self, features: LevelFeatures) -> list[NDArray[np.floating]]:
        """Convert comparable features to the type in which they are stored, without loss."""
        return [
            values.astype(np.float16) if level.components is not None else values
            for values, level in zip(features, self.levels, strict=True)
        ]

    def fit_normalizers(self, scored: Sequence[Sequence[LevelScores]]) -> None:
        """Fit the common scale to the scores of images, by level, each image scored without itself."""
        self._normalizers = [
            fit_normalizer(level, [image[i] for image in scored]) for i, level in enumerate(self.levels)
        ]

    def to_common_scale(self, level: int, scored: LevelScores) -> NDArray[np.float32]:
        """Put the scores of one level on the common scale."""
        return self._normalizers[level](scored)

    def fuse(self, scored: Sequence[LevelScores]) -> LevelScores:
        """Combine the scores of one image at each level into one score per segment."""
        return fuse(self.levels, scored, self._normalizers) if self.has_common_scale else scored[0]

    def score(self, scored: Sequence[LevelScores], rows: LevelFeatures) -> LevelScores:
        """Combine the scores of one image; higher where its rows ``[n, k]``, by level, are like marked defects."""
        finest, fused = self.fuse(scored)
        if self.defects is None:
            return finest, fused
        return finest, fused + self.defects.taught(rows, [segments for segments, _ in scored])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return everything that was fitted, to be stored."""
        arrays: dict[str, NDArray[Any]] = {}
        for i, projection in enumerate(self._projections):
            if projection is not None:
                arrays |= {f"mean{i}": projection.mean, f"matrix{i}": projection.matrix}
        for i, normalizer in enumerate(self._normalizers):
            arrays |= {f"scale{i}": np.array([normalizer.centre, normalizer.scale]), f"damping{i}": normalizer.damping}
        if self.aligned:
            arrays |= ALIGNED_ONLY
        return arrays | (self.defects.arrays() if self.defects else {})
