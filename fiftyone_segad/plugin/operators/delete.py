"""Operators ``delete_run`` and ``delete_curation``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fiftyone.operators as foo
import fiftyone.operators.types as types

from ...curation.registration import delete_curation, list_curations, load_curation
from ...registry.keys import FIELD_NAMES, field_name, list_views
from ...registry.removal import delete_run
from .. import execution, forms
from .base import Line, Operator, short_config


class _Delete(Operator):
    """Removes what a key names; nothing is chosen beforehand.

    Attributes:
        kind: what the key names
        delete: function of the package that removes it
    """

    kind: str
    delete: Callable[..., Any]

    def add_inputs(self, ctx: foo.ExecutionContext, inputs: types.Object) -> None:
        removed = self.choose(ctx, inputs)
        if removed is not None:
            inputs.view("warning", types.Warning(label=f"This removes {removed} for good"))

    def choose(self, ctx: foo.ExecutionContext, inputs: types.Object) -> str | None:
        """Add the choice; returns what will be removed, or None if nothing is chosen."""
        raise NotImplementedError

    def execute(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        key = forms.text(ctx.params, "key")
        if key is None:
            raise ValueError(f"key is missing: name the {self.kind} to delete")
        type(self).delete(ctx.dataset, key)
        if not ctx.delegated:
            ctx.ops.clear_view()
            execution.reload(ctx)
        return {"deleted": key}

    def next_step(self, result: dict[str, Any]) -> str:
        return "Nothing of it is left"


class DeleteRun(_Delete):
    """Removes a run without trace."""

    config = short_config(
        "delete_run",
        "delete a run",
        "Remove a run's fields, files, tags and evaluations; images and ground truth stay",
        "delete",
        risk_level=types.RiskLevel.HIGH,
    )
    outputs = (Line("deleted", "Run deleted", "text"),)
    kind = "run"
    delete = staticmethod(delete_run)

    def choose(self, ctx: foo.ExecutionContext, inputs: types.Object) -> str | None:
        key = forms.choose_run(ctx, inputs, default=False, with_views=True)
        if key is None:
            return None
        if key in list_views(ctx.dataset):
            return "the runs of all slices, their fields, files and evaluations, and what was decided on parts"
        return f"{', '.join(field_name(key, name) for name in FIELD_NAMES)}, their files and evaluations"

    def next_step(self, result: dict[str, Any]) -> str:
        return "Nothing of it is left. Next: compute another run, or go on with those that are there"


class DeleteCuration(_Delete):
    """Removes what duplicates, quality or contamination wrote."""

    config = short_config(
        "delete_curation",
        "delete a curation",
        "Remove the fields and tags of duplicates, image quality or contamination; images stay",
        "delete",
        risk_level=types.RiskLevel.HIGH,
    )
    outputs = (Line("deleted", "Curation deleted", "text"),)
    kind = "curation"
    delete = staticmethod(delete_curation)

    def choose(self, ctx: foo.ExecutionContext, inputs: types.Object) -> str | None:
        keys = list_curations(ctx.dataset)
        if not keys:
            forms.stop(inputs, "no_curations", "There is nothing to delete: nothing was curated yet")
            return None
        forms.choose(inputs, "key", keys, "Curation", "Key of duplicates, image quality or contamination")
        key = ctx.params.get("key")
        if key not in keys:
            return None
        curation = load_curation(ctx.dataset, key)
        tag = f" and the tag '{curation.tag}'" if curation.tag is not None else ""
        return f"the fields {', '.join(curation.fields)}{tag}"
