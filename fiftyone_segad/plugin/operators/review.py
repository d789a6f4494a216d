"""Operators of the review: ``mark_normal``, ``mark_anomalous``, ``unmark`` and ``undo_review``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fiftyone.core.patches as fop
import fiftyone.operators as foo
import fiftyone.operators.types as types
from fiftyone.core.collections import SampleCollection as Samples

from ...review.marks import list_marks, mark_anomalous, mark_normal, marks_on_defects, on_defects_text, unmark
from ...review.undo import undo_review
from ...utils.text import pluralize
from .. import forms
from .base import NOTES, Line, Operator, short_config


class _Review(Operator):
    """An action on what is selected."""

    def add_inputs(self, ctx: foo.ExecutionContext, inputs: types.Object) -> None:
        if forms.choose_run(ctx, inputs) is not None:
            self.add_target(ctx, inputs)

    def add_target(self, ctx: foo.ExecutionContext, inputs: types.Object) -> None:
        """Add what the action is on, or say that nothing is selected."""
        try:
            _, label = target_of(ctx)
        except ValueError as error:
            forms.stop(inputs, "nothing", str(error))
            return
        inputs.view("chosen", types.Notice(label=label))

    def execute(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        key = forms.run_key(ctx)
        changed = self.act(ctx, key)
        marks = list_marks(ctx.dataset, key)
        result = {"key": key, "changed": changed, "marks": len(marks), "messages": ""}
        if wrong := marks_on_defects(ctx.dataset, marks):
            result["messages"] = on_defects_text(wrong)
        if not ctx.delegated:
            ctx.ops.reload_dataset()
        return result

    def act(self, ctx: foo.ExecutionContext, key: str) -> int:
        """Do it; returns how many marks have changed."""
        raise NotImplementedError

    def next_step(self, result: dict[str, Any]) -> str:
        return "Next: 'Anomalies: rescore' learns what is normal"


class _Mark(_Review):
    """Marks what is selected.

    Attributes:
        mark: function of the package that does it
    """

    place = types.Places.SAMPLES_GRID_ACTIONS
    outputs = (Line("changed", "Marked"), Line("marks", "Marks of the run"), NOTES)
    mark: Callable[..., Any]

    def add_target(self, ctx: foo.ExecutionContext, inputs: types.Object) -> None:
        super().add_target(ctx, inputs)
        inputs.str("why", label="Why", description="Optional; kept with the mark")

    def act(self, ctx: foo.ExecutionContext, key: str) -> int:
        why = forms.text(ctx.params, "why", "") or ""
        samples, _ = target_of(ctx)
        return len(type(self).mark(samples, key, why, _user(ctx)))


class MarkNormal(_Mark):
    """Says that what is selected is normal."""

    config = short_config(
        "mark_normal", "mark as normal", "Say that samples, regions or segments are normal", "thumb_up"
    )
    mark = staticmethod(mark_normal)


class MarkAnomalous(_Mark):
    """Says that what is selected is defective."""

    config = short_config(
        "mark_anomalous", "mark as anomalous", "Say that samples, regions or segments are defective", "thumb_down"
    )
    mark = staticmethod(mark_anomalous)


class Unmark(_Review):
    """Takes marks of what is selected back."""

    config = short_config(
        "unmark", "take marks back", "Remove the marks of the selected samples or patches", "backspace"
    )
    outputs = (Line("changed", "Marks taken back"), Line("marks", "Marks of the run"), NOTES)

    def act(self, ctx: foo.ExecutionContext, key: str) -> int:
        return len(unmark(target_of(ctx)[0], key))


class UndoReview(_Review):
    """Takes the last action back."""

    config = short_config("undo_review", "undo the last mark", "Take back the last action of a review", "undo")
    outputs = (Line("changed", "Actions taken back"), Line("marks", "Marks of the run"), NOTES)

    def add_target(self, ctx: foo.ExecutionContext, inputs: types.Object) -> None:
        """Add nothing: it is on what was done last."""

    def act(self, ctx: foo.ExecutionContext, key: str) -> int:
        return int(undo_review(ctx.dataset, key))


def target_of(ctx: foo.ExecutionContext) -> tuple[Samples, str]:
    """Return what a person means in the App: labels, patches or samples that are selected, or the open sample.

    Returns:
        the samples or patches, and what they are in words

    Raises:
        ValueError: if nothing is selected or open
    """
    labels = ctx.selected_labels or []
    if labels:
        fields = sorted({label["field"] for label in labels})
        if len(fields) > 1:
            raise ValueError(f"The selected labels are of several fields, {fields}; select those of one field")
        ids = [label["label_id"] for label in labels]
        count = pluralize(len(ids), "selected label")
        return ctx.dataset.to_patches(fields[0]).select(ids), f"{count} of {fields[0]}"
    view = ctx.view if ctx.view is not None else ctx.dataset
    ids, words = list(ctx.selected or []), "selected"
    if not ids and ctx.current_sample:
        ids, words = [ctx.current_sample], "open"
    if not ids:
        raise ValueError("Select samples or patches in the grid, or labels of an open sample, first")
    # Whatever the view has come to since: a sample stays what it is, one that a filter hides now as well
    is_patches = isinstance(view, fop.PatchesView)
    target = view.select(ids) if is_patches else ctx.dataset.select(ids)
    if len(target) == 0:
        raise ValueError("What is selected is not in the dataset or view any more; select it again")
    kinds = ("patch", "patches") if is_patches else ("sample", "samples")
    return target, pluralize(len(target), *(f"{words} {kind}" for kind in kinds))


def _user(ctx: foo.ExecutionContext) -> str | None:
    """Return the name of the App's user, where it has users."""
    user = getattr(ctx, "user", None)
    name = getattr(user, "name", None) or getattr(user, "email", None)
    return str(name) if name else None
