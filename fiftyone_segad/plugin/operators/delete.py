"""Operators ``delete_run`` and ``delete_curation``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fiftyone.operators as foo
import fiftyone.operators.types as types

from ...curation.registration import delete_curation, list_curations, load_curation
from ...registry.removal import delete_run
from ...registry.run import FIELD_NAMES, field_name
from .. import forms


class _Delete(foo.Operator):
    """Removes what a key names."""

    what: str
    about: str
    delete: Callable[..., Any]
    next = ""

    @property
    def config(self) -> foo.OperatorConfig:
        return foo.OperatorConfig(
            name=f"delete_{self.what}",
            label=f"Anomalies: delete a {self.what}",
            description=self.about,
            icon="delete",
            dynamic=True,
            risk_level=types.RiskLevel.HIGH,
        )

    def resolve_input(self, ctx: foo.ExecutionContext) -> types.Property:
        """The form; nothing is chosen beforehand."""
        inputs = types.Object()
        removed = self.choose(ctx, inputs)
        if removed is not None:
            inputs.view("warning", types.Warning(label=f"This removes {removed} for good"))
        return types.Property(inputs, view=types.View(label=f"Delete a {self.what}"))

    def choose(self, ctx: foo.ExecutionContext, inputs: types.Object) -> str | None:
        """Add the choice; returns what will be removed, or None if nothing is chosen."""
        raise NotImplementedError

    def execute(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        """Delete."""
        key = forms.text(ctx.params, "key")
        if key is None:
            raise ValueError(f"key is missing: name the {self.what} to delete")
        type(self).delete(ctx.dataset, key)
        if not ctx.delegated:
            ctx.ops.clear_view()
            ctx.ops.reload_dataset()
        return {"deleted": key}

    def resolve_output(self, ctx: foo.ExecutionContext) -> types.Property:
        """The result."""
        form = types.Object()
        form.str("deleted", label=f"{self.what.capitalize()} deleted")
        return forms.with_next_step(form, f"Nothing of it is left{self.next}")


class DeleteRun(_Delete):
    """Removes a run without trace."""

    what = "run"
    about = "Remove a run's fields, files, tags and evaluations; images and ground truth stay"
    delete = staticmethod(delete_run)
    next = ". Next: compute another run, or go on with those that are there"

    def choose(self, ctx: foo.ExecutionContext, inputs: types.Object) -> str | None:
        """One of the runs."""
        key = forms.choose_run(ctx, inputs, default=False)
        if key is None:
            return None
        return f"{', '.join(field_name(key, name) for name in FIELD_NAMES)}, their files and evaluations"


class DeleteCuration(_Delete):
    """Removes what duplicates, quality or contamination wrote."""

    what = "curation"
    about = "Remove the fields and tags of duplicates, image quality or contamination; images stay"
    delete = staticmethod(delete_curation)

    def choose(self, ctx: foo.ExecutionContext, inputs: types.Object) -> str | None:
        """One of the curations."""
        keys = list_curations(ctx.dataset) if ctx.dataset is not None else []
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
