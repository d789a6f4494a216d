"""``AnomalyResults``: what an evaluation measured of each image, and every figure, table and picture made of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..data.truth import GOOD
from ..metrics import bootstrap
from ..metrics.bounds import CONFIDENCE
from ..metrics.curves import ScoreCounts, count_scores
from ..metrics.image_result import ImageResult
from ..metrics.pimo import aupimo, pimo_weights
from ..metrics.pixels import Bins, PixelCounts
from ..metrics.summary import Metrics, all_metrics, mean_metrics, region_rows

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from fiftyone.core.collections import SampleCollection as Samples

    from ..registry.run import Run
    from .parts import PartResults

OUTCOMES = ("TP", "FP", "FN", "TN")


@dataclass
class AnomalyResults:
    """The results of ``evaluate_anomalies``.

    Attributes:
        key: the run's key
        threshold: the run's image threshold
        threshold_rule: the rule it follows
        gt_field: the field of the ground truth
        bins: bins of the pixel scores
        images: what was measured of each evaluated sample, by id
        groups: counts of pixels by category and kind of defect
        excluded: ``{"id", "reason"}`` of the samples that could not be evaluated
        warnings: what a reader of the figures should know
        samples: the samples that were evaluated, for pictures of them; None in results made by hand
        run: the run, as it was then; None in results made by hand
        parts: the same of the parts that the samples show; None if nothing was decided on them

    Examples:
        >>> results = segad.evaluate_anomalies(dataset, "segad")  # doctest: +SKIP
        >>> print(results)  # a table per category and kind of defect  # doctest: +SKIP
        >>> results.metrics()["aupro_30"], results.metrics(defect="crack")["recall"]  # doctest: +SKIP
        >>> results.save_report("report.html")  # doctest: +SKIP
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
    parts: PartResults | None = field(default=None, repr=False, compare=False)
    _pimo_weights: dict[str, NDArray[np.float64]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def add(self, image: ImageResult, counts: PixelCounts) -> None:
        """Add an image. Defective ones get their AUPIMO from the normal ones of their category added before."""
        if image.defective and counts.defective is not None:
            weights = self._pimo_weights_of(image.category)
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

    def metrics(self, defect: str | None = None, category: str | None = None) -> Metrics:
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
        return all_metrics(*self._select(defect, category))

    def intervals(self, draws: int = bootstrap.DRAWS, seed: int = 0) -> dict[str, tuple[float, float]]:
        """Compute 95 % bootstrap intervals of ``INTERVAL_NAMES``; none where a class is absent.

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
        """Compute the values ``[draws]`` that ``intervals`` is made of; the same ones for the same images and seed."""
        return bootstrap.draw_figures([self.images[id] for id in sorted(self.images)], draws, seed)

    def regions(self) -> list[dict[str, Any]]:
        """Compare regions of the run's masks with those of the ground truth, by size.

        Returns:
            a row for each of ``SIZES`` and for ``all``, with ``size``; numbers of
            regions of the ground truth by their own size, ``found`` and ``missed``; numbers of predicted regions by
            theirs, ``true`` and ``false``; and ``precision``, ``recall`` and ``f1`` in [0, 1], None where one does not
            exist
        """
        return region_rows(self.images.values())

    def rows(self) -> list[dict[str, Any]]:
        """Compute the metrics of each kind of defect of each category, each category, their mean, and all together."""
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
            rows.append({"category": "mean", "defect": "all", **mean_metrics(totals)})
        rows.append({"category": "all", "defect": "all", **self.metrics()})
        return rows

    def bounds(self, by: str | None = None, confidence: float = CONFIDENCE) -> list[dict[str, Any]]:
        """Bound the shares of defects that are missed and of good images that raise an alarm, at the run's threshold.

        Each bound is that of Clopper and Pearson, and holds by itself: of all images of which those at hand are a
        random sample, no larger share is judged wrongly, with this confidence.

        Args:
            by (None): a field of the samples, such as one of products or lines, whose values are told apart instead
                of kinds of defects; ``"view"`` for the views of a grouped dataset, ``"zone"`` for the zone that decided
            confidence (0.95): chance with which a bound holds

        Returns:
            a row for each kind of defect of each category, for all defects together, and for the good images: with
            ``group``, ``outcome`` (``missed`` or ``false alarms``), the numbers ``images`` and ``wrong``, ``share``,
            and ``at_most``

        Raises:
            ValueError: if there is no such field

        Examples:
            >>> results.bounds()[-2]["at_most"]  # of the defects are missed, 95 %  # doctest: +SKIP
            0.021
        """
        from .bounds import bounds

        return bounds(self, by, confidence)

    def missing(self) -> list[str]:
        """Name the metrics that do not exist for these samples."""
        return [name for name, value in self.metrics().items() if value is None]

    def curve(self, name: str, category: str | None = None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Compute the points of a curve.

        Args:
            name: ``roc`` (images), ``pixel_roc``, ``pro`` (per-region overlap), all over the false-positive rate; or
                ``pr`` (precision over recall, images)
            category (None): one of ``categories`` only

        Returns:
            x and y, float arrays ``[k]`` in [0, 1]; empty if a class is absent

        Raises:
            ValueError: if there is no such curve or category
        """
        images, pixels = self._select(None, category)

        def by_image() -> ScoreCounts:
            return count_scores([image.score for image in images], [image.defective for image in images])

        counts_of: dict[str, Callable[[], ScoreCounts]] = {
            "roc": by_image,
            "pr": by_image,
            "pixel_roc": pixels.pixels,
            "pro": pixels.by_region,
        }
        if name not in counts_of:
            raise ValueError(f"There is no curve {name!r}; there are {list(counts_of)}")
        counts = counts_of[name]()
        if not counts.both_classes:
            return np.zeros(0), np.zeros(0)
        if name == "pr":
            _, recall = counts.rates()
            return recall[1:], counts.precision()  # flagging nothing has no precision
        return counts.rates()

    def ids(self, outcome: str) -> list[str]:
        """Return the ids of the images with an outcome, the highest score first.

        Args:
            outcome: ``TP``, ``FP``, ``FN`` or ``TN``

        Raises:
            ValueError: if it is none of these
        """
        if outcome not in OUTCOMES:
            raise ValueError(f"There is no outcome {outcome!r}; use one of {list(OUTCOMES)}")
        images = [image for image in self.images.values() if image.outcome == outcome]
        return [image.id for image in sorted(images, key=lambda image: -image.score)]

    def report(self, intervals: bool = True) -> str:
        """Write the metrics per kind of defect and category as text tables, with what a reader should know.

        Args:
            intervals (True): whether to add the bootstrap intervals, which take a moment
        """
        from ..visualization.text import text_report

        return text_report(self, intervals)

    def plot_curves(self) -> go.Figure:
        """Plot image ROC, overlap of regions (PRO) and precision over recall, as a plotly figure."""
        from ..visualization import plots

        return plots.curves(self)

    def plot_scores(self) -> go.Figure:
        """Plot the histogram of the image scores by ground truth with the threshold, as a plotly figure."""
        from ..visualization import plots

        return plots.scores(self)

    def plot_defects(self) -> go.Figure:
        """Plot recall, image AUROC and AUPRO of each kind of defect, as a plotly figure."""
        from ..visualization import plots

        return plots.defects(self)

    def plot_worst(self, outcome: str = "FP", max_images: int = 12) -> go.Figure:
        """Plot the worst false alarms or misses with their maps and masks, as a plotly figure.

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

    def save_report(self, path: str | Path, max_images: int = 12, by: str | None = None) -> Path:
        """Save all of this as one HTML file for people without FiftyOne; it needs no network and no other file.

        Args:
            path: the file, e.g. ``"report.html"``; one that exists is replaced
            max_images (12): pictures at most of false alarms (highest score first), and of misses (largest defect
                first); 0 for a report that holds no images
            by (None): a field by whose values misses and false alarms are bounded, too, as by ``bounds``

        Returns:
            the path

        Raises:
            FileNotFoundError: if the folder of the file does not exist
            ValueError: if ``path`` is a folder, ``max_images`` is no number of images, or there is no such field
        """
        from ..visualization.report import save_report

        return save_report(self, path, max_images, by)

    def __str__(self) -> str:
        return self.report()

    def _select(self, defect: str | None, category: str | None) -> tuple[list[ImageResult], PixelCounts]:
        """Return the images and pixels of a kind of defect and all that is normal, or of a category, or both."""
        for parameter, value, names in (("defect", defect, self.defects), ("category", category, self.categories)):
            if value is not None and value not in names:
                raise ValueError(f"{parameter}={value!r} is not among the evaluated images; there are {names}")

        def fits(group: tuple[str, str]) -> bool:
            return category in (None, group[0]) and (group[1] == GOOD or defect in (None, group[1]))

        images = [image for image in self.images.values() if fits(image.group)]
        return images, PixelCounts.merge(self.bins, [counts for group, counts in self.groups.items() if fits(group)])

    def _pimo_weights_of(self, category: str) -> NDArray[np.float64] | None:
        """Return the weights of the normal pixels of a category, None if it has no normal images."""
        if category not in self._pimo_weights and (category, GOOD) in self.groups:
            self._pimo_weights[category] = pimo_weights(self.groups[category, GOOD].normal[::-1])
        return self._pimo_weights.get(category)
