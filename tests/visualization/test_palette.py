"""One palette: colours are named there and nowhere else, and can be seen on light and dark pages."""

from __future__ import annotations

import re

import pytest
from PIL import ImageColor

from conftest import ROOT
from fiftyone_segad.visualization import palette


def luminance(colour: str) -> float:
    """The relative luminance of WCAG 2."""
    shares = [value / 255 for value in ImageColor.getrgb(colour)]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("colour", [palette.NORMAL, palette.ANOMALOUS, palette.TEXT])
def test_bars_lines_and_texts_stand_out_from_white_and_from_black(colour: str) -> None:
    light = luminance(colour)
    assert 1.05 / (light + 0.05) >= 3
    assert (light + 0.05) / 0.05 >= 3


def test_plots_pictures_and_panel_take_their_colours_from_the_palette() -> None:
    for room in ("visualization", "plugin/panels"):
        for file in (ROOT / "fiftyone_segad" / room).glob("*.py"):
            if file.name != "palette.py":
                assert not re.findall(r"#[0-9a-fA-F]{6}\b", file.read_text()), file.name
