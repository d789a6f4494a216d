"""What an evaluation found: one record an image, counts of pixels by kind of defect, and every figure from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..data.truth import GOOD
from ..metrics import bootstrap, curves
from ..metrics.curves import Confusion, ScoreCounts, count_scores
from ..metrics.image_result import ImageResult
from ..metrics.names import METRIC_NAMES
from ..metrics.pimo import BOUNDS, aupimo, pimo_weights
from ..metrics.pixels import Bins, PixelCounts
from ..segments.regions import SIZES, RegionCounts

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from fiftyone.core.collections import SampleCollection as Samples

    from ..registry.run import Run

OUTCOMES = ("TP", "FP", "FN", "TN")

_NO_REGIONS = RegionCounts()


@dataclass
class AnomalyResults:
    """What ``evaluate_anomalies`` found.

    Attributes:
        key: the run's key
        threshold: the run's image threshold
        threshold_rule: the rule it follows
        gt_field: the field of the ground truth
        bins: bins of the pixel scores
        images: one record an evaluated sample, by id
        groups: counts of pixels by category and kind of defect
        excluded: ``{"id", "reason"}`` of the samples that could not be evaluated
        warnings: what a reader of the figures should know
        samples: the samples that were evaluated, for pictures of them; None in results made by hand
        run: the run, as it was then; None in results made by hand
    """

    key: str
    threshold: float
    threshold_rule: str
    gt_field: str
    bins: Bins
    images: dict[str, ImageResult] = field(default_factory=dict)
    groups: dict[tuple[str, str], PixelCounts] = field(default_factory=dict)
    excluded: list[dict[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    samples: Samples | None = field(default=None, repr=False, compare=False)
    run: Run | None = field(default=None, repr=False, compare=False)

    def add(self, image: ImageResult, counts: PixelCounts) -> None:
        """Add an image. Defective ones get their AUPIMO from the normal ones of their category added before."""
        if image.defective and counts.defective is not None:
            weights = self._pimo_weights(image.category)
            if weights is not None:
                image.aupimo = aupimo(weights, counts.defective[::-1])
        self.images[image.id] = image
        self.groups.setdefault(image.group, PixelCounts(self.bins)).add(counts)

    @property
    def outcomes(self) -> dict[str, str]:
        """``TP``, ``FP``, ``FN`` or ``TN`` of each evaluated sample, by id."""
        return {id: image.outcome for id, image in self.images.items()}

    @property
    def categories(self) -> list[str]:
        """Names of the categories, empty if the samples have none."""
        return sorted({category for category, _ in self.groups if category})

    @property
    def defects(self) -> list[str]:
        """Names of the kinds of defects."""
        return sorted({defect for _, defect in self.groups if defect != GOOD})

    def metrics(self, defect: str | None = None, category: str | None = None) -> dict[str, float | int | None]:
        """Compute the metrics.

        Args:
            defect (None): one of ``defects`` against all normal images, instead of all kinds
            category (None): one of ``categories`` only

        Returns:
            a dict of figures in [0, 1], None where one does not exist because a class is absent:

            - ``image_auroc``, ``image_ap``, ``image_f1max``: of images by their scores; a normal image has no or an
              empty mask
            - ``pixel_auroc``, ``pixel_ap``, ``pixel_f1max``: of the pixels of all images, at image size
            - ``aupro_30``, ``aupro_05``: area under the per-region overlap up to a false-positive rate of 0.3 and 0.05,
              divided by that rate (Bergmann et al., IJCV 2021)
            - ``aupimo``: mean over the defective images of their pixel recall at false-positive rates from 1e-5 to 1e-4
              of normal images (Bertoldo et al., BMVC 2024)
            - ``precision``, ``recall``, ``fpr``, ``image_f1``: of images at the run's own threshold
            - ``pixel_f1``: of the pixels of the run's own masks
            - ``region_precision``, ``region_recall``, ``region_f1``: of the regions of the run's own masks, see
              ``segments.regions``
            - ``n_normal``, ``n_anomalous``: numbers of images

            ``image_f1max`` and ``pixel_f1max`` are at their best thresholds, which have seen the truth

        Raises:
            ValueError: if there is no such kind of defect or category
        """
        images, counts = self._chosen(defect, category)
        by_score, pixels, by_region = self._image_counts(images), counts.pixels(), counts.by_region()
        own = sum((_confusion(image) for image in images), Confusion())
        masks = sum((image.pixels for image in images), Confusion())
        regions = sum((count for image in images for count in image.regions.values()), _NO_REGIONS)
        pimo = [image.aupimo for image in images if image.aupimo is not None]
        return {
            "image_auroc": curves.auroc(by_score),
            "image_ap": _if_both(by_score, curves.average_precision),
            "image_f1max": _if_both(by_score, _f1_max),
            "pixel_auroc": curves.auroc(pixels),
            "pixel_ap": _if_both(pixels, curves.average_precision),
            "pixel_f1max": _if_both(pixels, _f1_max),
            "aupro_30": curves.partial_area(by_region, 0.3),
            "aupro_05": curves.partial_area(by_region, 0.05),
            "aupimo": float(np.mean(pimo)) if pimo else None,
            "precision": own.precision,
            "recall": own.recall,
            "fpr": own.fpr,
            "image_f1": own.f1,
            "pixel_f1": masks.f1,
            "region_precision": regions.precision,
            "region_recall": regions.recall,
            "region_f1": regions.f1,
            "n_normal": own.fp + own.tn,
            "n_anomalous": own.tp + own.fn,
        }

    def intervals(self, draws: int = bootstrap.DRAWS, seed: int = 0) -> dict[str, tuple[float, float]]:
        """95 % bootstrap intervals of ``INTERVAL_NAMES``; empty where a class is absent.

        Pixel AUROC and AUPRO are taken from some hundred thresholds, which moves the bounds by about .001.

        Args:
            draws (1000): number of draws, 1 or more
            seed (0): seed of the draws

        Returns:
            lower and upper end in [0, 1] by name

        Raises:
            ValueError: if ``draws`` is no such number
        """
        drawn = self.bootstrap(draws, seed)
        return {name: bootstrap.interval(values) for name, values in drawn.items()}

    def bootstrap(self, draws: int = bootstrap.DRAWS, seed: int = 0) -> dict[str, NDArray[np.float64]]:
        """The values ``[draws]`` that ``intervals`` is made of; the same draws for the same images and seed."""
        return bootstrap.draw_figures([self.images[id] for id in sorted(self.images)], draws, seed)

    def regions(self) -> list[dict[str, Any]]:
        """Compare regions of the run's masks with those of the ground truth, by size.

        Returns:
            a row for each of ``SIZES`` and for ``all``, with ``size``; numbers of
            regions of the ground truth by their own size, ``found`` and ``missed``; numbers of predicted regions by
            theirs, ``true`` and ``false``; and ``precision``, ``recall`` and ``f1`` in [0, 1], None where one does not
            exist
        """
        by_size = {
            size: sum((image.regions.get(size, _NO_REGIONS) for image in self.images.values()), _NO_REGIONS)
            for size in SIZES
        }
        by_size["all"] = sum(by_size.values(), _NO_REGIONS)
        return [
            {
                "size": size,
                **vars(counts),
                "precision": counts.precision,
                "recall": counts.recall,
                "f1": counts.f1,
            }
            for size, counts in by_size.items()
        ]

    def rows(self) -> list[dict[str, Any]]:
        """The metrics as rows: each kind of defect of each category, each category, their mean, and all together."""
        rows = []
        categories: list[str | None] = [*self.categories] or [None]
        totals = []
        for category in categories:
            for defect in self.defects:
                if (category or "", defect) in self.groups:
                    rows.append({"category": category or "", "defect": defect, **self.metrics(defect, category)})
            if category is not None and len(categories) > 1:
                totals.append({"category": category, "defect": "all", **self.metrics(category=category)})
                rows.append(totals[-1])
        if totals:
            rows.append({"category": "mean", "defect": "all", **_mean(totals)})
        rows.append({"category": "all", "defect": "all", **self.metrics()})
        return rows

    def missing(self) -> list[str]:
        """Names of the metrics that do not exist for these samples."""
        return [name for name, value in self.metrics().items() if value is None]

    def curve(self, name: str, category: str | None = None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The points of a curve.

        Args:
            name: ``roc`` (images), ``pixel_roc``, ``pro`` (per-region overlap), all over the false-positive rate; or
                ``pr`` (precision over recall, images)
            category (None): one of ``categories`` only

        Returns:
            x and y, float arrays ``[k]`` in [0, 1]; empty if a class is absent

        Raises:
            ValueError: if there is no such curve or category
        """
        images, pixels = self._chosen(None, category)
        counts_of: dict[str, Callable[[], ScoreCounts]] = {
            "roc": lambda: self._image_counts(images),
            "pr": lambda: self._image_counts(images),
            "pixel_roc": pixels.pixels,
            "pro": pixels.by_region,
        }
        if name not in counts_of:
            raise ValueError(f"There is no curve {name!r}; there are {list(counts_of)}")
        counts = counts_of[name]()
        if not counts.both_classes:
            return np.zeros(0), np.zeros(0)
        if name == "pr":
            return counts.rates()[1][1:], curves.precision_of(counts)
        return counts.rates()

    def ids(self, outcome: str) -> list[str]:
        """Ids of the images with an outcome; the most anomalous first if they were flagged or are defective.

        Args:
            outcome: ``TP``, ``FP``, ``FN`` or ``TN``

        Raises:
            ValueError: if it is none of these
        """
        if outcome not in OUTCOMES:
            raise ValueError(f"There is no outcome {outcome!r}; use one of {list(OUTCOMES)}")
        chosen = [image for image in self.images.values() if image.outcome == outcome]
        return [image.id for image in sorted(chosen, key=lambda image: -image.score)]

    def report(self, intervals: bool = True) -> str:
        """The metrics per kind of defect and category as text tables, with what a reader should know.

        Args:
            intervals (True): whether to add the bootstrap intervals, which take a moment
        """
        from ..visualization.text import text_report

        return text_report(self, intervals)

    def plot_curves(self) -> go.Figure:
        """Image ROC, overlap of regions (PRO) and precision over recall, as a plotly figure."""
        from ..visualization import plots

        return plots.curves(self)

    def plot_scores(self) -> go.Figure:
        """Histogram of the image scores by ground truth with the threshold, as a plotly figure."""
        from ..visualization import plots

        return plots.scores(self)

    def plot_defects(self) -> go.Figure:
        """Recall, image AUROC and AUPRO of each kind of defect, as a plotly figure."""
        from ..visualization import plots

        return plots.defects(self)

    def plot_worst(self, outcome: str = "FP", max_images: int = 12) -> go.Figure:
        """The worst false alarms or misses with their maps and masks, as a plotly figure.

        Args:
            outcome ("FP"): ``FP``, normal images that were flagged, highest score first; or ``FN``, defective ones
                that were not, largest defect first
            max_images (12): images at most

        Returns:
            a figure whose points have the samples' ids as ``customdata``

        Raises:
            ValueError: if ``outcome`` is neither, or ``max_images`` is no number of images
        """
        from ..visualization.gallery import gallery

        return gallery(self, outcome, max_images)

    def save_report(self, path: str | Path, max_images: int = 12) -> Path:
        """Save all of this as one HTML file for people without FiftyOne; it needs no network and no other file.

        Args:
            path: the file, e.g. ``"report.html"``; one that exists is replaced
            max_images (12): pictures at most of false alarms (highest score first), and of misses (largest defect
                first); 0 for a report that holds no images

        Returns:
            the path

        Raises:
            FileNotFoundError: if the folder of the file does not exist
            ValueError: if ``path`` is a folder, or ``max_images`` is no number of images
        """
        from ..visualization.report import save_report

        return save_report(self, path, max_images)

    def __str__(self) -> str:
        return self.report()

    def _chosen(self, defect: str | None, category: str | None) -> tuple[list[ImageResult], PixelCounts]:
        for name, value, known in (("defect", defect, self.defects), ("category", category, self.categories)):
            if value is not None and value not in known:
                raise ValueError(f"{name}={value!r} is not among the evaluated images; there are {known}")

        def fits(group: tuple[str, str]) -> bool:
            return category in (None, group[0]) and (group[1] == GOOD or defect in (None, group[1]))

        images = [image for image in self.images.values() if fits(image.group)]
        if defect is None and category is None:
            return images, self._total
        return images, PixelCounts.merge(self.bins, [each for group, each in self.groups.items() if fits(group)])

    @property
    def _total(self) -> PixelCounts:
        return PixelCounts.merge(self.bins, self.groups.values())

    def _image_counts(self, images: Iterable[ImageResult]) -> ScoreCounts:
        pairs = [(image.score, image.defective) for image in images]
        return count_scores([score for score, _ in pairs], [defective for _, defective in pairs])

    def _pimo_weights(self, category: str) -> NDArray[np.float64] | None:
        if category not in self._pimo:
            normal = self.groups.get((category, GOOD))
            self._pimo[category] = pimo_weights(normal.normal[::-1]) if normal is not None else None
        return self._pimo[category]

    @cached_property
    def _pimo(self) -> dict[str, NDArray[np.float64] | None]:
        return {}


def resolution_warning(results: AnomalyResults) -> str | None:
    """Says if the normal images have too few pixels for AUPIMO's false-positive rates."""
    normal = sum(float(counts.normal.sum()) for (_, defect), counts in results.groups.items() if defect == GOOD)
    if 0 < normal < 1 / BOUNDS[0]:
        return f"aupimo is coarse: the normal images have {normal:.0f} pixels, a rate of 1e-5 needs 100,000"
    return None


def _mean(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over categories of what exists, as papers give it; sums of the numbers of images."""
    means: dict[str, Any] = {}
    for name in METRIC_NAMES:
        values = [row[name] for row in rows if row[name] is not None]
        total = sum if name.startswith("n_") else np.mean
        means[name] = total(values) if values else None
        if isinstance(means[name], np.floating):
            means[name] = float(means[name])
    return means


def _confusion(image: ImageResult) -> Confusion:
    return Confusion(**{image.outcome.lower(): 1})


def _f1_max(counts: ScoreCounts) -> float | None:
    found = curves.f1_max(counts)
    return found[0] if found else None


def _if_both(counts: ScoreCounts, metric: Callable[[ScoreCounts], float | None]) -> float | None:
    return metric(counts) if counts.both_classes else None
