"""Plotly data and layouts of the panel, as plain values."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...metrics.curves import AUPRO_LIMITS
from ...review.score_table import ScoreTable
from ...review.triage import Overlap
from ...visualization import palette, traces
from ...visualization.text import format_metric
from ...visualization.traces import Trace

_LONGEST_NAME = 24


def histogram(table: ScoreTable) -> list[Trace]:
    """Count images by score and truth."""
    return traces.score_bars(*table.histogram())


def histogram_layout(span: tuple[float, float], threshold: float) -> dict[str, Any]:
    """Lay ``histogram`` out, with the threshold as a line."""
    low, high = span
    margin = max(high - low, 1e-6) * 0.03
    return {
        **_layout("anomaly score", "images"),
        "barmode": "stack",
        "bargap": 0.05,
        "xaxis": {"title": {"text": "anomaly score"}, "range": [low - margin, high + margin]},
        "shapes": [traces.vertical_line(threshold, width=3)],
    }


def roc(table: ScoreTable, threshold: float) -> list[Trace]:
    """Draw recall over the false-alarm rate, with the threshold as a point; nothing without truth of both kinds.

    The ids of the points are their thresholds.
    """
    rates = table.rates()
    if rates is None:
        return []
    thresholds, fpr, recall, _ = rates
    now = table.confusion(threshold)
    return _rate_curve(thresholds, fpr, recall, (now.fpr, now.recall))


def precision_recall(table: ScoreTable, threshold: float) -> list[Trace]:
    """Draw precision over recall as ``roc`` draws its rates."""
    rates = table.rates()
    if rates is None:
        return []
    thresholds, _, recall, precision = rates
    now = table.confusion(threshold)
    return _rate_curve(thresholds, recall, precision, (now.recall, now.precision))


def overlap(evaluated: Overlap) -> list[Trace]:
    """Draw the overlap of regions over the false-positive rate of pixels."""
    return [traces.curve(evaluated.fpr, evaluated.overlap, name="overlap", fill="tozeroy")]


def overlap_layout() -> dict[str, Any]:
    """Lay ``overlap`` out up to the limit of AUPRO, with the stricter limit as a line."""
    limit, strict = AUPRO_LIMITS
    layout = curve_layout("false-positive rate of pixels", "overlap of regions")
    layout["xaxis"]["range"] = [0, limit]
    layout["shapes"] = [traces.vertical_line(strict, width=1, dash="dot")]
    return layout


def overlap_title(evaluated: Overlap) -> str:
    """Say in Markdown what ``overlap`` shows."""
    wide, strict = AUPRO_LIMITS
    areas = [format_metric(evaluated.metrics[name]) for name in ("aupro_30", "aupro_05")]
    return (
        f"Overlap of regions (PRO) in evaluation **{evaluated.eval_key}**: "
        f"AUPRO {areas[0]} up to {wide}, {areas[1]} up to {strict}."
    )


def defect_bars(table: ScoreTable, threshold: float) -> list[Trace]:
    """Draw the recall of each kind of defect; the ids of the bars are its names."""
    rows = table.by_defect(threshold)
    bars = traces.kind_bars(
        [row["recall"] for row in rows],
        [f"{row['flagged']} of {row['images']}" for row in rows],
        ids=[row["defect"] for row in rows],
        hoverinfo="text",
        marker={"color": palette.ANOMALOUS},
    )
    return [bars]


def defect_bars_layout(table: ScoreTable, threshold: float) -> dict[str, Any]:
    """Lay ``defect_bars`` out, with names that are cut."""
    names = [traces.short_html(str(row["defect"]), _LONGEST_NAME) for row in table.by_defect(threshold)]
    layout = _layout("recall", "")
    layout["xaxis"]["range"] = [0, 1.03]
    return {**layout, "yaxis": traces.kind_axis(names), "showlegend": False}


def defect_rows(table: ScoreTable, threshold: float) -> list[dict[str, Any]]:
    """Format the rows of the table of kinds of defects."""
    return [
        {**row, "recall": f"{row['recall']:.2f}", "auroc": format_metric(row["auroc"])}
        for row in table.by_defect(threshold)
    ]


def curve_layout(x: str, y: str) -> dict[str, Any]:
    """Lay a curve of two rates out."""
    layout = _layout(x, y)
    for axis in ("xaxis", "yaxis"):
        layout[axis]["range"] = [-0.03, 1.03]
    return {**layout, "showlegend": False}


def segments(points: NDArray[np.float64], ids: list[str], scores: list[float]) -> list[Trace]:
    """Draw segments as points ``[n, 2]``, coloured by their score."""
    marker = {"size": 6, "color": scores, "colorscale": "Viridis", "showscale": True, "colorbar": {"thickness": 10}}
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "name": "score",
            "x": points[:, 0].tolist(),
            "y": points[:, 1].tolist(),
            "ids": ids,
            "text": [f"score {score:.3g}" for score in scores],
            "hoverinfo": "text",
            "marker": marker,
        }
    ]


def segments_layout() -> dict[str, Any]:
    """Lay ``segments`` out: their distances mean something, their coordinates do not."""
    hidden = {"showticklabels": False, "zeroline": False}
    return {**_layout("", ""), "xaxis": hidden, "yaxis": hidden, "dragmode": "lasso", "showlegend": False}


def _rate_curve(
    thresholds: NDArray[np.float64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    now: tuple[float | None, float | None],
) -> list[Trace]:
    line = traces.curve(
        x,
        y,
        name="curve",
        mode="lines+markers",
        ids=[repr(float(value)) for value in thresholds],
        text=[f"threshold {value:.4g}" for value in thresholds],
        marker={"size": 5},
    )
    if now[0] is None or now[1] is None:
        return [line]
    return [line, traces.threshold_point(now[0], now[1])]


def _layout(x: str, y: str) -> dict[str, Any]:
    return {
        "margin": {"l": 45, "r": 10, "t": 10, "b": 40},
        "xaxis": {"title": {"text": x}},
        "yaxis": {"title": {"text": y}},
        "showlegend": True,
        "legend": {"orientation": "h", "x": 0, "y": 1.15},
    }
