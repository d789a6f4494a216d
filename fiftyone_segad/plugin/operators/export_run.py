"""Operator ``export_run``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fiftyone.operators as foo
import fiftyone.operators.types as types

from ...runs.transfer import export_run
from .. import forms, paths
from ..slices import load_chosen_runs
from .base import Line, Operator, short_config

_SUFFIX = ".zip"


class ExportRun(Operator):
    """Exports a run as one file, for another machine."""

    config = short_config(
        "export_run",
        "export a run",
        "One file with all of a run, which import_run() puts on a dataset of the same images elsewhere",
        "archive",
        allow_delegated_execution=True,
    )
    outputs = (Line("file", "File", "text"), Line("size", "Size", "text"))

    def add_inputs(self, ctx: foo.ExecutionContext, inputs: types.Object) -> None:
        if load_chosen_runs(ctx, inputs) is None:
            return
        name = f"{forms.run_key(ctx)}{_SUFFIX}"
        about = f"Full path on the machine that runs the App, e.g. ending with /{name}"
        prop = paths.choose_path(ctx, inputs, "path", "File", about, file_name=name)
        path = paths.path_of(ctx.params, "path", name)
        if path is not None:
            if Path(path).expanduser().is_file():
                inputs.bool("overwrite", default=False, label="Replace the file")
            forms.invalid(prop, lambda: _file(path, bool(ctx.params.get("overwrite"))))

    def execute(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        key, overwrite = forms.run_key(ctx), bool(ctx.params.get("overwrite", False))
        path = paths.path_of(ctx.params, "path", f"{key}{_SUFFIX}")
        if path is None:
            raise ValueError("path is missing: name the file to export to")
        file = export_run(ctx.dataset, key, _file(path, overwrite), overwrite)
        return {"key": key, "file": str(file), "size": f"{file.stat().st_size / 2**20:.1f} MiB"}

    def next_step(self, result: dict[str, Any]) -> str:
        return "Exported. Next, on the other machine: segad.import_run(dataset, 'the file') in Python"


def _file(path: str, overwrite: bool) -> Path:
    file = Path(path).expanduser()
    if not file.is_absolute() or file.suffix.lower() != _SUFFIX:
        raise ValueError(f"path='{path}': give the full path of a file that ends with {_SUFFIX}")
    if file.is_dir() or not file.parent.is_dir():
        raise ValueError(f"path='{path}': its folder must exist, and no folder be of its name")
    if file.exists() and not overwrite:
        raise ValueError(f"path='{path}' exists; tick the box to replace it, or name another file")
    return file
