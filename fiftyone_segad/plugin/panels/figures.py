"""Plotly data and layouts of the panel, as plain values."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...metrics.curves import AUPRO_LIMITS
from ...review.score_table import ScoreTable
from ...review.triage import Overlap
from ...utils.drawing import jpeg_url
from ...visualization import palette, traces
from ...visualization.segment_plot import Points
from ...visualization.text import format_metric
from ...visualization.traces import Trace

PLOT_CONFIG = {"displayModeBar": False, "scrollZoom": False}
"""Without it, who scrolls the panel would zoom the plots under the mouse."""

_LONGEST_NAME = 24

_POINT, _LARGE_POINT = 6, 12
"""Diameters in pixels."""

_SELECTED_MARKER = {"size": 12, "color": palette.SELECTED, "symbol": "diamond"}


def histogram(table: ScoreTable) -> list[Trace]:
    """Count images by score and truth."""
    return traces.score_bars(*table.histogram())


def histogram_layout(span: tuple[float, float], threshold: float, selected: float | None = None) -> dict[str, Any]:
    """Lay ``histogram`` out from end to end of the slider, with the threshold and a selected score as lines."""
    layout = _layout("anomaly score", "images")
    layout["xaxis"]["range"] = [span[0], max(span[1], span[0] + 1e-6)]
    layout |= {"barmode": "stack", "bargap": 0.05, "shapes": [traces.vertical_line(threshold, width=3)]}
    if selected is not None:
        place = float(np.clip(selected, *span))
        layout["shapes"].append(traces.vertical_line(place, width=2, dash="solid", colour=palette.SELECTED))
        layout["annotations"] = [
            {
                "x": place,
                "xanchor": "left" if 2 * place < sum(span) else "right",
                "y": 1,
                "yref": "paper",
                "yanchor": "top",  # above the plot is its legend
                "text": f"selected {selected:.3g}",
                "showarrow": False,
                "font": {"color": palette.SELECTED},
            }
        ]
    return layout


def map_colours() -> str:
    """Draw the colours of heatmaps, from the lowest that is not clear to the highest; returns the picture as a URL."""
    greys = np.tile(np.arange(256, dtype=np.uint8), (12, 1))  # [height, width]
    return jpeg_url(Image.fromarray(cv2.applyColorMap(greys, cv2.COLORMAP_VIRIDIS)[..., ::-1]))  # BGR to RGB


def roc(table: ScoreTable, threshold: float, selected: float | None = None) -> list[Trace]:
    """Draw recall over the false-alarm rate, with threshold and selected score as points; nothing without truth.

    The ids of the points are their thresholds.
    """
    rates = table.rates()
    if rates is None:
        return []
    thresholds, fpr, recall, _ = rates
    return [_rate_curve(thresholds, fpr, recall), *_points(table, threshold, selected, ("fpr", "recall"))]


def precision_recall(table: ScoreTable, threshold: float, selected: float | None = None) -> list[Trace]:
    """Draw precision over recall as ``roc`` draws its rates."""
    rates = table.rates()
    if rates is None:
        return []
    thresholds, _, recall, precision = rates
    return [_rate_curve(thresholds, recall, precision), *_points(table, threshold, selected, ("recall", "precision"))]


def overlap(evaluated: Overlap) -> list[Trace]:
    """Draw the overlap of regions over the false-positive rate of pixels."""
    return [traces.curve(evaluated.fpr, evaluated.overlap, name="overlap", fill="tozeroy")]


def overlap_layout(evaluated: Overlap) -> dict[str, Any]:
    """Lay ``overlap`` out up to the limit of AUPRO, with the stricter limit as a line."""
    limit, strict = AUPRO_LIMITS
    areas = [format_metric(evaluated.metrics[name]) for name in ("aupro_30", "aupro_05")]
    title = f"AUPRO {areas[0]} up to {limit}, {areas[1]} up to {strict}"
    layout = curve_layout("false-positive rate of pixels", "overlap of regions", title)
    layout["xaxis"]["range"] = [0, limit]
    layout["shapes"] = [traces.vertical_line(strict, width=1, dash="dot")]
    return layout


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


def curve_layout(x: str, y: str, title: str) -> dict[str, Any]:
    """Lay a curve of two rates out, with what it comes to as its title."""
    layout = _layout(x, y)
    layout["title"] = {"text": title, "font": {"size": 14}}
    layout["margin"]["t"] = 34
    for axis in ("xaxis", "yaxis"):
        layout[axis]["range"] = [-0.03, 1.03]
    return {**layout, "showlegend": False}


def segments(points: Points, sample_id: str | None = None) -> list[Trace]:
    """Draw segments as points, coloured by their score; those of a selected sample are larger, and have a rim."""
    selected = [owner == sample_id for owner in points.sample_ids]
    marker = {
        "size": [_LARGE_POINT if mine else _POINT for mine in selected],
        "line": {"width": [2 if mine else 0 for mine in selected], "color": palette.SELECTED},
        "color": points.scores,
        "colorscale": "Viridis",
        "showscale": True,
        "colorbar": {"thickness": 10},
    }
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "name": "score",
            "x": points.places[:, 0].tolist(),
            "y": points.places[:, 1].tolist(),
            "ids": points.ids,
            "text": [f"score {score:.3g}" for score in points.scores],
            "hoverinfo": "text",
            "marker": marker,
        }
    ]


def segments_layout() -> dict[str, Any]:
    """Lay ``segments`` out: their distances mean something, their coordinates do not."""
    hidden = {"showticklabels": False, "zeroline": False}
    return {**_layout("", ""), "xaxis": hidden, "yaxis": hidden, "dragmode": "lasso", "showlegend": False}


def _rate_curve(thresholds: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64]) -> Trace:
    return traces.curve(
        x,
        y,
        name="curve",
        mode="lines+markers",
        ids=[repr(float(value)) for value in thresholds],
        text=[f"threshold {value:.3g}" for value in thresholds],
        marker={"size": 5},
    )


def _points(table: ScoreTable, threshold: float, selected: float | None, names: tuple[str, str]) -> list[Trace]:
    """Draw the rates of these names at the threshold, and where the score of the selected sample would be it."""
    points = []
    for value, options in ((threshold, {}), (selected, {"name": "selected", "marker": _SELECTED_MARKER})):
        if value is None:
            continue
        # A threshold flags what is above it: just below its score, a sample is the last that is flagged
        counts = table.confusion(value if not options else float(np.nextafter(value, -np.inf)))
        x, y = (getattr(counts, name) for name in names)
        if x is not None and y is not None:
            points.append(traces.threshold_point(x, y, **options))
    return points


def _layout(x: str, y: str) -> dict[str, Any]:
    return {
        "margin": {"l": 45, "r": 10, "t": 10, "b": 40},
        "xaxis": {"title": {"text": x}},
        "yaxis": {"title": {"text": y}},
        "showlegend": True,
        "legend": {"orientation": "h", "x": 0, "y": 1.15},
    }
