"""Operators of families: ``find_families``, ``name_family``, ``merge_families``, ``split_family``, ``mark_family``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import fiftyone.operators as foo
import fiftyone.operators.types as types

from ...registry.keys import ANOMALOUS, NORMAL
from ...review.families import Families, list_families
from ...review.family_edits import mark_family, merge_families, name_family, split_family
from ...runs.families import find_families
from ...storage.families import NEW_LABEL, SINGLE_LABEL
from ...utils.text import pluralize
from .. import execution, forms
from .base import Line, LongOperator, Operator, long_config, short_config

_COUNTS = (Line("families", "Families"), Line("new", "Regions of a kind never seen before", when="new"))
_LABELS = {NORMAL: "normal: rescoring learns it", ANOMALOUS: "anomalous: they are defects"}


class FindFamilies(LongOperator):
    """Groups the regions of a run into families."""

    config = long_config(
        "find_families",
        "find families of regions",
        "Group the regions of a run into kinds that look alike; how many there are is found",
        "category",
    )
    outputs = (*_COUNTS, Line("single", "Regions that fit nowhere", when="single"))

    def add_inputs(self, ctx: foo.ExecutionContext, inputs: types.Object) -> None:
        forms.load_chosen_run(ctx, inputs)

    def execute(self, ctx: foo.ExecutionContext) -> Any:
        dataset, key = ctx.dataset, forms.run_key(ctx)

        def work(progress: execution.Progress) -> dict[str, Any]:
            return _result(find_families(dataset, key, progress))

        def show(result: dict[str, Any]) -> Iterator[Any]:
            yield from execution.reload(ctx)

        return self.run(ctx, f"Families of '{key}'", work, show, key)

    def next_step(self, result: dict[str, Any]) -> str:
        return "Next: look at each family in the tab 'Families' of the panel, name it, and decide on it"


class _FamilyOperator(Operator):
    """An action on a family of a run."""

    def add_inputs(self, ctx: foo.ExecutionContext, inputs: types.Object) -> None:
        key = forms.choose_run(ctx, inputs)
        if key is None:
            return
        try:
            families = list_families(ctx.dataset, key)
        except ValueError as error:
            forms.stop(inputs, "no_families", str(error))
            return
        labels = self.labels(families)
        forms.choose(
            inputs, "family", labels, "Family", "", ctx.params.get("family") or next(iter(labels), None), labels
        )
        if (label := ctx.params.get("family") or next(iter(labels), None)) in labels:
            self.add_action(inputs, families, label)

    def labels(self, families: Families) -> dict[str, str]:
        """Return the labels of the families that may be chosen, with how many regions they have."""
        return {family.label: f"{family.label} ({pluralize(family.size, 'region')})" for family in families.families}

    def add_action(self, inputs: types.Object, families: Families, label: str) -> None:
        """Add what is done with a family."""

    def execute(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        key, family = forms.run_key(ctx), forms.text(ctx.params, "family")
        if family is None:
            raise ValueError("family is missing: choose one")
        result = self.act(ctx, key, family)
        if not ctx.delegated:
            execution.reload(ctx)
        return result

    def act(self, ctx: foo.ExecutionContext, key: str, family: str) -> dict[str, Any]:
        """Do it; returns the result."""
        raise NotImplementedError

    def next_step(self, result: dict[str, Any]) -> str:
        return "Next: later images that look so are assigned to it"


class NameFamily(_FamilyOperator):
    """Names a family."""

    config = short_config("name_family", "name a family", "Name a family of regions; it is kept from then on", "label")
    outputs = _COUNTS

    def add_action(self, inputs: types.Object, families: Families, label: str) -> None:
        inputs.str("name", label="Name", description="E.g. scratch", required=True)

    def act(self, ctx: foo.ExecutionContext, key: str, family: str) -> dict[str, Any]:
        return _result(name_family(ctx.dataset, key, family, forms.text(ctx.params, "name") or ""))


class MergeFamilies(_FamilyOperator):
    """Puts two families together."""

    config = short_config("merge_families", "merge families", "Put two families of regions together", "call_merge")
    outputs = _COUNTS

    def add_action(self, inputs: types.Object, families: Families, label: str) -> None:
        others = {name: text for name, text in self.labels(families).items() if name != label}
        forms.choose(inputs, "other", others, "Other family", "Its regions go over to the first", None, others)

    def act(self, ctx: foo.ExecutionContext, key: str, family: str) -> dict[str, Any]:
        other = forms.text(ctx.params, "other")
        if other is None:
            raise ValueError("other is missing: choose the other family")
        return _result(merge_families(ctx.dataset, key, [family, other]))


class SplitFamily(_FamilyOperator):
    """Splits a family."""

    config = short_config(
        "split_family", "split a family", "Take the two parts of a family apart that are least alike", "call_split"
    )
    outputs = _COUNTS

    def add_action(self, inputs: types.Object, families: Families, label: str) -> None:
        inputs.str("name", label="Name of the part that leaves", description="Optional")

    def act(self, ctx: foo.ExecutionContext, key: str, family: str) -> dict[str, Any]:
        return _result(split_family(ctx.dataset, key, family, name=forms.text(ctx.params, "name")))


class MarkFamily(_FamilyOperator):
    """Marks all regions of a family."""

    config = short_config(
        "mark_family", "mark a family", "Mark all regions of a family as normal or as anomalous", "done_all"
    )
    outputs = (Line("marked", "Regions marked"), Line("left_out", "Exceptions left out", when="left_out"))

    def labels(self, families: Families) -> dict[str, str]:
        others = [family for family in (families.new, families.single) if family.size]
        return super().labels(families) | {
            family.label: f"{family.label} ({pluralize(family.size, 'region')})" for family in others
        }

    def add_action(self, inputs: types.Object, families: Families, label: str) -> None:
        forms.choose_one(inputs, "label", _LABELS, ANOMALOUS, "All its regions are")
        if exceptions := len(families[label].exceptions):
            text = f"Leave out {pluralize(exceptions, 'region that fits', 'regions that fit')} clearly less"
            inputs.bool("leave_out", label=text, default=True)

    def act(self, ctx: foo.ExecutionContext, key: str, family: str) -> dict[str, Any]:
        label = forms.one_of(ctx.params, "label", (NORMAL, ANOMALOUS), ANOMALOUS)
        leave_out = ctx.params.get("leave_out", True)
        exceptions = list_families(ctx.dataset, key)[family].exceptions if leave_out else []
        marks = mark_family(ctx.dataset, key, family, label, exceptions)
        return {"key": key, "family": family, "marked": len(marks), "left_out": len(exceptions)}

    def next_step(self, result: dict[str, Any]) -> str:
        return "Next: 'Anomalies: rescore' learns it; 'Undo the last mark' takes it back"


def _result(families: Families) -> dict[str, Any]:
    return {
        "key": families.key,
        "families": len(families.families),
        "labels": [family.label for family in families.families],
        NEW_LABEL: families.new.size,
        SINGLE_LABEL: families.single.size,
    }
