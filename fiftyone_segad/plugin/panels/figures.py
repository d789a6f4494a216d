"""Plotly data and layouts of the panel, as plain values."""

from __future__ import annotations

import html
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...metrics.curves import AUPRO_LIMITS
from ...registry.fields import ANOMALOUS, NORMAL
from ...review.triage import UNKNOWN, Overlap, ScoreTable
from ...visualization.text import format_metric

Figure = list[dict[str, Any]]

COLOURS = {NORMAL: "#56B4E9", ANOMALOUS: "#D55E00", UNKNOWN: "#9aa0a6"}
"""Told apart by colour-blind people too."""

_LINE = "#E69F00"
_LONGEST_NAME = 24


def histogram(triage: ScoreTable) -> Figure:
    """Numbers of images by score and truth."""
    edges, counts = triage.histogram()
    centres = ((edges[:-1] + edges[1:]) / 2).tolist()
    return [
        {"type": "bar", "name": truth, "x": centres, "y": values.tolist(), "marker": {"color": COLOURS[truth]}}
        for truth, values in counts.items()
    ]


def histogram_layout(span: tuple[float, float], threshold: float) -> dict[str, Any]:
    """The layout of ``histogram`` with the threshold as a line."""
    low, high = span
    margin = max(high - low, 1e-6) * 0.03
    line = {"color": _LINE, "width": 3, "dash": "dash"}
    return {
        **_layout("anomaly score", "images"),
        "barmode": "stack",
        "bargap": 0.05,
        "xaxis": {"title": {"text": "anomaly score"}, "range": [low - margin, high + margin]},
        "shapes": [{"type": "line", "x0": threshold, "x1": threshold, "yref": "paper", "y0": 0, "y1": 1, "line": line}],
    }


def roc(triage: ScoreTable, threshold: float) -> Figure:
    """Recall over the false-alarm rate, with the threshold as a point; empty without truth of both kinds.

    The ids of the points are their thresholds.
    """
    rates = triage.rates()
    if rates is None:
        return []
    thresholds, fpr, recall, _ = rates
    now = triage.confusion(threshold)
    return _curve(thresholds, fpr, recall, (now.fpr, now.recall))


def precision_recall(triage: ScoreTable, threshold: float) -> Figure:
    """Precision over recall, with the threshold as a point; empty without truth of both kinds."""
    rates = triage.rates()
    if rates is None:
        return []
    thresholds, _, recall, precision = rates
    now = triage.confusion(threshold)
    return _curve(thresholds, recall, precision, (now.recall, now.precision))


def overlap(kept: Overlap) -> Figure:
    """Overlap of regions over the false-positive rate of pixels."""
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "name": "overlap",
            "x": kept.fpr,
            "y": kept.overlap,
            "fill": "tozeroy",
            "line": {"color": COLOURS[NORMAL]},
        }
    ]


def overlap_layout(kept: Overlap) -> dict[str, Any]:
    """The layout of ``overlap``, up to the limit of AUPRO, with the stricter limit as a line."""
    limit, strict = AUPRO_LIMITS
    line = {"color": _LINE, "width": 1, "dash": "dot"}
    layout = curve_layout("false-positive rate of pixels", "overlap of regions")
    layout["xaxis"]["range"] = [0, limit]
    layout["shapes"] = [{"type": "line", "x0": strict, "x1": strict, "yref": "paper", "y0": 0, "y1": 1, "line": line}]
    return layout


def overlap_title(kept: Overlap) -> str:
    """What ``overlap`` shows, as Markdown."""
    wide, strict = AUPRO_LIMITS
    areas = [format_metric(kept.metrics[name]) for name in ("aupro_30", "aupro_05")]
    return (
        f"Overlap of regions (PRO) in evaluation **{kept.eval_key}**: "
        f"AUPRO {areas[0]} up to {wide}, {areas[1]} up to {strict}."
    )


def defect_bars(triage: ScoreTable, threshold: float) -> Figure:
    """Recall of each kind of defect; the ids of the bars are its names."""
    rows = triage.by_defect(threshold)
    return [
        {
            "type": "bar",
            "orientation": "h",
            "x": [row["recall"] for row in rows],
            "y": list(range(len(rows))),
            "ids": [row["defect"] for row in rows],
            "text": [f"{row['flagged']} of {row['images']}" for row in rows],
            "hoverinfo": "text",
            "marker": {"color": COLOURS[ANOMALOUS]},
        }
    ]


def defect_bars_layout(triage: ScoreTable, threshold: float) -> dict[str, Any]:
    """The layout of ``defect_bars``. Names are cut, and stand beside positions: two may be cut alike."""
    names = [str(row["defect"]) for row in triage.by_defect(threshold)]
    short = [name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…" for name in names]
    layout = _layout("recall", "")
    layout["xaxis"]["range"] = [0, 1.03]
    layout["yaxis"] = {
        "tickvals": list(range(len(names))),
        "ticktext": [html.escape(name, quote=False) for name in short],
        "range": [len(names) - 0.4, -0.6],  # the first on top
        "automargin": True,
        "zeroline": False,
    }
    return {**layout, "showlegend": False}


def curve_layout(x: str, y: str) -> dict[str, Any]:
    """The layout of a curve of two rates."""
    layout = _layout(x, y)
    for axis in ("xaxis", "yaxis"):
        layout[axis]["range"] = [-0.03, 1.03]
    return {**layout, "showlegend": False}


def segments(points: NDArray[np.float64], ids: list[str], scores: list[float]) -> Figure:
    """Segments as points, coloured by their score."""
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
    """The layout of ``segments``: their distances mean something, their coordinates do not."""
    hidden = {"showticklabels": False, "zeroline": False}
    return {**_layout("", ""), "xaxis": hidden, "yaxis": hidden, "dragmode": "lasso", "showlegend": False}


def defect_rows(triage: ScoreTable, threshold: float) -> list[dict[str, Any]]:
    """The rows of the table of kinds of defects, as they are shown."""
    return [
        {**row, "recall": f"{row['recall']:.2f}", "auroc": "-" if row["auroc"] is None else f"{row['auroc']:.3f}"}
        for row in triage.by_defect(threshold)
    ]


def _curve(
    thresholds: NDArray[np.float64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    now: tuple[float | None, float | None],
) -> Figure:
    line = {
        "type": "scatter",
        "mode": "lines+markers",
        "name": "curve",
        "x": x.tolist(),
        "y": y.tolist(),
        "ids": [repr(float(value)) for value in thresholds],
        "text": [f"threshold {value:.4g}" for value in thresholds],
        "line": {"color": COLOURS[NORMAL]},
        "marker": {"size": 5},
    }
    point = {
        "type": "scatter",
        "mode": "markers",
        "name": "threshold",
        "x": [now[0]],
        "y": [now[1]],
        "marker": {"size": 12, "color": _LINE},
    }
    return [line] if None in now else [line, point]


def _layout(x: str, y: str) -> dict[str, Any]:
    return {
        "margin": {"l": 45, "r": 10, "t": 10, "b": 40},
        "xaxis": {"title": {"text": x}},
        "yaxis": {"title": {"text": y}},
        "showlegend": True,
        "legend": {"orientation": "h", "x": 0, "y": 1.15},
    }
