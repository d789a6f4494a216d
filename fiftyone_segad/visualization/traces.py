"""Build the traces, shapes and axes of plotly figures as plain values, for ``plots`` and for the App's panel.

Points are plain lists: the plotly.js of the App does not know the packed arrays that plotly makes of numpy's.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import palette

Trace = dict[str, Any]

_FEWEST_BARS, _MOST_BARS = 20, 60


def score_edges(values: NDArray[np.float64], threshold: float) -> NDArray[np.float64]:
    """Return edges of bars of scores, one of them at the threshold (Freedman and Diaconis' width, within limits).

    >>> score_edges(np.array([1.0, 2.0, 3.0]), threshold=2.05)[-3:].round(2).tolist()
    [2.85, 2.95, 3.05]
    """
    low, high = float(values.min()), float(values.max())
    span = high - low or abs(high) * 0.1 or 1.0
    quartiles = np.quantile(values, [0.25, 0.75])
    width = 2 * float(quartiles[1] - quartiles[0]) / len(values) ** (1 / 3)
    count = int(np.clip(np.ceil(span / width), _FEWEST_BARS, _MOST_BARS)) if width > span / 1e6 else _MOST_BARS // 2
    width = span / count
    first, last = np.ceil((low - threshold) / width) - 1, np.ceil((high - threshold) / width)
    edges: NDArray[np.float64] = threshold + width * np.arange(first, max(last, first + 1) + 1)
    return edges


def count_scores(edges: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Count scores in bars that are open on the left, since an image is flagged if it is above the threshold.

    >>> count_scores(np.array([0.0, 1.0, 2.0]), np.array([0.5, 1.0, 1.5])).tolist()
    [2, 1]
    """
    index = np.clip(np.searchsorted(edges, values, side="left") - 1, 0, len(edges) - 2)
    counts: NDArray[np.int64] = np.bincount(index, minlength=len(edges) - 1)
    return counts


def score_bars(edges: NDArray[np.float64], counts: Mapping[str, NDArray[np.int64]]) -> list[Trace]:
    """Return bars of the numbers of images by score, one trace for each truth.

    Args:
        edges: edges of the bars ``[n + 1]``
        counts: numbers ``[n]`` by ``normal``, ``anomalous``, ``unknown`` or ``reference``

    >>> score_bars(np.array([0.0, 1.0, 3.0]), {"normal": np.array([5, 2])})[0]["x"]
    [0.5, 2.0]
    """
    centres = ((edges[:-1] + edges[1:]) / 2).tolist()
    return [
        {
            "type": "bar",
            "name": truth,
            "x": centres,
            "y": numbers.tolist(),
            "marker": {"color": palette.BY_TRUTH[truth]},
        }
        for truth, numbers in counts.items()
    ]


def curve(x: Sequence[float] | NDArray[np.float64], y: Sequence[float] | NDArray[np.float64], **more: Any) -> Trace:
    """Return a line through points, with what else the trace should have."""
    return {
        "type": "scatter",
        "mode": "lines",
        "x": np.asarray(x).tolist(),
        "y": np.asarray(y).tolist(),
        "line": {"color": palette.NORMAL},
        **more,
    }


def threshold_point(x: float, y: float, **more: Any) -> Trace:
    """Return the point of a curve at which the threshold is."""
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "threshold",
        "x": [x],
        "y": [y],
        "marker": {"size": 12, "color": palette.THRESHOLD},
        **more,
    }


def vertical_line(x: float, width: float, dash: str = "dash", colour: str = palette.THRESHOLD) -> dict[str, Any]:
    """Return a shape: a line from the lower end of a plot to its upper one."""
    line = {"color": colour, "width": width, "dash": dash}
    return {"type": "line", "x0": x, "x1": x, "yref": "paper", "y0": 0, "y1": 1, "line": line}


def kind_bars(shares: Sequence[float | None], texts: Sequence[str], **more: Any) -> Trace:
    """Return horizontal bars of shares, one for each kind of defect, at the places of ``kind_axis``."""
    return {
        "type": "bar",
        "orientation": "h",
        "x": list(shares),
        "y": list(range(len(shares))),
        "text": list(texts),
        **more,
    }


def kind_axis(names: Sequence[str]) -> dict[str, Any]:
    """Return the axis on which kinds of defects stand, the first one on top.

    Args:
        names: HTML. They stand beside positions, since names that are cut alike must not share a bar
    """
    return {
        "tickvals": list(range(len(names))),
        "ticktext": list(names),
        "range": [len(names) - 0.4, -0.6],
        "automargin": True,
        "zeroline": False,
    }


def short_html(name: str, longest: int) -> str:
    """Return a name as HTML, cut to a number of characters.

    >>> short_html("scratch", 4), short_html("a<b", 4)
    ('scr…', 'a&lt;b')
    """
    short = name if len(name) <= longest else name[: longest - 1] + "…"
    return html.escape(short, quote=False)
