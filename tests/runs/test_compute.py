"""Runs on a real database, with an embedder that is quick and needs no model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

import fiftyone_segad as segad
from fiftyone_segad.registry.keys import FIELD_NAMES
from small_runs import compute, make_dataset

FIELDS = {f"segad_{name}" for name in FIELD_NAMES}

pytestmark = pytest.mark.usefixtures("colour_embedder")


@pytest.fixture
def dataset(dataset_of: Callable[..., fo.Dataset], pictures: list[Path]) -> fo.Dataset:
    return make_dataset(dataset_of, pictures)


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
    assert odd.segad_map.range[1] == 255
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    assert (30 <= row < 46) and (40 <= column < 56), "the hottest pixel is on the bright square"
    mask = np.asarray(Image.open(odd.segad_mask.mask_path))
    assert mask.shape == (80, 96)
    assert set(np.unique(mask)) == {0, 255}
    assert not np.asarray(Image.open(plain.segad_mask.mask_path)).any()
    region = odd.segad_regions.detections[0]
    assert region.area == int((mask > 0).sum()) or len(odd.segad_regions.detections) > 1
    assert region.mask.sum() == region.area
    assert run.thresholds.image < odd.segad_score <= region.anomaly_score + 1e-6
    segments = odd.segad_segments.detections
    assert max(s.anomaly_score for s in segments) >= odd.segad_score - 1e-6
    assert len({s.index for s in segments}) == len(segments)
    assert dataset.first().segad_score is None, "samples outside the view have no value"
    for field in FIELDS:
        assert dataset.get_field(field).description
    schema = dataset.get_field_schema(flat=True)
    for path in ("segad_regions.detections.area", "segad_segments.detections.anomaly_score", "segad_pred.p_value"):
        assert path in schema, "usable in the App's sidebar"


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
    detections = dataset.last().by_field_segments.detections
    assert [s.bounding_box for s in detections] == [d.bounding_box for d in boxes.detections]

    def halves(size: tuple[int, int]) -> list[list[int]]:
        return [[0, 0, size[0] // 2, size[1]], [size[0] // 2, 0, size[0], size[1]]]

    compute(dataset, key="by_function", segments=halves)
    assert len(dataset.last().by_function_segments.detections) == 2


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


def test_a_grid_larger_than_the_image(dataset: fo.Dataset) -> None:
    with pytest.raises(segad.SegadError, match="90 x 90 grid does not fit an image of 96 x 80"):
        segad.compute_segment_anomalies(dataset, method="within_image", segments="grid:90")


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
    assert not any("all over less like the normal images" in warning for warning in same.warnings)
    assert any("all over less like the normal images" in warning for warning in other.warnings)


def test_says_what_a_single_normal_image_cannot_tell(
    dataset_of: Callable[..., fo.Dataset], pictures: list[Path]
) -> None:
    dataset = dataset_of(pictures)
    run = segad.compute_segment_anomalies(dataset.skip(1), key="segad", reference=dataset.limit(1))
    assert run.thresholds.rule == "quantile:0.95" and run.scored == 5
    assert any("single normal image does not show how normal images vary" in warning for warning in run.warnings)


def test_says_which_images_have_more_than_one_page(dataset: fo.Dataset, tmp_path: Path) -> None:
    pages = [Image.open(path).convert("RGB") for path in dataset.skip(4).values("filepath")]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    dataset.add_samples([fo.Sample(filepath=str(tmp_path / "pages.tif"))])
    run = segad.compute_segment_anomalies(dataset, reference=dataset.limit(4), segments="grid:4")
    (said,) = [warning for warning in run.warnings if "page" in warning]
    assert said.startswith("1 image has more than one page or frame, of which only the first was read")
    assert "pages.tif" in said
    assert dataset.last().segad_score == pytest.approx(dataset.skip(4).first().segad_score)
