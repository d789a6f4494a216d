"""Runs on a real database, with an embedder that is quick and needs no model."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import pytest
from fiftyone import ViewField as F
from PIL import Image

import fiftyone_segad as segad
from conftest import ColourEmbedder
from fiftyone_segad.registry.folders import dataset_folder
from fiftyone_segad.registry.run import FIELD_NAMES

FIELDS = {f"segad_{name}" for name in FIELD_NAMES}

pytestmark = pytest.mark.usefixtures("colour_embedder")


@pytest.fixture
def dataset(dataset_of: Callable[..., fo.Dataset], pictures: list[Path]) -> Iterator[fo.Dataset]:
    made = dataset_of(pictures)
    made.limit(4).tag_samples("good")
    yield made


def compute(dataset: fo.Dataset, **options: Any) -> segad.Run:
    settings = {"reference": dataset.match_tags("good"), "segments": "tiles:0.4:0.2"}
    return segad.compute_segment_anomalies(dataset.skip(4), **{**settings, **options})


def snapshot(dataset: fo.Dataset) -> dict[str, Any]:
    """All that a run must leave as it was, by sample."""
    skip = ("last_modified_at",)
    samples = {s.id: {k: v for k, v in s.to_dict().items() if k not in skip} for s in dataset}
    scheme = dataset.app_config.color_scheme
    return {
        "samples": samples,
        "schema": list(dataset.get_field_schema()),
        "runs": dataset.list_runs(),
        "targets": dict(dataset.mask_targets),
        "colours": None if scheme is None else scheme.to_dict(),
    }


def test_all_six_fields(dataset: fo.Dataset) -> None:
    run = compute(dataset)
    assert set(dataset.get_field_schema()) >= FIELDS
    odd = dataset.last()
    plain = dataset.skip(4).first()
    assert odd.segad_score > plain.segad_score
    assert odd.segad_pred.label == "anomalous"
    assert plain.segad_pred.label == "normal"
    assert 0 < odd.segad_pred.p_value <= 1 / 5 + 1e-9, "higher than all four normals"
    heat = np.asarray(Image.open(odd.segad_map.map_path))
    assert heat.dtype == np.uint8
    assert max(heat.shape) <= 256
    assert odd.segad_map.range == [0, 255]
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    assert (30 <= row < 46) and (40 <= column < 56), "the hottest pixel is on the bright square"
    mask = np.asarray(Image.open(odd.segad_mask.mask_path))
    assert mask.shape == (80, 96)
    assert set(np.unique(mask)) == {0, 255}
    assert not np.asarray(Image.open(plain.segad_mask.mask_path)).any()
    region = odd.segad_regions.detections[0]
    assert region.area == int((mask > 0).sum()) or len(odd.segad_regions.detections) > 1
    assert region.mask.sum() == region.area
    assert run.thresholds.image < region.anomaly_score <= odd.segad_score + 1e-6
    segments = odd.segad_segments.detections
    assert max(s.anomaly_score for s in segments) >= odd.segad_score - 1e-6
    assert len({s.index for s in segments}) == len(segments)
    assert dataset.first().segad_score is None, "samples outside the view have no value"
    for field in FIELDS:
        assert dataset.get_field(field).description
    schema = dataset.get_field_schema(flat=True)
    for path in ("segad_regions.detections.area", "segad_segments.detections.anomaly_score", "segad_pred.p_value"):
        assert path in schema, "usable in the App's sidebar"


def test_delete_run_leaves_nothing(dataset: fo.Dataset) -> None:
    before = snapshot(dataset)
    run = compute(dataset)
    assert segad.list_runs(dataset) == ["segad"]
    segad.delete_run(dataset, "segad")
    dataset.reload()
    assert snapshot(dataset) == before
    assert not Path(run.folder).exists()
    assert not dataset_folder(dataset).exists()
    with pytest.raises(ValueError, match="no run 'segad'"):
        segad.delete_run(dataset, "segad")


def test_delete_run_keeps_the_colours_of_others(dataset: fo.Dataset) -> None:
    mine = [{"path": "mine", "fieldColor": "#00ff00"}]
    dataset.app_config.color_scheme = fo.ColorScheme(fields=mine, opacity=0.4)
    dataset.save()
    compute(dataset)
    segad.delete_run(dataset, "segad")
    dataset.reload()
    assert dataset.app_config.color_scheme.fields == mine
    assert dataset.app_config.color_scheme.opacity == 0.4


def test_images_and_truth_are_untouched(dataset: fo.Dataset, pictures: list[Path]) -> None:
    before = [path.read_bytes() for path in pictures]
    compute(dataset)
    assert [path.read_bytes() for path in pictures] == before


def test_leave_one_out_when_the_views_overlap(dataset: fo.Dataset) -> None:
    run = segad.compute_segment_anomalies(dataset, reference=dataset, segments="tiles:0.4:0.2")
    assert run.scored == 6
    assert min(dataset.values("segad_score")) > 0, "an image compared with itself would score 0"
    assert any("also a normal image" in warning for warning in run.warnings)
    assert dataset.sort_by("segad_score", reverse=True).first().filepath.endswith("5.png")


def test_overwrite_replaces_and_cleans_up(dataset: fo.Dataset) -> None:
    first = compute(dataset)
    with pytest.raises(ValueError, match=r"exists.*overwrite=True"):
        compute(dataset)
    second = compute(dataset, overwrite=True, segments="grid:4")
    assert second.settings["segments"] == "grid:4"
    assert not Path(first.folder).exists()
    assert len(dataset.last().segad_segments.detections) == 16
    assert segad.list_runs(dataset) == ["segad"]


def test_the_old_run_survives_a_failure_of_the_new_one(dataset: fo.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    first = compute(dataset)
    before = snapshot(dataset)

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", full)
        with pytest.raises(OSError, match=r"No space left.*Free the disk"):
            compute(dataset, overwrite=True, segments="grid:4")
    dataset.reload()
    assert snapshot(dataset) == before
    assert Path(first.folder).is_dir()
    assert compute(dataset, overwrite=True, segments="grid:4").scored == 2


def test_an_interrupted_run_goes_on(dataset: fo.Dataset, colour_embedder: type[ColourEmbedder]) -> None:
    before = snapshot(dataset)

    def stop(bar: Any) -> None:
        if bar.iteration >= 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compute(dataset, progress=stop)
    assert snapshot(dataset) == before, "nothing is visible of a run that did not end"
    embedded = colour_embedder.calls
    run = compute(dataset)
    assert colour_embedder.calls - embedded < 6, "what was embedded is not embedded again"
    scores = dataset.values("segad_score")
    segad.delete_run(dataset, "segad")
    compute(dataset, resume=False)
    assert dataset.values("segad_score") == scores
    assert run.scored == 2


def test_two_runs_live_side_by_side(dataset: fo.Dataset) -> None:
    compute(dataset, key="a")
    compute(dataset, key="b", segments="grid:4")
    assert set(segad.list_runs(dataset)) == {"a", "b"}
    segad.delete_run(dataset, "a")
    assert segad.load_run(dataset, "b").scored == 2
    assert dataset.last().b_map is not None


def test_within_image_marks_its_outliers(dataset: fo.Dataset) -> None:
    run = segad.compute_segment_anomalies(dataset, method="within_image", segments="grid:5")
    odd = dataset.last()
    outliers = {s.index for s in odd.segad_segments.detections if s.label == "anomalous"}
    assert len(odd.segad_segments.detections) == 25
    assert 12 in outliers, "the centre segment holds the bright square"
    assert run.thresholds.rule == "quantile:0.95"
    mask = np.asarray(Image.open(odd.segad_mask.mask_path)) > 0
    boxes = np.zeros_like(mask)
    for index in outliers:
        row, column = divmod(index, 5)
        boxes[row * 16 : row * 16 + 16, column * 19 : column * 19 + 19] = True
    assert (mask == boxes).all(), "the mask is the outlier segments"


def test_segments_from_a_field_and_a_function(dataset: fo.Dataset) -> None:
    boxes = fo.Detections(
        detections=[fo.Detection(label="part", bounding_box=[x, y, 0.5, 0.5]) for x in (0, 0.5) for y in (0, 0.5)]
    )
    dataset.set_values("parts", [boxes.copy() for _ in range(6)])
    compute(dataset, key="by_field", segments="parts")
    shown = dataset.last().by_field_segments.detections
    assert [s.bounding_box for s in shown] == [d.bounding_box for d in boxes.detections]

    def halves(size: tuple[int, int]) -> list[list[int]]:
        return [[0, 0, size[0] // 2, size[1]], [size[0] // 2, 0, size[0], size[1]]]

    compute(dataset, key="by_function", segments=halves)
    assert len(dataset.last().by_function_segments.detections) == 2


def test_set_threshold(dataset: fo.Dataset) -> None:
    run = compute(dataset, threshold=1e9)
    assert dataset.count_values("segad_pred.label")["normal"] == 2
    old = dataset.last().segad_mask.mask_path
    changed = segad.set_threshold(dataset, "segad", 1e-6)
    assert dataset.count_values("segad_pred.label")["anomalous"] == 2
    assert dataset.last().segad_mask.mask_path != old, "browsers keep what they have seen of a path"
    assert not Path(old).exists()
    assert segad.load_run(dataset, "segad").thresholds == changed.thresholds != run.thresholds
    with pytest.raises(ValueError, match="not a threshold"):
        segad.set_threshold(dataset, "segad", float("nan"))


def test_unusable_images_are_skipped_and_told(
    dataset_of: Callable[..., fo.Dataset], pictures: list[Path], tmp_path: Path
) -> None:
    bad = {
        "empty.png": b"",
        "text.png": b"hello",
        "cut.png": pictures[0].read_bytes()[:200],
    }
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
    Image.new("RGB", (1, 1)).save(tmp_path / "tiny.png")
    names = [*bad, "tiny.png", "absent.png"]
    dataset = dataset_of([*pictures, *(tmp_path / name for name in names)])
    run = segad.compute_segment_anomalies(dataset, reference=dataset.limit(4), segments="tiles:0.4:0.2")
    assert run.scored == 6
    assert {Path(entry["filepath"]).name for entry in run.skipped} == set(names)
    assert all(entry["reason"] for entry in run.skipped)
    assert len(dataset.match_tags("segad_skipped")) == 5
    assert "5 images skipped" in str(run)
    segad.delete_run(dataset, "segad")
    assert len(dataset.match_tags("segad_skipped")) == 0


def test_unusable_normals_are_skipped(dataset: fo.Dataset, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"x")
    dataset.add_sample(fo.Sample(filepath=str(tmp_path / "broken.png"), tags=["good"]))
    run = compute(dataset)
    assert run.normals == 4
    assert any("broken.png" in entry["filepath"] for entry in run.skipped)


def test_no_usable_image_at_all(dataset_of: Callable[..., fo.Dataset], tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"x")
    dataset = dataset_of([tmp_path / "broken.png"])
    with pytest.raises(segad.SegadError, match=r"None of the 1 images.*broken\.png"):
        segad.compute_segment_anomalies(dataset, method="within_image")
    assert segad.list_runs(dataset) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reference": None}, "needs normal images: pass reference="),
        ({"method": "magic"}, "method='magic' is not known"),
        ({"embedder": "magic"}, "embedder='magic' is not known"),
        ({"segments": "hexagons"}, "segments='hexagons' is not known"),
        ({"segments": "tiles:0.1:0.5"}, "stride must be in"),
        ({"segments": "grid:0"}, "whole number from 1"),
        ({"segments": "filepath"}, "not of Detections"),
        ({"key": "two words"}, "letters, digits and underscores"),
        ({"key": "1st"}, "beginning with a letter"),
        ({"key": "../up"}, "letters, digits and underscores"),
        ({"threshold": float("nan")}, "not a threshold"),
        ({"threshold": "fpr:2"}, r"share must be in \(0, 1\)"),
        ({"threshold": "f1"}, "not a Segmentation field"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"num_workers": 0}, "num_workers must be a whole number from 1"),
        ({"rotations": 0}, "rotations must be a whole number from 1"),
        ({"rotations": 360}, "rotations=360 is too many"),
        ({"bank_size": 1.5}, "bank_size must be a whole number from 1"),
        ({"defects": "huge"}, r"defects='huge' is not known; use one of \['any', 'small', 'large'\]"),
        ({"embedder": "fastdup+magic"}, "embedder='fastdup\\+magic' is not known"),
        ({"embedder": "efficentnet"}, "did you mean 'efficientnet'"),
        ({"embedder_kwargs": {"colour": "red"}}, "embedder_kwargs of 'efficientnet'.*colour"),
        ({"method": "unlabeled"}, "takes no reference"),
        ({"reference": "good"}, "reference must be a FiftyOne dataset or view"),
    ],
)
def test_wrong_parameters_are_told_before_work(
    dataset: fo.Dataset, colour_embedder: type[ColourEmbedder], options: dict[str, Any], message: str
) -> None:
    before = snapshot(dataset)
    calls = colour_embedder.calls
    with pytest.raises(ValueError, match=message):
        compute(dataset, **options)
    assert colour_embedder.calls == calls
    assert snapshot(dataset) == before


def test_wrong_collections(dataset: fo.Dataset, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="empty view"):
        segad.compute_segment_anomalies(dataset.match(F("filepath") == "none"), method="within_image")
    with pytest.raises(ValueError, match="reference is an empty view"):
        compute(dataset, reference=dataset.match_tags("absent"))
    with pytest.raises(ValueError, match="must be a FiftyOne dataset"):
        segad.compute_segment_anomalies([1, 2], method="within_image")
    one = dataset.limit(1)
    with pytest.raises(ValueError, match="only normal image is also the only image"):
        segad.compute_segment_anomalies(one, reference=one)
    video = fo.Dataset()
    video.add_sample(fo.Sample(filepath=str(tmp_path / "film.mp4")))
    with pytest.raises(ValueError, match="media type 'video'"):
        segad.compute_segment_anomalies(video, method="within_image")
    grouped = fo.Dataset()
    grouped.add_group_field("group", default="left")
    group = fo.Group()
    grouped.add_sample(fo.Sample(filepath=str(tmp_path / "a.png"), group=group.element("left")))
    with pytest.raises(ValueError, match="grouped; pass one slice"):
        segad.compute_segment_anomalies(grouped, method="within_image")
    for extra in (video, grouped):
        extra.delete()


def test_keys_and_fields_of_others_stay(dataset: fo.Dataset) -> None:
    dataset.set_values("mine_score", [0.5] * 6)
    with pytest.raises(ValueError, match=r"\['mine_score'\] exist and belong to no run"):
        compute(dataset, key="mine")
    dataset.register_run("theirs", dataset.init_run(anything=1))
    with pytest.raises(ValueError, match="another kind of run"):
        compute(dataset, key="theirs", overwrite=True)
    assert segad.list_runs(dataset) == []
    assert dataset.values("mine_score") == [0.5] * 6


def test_a_grid_larger_than_the_image(dataset: fo.Dataset) -> None:
    with pytest.raises(segad.SegadError, match="90 x 90 grid does not fit an image of 96 x 80"):
        segad.compute_segment_anomalies(dataset, method="within_image", segments="grid:90")


def test_a_folder_that_cannot_be_written(
    dataset: fo.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, colour_embedder: type[ColourEmbedder]
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("FIFTYONE_SEGAD_DIR", str(tmp_path / "file" / "below"))
    calls = colour_embedder.calls
    with pytest.raises(OSError, match=r"Cannot write the run's files.*FIFTYONE_SEGAD_DIR"):
        compute(dataset)
    assert colour_embedder.calls == calls, "told before the work"


def test_a_run_whose_folder_is_gone(dataset: fo.Dataset) -> None:
    import shutil

    run = compute(dataset)
    shutil.rmtree(run.folder)
    with pytest.raises(segad.RunError, match="folder of run 'segad' is gone"):
        segad.load_run(dataset, "segad")
    segad.delete_run(dataset, "segad")
    assert segad.list_runs(dataset) == []


def test_a_clone_does_not_delete_the_files_of_its_source(dataset: fo.Dataset) -> None:
    run = compute(dataset)
    clone = dataset.clone()
    segad.delete_run(clone, "segad")
    clone.delete()
    assert Path(run.folder).is_dir()
    assert os.path.exists(dataset.last().segad_map.map_path)


@pytest.mark.usefixtures("colour_embedder")
def test_says_when_the_images_are_of_another_product(
    dataset_of: Callable[..., fo.Dataset], pictures: list[Path], tmp_path: Path
) -> None:
    foreign = []
    for index, colour in enumerate([(250, 10, 10), (10, 240, 20), (0, 20, 250)]):
        foreign.append(tmp_path / f"foreign{index}.png")
        Image.new("RGB", (96, 80), colour).save(foreign[-1])
    dataset = dataset_of([*pictures, *foreign])
    normals = dataset.limit(5)
    same = segad.compute_segment_anomalies(dataset.skip(5).limit(1), key="same", reference=normals)
    other = segad.compute_segment_anomalies(dataset.skip(6), key="other", reference=normals)
    assert not any("unlike the normal ones" in warning for warning in same.warnings)
    assert any("unlike the normal ones" in warning for warning in other.warnings)


@pytest.mark.usefixtures("colour_embedder")
def test_says_what_a_single_normal_image_cannot_tell(
    dataset_of: Callable[..., fo.Dataset], pictures: list[Path]
) -> None:
    dataset = dataset_of(pictures)
    run = segad.compute_segment_anomalies(dataset.skip(1), key="segad", reference=dataset.limit(1))
    assert run.thresholds.rule == "quantile:0.95" and run.scored == 5
    assert any("single normal image does not show how normal images vary" in warning for warning in run.warnings)
