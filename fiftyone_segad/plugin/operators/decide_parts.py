"""Operator ``decide_parts``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
import fiftyone.operators.types as types

from ...registry.keys import part_field, written_fields
from ...registry.parts import PartDecisions, flagged_parts
from ...runs.parts import decide_parts
from ...scoring.thresholds import DEFAULT_FPR
from .. import execution, forms
from .base import NOTES, Line, LongOperator, long_config, notes

_USUAL = ("part_id", "part", "serial", "serial_number")
"""Names of fields that are offered first as those of parts."""

_ABOUT_PARTS = "The field that is the same for pictures of one part"
_ABOUT_VIEWS = "The field that tells cameras or sides; without one the pictures of a part are alike"


class DecideParts(LongOperator):
    """Decides on parts instead of pictures."""

    config = long_config(
        "decide_parts",
        "decide on parts",
        "One decision per part from all of its pictures; the stated share of good parts is flagged, not of pictures",
        "grid_view",
    )
    outputs = (
        Line("flagged", "Parts that are anomalous"),
        Line("parts", "Parts decided"),
        Line("normals", "Normal parts"),
        Line("share", "Share of good parts that may be flagged", "text"),
        NOTES,
    )

    def add_inputs(self, ctx: foo.ExecutionContext, inputs: types.Object) -> None:
        if forms.choose_run(ctx, inputs, with_views=True) is None:
            return
        fields = name_fields(ctx.dataset)
        if ctx.dataset.group_field is None and not fields:
            forms.stop(inputs, "no_parts", "Nothing tells parts: the dataset is not grouped and has no field of names")
            return
        if ctx.dataset.group_field is None:
            usual = next((name for name in (*_USUAL, *fields) if name in fields), None)
            forms.choose(inputs, "by", fields, "Part", _ABOUT_PARTS, usual)
            inputs.enum("views", fields, label="View", description=_ABOUT_VIEWS, view=_choices(fields))
        about = "Of new good parts, about this share is flagged; empty for that of the run's threshold"
        share = inputs.float("share", label="Share", description=about)
        value = ctx.params.get("share")
        if value is not None and not 0 < value < 1:
            forms.refuse(share, f"The share must be between 0 and 1, e.g. {DEFAULT_FPR}")

    def execute(self, ctx: foo.ExecutionContext) -> Any:
        dataset, key = ctx.dataset, forms.run_key(ctx)
        by, views = forms.text(ctx.params, "by"), forms.text(ctx.params, "views")

        def work(progress: execution.Progress) -> dict[str, Any]:
            return _result(decide_parts(dataset, key, by, views, ctx.params.get("share")))

        def show(result: dict[str, Any]) -> Iterator[Any]:
            view = flagged_parts(dataset, key) if result["flagged"] else ctx.view
            yield from execution.show_fields(ctx, dataset, view, [*ctx.active_fields, part_field(key)])

        return self.run(ctx, f"parts of {key}", work, show, key)

    def next_step(self, result: dict[str, Any]) -> str:
        if result.get("flagged"):
            return "The grid shows the anomalous parts. Next: look at the view that decided, and mark what is wrong"
        return "No part is anomalous. Next: raise the share if you expected some"


def _result(decisions: PartDecisions) -> dict[str, Any]:
    return {
        "key": decisions.key,
        "parts": len(decisions.parts),
        "flagged": len(decisions.flagged),
        "normals": decisions.record.normals,
        "share": f"{decisions.share:g}",
        "messages": notes(decisions.warnings),
    }


def name_fields(dataset: fo.Dataset) -> list[str]:
    """Return the fields whose values can be names, but those that every dataset has or this package wrote."""
    written = written_fields(dataset)
    return [
        name
        for name, field in dataset.get_field_schema(ftype=(fo.StringField, fo.IntField)).items()
        if name != "filepath" and name not in written
    ]


def _choices(values: list[str]) -> types.DropdownView:
    view = types.DropdownView()
    for value in values:
        view.add_choice(value, label=value)
    return view
