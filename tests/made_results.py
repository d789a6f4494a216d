"""Small made-up images, results of them, and slow direct computations of their figures."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import auc, precision_recall_curve

from fiftyone_segad.evaluation.results import AnomalyResults
from fiftyone_segad.metrics.confusion import confusion
from fiftyone_segad.metrics.image_result import ImageResult
from fiftyone_segad.metrics.pixels import Bins, PixelCounts
from fiftyone_segad.segments.regions import RegionCounts, label_regions

BINS = Bins(0, 1, 65)
"""The maps have 64 levels, so that each is in a bin of its own."""
THRESHOLD, PIXEL_THRESHOLD = 0.7, 0.55

REGIONS = {"small": RegionCounts(found=1, missed=1, true=2, false=1), "large": RegionCounts(found=1, true=1)}
FALSE_ALARM = {"small": RegionCounts(false=1)}


@dataclass
class Picture:
    id: str
    category: str
    defect: str
    anomaly: NDArray[np.float32]
    mask: NDArray[np.bool_]

    @property
    def defective(self) -> bool:
        return self.defect != "good"

    @property
    def score(self) -> float:
        return float(self.anomaly.max())

    @property
    def flagged(self) -> bool:
        return self.score > THRESHOLD


GROUPS = [
    ("bolt", "good", 9),
    ("bolt", "dent", 4),
    ("bolt", "scratch", 3),
    ("nut", "good", 5),
    ("nut", "dent", 4),
]


def make_pictures(groups: Iterable[tuple[str, str, int]] = GROUPS, seed: int = 0) -> list[Picture]:
    """Draw maps of noise that are higher on most of a defect, and where the product is a nut."""
    random = np.random.default_rng(seed)
    pictures: list[Picture] = []
    for category, defect, count in groups:
        for _ in range(count):
            mask = np.zeros((16, 20), bool)
            if defect != "good":
                x, y = random.integers(0, 12, 2)
                mask[y : y + 4, x : x + 5] = True
                mask[0, 18] = True
            anomaly = random.normal(0.3 + 0.05 * (category == "nut"), 0.12, mask.shape) + 0.25 * mask
            levels = (np.rint(np.clip(anomaly, 0, 1) * 64) / 64).astype(np.float32)
            pictures.append(Picture(f"{len(pictures):02d}", category, defect, levels, mask))
    return pictures


def image_result(picture: Picture) -> tuple[ImageResult, PixelCounts]:
    counts = PixelCounts.of(BINS, picture.anomaly, picture.mask if picture.defective else None)
    result = ImageResult(
        id=picture.id,
        score=picture.score,
        defective=picture.defective,
        defect=picture.defect,
        category=picture.category,
        flagged=picture.flagged,
        pixels=confusion(picture.anomaly > PIXEL_THRESHOLD, picture.mask),
        regions=REGIONS if picture.defective else FALSE_ALARM if picture.flagged else {},
        normal=counts.normal.astype(np.float32),
        positive=None if counts.defective is None else counts.defective.astype(np.float32),
        overlap=None if counts.overlap is None else counts.overlap.astype(np.float32),
    )
    return result, counts


def results_of(pictures: Iterable[Picture]) -> AnomalyResults:
    results = AnomalyResults("segad", THRESHOLD, "fpr:0.01", "defect_mask", BINS)
    for picture in pictures:
        results.add(*image_result(picture))
    return results


def scores_only(*images: tuple[str, float, bool, bool]) -> AnomalyResults:
    """Make results of images of one pixel, given by id, score, whether defective, and whether flagged.

    Those flagged have a predicted region.
    """
    outcomes = {
        (True, True): {"small": RegionCounts(found=1, true=1)},
        (True, False): {"small": RegionCounts(missed=1)},
        (False, True): FALSE_ALARM,
        (False, False): {},
    }
    results = AnomalyResults("segad", THRESHOLD, "fpr:0.01", "defect_mask", BINS)
    for id, score, defective, flagged in images:
        mask = np.ones((1, 1), bool) if defective else None
        counts = PixelCounts.of(BINS, np.full((1, 1), score), mask)
        image = ImageResult(
            id=id,
            score=score,
            defective=defective,
            defect="dent" if defective else "good",
            category="",
            flagged=flagged,
            pixels=confusion([flagged], [defective]),
            regions=outcomes[defective, flagged],
            normal=counts.normal.astype(np.float32),
        )
        results.add(image, counts)
    return results


def truth_and_scores(pictures: list[Picture]) -> tuple[list[bool], list[float]]:
    return [picture.defective for picture in pictures], [picture.score for picture in pictures]


def pixels_of(pictures: list[Picture]) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    return (
        np.concatenate([picture.mask.ravel() for picture in pictures]),
        np.concatenate([picture.anomaly.ravel() for picture in pictures]),
    )


def best_f1(truth: NDArray[np.bool_] | list[bool], scores: NDArray[np.float32] | list[float]) -> float:
    precision, recall, _ = precision_recall_curve(truth, scores)
    return float(np.max(2 * precision * recall / np.maximum(precision + recall, 1e-12)))


def overlap_curve(pictures: list[Picture]) -> tuple[list[float], list[float]]:
    """Compute false-positive rate and mean overlap of regions, level by level."""
    truth, scores = pixels_of(pictures)
    regions = []
    for picture in pictures:
        labels, count = label_regions(picture.mask)
        regions += [picture.anomaly[labels == index] for index in range(1, count + 1)]
    x, y = [0.0], [0.0]
    for level in np.unique(scores)[::-1]:
        x.append(float(np.mean(scores[~truth] >= level)))
        y.append(float(np.mean([np.mean(region >= level) for region in regions])))
    return x, y


def aupro(pictures: list[Picture], limit: float) -> float:
    x, y = overlap_curve(pictures)
    inside = [point for point in zip(x, y, strict=True) if point[0] <= limit] + [(limit, float(np.interp(limit, x, y)))]
    return auc([point[0] for point in inside], [point[1] for point in inside]) / limit


def pimo(pictures: list[Picture]) -> float:
    """Compute AUPIMO of so few pixels that only those above every normal image of the same product count."""
    recalls = []
    for defective in (picture for picture in pictures if picture.defective):
        normal = [picture for picture in pictures if picture.category == defective.category and not picture.defective]
        highest = max(picture.anomaly.max() for picture in normal)
        recalls.append(np.mean(defective.anomaly[defective.mask] > highest))
    return float(np.mean(recalls))
