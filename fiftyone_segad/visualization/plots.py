"""Figures of an evaluation, in FiftyOne's own plotting library (plotly), for notebooks, the App and the report.

They have no background and mid-tone colours, so that they can be read in the dark as well as in the light. Points are
plain lists: the plotly.js of the App does not know the packed arrays that plotly makes of numpy's.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from ..metrics.curves import AUPRO_LIMITS, overlap_to_limit, subsample_curve
from ..metrics.names import METRICS
from ..scoring.thresholds import threshold_text
from .text import format_metric

if TYPE_CHECKING:
    from ..evaluation.results import AnomalyResults

NORMAL_COLOUR = "#3b8ede"
ANOMALOUS_COLOUR = "#e06a10"
"""Blue and orange: told apart by colour-blind people, and 3 : 1 or more against white and against black."""

CURVES = ("roc", "pro", "pr")

_TEXT = "#7c8491"
_GRID = "rgba(124, 132, 145, 0.22)"
_FILL = "rgba(59, 142, 222, 0.14)"
_MORE_COLOURS = ("#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#a08a00", "#8c6bb1")
_STRIPES = {"shape": "/", "size": 7, "solidity": 0.12, "fillmode": "overlay", "fgcolor": "rgba(255, 255, 255, 0.8)"}
_DASHES = ("solid", "dash", "dot")
_FEWEST_BINS, _MOST_BINS = 20, 60
_LOG_FROM = 100
"""Images in the tallest bar from which on the axis is logarithmic: bars of single images would vanish."""
_LONGEST_NAME = 40

_TITLES = {
    "roc": ("Images: ROC", "false-positive rate", "true-positive rate"),
    "pro": ("Pixels: overlap of each region", "false-positive rate", "mean overlap"),
    "pr": ("Images: precision and recall", "recall", "precision"),
}


def curves(results: AnomalyResults, names: Sequence[str] = CURVES) -> go.Figure:
    """Curves side by side: image ROC, overlap of regions (PRO) up to its limit, precision over recall.

    A diamond marks the run's own threshold. Of several categories each has a line of its own besides that of all.

    Args:
        results: the evaluation
        names (``("roc", "pro", "pr")``): which, in this order

    Raises:
        ValueError: if a name is none of these
    """
    if not names or not set(names) <= set(CURVES):
        raise ValueError(f"names={names!r} must be some of {list(CURVES)}")
    totals = results.metrics()
    titles = [f"<b>{_TITLES[name][0]}</b><br>{_areas(name, totals)}" for name in names]
    figure = make_subplots(rows=1, cols=len(names), subplot_titles=titles, horizontal_spacing=0.24 / len(names))
    several = results.categories if len(results.categories) > 1 else []
    for column, name in enumerate(names, start=1):
        place = {"row": 1, "col": column}
        _, across, up = _TITLES[name]
        figure.update_xaxes(title=across, range=[0, AUPRO_LIMITS[0] if name == "pro" else 1], **place)
        figure.update_yaxes(title=up, range=[0, 1.03], **place)
        if not len(results.curve(name)[0]):
            _say(figure, _why_no_curve(name, totals), column)
            continue
        _mark_before(figure, name, totals, place)
        for index, category in enumerate(several):
            line = {
                "color": _MORE_COLOURS[index % len(_MORE_COLOURS)],
                "dash": _DASHES[index // len(_MORE_COLOURS) % len(_DASHES)],
                "width": 1.3,
            }
            figure.add_trace(_line(results, name, category, line, column == 1), **place)
        figure.add_trace(_line(results, name, None, {"color": NORMAL_COLOUR, "width": 2.5}, False), **place)
        if several and column == 1:
            figure.data[-1].showlegend = True
        _mark_threshold(figure, name, totals, place)
    _dress(figure, height=400 if several else 340)
    if several:
        figure.update_layout(legend={"orientation": "h", "x": 0, "y": -0.24, "yanchor": "top"}, margin={"b": 110})
    return figure


def scores(results: AnomalyResults) -> go.Figure:
    """Histogram of the image scores by ground truth, with the threshold. No bar is on both sides of it."""
    threshold = results.threshold
    by_truth = {
        defective: np.array([image.score for image in results.images.values() if image.defective == defective])
        for defective in (False, True)
    }
    figure = go.Figure()
    everything = np.concatenate(list(by_truth.values()))
    if not len(everything):
        _dress(figure, height=320)
        _say(figure, "No images")
        return figure
    edges = _edges(everything, threshold)
    tallest = 0
    for defective, values in by_truth.items():
        name = "anomalous" if defective else "normal"
        # Half-open on the left, as an image is flagged if its score is above the threshold
        index = np.clip(np.searchsorted(edges, values, side="left") - 1, 0, len(edges) - 2)
        counts = np.bincount(index, minlength=len(edges) - 1)
        tallest = max(tallest, int(counts.max()))
        colour = ANOMALOUS_COLOUR if defective else NORMAL_COLOUR
        figure.add_bar(
            x=((edges[1:] + edges[:-1]) / 2).tolist(),
            y=counts.tolist(),
            width=np.diff(edges).tolist(),
            name=f"{name} ({len(values)})" if len(values) else f"{name} (none here)",
            opacity=0.75,
            # The pattern tells them apart on a printed page without colours
            marker={"color": colour, "line": {"width": 0}, "pattern": _STRIPES if defective else None},
            customdata=np.stack([edges[:-1], edges[1:]], axis=1).tolist(),
            hovertemplate=f"%{{y}} {name}<br>score %{{customdata[0]:.4g}} to %{{customdata[1]:.4g}}<extra></extra>",
        )
    figure.update_layout(barmode="overlay", legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"})
    _dress(figure, height=340)
    figure.update_xaxes(title_text="image score")
    figure.update_yaxes(title_text="images", range=[0, tallest * 1.15])  # the threshold's name stands above the bars
    if tallest >= _LOG_FROM:
        figure.update_yaxes(
            type="log", range=[np.log10(0.5), np.log10(tallest * 1.3)], dtick=1, title_text="images (log)"
        )
    _draw_threshold(
        figure, edges, threshold, f"threshold {html.escape(threshold_text(threshold, results.threshold_rule))}"
    )
    return figure


def defects(results: AnomalyResults, rows: Sequence[dict[str, Any]] | None = None) -> go.Figure:
    """Bars of each kind of defect: recall at the run's threshold, image AUROC and AUPRO, with numbers of images.

    Args:
        results: the evaluation
        rows (None): what ``rows`` gave, if it was called before
    """
    every = list(results.rows() if rows is None else rows)
    shown = [row for row in every if row["defect"] != "all"]
    several = len(results.categories) > 1
    names = [_defect_name(row, several) for row in shown]
    if len(shown) > 1:
        shown.append(every[-1])
        names.append("<b>all</b>")
    titles = {
        "recall": "<b>Recall at the threshold</b>",
        "image_auroc": f"<b>{METRICS['image_auroc'][0]}</b>",
        "aupro_30": f"<b>{METRICS['aupro_30'][0]}</b>",
    }
    figure = make_subplots(rows=1, cols=3, shared_yaxes=True, subplot_titles=list(titles.values()))
    labels = [f"{name} ({row['n_anomalous']})" for name, row in zip(names, shown, strict=True)]
    at = list(range(len(shown)))
    for column, name in enumerate(titles, start=1):
        values = [row[name] for row in shown]
        texts = [_bar_text(name, row) for row in shown]
        figure.add_bar(
            row=1,
            col=column,
            x=values,
            y=at,
            orientation="h",
            text=texts,
            textposition="outside",
            cliponaxis=False,
            width=0.62,
            marker={"color": [_TEXT if label == "<b>all</b>" else NORMAL_COLOUR for label in names]},
            customdata=labels,
            hovertemplate="%{customdata}<br>%{text}<extra></extra>",
            showlegend=False,
        )
        for y, value in zip(at, values, strict=True):
            if value is None:
                figure.add_annotation(row=1, col=column, x=0, y=y, text="not defined", showarrow=False, xanchor="left")
    _dress(figure, height=max(200, 100 + 30 * len(shown)))
    figure.update_layout(margin={"t": 34})
    figure.update_xaxes(range=[0, 1.4], tickvals=[0, 0.5, 1])
    figure.update_yaxes(range=[len(shown) - 0.4, -0.6], showgrid=False)  # the first on top
    # Positions instead of names: names that are cut alike must not share a bar
    figure.update_yaxes(tickvals=at, ticktext=labels, automargin=True, col=1)
    if not shown:
        for column in range(1, 4):
            _say(figure, "No defective images", column)
    return figure


def _line(results: AnomalyResults, name: str, category: str | None, line: dict[str, Any], listed: bool) -> go.Scatter:
    x, y = results.curve(name, category)
    if name == "pro":
        x, y = overlap_to_limit(x, y)
    if name == "pr" and len(x):
        # Average precision has no interpolation: a gain in recall counts at the precision that it is reached with
        x, y = np.append(0.0, x), np.append(y[0], y)
        line = {**line, "shape": "vh"}
    x, y = subsample_curve(x, y)
    label = "all" if category is None else html.escape(category, quote=False)
    _, across, up = _TITLES[name]
    return go.Scatter(
        x=x.tolist(),
        y=y.tolist(),
        mode="lines",
        line=line,
        fill="tozeroy" if category is None else None,
        fillcolor=_FILL,
        name=label,
        legendgroup=label,
        showlegend=listed and len(x) > 0,
        hovertemplate=f"{across} %{{x:.4f}}<br>{up} %{{y:.4f}}<extra>{label}</extra>",
    )


def _areas(name: str, totals: dict[str, float | int | None]) -> str:
    shown = {key: format_metric(totals[key]) for key in ("image_auroc", "aupro_30", "aupro_05", "image_ap")}
    return {
        "roc": f"AUROC {shown['image_auroc']}",
        "pro": f"AUPRO {shown['aupro_30']} up to {AUPRO_LIMITS[0]}, {shown['aupro_05']} up to {AUPRO_LIMITS[1]}",
        "pr": f"average precision {shown['image_ap']}",
    }[name]


def _why_no_curve(name: str, totals: dict[str, float | int | None]) -> str:
    if not totals["n_anomalous"]:
        return "No defective images here,<br>so there is no curve"
    return (
        "No normal pixels here,<br>so there is no curve"
        if name == "pro"
        else ("No normal images here,<br>so there is no curve")
    )


def _mark_before(figure: go.Figure, name: str, totals: dict[str, float | int | None], place: dict[str, int]) -> None:
    """Draws what a curve is to be compared with: chance, or the stricter limit."""
    faint = {"color": _TEXT, "width": 1, "dash": "dot"}
    if name == "pro":
        limit = AUPRO_LIMITS[1]
        figure.add_shape(type="line", x0=limit, x1=limit, y0=0, y1=1, line=faint, **place)
        figure.add_annotation(
            x=limit, y=0.03, text=f"{limit}", showarrow=False, xanchor="left", yanchor="middle", **place
        )
        return
    normal, defective = totals["n_normal"] or 0, totals["n_anomalous"] or 0
    chance = [0, 1] if name == "roc" else [defective / (normal + defective)] * 2
    figure.add_scatter(
        x=[0, 1], y=chance, mode="lines", line=faint, name="chance", showlegend=False, hoverinfo="skip", **place
    )


def _mark_threshold(figure: go.Figure, name: str, totals: dict[str, float | int | None], place: dict[str, int]) -> None:
    """Mark where the run's own threshold is on a curve of images."""
    x, y = {"roc": (totals["fpr"], totals["recall"]), "pr": (totals["recall"], totals["precision"])}.get(
        name, (None, None)
    )
    if x is None or y is None:
        return
    figure.add_scatter(
        x=[x],
        y=[y],
        mode="markers+text",
        marker={"symbol": "diamond", "size": 11, "color": ANOMALOUS_COLOUR, "line": {"width": 1.5, "color": "white"}},
        text=["  threshold  "],
        textposition=("bottom" if y > 0.5 else "top") + (" left" if x > 0.5 else " right"),
        name="threshold",
        showlegend=False,
        cliponaxis=False,
        hovertemplate=f"threshold<br>{_TITLES[name][1]} %{{x:.3f}}<br>{_TITLES[name][2]} %{{y:.3f}}<extra></extra>",
        **place,
    )


def _edges(values: NDArray[np.float64], threshold: float) -> NDArray[np.float64]:
    """Edges of bins of scores, one of them at the threshold (Freedman and Diaconis' width, within limits)."""
    low, high = float(values.min()), float(values.max())
    span = high - low or abs(high) * 0.1 or 1.0
    quartiles = np.quantile(values, [0.25, 0.75])
    width = 2 * float(quartiles[1] - quartiles[0]) / len(values) ** (1 / 3)
    count = int(np.clip(np.ceil(span / width), _FEWEST_BINS, _MOST_BINS)) if width > span / 1e6 else _MOST_BINS // 2
    width = span / count
    first, last = np.ceil((low - threshold) / width) - 1, np.ceil((high - threshold) / width)
    edges: NDArray[np.float64] = threshold + width * np.arange(first, max(last, first + 1) + 1)
    return edges


def _draw_threshold(figure: go.Figure, edges: NDArray[np.float64], threshold: float, text: str) -> None:
    low, high = float(edges[0]), float(edges[-1])
    span = high - low
    if threshold < low - span or threshold > high + span:  # at its place it would squeeze the bars to nothing
        right = threshold > high
        figure.add_annotation(
            text=f"{text} →" if right else f"← {text}",
            x=1 if right else 0,
            xanchor="right" if right else "left",
            y=0.98,
            xref="paper",
            yref="paper",
            showarrow=False,
        )
        return
    left, right_end = min(low, threshold) - span * 0.03, max(high, threshold) + span * 0.03
    figure.update_xaxes(range=[left, right_end])
    near_end = threshold > (left + right_end) / 2
    figure.add_vline(
        threshold,
        line={"color": _TEXT, "width": 2, "dash": "dash"},
        annotation={"text": text, "xanchor": "right" if near_end else "left", "bgcolor": "rgba(0, 0, 0, 0)"},
        annotation_position="top left" if near_end else "top right",
    )


def _defect_name(row: dict[str, Any], several: bool) -> str:
    name = f"{row['category']} / {row['defect']}" if several and row["category"] else str(row["defect"])
    short = name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"
    return html.escape(short, quote=False)


def _bar_text(name: str, row: dict[str, Any]) -> str:
    if row[name] is None:
        return ""
    if name == "recall":
        return f"{round(row[name] * row['n_anomalous'])} of {row['n_anomalous']}"
    return format_metric(row[name])


def _say(figure: go.Figure, text: str, column: int | None = None) -> None:
    """Write into an empty plot why it is empty."""
    axis = "" if column in (None, 1) else str(column)
    figure.add_annotation(
        text=text, x=0.5, y=0.5, xref=f"x{axis} domain", yref=f"y{axis} domain", showarrow=False, font={"size": 13}
    )


def _dress(figure: go.Figure, height: int) -> None:
    clear = "rgba(0, 0, 0, 0)"
    figure.update_layout(
        template=go.layout.Template(),
        height=height,
        margin={"l": 60, "r": 20, "t": 60, "b": 50},
        paper_bgcolor=clear,
        plot_bgcolor=clear,
        font={"color": _TEXT, "size": 12, "family": "system-ui, -apple-system, 'Segoe UI', sans-serif"},
    )
    axes = {
        "gridcolor": _GRID,
        "linecolor": _GRID,
        "zeroline": False,
        "showline": True,
        "ticks": "",
        "title_standoff": 8,
    }
    figure.update_xaxes(**axes)
    figure.update_yaxes(**axes)
    figure.update_annotations(font_size=13)
