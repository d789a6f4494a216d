"""Panel ``anomaly_triage``: from scores to decisions, beside the grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import fiftyone.operators as foo
import fiftyone.operators.types as types

from ...errors import SegadError
from ...registry.run import Run, list_evaluations, list_runs, load_run
from ...visualization.segment_plot import has_plot
from .. import execution
from . import activity, crops, page_state, rows, sections, sources
from .sections import Shown, slider_name

_NAME = "anomaly_triage"


class AnomalyTriage(foo.Panel):
    """Histogram, threshold, counts and views of a run, and why a sample is anomalous.

    State: ``run``, ``tab`` and the slider's value are the App's own, which each event therefore brings up to date;
    ``why`` explains a sample; ``active`` is what runs; ``drawn`` is what was drawn last.
    """

    @property
    def config(self) -> foo.PanelConfig:
        return foo.PanelConfig(
            name=_NAME,
            label="Anomaly triage",
            icon="troubleshoot",
            help_markdown="Move the threshold, look at what it flags, and ask why a sample is anomalous.",
            surfaces="grid modal",
        )

    def execute(self, ctx: foo.ExecutionContext) -> Any:
        """Handle an event, and draws only if what is shown has changed.

        Most events change the grid, or nothing (a poll, a change of the view). Drawn all the same, their answers would
        now and then arrive after that of a later event, and show again what was shown before it.
        """
        method = ctx.params.get("__method__")
        if method is None or method == "on_startup":
            return super().execute(ctx)
        state = ctx.panel.state
        page_state.arrived(state, _own(ctx))
        getattr(self, method)(ctx)
        page_state.renew(state, ctx.panel_state)
        shown = self._shown(ctx)
        drawn = self._fingerprint(ctx, shown)
        if drawn != state.drawn or method == self.on_load.__name__:
            state.drawn = drawn
            ctx.ops.show_panel_output(self._drawing(ctx, shown))
        return None

    def on_load(self, ctx: foo.ExecutionContext) -> None:
        """Show the run that was shown last, or the newest."""
        state = ctx.panel.state
        if ctx.dataset is not None and state.run is None:
            for name, value in (_memory(ctx).get(_NAME) or {}).items():
                page_state.change(state, name, value)
        if state.tab not in sections.TABS:
            page_state.change(state, "tab", next(iter(sections.TABS)))

    def on_change_dataset(self, ctx: foo.ExecutionContext) -> None:
        """Begins anew."""
        for name in ("run", "tab", "why", "active"):
            page_state.change(ctx.panel.state, name, None)
        self.on_load(ctx)

    def on_change_view(self, ctx: foo.ExecutionContext) -> None:
        """New runs and thresholds appear; else nothing depends on the view."""

    def on_change_current_sample(self, ctx: foo.ExecutionContext) -> None:
        """Another sample is another question."""
        why = ctx.panel.state.why
        if why and ctx.current_sample and why["sample_id"] != sources.chosen_sample(ctx):
            ctx.panel.state.why = None

    def poll(self, ctx: foo.ExecutionContext) -> None:
        """Show what has begun, gone on or ended since."""
        now, before = activity.state(ctx), ctx.panel.state.active or activity.NOTHING
        if now == before:
            return
        ctx.panel.state.active = now
        if set(before["running"]) - set(now["running"]):
            sources.forget()
            runs = list_runs(ctx.dataset)
            if runs:  # one that has ended is what one waits for; without a new one, the same is shown again
                page_state.change(ctx.panel.state, "run", runs[-1])

    def cancel(self, ctx: foo.ExecutionContext) -> None:
        """Stop what runs; it keeps what it has finished."""
        execution.cancel(execution.dataset_id(ctx), str(ctx.params.get("name")))
        ctx.ops.notify("It stops within seconds", variant="info")

    def dismiss(self, ctx: foo.ExecutionContext) -> None:
        """Forgets an error."""
        execution.dismiss_failure(execution.dataset_id(ctx), str(ctx.params.get("name")))
        self.poll(ctx)

    def choose_run(self, ctx: foo.ExecutionContext) -> None:
        """Show another run: the App has set the state."""
        ctx.panel.state.why = None

    def choose_tab(self, ctx: foo.ExecutionContext) -> None:
        """Show scores, curves or segments: the App has set the state."""

    def move_threshold(self, ctx: foo.ExecutionContext) -> None:
        """Count at another threshold, and writes nothing: the App has set the state."""

    def reset_threshold(self, ctx: foo.ExecutionContext) -> None:
        """Goes back to the run's own threshold."""
        shown = self._shown(ctx)
        if shown is not None:
            page_state.change(ctx.panel.state, slider_name(shown.run), shown.run.thresholds.image)

    def apply_threshold(self, ctx: foo.ExecutionContext) -> None:
        """Rewrites predictions, masks and regions at the threshold."""
        shown = self._shown(ctx)
        if shown is not None:
            ctx.trigger(f"{rows.URI}set_threshold", {"key": shown.run.key, "threshold": str(shown.threshold)})

    def take_point(self, ctx: foo.ExecutionContext) -> None:
        """Move the threshold to a point of a curve, and shows what it flags."""
        shown = self._shown(ctx)
        try:
            threshold = float(ctx.params["id"])
        except (KeyError, TypeError, ValueError):
            return  # the point of the threshold itself
        if shown is not None:
            page_state.change(ctx.panel.state, slider_name(shown.run), threshold)
            _set_grid(ctx, shown.triage.choose("flagged", threshold))

    def show(self, ctx: foo.ExecutionContext) -> None:
        """Set the grid to a choice of images."""
        shown, choice = self._shown(ctx), ctx.params.get("choice")
        if shown is not None and isinstance(choice, str):
            _set_grid(ctx, shown.triage.choose(choice, shown.threshold))

    def show_bar(self, ctx: foo.ExecutionContext) -> None:
        """Set the grid to the images of a bar of the histogram."""
        shown, x = self._shown(ctx), ctx.params.get("x")
        if shown is not None and isinstance(x, (int, float)):
            edges, _ = shown.triage.histogram()
            half = (edges[1] - edges[0]) / 2
            _set_grid(ctx, shown.triage.between(x - half * 1.001, x + half * 1.001))

    def show_defect(self, ctx: foo.ExecutionContext) -> None:
        """Set the grid to the images of one kind of defect."""
        shown, row = self._shown(ctx), ctx.params.get("row")
        if shown is not None and isinstance(row, int):
            defects = shown.triage.by_defect(shown.threshold)
            if 0 <= row < len(defects):
                _set_grid(ctx, shown.triage.of_defect(defects[row]["defect"]))

    def show_kind(self, ctx: foo.ExecutionContext) -> None:
        """Set the grid to the images of the kind of defect whose bar was clicked."""
        shown, defect = self._shown(ctx), ctx.params.get("id")
        if shown is not None and isinstance(defect, str):
            _set_grid(ctx, shown.triage.of_defect(defect))

    def show_regions(self, ctx: foo.ExecutionContext) -> None:
        """Set the grid to the predicted regions as patches, highest first."""
        shown = self._shown(ctx)
        if shown is not None:
            field = shown.run.field("regions")
            if ctx.dataset.count(f"{field}.detections"):
                _set_view(ctx, ctx.dataset.to_patches(field).sort_by(f"{field}.anomaly_score", reverse=True))
            else:
                ctx.ops.notify("No image has a region at the threshold in force", variant="info")

    def show_groups(self, ctx: foo.ExecutionContext) -> None:
        """Set the grid to one group of images a kind of defect, highest first."""
        shown = self._shown(ctx)
        if shown is not None:
            score = shown.run.field("score")
            _set_view(ctx, ctx.dataset.exists(score).group_by("defect.label", order_by=score, reverse=True))

    def show_segments(self, ctx: foo.ExecutionContext) -> None:
        """Set the grid to the patches of the segments that were clicked or encircled in the plot."""
        shown, data = self._shown(ctx), ctx.params.get("data")
        chosen = [point.get("id") for point in data] if isinstance(data, list) else [ctx.params.get("id")]
        ids = [id for id in chosen if isinstance(id, str)]
        if shown is not None and ids:
            patches = ctx.dataset.to_patches(shown.run.field("segments"))
            _set_view(ctx, patches.select(ids, ordered=True))

    def plot_segments(self, ctx: foo.ExecutionContext) -> None:
        """Compute the plot of the segments."""
        ctx.trigger(f"{rows.URI}visualize_segments", {"key": ctx.panel.state.run})

    def show_all(self, ctx: foo.ExecutionContext) -> None:
        """Clear the grid's view."""
        _set_view(ctx, ctx.dataset.view())

    def explain(self, ctx: foo.ExecutionContext) -> None:
        """Show the worst segments of the open or selected sample beside what they differ from."""
        shown, sample_id = self._shown(ctx), sources.chosen_sample(ctx)
        if shown is None or sample_id is None:
            ctx.ops.notify("Open a sample, or select one in the grid, first", variant="info")
            return
        try:
            ctx.panel.state.why, pictures = crops.explained(ctx.dataset, shown.run.key, sample_id)
        except (SegadError, ValueError) as error:
            ctx.ops.notify(str(error), variant="error")
        else:
            ctx.panel.data.set(pictures)

    def open_normal(self, ctx: foo.ExecutionContext) -> None:
        """Open the normal image of a crop."""
        path = ctx.params.get("filepath")
        sample = sources.sample_of(ctx.dataset, path)
        if sample is None:
            ctx.ops.notify("The image is not in this dataset", variant="info")
        else:
            ctx.ops.open_sample(id=sample)

    def render(self, ctx: foo.ExecutionContext) -> types.Property:
        """Draws the panel."""
        return self._drawing(ctx, self._shown(ctx))

    def _shown(self, ctx: foo.ExecutionContext) -> Shown | None:
        """What the page shows; None where there is nothing to show. A run that is no more gives way to the newest."""
        if ctx.dataset is None:
            return None
        state = ctx.panel.state
        runs = list_runs(ctx.dataset)
        if runs and state.run not in runs:
            page_state.change(state, "run", runs[-1])
        run = _load(ctx) if runs else None
        if isinstance(run, str) or run is None:
            return None
        name = slider_name(run)
        if not isinstance(state.get(name), (int, float)):
            page_state.change(state, name, run.thresholds.image)
        return Shown(
            run=run,
            runs=runs,
            triage=sources.triage_of(ctx.dataset, run),
            threshold=float(state.get(name)),
            tab=state.tab if state.tab in sections.TABS else next(iter(sections.TABS)),
        )

    def _fingerprint(self, ctx: foo.ExecutionContext, shown: Shown | None) -> str:
        """All that a drawing depends on, as a text."""
        if ctx.dataset is None:
            return ""
        why = ctx.panel.state.why
        parts: list[Any] = [activity.state(ctx), why and why["sample_id"]]
        if shown is None:
            parts.append(ctx.panel.state.run and str(_load(ctx)))
        else:
            run = shown.run
            parts += [shown.runs, run.folder, run.thresholds.image, shown.threshold, shown.tab]
            parts += [list_evaluations(ctx.dataset), has_plot(ctx.dataset, run.key), len(shown.triage)]
        return repr(parts)

    def _drawing(self, ctx: foo.ExecutionContext, shown: Shown | None) -> types.Property:
        panel = types.Object()
        if ctx.dataset is None:
            panel.md("### Open a dataset first", name="empty")
        else:
            activity.add(panel, ctx, self.poll, self.cancel, self.dismiss)
            if shown is not None:
                self._add_run(panel, ctx, shown)
            elif ctx.panel.state.run in list_runs(ctx.dataset):
                panel.view("error", types.AlertView(severity="error", label=str(_load(ctx))))
            else:
                sections.add_empty(panel, rows.URI)
        return types.Property(panel, view=types.GridView(orientation="vertical", gap=2, px=2, py=1))

    def _add_run(self, panel: types.Object, ctx: foo.ExecutionContext, shown: Shown) -> None:
        points, overlap = sections.points_of(ctx.dataset, shown), sections.overlap_of(ctx.dataset, shown)
        for name, values in sections.data(shown, points, overlap).items():
            ctx.panel.set_data(name, values)
        sections.add_head(panel, shown, self.choose_run, self.choose_tab)
        if shown.tab == "scores":
            sections.add_scores(panel, shown, self.show_bar, self.move_threshold)
        elif shown.tab == "curves":
            sections.add_curves(panel, shown, overlap, self.take_point, self.show_kind)
        else:
            sections.add_segments(panel, points, self.plot_segments, self.show_segments)
        rows.add_counts(panel, shown.triage, shown.threshold, self.show)
        sections.add_apply(panel, shown, self.apply_threshold, self.reset_threshold)
        rows.add_views(panel, ctx, self.show, self.show_regions, self.show_groups, self.show_all)
        rows.add_review(panel)
        sections.add_defects(panel, shown, self.show_defect)
        panel.btn("why_button", label="Why is it anomalous?", icon="psychology_alt", on_click=self.explain)
        if ctx.panel.state.why:
            crops.add(panel, ctx.panel.state.why, self.open_normal)
        kept = ("run", "tab", slider_name(shown.run))
        _memory(ctx).set(_NAME, {name: ctx.panel.state.get(name) for name in kept})


def _load(ctx: foo.ExecutionContext) -> Run | str:
    """The run that is chosen, or why it cannot be shown."""
    try:
        return load_run(ctx.dataset, ctx.panel.state.run)
    except (SegadError, ValueError) as error:
        return str(error)


def _own(ctx: foo.ExecutionContext) -> list[str]:
    """Names of the state that a person changes in the page."""
    return ["run", "tab", *(name for name in ctx.panel_state if name.startswith("slider_"))]


def _memory(ctx: foo.ExecutionContext) -> Any:
    """What a reload of the page keeps; it goes with the dataset."""
    return ctx.store("fiftyone_segad_panel")


def _set_grid(ctx: foo.ExecutionContext, ids: Sequence[str]) -> None:
    if ids:
        _set_view(ctx, ctx.dataset.select(ids, ordered=True))
    else:
        ctx.ops.notify("There are none", variant="info")


def _set_view(ctx: foo.ExecutionContext, view: Any) -> None:
    """Set the grid; filters of the sidebar would hide some of what a button has counted."""
    ctx.ops.clear_sidebar_filters()
    ctx.ops.set_view(view)
