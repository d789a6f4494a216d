"""Operator ``delete_curation``."""

from __future__ import annotations

from typing import Any

import fiftyone.operators as foo
import fiftyone.operators.types as types

from ..curations import delete_curation, list_curations, load_curation
from . import forms


class DeleteCuration(foo.Operator):
    """Removes what duplicates, quality or contamination wrote."""

    @property
    def config(self) -> foo.OperatorConfig:
        return foo.OperatorConfig(
            name="delete_curation",
            label="Anomalies: delete a curation",
            description="Remove the fields and tags of duplicates, image quality or contamination; images stay",
            icon="delete",
            dynamic=True,
            risk_level=types.RiskLevel.HIGH,
        )

    def resolve_input(self, ctx: foo.ExecutionContext) -> types.Property:
        """The form; nothing is chosen beforehand."""
        inputs = types.Object()
        keys = list_curations(ctx.dataset) if ctx.dataset is not None else []
        if not keys:
            forms.stop(inputs, "no_curations", "There is nothing to delete: nothing was curated yet")
            return types.Property(inputs, view=types.View(label="Delete a curation"))
        forms.choose(inputs, "key", keys, "Curation", "Key of duplicates, image quality or contamination")
        key = ctx.params.get("key")
        if key in keys:
            curation = load_curation(ctx.dataset, key)
            tag = f" and the tag '{curation.tag}'" if curation.tag is not None else ""
            label = f"This removes the fields {', '.join(curation.fields)}{tag} for good"
            inputs.view("warning", types.Warning(label=label))
        return types.Property(inputs, view=types.View(label="Delete a curation"))

    def execute(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        """Deletes."""
        key = forms.text(ctx.params, "key")
        if key is None:
            raise ValueError("key is missing: name the curation to delete")
        delete_curation(ctx.dataset, key)
        if not ctx.delegated:
            ctx.ops.clear_view()
            ctx.ops.reload_dataset()
        return {"deleted": key}

    def resolve_output(self, ctx: foo.ExecutionContext) -> types.Property:
        """The result."""
        form = types.Object()
        form.str("deleted", label="Curation deleted")
        return forms.told(form, "Nothing of it is left")
