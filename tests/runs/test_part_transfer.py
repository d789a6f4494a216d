"""What is decided on parts goes with an exported run, and runs of slices belong together again where they arrive."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import fiftyone as fo
import pytest

import fiftyone_segad as segad
from moved_parts import by_file, elsewhere
from seen_parts import BAD, CAMERAS, GOOD, scored_flat_parts, scored_grouped_parts

pytestmark = pytest.mark.usefixtures("colour_embedder")


@pytest.fixture
def flat(tmp_path: Path) -> Iterator[fo.Dataset]:
    dataset = scored_flat_parts(tmp_path)
    yield dataset
    dataset.delete()


@pytest.fixture
def grouped(tmp_path: Path) -> Iterator[fo.Dataset]:
    dataset = scored_grouped_parts(tmp_path)
    yield dataset
    dataset.delete()


def test_decisions_on_parts_arrive(flat: fo.Dataset, tmp_path: Path) -> None:
    segad.decide_parts(flat, "segad", by="part_id", views="camera", share=0.06)
    expected, record = by_file(flat), segad.list_parts(flat, "segad").record
    file = segad.export_run(flat, "segad", tmp_path / "run.zip")
    there = elsewhere(flat, tmp_path / "there")
    run = segad.import_run(there, file)
    assert by_file(there) == expected and len(expected) == 2 * (GOOD + BAD)
    assert run.warnings == segad.load_run(flat, "segad").warnings
    arrived = segad.list_parts(there, "segad")
    assert (arrived.share, arrived.record.by, arrived.record.views) == (0.06, "part_id", "camera")
    assert (arrived.record.normals, len(arrived.flagged)) == (record.normals, BAD)
    assert {part.part for part in arrived.parts} == {part.part for part in segad.list_parts(flat, "segad").parts}
    segad.mark_normal(there.select([arrived.flagged[0].sample_id]), "segad")
    segad.rescore(there, "segad")  # and they follow there
    assert len(segad.list_parts(there, "segad").flagged) == BAD - 1
    segad.delete_run(there, "segad")
    assert not there.has_sample_field("segad_part")
    there.delete()


def test_under_another_key_and_in_place_of_a_run(flat: fo.Dataset, tmp_path: Path) -> None:
    file = segad.export_run(flat, "segad", tmp_path / "undecided")
    segad.decide_parts(flat, "segad", by="part_id", views="camera", share=0.06)
    decided = segad.export_run(flat, "segad", tmp_path / "decided")
    segad.import_run(flat, decided, key="other")
    assert len(segad.list_parts(flat, "other").flagged) == len(segad.list_parts(flat, "segad").flagged) == BAD
    segad.import_run(flat, file, key="other", overwrite=True)  # the decisions follow the scores that came
    assert segad.list_parts(flat, "other").share == 0.06


def test_parts_whose_deciding_picture_is_not_here_are_named(flat: fo.Dataset, tmp_path: Path) -> None:
    decisions = segad.decide_parts(flat, "segad", by="part_id", views="camera", share=0.06)
    file = segad.export_run(flat, "segad", tmp_path / "run.zip")
    there = elsewhere(flat, tmp_path / "there")
    absent = Path(flat[decisions.parts[0].sample_id].filepath).name
    there.delete_samples(there.match(fo.ViewField("filepath").ends_with(f"/{absent}")))
    run = segad.import_run(there, file)
    assert run.warnings[-1].startswith("Nothing is decided here on 1 part whose deciding picture")
    assert len(segad.list_parts(there, "segad").parts) == len(decisions.parts) - 1
    there.delete()


def test_damaged_parts_are_refused_before_anything_is_written(flat: fo.Dataset, tmp_path: Path) -> None:
    segad.decide_parts(flat, "segad", by="part_id")
    folder = segad.export_run(flat, "segad", tmp_path / "run")
    saved = json.loads((folder / "run.json").read_text())
    for damage in ({}, {"record": {}, "parts": []}, {**saved["parts"], "parts": [{"part": 3}]}):
        (folder / "run.json").write_text(json.dumps({**saved, "parts": damage}))
        with pytest.raises(segad.RunError, match="parts of the exported run are damaged"):
            segad.import_run(flat, folder, key="other")
        assert segad.list_runs(flat) == ["segad"]


def test_runs_of_slices_are_those_of_all_slices_again(grouped: fo.Dataset, tmp_path: Path) -> None:
    decided = segad.decide_parts(grouped, "segad", share=0.06)
    files = [segad.export_run(grouped, f"segad_{camera}", tmp_path / f"{camera}.zip") for camera in CAMERAS]
    expected = by_file(grouped.select_group_slices(CAMERAS))
    there = elsewhere(grouped, tmp_path / "there")
    left = segad.import_run(there.select_group_slices("left"), files[0])
    assert "import ['segad_right'] as well" in left.warnings[-2]
    right = segad.import_run(there.select_group_slices("right"), files[1])
    assert right.warnings[-1].endswith("decide_parts(dataset, 'segad', share=0.06) takes them again")
    assert len(segad.decide_parts(there, "segad", share=0.06).flagged) == len(decided.flagged) == BAD
    assert by_file(there.select_group_slices(CAMERAS)) == expected
    views = segad.set_threshold(there, "segad", "fpr:0.2")
    assert list(views) == list(CAMERAS)
    segad.delete_run(there, "segad")
    assert not there.list_runs()
    there.delete()


def test_a_run_of_a_slice_under_another_key_stands_alone(grouped: fo.Dataset, tmp_path: Path) -> None:
    file = segad.export_run(grouped, "segad_left", tmp_path / "left.zip")
    run = segad.import_run(grouped.select_group_slices("left"), file, key="alone")
    assert run.key == "alone" and not any("of slice" in warning for warning in run.warnings)
    flat = fo.Dataset()
    flat.add_images([sample.filepath for sample in grouped.select_group_slices("left")])
    assert segad.import_run(flat, file).key == "segad_left" and segad.list_runs(flat) == ["segad_left"]
    flat.delete()


def test_decisions_on_groups_arrive_at_the_groups_there(grouped: fo.Dataset, tmp_path: Path) -> None:
    samples = grouped.select_group_slices(CAMERAS)
    segad.compute_segment_anomalies(
        samples.match_tags("test"), "pooled", reference=samples.match_tags("good"), segments="tiles:0.4:0.2"
    )
    flagged = segad.decide_parts(grouped, "pooled", share=0.06).flagged
    file = segad.export_run(grouped, "pooled", tmp_path / "pooled.zip")
    there = elsewhere(grouped, tmp_path / "there")
    segad.import_run(there.select_group_slices(CAMERAS), file)
    arrived = segad.list_parts(there, "pooled").flagged
    assert len(arrived) == len(flagged) > 0
    assert {part.part for part in arrived} <= set(there.values("group.id"))
    there.delete()
