"""Panel ``anomaly_review``: one alarm after the other, a key each. Its half in the browser is in ``app/``."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
import fiftyone.operators.types as types

from ...errors import SegadError
from ...registry.keys import list_runs
from ...registry.run import Run, load_record
from ...registry.samples import all_slices
from ...review.decide import Decision, decide
from ...runs.rescore import rescore
from ...runs.review_report import ReviewReport, ViewReports
from ...utils.text import name_some, pluralize
from .. import execution
from ..current_run import current_run_of, panel_store, set_current_run
from ..wording import in_app_words
from . import queue_data
from .run_view import sample_of

PANEL = "anomaly_review"
COMPONENT = "SegadReview"
"""Name by which the bundle registers its component."""

_LEARNT = "learnt"
"""What the last learning changed, among what the pages of a dataset have in common."""

_NAMED = 3
"""Images that what has changed names, at most."""

logger = logging.getLogger(__name__)


class AnomalyReview(foo.Panel):
    """The queue of alarms. The browser keeps the place in it; the dataset keeps what was decided.

    Its methods answer the browser with plain values, among them ``error`` where something is wrong. They draw
    nothing: what is drawn is always the same component.
    """

    @property
    def config(self) -> foo.PanelConfig:
        return foo.PanelConfig(
            name=PANEL,
            label="Review",
            icon="rate_review",
            help_markdown="Decide on one alarm after the other, with one key each, and let the run learn it.",
            surfaces="grid modal",
        )

    def execute(self, ctx: foo.ExecutionContext) -> Any:
        method = ctx.params.get("__method__")
        answers = {answer.__name__: answer for answer in self._answers}
        if method not in answers:
            return super().execute(ctx)
        try:
            return answers[method](ctx)
        except (SegadError, ValueError, OSError) as error:
            return {"error": in_app_words(str(error))}
        except Exception as error:  # a run may be putting its fields in place; the browser asks again
            logger.warning("The review could not be read: %s", error, exc_info=error)
            return {"error": f"{type(error).__name__}: {error}", "again": True}

    @property
    def _answers(self) -> tuple[Any, ...]:
        return (self.queue, self.opened, self.poll, self.shapes, self.normals, self.decide, self.learn)

    def render(self, ctx: foo.ExecutionContext) -> types.Property:
        """Draw the panel."""
        methods = {answer.__name__: answer for answer in self._answers}
        return types.Property(types.Object(), view=types.View(component=COMPONENT, composite_view=True, **methods))

    def queue(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        """Return the alarms of the run that was asked for, which becomes the current one."""
        if ctx.dataset is None:
            return {"error": "Open a dataset first"}
        key = ctx.params.get("run")
        if key in list_runs(ctx.dataset):
            set_current_run(ctx.dataset, key)
        else:
            key = current_run_of(ctx)
        if key is None:
            return {"error": "No run yet: compute one in the panel 'Anomaly triage'"}
        run = load_record(ctx.dataset, key)
        options = {name: ctx.params[name] for name in ("order", "most") if name in ctx.params}
        return {**queue_data.queue(ctx.dataset, run, sample_of(ctx), **options), **_learning(ctx, run)}

    def opened(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        """Return the sample that is open; of a patch, the sample that it is of."""
        return {"sample": sample_of(ctx)}

    def poll(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        """Return what has changed since."""
        run = _run(ctx)
        return {**queue_data.state(ctx.dataset, run, seen=ctx.params.get("version")), **_learning(ctx, run)}

    def shapes(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        """Return what is drawn over the images of some alarms."""
        return queue_data.shapes(ctx.dataset, _run(ctx), _ids(ctx))

    def normals(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        """Return the normal segments that are most like some alarms."""
        return queue_data.normals(ctx.dataset, _run(ctx), _ids(ctx))

    def decide(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        """Write decisions, and take decisions back."""
        run = _run(ctx)
        decisions = [_decision(entry) for entry in ctx.params.get("decisions", [])]
        outcomes = decide(ctx.dataset, run.key, decisions, ctx.params.get("by") or None)
        return {
            "outcomes": [
                {"action": outcome.action, "mark": queue_data.plain_mark(outcome.mark), "refused": outcome.refused}
                for outcome in outcomes
            ]
        }

    def learn(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        """Begin to rescore the run while the review goes on, unless that is being done."""
        dataset, key = ctx.dataset, _run(ctx).key
        name = _activity(key)
        if name not in execution.running(execution.dataset_id(ctx)):
            store = panel_store(dataset)
            store.delete(_LEARNT)

            def work(progress: execution.Progress) -> None:
                report = rescore(dataset, key, progress=progress)
                store.set(_LEARNT, {"run": key, "text": _report_text(dataset, report)})

            execution.start(execution.dataset_id(ctx), name, work)
        return {}


def _run(ctx: foo.ExecutionContext) -> Run:
    key, dataset = ctx.params.get("run"), ctx.params.get("dataset")
    if dataset is not None and dataset != ctx.dataset.name:  # a decision must not get lost among other samples
        raise ValueError(f"The page shows another dataset now, not '{dataset}'")
    return load_record(ctx.dataset, key if isinstance(key, str) else current_run_of(ctx) or "")


def _decision(entry: dict[str, Any]) -> Decision:
    x, y, width, height = map(float, entry["box"])
    return Decision(entry["action"], entry["sample"], (x, y, width, height), entry["label"], entry.get("replaces"))


def _ids(ctx: foo.ExecutionContext) -> list[str]:
    return [str(id) for id in ctx.params.get("ids", [])]


def _activity(key: str) -> str:
    return f"rescoring of {key}"


def _learning(ctx: foo.ExecutionContext, run: Run) -> dict[str, Any]:
    """Describe the learning that goes on, and what the last one changed or why it failed."""
    name, id = _activity(run.key), execution.dataset_id(ctx)
    going_on = [activity for activity in execution.activities(id) if activity.name == name]
    learnt = panel_store(ctx.dataset).get(_LEARNT) or {}
    return {
        "learning": f"{going_on[0].share:.0%}" if going_on else None,
        "learnt": learnt.get("text") if learnt.get("run") == run.key else None,
        "failed": execution.failures(id).get(name),
    }


def _report_text(dataset: fo.Dataset, report: ReviewReport | ViewReports) -> str:
    parts = [
        f"Learnt {pluralize(report.marked, 'mark')}",
        f"{pluralize(len(report.cleared), 'image')} no longer flagged",
        f"{len(report.raised)} newly flagged",
    ]
    for defects, ids, what in ((report.found, report.found_ids, "now"), (report.lost, report.lost_ids, "no more")):
        if defects:
            names = [Path(path).name for path in all_slices(dataset).select(ids, ordered=True).values("filepath")]
            found = f"{pluralize(len(defects), 'defect')} of the ground truth found {what}"
            parts.append(f"{found} ({name_some(names, _NAMED)})")
    return ", ".join(parts)
