"""Paths in forms: typed, or picked with FiftyOne's file browser on the machine that runs the App."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fiftyone.operators as foo
import fiftyone.operators.types as types

from . import forms


def choose_path(
    ctx: foo.ExecutionContext,
    inputs: types.Object,
    name: str,
    label: str,
    description: str,
    *,
    folder: bool = False,
    file_name: str | None = None,
    required: bool = True,
) -> types.Property:
    """Add a path to a form, and a button that browses for it; returns the field in which it is typed.

    Args:
        ctx: the context
        inputs: the form
        name: name of the parameter
        label: label of the field
        description: what the path is of
        folder: whether it is a folder that exists, or one to put a new file or folder into
        file_name: the name of that; None for what exists
        required: whether there must be one
    """
    picked = picked_path(ctx.params, name, file_name)
    about = description if picked is None else f"{description}. Picked: {picked}"
    prop = inputs.str(name, required=required and picked is None, label=label, description=about)
    a_folder = folder or file_name is not None
    browser = types.FileExplorerView(choose_dir=a_folder, choose_button_label="Choose")
    inputs.file(_picked(name), label=f"Or pick a {'folder' if a_folder else 'file'}", view=browser)
    return prop


def path_of(params: dict[str, Any], name: str, file_name: str | None = None) -> str | None:
    """Return the path that was typed, else the one that was picked; None if there is neither.

    >>> path_of({"bank": "", "bank_picked": {"absolute_path": "/banks"}}, "bank", "line2.safetensors")
    '/banks/line2.safetensors'
    """
    return forms.text(params, name) or picked_path(params, name, file_name)


def picked_path(params: dict[str, Any], name: str, file_name: str | None = None) -> str | None:
    """Return the path that was picked, with the name of a new file in it; None if nothing was."""
    picked = params.get(_picked(name))
    path = picked.get("absolute_path") if isinstance(picked, dict) else None
    if not isinstance(path, str) or not path:
        return None
    return path if file_name is None else str(Path(path) / file_name)


def _picked(name: str) -> str:
    return f"{name}_picked"
