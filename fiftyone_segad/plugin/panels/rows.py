"""Rows of buttons and pictures that wrap where the panel is narrow, as it is in half a page or in the modal."""

from __future__ import annotations

from typing import Any

import fiftyone.operators.types as types

_AS_WIDE_AS_NEEDED = {"item": {"sx": {"width": "auto"}}}
_ABOVE_TEXT = {"item": {"sx": {"width": "auto", "mb": "16px"}}}  # a picture reaches below its cell


def add_row(panel: types.Object, name: str) -> types.Object:
    """Add a row that wraps."""
    row = types.Object()
    panel.define_property(name, row, view=types.GridView(orientation="2d", gap=1))
    return row


def add_button(row: types.Object, name: str, label: str, active: bool = False, **options: Any) -> None:
    """Add a button to a row.

    Args:
        row: made by ``add_row``
        name: the button's name in the row
        label: its text
        active: whether it is the choice that is shown, and is highlighted
        options: as of ``types.Object.btn``
    """
    if active:
        options = {"variant": "contained", **options}
    row.btn(name, label=label, componentsProps=_AS_WIDE_AS_NEEDED, **options)


def add_picture(row: types.Object, name: str, side: int, label: str, **options: Any) -> None:
    """Add a square picture to a row; a click hands on ``params``, as of ``types.ImageView``."""
    size = f"{side}px"
    view = types.ImageView(height=size, width=size, alt=label, label=label, componentsProps=_ABOVE_TEXT, **options)
    row.view(name, view)
