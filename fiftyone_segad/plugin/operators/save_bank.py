"""Operator ``save_bank``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
import fiftyone.operators.types as types

from ...errors import RunError
from ...registry.run import list_runs, load_run
from ...runs.score_new import save_bank
from .. import forms

_SUFFIX = ".safetensors"


class SaveBank(foo.Operator):
    """Saves what a run compares with as a file."""

    @property
    def config(self) -> foo.OperatorConfig:
        return foo.OperatorConfig(
            name="save_bank",
            label="Anomalies: save the bank of a run",
            description="One file with the features of the normal images and the thresholds, for other machines",
            icon="save",
            dynamic=True,
            allow_delegated_execution=True,
            risk_level=types.RiskLevel.MEDIUM,
        )

    def resolve_input(self, ctx: foo.ExecutionContext) -> types.Property:
        """The form."""
        inputs = types.Object()
        if not forms.has_dataset(ctx, inputs):
            return types.Property(inputs)
        keys = [key for key in list_runs(ctx.dataset) if _has_bank(ctx.dataset, key)]
        if not keys:
            forms.stop(
                inputs,
                "no_runs",
                "There is no run that compares with normal images",
                "Run 'Compute segment anomalies' with the method 'reference' first",
            )
            return types.Property(inputs, view=types.View(label="Save the bank of a run"))
        forms.choose(inputs, "key", keys, "Run", "Key of the run", keys[-1])
        key = ctx.params.get("key") or keys[-1]
        prop = inputs.str(
            "path",
            required=True,
            label="File",
            description=f"Full path on the machine that runs the App, e.g. ending with /{key}{_SUFFIX}",
        )
        path = forms.text(ctx.params, "path")
        if path is not None:
            if Path(path).expanduser().is_file():
                inputs.bool("overwrite", default=False, label="Replace the file")
            forms.invalid(prop, lambda: _file(path, bool(ctx.params.get("overwrite"))))
        return types.Property(inputs, view=types.View(label="Save the bank of a run"))

    def execute(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        """Save."""
        path = forms.text(ctx.params, "path")
        if path is None:
            raise ValueError("path is missing: name the file to save to")
        keys = [key for key in list_runs(ctx.dataset) if _has_bank(ctx.dataset, key)]
        key = forms.text(ctx.params, "key", keys[-1] if keys else "segad") or "segad"
        overwrite = bool(ctx.params.get("overwrite", False))
        file = save_bank(ctx.dataset, key, _file(path, overwrite), overwrite)
        return {"file": str(file), "size": f"{file.stat().st_size / 2**20:.1f} MiB"}

    def resolve_output(self, ctx: foo.ExecutionContext) -> types.Property:
        """The result."""
        form = types.Object()
        form.str("file", label="File")
        form.str("size", label="Size")
        label = "Saved. Next: copy it to where new images are, and use 'Score new images' with it"
        return forms.with_next_step(form, label)


def _has_bank(dataset: fo.Dataset, key: str) -> bool:
    try:
        return load_run(dataset, key).method == "reference"
    except RunError:
        return False


def _file(path: str, overwrite: bool) -> Path:
    file = Path(path).expanduser()
    if not file.is_absolute():
        raise ValueError(f"path='{path}': give the full path of the file")
    if file.is_dir():
        raise ValueError(f"path='{path}' is a folder; name a file in it, such as '{file / 'bank'}{_SUFFIX}'")
    if file.exists() and not overwrite:
        raise ValueError(f"path='{path}' exists; tick the box to replace it, or name another file")
    return file
