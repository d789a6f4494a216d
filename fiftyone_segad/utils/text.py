"""Put numbers into sentences."""

from __future__ import annotations


def pluralize(count: int, one: str, many: str | None = None) -> str:
    """Write a number with the words that fit it.

    Args:
        count: the number
        one: the words for 1
        many (None): those for any other number; by default ``one`` with an s

    Examples:
        >>> pluralize(1, "image"), pluralize(1200, "image"), pluralize(0, "image is", "images are")
        ('1 image', '1,200 images', '0 images are')
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"
