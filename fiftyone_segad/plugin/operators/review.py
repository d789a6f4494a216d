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


class _Review(foo.Operator):
    """An action on what is selected."""

    done: str

    def resolve_input(self, ctx: foo.ExecutionContext) -> types.Property:
        """The form."""
        inputs = types.Object()
        if forms.choose_run(ctx, inputs) is not None:
            self.add_inputs(ctx, inputs)
        return types.Property(inputs, view=types.View(label=self.config.label.removeprefix("Anomalies: ").capitalize()))

    def add_inputs(self, ctx: foo.ExecutionContext, inputs: types.Object) -> None:
        """What the form has besides the run."""
        try:
            _, text = chosen(ctx)
        except ValueError as error:
            forms.stop(inputs, "nothing", str(error))
            return
        inputs.view("chosen", types.Notice(label=text))

    def execute(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        """Acts, and shows the marks."""
        key = forms.run_key(ctx)
        changed = self.act(ctx, key)
        marks = list_marks(ctx.dataset, key)
        result = {"key": key, "changed": changed, "marks": len(marks), "warning": ""}
        if wrong := marks_on_defects(ctx.dataset, marks):
            result["warning"] = on_defects_text(wrong)
        if not ctx.delegated:
            ctx.ops.reload_dataset()
        return result

    def act(self, ctx: foo.ExecutionContext, key: str) -> int:
        """Do it; returns how many marks have changed."""
        raise NotImplementedError

    def resolve_output(self, ctx: foo.ExecutionContext) -> types.Property:
        """The result."""
        form = types.Object()
        form.int("changed", label=self.done)
        form.int("marks", label="Marks of the run")
        if (ctx.results or {}).get("warning"):  # None after an error, which would be hidden by another one
            form.str("warning", label="Please note", view=types.MarkdownView())
        return forms.with_next_step(form, "Next: 'Anomalies: rescore' learns what is normal")


class _Mark(_Review):
    """Marks what is selected."""

    done = "Marked"
    mark: Callable[..., Any]

    def add_inputs(self, ctx: foo.ExecutionContext, inputs: types.Object) -> None:
        """What is chosen, and why."""
        super().add_inputs(ctx, inputs)
        inputs.str("why", label="Why", description="Optional; kept with the mark")

    def act(self, ctx: foo.ExecutionContext, key: str) -> int:
        """Mark."""
        samples, _ = chosen(ctx)
        return len(type(self).mark(samples, key, forms.text(ctx.params, "why", "") or "", _user(ctx)))

    def resolve_placement(self, ctx: foo.ExecutionContext) -> types.Placement:
        """A button beside the selection."""
        label = self.config.label.removeprefix("Anomalies: ").capitalize()
        return types.Placement(
            types.Places.SAMPLES_GRID_ACTIONS, types.Button(label=label, icon=self.config.icon, prompt=True)
        )


class MarkNormal(_Mark):
    """Says that what is selected is normal."""

    mark = staticmethod(mark_normal)

    @property
    def config(self) -> foo.OperatorConfig:
        return _config("mark_normal", "mark as normal", "Say that samples, regions or segments are normal", "thumb_up")


class MarkAnomalous(_Mark):
    """Says that what is selected is defective."""

    mark = staticmethod(mark_anomalous)

    @property
    def config(self) -> foo.OperatorConfig:
        text = "Say that samples, regions or segments are defective"
        return _config("mark_anomalous", "mark as anomalous", text, "thumb_down")


class Unmark(_Review):
    """Takes marks of what is selected back."""

    done = "Marks taken back"

    @property
    def config(self) -> foo.OperatorConfig:
        return _config("unmark", "take marks back", "Remove the marks of the selected samples or patches", "backspace")

    def act(self, ctx: foo.ExecutionContext, key: str) -> int:
        """Remove them."""
        return len(unmark(chosen(ctx)[0], key))


class UndoReview(_Review):
    """Takes the last action back."""

    done = "Actions taken back"

    @property
    def config(self) -> foo.OperatorConfig:
        return _config("undo_review", "undo the last mark", "Take back the last action of a review", "undo")

    def add_inputs(self, ctx: foo.ExecutionContext, inputs: types.Object) -> None:
        """Nothing need be chosen."""

    def act(self, ctx: foo.ExecutionContext, key: str) -> int:
        """Undoes."""
        return int(undo_review(ctx.dataset, key))


def chosen(ctx: foo.ExecutionContext) -> tuple[Samples, str]:
    """What a person has chosen in the App: labels, patches or samples that are selected, or the open sample.

    Returns:
        the samples or patches, and what they are in words

    Raises:
        ValueError: if nothing is chosen
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
    ids = list(ctx.selected or [])
    words = "selected"
    if not ids and ctx.current_sample:
        ids, words = [ctx.current_sample], "open"
    if not ids:
        raise ValueError("Select samples or patches in the grid, or labels of an open sample, first")
    kinds = ("patch", "patches") if isinstance(view, fop.PatchesView) else ("sample", "samples")
    # Whatever the view has come to since: a sample stays what it is, one that a filter hides now as well
    found = view.select(ids) if isinstance(view, fop.PatchesView) else ctx.dataset.select(ids)
    if len(found) == 0:
        raise ValueError("What is selected is not in the dataset or view any more; select it again")
    return found, pluralize(len(found), *(f"{words} {kind}" for kind in kinds))


def _user(ctx: foo.ExecutionContext) -> str | None:
    """The name of the App's user, where it has users."""
    user = getattr(ctx, "user", None)
    name = getattr(user, "name", None) or getattr(user, "email", None)
    return str(name) if name else None


def _config(name: str, label: str, description: str, icon: str) -> foo.OperatorConfig:
    return foo.OperatorConfig(
        name=name,
        label=f"Anomalies: {label}",
        description=description,
        icon=icon,
        dynamic=True,
        risk_level=types.RiskLevel.MEDIUM,
    )
