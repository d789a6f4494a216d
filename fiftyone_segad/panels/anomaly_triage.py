"""Panel ``anomaly_triage``: from scores to decisions, beside the grid."""

from __future__ import annotations

from typing import Any

import fiftyone.operators as foo
import fiftyone.operators.types as types

from ..errors import SegadError
from ..operators import execution
from ..runs import Run, list_runs, load_run
from ..segment_plot import segment_points
from ..triage import Triage
from . import activity, crops, figures, rows, sources

_NAME = "anomaly_triage"

_TABS = {"scores": "Scores", "curves": "Curves", "segments": "Segments"}
_STEPS = 400
_PLOT_HEIGHT = "260px"

_REMEMBERED = ("run", "moved", "base", "tab")
"""What a reload of the page keeps, by dataset."""


class AnomalyTriage(foo.Panel):
    """Histogram, threshold, counts and views of a run, and why a sample is anomalous."""

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
        """Handles an event; a poll that finds nothing new must not draw the panel over a later event's drawing."""
        if ctx.params.get("__method__") == self.poll.__name__ and not _has_news(ctx):
            return None
        return super().execute(ctx)

    def on_load(self, ctx: foo.ExecutionContext) -> None:
        """Shows the run that was shown last, or the newest."""
        if ctx.dataset is not None:
            ctx.dataset.reload()  # another process may have changed its runs
        runs = list_runs(ctx.dataset) if ctx.dataset is not None else []
        state = ctx.panel.state
        if state.run is None and ctx.dataset is not None:
            for name, value in (_memory(ctx).get(_NAME) or {}).items():
                setattr(state, name, value)
            if state.moved is not None:
                state.slider = state.moved
        if state.run not in runs:
            state.run, state.base = (runs[-1] if runs else None), None
        self._refresh(ctx)

    def on_change_dataset(self, ctx: foo.ExecutionContext) -> None:
        """Begins anew."""
        for name in (*_REMEMBERED, "why", "active"):
            setattr(ctx.panel.state, name, None)
        self.on_load(ctx)

    def on_change_view(self, ctx: foo.ExecutionContext) -> None:
        """Keeps what is shown; new runs appear."""
        self.on_load(ctx)

    def on_change_current_sample(self, ctx: foo.ExecutionContext) -> None:
        """Another sample is another question."""
        why = ctx.panel.state.why
        if why and ctx.current_sample and why["sample_id"] != sources.chosen_sample(ctx):
            ctx.panel.state.why = None

    def poll(self, ctx: foo.ExecutionContext) -> None:
        """Shows what has begun, gone on or ended since."""
        now, before = activity.state(ctx), ctx.panel.state.active or activity.NOTHING
        ctx.panel.state.active = now
        if set(before["running"]) - set(now["running"]):
            self._show_newest(ctx)

    def cancel(self, ctx: foo.ExecutionContext) -> None:
        """Stops what runs; it keeps what it has finished."""
        execution.cancel(execution.dataset_id(ctx), str(ctx.params.get("name")))
        ctx.ops.notify("It stops within seconds", variant="info")

    def dismiss(self, ctx: foo.ExecutionContext) -> None:
        """Forgets an error."""
        execution.dismiss_failure(execution.dataset_id(ctx), str(ctx.params.get("name")))

    def choose_run(self, ctx: foo.ExecutionContext) -> None:
        """Shows another run."""
        ctx.panel.state.run = ctx.params.get("value")
        ctx.panel.state.base = None
        self._refresh(ctx)

    def choose_tab(self, ctx: foo.ExecutionContext) -> None:
        """Shows scores, curves or segments."""
        ctx.panel.state.tab = ctx.params.get("value")
        self._refresh(ctx)

    def move_threshold(self, ctx: foo.ExecutionContext) -> None:
        """Counts at another threshold; nothing is written.

        The slider's own value is left to the App: were it set here as well, two events at once would answer each other
        without end.
        """
        value, loaded = ctx.params.get("value"), self._loaded(ctx)
        if isinstance(value, (int, float)) and loaded is not None:
            self._move(ctx, loaded[0], float(value))

    def reset_threshold(self, ctx: foo.ExecutionContext) -> None:
        """Goes back to the run's own threshold."""
        loaded = self._loaded(ctx)
        if loaded is not None:
            ctx.panel.state.slider = loaded[0].thresholds.image
            self._move(ctx, loaded[0], None)

    def apply_threshold(self, ctx: foo.ExecutionContext) -> None:
        """Rewrites predictions, masks and regions at the threshold."""
        state = ctx.panel.state
        ctx.trigger(f"{rows.URI}set_threshold", {"key": state.run, "threshold": str(state.moved)})

    def take_point(self, ctx: foo.ExecutionContext) -> None:
        """Moves the threshold to a point of a curve, and shows what it flags."""
        loaded = self._loaded(ctx)
        try:
            threshold = float(ctx.params["id"])
        except (KeyError, TypeError, ValueError):
            return  # the point of the threshold itself
        if loaded is not None:
            ctx.panel.state.slider = threshold
            self._move(ctx, loaded[0], threshold)
            self._set_grid(ctx, loaded[1].choose("flagged", threshold))

    def show(self, ctx: foo.ExecutionContext) -> None:
        """Sets the grid to a choice of images."""
        loaded = self._loaded(ctx)
        choice = ctx.params.get("choice")
        if loaded is not None and isinstance(choice, str):
            run, triage = loaded
            self._set_grid(ctx, triage.choose(choice, self._threshold(ctx, run)))

    def show_bar(self, ctx: foo.ExecutionContext) -> None:
        """Sets the grid to the images of a bar of the histogram."""
        loaded, x = self._loaded(ctx), ctx.params.get("x")
        if loaded is not None and isinstance(x, (int, float)):
            edges, _ = loaded[1].histogram()
            half = (edges[1] - edges[0]) / 2
            self._set_grid(ctx, loaded[1].between(x - half * 1.001, x + half * 1.001))

    def show_defect(self, ctx: foo.ExecutionContext) -> None:
        """Sets the grid to the images of one kind of defect."""
        loaded, row = self._loaded(ctx), ctx.params.get("row")
        if loaded is not None and isinstance(row, int):
            run, triage = loaded
            defects = triage.by_defect(self._threshold(ctx, run))
            if 0 <= row < len(defects):
                self._set_grid(ctx, triage.of_defect(defects[row]["defect"]))

    def show_regions(self, ctx: foo.ExecutionContext) -> None:
        """Sets the grid to the predicted regions as patches, highest first."""
        loaded = self._loaded(ctx)
        if loaded is not None:
            field = loaded[0].field("regions")
            _set_view(ctx, ctx.dataset.to_patches(field).sort_by(f"{field}.anomaly_score", reverse=True))

    def show_groups(self, ctx: foo.ExecutionContext) -> None:
        """Sets the grid to one group of images a kind of defect, highest first."""
        loaded = self._loaded(ctx)
        if loaded is not None:
            score = loaded[0].field("score")
            _set_view(ctx, ctx.dataset.exists(score).group_by("defect.label", order_by=score, reverse=True))

    def show_segments(self, ctx: foo.ExecutionContext) -> None:
        """Sets the grid to the patches of the segments that were clicked or encircled in the plot."""
        loaded, data = self._loaded(ctx), ctx.params.get("data")
        chosen = [point.get("id") for point in data] if isinstance(data, list) else [ctx.params.get("id")]
        ids = [id for id in chosen if isinstance(id, str)]
        if loaded is not None and ids:
            patches = ctx.dataset.to_patches(loaded[0].field("segments"))
            _set_view(ctx, patches.select(ids, ordered=True))

    def plot_segments(self, ctx: foo.ExecutionContext) -> None:
        """Computes the plot of the segments."""
        ctx.trigger(f"{rows.URI}visualize_segments", {"key": ctx.panel.state.run})

    def show_all(self, ctx: foo.ExecutionContext) -> None:
        """Clears the grid's view."""
        _set_view(ctx, ctx.dataset.view())

    def explain(self, ctx: foo.ExecutionContext) -> None:
        """Shows the worst segments of the open or selected sample beside what they differ from."""
        loaded, sample_id = self._loaded(ctx), sources.chosen_sample(ctx)
        if loaded is None or sample_id is None:
            ctx.ops.notify("Open a sample, or select one in the grid, first", variant="info")
            return
        try:
            ctx.panel.state.why = crops.explained(ctx.dataset, loaded[0].key, sample_id)
        except (SegadError, ValueError) as error:
            ctx.ops.notify(str(error), variant="error")

    def open_normal(self, ctx: foo.ExecutionContext) -> None:
        """Opens the normal image of a crop."""
        path = ctx.params.get("filepath")
        sample = sources.sample_of(ctx.dataset, path)
        if sample is None:
            ctx.ops.notify("The image is not in this dataset", variant="info")
        else:
            ctx.ops.open_sample(id=sample)

    def render(self, ctx: foo.ExecutionContext) -> types.Property:
        """Draws the panel."""
        panel = types.Object()
        if ctx.dataset is None:
            panel.md("### Open a dataset first", name="empty")
        else:
            activity.add(panel, ctx, self.poll, self.cancel, self.dismiss)
            loaded = self._loaded(ctx, panel)
            if loaded is not None:
                self._add_run(panel, ctx, *loaded)
        return types.Property(panel, view=types.GridView(orientation="vertical", gap=2, px=2, py=1))

    def _loaded(self, ctx: foo.ExecutionContext, panel: types.Object | None = None) -> tuple[Run, Triage] | None:
        """The run and its scores; says in the panel why there are none."""
        key = ctx.panel.state.run
        if key is None:
            if panel is not None:
                _add_empty(panel)
            return None
        try:
            run = load_run(ctx.dataset, key)
        except (SegadError, ValueError) as error:
            if panel is not None:
                panel.view("error", types.AlertView(severity="error", label=str(error)))
            return None
        return run, sources.triage_of(ctx.dataset, run)

    def _move(self, ctx: foo.ExecutionContext, run: Run, threshold: float | None) -> None:
        ctx.panel.state.moved, ctx.panel.state.base = threshold, run.thresholds.image
        self._refresh(ctx)

    def _threshold(self, ctx: foo.ExecutionContext, run: Run) -> float:
        """The one that is looked at; a slider that was moved from another threshold than the run's counts no more."""
        state = ctx.panel.state
        if state.moved is None or state.base != run.thresholds.image:
            return run.thresholds.image
        return float(state.moved)

    def _is_moved(self, ctx: foo.ExecutionContext, run: Run, triage: Triage) -> bool:
        """Whether the slider is elsewhere than at the run's threshold, which it rounds."""
        low, high = _slider_range(run, triage)
        return abs(self._threshold(ctx, run) - run.thresholds.image) > (high - low) / _STEPS / 2

    def _show_newest(self, ctx: foo.ExecutionContext) -> None:
        """A run that has ended is what one waits for; without a new one, the same is shown again."""
        ctx.dataset.reload()
        runs = list_runs(ctx.dataset)
        sources.forget()
        if runs:
            ctx.panel.state.run, ctx.panel.state.base = runs[-1], None
        self._refresh(ctx)

    def _refresh(self, ctx: foo.ExecutionContext) -> None:
        """Draws what depends on the run, the threshold and the tab."""
        loaded = self._loaded(ctx)
        if loaded is None:
            return
        run, triage = loaded
        threshold = self._threshold(ctx, run)
        tab = ctx.panel.state.tab or "scores"
        if tab == "scores":
            ctx.panel.set_data("histogram", figures.histogram(triage))
        elif tab == "curves":
            ctx.panel.set_data("roc", figures.roc(triage, threshold))
            ctx.panel.set_data("precision_recall", figures.precision_recall(triage, threshold))
        elif (points := segment_points(ctx.dataset, run.key)) is not None:
            ctx.panel.set_data("plot", figures.segments(*points))
        ctx.panel.set_data("defects", figures.defect_rows(triage, threshold))
        _memory(ctx).set(_NAME, {name: getattr(ctx.panel.state, name) for name in _REMEMBERED})

    def _set_grid(self, ctx: foo.ExecutionContext, ids: list[str]) -> None:
        if ids:
            _set_view(ctx, ctx.dataset.select(ids, ordered=True))
        else:
            ctx.ops.notify("There are none", variant="info")

    def _add_run(self, panel: types.Object, ctx: foo.ExecutionContext, run: Run, triage: Triage) -> None:
        threshold = self._threshold(ctx, run)
        runs = types.DropdownView()
        for key in list_runs(ctx.dataset):
            runs.add_choice(key, label=key)
        panel.enum("run", runs.values(), label="Run", default=run.key, view=runs, on_change=self.choose_run)
        panel.md(
            f"{run.scored:,} images by **{run.method}** with **{run.embedder}**; threshold in force "
            f"{run.thresholds.image:.4g} ({run.thresholds.rule})",
            name="about",
        )
        tabs = types.TabsView()
        for name, label in _TABS.items():
            tabs.add_choice(name, label=label)
        tab = ctx.panel.state.tab or "scores"
        panel.enum("tab", tabs.values(), default=tab, view=tabs, on_change=self.choose_tab)
        draw = {"scores": self._add_scores, "curves": self._add_curves, "segments": self._add_segments}
        draw[tab](panel, ctx, run, triage)
        rows.add_counts(panel, triage, threshold, self.show)
        if self._is_moved(ctx, run, triage):
            row = panel.h_stack("apply_row", gap=1)
            label = f"Apply {threshold:.4g}"
            row.btn("apply", label=label, icon="check", variant="contained", on_click=self.apply_threshold)
            row.btn("reset", label="Back", icon="undo", on_click=self.reset_threshold)
        rows.add_views(panel, ctx, self.show, self.show_regions, self.show_groups, self.show_all)
        rows.add_review(panel)
        if triage.by_defect(threshold):
            table = types.TableView(size="small", componentsProps={"table": {"sx": {"minWidth": 0}}})
            for name in ("defect", "images", "flagged", "recall", "auroc"):
                table.add_column(name, label=name)
            table.add_row_action("show", self.show_defect, label="Show", icon="visibility")
            panel.list("defects", types.Object(), label="By kind of defect", view=table)
        self._add_why(panel, ctx)

    def _add_scores(self, panel: types.Object, ctx: foo.ExecutionContext, run: Run, triage: Triage) -> None:
        threshold = self._threshold(ctx, run)
        low, high = _slider_range(run, triage)
        self._add_plot(panel, "histogram", figures.histogram_layout((low, high), threshold), self.show_bar)
        panel.float(
            "slider",
            min=low,
            max=high,
            default=run.thresholds.image,
            label="Threshold",
            view=types.SliderView(value_precision=4, multiple_of=max(high - low, 1e-6) / _STEPS),
            on_change=self.move_threshold,
        )

    def _add_curves(self, panel: types.Object, ctx: foo.ExecutionContext, run: Run, triage: Triage) -> None:
        if triage.rates() is None:
            text = "Curves need ground truth of normal and of defective images: evaluate the run, or fill `defect`."
            panel.md(text, name="no_curves")
            return
        panel.md("Click a point to move the threshold there.", name="curves_help")
        self._add_plot(panel, "roc", figures.curve_layout("false-alarm rate", "recall"), self.take_point)
        self._add_plot(panel, "precision_recall", figures.curve_layout("recall", "precision"), self.take_point)

    def _add_segments(self, panel: types.Object, ctx: foo.ExecutionContext, run: Run, triage: Triage) -> None:
        if segment_points(ctx.dataset, run.key) is None:
            panel.md(
                "Segments that look alike beside each other: groups of high scores are kinds of defects, or one kind "
                "of false alarm.",
                name="no_plot",
            )
            panel.btn("plot_segments", label="Plot the segments", icon="bubble_chart", on_click=self.plot_segments)
            return
        panel.md("Click a segment, or draw around several, to see them.", name="segments_help")
        panel.plot(
            "plot",
            layout=figures.segments_layout(),
            config={"displayModeBar": False},
            on_click=self.show_segments,
            on_selected=self.show_segments,
            height="360px",
        )

    def _add_plot(self, panel: types.Object, name: str, layout: dict[str, Any], on_click: activity.Handler) -> None:
        panel.plot(name, layout=layout, config={"displayModeBar": False}, on_click=on_click, height=_PLOT_HEIGHT)

    def _add_why(self, panel: types.Object, ctx: foo.ExecutionContext) -> None:
        panel.btn("why_button", label="Why is it anomalous?", icon="psychology_alt", on_click=self.explain)
        if ctx.panel.state.why:
            crops.add(panel, ctx.panel.state.why, self.open_normal)


def _has_news(ctx: foo.ExecutionContext) -> bool:
    return ctx.dataset is not None and activity.state(ctx) != (ctx.panel.state.active or activity.NOTHING)


def _memory(ctx: foo.ExecutionContext) -> Any:
    """What a reload of the page keeps; it goes with the dataset."""
    return ctx.store("fiftyone_segad_panel")


def _set_view(ctx: foo.ExecutionContext, view: Any) -> None:
    """Sets the grid; filters of the sidebar would hide some of what a button has counted."""
    ctx.ops.clear_sidebar_filters()
    ctx.ops.set_view(view)


def _slider_range(run: Run, triage: Triage) -> tuple[float, float]:
    low, high = triage.range
    return min(low, run.thresholds.image), max(high, run.thresholds.image)


def _add_empty(panel: types.Object) -> None:
    panel.md("### No run yet\nScore the images of this dataset, or load a folder in MVTec layout.", name="empty")
    row = panel.h_stack("next", gap=1)
    compute, load = f"{rows.URI}compute_segment_anomalies", f"{rows.URI}load_mvtec"
    row.btn("compute", label="Compute anomalies", icon="thermostat", on_click=compute, prompt=True)
    row.btn("load", label="Load images", icon="folder_open", on_click=load, prompt=True)
