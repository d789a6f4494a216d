"""A grid of the images that an evaluation got wrong, as a plotly figure, for notebooks."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

import plotly.graph_objects as go
from PIL import Image

from ..utils.drawing import jpeg_url
from . import palette
from .mistakes import JPEG_QUALITY, TITLES, Mistake, draw_mistakes, false_alarms, misses

if TYPE_CHECKING:
    from ..evaluation.results import AnomalyResults

_OUTCOMES = {
    "FP": (false_alarms, "Worst false alarms", "No false alarms at this threshold"),
    "FN": (misses, "Worst misses", "No misses at this threshold"),
}
_CARDS_PER_ROW = 2

_PICTURE = 190  # px, width of a picture in a figure as wide as the report
_CAPTION = 46
_GAP = 0.06
"""Between pictures, in widths of one."""

_TALLEST = 2.0
"""Height of a picture at most, in widths: one of a narrow image would be taller than a screen."""


def gallery(results: AnomalyResults, outcome: str = "FP", max_images: int = 12) -> go.Figure:
    """See ``plot_worst``."""
    if outcome not in _OUTCOMES:
        raise ValueError(f"outcome={outcome!r} must be 'FP' (false alarms) or 'FN' (misses)")
    if isinstance(max_images, bool) or not isinstance(max_images, int) or max_images < 1:
        raise ValueError(f"max_images={max_images!r} must be a whole number from 1 on")
    choose, title, nothing = _OUTCOMES[outcome]
    ids = choose(results)
    mistakes = draw_mistakes(results, ids[:max_images])
    height = max((_height(image) for mistake in mistakes for image in mistake.pictures.values()), default=1.0)
    card, row = len(TITLES) * (1 + _GAP) + 2 * _GAP, height + _CAPTION / _PICTURE
    rows = max(1, -(-len(mistakes) // _CARDS_PER_ROW))
    figure = go.Figure()
    for index, mistake in enumerate(mistakes):
        left, top = index % _CARDS_PER_ROW * card, -(index // _CARDS_PER_ROW) * row
        _add_card(figure, mistake, left, top, height)
    legend = "image, anomaly map, and masks: red is predicted, cyan the outline of the ground truth"
    about = f": {len(mistakes)} of {len(ids)}, {legend}" if ids else ""
    figure.update_layout(
        template=go.layout.Template(),
        title={"text": f"<b>{title}</b>{about}", "font_size": 14},
        height=round(rows * row * _PICTURE) + 60,
        margin={"l": 10, "r": 10, "t": 50, "b": 10},
        paper_bgcolor=palette.CLEAR,
        plot_bgcolor=palette.CLEAR,
        font={"color": palette.TEXT, "size": 12},
        showlegend=False,
    )
    # One unit is as long in both directions, so that no picture is stretched
    figure.update_xaxes(visible=False, range=[0, _CARDS_PER_ROW * card - 2 * _GAP], constrain="domain")
    figure.update_yaxes(visible=False, range=[-rows * row, 0], scaleanchor="x", constrain="domain")
    if not ids:
        figure.add_annotation(text=nothing, x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False, font_size=14)
    return figure


def _add_card(figure: go.Figure, mistake: Mistake, left: float, top: float, height: float) -> None:
    for column, title in enumerate(TITLES):
        x, image = left + column * (1 + _GAP), mistake.pictures.get(title)
        if image is None:
            figure.add_annotation(x=x + 0.5, y=top - height / 2, text=f"no {title}", showarrow=False)
            continue
        figure.add_layout_image(
            source=jpeg_url(image, JPEG_QUALITY),
            x=x,
            y=top,
            sizex=1,
            sizey=height,
            xref="x",
            yref="y",
            sizing="contain",
            layer="below",
        )
    text = f"<b>{html.escape(mistake.name)}</b><br>{html.escape(mistake.facts)}"
    figure.add_annotation(
        x=left, y=top - height, text=text, showarrow=False, xanchor="left", yanchor="top", align="left"
    )
    figure.add_scatter(  # a click on a picture gives the sample's id
        x=[left + column * (1 + _GAP) + 0.5 for column in range(len(TITLES))],
        y=[top - height / 2] * len(TITLES),
        mode="markers",
        marker={"size": _PICTURE / 2, "opacity": 0},
        ids=[f"{mistake.id} {title}" for title in TITLES],
        customdata=[mistake.id] * len(TITLES),
        text=[f"{html.escape(mistake.name)}: {title}" for title in TITLES],
        hoverinfo="text",
    )


def _height(image: Image.Image) -> float:
    """Return the height of a picture in widths."""
    return min(image.height / image.width, _TALLEST)
