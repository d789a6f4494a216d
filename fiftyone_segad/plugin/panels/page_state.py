"""What each open page of the App shows now, so that a late answer does not draw what was shown when it was asked for.

The App sends the panel's state along with each event and draws the answers as they come. Explaining a sample takes
seconds; whoever moves the slider meanwhile would have its answer drawn over by the counts of the threshold before.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any
from uuid import uuid4

_MOST = 200
"""Pages that are remembered; the one unheard of for longest is forgotten first."""

_newest: OrderedDict[str, dict[str, Any]] = OrderedDict()


def arrived(state: Any, names: list[str]) -> None:
    """Note what a page shows, as its newest event says; the first event of a page gives it its name."""
    if state.page is None:
        state.page = uuid4().hex
    _newest[state.page] = {name: state.get(name) for name in names}
    _newest.move_to_end(state.page)
    while len(_newest) > _MOST:
        _newest.popitem(last=False)


def change(state: Any, name: str, value: Any) -> None:
    """Change what a page shows."""
    state.set(name, value)
    _newest.setdefault(state.page, {})[name] = value


def renew(state: Any, values: dict[str, Any]) -> None:
    """Apply newer page state to an older event before drawing.

    Args:
        state: the panel's state
        values: where the state's values are; nothing of it is sent to the page, which has it already
    """
    values.update(_newest.get(state.page, {}))
