"""Runs with zones: what is ignored counts nowhere, and zones have thresholds of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest

import fiftyone_segad as segad
from conftest import ColourEmbedder
from fiftyone_segad.registry.keys import FIELD_NAMES
from fiftyone_segad.storage.zones import read_zones
from zoned_dataset import LEFT, NORMALS, RIGHT, SPOT, boxes, compute_zoned, mask_of, zoned_dataset

pytestmark = pytest.mark.usefixtures("colour_embedder")

MakeDataset = Callable[..., fo.Dataset]
WIDER = (SPOT[0] - 0.2, SPOT[1] - 0.2, SPOT[2] + 0.4, SPOT[3] + 0.4)
"""The spot, and the segments around that see it."""


def fields(dataset: fo.Dataset, key: str) -> list[list[object]]:
    """Return score, label and boxes of regions of all samples."""
    names = ("score", "pred.label", "regions.detections.bounding_box")
    return [dataset.values(f"{key}_{name}") for name in names]


def test_what_is_ignored_counts_nowhere(dataset_of: MakeDataset, tmp_path: Path) -> None:
    dataset, first = zoned_dataset(dataset_of, tmp_path, boxes(ignore=WIDER))
    compute_zoned(dataset, key="whole")
    run = compute_zoned(dataset, zones="zones", zones_from=first)
    spotted = dataset.last()
    assert spotted.whole_pred.label == "anomalous"
    assert spotted.segad_pred.label == "normal"
    assert spotted.segad_score < 0.5 * spotted.whole_score
    assert not spotted.segad_regions.detections
    assert run.zones is not None and (run.zones.field, run.zones.zones_from) == ("zones", first)
    record = next(record for record in run.store.scores if record.id == spotted.id)
    anomaly, ignored = record.map(), record.ignored
    assert ignored is not None and ignored[30, 30] and not ignored[0, 0]
    assert anomaly[ignored].max() == anomaly[~ignored].min()


def test_masks_end_where_a_zone_begins(dataset_of: MakeDataset, tmp_path: Path) -> None:
    half = (SPOT[0], SPOT[1], SPOT[2] / 2, SPOT[3])
    dataset, first = zoned_dataset(dataset_of, tmp_path, boxes(ignore=half))
    compute_zoned(dataset, zones="zones", zones_from=first)
    mask = mask_of(dataset.last())
    assert mask.any() and not mask[24:40, 24:32].any()


def test_zones_that_cover_all_change_nothing(dataset_of: MakeDataset, tmp_path: Path) -> None:
    dataset, first = zoned_dataset(dataset_of, tmp_path, boxes(inspect=(0.0, 0.0, 1.0, 1.0)))
    whole = compute_zoned(dataset, key="whole")
    run = compute_zoned(dataset, zones="zones", zones_from=first)
    assert run.thresholds == whole.thresholds and run.map_range == whole.map_range
    assert fields(dataset, "segad") == fields(dataset, "whole")


def test_named_zones(dataset_of: MakeDataset, tmp_path: Path) -> None:
    dataset, first = zoned_dataset(dataset_of, tmp_path, boxes(inspect_left=LEFT, inspect_right=RIGHT))
    run = compute_zoned(dataset, zones="zones", zones_from=first)
    spotted = dataset.last()
    assert spotted.segad_pred.zone == "left"
    assert {region.zone for region in spotted.segad_regions.detections} == {"left"}
    assert set(spotted.segad_pred.zone_scores) == {"left", "right"}
    limits = {zone.name: zone.threshold for zone in run.zone_summaries}
    flagged = {
        sample.id
        for sample in dataset
        if any(sample.segad_pred.zone_scores[name] > limit for name, limit in limits.items())
    }
    assert flagged == {s.id for s in dataset if s.segad_pred.label == "anomalous"}
    assert set(limits) == {"left", "right"} and all(zone.false_alarm_share for zone in run.zone_summaries)
    assert "zone 'left': anomalous above" in str(run)


def test_rescore_follows_other_zones_without_the_network(dataset_of: MakeDataset, tmp_path: Path) -> None:
    dataset, first = zoned_dataset(dataset_of, tmp_path, boxes(ignore=WIDER))
    run = compute_zoned(dataset, zones="zones", zones_from=first)
    report = segad.rescore(dataset, "segad")
    assert report.run == segad.load_run(dataset, "segad") and report.run.folder == run.folder
    sample = dataset.first()
    sample["zones"] = boxes(inspect_left=LEFT, inspect_right=RIGHT)
    sample.save()
    expected = compute_zoned(dataset, key="anew", zones="zones", zones_from=first)
    calls = ColourEmbedder.calls
    report = segad.rescore(dataset, "segad")
    assert ColourEmbedder.calls == calls
    assert dataset.last().id in report.raised
    assert report.run.thresholds == expected.thresholds
    assert fields(dataset, "segad") == fields(dataset, "anew")
    assert not Path(run.folder).exists()
    for name in FIELD_NAMES:
        assert dataset.has_sample_field(f"segad_{name}")


def test_rescore_gives_zones_to_a_run_that_had_none(dataset_of: MakeDataset, tmp_path: Path) -> None:
    dataset, first = zoned_dataset(dataset_of, tmp_path, boxes(ignore=WIDER))
    compute_zoned(dataset)
    run = segad.rescore(dataset, "segad", zones="zones", zones_from=first).run
    assert run.zones is not None and run.zones.zones_from == first
    assert dataset.last().segad_pred.label == "normal"
    with pytest.raises(ValueError, match="zones_from='nobody' is no sample with zones in 'zones'"):
        segad.rescore(dataset, "segad", zones_from="nobody")


def test_marks_and_zones_together(dataset_of: MakeDataset, tmp_path: Path) -> None:
    dataset, first = zoned_dataset(dataset_of, tmp_path, boxes(inspect_left=LEFT, inspect_right=RIGHT))
    compute_zoned(dataset, zones="zones", zones_from=first)
    segad.mark_normal(dataset.skip(NORMALS + 1), "segad")
    run = segad.rescore(dataset, "segad").run
    assert run.zones is not None and dataset.last().segad_pred.label == "normal"
    assert [zone.name for zone in run.zone_summaries] == ["left", "right"]


def test_a_run_that_was_interrupted_takes_the_zones_of_now(
    dataset_of: MakeDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, first = zoned_dataset(dataset_of, tmp_path, boxes(ignore=WIDER))
    with monkeypatch.context() as patch:
        patch.setattr("fiftyone_segad.runs.compute.commit", lambda *arguments: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            compute_zoned(dataset, zones="zones", zones_from=first, segments="tiles")
    calls = ColourEmbedder.calls
    compute_zoned(dataset, segments="tiles")
    assert ColourEmbedder.calls == calls
    assert dataset.last().segad_pred.label == "anomalous"


def test_score_new(dataset_of: MakeDataset, tmp_path: Path) -> None:
    dataset, first = zoned_dataset(dataset_of, tmp_path, boxes(ignore=WIDER))
    compute_zoned(dataset, key="all", zones="zones", zones_from=first)
    segad.compute_segment_anomalies(
        dataset.limit(NORMALS),
        reference=dataset.match_tags("good"),
        threshold="fpr:0.2",
        zones="zones",
        zones_from=first,
    )
    segad.score_new(dataset, "segad")
    assert dataset.values("segad_score") == dataset.values("all_score")
    assert dataset.values("segad_pred.p_value") == dataset.values("all_pred.p_value")
    files = [image.file for image in read_zones(Path(segad.load_run(dataset, "segad").folder)).images.values()]
    assert len(set(files)) == 1 and len(files) == 2 * NORMALS + 2


def test_score_new_with_a_zone_that_is_on_no_normal_image(dataset_of: MakeDataset, tmp_path: Path) -> None:
    dataset, first = zoned_dataset(dataset_of, tmp_path, boxes(inspect_left=LEFT, inspect_right=RIGHT))
    scored = dataset.limit(NORMALS)
    segad.compute_segment_anomalies(scored, reference=scored, zones="zones", zones_from=first)
    sample = dataset.last()
    sample["zones"] = boxes(inspect_top=LEFT)
    sample.save()
    calls = ColourEmbedder.calls
    with pytest.raises(ValueError, match=r"Zone 'top' is on no normal image.*zones_from"):
        segad.score_new(dataset, "segad")
    assert ColourEmbedder.calls == calls


def test_other_methods(dataset_of: MakeDataset, tmp_path: Path) -> None:
    dataset, first = zoned_dataset(dataset_of, tmp_path, boxes(ignore=WIDER))
    for method in ("unlabeled", "within_image"):
        key = f"by_{method}"
        segad.compute_segment_anomalies(dataset, key, method, zones="zones", zones_from=first)
        spotted = dataset.last()
        mask = mask_of(spotted, key)
        assert not mask[24:40, 24:40].any()
        record = next(r for r in segad.load_run(dataset, key).store.scores if r.id == spotted.id)
        assert record.zones is not None and not record.outliers[record.zones.of_segments == 0].any()


def test_export_and_import(dataset_of: MakeDataset, tmp_path: Path) -> None:
    dataset, first = zoned_dataset(dataset_of, tmp_path, boxes(inspect_left=LEFT, inspect_right=RIGHT))
    compute_zoned(dataset, zones="zones", zones_from=first)
    archive = segad.export_run(dataset, "segad", tmp_path / "run.zip")
    there = dataset_of([Path(path) for path in dataset.values("filepath")])
    segad.import_run(there, archive)
    assert fields(there, "segad") == fields(dataset, "segad")
    assert there.last().segad_pred.zone == "left"
    segad.mark_normal(there.skip(NORMALS + 1), "segad")
    run = segad.rescore(there, "segad").run
    assert [zone.name for zone in run.zone_summaries] == ["left", "right"], "they stay though they are not drawn here"
    assert run.zones is not None and run.zones.zones_from == there.first().id


def test_zones_of_a_sample_stand_before_shared_ones(dataset_of: MakeDataset, tmp_path: Path) -> None:
    dataset, first = zoned_dataset(dataset_of, tmp_path, boxes(inspect=(0.0, 0.0, 1.0, 1.0)))
    sample = dataset.last()
    sample["zones"] = boxes(inspect=RIGHT)
    sample.save()
    run = compute_zoned(dataset, zones="zones", zones_from=first)
    ignored = {record.id: record.ignored for record in run.store.scores}
    assert ignored[sample.id][:, :48].all() and not ignored[sample.id][:, 48:].any()
    assert not ignored[first].any()
    assert np.isfinite(sample.reload() or dataset.last().segad_score)


def test_a_bank_file_holds_no_zones_of_single_images(dataset_of: MakeDataset, tmp_path: Path) -> None:
    dataset, first = zoned_dataset(dataset_of, tmp_path, boxes(ignore=WIDER))
    dataset.set_values("zones", [boxes(ignore=SPOT)] * len(dataset))
    compute_zoned(dataset, zones="zones")
    match = r"zones of their own, which a bank file cannot hold.*score_new\(\)"
    with pytest.raises(ValueError, match=match):
        segad.save_bank(dataset, "segad", tmp_path / "bank.safetensors")
    sample = dataset.skip(1).first()
    sample["zones"] = boxes(ignore=RIGHT)
    sample.save()
    segad.rescore(dataset, "segad", zones="zones", zones_from=first)
    with pytest.raises(ValueError, match=match):
        segad.save_bank(dataset, "segad", tmp_path / "bank.safetensors")
