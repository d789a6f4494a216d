"""Which parts of a bank excuse odd places of scored images, on matches made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from fiftyone_segad.scoring.excuses import Matches, suspicious_parts

PATCHES = 50


def image(part: int = 0, excused: int = 0, nearest: float = 0.5) -> Matches:
    """Make the matches of a usual image, some patches of which only one part is like."""
    distances, second = np.full(PATCHES, 1.0), np.linspace(1.1, 1.3, PATCHES)
    parts = np.zeros(PATCHES, int)
    distances[:excused], second[:excused], parts[:excused] = nearest, 6.0, part
    return Matches(distances, parts, second)


USUAL = [image()] * 40


def test_parts_that_excuse_most_come_first() -> None:
    scored = [image()] * 30 + [image(5, excused=3)] * 4 + [image(9, excused=3)] * 7
    assert suspicious_parts(USUAL, scored) == [9, 5]


@pytest.mark.parametrize(
    "scored",
    [
        pytest.param([image(9, excused=3)] + [image()] * 30, id="one image may be by chance"),
        pytest.param([image(9, excused=1)] * 10 + [image()] * 30, id="one patch an image"),
        pytest.param([image(9, excused=3, nearest=5.0)] * 10 + [image()] * 30, id="odd, and like no part"),
        pytest.param([image()] * 40, id="nothing odd"),
        pytest.param([], id="nothing scored"),
    ],
)
def test_no_part_is_suspicious(scored: list[Matches]) -> None:
    assert suspicious_parts(USUAL, scored) == []


def test_a_varied_bank_is_not_dirty() -> None:
    """Normal images that only one other part is like excuse each other as often as they do scored ones."""
    scored = [image()] * 30 + [image(9, excused=3)] * 10
    assert suspicious_parts([image()] * 30 + [image(7, excused=3)] * 8, scored) == []
    assert suspicious_parts([image()] * 38, scored) == [9]
    varied = [image()] * 240 + [image(7, excused=3)] * 60
    assert suspicious_parts(varied, [image()] * 195 + [image(9, excused=3)] * 105) == [], "less than twice as often"
