"""Operators of the review: ``mark_normal``, ``mark_anomalous``, ``unmark`` and ``undo_review``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
import fiftyone.operators.types as types
from fiftyone.core.collections import SampleCollection as Samples

from ...registry.keys import review_field
from ...review.marks import list_marks, mark_anomalous, mark_normal, marks_on_defects, on_defects_text, unmark
from ...review.undo import undo_review
from .. import execution, forms
from ..current_run import set_current_run
from ..selection import selection_of
from .base import NOTES, Line, Operator, notes, short_config

_OUTPUTS = (
    Line("marks", "Marks of the run"),
    Line("selection", "Which", "text", when="selection"),
    Line("pictures", "", "pictures"),
    NOTES,
)


class _Review(Operator):
    """An action that changes marks of a run."""

    def add_inputs(self, ctx: foo.ExecutionContext, inputs: types.Object) -> None:
        if forms.choose_run(ctx, inputs) is not None:
            self.add_target(ctx, inputs)

    def add_target(self, ctx: foo.ExecutionContext, inputs: types.Object) -> None:
        """Add what the action is on."""

    def next_step(self, result: dict[str, Any]) -> str:
        return "Next: 'Anomalies: rescore' learns it"


class _SelectionReview(_Review):
    """An action on what a person means: the open image, or what is selected."""

    def add_target(self, ctx: foo.ExecutionContext, inputs: types.Object) -> None:
        try:
            selection = selection_of(ctx)
        except ValueError as error:
            forms.stop(inputs, "nothing", str(error))
            return
        inputs.view("selection", types.Notice(label=selection.text))
        for i, (name, url) in enumerate(selection.pictures().items()):
            forms.add_picture(inputs, f"picture{i}", name, url)

    def execute(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        key, selection = forms.run_key(ctx), selection_of(ctx)
        changed = self.act(ctx, key, selection.samples)
        result = {
            "key": key,
            "changed": changed,
            "selection": selection.text,
            "pictures": selection.pictures() if execution.in_app(ctx) else {},
            **_state(ctx.dataset, key),
        }
        _show(ctx, key)
        return result

    def act(self, ctx: foo.ExecutionContext, key: str, samples: Samples) -> int:
        """Change marks of samples or patches; returns how many have changed."""
        raise NotImplementedError


class _Mark(_SelectionReview):
    """Marks what is selected.

    Attributes:
        mark: function of the package that does it
        names_defects: whether it takes the kind of a defect
    """

    place = types.Places.SAMPLES_GRID_ACTIONS
    outputs = (Line("changed", "Marked"), *_OUTPUTS)
    mark: Callable[..., Any]
    names_defects = False

    def add_target(self, ctx: foo.ExecutionContext, inputs: types.Object) -> None:
        super().add_target(ctx, inputs)
        if self.names_defects:
            inputs.str("label", label="Kind of defect", description=_known_kinds(ctx))
        inputs.str("why", label="Why", description="Optional; kept with the mark")

    def act(self, ctx: foo.ExecutionContext, key: str, samples: Samples) -> int:
        label = (forms.text(ctx.params, "label", "") or "").strip() if self.names_defects else ""
        options = {"label": label} if label else {}
        why = forms.text(ctx.params, "why", "") or ""
        return len(type(self).mark(samples, key, why=why, by=_user(ctx), **options))


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
    names_defects = True


class Unmark(_SelectionReview):
    """Takes marks of what is selected back."""

    config = short_config(
        "unmark", "take marks back", "Remove the marks of the selected samples or patches", "backspace"
    )
    outputs = (Line("changed", "Marks taken back"), *_OUTPUTS)

    def act(self, ctx: foo.ExecutionContext, key: str, samples: Samples) -> int:
        return len(unmark(samples, key))


class UndoReview(_Review):
    """Takes the last action back."""

    config = short_config("undo_review", "undo the last mark", "Take back the last action of a review", "undo")
    outputs = (Line("changed", "Actions taken back"), *_OUTPUTS)

    def execute(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        key = forms.run_key(ctx)
        changed = int(undo_review(ctx.dataset, key))
        result = {"key": key, "changed": changed, **_state(ctx.dataset, key)}
        _show(ctx, key)
        return result


def _known_kinds(ctx: foo.ExecutionContext) -> str:
    """Say which kinds of defects were named before, so that alike ones get one name."""
    kinds = sorted({mark.defect for mark in list_marks(ctx.dataset, forms.run_key(ctx)) if mark.defect})
    return f"Optional; named so far: {', '.join(kinds)}" if kinds else "Optional, e.g. scratch"


def _state(dataset: fo.Dataset, key: str) -> dict[str, Any]:
    """Return how many marks a run has, and what should be known of them."""
    marks = list_marks(dataset, key)
    wrong = marks_on_defects(dataset, marks)
    return {"marks": len(marks), "messages": notes([on_defects_text(wrong)]) if wrong else ""}


def _show(ctx: foo.ExecutionContext, key: str) -> None:
    """Show the marks, and clear the selection: the next action is on what is selected for it."""
    set_current_run(ctx.dataset, key)
    if ctx.delegated:
        return
    ctx.ops.clear_selected_samples()
    ctx.ops.clear_selected_labels()
    execution.reload(ctx)
    if ctx.dataset.has_sample_field(review_field(key)):
        ctx.ops.set_active_fields([*dict.fromkeys([*ctx.active_fields, review_field(key)])])


def _user(ctx: foo.ExecutionContext) -> str | None:
    """Return the name of the App's user, where it has users."""
    user = getattr(ctx, "user", None)
    name = getattr(user, "name", None) or getattr(user, "email", None)
    return str(name) if name else None
