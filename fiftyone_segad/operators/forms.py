"""Parts of forms that several operators share, and the checking of their values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fiftyone.operators as foo
import fiftyone.operators.types as types

from ..runs import list_runs


def invalid(prop: types.Property, check: Callable[[], Any]) -> bool:
    """Marks a field with the message of the ValueError that a check raises; says whether it did."""
    try:
        check()
    except ValueError as error:
        prop.invalid = True
        prop.error_message = str(error)
        return True
    return False


def stop(inputs: types.Object, name: str, label: str, description: str = "") -> None:
    """Adds a warning that keeps the form from being executed."""
    prop = inputs.view(name, types.Warning(label=label, description=description))
    prop.invalid = True


def choose(
    inputs: types.Object, name: str, values: list[str], label: str, description: str, default: str | None = None
) -> None:
    """Adds a drop-down list; without a default something must be chosen."""
    choices = types.DropdownView()
    for value in values:
        choices.add_choice(value, label=value)
    inputs.enum(
        name,
        choices.values(),
        default=default,
        required=default is None,  # callers from Python need not repeat a default
        label=label,
        description=description,
        view=choices,
    )


def choose_run(ctx: foo.ExecutionContext, inputs: types.Object, default: bool = True) -> str | None:
    """Adds a list of the dataset's runs; returns the chosen one, or None after saying that there are none."""
    runs = list_runs(ctx.dataset) if ctx.dataset is not None else []
    if not runs:
        stop(inputs, "no_runs", "There are no runs yet", "Run 'Compute segment anomalies' first")
        return None
    choose(inputs, "key", runs, "Run", "Key of the run", runs[-1] if default else None)
    key = ctx.params.get("key") or (runs[-1] if default else None)
    return key if key in runs else None


def text(params: dict[str, Any], name: str, default: str | None = None) -> str | None:
    """A text parameter; empty counts as absent.

    Raises:
        ValueError: if it is not a text
    """
    value = params.get(name)
    if value is None or value == "":
        return default
    if not isinstance(value, str):
        raise ValueError(f"{name} must be a text, got {value!r}")
    return value.strip()


def whole(params: dict[str, Any], name: str, default: int, low: int) -> int:
    """A whole number of at least ``low``.

    Raises:
        ValueError: if it is not
    """
    value = params.get(name, default)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != int(value) or value < low:
        raise ValueError(f"{name} must be a whole number from {low} on, got {value!r}")
    return int(value)


def number_or_text(value: str) -> str | float:
    """A threshold as typed: a number, or a rule such as ``fpr:0.01``."""
    try:
        return float(value)
    except ValueError:
        return value
