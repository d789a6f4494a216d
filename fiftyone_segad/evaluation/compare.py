"""``compare_runs``: runs against each other, on the same images and ground truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import fiftyone as fo
import numpy as np
from fiftyone.core.collections import SampleCollection as Samples
from tabulate import tabulate

from ..data.truth import GT_FIELD
from ..errors import RunError
from ..metrics import bootstrap
from ..metrics.names import METRIC_NAMES
from ..registry.run import Run, load_record
from ..registry.samples import all_slices, check_collection
from ..utils.text import pluralize
from ..visualization.text import format_metric
from .evaluate import evaluate_anomalies
from .results import AnomalyResults

FIXED, BROKEN = "fixed", "broken"


@dataclass(frozen=True)
class Difference:
    """By how much a metric of one run exceeds that of another, with what the choice of images leaves open.

    Attributes:
        value: difference on the images given
        low: lower end of its 95 % interval
        high: upper end
        p: two-sided bootstrap p-value of there being no difference
    """

    value: float
    low: float
    high: float
    p: float


@dataclass
class RunComparison:
    """The runs that ``compare_runs`` compared.

    Attributes:
        samples: the samples that all runs were evaluated on
        results: the evaluation of each run, by key
        left_out: number of samples that not all runs scored
    """

    samples: Samples
    results: dict[str, AnomalyResults]
    left_out: int

    def rows(self) -> list[dict[str, Any]]:
        """Return the metrics of each run, as ``{"run": key, "image_auroc": ..., ...}``."""
        return [{"run": key, **results.metrics()} for key, results in self.results.items()]

    def differences(self, run: str | None = None, baseline: str | None = None) -> dict[str, list[str]]:
        """Find the images on which two runs decide differently at their own thresholds.

        Args:
            run (None): key of a run; by default the second
            baseline (None): key of the run that it is compared with; by default the first

        Returns:
            ids of the samples that ``run`` has right and ``baseline`` wrong (``fixed``), and the reverse (``broken``),
            the highest scores of ``run`` first

        Raises:
            ValueError: if a key is not among those compared
        """
        run, baseline = self._pair(run, baseline)
        ours, theirs = self.results[run].images, self.results[baseline].images
        ids = sorted(ours, key=lambda id: -ours[id].score)
        right = {id: ours[id].outcome[0] == "T" for id in ids}
        before = {id: theirs[id].outcome[0] == "T" for id in ids}
        return {
            FIXED: [id for id in ids if right[id] and not before[id]],
            BROKEN: [id for id in ids if before[id] and not right[id]],
        }

    def view(self, kind: str, run: str | None = None, baseline: str | None = None) -> fo.DatasetView:
        """Return the samples that ``differences`` names, as a view.

        Args:
            kind: ``fixed`` or ``broken``
            run (None): key of a run; by default the second
            baseline (None): key of the run that it is compared with; by default the first

        Raises:
            ValueError: if the kind is another one, or a key is not among those compared
        """
        if kind not in (FIXED, BROKEN):
            raise ValueError(f"kind={kind!r} must be '{FIXED}' or '{BROKEN}'")
        return self.samples.select(self.differences(run, baseline)[kind], ordered=True)

    def paired_bootstrap(
        self, run: str | None = None, baseline: str | None = None, draws: int = bootstrap.DRAWS, seed: int = 0
    ) -> dict[str, Difference]:
        """Test whether one run is really better: both are measured on the same draws of images.

        The interval of the difference is narrower than those of the two runs suggest, since an image that is hard is
        hard for both (Efron and Tibshirani, 1993). It speaks of other images of this kind, not of other products.

        Args:
            run (None): key of a run; by default the second
            baseline (None): key of the run that it is compared with; by default the first
            draws (1000): number of draws
            seed (0): seed of the draws

        Returns:
            the difference ``run - baseline`` of each metric that has intervals; empty if a class is absent

        Raises:
            ValueError: if a key is not among those compared
        """
        run, baseline = self._pair(run, baseline)
        ours, theirs = (self.results[key].bootstrap(draws, seed) for key in (run, baseline))
        after, before = (self.results[key].metrics() for key in (run, baseline))
        differences = {}
        for name in ours:
            drawn = ours[name] - theirs[name]  # of the same draws of images, [B]
            # Twice the smaller share of draws on one side of 0, the observed sample counted as one of them
            tail = min(np.count_nonzero(drawn <= 0), np.count_nonzero(drawn >= 0))
            p = min(1.0, 2 * (1 + tail) / (draws + 1))
            value = float(after[name] or 0) - float(before[name] or 0)
            differences[name] = Difference(value, *bootstrap.interval(drawn), p)
        return differences

    def table(self, draws: int = bootstrap.DRAWS) -> str:
        """Write the metrics of all runs, and how each differs from the first, as text tables."""
        keys = list(self.results)
        rows = self.rows()
        body = [[name, *(format_metric(row[name]) for row in rows)] for name in METRIC_NAMES]
        lines = [tabulate(body, ["", *keys], disable_numparse=True, stralign="right")]
        for key in keys[1:]:
            changed = self.differences(key, keys[0])
            lines += ["", f"'{key}' against '{keys[0]}': {len(changed[FIXED])} fixed, {len(changed[BROKEN])} broken"]
            differences = self.paired_bootstrap(key, keys[0], draws)
            body = [
                [name, f"{d.value:+.3f}", f"[{d.low:+.3f}, {d.high:+.3f}]", f"{d.p:.3f}"]
                for name, d in differences.items()
            ]
            if body:
                lines.append(tabulate(body, ["", "difference", "95 % interval", "p"], disable_numparse=True))
        if self.left_out:
            left_out = pluralize(self.left_out, "sample was", "samples were")
            lines += ["", f"{left_out} left out, which not all of the runs scored"]
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.table()

    def _pair(self, run: str | None, baseline: str | None) -> tuple[str, str]:
        keys = list(self.results)
        pair = (keys[1] if run is None else run, keys[0] if baseline is None else baseline)
        for key in pair:
            if key not in self.results:
                raise ValueError(f"Run '{key}' was not compared; those are {keys}")
        return pair


def compare_runs(
    samples: Samples,
    keys: Sequence[str],
    gt_field: str = GT_FIELD,
    progress: bool | Callable[[Any], None] | None = None,
) -> RunComparison:
    """Compare runs on the images that all of them scored.

    Args:
        samples: the samples to evaluate
        keys: keys of at least two runs; the first is the baseline
        gt_field ("defect_mask"): field of the ground truth, as for
            ``evaluate_anomalies``
        progress (None): whether to show progress bars, or a function that gets them

    Returns:
        ``RunComparison``; nothing is written to the dataset

    Raises:
        ValueError: if there are fewer than two keys or a run does not exist, before any work
        RunError: if no sample was scored by all of the runs

    Examples:
        >>> comparison = segad.compare_runs(dataset, ["segad", "segad_large"])  # doctest: +SKIP
        >>> print(comparison)  # doctest: +SKIP
        >>> comparison.view("broken")  # what the second run gets wrong, and the first did not  # doctest: +SKIP
    """
    if isinstance(keys, str) or len(keys) < 2 or len(set(keys)) < len(keys):
        raise ValueError(f"keys={keys!r} must name at least two different runs")
    check_collection(samples, "samples")
    ids = set(samples.values("id"))
    common = ids.intersection(*(_scored(samples, load_record(samples, key)) for key in keys))
    if not common:
        raise RunError(f"No sample was scored by all of the runs {list(keys)}; compute them on the same samples")
    compared = samples if len(common) == len(ids) else samples.select(common)
    results = {key: evaluate_anomalies(compared, key, gt_field, progress=progress) for key in keys}
    return RunComparison(compared, results, len(ids) - len(common))


def _scored(samples: Samples, run: Run) -> set[str]:
    if run.store.exists():
        return run.store.scores.ids()
    return set(all_slices(samples).exists(run.field("score")).values("id"))
