"""How a person says what is normal: by a split, a tag, a saved view, a field's value, or by selecting samples."""

from __future__ import annotations

from typing import Any

import fiftyone as fo
import fiftyone.core.media as fom
import fiftyone.operators as foo
import fiftyone.operators.types as types
from fiftyone import ViewField as F
from fiftyone.core.collections import SampleCollection as Samples

from ..data.classes import is_normal
from ..data.truth import GOOD
from ..utils.text import pluralize
from . import forms
from .target import flat_dataset

SOURCES = {
    "split": "A split: the normal images of its training part",
    "tag": "Samples with a tag",
    "saved view": "A saved view",
    "field value": "A value of a field, such as defect = good",
    "selected samples": "The samples that are selected in the grid",
}

_SELECTED = "selected samples"

_TRAIN = "train"

_HELP = {
    "split": "Those of its images whose defect is 'good', or all of them where no field 'defect' says it",
    "tag": "The tag of normal images",
    "saved view": "It holds normal images only",
    "field value": "The value of normal images",
}

_MOST_VALUES = 200
"""Values of a field that are offered; fields with more are not categories."""


def add_inputs(ctx: foo.ExecutionContext, inputs: types.Object) -> None:
    """Add the choice of normal images to a form, with what the dataset offers."""
    offers = _offers(ctx)
    if not offers:
        forms.stop(
            inputs,
            "no_normals",
            "The dataset does not say which images are normal",
            "Select them in the grid, tag them, e.g. 'good', save a view of them, or use the method within_image",
        )
        return
    usual = next(iter(offers))
    labels = {source: SOURCES[source] for source in offers}
    about = "The images that show no defect; others are compared with them"
    forms.choose_one(inputs, "normals", labels, usual, "What is normal", about)
    source = ctx.params.get("normals") or usual
    if source not in offers:
        return
    values = offers[source]
    if source == "field value":
        field = _first_field(values)
        about = "One of its values says that an image is normal"
        forms.choose(inputs, "normals_field", sorted(values), "Field", about, field)
        values = values.get(ctx.params.get("normals_field") or field, [])
    if source == _SELECTED:
        _add_count(ctx, inputs, {**ctx.params, "normals": source})
        return
    first = _first_value(values)
    forms.choose(inputs, "normals_value", values, source.capitalize(), _HELP[source], first)
    value = ctx.params.get("normals_value")
    # The App sends the value of the source before this one as well
    _add_count(ctx, inputs, {**ctx.params, "normals": source, "normals_value": value if value in values else first})


def _add_count(ctx: foo.ExecutionContext, inputs: types.Object, params: dict[str, Any]) -> None:
    try:
        label = pluralize(len(select(ctx, params)), "normal image")
    except ValueError:
        return
    inputs.view("normals_count", types.Notice(label=label))


def count(ctx: foo.ExecutionContext) -> int:
    """Return how many normal images the parameters name; 0 if they name none."""
    try:
        return len(select(ctx))
    except ValueError:
        return 0


def select(ctx: foo.ExecutionContext, params: dict[str, Any] | None = None) -> Samples:
    """Return the normal images that parameters name; of a grouped dataset, those of the slices that are looked at.

    Args:
        ctx: the context
        params: ``normals`` (one of ``SOURCES``; by default what the dataset offers first), ``normals_value``,
            and ``normals_field`` for a field value; by default those of the context

    Raises:
        ValueError: if they name nothing, or nothing that exists
    """
    params = ctx.params if params is None else params
    dataset = flat_dataset(ctx)
    offers = _offers(ctx)
    source = forms.one_of(params, "normals", SOURCES, next(iter(offers), None))
    if source not in offers:
        raise ValueError(f"Dataset '{dataset.name}' has no {source} to choose normal images by")
    values: list[str] = offers[source]
    if source == _SELECTED:
        return dataset.select(values)
    if source == "field value":
        field = forms.one_of(params, "normals_field", offers[source], _first_field(offers[source]))
        values = offers[source][field]
    value = forms.one_of(params, "normals_value", values, _first_value(values))
    if source == "saved view":
        saved = ctx.dataset.load_saved_view(value)
        return saved if saved.media_type != fom.GROUP else dataset.select(saved.select_group_slices().values("id"))
    if source == "tag":
        return dataset.match_tags(value)
    if source == "split":
        view = dataset.match(F("split") == value)
        return view.match(F("defect.label") == GOOD) if _has_defect(dataset) else view
    return dataset.match(F(field) == value)


def _offers(ctx: foo.ExecutionContext) -> dict[str, Any]:
    dataset = flat_dataset(ctx)
    offers: dict[str, Any] = {
        "split": _ordered(dataset.distinct("split"), _TRAIN) if _is_text(dataset, "split") else [],
        "tag": _ordered(dataset.distinct("tags"), GOOD),
        "saved view": dataset._root_dataset.list_saved_views(),
        "field value": _field_values(dataset),
        _SELECTED: _selected_ids(ctx),
    }
    return {source: values for source, values in offers.items() if values}


def _selected_ids(ctx: foo.ExecutionContext) -> list[str]:
    """Return the ids of the selected samples; of selected patches, those of their samples."""
    if ctx.selected and ctx.view is not None and ctx.view._is_patches:
        return sorted(set(ctx.view.select(ctx.selected).values("sample_id")))
    return list(ctx.selected or [])


def _field_values(dataset: Samples) -> dict[str, list[str]]:
    paths = []
    for name, field in dataset.get_field_schema().items():
        if getattr(field, "document_type", None) is fo.Classification:
            paths.append(f"{name}.label")
        elif isinstance(field, fo.StringField) and name not in ("filepath", "id"):
            paths.append(name)
    values_of = {path: _ordered(dataset.distinct(path), GOOD) for path in paths}
    return {path: values for path, values in values_of.items() if 0 < len(values) <= _MOST_VALUES}


def _ordered(values: list[Any], first: str) -> list[str]:
    """Sort values: the usual one first, then others that sound normal, and those to train on."""
    texts = [value for value in values if isinstance(value, str)]
    return sorted(texts, key=lambda value: (value != first, not is_normal(value), value != _TRAIN, value))


def _first_field(fields: dict[str, list[str]]) -> str:
    return next((field for field in fields if GOOD in fields[field]), next(iter(fields)))


def _first_value(values: list[str]) -> str | None:
    return values[0] if values else None


def _is_text(dataset: Samples, name: str) -> bool:
    return isinstance(dataset.get_field(name), fo.StringField)


def _has_defect(dataset: Samples) -> bool:
    return getattr(dataset.get_field("defect"), "document_type", None) is fo.Classification
