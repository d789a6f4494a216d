"""What the panels read: scores of a run, kept for a while, and the sample that a person means."""

from __future__ import annotations

import time

import fiftyone as fo
import fiftyone.operators as foo

from ...registry.run import Run, list_evaluations
from ...review.triage import ScoreTable, read_score_table

_KEPT = 30.0  # seconds; a slider asks many times a second
_cache: dict[tuple[str, ...], tuple[float, ScoreTable]] = {}


def triage_of(dataset: fo.Dataset, run: Run) -> ScoreTable:
    """The scores of a run, read again if they may have changed."""
    key = (str(dataset._doc.id), run.key, run.folder, *list_evaluations(dataset))
    now = time.monotonic()
    kept = _cache.get(key)
    if kept is None or now - kept[0] > _KEPT:
        for old in [name for name, (made, _) in _cache.items() if now - made > _KEPT]:
            del _cache[old]
        kept = _cache[key] = (now, read_score_table(dataset, run))
    return kept[1]


def forget() -> None:
    """Drop what was read, after something has been written."""
    _cache.clear()


def chosen_sample(ctx: foo.ExecutionContext) -> str | None:
    """Id of the sample that is open, else of the first that is selected (of a patch: its sample)."""
    chosen = ctx.current_sample or (ctx.selected[0] if ctx.selected else None)
    if chosen is None:
        return None
    view = ctx.view
    if view is not None and view._is_patches:
        owners = view.select([chosen]).values("sample_id")
        return owners[0] if owners else None
    return str(chosen)


def sample_of(dataset: fo.Dataset, filepath: object) -> str | None:
    """Id of the sample with a file."""
    if not isinstance(filepath, str):
        return None
    found = dataset.match(fo.ViewField("filepath") == filepath).limit(1).values("id")
    return found[0] if found else None
