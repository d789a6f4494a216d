"""Parts of forms that several operators share, and the checking of their values."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
import fiftyone.operators.types as types

from ..curation.registration import Curation, check_curation
from ..data.truth import GT_FIELD, truth_fields
from ..embedders.factory import CHOICES, DEFECTS, check_installed, resolve_name
from ..errors import MissingDependencyError, RunError
from ..registry.keys import list_runs, list_views, written_fields
from ..registry.run import Run, load_run
from ..segments.boxes import DEFAULT_GRID
from ..utils.text import pluralize
from .current_run import current_run_of
from .target import target_samples
from .wording import in_app_words

DEFECT_LABELS = {
    "any": "any: all scales",
    "small": "small: fine patches only (finer maps; misses defects of texture and large areas)",
    "large": "large: coarse patches only (calmer maps; misses small defects)",
}

_LARGEST_GRID = 10


def invalid(prop: types.Property, check: Callable[[], Any]) -> bool:
    """Mark a field with the message of the error that a check raises; returns whether it did."""
    try:
        check()
    except (ValueError, MissingDependencyError) as error:
        refuse(prop, str(error))
        return True
    return False


def refuse(prop: types.Property, message: str) -> None:
    """Mark a field as wrong, with the reason."""
    prop.invalid = True
    prop.error_message = in_app_words(message)


def stop(inputs: types.Object, name: str, label: str, description: str = "") -> None:
    """Add a warning that keeps the form from being executed."""
    warning = types.Warning(label=in_app_words(label), description=in_app_words(description))
    prop = inputs.view(name, warning)
    prop.invalid = True


def add_picture(form: types.Object, name: str, label: str, url: str) -> None:
    """Add a picture to a form, that of an operator or of its result."""
    form.view(name, types.ImageView(alt=label), label=label, default=url)


def has_dataset(ctx: foo.ExecutionContext, inputs: types.Object) -> bool:
    """Return whether a dataset is open, after saying that one is needed."""
    if ctx.dataset is None:
        stop(inputs, "no_dataset", "Open a dataset first")
    return ctx.dataset is not None


def has_images(ctx: foo.ExecutionContext, inputs: types.Object, doing: str = "read", speed: str = "") -> bool:
    """Return whether there are images to work on, after saying how many, or that there are none.

    Args:
        ctx: the context
        inputs: the form
        doing: what is done with them
        speed: how fast, as of ``speed_of``
    """
    count = len(target_samples(ctx))
    if stop_if_empty(inputs, count):
        return False
    inputs.view("count", types.Notice(label=f"{pluralize(count, 'image')} will be {doing}{speed}"))
    return True


def stop_if_empty(inputs: types.Object, count: int) -> bool:
    """Keep a form from being executed on no images at all; returns whether it did."""
    if count == 0:
        stop(inputs, "empty", "There are no samples in the view", "Clear its filters, or add images to the dataset")
    return count == 0


def choose(
    inputs: types.Object,
    name: str,
    values: Iterable[str],
    label: str,
    description: str = "",
    default: str | None = None,
    labels: dict[str, str] | None = None,
) -> types.Property:
    """Add a drop-down list; without a default something must be chosen."""
    return _choose(inputs, types.DropdownView(), name, values, label, description, default, labels)


def choose_one(
    inputs: types.Object, name: str, labels: dict[str, str], default: str, label: str, description: str = ""
) -> types.Property:
    """Add radio buttons for the values of ``labels``."""
    return _choose(inputs, types.RadioGroup(), name, labels, label, description, default, labels)


def _choose(
    inputs: types.Object,
    view: types.Choices,
    name: str,
    values: Iterable[str],
    label: str,
    description: str,
    default: str | None,
    labels: dict[str, str] | None,
) -> types.Property:
    for value in values:
        view.add_choice(value, label=(labels or {}).get(value, value))
    return inputs.enum(
        name,
        view.values(),
        default=default,
        required=default is None,  # callers from Python need not repeat a default
        label=label,
        description=description,
        view=view,
    )


def choose_number(
    ctx: foo.ExecutionContext,
    inputs: types.Object,
    name: str,
    default: int,
    label: str,
    description: str,
    **options: Any,
) -> bool:
    """Add a whole number from 1 on; returns whether the one that was given is one."""
    number = inputs.int(name, default=default, min=1, label=label, description=description, **options)
    return not invalid(number, lambda: whole(ctx.params, name, default, low=1))


def choose_grid(ctx: foo.ExecutionContext, inputs: types.Object, description: str) -> None:
    """Add a slider for the segments of a side."""
    view = types.SliderView(value_precision=0, view_multiple_of=1)
    choose_number(ctx, inputs, "grid", DEFAULT_GRID, "Grid", description, max=_LARGEST_GRID, view=view)


def choose_defects(inputs: types.Object, description: str = "") -> None:
    """Add the choice of the scale at which defects are looked for."""
    choose_one(inputs, "defects", {name: DEFECT_LABELS[name] for name in DEFECTS}, "any", "Defects", description)


def choose_embedder(
    ctx: foo.ExecutionContext,
    inputs: types.Object,
    method: str = "reference",
    description: str = "What turns a segment into features; 'auto' is the best single one that is installed",
) -> None:
    """Add a list of the embedders, and say how to install one that is not there."""
    prop = inputs.enum("embedder", CHOICES, default="auto", label="Embedder", description=description)
    invalid(prop, lambda: check_installed(text(ctx.params, "embedder", "auto") or "auto", method))


def embedder_name(params: dict[str, Any]) -> str:
    """Return the embedder that was chosen.

    Raises:
        ValueError: if it is none of those offered: a network by name may be code from anywhere, and is for Python only
    """
    name = text(params, "embedder", "auto") or "auto"
    if name not in CHOICES:
        raise ValueError(f"embedder={name!r} must be one of {list(CHOICES)}")
    return name


def speed_of(ctx: foo.ExecutionContext, method: str = "reference", run: Run | None = None) -> str:
    """Return how fast the last run with an embedder was, as the end of a sentence; empty before there was one.

    Args:
        ctx: the context, whose parameters name the embedder
        method: what the embedder ``auto`` stands for depends on it
        run (None): a run that names the embedder instead
    """
    try:
        embedder = resolve_name(embedder_name(ctx.params), method) if run is None else run.embedder
    except ValueError:
        return ""  # told under its field
    for key in reversed(list_runs(ctx.dataset)):
        last = _load_or_none(ctx.dataset, key)
        if last is not None and last.embedder == embedder and last.seconds.get("embed"):
            rate = (last.scored + last.normals) / sum(last.seconds.values())
            return f"; run '{key}' with {embedder} did about {rate:.2g} images per second"
    return ""


def choose_run(
    ctx: foo.ExecutionContext,
    inputs: types.Object,
    default: bool = True,
    with_views: bool = False,
    views_first: bool = True,
) -> str | None:
    """Add a list of the dataset's runs; returns the chosen one, or None after saying that there are none.

    ``with_views`` adds the keys that stand for the runs of all slices; ``views_first`` offers the newest of them first.
    """
    views = list_views(ctx.dataset) if with_views else []
    runs = [*list_runs(ctx.dataset), *views]
    if not runs:
        stop(inputs, "no_runs", "There are no runs yet", "Run 'Compute segment anomalies' first")
        return None
    usual = (views[-1] if views and views_first else current_run_of(ctx)) if default else None
    choose(inputs, "key", runs, "Run", "Key of the run", usual, {view: f"{view}: all slices" for view in views})
    key = ctx.params.get("key") or usual
    return key if key in runs else None


def load_chosen_run(
    ctx: foo.ExecutionContext, inputs: types.Object, load: Callable[[fo.Dataset, str], Run] = load_run
) -> Run | None:
    """Add a list of the dataset's runs; returns the chosen one, or None after saying why it cannot be used.

    Args:
        ctx: the context
        inputs: the form
        load: loads the run; ``load_record`` where its folder is not needed
    """
    key = choose_run(ctx, inputs)
    try:
        return None if key is None else load(ctx.dataset, key)
    except RunError as error:
        stop(inputs, "gone", "The run cannot be used", str(error))
        return None


def run_key(ctx: foo.ExecutionContext) -> str:
    """Return the key that was given, or else that of the current run.

    Raises:
        ValueError: if there is no run at all
    """
    key = text(ctx.params, "key") or current_run_of(ctx)
    if key is None:
        raise ValueError(f"Dataset '{ctx.dataset.name}' has no runs; compute segment anomalies first")
    return key


def choose_truth(ctx: foo.ExecutionContext, inputs: types.Object) -> None:
    """Add a list of the fields that can be ground truth, or say that there are none."""
    fields = truth_choices(ctx.dataset)
    if not fields:
        stop(inputs, "no_truth", "The dataset has no ground truth: no Segmentation, Detections or Polylines field")
        return
    choose(inputs, "gt_field", fields, "Ground truth", "Images without a mask count as normal", usual_truth(fields))


def usual_truth(fields: list[str]) -> str:
    """Return the field that is offered first among those that can be ground truth."""
    return GT_FIELD if GT_FIELD in fields else fields[0]


def truth_choices(dataset: fo.Dataset) -> list[str]:
    """List the fields that can be ground truth: masks, boxes and lines that no run or evaluation of ours wrote."""
    written = written_fields(dataset)
    return [name for name in truth_fields(dataset) if name not in written]


def add_curation(
    ctx: foo.ExecutionContext, inputs: types.Object, kind: str, key: str, fields: Collection[str], tagged: str
) -> None:
    """Add what an operator that curates writes.

    Args:
        ctx: the context
        inputs: the form
        kind: kind of the curation
        key: the default of its key
        fields: what comes after the key in the names of its fields
        tagged: what the tag is for
    """
    chosen_key = text(ctx.params, "key", key) or key
    about = "Begins the names of the fields; those of a former call of this key are replaced"
    prop = inputs.str("key", default=key, label="Key", description=about)
    names = [f"{chosen_key}{name}" for name in fields]
    invalid(prop, lambda: check_curation(ctx.dataset, Curation(chosen_key, kind, names)))
    prop = inputs.str("tag", label="Tag", description=f"If given, the tag for {tagged}")
    tag = text(ctx.params, "tag")
    if tag is not None:
        invalid(prop, lambda: check_curation(ctx.dataset, Curation(chosen_key, kind, [], tag)))


def text(params: dict[str, Any], name: str, default: str | None = None) -> str | None:
    """Return a text parameter; empty counts as absent.

    Raises:
        ValueError: if it is not a text
    """
    value = params.get(name)
    if value is None or value == "":
        return default
    if not isinstance(value, str):
        raise ValueError(f"{name} must be a text, got {value!r}")
    return value.strip()


def one_of(params: dict[str, Any], name: str, values: Collection[str], default: str | None) -> str:
    """Return a text parameter that must be one of some values.

    Raises:
        ValueError: if it is not
    """
    value = text(params, name, default)
    if value is None or value not in values:
        raise ValueError(f"{name}={value!r} must be one of {list(values)}")
    return value


def whole(params: dict[str, Any], name: str, default: int, low: int) -> int:
    """Return a whole number of at least ``low``.

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
    """Return a threshold as typed: a number, or a rule such as ``fpr:0.01``."""
    try:
        return float(value)
    except ValueError:
        return value


def _load_or_none(dataset: fo.Dataset, key: str) -> Run | None:
    try:
        return load_run(dataset, key)
    except RunError:
        return None
