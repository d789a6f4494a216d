"""Give an evaluation the score, map and mask of each image: from the run's folder or, where it is gone, from fields."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from fiftyone.core.collections import SampleCollection as Samples
from numpy.typing import NDArray

from ..data.masks import read_mask
from ..engine.calibration import score_bins
from ..engine.prediction import decided_score, predicted_mask
from ..errors import ImageError
from ..metrics.pixels import Bins
from ..registry.run import Run
from ..registry.samples import all_slices
from ..segments.boxes import Size
from ..storage.records import ImageScores
from ..storage.store import RunStore
from ..utils.images import read_header, read_image

_COARSE_QUANTILES = np.concatenate([np.linspace(0, 0.99, 397), 1 - np.geomspace(1e-2, 1e-6, 300)])
"""Quantiles of the segment scores between which pixels count as equal in the bootstrap."""

_GREYS = 256
"""Scores that a heatmap tells apart."""

MapAndMask = tuple[NDArray[np.float32], NDArray[np.bool_]]
"""Anomaly map and predicted mask of an image, ``[height, width]`` each."""


@dataclass(frozen=True)
class ScoredImage:
    """An image of a run.

    Attributes:
        id: the sample's id
        score: its anomaly score
        measure: reads ``(width, height)`` of the image
        predict: makes its anomaly map and predicted mask; None if nothing is known of its pixels
        ignored: gives the pixels ``[height, width]`` that zones exclude; None if there are none
    """

    id: str
    score: float
    measure: Callable[[], Size]
    predict: Callable[[], MapAndMask] | None
    ignored: Callable[[], NDArray[np.bool_] | None] = lambda: None


class ScoreSource(Protocol):
    """A place where the scores of a run are.

    Attributes:
        bins: bins of the pixel scores
        coarse_edges: int array ``[m]``, the first bin of each group of bins that the bootstrap takes as one
        warnings: what a reader of the figures should know
    """

    bins: Bins
    coarse_edges: NDArray[np.int64]
    warnings: list[str]

    def images(self, ids: Collection[str]) -> Iterator[ScoredImage]:
        """Yield those images that have a score and one of these ids."""


def find_source(samples: Samples, run: Run) -> ScoreSource:
    """Find where the scores of a run are: in its folder, or in the fields of the samples if that is gone."""
    if run.store.exists() and next(iter(run.store.scores), None) is not None:
        return _Store(run)
    return _Fields(samples, run)


class _Store:
    """The run's folder: full precision."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.bins = score_bins(run.store)
        self.coarse_edges = coarse_edges(run.store, self.bins)
        self.warnings: list[str] = []

    def images(self, ids: Collection[str]) -> Iterator[ScoredImage]:
        return (self._image(record) for record in self._run.store.scores if record.id in ids)

    def _image(self, record: ImageScores) -> ScoredImage:
        def predict() -> MapAndMask:
            anomaly = record.map()
            return anomaly, predicted_mask(record, anomaly, self._run.thresholds) != 0

        score = decided_score(record, self._run.thresholds)
        return ScoredImage(record.id, score, lambda: record.segments.size, predict, lambda: record.ignored)


def coarse_edges(store: RunStore, bins: Bins) -> NDArray[np.int64]:
    """Group a run's score bins for the bootstrap: narrow groups where scores are high and decide.

    Returns:
        int array ``[m]``, the first bin of each group
    """
    counts = np.zeros(bins.count, np.int64)
    for record in store.scores:
        counts += np.bincount(bins(record.scores), minlength=bins.count)
    shares = np.cumsum(counts) / counts.sum()  # of the segments, in the first 1, 2, ... bins
    return np.unique(np.append(0, np.searchsorted(shares, _COARSE_QUANTILES)))


class _Fields:
    """The fields of the samples: scores, heatmaps and masks, as far as they are there."""

    def __init__(self, samples: Samples, run: Run) -> None:
        self._run = run
        self.bins = Bins(*run.map_range)
        self.coarse_edges = np.linspace(0, self.bins.count, _GREYS + 1, dtype=np.int64)[:-1]
        paths = ["id", "filepath", run.field("score"), f"{run.field('map')}.map_path", f"{run.field('mask')}.mask_path"]
        fields = samples.get_field_schema()
        columns = [
            all_slices(samples).values(path) if path.split(".")[0] in fields else [None] * len(samples)
            for path in paths
        ]
        self._rows = list(zip(*columns, strict=True))
        self._has_maps = any(map_path and os.path.isfile(map_path) for _, _, _, map_path, _ in self._rows)
        precision = (
            f"the figures of pixels are those of heatmaps, which tell {_GREYS} scores from {run.map_range[0]:.4g} to "
            f"{run.map_range[1]:.4g} apart"
            if self._has_maps
            else "nor are there heatmaps: only the figures of images exist"
        )
        self.warnings = [
            f"The folder of run '{run.key}' is gone, and with it the scores of segments; {precision}. Bring it back "
            "from where it is by export_run() and import_run()"
        ]

    def images(self, ids: Collection[str]) -> Iterator[ScoredImage]:
        for id, filepath, score, map_path, mask_path in self._rows:
            if score is not None and id in ids:
                yield self._image(id, filepath, score, map_path, mask_path)

    def _image(self, id: str, filepath: str, score: float, map_path: str | None, mask_path: str | None) -> ScoredImage:
        def measure() -> Size:
            return read_header(filepath).size

        def predict() -> MapAndMask:
            if map_path is None:
                raise ImageError(f"Sample {id} has no heatmap in '{self._run.field('map')}'")
            anomaly = self._read_map(map_path, measure())
            if mask_path is not None and os.path.isfile(mask_path):
                return anomaly, _fit(read_mask(mask_path), measure())
            thresholds = self._run.thresholds
            limit = thresholds.image if thresholds.pixel is None else thresholds.pixel
            return anomaly, (anomaly > limit) & (score > thresholds.image)

        return ScoredImage(id, score, measure, predict if self._has_maps else None)

    def _read_map(self, path: str, size: Size) -> NDArray[np.float32]:
        low, high = self._run.map_range
        grey = read_image(path)[..., 0].astype(np.float32) / (_GREYS - 1)  # [height, width] of the heatmap
        return low + (high - low) * cv2.resize(grey, size, interpolation=cv2.INTER_LINEAR).astype(np.float32)


def _fit(mask: NDArray[np.bool_], size: Size) -> NDArray[np.bool_]:
    if mask.shape == size[::-1]:
        return mask
    return cv2.resize(mask.view(np.uint8), size, interpolation=cv2.INTER_NEAREST_EXACT).astype(bool)
