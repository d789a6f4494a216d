"""Colours in the App: read in both of its themes, and those that somebody else has set stay."""

from __future__ import annotations

from typing import Any

import fiftyone as fo
import pytest

from fiftyone_segad.registry import colours


def contrast(colour: str, other: str) -> float:
    """The contrast of WCAG 2.2 (https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio)."""

    def luminance(text: str) -> float:
        parts = [int(text[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    darker, lighter = sorted(map(luminance, (colour, other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("text", ["#000000", "#ffffff"])
@pytest.mark.parametrize("colour", sorted({*colours.POOL, colours.RED, colours.GREY}))
def test_text_of_both_themes_is_read_on_each(colour: str, text: str) -> None:
    assert contrast(colour, text) >= 4.5


def test_a_dataset_without_colours_gets_the_pool(dataset_with_run: Any) -> None:
    assert dataset_with_run.app_config.color_scheme.color_pool == list(colours.POOL)
    for entry in dataset_with_run.app_config.color_scheme.fields:
        for value in entry.get("valueColors", []):
            assert contrast(value["color"], "#ffffff") >= 4.5, entry["path"]


def test_the_pool_of_a_dataset_that_has_colours_stays(dataset_of: Any, pictures: Any) -> None:
    dataset = dataset_of(pictures)
    dataset.app_config.color_scheme = fo.ColorScheme(color_pool=["#123456"], color_by="field")
    dataset.save()
    colours.set_colours(dataset, [{"path": "x", "fieldColor": colours.RED}])
    scheme = dataset.app_config.color_scheme
    assert (scheme.color_pool, scheme.color_by, len(scheme.fields)) == (["#123456"], "field", 1)
