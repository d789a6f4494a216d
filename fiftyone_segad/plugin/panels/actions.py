"""What the buttons, plots and tables of the panel do."""

from __future__ import annotations

from typing import Any

import fiftyone as fo
import fiftyone.operators as foo

from ...errors import SegadError
from ...evaluation.drift_over_time import DriftOverTime
from ...registry.keys import contours_field, field_name, list_runs
from ...registry.parts import flagged_parts
from ...registry.samples import all_slices
from ...review.choices import Choices
from ...review.marks import mark_anomalous
from ...review.triage import regions_field
from .. import execution
from ..current_run import (
    names_other_run,
    set_current_run,
    shown_fields,
    shows_other_slice,
    with_heatmaps,
    with_lines,
)
from ..wording import in_app_words
from . import crops, families, page_state, periods
from .run_view import RunView, remember_choice, run_view_of, sample_of, slider_name

URI = "@segad/anomaly/"
"""Begins the addresses of the plugin's operators."""

_NOT_ON_RUN = ("compute_segment_anomalies", "delete_run", "try_image")
"""Operators whose form does not begin with the run that is shown."""


class TriageActions:
    """Handlers of the panel's buttons; the App calls them by the panel's address and their names.

    Attributes:
        uri: address of the panel
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri

    def cancel(self, ctx: foo.ExecutionContext) -> None:
        """Stop what runs; it keeps what it has finished."""
        execution.cancel(execution.dataset_id(ctx), str(ctx.params.get("name")))

    def dismiss(self, ctx: foo.ExecutionContext) -> None:
        """Forget an error."""
        execution.dismiss_failure(execution.dataset_id(ctx), str(ctx.params.get("name")))

    def choose_run(self, ctx: foo.ExecutionContext) -> None:
        """Choose another run for all that is shown: the App has set the state."""
        key, state = ctx.panel.state.run, ctx.panel.state
        if key not in list_runs(ctx.dataset):
            return
        state.why = None
        set_current_run(ctx.dataset, key)
        ctx.ops.set_active_fields(shown_fields(ctx.dataset, key, ctx.active_fields))
        if names_other_run(ctx.dataset, key, ctx.view) or shows_other_slice(ctx, key):
            score = field_name(key, "score")
            _set_view(ctx, all_slices(ctx.dataset).exists(score).sort_by(score, reverse=True))

    def choose_tab(self, ctx: foo.ExecutionContext) -> None:
        """Show another tab: the App has set the state."""

    def move_threshold(self, ctx: foo.ExecutionContext) -> None:
        """Count at another threshold, and write nothing: the App has set the state."""

    def reset_threshold(self, ctx: foo.ExecutionContext) -> None:
        """Go back to the run's own threshold."""
        view = run_view_of(ctx)
        if view is not None:
            page_state.change(ctx.panel.state, slider_name(view.run), view.run.thresholds.image)

    def apply_threshold(self, ctx: foo.ExecutionContext) -> None:
        """Rewrite predictions, masks and regions at the threshold."""
        view = run_view_of(ctx)
        if view is not None:
            ctx.trigger(f"{URI}set_threshold", {"key": view.run.key, "threshold": str(view.threshold)})

    def take_point(self, ctx: foo.ExecutionContext) -> None:
        """Move the threshold to a point of a curve, and show what it flags."""
        view = run_view_of(ctx)
        try:
            threshold = float(ctx.params["id"])
        except (KeyError, TypeError, ValueError):
            return  # the point of the threshold itself
        if view is not None:
            page_state.change(ctx.panel.state, slider_name(view.run), threshold)
            _show_choice(ctx, view, "flagged", threshold)

    def show(self, ctx: foo.ExecutionContext) -> None:
        """Set the grid to a choice of images."""
        view, choice = run_view_of(ctx), ctx.params.get("choice")
        if view is not None and isinstance(choice, str):
            _show_choice(ctx, view, choice, view.threshold)

    def show_bar(self, ctx: foo.ExecutionContext) -> None:
        """Set the grid to the images of a bar of the histogram."""
        view, x = run_view_of(ctx), ctx.params.get("x")
        if view is not None and isinstance(x, (int, float)):
            _show_view(ctx, Choices(ctx.dataset, view.run).between(*view.table.bar_at(x)))

    def show_row(self, ctx: foo.ExecutionContext) -> None:
        """Set the grid to the images of the kind of defect in a row of the table."""
        view, row = run_view_of(ctx), ctx.params.get("row")
        if view is not None and isinstance(row, int):
            defects = view.table.by_defect(view.threshold)
            if 0 <= row < len(defects):
                _show_view(ctx, Choices(ctx.dataset, view.run).of_defect(defects[row]["defect"]))

    def show_kind(self, ctx: foo.ExecutionContext) -> None:
        """Set the grid to the images of the kind of defect whose bar was clicked."""
        view, defect = run_view_of(ctx), ctx.params.get("id")
        if view is not None and isinstance(defect, str):
            _show_view(ctx, Choices(ctx.dataset, view.run).of_defect(defect))

    def show_regions(self, ctx: foo.ExecutionContext) -> None:
        """Set the grid to the predicted regions as patches, highest first."""
        view = run_view_of(ctx)
        if view is None:
            return
        field = view.run.field("regions")
        samples = all_slices(ctx.dataset)
        if samples.count(f"{field}.detections"):
            _set_view(ctx, samples.to_patches(field).sort_by(f"{field}.anomaly_score", reverse=True))
        else:
            ctx.ops.notify("No image has a region at the run's threshold", variant="info")

    def show_outcomes(self, ctx: foo.ExecutionContext) -> None:
        """Set the grid to the regions of the run's latest evaluation, a group per outcome, highest first."""
        view = run_view_of(ctx)
        field = None if view is None else regions_field(ctx.dataset, view.run)
        if field is not None:
            patches = all_slices(ctx.dataset).to_patches(field)
            _set_view(ctx, patches.group_by(f"{field}.label", order_by=f"{field}.anomaly_score", reverse=True))
            ctx.ops.set_active_fields(list(dict.fromkeys([*ctx.active_fields, field])))  # it says which group is which

    def show_family(self, ctx: foo.ExecutionContext) -> None:
        """Set the grid to the regions of a family as patches, those that fit least first."""
        view, label = run_view_of(ctx), ctx.params.get("family")
        if view is not None and isinstance(label, str):
            _show_view(ctx, families.show_family(ctx, view.run, label))

    def choose_periods(self, ctx: foo.ExecutionContext) -> None:
        """Follow the run by another field or in other periods: the App has set the state."""

    def show_period(self, ctx: foo.ExecutionContext) -> None:
        """Set the grid to the images of the day, shift or batch that was clicked."""
        view = run_view_of(ctx)
        over_time = None if view is None else periods.periods_of(ctx.dataset, view)
        samples = periods.view_at(over_time, ctx.params.get("x")) if isinstance(over_time, DriftOverTime) else None
        if samples is not None:
            _show_view(ctx, samples)

    def show_groups(self, ctx: foo.ExecutionContext) -> None:
        """Set the grid to one group of images per kind of defect, highest first."""
        view = run_view_of(ctx)
        if view is not None:
            score = view.run.field("score")
            _set_view(ctx, all_slices(ctx.dataset).exists(score).group_by("defect.label", order_by=score, reverse=True))

    def show_parts(self, ctx: foo.ExecutionContext) -> None:
        """Set the grid to the normal images that show the same part as others, part after part, largest first."""
        view = run_view_of(ctx)
        if view is not None:
            ids = dict(zip(*all_slices(ctx.dataset).values(["filepath", "id"]), strict=True))
            same = [ids[path] for group in view.run.groups for path in group if path in ids]
            _show_view(ctx, all_slices(ctx.dataset).select(same, ordered=True))

    def show_flagged_parts(self, ctx: foo.ExecutionContext) -> None:
        """Set the grid to the parts that are anomalous, with all of their pictures, the lowest p-value first."""
        view = run_view_of(ctx)
        if view is not None and view.parts is not None:
            _show_view(ctx, flagged_parts(ctx.dataset, view.parts.key))

    def show_segments(self, ctx: foo.ExecutionContext) -> None:
        """Set the grid to the patches of the segments that were clicked or encircled in the plot."""
        view, points = run_view_of(ctx), ctx.params.get("data")
        clicked = [point.get("id") for point in points] if isinstance(points, list) else [ctx.params.get("id")]
        ids = [id for id in clicked if isinstance(id, str)]
        if view is not None and ids:
            patches = all_slices(ctx.dataset).to_patches(view.run.field("segments"))
            _set_view(ctx, patches.select(ids, ordered=True))

    def plot_segments(self, ctx: foo.ExecutionContext) -> None:
        """Compute the plot of the segments."""
        ctx.trigger(f"{URI}visualize_segments", {"key": ctx.panel.state.run})

    def show_all(self, ctx: foo.ExecutionContext) -> None:
        """Clear the grid's view."""
        _set_view(ctx, ctx.dataset.view())

    def show_lines(self, ctx: foo.ExecutionContext) -> None:
        """Show the maps as lines, which are drawn first where there are none."""
        view = run_view_of(ctx)
        if view is None:
            return
        if ctx.dataset.has_sample_field(contours_field(view.run.key)):
            ctx.ops.set_active_fields(with_lines(ctx.active_fields, view.run.key))
        else:
            ctx.trigger(f"{URI}show_contours", {"key": view.run.key})

    def show_heatmaps(self, ctx: foo.ExecutionContext) -> None:
        """Show the maps as heatmaps."""
        view = run_view_of(ctx)
        if view is not None:
            ctx.ops.set_active_fields(with_heatmaps(ctx.active_fields, view.run.key))

    def use_threshold(self, ctx: foo.ExecutionContext) -> None:
        """Apply a threshold, or a rule of one, that the panel has offered."""
        view, rule = run_view_of(ctx), ctx.params.get("rule")
        if view is not None and isinstance(rule, str):
            ctx.trigger(f"{URI}set_threshold", {"key": view.run.key, "threshold": rule})

    def open_form(self, ctx: foo.ExecutionContext) -> None:
        """Open the form of an operator, on the run that is shown.

        A button that names an operator would hand on all that the App sends with a click, ``path`` among it.
        """
        name, view = ctx.params.get("form"), run_view_of(ctx)
        if view is not None and isinstance(name, str):
            ctx.prompt(f"{URI}{name}", params={} if name in _NOT_ON_RUN else {"key": view.run.key})

    def explain(self, ctx: foo.ExecutionContext) -> None:
        """Show the highest segments of the open or selected sample beside what they differ from."""
        view, sample_id = run_view_of(ctx), sample_of(ctx)
        if view is None or sample_id is None:
            ctx.ops.notify("Open a sample, or select one in the grid, first", variant="info")
            return
        try:
            ctx.panel.state.why, pictures = crops.explained(ctx.dataset, view.run.key, sample_id)
        except (SegadError, ValueError) as error:
            ctx.ops.notify(in_app_words(str(error)), variant="error")
        else:
            ctx.panel.data.set(pictures)

    def explain_miss(self, ctx: foo.ExecutionContext) -> None:
        """Show which normal images excuse the defect of the explained sample."""
        view, why = run_view_of(ctx), ctx.panel.state.why
        if view is None or not why:
            return
        try:
            miss, pictures = crops.excused(ctx.dataset, view.run.key, why["sample_id"])
        except (SegadError, ValueError) as error:
            ctx.ops.notify(in_app_words(str(error)), variant="error")
        else:
            ctx.panel.state.why = {**why, "miss": miss}
            ctx.panel.data.set(pictures)

    def leave_out(self, ctx: foo.ExecutionContext) -> None:
        """Mark a normal image that excuses defects as anomalous, and rescore without it."""
        view, ids = run_view_of(ctx), _ids_of_file(ctx)
        if view is None or not ids:
            text = "The image is not in this dataset: leave it out of the normal images, and compute the run again"
            ctx.ops.notify(text, variant="info")
            return
        mark_anomalous(all_slices(ctx.dataset).select(ids), view.run.key, why="excuses missed defects")
        ctx.panel.state.why = None
        ctx.trigger(f"{URI}rescore", {"key": view.run.key})

    def open_normal(self, ctx: foo.ExecutionContext) -> None:
        """Open the normal image of a crop."""
        if ids := _ids_of_file(ctx):
            ctx.ops.open_sample(id=ids[0])
        else:
            ctx.ops.notify("The image is not in this dataset", variant="info")


def _ids_of_file(ctx: foo.ExecutionContext) -> list[str]:
    """Return the sample of the file that an event names, in a list; empty if the dataset has none."""
    filepath = ctx.params.get("filepath")
    if not isinstance(filepath, str):
        return []
    ids: list[str] = all_slices(ctx.dataset).match(fo.ViewField("filepath") == filepath).limit(1).values("id")
    return ids


def _show_choice(ctx: foo.ExecutionContext, view: RunView, choice: str, threshold: float) -> None:
    samples = Choices(ctx.dataset, view.run).choose(choice, threshold)
    remember_choice(samples, choice, threshold)
    _show_view(ctx, samples)


def _show_view(ctx: foo.ExecutionContext, samples: fo.DatasetView) -> None:
    if len(samples):
        _set_view(ctx, samples)
    else:
        ctx.ops.notify("There are none", variant="info")


def _set_view(ctx: foo.ExecutionContext, view: Any) -> None:
    """Set the grid; filters of the sidebar would hide some of what a button has counted."""
    ctx.ops.clear_sidebar_filters()
    ctx.ops.set_view(view)
