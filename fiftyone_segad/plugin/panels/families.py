"""The tab *Families* of the panel: a strip of crops per family, what it holds, and what can be done with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fiftyone.operators as foo
import fiftyone.operators.types as types

from ...errors import SegadError
from ...registry.keys import ANOMALOUS, NORMAL
from ...registry.run import Run
from ...registry.samples import all_slices
from ...review.families import FIT, Families, Family, list_families
from ...storage.families import FILE, NEW_LABEL, SINGLE_LABEL
from ...utils.text import pluralize
from ...visualization.families import family_crops, family_facts, family_title, listed_families, shown_of
from ..wording import in_app_words
from .rows import add_button, add_picture, add_row
from .run_view import RunView

_URI = "@segad/anomaly/"
_SIDE = 84
_LISTED = 16
"""Families that are drawn; the others have few regions."""

_HELP = (
    "Regions that look alike, largest family first: the crops show the most typical ones, and last the one that fits "
    "least. A click on a family's count shows its regions in the grid, those that fit least first."
)
_EMPTY = (
    "Families are regions that look alike: kinds of defects, or of false alarms. One decision is then enough for each."
)


def state_of(view: RunView) -> tuple[int, int] | None:
    """Return what tells whether the families of a run have changed; None where they are not shown."""
    file = Path(view.run.folder, FILE)
    if view.tab != "families" or not file.is_file():
        return None
    status = file.stat()
    return status.st_mtime_ns, status.st_size


def add(
    panel: types.Object, ctx: foo.ExecutionContext, view: RunView, show: Callable[[foo.ExecutionContext], None]
) -> dict[str, str]:
    """Add the tab.

    Args:
        panel: the panel
        ctx: the context
        view: what the page shows
        show: sets the grid to the family of the parameter ``family``

    Returns:
        pictures by their place in the panel
    """
    find = f"{_URI}find_families"
    params = {"key": view.run.key}
    try:
        families = list_families(ctx.dataset, view.run.key)
    except (SegadError, ValueError) as error:
        if Path(view.run.folder, FILE).is_file() or not view.run.store.exists():
            panel.md(in_app_words(str(error)), name="families_error")
        else:
            panel.md(_EMPTY, name="no_families")
        panel.btn("find_families", label="Find families", icon="category", on_click=find, prompt=True, params=params)
        return {}
    panel.md(_HELP, name="families_help")
    pictures: dict[str, str] = {}
    for number, family in enumerate(listed_families(families)[:_LISTED]):
        pictures |= _add_family(panel, ctx, view, families, family, f"family{number}", show)
    panel.btn("find_families", label="Find again", icon="category", on_click=find, prompt=True, params=params)
    return pictures


def show_family(ctx: foo.ExecutionContext, run: Run, label: str) -> Any:
    """Return the regions of a family as patches, those that fit least first."""
    field = run.field("regions")
    ids = list_families(ctx.dataset, run.key)[label].region_ids
    patches = all_slices(ctx.dataset).to_patches(field)
    return patches.select(list(ids)).sort_by(f"{field}.{FIT}")


def _add_family(
    panel: types.Object,
    ctx: foo.ExecutionContext,
    view: RunView,
    families: Families,
    family: Family,
    name: str,
    show: Callable[[foo.ExecutionContext], None],
) -> dict[str, str]:
    panel.md(_title(view, family), name=f"{name}_title")
    row = add_row(panel, f"{name}_buttons")
    label = pluralize(family.size, "region")
    add_button(row, "show", label, icon="crop", on_click=show, params={"family": family.label})
    for action, text, icon, more in _actions(families, family):
        params = {"key": view.run.key, "family": family.label, **more}
        operator = action.split(":")[0]
        button = action.replace(":", "_")
        add_button(row, button, text, icon=icon, on_click=f"{_URI}{operator}", prompt=True, params=params)
    strip = add_row(panel, name)
    urls = family_crops(ctx.dataset, view.run, family)
    for column, fit in enumerate(shown_of(family.fits)):
        add_picture(
            strip,
            f"crop{column}",
            _SIDE,
            f"fit {fit:.2f}",
            operator=show,
            params={"family": family.label},
        )
    return {f"{name}.crop{column}": url for column, url in enumerate(urls)}


def _actions(families: Families, family: Family) -> list[tuple[str, str, str, dict[str, str]]]:
    """Return operator, text, icon and parameters of each button."""
    marks = [
        ("mark_family:normal", "Normal", "thumb_up", {"label": NORMAL}),
        ("mark_family:anomalous", "Anomalous", "thumb_down", {"label": ANOMALOUS}),
    ]
    if family.label in (NEW_LABEL, SINGLE_LABEL):
        return marks
    edits: list[tuple[str, str, str, dict[str, str]]] = [
        ("name_family", "Name", "label", {}),
        ("split_family", "Split", "call_split", {}),
    ]
    if len(families.families) > 1:
        edits.insert(1, ("merge_families", "Merge", "call_merge", {}))
    return [*edits, *marks]


def _title(view: RunView, family: Family) -> str:
    truth = dict(zip(view.table.ids.tolist(), view.table.truth.tolist(), strict=True))
    defective = {id: kind == ANOMALOUS for id, kind in truth.items() if kind in (NORMAL, ANOMALOUS)}
    return f"**{_escaped(family_title(family))}**: {family_facts(family, defective)}"


def _escaped(text: str) -> str:
    """Return a name that a person gave without what Markdown would read as its own."""
    return "".join(f"\\{sign}" if sign in "\\`*_{}[]()<>#+-.!|~" else sign for sign in text)
