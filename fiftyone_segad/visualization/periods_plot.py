"""Draw how p-values and alarms go from period to period."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ..scoring.periods import LIGHT, MORE, PARTS
from . import palette

if TYPE_CHECKING:
    from ..evaluation.drift_over_time import Period

_COLOURS = {LIGHT: palette.THRESHOLD, PARTS: palette.ANOMALOUS, MORE: palette.ANOMALOUS}


def plot_periods(periods: Sequence[Period], by: str) -> go.Figure:
    """Draw the p-values of accepted parts (median and quartiles) above the shares of alarms, period by period.

    Points have the ids of their period's samples as ``customdata``. Those of a period whose light changed, or whose
    parts got worse, have the colour of that.

    Args:
        periods: the periods
        by: the field that tells them
    """
    names = [html.escape(period.name) for period in periods]
    figure = make_subplots(
        rows=2,
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.08,
        subplot_titles=("p-values of accepted parts: median and quartiles", "share of alarms"),
    )
    _add_p_values(figure, [period for period in periods if period.quartiles])
    shares = {
        "overruled": ([period.overruled / len(period.ids) for period in periods], palette.REFERENCE),
        "not overruled": (
            [(period.alarms - period.overruled) / len(period.ids) for period in periods],
            palette.ANOMALOUS,
        ),
    }
    for name, (values, colour) in shares.items():
        figure.add_bar(
            x=names,
            y=values,
            name=name,
            marker={"color": colour},
            customdata=[period.ids for period in periods],
            hovertemplate="%{x}<br>%{y:.1%} " + name + "<extra></extra>",
            row=2,
            col=1,
        )
    figure.add_hline(y=0.5, line={"color": palette.TEXT, "dash": "dot", "width": 1}, row=1, col=1)
    axis = {"gridcolor": palette.GRID, "zeroline": False}
    figure.update_layout(
        barmode="stack",
        height=520,
        paper_bgcolor=palette.CLEAR,
        plot_bgcolor=palette.CLEAR,
        font={"color": palette.TEXT},
        legend={"orientation": "h", "y": -0.14},
        margin={"l": 60, "r": 20, "t": 40, "b": 60},
    )
    figure.update_xaxes(type="category", categoryorder="array", categoryarray=names, **axis)
    figure.update_xaxes(title=html.escape(by), row=2, col=1)
    figure.update_yaxes(range=[-0.05, 1.05], row=1, col=1, **axis)  # points at 0 and 1 are whole
    figure.update_yaxes(tickformat=".0%", rangemode="tozero", row=2, col=1, **axis)
    return figure


def _add_p_values(figure: go.Figure, periods: Sequence[Period]) -> None:
    quartiles = np.array([period.quartiles for period in periods], np.float64).reshape(-1, 3)  # [n, 3]
    spread = {"array": quartiles[:, 2] - quartiles[:, 1], "arrayminus": quartiles[:, 1] - quartiles[:, 0]}
    figure.add_scatter(
        x=[html.escape(period.name) for period in periods],
        y=quartiles[:, 1].tolist(),
        error_y={"type": "data", "symmetric": False, "color": palette.TEXT}
        | {name: values.tolist() for name, values in spread.items()},
        mode="markers",
        marker={"color": [_COLOURS.get(period.verdict, palette.NORMAL) for period in periods], "size": 10},
        name="accepted parts",
        text=[period.verdict for period in periods],
        customdata=[period.ids for period in periods],
        hovertemplate="%{x}<br>median %{y:.3g}<br>%{text}<extra></extra>",
        row=1,
        col=1,
    )
