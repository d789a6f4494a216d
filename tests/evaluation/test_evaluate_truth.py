"""evaluate_anomalies on ground truth of every kind, and what it warns of."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

import fiftyone_segad as segad
from fiftyone_segad.data.truth import NO_TRUTH
from square_defect import square, square_dataset, square_label, types

pytestmark = pytest.mark.usefixtures("module_colour_embedder")


@pytest.fixture(scope="module")
def scored(
    module_dataset_of: Callable[..., fo.Dataset], module_pictures: list[Path], module_colour_embedder: object
) -> fo.Dataset:
    """Score the pictures once, for tests that only read."""
    return square_dataset(module_dataset_of, module_pictures)


@pytest.fixture
def dataset(scored: fo.Dataset) -> Iterator[fo.Dataset]:
    """Give a copy whose fields may be changed; its run is that of the source."""
    clone = scored.clone()
    yield clone
    clone.delete()


def test_an_empty_mask_is_a_normal_image(dataset: fo.Dataset, tmp_path: Path) -> None:
    Image.new("L", (96, 80)).save(tmp_path / "zero.png")
    dataset.limit(2).set_values("defect_mask", [fo.Segmentation(mask_path=str(tmp_path / "zero.png"))] * 2)
    assert segad.evaluate_anomalies(dataset).metrics()["n_normal"] == 5


def test_masks_in_the_database(dataset: fo.Dataset) -> None:
    by_path = segad.evaluate_anomalies(dataset).metrics()
    dataset.skip(5).set_values("defect_mask", [square_label()])
    assert segad.evaluate_anomalies(dataset).metrics() == by_path


def test_masks_that_do_not_fit_are_told_by_sample(dataset: fo.Dataset, tmp_path: Path) -> None:
    Image.new("L", (10, 10), 255).save(tmp_path / "small.png")
    sample = dataset.first()
    dataset.limit(1).set_values("defect_mask", [fo.Segmentation(mask_path=str(tmp_path / "small.png"))])
    results = segad.evaluate_anomalies(dataset)
    assert [entry["id"] for entry in results.excluded] == [sample.id]
    assert "small.png" in results.excluded[0]["reason"]
    assert "10 x 10" in results.report()


def test_a_defect_without_a_mask_is_warned_of(dataset: fo.Dataset) -> None:
    dataset.set_values("defect", [fo.Classification(label="blot")] * 6)
    assert "5 samples have a defect type but no or an empty mask" in segad.evaluate_anomalies(dataset).report()


def test_samples_of_which_nothing_is_known_are_excluded(dataset: fo.Dataset) -> None:
    dataset.set_values("defect", types("good", None, "good", None, "good", "blot"))
    ids = dataset.values("id")
    results = segad.evaluate_anomalies(dataset)
    assert results.excluded == [{"id": ids[1], "reason": NO_TRUTH}, {"id": ids[3], "reason": NO_TRUTH}]
    assert set(results.outcomes) == {ids[0], ids[2], ids[4], ids[5]}
    assert (results.metrics()["n_normal"], results.metrics()["n_anomalous"]) == (3, 1)
    assert f"2 samples were not evaluated (results.excluded); the first is {ids[1]}" in results.report()
    with pytest.raises(segad.RunError, match=r"None of the 1 samples.*no ground truth"):
        segad.evaluate_anomalies(dataset.select(ids[3]))


def test_resized_masks_are_warned_of(dataset: fo.Dataset, tmp_path: Path) -> None:
    unresized = segad.evaluate_anomalies(dataset)
    assert "were resized" not in unresized.report()
    half = fo.Segmentation(mask=square()[::2, ::2].astype(np.uint8))  # 30:46 and 40:56 are even: nothing is lost
    dataset.skip(5).set_values("defect_mask", [half])
    results = segad.evaluate_anomalies(dataset)
    assert results.metrics() == unresized.metrics()
    assert "1 ground-truth masks have another size than their image and were resized" in results.report()


SHAPES = {
    "Detections": fo.Detections(
        detections=[fo.Detection(label="blot", bounding_box=[40 / 96, 30 / 80, 16 / 96, 16 / 80])],
    ),
    "instance masks": fo.Detections(
        detections=[
            # The left half of the square within a box that is larger, and the right half
            fo.Detection(
                label="blot",
                bounding_box=[36 / 96, 26 / 80, 16 / 96, 24 / 80],
                mask=np.pad(np.ones((16, 8), bool), 4),
            ),
            fo.Detection(label="blot", bounding_box=[48 / 96, 30 / 80, 8 / 96, 16 / 80], mask=np.ones((16, 8), bool)),
        ],
    ),
    "Polylines": fo.Polylines(
        polylines=[
            fo.Polyline(
                label="blot",
                points=[[(40 / 96, 30 / 80), (56 / 96, 30 / 80), (56 / 96, 46 / 80), (40 / 96, 46 / 80)]],
                closed=True,
                filled=True,
            )
        ]
    ),
}


@pytest.mark.parametrize("kind", SHAPES)
def test_ground_truth_as_shapes(dataset: fo.Dataset, kind: str) -> None:
    expected = segad.evaluate_anomalies(dataset).metrics()
    dataset.add_sample_field("shapes", fo.EmbeddedDocumentField, embedded_doc_type=type(SHAPES[kind]))
    dataset.skip(5).set_values("shapes", [SHAPES[kind]])
    results = segad.evaluate_anomalies(dataset, gt_field="shapes", eval_key="by_shape")
    assert results.metrics() == expected
    errors = np.asarray(Image.open(dataset.last().by_shape_errors.mask_path))
    np.testing.assert_array_equal(errors >= 2, square())


def test_a_line_is_no_ground_truth(dataset: fo.Dataset) -> None:
    line = fo.Polyline(label="blot", points=[[(0.1, 0.1), (0.5, 0.5)]])
    dataset.set_values("shapes", [None] * 5 + [fo.Polylines(polylines=[line])])
    results = segad.evaluate_anomalies(dataset, gt_field="shapes")
    assert [entry["id"] for entry in results.excluded] == [dataset.last().id]
    assert "is a line, which has no area" in results.excluded[0]["reason"]


def test_a_defect_type_of_a_masked_image_is_never_good(dataset: fo.Dataset) -> None:
    dataset.set_values("defect", types(*["good"] * 6))
    results = segad.evaluate_anomalies(dataset)
    assert results.defects == ["defect"]
    assert (results.metrics()["n_normal"], results.metrics()["n_anomalous"]) == (5, 1)
    said = f"1 sample is called 'good' but the ground truth marks a defect.*the first is {dataset.last().id}"
    assert re.search(said, "\n".join(results.warnings))


def test_masks_whose_background_is_a_class(dataset: fo.Dataset) -> None:
    by_zero = segad.evaluate_anomalies(dataset)
    masks = [fo.Segmentation(mask=np.where(square() & (index == 5), 2, 1).astype(np.uint8)) for index in range(6)]
    dataset.set_values("classes", masks)
    # The second is of the reference; there are no normal pixels for AUPIMO's
    warning, _ = segad.evaluate_anomalies(dataset, gt_field="classes").warnings
    assert warning.startswith("6 samples are defective in every pixel by 'classes'")
    assert warning.endswith(f"The first is {dataset.first().id}")
    advice = re.search(r"name it: (.*); dataset.save\(\)", warning)
    assert advice is not None
    exec(advice[1], {"dataset": dataset})
    dataset.save()
    again = segad.evaluate_anomalies(dataset, gt_field="classes")
    assert again.warnings == by_zero.warnings
    assert again.metrics() == by_zero.metrics()


def test_what_a_run_or_an_evaluation_wrote_is_no_ground_truth(dataset: fo.Dataset) -> None:
    segad.evaluate_anomalies(dataset, eval_key="checked")
    for name, writer in (
        ("segad_mask", "run 'segad'"),
        ("segad_regions", "run 'segad'"),
        ("checked_errors", "evaluation 'checked'"),
    ):
        message = rf"gt_field='{name}' was written by {writer}.*that can be ground truth: \['defect_mask'\]"
        with pytest.raises(ValueError, match=message):
            segad.evaluate_anomalies(dataset, gt_field=name)
    dataset.clone_sample_field("segad_mask", "corrected")
    assert segad.evaluate_anomalies(dataset, gt_field="corrected").metrics()["pixel_f1"] in (1, None)


def test_void_pixels_are_outside_every_count(dataset: fo.Dataset) -> None:
    """The square is void in the first image, where nothing is, and in part around the defect of the last one."""
    ids = dataset.values("id")
    before = segad.evaluate_anomalies(dataset)
    around = square() * 1
    around[26:50, 36:60][square()[26:50, 36:60] == 0] = 255
    dataset.set_values(
        "defect_mask",
        {ids[0]: fo.Segmentation(mask=(square() * 255).astype(np.uint8)), ids[5]: fo.Segmentation(mask=around)},
        key_field="id",
    )
    dataset.mask_targets = {"defect_mask": {1: "blot", 255: "void"}}
    results = segad.evaluate_anomalies(dataset)
    assert (results.metrics()["n_normal"], results.metrics()["n_anomalous"]) == (5, 1)
    size, void = 96 * 80, {ids[0]: 16 * 16, ids[5]: 24 * 24 - 16 * 16}
    for id, image in results.images.items():
        pixels, all_pixels = image.pixels, before.images[id].pixels
        assert pixels.tp + pixels.fp + pixels.fn + pixels.tn == size - void.get(id, 0)
        assert (pixels.tp, pixels.fn) == (all_pixels.tp, all_pixels.fn)
        assert all_pixels.fp - void.get(id, 0) <= pixels.fp <= all_pixels.fp
    normal = sum(counts.normal.sum() for counts in results.groups.values())
    assert normal == 6 * size - 16 * 16 - sum(void.values())


def test_a_region_that_is_void_is_no_false_alarm(dataset: fo.Dataset) -> None:
    sample = dataset.last()
    flagged = np.asarray(Image.open(sample.segad_mask.mask_path)) > 0
    assert 0 < flagged.sum() < flagged.size
    dataset.skip(5).set_values("defect_mask", [fo.Segmentation(mask=(flagged * 255).astype(np.uint8))])
    dataset.mask_targets = {"defect_mask": {255: "ignore"}}
    image = segad.evaluate_anomalies(dataset).images[sample.id]
    assert not image.defective
    assert (image.pixels.fp, image.pixels.tn) == (0, (~flagged).sum())
    assert sum(counts.false for counts in image.regions.values()) == 0
