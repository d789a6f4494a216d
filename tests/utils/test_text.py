"""Numbers in sentences."""

from __future__ import annotations

import pytest

from fiftyone_segad.utils.text import pluralize


@pytest.mark.parametrize(
    ("count", "words", "text"),
    [
        (0, ("image",), "0 images"),
        (1, ("image",), "1 image"),
        (1234, ("image",), "1,234 images"),
        (1, ("miss", "misses"), "1 miss"),
        (2, ("miss", "misses"), "2 misses"),
        (0, ("sample was", "samples were"), "0 samples were"),
    ],
)
def test_the_words_fit_the_number(count: int, words: tuple[str, ...], text: str) -> None:
    assert pluralize(count, *words) == text
