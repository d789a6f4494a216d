"""Let griffe take the types of parameters from their annotations: docstrings name defaults in their place.

``key ("segad"): name of the run`` becomes ``key: name of the run``; the page shows type and default by itself.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

_DEFAULT = re.compile(r"^( {4}\w+) \(.*?\)(?=: )", re.MULTILINE)


class DropDefaults(griffe.Extension):
    """Removes defaults from the parameters of docstrings."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of an object that was read."""
        if obj.docstring is not None:
            obj.docstring.value = _DEFAULT.sub(r"\1", obj.docstring.value)
