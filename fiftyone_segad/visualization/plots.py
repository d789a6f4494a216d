"""Draw figures of an evaluation with plotly, FiftyOne's own plotting library, for notebooks and the report.

They have no background and mid-tone colours, so that they can be read in the dark as well as in the light.
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
from . import palette, traces
from .text import format_metric

if TYPE_CHECKING:
    from ..evaluation.results import AnomalyResults

CURVES = ("roc", "pro", "pr")

_TITLES = {
    "roc": ("Images: ROC", "false-positive rate", "true-positive rate"),
    "pro": ("Pixels: overlap of each region", "false-positive rate", "mean overlap"),
    "pr": ("Images: precision and recall", "recall", "precision"),
}
"""Titles of curves and of their axes."""

_STRIPES = {"shape": "/", "size": 7, "solidity": 0.12, "fillmode": "overlay", "fgcolor": "rgba(255, 255, 255, 0.8)"}
"""Bars of defective images are told apart on a printed page without colours, too."""

_FAINT = {"color": palette.TEXT, "width": 1, "dash": "dot"}
_DASHES = ("solid", "dash", "dot")
_LOG_FROM = 100
"""Images in the tallest bar from which on the axis is logarithmic: bars of single images would vanish."""

_LONGEST_NAME = 40

Metrics = dict[str, float | int | None]
Place = dict[str, int]
"""Row and column of a subplot."""


def curves(results: AnomalyResults, names: Sequence[str] = CURVES) -> go.Figure:
    """Draw curves side by side: image ROC, overlap of regions (PRO) up to its limit, precision over recall.

    A diamond marks the run's own threshold. Of several categories each has a line besides that of all images.

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
    for column, name in enumerate(names, start=1):
        _add_curve(figure, results, name, totals, {"row": 1, "col": column})
    if len(results.categories) < 2:
        _dress(figure, height=340)
        return figure
    _dress(figure, height=400)
    figure.update_layout(legend={"orientation": "h", "x": 0, "y": -0.24, "yanchor": "top"}, margin={"b": 110})
    return figure


def scores(results: AnomalyResults) -> go.Figure:
    """Draw the histogram of the image scores by ground truth, with the threshold. No bar is on both sides of it."""
    by_truth = {
        truth: np.array([image.score for image in results.images.values() if image.defective == defective])
        for truth, defective in (("normal", False), ("anomalous", True))
    }
    figure = go.Figure()
    everything = np.concatenate(list(by_truth.values()))
    if not len(everything):
        _dress(figure, height=320)
        _say(figure, "No images")
        return figure
    edges = traces.score_edges(everything, results.threshold)
    counts = {truth: traces.count_scores(edges, values) for truth, values in by_truth.items()}
    tallest = max(int(numbers.max()) for numbers in counts.values())
    for bar in traces.score_bars(edges, counts):
        truth = bar["name"]
        number = len(by_truth[truth])
        bar["marker"] |= {"line": {"width": 0}, "pattern": _STRIPES if truth == "anomalous" else None}
        figure.add_trace(
            {
                **bar,
                "name": f"{truth} ({number or 'none here'})",
                "width": np.diff(edges).tolist(),
                "opacity": 0.75,
                "customdata": np.stack([edges[:-1], edges[1:]], axis=1).tolist(),
                "hovertemplate": f"%{{y}} {truth}<br>"
                "score %{customdata[0]:.4g} to %{customdata[1]:.4g}<extra></extra>",
            }
        )
    figure.update_layout(barmode="overlay", legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"})
    _dress(figure, height=340)
    figure.update_xaxes(title_text="image score")
    figure.update_yaxes(title_text="images", range=[0, tallest * 1.15])  # the threshold's name stands above the bars
    if tallest >= _LOG_FROM:
        limits = [np.log10(0.5), np.log10(tallest * 1.3)]
        figure.update_yaxes(type="log", range=limits, dtick=1, title_text="images (log)")
    text = html.escape(f"threshold {threshold_text(results.threshold, results.threshold_rule)}")
    _draw_threshold(figure, edges, results.threshold, text)
    return figure


def defects(results: AnomalyResults, rows: Sequence[dict[str, Any]] | None = None) -> go.Figure:
    """Draw bars of each kind of defect: recall at the run's threshold, image AUROC and AUPRO, with numbers of images.

    Args:
        results: the evaluation
        rows (None): the answer of ``results.rows()``, if it was called before
    """
    all_rows = list(results.rows() if rows is None else rows)
    kinds = [row for row in all_rows if row["defect"] != "all"]
    names = [_defect_name(row, len(results.categories) > 1) for row in kinds]
    colours = [palette.NORMAL] * len(kinds)
    if len(kinds) > 1:
        kinds.append(all_rows[-1])
        names.append("<b>all</b>")
        colours.append(palette.TEXT)
    titles = {"recall": "Recall at the threshold"}
    titles |= {name: METRICS[name][0] for name in ("image_auroc", "aupro_30")}
    figure = make_subplots(
        rows=1, cols=3, shared_yaxes=True, subplot_titles=[f"<b>{title}</b>" for title in titles.values()]
    )
    labels = [f"{name} ({row['n_anomalous']})" for name, row in zip(names, kinds, strict=True)]
    for column, name in enumerate(titles, start=1):
        bars = traces.kind_bars(
            [row[name] for row in kinds],
            [_bar_text(name, row) for row in kinds],
            textposition="outside",
            cliponaxis=False,
            width=0.62,
            marker={"color": colours},
            customdata=labels,
            hovertemplate="%{customdata}<br>%{text}<extra></extra>",
            showlegend=False,
        )
        figure.add_trace(bars, row=1, col=column)
        for y, row in enumerate(kinds):
            if row[name] is None:
                figure.add_annotation(row=1, col=column, x=0, y=y, text="not defined", showarrow=False, xanchor="left")
        if not kinds:
            _say(figure, "No defective images", column)
    _dress(figure, height=max(200, 100 + 30 * len(kinds)))
    figure.update_layout(margin={"t": 34})
    figure.update_xaxes(range=[0, 1.4], tickvals=[0, 0.5, 1])
    axis = traces.kind_axis(labels)
    figure.update_yaxes(range=axis["range"], showgrid=False)
    figure.update_yaxes(**axis, col=1)
    return figure


def _add_curve(figure: go.Figure, results: AnomalyResults, name: str, totals: Metrics, place: Place) -> None:
    """Add a curve of all images, and one for each of several categories."""
    _, across, up = _TITLES[name]
    figure.update_xaxes(title=across, range=[0, AUPRO_LIMITS[0] if name == "pro" else 1], **place)
    figure.update_yaxes(title=up, range=[0, 1.03], **place)
    if not len(results.curve(name)[0]):
        _say(figure, _why_no_curve(name, totals), place["col"])
        return
    _draw_baseline(figure, name, totals, place)
    categories = results.categories if len(results.categories) > 1 else []
    listed = place["col"] == 1  # one legend for all subplots
    for index, category in enumerate(categories):
        line = {
            "color": palette.CATEGORIES[index % len(palette.CATEGORIES)],
            "dash": _DASHES[index // len(palette.CATEGORIES) % len(_DASHES)],
            "width": 1.3,
        }
        figure.add_trace(_line(results, name, category, line, listed), **place)
    line = {"color": palette.NORMAL, "width": 2.5}
    figure.add_trace(_line(results, name, None, line, listed and bool(categories)), **place)
    _draw_threshold_point(figure, name, totals, place)


def _line(results: AnomalyResults, name: str, category: str | None, line: dict[str, Any], listed: bool) -> traces.Trace:
    x, y = results.curve(name, category)
    if name == "pro":
        x, y = overlap_to_limit(x, y)
    if name == "pr" and len(x):
        # Average precision has no interpolation: a gain in recall counts at the precision that it is reached with
        x, y = np.append(0.0, x), np.append(y[0], y)
        line = {**line, "shape": "vh"}
    label = "all" if category is None else html.escape(category, quote=False)
    _, across, up = _TITLES[name]
    return traces.curve(
        *subsample_curve(x, y),
        line=line,
        fill="tozeroy" if category is None else None,
        fillcolor=palette.BELOW_CURVE,
        name=label,
        legendgroup=label,
        showlegend=listed and len(x) > 0,
        hovertemplate=f"{across} %{{x:.4f}}<br>{up} %{{y:.4f}}<extra>{label}</extra>",
    )


def _areas(name: str, totals: Metrics) -> str:
    text = {key: format_metric(totals[key]) for key in ("image_auroc", "aupro_30", "aupro_05", "image_ap")}
    return {
        "roc": f"AUROC {text['image_auroc']}",
        "pro": f"AUPRO {text['aupro_30']} up to {AUPRO_LIMITS[0]}, {text['aupro_05']} up to {AUPRO_LIMITS[1]}",
        "pr": f"average precision {text['image_ap']}",
    }[name]


def _why_no_curve(name: str, totals: Metrics) -> str:
    if not totals["n_anomalous"]:
        return "No defective images here,<br>so there is no curve"
    return f"No normal {'pixels' if name == 'pro' else 'images'} here,<br>so there is no curve"


def _draw_baseline(figure: go.Figure, name: str, totals: Metrics, place: Place) -> None:
    """Draw what a curve is to be compared with: chance, or the stricter limit."""
    if name == "pro":
        limit = AUPRO_LIMITS[1]
        figure.add_shape(type="line", x0=limit, x1=limit, y0=0, y1=1, line=_FAINT, **place)
        label = {"text": f"{limit}", "showarrow": False, "xanchor": "left", "yanchor": "middle"}
        figure.add_annotation(x=limit, y=0.03, **label, **place)
        return
    normal, defective = totals["n_normal"] or 0, totals["n_anomalous"] or 0
    chance = [0.0, 1.0] if name == "roc" else [defective / (normal + defective)] * 2
    figure.add_trace(
        traces.curve([0, 1], chance, line=_FAINT, name="chance", showlegend=False, hoverinfo="skip"), **place
    )


def _draw_threshold_point(figure: go.Figure, name: str, totals: Metrics, place: Place) -> None:
    """Mark where the run's own threshold is on a curve of images."""
    x, y = {"roc": (totals["fpr"], totals["recall"]), "pr": (totals["recall"], totals["precision"])}.get(
        name, (None, None)
    )
    if x is None or y is None:
        return
    _, across, up = _TITLES[name]
    point = traces.threshold_point(
        x,
        y,
        mode="markers+text",
        marker={"symbol": "diamond", "size": 11, "color": palette.THRESHOLD, "line": {"width": 1.5, "color": "white"}},
        text=["  threshold  "],
        textposition=("bottom" if y > 0.5 else "top") + (" left" if x > 0.5 else " right"),
        showlegend=False,
        cliponaxis=False,
        hovertemplate=f"threshold<br>{across} %{{x:.3f}}<br>{up} %{{y:.3f}}<extra></extra>",
    )
    figure.add_trace(point, **place)


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
    figure.add_shape(traces.vertical_line(threshold, width=2))
    figure.add_annotation(
        x=threshold,
        y=1,
        yref="paper",
        text=text,
        showarrow=False,
        xanchor="right" if near_end else "left",
        yanchor="top",
    )


def _defect_name(row: dict[str, Any], with_category: bool) -> str:
    name = f"{row['category']} / {row['defect']}" if with_category and row["category"] else str(row["defect"])
    return traces.short_html(name, _LONGEST_NAME)


def _bar_text(name: str, row: dict[str, Any]) -> str:
    if row[name] is None:
        return ""
    if name == "recall":
        return f"{round(row[name] * row['n_anomalous'])} of {row['n_anomalous']}"
    return format_metric(row[name])


def _say(figure: go.Figure, text: str, column: int = 1) -> None:
    """Write into an empty plot why it is empty."""
    axis = "" if column == 1 else str(column)
    figure.add_annotation(
        text=text, x=0.5, y=0.5, xref=f"x{axis} domain", yref=f"y{axis} domain", showarrow=False, font={"size": 13}
    )


def _dress(figure: go.Figure, height: int) -> None:
    figure.update_layout(
        template=go.layout.Template(),
        height=height,
        margin={"l": 60, "r": 20, "t": 60, "b": 50},
        paper_bgcolor=palette.CLEAR,
        plot_bgcolor=palette.CLEAR,
        font={"color": palette.TEXT, "size": 12, "family": "system-ui, -apple-system, 'Segoe UI', sans-serif"},
    )
    axes = {
        "gridcolor": palette.GRID,
        "linecolor": palette.GRID,
        "zeroline": False,
        "showline": True,
        "ticks": "",
        "title_standoff": 8,
    }
    figure.update_xaxes(**axes)
    figure.update_yaxes(**axes)
    figure.update_annotations(font_size=13)
