"""How a person says what is normal: by a split, a tag, a saved view or a field's value."""

from __future__ import annotations

from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
import fiftyone.operators.types as types
from fiftyone import ViewField as F

from ..data.truth import GOOD
from ..utils.text import pluralize
from . import forms

SOURCES = {
    "split": "A split: the normal images of its training part",
    "tag": "Samples with a tag",
    "saved view": "A saved view",
    "field value": "A value of a field, such as defect = good",
}

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
    dataset = ctx.dataset
    offers = _offers(dataset)
    if not offers:
        forms.stop(
            inputs,
            "no_normals",
            "The dataset does not say which images are normal",
            "Tag them, e.g. 'good', save a view of them, or use the method within_image",
        )
        return
    default = next(iter(offers))
    choices = types.RadioGroup()
    for source in offers:
        choices.add_choice(source, label=SOURCES[source])
    inputs.enum(
        "normals",
        choices.values(),
        default=default,
        label="What is normal",
        description="The images that show no defect; others are compared with them",
        view=choices,
    )
    source = ctx.params.get("normals") or default
    if source not in offers:
        return
    if source == "field value":
        forms.choose(
            inputs,
            "normals_field",
            sorted(offers[source]),
            "Field",
            "One of its values says that an image is normal",
            _first_field(offers[source]),
        )
        field = ctx.params.get("normals_field") or _first_field(offers[source])
        values = offers[source].get(field, [])
    else:
        values = offers[source]
    first = _first_value(values)
    forms.choose(inputs, "normals_value", values, source.capitalize(), _HELP[source], first)
    try:
        count = len(select(dataset, {**ctx.params, "normals": source, "normals_value": _value(ctx, values, first)}))
    except ValueError:
        return
    inputs.view("normals_count", types.Notice(label=pluralize(count, "normal image")))


def select(dataset: fo.Dataset, params: dict[str, Any]) -> fo.DatasetView:
    """The normal images that parameters name.

    Args:
        dataset: the dataset
        params: ``normals`` (one of ``SOURCES``; by default what the dataset offers first), ``normals_value``,
            and ``normals_field`` for a field value

    Raises:
        ValueError: if they name nothing, or nothing that exists
    """
    offers = _offers(dataset)
    source = forms.text(params, "normals", next(iter(offers), None))
    if source is None or source not in SOURCES:
        raise ValueError(f"normals={source!r} must be one of {list(SOURCES)}")
    if source not in offers:
        raise ValueError(f"Dataset '{dataset.name}' has no {source} to choose normal images by")
    if source == "field value":
        field = forms.text(params, "normals_field", _first_field(offers[source]))
        if field not in offers[source]:
            raise ValueError(f"normals_field={field!r} must be one of {sorted(offers[source])}")
        values: list[str] = offers[source][field]
    else:
        values = offers[source]
    value = forms.text(params, "normals_value", _first_value(values))
    if value not in values:
        raise ValueError(f"normals_value={value!r} must be one of {values}")
    if source == "saved view":
        return dataset.load_saved_view(value)
    if source == "tag":
        return dataset.match_tags(value)
    if source == "split":
        view = dataset.match(F("split") == value)
        return view.match(F("defect.label") == GOOD) if _has_defect(dataset) else view
    return dataset.match(F(field) == value)


def _offers(dataset: fo.Dataset) -> dict[str, Any]:
    offers: dict[str, Any] = {
        "split": _ordered(dataset.distinct("split"), "train") if _is_text(dataset, "split") else [],
        "tag": _ordered(dataset.distinct("tags"), GOOD),
        "saved view": dataset.list_saved_views(),
        "field value": _field_values(dataset),
    }
    return {source: values for source, values in offers.items() if values}


def _field_values(dataset: fo.Dataset) -> dict[str, list[str]]:
    paths = []
    for name, field in dataset.get_field_schema().items():
        if getattr(field, "document_type", None) is fo.Classification:
            paths.append(f"{name}.label")
        elif isinstance(field, fo.StringField) and name not in ("filepath", "id"):
            paths.append(name)
    found = {path: _ordered(dataset.distinct(path), GOOD) for path in paths}
    return {path: values for path, values in found.items() if 0 < len(values) <= _MOST_VALUES}


def _ordered(values: list[Any], first: str) -> list[str]:
    texts = [value for value in values if isinstance(value, str)]
    return sorted(texts, key=lambda value: (value != first, value))


def _first_field(fields: dict[str, list[str]]) -> str:
    return next((field for field in fields if GOOD in fields[field]), next(iter(fields)))


def _first_value(values: list[str]) -> str | None:
    return values[0] if values else None


def _value(ctx: foo.ExecutionContext, values: list[str], default: str | None) -> str | None:
    value = ctx.params.get("normals_value")
    return value if value in values else default


def _is_text(dataset: fo.Dataset, name: str) -> bool:
    return isinstance(dataset.get_field(name), fo.StringField)


def _has_defect(dataset: fo.Dataset) -> bool:
    return getattr(dataset.get_field("defect"), "document_type", None) is fo.Classification
