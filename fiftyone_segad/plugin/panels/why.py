"""*Why is it anomalous?* at the top of the panel: segments of a sample beside those that they differ from."""

from __future__ import annotations

from typing import Any

import fiftyone.operators.types as types

from .actions import TriageActions
from .crops import crop_name, row_name
from .rows import add_picture, add_row
from .run_view import RunView

_SIDE = 200
"""Side of a crop in pixels: two beside each other fit in half of a page of 1280 px."""

_HELP = (
    "**score**: how unlike all that it was compared with a segment is; images above {threshold:.3g} are flagged. "
    "**distance**: that of the features of two segments, 0 for the same. Click a picture to open its image."
)


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
    panel.md(_HELP.format(threshold=view.run.thresholds.image), name="why_help")
