"""Names of files that are safe on any machine, and unlike each other."""

from __future__ import annotations

import re
from collections.abc import Iterable

_UNSAFE = re.compile(r"[^\w .()+-]")
_LONGEST = 120


def safe_name(name: str) -> str:
    """A name that is no path: other characters than letters, digits and `` _.()+-`` become ``_``."""
    return _UNSAFE.sub("_", name).strip(" .")[:_LONGEST].rstrip(" .") or "_"


class UniqueNames:
    """Names within one folder. Upper and lower case are one, as on many file systems.

    Args:
        taken: names that are not given
    """

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = {name.casefold() for name in taken}

    def take(self, name: str) -> str:
        """The name, with a number after it if it was given before."""
        unique, number = name, 2
        while unique.casefold() in self._taken:
            unique, number = f"{name}_{number}", number + 1
        self._taken.add(unique.casefold())
        return unique
