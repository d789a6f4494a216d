"""Exports keep the pictures of a part together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import fiftyone as fo
import pytest

import fiftyone_segad as segad
from exports import manifest
from seen_parts import BAD, CAMERAS, GOOD, NORMALS, flat_parts, grouped_parts


def splits_of(folder: Path) -> dict[str, str]:
    return {entry["id"]: entry["split"] for entry in manifest(folder)["images"]}


@pytest.fixture
def flat(tmp_path: Path) -> Iterator[fo.Dataset]:
    dataset = flat_parts(tmp_path)
    yield dataset
    dataset.delete()


def test_the_good_picture_of_a_defective_part_is_not_trained_on(flat: fo.Dataset, tmp_path: Path) -> None:
    segad.export_curated(flat, tmp_path / "apart")
    assert Counter(splits_of(tmp_path / "apart").values()) == {"train": 2 * (NORMALS + GOOD) + BAD, "test": BAD}
    done = segad.export_curated(flat, tmp_path / "together", part_field="part_id")
    assert done.counts == {"train/good": 2 * (NORMALS + GOOD), "test/good": BAD, "test/spot": BAD}
    bad = flat.skip(2 * (NORMALS + GOOD)).values("id")
    assert {id for id, split in splits_of(tmp_path / "together").items() if split == "test"} == set(bad)
    again = segad.load_mvtec(tmp_path / "together")
    assert again.count_values("split") == {"train": 2 * (NORMALS + GOOD), "test": 2 * BAD}
    again.delete()


def test_a_part_whose_pictures_are_of_several_splits_goes_to_the_latest(flat: fo.Dataset, tmp_path: Path) -> None:
    flat.add_sample_field("split", fo.StringField)
    flat.set_values(
        "split", ["train", "validation", "validation", "test"] + ["train"] * (2 * len(CAMERAS) * 10 - 4 + 10)
    )
    segad.export_curated(flat, tmp_path / "out", part_field="part_id")
    splits = splits_of(tmp_path / "out")
    assert [splits[id] for id in flat.limit(6).values("id")] == ["validation"] * 2 + ["test"] * 2 + ["train"] * 2


def test_an_unknown_part_is_alone_and_a_wrong_field_refused(flat: fo.Dataset, tmp_path: Path) -> None:
    flat.set_field("part_id", None).save("part_id")
    segad.export_curated(flat, tmp_path / "out", part_field="part_id")
    assert Counter(splits_of(tmp_path / "out").values())["test"] == BAD
    for field in ("defect", "nothing"):
        with pytest.raises(ValueError, match=f"part_field='{field}' is no field of texts"):
            segad.export_curated(flat, tmp_path / "other", part_field=field)


@pytest.mark.usefixtures("colour_embedder")
def test_runs_of_all_slices_are_exported_at_once(tmp_path: Path) -> None:
    grouped = grouped_parts(tmp_path)
    try:
        segad.compute_segment_anomalies(
            grouped.match_tags("test"), reference=grouped.match_tags("good"), segments="tiles:0.4:0.2"
        )
        samples = grouped.select_group_slices(CAMERAS)
        grouped.delete_sample_fields(["defect", "defect_mask"])
        normal = samples.match_tags("good")
        samples.set_values("reviewed", dict.fromkeys(normal.values("id"), "normal"), key_field="id")
        segad.export_curated(samples, tmp_path / "out", key="segad", decision_field="reviewed")
        entries = {entry["id"]: entry for entry in manifest(tmp_path / "out")["images"]}
        assert len(entries) == len(samples)
        for camera in CAMERAS:
            run = segad.load_run(grouped, f"segad_{camera}")
            of_slice = grouped.select_group_slices(camera).match_tags("test")
            expected = zip(*of_slice.values(["id", run.field("pred") + ".label", run.field("score")]), strict=True)
            for id, label, score in expected:
                assert (entries[id]["decision"], entries[id]["score"]) == (label, score)
                assert entries[id]["mask_from"] == (run.field("mask") if label == "anomalous" else None)
        groups = dict(zip(*samples.values(["id", "group.id"]), strict=True))
        by_part: dict[str, set[str]] = {}
        for id, entry in entries.items():
            by_part.setdefault(groups[id], set()).add(entry["split"])
        assert all(len(splits) == 1 for splits in by_part.values())
    finally:
        grouped.delete()
