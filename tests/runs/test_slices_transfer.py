"""One file carries the runs of all slices of a grouped dataset, and what was decided on their parts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import pytest

import fiftyone_segad as segad
from fiftyone_segad.registry.views import ViewRuns
from moved_parts import by_file, elsewhere
from seen_parts import BAD, CAMERAS, scored_grouped_parts

pytestmark = pytest.mark.usefixtures("colour_embedder")


@pytest.fixture
def grouped(tmp_path: Path) -> Iterator[fo.Dataset]:
    dataset = scored_grouped_parts(tmp_path)
    yield dataset
    dataset.delete()


@pytest.fixture
def there(grouped: fo.Dataset, tmp_path: Path) -> Iterator[fo.Dataset]:
    dataset = elsewhere(grouped, tmp_path / "there")
    yield dataset
    dataset.delete()


@pytest.fixture(params=["line2", "line2.zip"])
def file(request: pytest.FixtureRequest, grouped: fo.Dataset, tmp_path: Path) -> Path:
    segad.decide_parts(grouped, "segad", share=0.06)
    return segad.export_run(grouped, "segad", tmp_path / request.param)


def images(dataset: fo.Dataset, key: str = "segad") -> dict[str, Any]:
    """Score, decision, mask and regions of each image of each slice, by the name of its file."""
    values = {}
    for camera in CAMERAS:
        run_key = f"{key}_{camera}"
        for sample in dataset.select_group_slices(camera).exists(f"{run_key}_score"):
            label = sample[f"{run_key}_mask"]
            mask = None if label is None else (label.import_mask(update=False) or label).mask
            prediction, regions = sample[f"{run_key}_pred"], sample[f"{run_key}_regions"]
            boxes = [region.bounding_box for region in regions.detections] if regions else []
            picture = None if mask is None else np.asarray(mask).tolist()
            values[Path(sample.filepath).name] = (
                *(sample[f"{run_key}_score"], prediction.label, prediction.p_value),
                *(boxes, picture),
            )
    return values


def load(dataset: fo.Dataset, key: str = "segad") -> ViewRuns:
    views = segad.set_threshold(dataset, key, "fpr:0.05")
    assert isinstance(views, ViewRuns)
    return views


def test_runs_and_decisions_arrive(grouped: fo.Dataset, file: Path, there: fo.Dataset) -> None:
    expected, decided = images(grouped), by_file(grouped.select_group_slices(CAMERAS))
    assert sum(values[4] is not None and bool(np.any(values[4])) for values in expected.values()) >= BAD
    views = segad.import_run(there, file)
    assert isinstance(views, ViewRuns) and list(views) == list(CAMERAS) and views.notes == []
    assert images(there) == expected and by_file(there.select_group_slices(CAMERAS)) == decided
    parts = segad.list_parts(there, "segad")
    assert parts.share == 0.06 and {part.part for part in parts.parts} <= set(there.values("group.id"))
    assert parts.record.reference == there.name
    segad.rescore(there, "segad")
    assert len(segad.list_parts(there, "segad").flagged) == BAD
    segad.delete_run(there, "segad")
    assert not there.list_runs() and not there.has_sample_field("segad_part")


def test_under_another_key_beside_the_runs_that_are_there(grouped: fo.Dataset, file: Path) -> None:
    segad.import_run(grouped, file, key="copy")
    assert images(grouped, "copy") == images(grouped)
    assert len(segad.list_parts(grouped, "copy").flagged) == len(segad.list_parts(grouped, "segad").flagged) == BAD
    for key in ("segad", "copy"):
        with pytest.raises(ValueError, match=f"The runs of slices '{key}' exist .* pass overwrite=True"):
            segad.import_run(grouped, file, key=key)
    load(grouped, "copy")
    segad.import_run(grouped, file, key="copy", overwrite=True)
    assert images(grouped, "copy") == images(grouped)


def test_an_undecided_export_has_no_decisions(grouped: fo.Dataset, there: fo.Dataset, tmp_path: Path) -> None:
    segad.import_run(there, segad.export_run(grouped, "segad", tmp_path / "run.zip"))
    assert images(there) == images(grouped) and not there.has_sample_field("segad_part")


def test_slices_that_are_not_there_are_named(grouped: fo.Dataset, file: Path, there: fo.Dataset) -> None:
    left = there.select_group_slices("left")
    for samples in (left, there.exclude_groups(there.values("group.id"))):
        with pytest.raises(ValueError, match=r"slices \['left', 'right'\], and samples has no images of .*'right'"):
            segad.import_run(samples, file)
    flat = fo.Dataset()
    flat.add_images(left.values("filepath"))
    with pytest.raises(ValueError, match=r"slices \['left', 'right'\], and dataset .* has no groups"):
        segad.import_run(flat, file)
    flat.delete()
    for sample in there.select_group_slices("right"):
        Path(sample.filepath).write_bytes(b"another picture")
    with pytest.raises(ValueError, match="Slice 'right': None of the 5 images of run 'segad_right' is in dataset"):
        segad.import_run(there, file)
    assert there.list_runs() == [], "the left slice is not taken over either"


def test_a_damaged_slice_is_refused_before_anything_is_written(
    grouped: fo.Dataset, there: fo.Dataset, tmp_path: Path
) -> None:
    folder = segad.export_run(grouped, "segad", tmp_path / "run")
    record = folder / "1" / "run.json"
    saved = json.loads(record.read_text())
    record.write_text(json.dumps({**saved, "marks": [{"label": 3}]}))
    with pytest.raises(segad.RunError, match="marks of the exported run are damaged"):
        segad.import_run(there, folder)
    record.unlink()
    with pytest.raises(segad.RunError, match=r"1' is no run that this version has exported"):
        segad.import_run(there, folder)
    assert there.list_runs() == []
    for names in ([], ["left", "left"]):
        (folder / "slices.json").write_text(
            json.dumps({**json.loads((folder / "slices.json").read_text()), "slices": names})
        )
        with pytest.raises(segad.RunError, match=r"slices.json' is damaged"):
            segad.import_run(there, folder)


def test_an_import_that_was_interrupted_is_completed_by_the_same_call(
    grouped: fo.Dataset, there: fo.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fiftyone_segad.runs import slices_transfer

    segad.decide_parts(grouped, "segad", share=0.06)
    file = segad.export_run(grouped, "segad", tmp_path / "run.zip")
    take_over = slices_transfer.take_over_run

    def stop_at(camera: str) -> None:
        def stop(arrival: Any, progress: Any) -> list[str]:
            if arrival.key.endswith(camera):
                raise KeyboardInterrupt
            return take_over(arrival, progress)

        monkeypatch.setattr(slices_transfer, "take_over_run", stop)

    stop_at("left")
    with pytest.raises(KeyboardInterrupt):
        segad.import_run(there, file)
    assert there.list_runs() == []
    stop_at("right")
    with pytest.raises(KeyboardInterrupt):
        segad.import_run(there, file)
    with pytest.raises(ValueError, match=r"not complete: \['right'\] are absent"):
        segad.set_threshold(there, "segad", "fpr:0.05")
    monkeypatch.undo()
    segad.import_run(there, file)
    assert images(there) == images(grouped)
    assert by_file(there.select_group_slices(CAMERAS)) == by_file(grouped.select_group_slices(CAMERAS))


def test_only_an_exported_run_is_replaced(grouped: fo.Dataset, file: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="exists; pass overwrite=True"):
        segad.export_run(grouped, "segad", file)
    assert segad.export_run(grouped, "segad_left", file, overwrite=True) == file
    assert segad.export_run(grouped, "segad", file, overwrite=True) == file
    (tmp_path / "mine").mkdir()
    with pytest.raises(ValueError, match="is no exported run"):
        segad.export_run(grouped, "segad", tmp_path / "mine", overwrite=True)
