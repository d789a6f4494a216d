"""The tab *Families* of the panel: a strip of crops per family, what it holds, and what can be done with it."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
import fiftyone.operators.types as types

from ...errors import ImageError, SegadError
from ...registry.keys import ANOMALOUS, NORMAL
from ...registry.run import Run
from ...registry.samples import all_slices
from ...review.families import FIT, NEW_LABEL, SINGLE_LABEL, Families, Family, list_families
from ...segments.boxes import PixelBox
from ...storage.families import FILE
from ...utils.drawing import jpeg_url
from ...utils.images import read_header
from ...utils.text import pluralize
from ...visualization.pictures import crop_segment
from ..wording import in_app_words
from .rows import add_button, add_picture, add_row
from .run_view import RunView

_URI = "@segad/anomaly/"
_CROPS = 5
_SIDE = 84
_LISTED = 16
"""Families that are drawn; the others have few regions."""

_CONTEXT = 0.25
"""Share of the sides of a region's box that is shown around it."""

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
    listed = [family for family in (families.new, *families.families[:_LISTED], families.single) if family.size]
    pictures: dict[str, str] = {}
    for number, family in enumerate(listed):
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
    strip = add_row(panel, name)
    urls = _strip(ctx.dataset, view.run, tuple(family.region_ids), tuple(family.sample_ids))
    for column, _ in enumerate(urls):
        add_picture(
            strip,
            f"crop{column}",
            _SIDE,
            f"fit {_shown(family.fits)[column]:.2f}",
            operator=show,
            params={"family": family.label},
        )
    row = add_row(panel, f"{name}_buttons")
    label = pluralize(family.size, "region")
    add_button(row, "show", label, icon="crop", on_click=show, params={"family": family.label})
    for action, text, icon, more in _actions(families, family):
        params = {"key": view.run.key, "family": family.label, **more}
        operator = action.split(":")[0]
        button = action.replace(":", "_")
        add_button(row, button, text, icon=icon, on_click=f"{_URI}{operator}", prompt=True, params=params)
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
    name = {
        NEW_LABEL: "**Never seen before**",
        SINGLE_LABEL: "**Single**: they fit nowhere",
    }.get(family.label, f"**{_escaped(family.label)}**")
    facts = [f"mean score {family.mean_score:.2f}", f"spread {family.spread:.2f}"]
    truth = dict(zip(view.table.ids.tolist(), view.table.truth.tolist(), strict=True))
    known = [truth.get(id) for id in family.sample_ids]
    hits, alarms = known.count(ANOMALOUS), known.count(NORMAL)
    if hits or alarms:
        facts.append(f"{hits} on defective images, {alarms} on good ones")
    if family.exceptions:
        facts.append(pluralize(len(family.exceptions), "exception"))
    return f"{name}: {', '.join(facts)}"


def _escaped(text: str) -> str:
    """Return a name that a person gave without what Markdown would read as its own."""
    return "".join(f"\\{sign}" if sign in "\\`*_{}[]()<>#+-.!|~" else sign for sign in text)


def _shown(values: list[Any] | tuple[Any, ...]) -> list[Any]:
    """Return the first values, and the last one in place of the last of them, if there are more."""
    return list(values[:_CROPS]) if len(values) <= _CROPS else [*values[: _CROPS - 1], values[-1]]


@lru_cache(maxsize=64)
def _cached_crop(path: str, box: PixelBox, scale: Any) -> str:
    return jpeg_url(crop_segment(path, box, scale))


def _strip(dataset: fo.Dataset, run: Run, ids: tuple[str, ...], sample_ids: tuple[str, ...]) -> list[str]:
    """Return the pictures of the regions of a family that are shown; a grey one where the image is gone."""
    field = f"{run.field('regions')}.detections"
    samples = all_slices(dataset).select(list(set(_shown(sample_ids))))
    boxes: dict[str, tuple[str, list[float]]] = {}
    paths = ("filepath", f"{field}.id", f"{field}.bounding_box")
    for path, numbers, found in zip(*samples.values(list(paths)), strict=True):
        boxes |= {id: (path, box) for id, box in zip(numbers or (), found or (), strict=True)}
    urls = []
    for id in _shown(ids):
        path, box = boxes[id]
        try:
            urls.append(_cached_crop(path, _around(box, read_header(path).size), run.grey_scale))
        except ImageError:
            urls.append("")
    return urls


def _around(box: list[float], size: tuple[int, int]) -> PixelBox:
    """Return a box in pixels with something around it, square where there is room."""
    x, y, width, height = (value * side for value, side in zip(box, (*size, *size), strict=True))
    half = max(width, height) * (0.5 + _CONTEXT)
    centre = (x + width / 2, y + height / 2)
    left, top = (max(int(middle - half), 0) for middle in centre)
    return left, top, min(int(centre[0] + half) + 1, size[0]), min(int(centre[1] + half) + 1, size[1])
