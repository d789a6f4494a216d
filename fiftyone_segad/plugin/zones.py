"""Choose in a form which zones count, and how small a region may be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fiftyone.operators as foo
import fiftyone.operators.types as types

from ..data.zones import zone_fields
from ..registry.samples import all_slices
from ..runs.inspection import MinArea, parse_min_area
from ..storage.zones import ZoneField
from . import forms

NONE = "-"
"""Choice that stands for no field or sample; no field has this name."""

_MOST_SAMPLES = 50
"""Samples that are offered as the one whose zones are those of all."""


def add_zones(ctx: foo.ExecutionContext, inputs: types.Object, present: ZoneField | None = None) -> None:
    """Add the choice of the field of zones and of the sample on which they are drawn; nothing if no field can hold any.

    Args:
        ctx: the context
        inputs: the form
        present: where the zones of a run are drawn
    """
    fields = zone_fields(ctx.dataset)
    if not fields:
        return
    is_present = present is not None and present.field in fields
    default = present.field if present is not None and is_present else NONE
    labels = {NONE: "none: images are inspected as a whole"}
    about = "A label field with 'ignore', 'inspect', or 'inspect: NAME' for zones with thresholds of their own"
    values = fields if is_present else [NONE, *fields]
    forms.choose(inputs, "zones", values, "Zones", about, default, labels)
    field = chosen(ctx.params, "zones", default)
    if field is None or field not in fields:
        return
    drawn = all_slices(ctx.dataset).exists(field).limit(_MOST_SAMPLES)
    ids, paths = drawn.values(["id", "filepath"])
    names = {NONE: "each image has its own"}
    for id, path in zip(ids, paths, strict=True):
        names[id] = f"those of {Path(path).name}, for all images of its size"
    source = ids[0] if len(ids) == 1 else NONE
    if present is not None and present.field == field:
        source = present.zones_from if present.zones_from is not None and present.zones_from in names else NONE
    forms.choose(inputs, "zones_from", names, "Drawn", "An image with zones keeps its own", source, names)


def add_min_area(ctx: foo.ExecutionContext, inputs: types.Object) -> None:
    """Add the smallest area of a region."""
    prop = inputs.str(
        "min_area",
        label="Smallest region",
        description="Empty for any size; or pixels, e.g. '30', or '0.5 mm2' if dataset.info['pixel_size'] says how "
        "many mm the side of a pixel has",
    )
    pixel_size = (ctx.dataset.info or {}).get("pixel_size")
    forms.invalid(prop, lambda: parse_min_area(min_area(ctx.params), set(), pixel_size))


def chosen(params: dict[str, Any], name: str, default: str | None = None) -> str | None:
    """Return the choice of a field or sample; None if there is none."""
    value = forms.text(params, name, default)
    return None if value == NONE else value


def min_area(params: dict[str, Any]) -> MinArea:
    """Return the smallest area as it was typed, or given from Python."""
    value = params.get("min_area")
    if value is None or value == "":
        return None
    return forms.number_or_text(value) if isinstance(value, str) else value
