"""Zones that are drawn once move with parts that lie at any angle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import fiftyone_segad as segad
from bolts import ANGLES, GOOD, bolt, red, save_bolts
from fiftyone_segad.segments.zones import ZoneMap
from fiftyone_segad.storage.store import RunStore
from fiftyone_segad.storage.zones import read_zones

SMALL: dict[str, Any] = {"embedder": "efficientnet", "embedder_kwargs": {"input_size": 128}}


@pytest.fixture
def bolts(dataset_of: Callable[..., fo.Dataset], tmp_path: Path) -> fo.Dataset:
    """Bolts at any angle, the last two with a red mark; on the first the part with the mark is to be ignored."""
    dataset = dataset_of(save_bolts(tmp_path))
    sample = dataset.first()
    sample["zones"] = fo.Polylines(polylines=[outline(ANGLES[0], "ignore", 30, 90)])
    sample.save()
    return dataset


def outline(angle: float, label: str, first: float, last: float) -> fo.Polyline:
    """Draw a piece of the bolt, from ``first`` to ``last`` along its shaft."""
    turn = np.deg2rad(angle)
    axes = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    corners = np.array([[first, -22], [last, -22], [last, 22], [first, 22]]) @ axes + (150, 140)
    return fo.Polyline(label=label, points=[(corners / (300, 280)).tolist()], closed=True, filled=True)


def compute(bolts: fo.Dataset, **options: Any) -> segad.Run:
    run = segad.compute_segment_anomalies(
        options.pop("samples", bolts[GOOD - 2 :]),
        threshold="fpr:0.1",
        **{"reference": bolts[: GOOD - 2], "zones": "zones", "zones_from": bolts.first().id, **SMALL, **options},
    )
    assert isinstance(run, segad.Run)
    return run


def zones_of(run: segad.Run, image: str) -> ZoneMap:
    zones = read_zones(Path(run.folder))
    assert zones is not None
    return zones.zone_map(Path(run.folder), image)


def scores(run: segad.Run) -> dict[str, list[float]]:
    return {record.id: record.scores.tolist() for record in run.store.scores}


def marks(angle: float) -> NDArray[np.bool_]:
    return red(bolt(angle))


def test_what_is_ignored_moves_with_the_part(bolts: fo.Dataset) -> None:
    run = compute(bolts)
    assert run.aligned
    ids = bolts.values("id")
    for i in range(GOOD - 2, GOOD + 2):
        assert (zones_of(run, ids[i]).labels[marks(ANGLES[i])] == 0).all(), "the place of the mark"
    inspected = {record.id: record.image_score for record in run.store.scores}
    plain = {
        record.id: record.image_score
        for record in compute(bolts, key="plain", zones=None, zones_from=None).store.scores
    }
    assert all(inspected[id] < plain[id] for id in ids[GOOD:]), "the mark no longer counts"


def test_in_runs_that_compare_images_as_they_are_it_stays(bolts: fo.Dataset) -> None:
    run = compute(bolts, align=False, rotations=1)
    zones = [zones_of(run, id).labels for id in bolts.values("id")[GOOD - 2 :]]
    for labels in zones[1:]:
        np.testing.assert_array_equal(labels, zones[0])


def test_images_with_zones_of_their_own_keep_them(bolts: fo.Dataset) -> None:
    sample = bolts.last()
    sample["zones"] = fo.Polylines(polylines=[outline(ANGLES[-1], "ignore", -90, -50)])
    sample.save()
    run = compute(bolts)
    assert (zones_of(run, sample.id).labels[marks(ANGLES[-1])] == 1).all()


def test_a_bank_file_has_zones_that_move(bolts: fo.Dataset, tmp_path: Path) -> None:
    run = compute(bolts)
    expected = scores(run)
    file = segad.save_bank(bolts, "segad", tmp_path / "bank.safetensors")
    test = bolts[GOOD - 2 :]
    later = segad.score_new(test, "file", bank=file)
    assert scores(later) == expected
    with segad.load_bank(file) as inspector:
        for sample in test:
            inspection = inspector(sample.filepath)
            assert inspection.record.scores.tolist() == expected[sample.id]
            assert inspection.score == pytest.approx(next(r for r in run.store.scores if r.id == sample.id).image_score)
    passed_on = segad.save_bank(bolts, "file", tmp_path / "passed_on.safetensors")
    assert passed_on.read_bytes() == file.read_bytes()


def test_later_images_and_zones_drawn_anew(bolts: fo.Dataset, tmp_path: Path) -> None:
    expected = scores(compute(bolts))
    compute(bolts, samples=bolts[GOOD - 2 : GOOD + 1], overwrite=True)
    assert scores(segad.score_new(bolts[GOOD - 2 :], "segad")) == expected
    sample = bolts.first()
    sample["zones"] = fo.Polylines(polylines=[outline(ANGLES[0], "ignore", -90, -50)])
    sample.save()
    segad.rescore(bolts, "segad")
    run = segad.load_run(bolts, "segad")
    assert (zones_of(run, bolts.last().id).labels[marks(ANGLES[-1])] == 1).all(), "the head is ignored now"
    archive = segad.export_run(bolts, "segad", tmp_path / "run.zip")
    before = scores(run)
    segad.delete_run(bolts, "segad")
    segad.import_run(bolts, archive)
    assert scores(segad.load_run(bolts, "segad")) == before
    segad.save_bank(bolts, "segad", tmp_path / "bank")  # which needs zones that all images have in common


def test_zones_drawn_where_no_part_is_are_refused(bolts: fo.Dataset) -> None:
    sample = bolts.first()
    Image.new("RGB", (300, 280), (90, 90, 90)).save(sample.filepath)
    with pytest.raises(segad.SegadError, match=r"cannot move with the parts: .*no part on a plain ground"):
        compute(bolts, reference=bolts[1 : GOOD - 2], align=True)


def test_damage_is_told(bolts: fo.Dataset) -> None:
    run = compute(bolts)
    file = RunStore(run.folder).folder / "zones.json"
    content = file.read_text()
    start = content.index('"part"')
    file.write_text(content[:start] + '"part": [[0, 0, 0], [0, 0, 0]]}}')
    with pytest.raises(segad.RunError, match="where the part lies"):
        list(run.store.scores)
