"""Parts of forms that several operators share, and the checking of their values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
import fiftyone.operators.types as types

from ..data.truth import GT_FIELD, truth_fields
from ..embedders.factory import CHOICES, check_installed, resolve_name
from ..errors import MissingDependencyError, SegadError
from ..registry.run import Run, list_runs, written_fields
from .estimate import TRIED, Estimate, estimate_reading


def invalid(prop: types.Property, check: Callable[[], Any]) -> bool:
    """Mark a field with the message of the ValueError that a check raises; says whether it did."""
    try:
        check()
    except ValueError as error:
        prop.invalid = True
        prop.error_message = str(error)
        return True
    return False


def stop(inputs: types.Object, name: str, label: str, description: str = "") -> None:
    """Add a warning that keeps the form from being executed."""
    prop = inputs.view(name, types.Warning(label=label, description=description))
    prop.invalid = True


def has_dataset(ctx: foo.ExecutionContext, inputs: types.Object) -> bool:
    """Whether a dataset is open; says that one is needed."""
    if ctx.dataset is None:
        stop(inputs, "no_dataset", "Open a dataset first")
    return ctx.dataset is not None


def with_next_step(form: types.Object, text: str) -> types.Property:
    """End the form of a result with what to do next, where it is seen: the App shows no title above the result of an
    operator that has shown its progress."""
    form.view("next", types.Notice(label=text))
    return types.Property(form, view=types.View(label="Done"))


def choose(
    inputs: types.Object, name: str, values: list[str], label: str, description: str, default: str | None = None
) -> None:
    """Add a drop-down list; without a default something must be chosen."""
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


def choose_embedder(
    ctx: foo.ExecutionContext,
    inputs: types.Object,
    method: str = "reference",
    description: str = "What turns a segment into features; 'auto' is the best single one that is installed",
) -> None:
    """Add a list of the embedders, and says how to install one that is not there."""
    prop = inputs.enum("embedder", CHOICES, default="auto", label="Embedder", description=description)
    try:
        check_installed(text(ctx.params, "embedder", "auto") or "auto", method)
    except (MissingDependencyError, ValueError) as error:
        prop.invalid, prop.error_message = True, str(error)


def reading_time(
    images: Callable[[], list[str]], params: dict[str, Any], method: str, work: float = 1.2, run: Run | None = None
) -> str:
    """How long reading images takes, as the end of a sentence; empty if the form is not yet complete.

    Args:
        images: gives the files of the images
        params: parameters with the embedder and the defects that were chosen
        method: what ``auto`` stands for depends on it
        work (1.2): all time relative to that of decoding and model
        run (None): a run that says embedder and segments instead of the parameters
    """
    try:
        name, segments, defects = resolve_name(embedder_name(params), method), None, text(params, "defects", "any")
        if run is not None:
            name, segments, defects = run.embedder, run.settings["segments"], run.settings.get("defects", "any")
        found = estimate_reading(images(), name, segments, defects or "any", work)
    except (SegadError, ValueError, KeyError):
        return ""  # told under the field that is wrong
    return as_tried(found)


def as_tried(found: Estimate | None) -> str:
    """An estimate as the end of a sentence on images; empty if there is none."""
    return "" if found is None else f": {found}, as tried on {TRIED} of them"


def embedder_name(params: dict[str, Any]) -> str:
    """The embedder that was chosen.

    Raises:
        ValueError: if it is none of those offered: a network by name may be code from anywhere, and is for Python only
    """
    name = text(params, "embedder", "auto") or "auto"
    if name not in CHOICES:
        raise ValueError(f"embedder={name!r} must be one of {list(CHOICES)}")
    return name


def choose_run(ctx: foo.ExecutionContext, inputs: types.Object, default: bool = True) -> str | None:
    """Add a list of the dataset's runs; returns the chosen one, or None after saying that there are none."""
    if not has_dataset(ctx, inputs):
        return None
    runs = list_runs(ctx.dataset)
    if not runs:
        stop(inputs, "no_runs", "There are no runs yet", "Run 'Compute segment anomalies' first")
        return None
    choose(inputs, "key", runs, "Run", "Key of the run", runs[-1] if default else None)
    key = ctx.params.get("key") or (runs[-1] if default else None)
    return key if key in runs else None


def run_key(ctx: foo.ExecutionContext) -> str:
    """The key that was given, or else that of the last run.

    Raises:
        ValueError: if there is no run at all
    """
    key = text(ctx.params, "key")
    runs = list_runs(ctx.dataset)
    if key is None and not runs:
        raise ValueError(f"Dataset '{ctx.dataset.name}' has no runs; compute segment anomalies first")
    return key if key is not None else runs[-1]


def choose_truth(ctx: foo.ExecutionContext, inputs: types.Object) -> None:
    """Add a list of the fields that can be ground truth, or says that there are none."""
    fields = truth_choices(ctx.dataset)
    if not fields:
        stop(inputs, "no_truth", "The dataset has no ground truth: no Segmentation, Detections or Polylines field")
        return
    choose(inputs, "gt_field", fields, "Ground truth", "Images without a mask count as normal", usual_truth(fields))


def usual_truth(fields: list[str]) -> str:
    """The field among those that can be ground truth that is offered first."""
    return GT_FIELD if GT_FIELD in fields else fields[0]


def truth_choices(dataset: fo.Dataset) -> list[str]:
    """The fields that can be ground truth: those of masks, boxes and lines that no run or evaluation of ours wrote."""
    written = written_fields(dataset)
    return [name for name in truth_fields(dataset) if name not in written]


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
