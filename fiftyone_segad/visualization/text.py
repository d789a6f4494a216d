"""The report of an evaluation as text, and how figures are shown in every report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tabulate import tabulate

from ..metrics.image_result import ImageResult
from ..metrics.names import METRIC_NAMES
from ..scoring.thresholds import threshold_text

if TYPE_CHECKING:
    from ..evaluation.results import AnomalyResults


def text_report(results: AnomalyResults, intervals: bool = True) -> str:
    """Write the metrics per kind of defect and category as text tables, with what a reader should know.

    Args:
        results: the evaluation
        intervals (True): whether to add the bootstrap intervals, which take a moment
    """
    rows = results.rows()
    total = rows[-1]
    columns = ["category"] * (len(results.categories) > 0) + ["defect", "n_normal", "n_anomalous"]
    columns += [name for name in METRIC_NAMES if not name.startswith(("n_", "region_"))]
    lines = [text_table(rows, columns)]
    threshold = threshold_text(results.threshold, results.threshold_rule)
    lines.append(
        f"precision, recall, fpr and image_f1 are of images with a score above {threshold}, pixel_f1 of the run's "
        "masks; f1max is at the best threshold, which has seen the truth."
    )
    if any(count.regions for count in results.groups.values()) or any(map(_has_mask, results.images.values())):
        lines += ["", "Regions by size (area up to 32 x 32, up to 96 x 96, larger):"]
        columns = ["size", "found", "missed", "true", "false", "precision", "recall", "f1"]
        lines.append(text_table(results.regions(), columns))
    bounds = results.intervals() if intervals else {}
    if bounds:
        texts = [f"{name} {total[name]:.3f} [{low:.3f}, {high:.3f}]" for name, (low, high) in bounds.items()]
        lines.append("95 % bootstrap intervals over the images: " + ", ".join(texts))
    if missing := [name for name in METRIC_NAMES if total[name] is None]:
        lines.append(f"Not defined here ({why_missing(total)}): {', '.join(missing)}.")
    if results.parts is not None:
        lines += ["", results.parts.report(), ""]
    lines += [f"Warning: {warning}" for warning in results.warnings]
    return "\n".join(lines)


def why_missing(metrics: Mapping[str, Any]) -> str:
    """Say why some of these metrics are None; empty if none is."""
    reasons = {
        "no defective images": not metrics["n_anomalous"],
        "no normal images": not metrics["n_normal"],
        "no image is flagged": metrics["precision"] is None,
        "no region is predicted": metrics["region_precision"] is None,
        "no normal images of the defective ones' category": metrics["aupimo"] is None
        and metrics["pixel_auroc"] is not None,
        "nothing is known of pixels": metrics["pixel_auroc"] is None and metrics["image_auroc"] is not None,
    }
    return ", ".join(reason for reason, holds in reasons.items() if holds)


def format_metric(value: Any) -> str:
    """Format a metric for a table; one that does not exist is a dash.

    >>> format_metric(0.91251), format_metric(12), format_metric(None)
    ('0.913', '12', '-')
    """
    return "-" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


def text_table(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Write figures as a table, with a column for each name."""
    titles = [name.removeprefix("n_").replace("_", "\n") for name in columns]
    body = [[format_metric(row[name]) for name in columns] for row in rows]
    return tabulate(body, titles, disable_numparse=True, stralign="right")


def _has_mask(image: ImageResult) -> bool:
    return image.pixels.tp + image.pixels.fp > 0
