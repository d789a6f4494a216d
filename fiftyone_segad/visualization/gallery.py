"""A grid of the images that an evaluation got wrong, as a plotly figure, for notebooks."""

from __future__ import annotations

import base64
import html
import io
from typing import TYPE_CHECKING

import plotly.graph_objects as go
from PIL import Image

from .thumbnails import SHOWN, Thumbnails, draw_thumbnails, facts_of, false_alarms, misses

if TYPE_CHECKING:
    from ..evaluation.results import AnomalyResults

_WORST = {
    "FP": (false_alarms, "Worst false alarms", "No false alarms at this threshold"),
    "FN": (misses, "Worst misses", "No misses at this threshold"),
}
_CARDS = 2
"""Images beside each other, each as image, map and masks."""

_PICTURE = 190  # px, width of a picture in a figure as wide as the report
_CAPTION = 46
_GAP = 0.06
"""Between pictures, in widths of one."""

_TEXT = "#7c8491"  # read on white and on black


def gallery(results: AnomalyResults, outcome: str = "FP", max_images: int = 12) -> go.Figure:
    """See ``plot_worst``."""
    if outcome not in _WORST:
        raise ValueError(f"outcome={outcome!r} must be 'FP' (false alarms) or 'FN' (misses)")
    if isinstance(max_images, bool) or not isinstance(max_images, int) or max_images < 1:
        raise ValueError(f"max_images={max_images!r} must be a whole number from 1 on")
    choose, title, none = _WORST[outcome]
    ids = choose(results)
    drawn = draw_thumbnails(results, ids[:max_images])
    height = max((_height(data) for each in drawn for data in each.pictures.values()), default=1.0)
    card, row = len(SHOWN) * (1 + _GAP) + 2 * _GAP, height + _CAPTION / _PICTURE
    rows = -(-len(drawn) // _CARDS)
    figure = go.Figure()
    for index, thumbnails in enumerate(drawn):
        _add_card(figure, results, thumbnails, (index % _CARDS * card, -(index // _CARDS) * row), height)
    shown = f"{len(drawn)} of {len(ids)}, " if ids else ""
    legend = "image, anomaly map, and masks: red is predicted, cyan the outline of the ground truth"
    figure.update_layout(
        template=go.layout.Template(),
        title={"text": f"<b>{title}</b>: {shown}{legend}" if ids else f"<b>{title}</b>", "font_size": 14},
        height=round(max(rows, 1) * row * _PICTURE) + 60,
        margin={"l": 10, "r": 10, "t": 50, "b": 10},
        paper_bgcolor="rgba(0, 0, 0, 0)",
        plot_bgcolor="rgba(0, 0, 0, 0)",
        font={"color": _TEXT, "size": 12},
        showlegend=False,
    )
    # One unit is as long in both directions, so that no picture is stretched
    figure.update_xaxes(visible=False, range=[0, _CARDS * card - 2 * _GAP], constrain="domain")
    figure.update_yaxes(visible=False, range=[-max(rows, 1) * row, 0], scaleanchor="x", constrain="domain")
    if not ids:
        figure.add_annotation(text=none, x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False, font_size=14)
    return figure


def _add_card(
    figure: go.Figure, results: AnomalyResults, thumbnails: Thumbnails, corner: tuple[float, float], height: float
) -> None:
    left, top = corner
    facts = facts_of(results, thumbnails)
    for column, name in enumerate(SHOWN):
        x, data = left + column * (1 + _GAP), thumbnails.pictures.get(name)
        if data is None:
            figure.add_annotation(x=x + 0.5, y=top - height / 2, text=f"no {name}", showarrow=False)
            continue
        source = "data:image/jpeg;base64," + base64.b64encode(data).decode()
        figure.add_layout_image(
            source=source, x=x, y=top, sizex=1, sizey=height, xref="x", yref="y", sizing="contain", layer="below"
        )
    text = f"<b>{html.escape(thumbnails.name)}</b><br>{html.escape(facts)}"
    figure.add_annotation(
        x=left, y=top - height, text=text, showarrow=False, xanchor="left", yanchor="top", align="left"
    )
    figure.add_scatter(  # what a click on a picture gives: the sample's id
        x=[left + column * (1 + _GAP) + 0.5 for column in range(len(SHOWN))],
        y=[top - height / 2] * len(SHOWN),
        mode="markers",
        marker={"size": _PICTURE / 2, "opacity": 0},
        ids=[f"{thumbnails.id} {name}" for name in SHOWN],
        customdata=[thumbnails.id] * len(SHOWN),
        text=[f"{html.escape(thumbnails.name)}: {name}" for name in SHOWN],
        hoverinfo="text",
    )


def _height(data: bytes) -> float:
    """Height of a JPEG file in widths, at most 2: one of a narrow image would be taller than a screen."""
    width, height = Image.open(io.BytesIO(data)).size
    return min(height / width, 2.0)
