"""Put numbers and lists into sentences."""

from __future__ import annotations

from collections.abc import Sequence


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


def name_some(names: Sequence[str], most: int) -> str:
    """List names, the first of them where there are many.

    Args:
        names: the names
        most: those that are listed at most

    Examples:
        >>> name_some(["a.png", "b.png"], 2), name_some(["a.png", "b.png", "c.png"], 2)
        ('a.png, b.png', 'a.png, b.png and 1 more')
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
