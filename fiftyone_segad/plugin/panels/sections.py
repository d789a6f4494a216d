"""The parts of the panel that show a run: its head, scores, curves, segments, decision and kinds of defects."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import fiftyone as fo
import fiftyone.operators.types as types

from ...registry.run import Run
from ...review.triage import Overlap, ScoreTable, read_overlap
from ...scoring.thresholds import threshold_text
from ...utils.text import pluralize
from ...visualization.segment_plot import Points, segment_points
from . import figures
from .activity import Handler

TABS = {"scores": "Scores", "curves": "Curves", "segments": "Segments"}

_STEPS = 400
"""Places of the slider."""

_PLOT_HEIGHT = "260px"


@dataclass(frozen=True)
class Shown:
    """What a page shows.

    Attributes:
        run: the run
        runs: keys of all runs
        triage: its scores
        threshold: the one that is looked at; the run's own until the slider is moved
        tab: scores, curves or segments
    """

    run: Run
    runs: list[str]
    triage: ScoreTable
    threshold: float
    tab: str

    @property
    def span(self) -> tuple[float, float]:
        """Ends of the slider."""
        low, high = self.triage.range
        return min(low, self.run.thresholds.image), max(high, self.run.thresholds.image)

    @property
    def step(self) -> float:
        """Step of the slider."""
        low, high = self.span
        return max(high - low, 1e-6) / _STEPS

    @property
    def moved(self) -> bool:
        """Whether the slider is elsewhere than at the run's threshold, which it may round."""
        return abs(self.threshold - self.run.thresholds.image) > self.step / 2


def slider_name(run: Run) -> str:
    """Where the App keeps the slider's value: another place once the run has another threshold.

    A value that was chosen beside an older threshold counts no more, in any tab of the browser.
    """
    return f"slider_{zlib.crc32(f'{run.folder} {run.thresholds.image!r}'.encode()):08x}"


def points_of(dataset: fo.Dataset, shown: Shown) -> Points | None:
    """The plot of segments, where it is shown."""
    return segment_points(dataset, shown.run.key) if shown.tab == "segments" else None


def overlap_of(dataset: fo.Dataset, shown: Shown) -> Overlap | None:
    """The overlap of regions, where it is shown."""
    return read_overlap(dataset, shown.run) if shown.tab == "curves" else None


def data(shown: Shown, points: Points | None, overlap: Overlap | None) -> dict[str, Any]:
    """Data of the plots and of the table."""
    values: dict[str, Any] = {"defects": figures.defect_rows(shown.triage, shown.threshold)}
    if shown.tab == "scores":
        values["histogram"] = figures.histogram(shown.triage)
    elif shown.tab == "curves":
        values["roc"] = figures.roc(shown.triage, shown.threshold)
        values["precision_recall"] = figures.precision_recall(shown.triage, shown.threshold)
        values["bars"] = figures.defect_bars(shown.triage, shown.threshold)
        if overlap is not None:
            values["overlap"] = figures.overlap(overlap)
    elif points is not None:
        values["plot"] = figures.segments(*points)
    return values


def add_head(panel: types.Object, shown: Shown, choose_run: Handler, choose_tab: Handler) -> None:
    """Add the choice of a run, what it is, and the tabs."""
    run = shown.run
    runs = types.DropdownView()
    for key in shown.runs:
        runs.add_choice(key, label=key)
    panel.enum("run", runs.values(), label="Run", view=runs, on_change=choose_run)
    panel.md(
        f"{pluralize(run.scored, 'image')} by **{run.method}** with **{run.embedder}**; threshold in force "
        f"{threshold_text(run.thresholds.image, run.thresholds.rule)}",
        name="about",
    )
    tabs = types.TabsView()
    for name, label in TABS.items():
        tabs.add_choice(name, label=label)
    panel.enum("tab", tabs.values(), view=tabs, on_change=choose_tab)


def add_scores(panel: types.Object, shown: Shown, on_bar: Handler, on_slider: Handler) -> None:
    """Add the histogram and the slider.

    The slider has no default: the App would announce it as a move, and so undo one that a person makes meanwhile.
    """
    low, high = shown.span
    _add_plot(panel, "histogram", figures.histogram_layout(shown.span, shown.threshold), on_bar)
    panel.float(
        slider_name(shown.run),
        min=low,
        max=high,
        label="Threshold",
        view=types.SliderView(value_precision=4, view_multiple_of=shown.step),
        on_change=on_slider,
    )


def add_curves(
    panel: types.Object, shown: Shown, overlap: Overlap | None, on_point: Handler, on_defect: Handler
) -> None:
    """Add recall over false alarms, precision over recall, overlap of regions and recall of each kind of defect.

    What cannot be shown says what it needs.
    """
    if shown.triage.rates() is None:
        text = "Curves need ground truth of normal and of defective images: evaluate the run, or fill `defect`."
        panel.md(text, name="no_curves")
        return
    panel.md("Click a point to move the threshold there.", name="curves_help")
    _add_plot(panel, "roc", figures.curve_layout("false-alarm rate", "recall"), on_point)
    _add_plot(panel, "precision_recall", figures.curve_layout("recall", "precision"), on_point)
    if overlap is None:
        text = "The overlap of regions (PRO) is that of an evaluation: evaluate the run with an **evaluation key**."
        panel.md(text, name="no_overlap")
    else:
        panel.md(figures.overlap_title(overlap), name="overlap_help")
        _add_plot(panel, "overlap", figures.overlap_layout())
    kinds = len(shown.triage.by_defect(shown.threshold))
    if kinds:
        panel.md("Recall of each kind of defect: click a bar to see its images.", name="bars_help")
        layout = figures.defect_bars_layout(shown.triage, shown.threshold)
        _add_plot(panel, "bars", layout, on_defect, f"{90 + 26 * kinds}px")


def add_segments(panel: types.Object, points: Points | None, on_compute: Handler, on_point: Handler) -> None:
    """Add the plot of segments, or the button that computes it."""
    if points is None:
        panel.md(
            "Segments that look alike beside each other: groups of high scores are kinds of defects, or one kind "
            "of false alarm.",
            name="no_plot",
        )
        panel.btn("plot_segments", label="Plot the segments", icon="bubble_chart", on_click=on_compute)
        return
    panel.md("Click a segment, or draw around several, to see them.", name="segments_help")
    panel.plot(
        "plot",
        layout=figures.segments_layout(),
        config={"displayModeBar": False},
        on_click=on_point,
        on_selected=on_point,
        height="360px",
    )


def add_apply(panel: types.Object, shown: Shown, apply: Handler, back: Handler) -> None:
    """Add what writes a threshold that was moved to, or goes back."""
    if shown.moved:
        row = panel.h_stack("apply_row", gap=1)
        label = f"Apply {shown.threshold:.4g}"
        row.btn("apply", label=label, icon="check", variant="contained", on_click=apply)
        row.btn("reset", label="Back", icon="undo", on_click=back)


def add_defects(panel: types.Object, shown: Shown, on_show: Handler) -> None:
    """Add the table of kinds of defects."""
    if not shown.triage.by_defect(shown.threshold):
        return
    narrow = {"minWidth": 0, "& td, & th": {"paddingLeft": "8px", "paddingRight": "8px"}}
    table = types.TableView(size="small", componentsProps={"table": {"sx": narrow}})
    for name in ("defect", "images", "flagged", "recall", "auroc"):
        table.add_column(name, label=name)
    table.add_row_action("show", on_show, label="Show", icon="visibility")
    panel.list("defects", types.Object(), label="By kind of defect", view=table)


def add_empty(panel: types.Object, uri: str) -> None:
    """Add what to do first."""
    panel.md(
        "### No run yet\n"
        "A run compares the segments of your images with those of normal ones: **choose what is normal**, by a split, "
        "a tag, a saved view or a field, and compute. Without any normal images choose the method *unlabeled*.",
        name="empty",
    )
    row = panel.h_stack("next", gap=1)
    compute, load = f"{uri}compute_segment_anomalies", f"{uri}load_mvtec"
    row.btn("compute", label="Compute anomalies", icon="thermostat", variant="contained", on_click=compute, prompt=True)
    panel.md("Or with other images:", name="or")
    row = panel.h_stack("other", gap=1)
    row.btn("load", label="Load a folder", icon="folder_open", on_click=load, prompt=True)
    row.btn(
        "sample",
        label="Sample dataset",
        icon="auto_awesome",
        on_click=load,
        prompt=True,
        params={"source": "sample"},
    )
    row.btn("try_image", label="Try one image", icon="image_search", on_click=f"{uri}try_image", prompt=True)


def _add_plot(
    panel: types.Object,
    name: str,
    layout: dict[str, Any],
    on_click: Handler | None = None,
    height: str = _PLOT_HEIGHT,
) -> None:
    panel.plot(name, layout=layout, config={"displayModeBar": False}, on_click=on_click, height=height)
