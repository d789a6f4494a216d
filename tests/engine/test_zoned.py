"""Records adjusted to zones when they are read: the store keeps what was scored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fiftyone_segad.engine.prediction import decided_score, predict_regions, score_with
from fiftyone_segad.engine.zones import add_zones, set_zones, summarise_zones, zoned
from fiftyone_segad.errors import RunError, SegadError
from fiftyone_segad.scoring.thresholds import Thresholds
from fiftyone_segad.segments.boxes import Segments, grid
from fiftyone_segad.segments.zones import ZoneMap
from fiftyone_segad.storage.records import ImageScores
from fiftyone_segad.storage.store import RunStore

SEGMENTS = grid((80, 40), 4)


def halves(image: str, segments: Segments) -> ZoneMap:
    """Return a calm zone on the left, a rough one beside it, and a strip on the right that is ignored."""
    labels = np.ones(segments.size[::-1], np.uint8)
    labels[:, 40:], labels[:, 60:] = 2, 0
    return ZoneMap(labels, ("calm", "rough"))


def record(id: str, calm: float, rough: float, ignored: float = 99.0) -> ImageScores:
    columns = np.array([calm, calm, rough, ignored], np.float32)
    scores = np.tile(columns, 4)
    return ImageScores(id, SEGMENTS, scores, np.zeros(16, bool), float(scores.max()))


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    """A run with twenty normal images, in whose rough zone scores are ten times as high."""
    store = RunStore.create(tmp_path / "run", {})
    for number in range(20):
        store.normals.add(record(f"{number}.png", number / 20, 10 * ((7 * number) % 20) / 20))
    store.normals.flush()
    for scored in (record("good", 0.5, 5.0), record("scratch", 3.0, 5.0), record("dent", 0.5, 30.0)):
        store.scores.add(scored)
    store.scores.flush()
    return store


def test_scores_are_on_one_scale(store: RunStore) -> None:
    set_zones(store, halves, "reference")
    scored = {record.id: record for record in zoned(store).scores}
    assert scored["scratch"].image_score == pytest.approx(scored["dent"].image_score)
    assert scored["scratch"].image_score > 2 * max(r.image_score for r in zoned(store).normals)
    assert [scored[id].zones.decisive for id in ("scratch", "dent")] == ["calm", "rough"]
    assert next(iter(store.scores)).image_score == 99.0, "the store itself has what was scored"
    for adjusted in scored.values():
        assert adjusted.counted_scores.max() == pytest.approx(adjusted.image_score)
        assert score_with(adjusted, lambda scores: scores) == pytest.approx(adjusted.image_score)


def test_masks_have_the_threshold_of_their_zone(store: RunStore) -> None:
    set_zones(store, halves, "reference")
    top = max(record.image_score for record in zoned(store).normals)
    thresholds = Thresholds("fpr:0.05", top, 0.9 * top, {"rough": 801})
    scored = {record.id: record for record in zoned(store).scores}
    mask, regions = predict_regions(scored["scratch"], thresholds)
    assert mask is not None and mask[:, :40].all() and not mask[:, 40:].any()
    assert [(region.zone, region.area) for region in regions] == [("calm", 1600)]
    assert predict_regions(scored["dent"], thresholds) == (None, []), "too small for the rough zone"
    assert decided_score(scored["dent"], thresholds) == top
    assert decided_score(scored["scratch"], thresholds) == scored["scratch"].image_score
    calm, rough = summarise_zones(store, thresholds)
    assert (calm.name, rough.name, rough.min_area) == ("calm", "rough", 801)
    assert calm.threshold == pytest.approx(rough.threshold / 10) and calm.false_alarm_share is not None


def test_images_without_zones_beside_those_with(store: RunStore) -> None:
    set_zones(store, lambda image, cut: None if image == "good" else halves(image, cut), "reference")
    scored = {record.id: record for record in zoned(store).scores}
    assert scored["good"].ignored is not None and not scored["good"].ignored.any()
    assert np.isfinite(scored["good"].image_score)


def test_later_images(store: RunStore) -> None:
    set_zones(store, halves, "reference")
    store.scores.add(record("later", 3.0, 5.0))
    store.scores.flush()
    add_zones(store, halves, {"later"})
    scored = {record.id: record.image_score for record in zoned(store).scores}
    assert scored["later"] == scored["scratch"]
    with pytest.raises(SegadError, match="Zone 'top' is on no normal image"):
        add_zones(store, lambda image, cut: ZoneMap(np.ones(cut.size[::-1], np.uint8), ("top",)), {"later"})


def test_nothing_to_inspect(store: RunStore) -> None:
    with pytest.raises(SegadError, match=r"The zones of image 0.png leave nothing to inspect"):
        set_zones(store, lambda image, cut: ZoneMap(np.zeros(cut.size[::-1], np.uint8), ("a",)), "reference")


@pytest.mark.parametrize("damage", ["", "{}", '{"names": ["a"], "scales": {}, "images": {"x": {"file": "../up"}}}'])
def test_damaged_files(store: RunStore, damage: str) -> None:
    set_zones(store, halves, "reference")
    (store.folder / "zones.json").write_text(damage)
    with pytest.raises(RunError, match="is damaged"):
        list(zoned(store).scores)


def test_labels_that_are_gone(store: RunStore) -> None:
    set_zones(store, halves, "reference")
    for file in (store.folder / "zones").iterdir():
        file.unlink()
    with pytest.raises(RunError, match="is gone or damaged"):
        list(zoned(store).scores)
