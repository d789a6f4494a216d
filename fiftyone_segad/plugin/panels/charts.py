"""The charts of the panel: scores, curves and segments, each with what it says when there is nothing to show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
import fiftyone.operators.types as types

from ...review.triage import Overlap, read_overlap
from ...runs.contours import COLOURS, contour_levels
from ...visualization.segment_plot import Points, segment_points
from ...visualization.text import format_metric
from . import figures
from .actions import TriageActions
from .run_view import RunView, slider_name

Handler = Callable[[foo.ExecutionContext], None]

_PLOT_HEIGHT = "260px"

_BELOW_HISTOGRAM = {"slider": {"sx": {"ml": "29px", "width": "calc(100% - 23px)"}}}
"""Puts the ends of the slider below those of the histogram's axis, whose margins ``figures`` sets."""


def points_of(dataset: fo.Dataset, view: RunView) -> Points | None:
    """Return the plot of segments, where it is shown."""
    return segment_points(dataset, view.run.key) if view.tab == "segments" else None


def overlap_of(dataset: fo.Dataset, view: RunView) -> Overlap | None:
    """Return the overlap of regions, where it is shown."""
    return read_overlap(dataset, view.run) if view.tab == "curves" else None


def data(view: RunView, points: Points | None, overlap: Overlap | None) -> dict[str, Any]:
    """Return the data of the plots and of the table."""
    values: dict[str, Any] = {"defects": figures.defect_rows(view.table, view.threshold)}
    if view.tab == "scores":
        values["histogram"] = figures.histogram(view.table)
    elif view.tab == "curves":
        values["roc"] = figures.roc(view.table, view.threshold, view.sample_score)
        values["precision_recall"] = figures.precision_recall(view.table, view.threshold, view.sample_score)
        values["bars"] = figures.defect_bars(view.table, view.threshold)
        if overlap is not None:
            values["overlap"] = figures.overlap(overlap)
    elif points is not None:
        values["plot"] = figures.segments(points, view.sample_id)
    return values


def add_scores(panel: types.Object, view: RunView, actions: TriageActions) -> None:
    """Add the histogram and the slider.

    The slider has no default: the App would announce it as a move, and so undo one that a person makes meanwhile.
    """
    low, high = view.span
    layout = figures.histogram_layout(view.span, view.threshold, view.sample_score)
    _add_plot(panel, "histogram", layout, actions.show_bar)
    panel.float(
        slider_name(view.run),
        min=low,
        max=high,
        label="Threshold",
        view=types.SliderView(
            value_precision=4, view_multiple_of=view.step, label_position="top", componentsProps=_BELOW_HISTOGRAM
        ),
        on_change=actions.move_threshold,
    )


def add_legend(panel: types.Object, view: RunView, actions: TriageActions) -> None:
    """Say what the colours of the heatmaps or lines in the grid mean, and offer the other of these."""
    pixel, (_, high) = view.run.thresholds.pixel, view.run.map_range
    if pixel is None:
        return
    if view.lines:
        levels = zip(contour_levels(view.run), COLOURS, strict=True)
        lines = ", ".join(f"**{level:.3g}** {colour}" for level, colour in levels)
        panel.md(f"Lines: above {lines}", name="lines")
        panel.btn("heatmaps", label="Heatmaps instead", icon="gradient", on_click=actions.show_heatmaps)
        return
    panel.btn("contours", label="Lines instead of heatmaps", icon="blur_circular", on_click=actions.show_lines)
    panel.md(f"Map: clear below the pixel threshold **{pixel:.3g}**, then up to **{high:.3g}** and above:", name="map")
    picture = types.ImageView(alt="colours of the map", height="12px", width="240px")
    panel.view("map_colours", picture, default=figures.map_colours())


def add_curves(panel: types.Object, view: RunView, overlap: Overlap | None, actions: TriageActions) -> None:
    """Add recall over false alarms, precision over recall, overlap of regions and recall of each kind of defect.

    What cannot be shown says what it needs.
    """
    if view.table.rates() is None:
        text = "Curves need ground truth of normal and of defective images: evaluate the run, or fill `defect`."
        panel.md(text, name="no_curves")
        return
    panel.md("Click a point to move the threshold there.", name="curves_help")
    metrics = view.table.metrics(view.threshold)
    layout = figures.curve_layout("false-alarm rate", "recall", f"AUROC {format_metric(metrics['image_auroc'])}")
    _add_plot(panel, "roc", layout, actions.take_point)
    layout = figures.curve_layout("recall", "precision", f"Average precision {format_metric(metrics['image_ap'])}")
    _add_plot(panel, "precision_recall", layout, actions.take_point)
    if overlap is None:
        text = "The overlap of regions (PRO) is that of an evaluation: evaluate the run with an **evaluation key**."
        panel.md(text, name="no_overlap")
    else:
        panel.md(f"Overlap of regions (PRO) in evaluation **{overlap.eval_key}**.", name="overlap_help")
        _add_plot(panel, "overlap", figures.overlap_layout(overlap))
    kinds = len(view.table.by_defect(view.threshold))
    if kinds:
        panel.md("Recall of each kind of defect: click a bar to see its images.", name="bars_help")
        layout = figures.defect_bars_layout(view.table, view.threshold)
        _add_plot(panel, "bars", layout, actions.show_kind, f"{90 + 26 * kinds}px")


def add_segments(panel: types.Object, points: Points | None, actions: TriageActions) -> None:
    """Add the plot of segments, or the button that computes it."""
    if points is None:
        panel.md(
            "Segments that look alike beside each other: groups of high scores are kinds of defects, or one kind "
            "of false alarm.",
            name="no_plot",
        )
        panel.btn("plot_segments", label="Plot the segments", icon="bubble_chart", on_click=actions.plot_segments)
        return
    panel.md("Click a segment, or draw around several, to see them.", name="segments_help")
    panel.plot(
        "plot",
        layout=figures.segments_layout(),
        config=figures.PLOT_CONFIG,
        on_click=actions.show_segments,
        on_selected=actions.show_segments,
        height="360px",
    )


def _add_plot(
    panel: types.Object,
    name: str,
    layout: dict[str, Any],
    on_click: Handler | None = None,
    height: str = _PLOT_HEIGHT,
) -> None:
    panel.plot(name, layout=layout, config=figures.PLOT_CONFIG, on_click=on_click, height=height)
