"""What the works of the forms do with one image: the trials that ``estimate`` measures."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..curation.decisions import Decisions, Undecided
from ..curation.duplicates import ImageReader
from ..curation.parts import CANDIDATES, correlations, describe
from ..curation.quality import measure
from ..data.truth import Truth
from ..engine.prediction import predicted_mask
from ..errors import ImageError
from ..metrics.pixels import Bins, PixelCounts
from ..scoring.thresholds import Thresholds
from ..segments.maps import anomaly_map, heatmap_size
from ..segments.regions import connected_regions, label_regions, match_regions, regions_of
from ..storage.records import ImageScores
from ..utils.images import read_image


def quality_of(path: str) -> int:
    """Measures the quality of an image."""
    measure(read_image(path))
    return 0


def duplicates_of(kind: str, images: int) -> Callable[[str], int]:
    """What is taken of an image to find its duplicates among so many; raises what the kind of duplicates raises."""
    reader = ImageReader(kind)

    def look(path: str) -> int:
        pixels = read_image(path)
        try:
            reader.read(path, pixels)
        except ValueError as error:
            raise ImageError(str(error)) from None
        if kind == "part":  # each is compared with its candidates, which here are itself
            part = describe(pixels)
            correlations(part, [part] * min(CANDIDATES, images))
        return 0

    return look


def drawn(thresholds: Thresholds) -> Callable[[ImageScores], int]:
    """Draws the mask of an image at image size, with its regions."""

    def draw(record: ImageScores) -> int:
        anomaly = anomaly_map(record.segments, record.scores)
        mask = predicted_mask(record, anomaly, thresholds)
        connected_regions(mask, anomaly)
        return _png(mask)

    return draw


def drawn_again(thresholds: Thresholds) -> Callable[[ImageScores], int]:
    """Draws heatmap and mask of an image."""
    mask_of = drawn(thresholds)

    def draw(record: ImageScores) -> int:
        values = anomaly_map(record.segments, record.scores, heatmap_size(record.segments.size))
        scaled = (values - values.min()) / max(float(np.ptp(values)), 1e-9)
        return _png((scaled * 255).astype(np.uint8)) + mask_of(record)

    return draw


def evaluated(thresholds: Thresholds, truths: dict[str, Truth], kept: bool) -> Callable[[ImageScores], int]:
    """Compare the map of an image with its ground truth; if it is kept, draws the map of errors."""

    def compare(record: ImageScores) -> int:
        truth = truths[record.id].read(record.segments.size)
        anomaly = anomaly_map(record.segments, record.scores)
        PixelCounts.of(Bins(float(record.scores.min()), float(record.scores.max())), anomaly, truth)
        flags = predicted_mask(record, anomaly, thresholds) != 0
        labels, count = label_regions(flags)
        regions_of(labels, count, anomaly)
        if truth is not None:
            true_labels, true_count = label_regions(truth)
            regions_of(true_labels, true_count, anomaly)
            match_regions(labels, true_labels, (count, true_count))
        errors = flags.view(np.uint8) + (0 if truth is None else truth.view(np.uint8) << 1)
        return _png(errors.astype(np.uint8)) if kept and errors.any() else 0

    return compare


def exported(decisions: Decisions, link: bool) -> Callable[[str], int]:
    """Decides on a sample, and reads what is copied of it."""

    def export(id: str) -> int:
        decision = decisions.decide(id)
        if isinstance(decision, Undecided):
            raise ImageError(decision.reason)
        written = 0 if decision.mask is None else _png(decision.mask.view(np.uint8) * 255)
        return written if link else written + len(Path(decision.filepath).read_bytes())

    return export


def _png(mask: NDArray[np.uint8]) -> int:
    file = io.BytesIO()
    Image.fromarray(mask).save(file, "PNG")
    return file.tell()
