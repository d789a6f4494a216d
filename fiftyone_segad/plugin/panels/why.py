"""*Why is it anomalous?* at the top of the panel: segments of a sample beside those that they differ from."""

from __future__ import annotations

from typing import Any

import fiftyone.operators.types as types

from .actions import TriageActions
from .crops import crop_name, excuse_name, row_name
from .rows import add_picture, add_row
from .run_view import RunView

_SIDE = 200
"""Side of a crop in pixels: two beside each other fit in half of a page of 1280 px."""

_HELP = (
    "**score**: how unlike all that it was compared with a segment is; images above {threshold:.3g} are flagged. "
    "**distance**: that of the features of two segments, 0 for the same. Click a picture to open its image."
)

_NO_EXCUSE = "No normal image alone excuses it: it is as normal as many."


def add(panel: types.Object, view: RunView, why: dict[str, Any] | None, actions: TriageActions) -> None:
    """Add an explanation to a panel, or the button that asks for it where a sample is open or selected."""
    if why is None:
        if view.sample_score is not None:
            label = f"Why is it anomalous? (score {view.sample_score:.3g})"
            panel.btn("why_button", label=label, icon="psychology_alt", variant="contained", on_click=actions.explain)
        return
    title = f"**{why['name']}**: its worst segments, each beside the most similar one it was compared with"
    panel.md(title, name="why_title")
    for i, crops in enumerate(why["segments"]):
        panel.md(why["reasons"][i], name=f"reason{i}")
        row = add_row(panel, row_name(i))
        for j, crop in enumerate(crops):
            params = {"filepath": crop["filepath"]}
            add_picture(row, crop_name(j), _SIDE, crop["label"], operator=actions.open_normal, params=params)
    if "miss" in why:
        _add_miss(panel, why["miss"], actions)
    elif view.sample_missed:
        panel.btn("miss_button", label="Why was it missed?", icon="visibility_off", on_click=actions.explain_miss)
    panel.md(_HELP.format(threshold=view.run.thresholds.image), name="why_help")


def _add_miss(panel: types.Object, miss: dict[str, Any], actions: TriageActions) -> None:
    """Add why a defect was missed, and buttons that leave out normal images that are probably defective."""
    panel.md(f"**{miss['text']}**" if miss["excuses"] else f"**{miss['text']}** {_NO_EXCUSE}", name="miss_title")
    for i, excuse in enumerate(miss["excuses"]):
        panel.md(excuse["text"], name=f"miss{i}")
        row = add_row(panel, excuse_name(i))
        for j, crop in enumerate(excuse["crops"]):
            params = {"filepath": crop["filepath"]}
            add_picture(row, crop_name(j), _SIDE, crop["label"], operator=actions.open_normal, params=params)
        if excuse["suspect"]:
            params = {"filepath": excuse["suspect"]}
            panel.btn(f"leave_out{i}", label="Leave it out, and rescore", on_click=actions.leave_out, params=params)
