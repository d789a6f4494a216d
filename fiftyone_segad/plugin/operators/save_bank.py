"""Operator ``save_bank``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
import fiftyone.operators.types as types

from ...errors import RunError
from ...registry.keys import list_runs
from ...registry.run import load_run
from ...runs.save_bank import save_bank
from .. import forms, paths
from .base import Line, Operator, short_config

_SUFFIX = ".safetensors"


class SaveBank(Operator):
    """Saves what a run compares with as a file."""

    config = short_config(
        "save_bank",
        "save the bank of a run",
        "One file with the features of the normal images and the thresholds, for other machines",
        "save",
        allow_delegated_execution=True,
    )
    outputs = (Line("file", "File", "text"), Line("size", "Size", "text"))

    def add_inputs(self, ctx: foo.ExecutionContext, inputs: types.Object) -> None:
        keys = _runs_with_bank(ctx.dataset)
        if not keys:
            forms.stop(
                inputs,
                "no_runs",
                "There is no run that compares with normal images",
                "Run 'Compute segment anomalies' with the method 'reference' first",
            )
            return
        forms.choose(inputs, "key", keys, "Run", "Key of the run", keys[-1])
        key = ctx.params.get("key") or keys[-1]
        about = f"Full path on the machine that runs the App, e.g. ending with /{key}{_SUFFIX}"
        prop = paths.choose_path(ctx, inputs, "path", "File", about, file_name=f"{key}{_SUFFIX}")
        path = paths.path_of(ctx.params, "path", f"{key}{_SUFFIX}")
        if path is not None:
            if Path(path).expanduser().is_file():
                inputs.bool("overwrite", default=False, label="Replace the file")
            forms.invalid(prop, lambda: _file(path, bool(ctx.params.get("overwrite"))))

    def execute(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        keys = _runs_with_bank(ctx.dataset)
        key = forms.text(ctx.params, "key", keys[-1] if keys else "segad") or "segad"
        path, overwrite = paths.path_of(ctx.params, "path", f"{key}{_SUFFIX}"), bool(ctx.params.get("overwrite", False))
        if path is None:
            raise ValueError("path is missing: name the file to save to")
        file = save_bank(ctx.dataset, key, _file(path, overwrite), overwrite)
        return {"file": str(file), "size": f"{file.stat().st_size / 2**20:.1f} MiB"}

    def next_step(self, result: dict[str, Any]) -> str:
        return "Saved. Next: copy it to where new images are, and use 'Score new images' with it"


def _runs_with_bank(dataset: fo.Dataset) -> list[str]:
    return [key for key in list_runs(dataset) if _has_bank(dataset, key)]


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
