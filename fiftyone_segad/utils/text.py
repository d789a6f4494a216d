"""Numbers in sentences."""

from __future__ import annotations


def pluralize(count: int, one: str, several: str | None = None) -> str:
    """A number with the words that fit it.

    Args:
        count: the number
        one: the words for 1
        several (None): those for any other number; by default ``one`` with an s
    """
    return f"{count:,} {one if count == 1 else several or one + 's'}"
