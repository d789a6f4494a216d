"""Regions of the ground truth that a run finds, and those that it has lost after a change."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fiftyone_segad.data.masks import Areas
from fiftyone_segad.data.truth import Truth
from fiftyone_segad.errors import ImageError
from fiftyone_segad.review.lost_defects import LostDefect, found_regions, lost_regions
from fiftyone_segad.scoring.thresholds import Thresholds
from fiftyone_segad.segments.boxes import Size, grid
from fiftyone_segad.storage.records import ImageScores
from fiftyone_segad.storage.store import RunStore

GRID = grid((40, 20), 2)
"""Four segments of 20 x 10 px."""

LEFT, RIGHT = (0.0, 0.0, 0.5, 0.5), (0.75, 0.5, 0.25, 0.5)


class Drawn:
    """A mask of two defects, at the top left and at the lower right."""

    name = "drawn"

    def exists(self) -> bool:
        return True

    def read(self, size: Size) -> Areas:
        mask = np.zeros(size[::-1], bool)
        mask[:10, :20] = mask[10:, 30:] = True
        return Areas(mask)


class Unreadable(Drawn):
    """A mask that cannot be read."""

    name = "unreadable"

    def read(self, size: Size) -> Areas:
        raise ImageError("the mask cannot be read")


def store_of(folder: Path, scores: dict[str, list[float]]) -> RunStore:
    store = RunStore.create(folder, {})
    for id, values in scores.items():
        store.scores.add(ImageScores(id, GRID, np.array(values, np.float32), np.zeros(4, bool), max(values)))
    store.scores.flush()
    return store


def test_regions_are_found_by_the_mask_and_lost_with_it(tmp_path: Path) -> None:
    sources = {"both": Drawn(), "missed": Drawn(), "good": None, "unreadable": Unreadable(), "not asked for": Drawn()}
    scores = {id: [0.9, 0.1, 0.1, 0.8] for id in [*sources, "without truth"]}
    scores["missed"] = [0.1, 0.2, 0.1, 0.1]
    store = store_of(tmp_path / "run", scores)
    truths = {id: Truth(source) for id, source in sources.items()}
    ids = set(scores) - {"not asked for"}
    before = found_regions(store, Thresholds("0.5", 0.5, 0.5), truths, ids)
    assert before == {"both": {0: LEFT, 1: RIGHT}, "missed": {}}
    after = found_regions(store, Thresholds("0.85", 0.85, 0.85), truths, ids)
    assert after == {"both": {0: LEFT}, "missed": {}}
    assert lost_regions(before, after) == [LostDefect("both", RIGHT)]
    assert lost_regions(after, before) == []
    assert lost_regions(before, {}) == [LostDefect("both", LEFT), LostDefect("both", RIGHT)]
