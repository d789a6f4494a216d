"""Ground truth of samples: its size, what is known, what is refused; mostly on images of 8 x 6 px."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

from fiftyone_segad.data import masks
from fiftyone_segad.data.truth import read_truth, segmentation_fields, truth_fields, truth_warnings
from fiftyone_segad.errors import ImageError
from truths import BOTH, CLASSES, SIZE, MakeDataset, pixels, save, truths_of


def test_masks_of_another_size_are_resized_to_the_image(dataset_of: MakeDataset, tmp_path: Path) -> None:
    double = save(tmp_path / "double.png", Image.fromarray(np.kron(CLASSES, np.ones((2, 2), np.uint8))))
    half = np.zeros((3, 4), np.uint8)
    half[1, 3] = 255
    truths = truths_of(
        dataset_of, [fo.Segmentation(mask=CLASSES), fo.Segmentation(mask=half), fo.Segmentation(mask_path=double)]
    )
    assert truth_warnings(truths) == []
    assert pixels(truths[0].read(SIZE)) == BOTH
    assert pixels(truths[1].read(SIZE)) == ["........", "........", "......##", "......##", "........", "........"]
    assert pixels(truths[2].read(SIZE)) == BOTH
    assert [truth.resized for truth in truths] == [False, True, True]
    (warning,) = truth_warnings(truths)
    assert warning.startswith("2 ground-truth masks have another size than their image and were resized; the first is")
    assert "in 'gt' of sample " in warning
    assert truth_warnings(truths[2:])[0].endswith(f"the first is '{double}'")


@pytest.mark.parametrize(
    ("mask_size", "image_size", "fits"),
    [
        ((5, 3), (10, 7), True),  # 3.5 rounded down
        ((5, 4), (10, 7), True),  # and up
        ((5, 2), (10, 7), False),  # not by rounding
        ((500, 333), (1000, 667), True),
        ((500, 331), (1000, 667), False),
        ((6, 8), (8, 6), False),  # turned
        ((10, 10), (8, 6), False),
    ],
)
def test_what_counts_as_the_same_aspect_ratio(
    dataset_of: MakeDataset, tmp_path: Path, mask_size: tuple[int, int], image_size: tuple[int, int], fits: bool
) -> None:
    file = save(tmp_path / "mask.png", Image.new("L", mask_size, 255))
    (truth,) = truths_of(dataset_of, [fo.Segmentation(mask_path=file)])
    if fits:
        mask = truth.read(image_size)
        assert mask is not None and mask.shape == (image_size[1], image_size[0]) and mask.all()
        return
    text = f"mask.png' is {mask_size[0]} x {mask_size[1]} px, its image {image_size[0]} x {image_size[1]} px.*aspect"
    with pytest.raises(ImageError, match=text):
        truth.read(image_size)
    assert not truth.resized


def test_a_defect_that_would_vanish_is_not_made_normal(dataset_of: MakeDataset) -> None:
    fine = np.zeros((60, 80), np.uint8)
    fine[0, 0] = 255
    (truth,) = truths_of(dataset_of, [fo.Segmentation(mask=fine)])
    with pytest.raises(ImageError, match="resized to 8 x 6 px nothing of it is left"):
        truth.read(SIZE)


def types(*names: str | None) -> list[fo.Classification | None]:
    return [None if name is None else fo.Classification(label=name) for name in names]


MARKED = fo.Segmentation(mask=CLASSES)


@pytest.mark.parametrize(
    ("labels", "fields", "known"),
    [
        # No defect types: what has no mask is normal
        ([MARKED, None], {}, [True, True]),
        # Others have one, this one has neither type nor mask
        ([MARKED, None, None], {"defect": types("dent", "good", None)}, [True, True, False]),
        ([MARKED, None, None], {"defect": ["dent", "good", None]}, [True, True, False]),
        # A mask, and be it of no object, is enough
        ([MARKED, None], {"defect": types(None, "good")}, [True, True]),
        ([fo.Detections(), None, None], {"defect": types(None, "good", None)}, [True, True, False]),
        # An empty Segmentation is no mask
        ([fo.Segmentation(), MARKED], {"defect": types(None, "dent")}, [False, True]),
    ],
)
def test_what_is_known(
    dataset_of: MakeDataset, labels: list[fo.Label | None], fields: dict[str, Any], known: list[bool]
) -> None:
    truths = truths_of(dataset_of, labels, **fields)
    assert [truth.known for truth in truths] == known


@pytest.mark.parametrize(("labels", "known"), [([MARKED, None], [True, True]), ([None, None], [False, False])])
def test_a_field_of_defect_types_that_nobody_uses(
    dataset_of: MakeDataset, labels: list[fo.Label | None], known: list[bool]
) -> None:
    dataset = dataset_of([Path("/images/0.png"), Path("/images/1.png")])
    for name, kind in (("gt", fo.Segmentation), ("defect", fo.Classification)):
        dataset.add_sample_field(name, fo.EmbeddedDocumentField, embedded_doc_type=kind)
    dataset.set_values("gt", labels)
    assert [truth.known for truth in read_truth(dataset, "gt").values()] == known


def test_what_is_known_does_not_depend_on_the_view(dataset_of: MakeDataset) -> None:
    paths = [Path("/images/0.png"), Path("/images/1.png")]
    dataset = dataset_of(paths, gt=[MARKED, None], defect=types("dent", None))
    (truth,) = read_truth(dataset.skip(1), "gt").values()
    assert not truth.known


def test_types_and_categories(dataset_of: MakeDataset) -> None:
    truths = truths_of(dataset_of, [MARKED, None], defect=types("dent", "good"), category=["bolt", None])
    assert [(truth.defect, truth.category) for truth in truths] == [("dent", "bolt"), ("good", None)]


def test_nothing_is_decoded_before_it_is_read(dataset_of: MakeDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(*args: object) -> None:
        raise AssertionError("decoded")

    labels = [fo.Segmentation(mask=CLASSES), fo.Segmentation(mask_path="/absent.png")]
    boxes = [
        fo.Detections(detections=[fo.Detection(label="dent", bounding_box=[0, 0, 1, 1], mask=np.eye(2) > 0)]),
        None,
    ]
    dataset = dataset_of([Path("/images/0.png"), Path("/images/1.png")], gt=labels, boxes=boxes)
    with monkeypatch.context() as patch:
        patch.setattr(masks.fou, "deserialize_numpy_array", decode)
        truths = list(read_truth(dataset, "gt").values())
        instances = list(read_truth(dataset, "boxes").values())
    assert pixels(truths[0].read(SIZE)) == BOTH
    with pytest.raises(ImageError, match=r"No such image file: '/absent\.png'"):
        truths[1].read(SIZE)
    assert pixels(instances[0].read(SIZE)) == ["####...."] * 3 + ["....####"] * 3


def test_damaged_masks_in_the_database_are_told_by_sample(dataset_of: MakeDataset) -> None:
    dataset = dataset_of([Path("/images/0.png")], gt=[MARKED])
    dataset._sample_collection.update_one({}, {"$set": {"gt.mask": b"damaged"}})
    ((id, truth),) = read_truth(dataset, "gt").items()
    with pytest.raises(ImageError, match=f"Cannot decode the ground-truth mask in 'gt' of sample {id}"):
        truth.read(SIZE)


def test_fields_that_cannot_be_ground_truth_are_refused_by_name(dataset_of: MakeDataset) -> None:
    dataset = dataset_of(
        [Path("/images/0.png")],
        boxes=[fo.Detections()],
        defect=types("dent"),
        score=[0.5],
        mask=[MARKED],
        lines=[fo.Polylines()],
    )
    assert segmentation_fields(dataset) == ["mask"]
    assert truth_fields(dataset) == ["mask", "boxes", "lines"]
    for name, what in (("defect", "Classification"), ("score", "FloatField"), ("gt", "absent")):
        message = rf"gt_field='{name}' is not a Segmentation field.*it is {what};.*\['mask', 'boxes', 'lines'\]"
        with pytest.raises(ValueError, match=message):
            read_truth(dataset, name)


def test_names_of_good_images(dataset_of: MakeDataset) -> None:
    truths = truths_of(dataset_of, [None, None, None, MARKED], defect=types("Good", "ok", "normal", "dent"))
    assert [truth.defect for truth in truths] == ["good", "good", "good", "dent"]


def test_a_good_image_whose_mask_is_gone_is_good(dataset_of: MakeDataset, tmp_path: Path) -> None:
    gone = fo.Segmentation(mask_path=str(tmp_path / "gone.png"))
    truths = truths_of(dataset_of, [gone.copy(), gone.copy(), gone.copy()], defect=types("OK", "dent", None))
    assert truths[0].read(SIZE) is None
    for truth in truths[1:]:
        with pytest.raises(ImageError, match=r"No such image file: '.*gone\.png'"):
            truth.read(SIZE)
    (warning,) = truth_warnings(truths)
    assert warning.startswith("1 ground-truth masks of images that are called good are gone") and "gone.png" in warning


def test_an_image_of_which_nothing_is_known_is_refused(dataset_of: MakeDataset) -> None:
    dataset = dataset_of([Path("/images/0.png")], gt=[fo.Segmentation(mask=np.full((6, 8), 255, np.uint8))])
    dataset.mask_targets = {"gt": {255: "void"}}
    (truth,) = read_truth(dataset, "gt").values()
    with pytest.raises(ImageError, match="says of no pixel whether it is defective"):
        truth.read(SIZE)


def test_void_pixels_are_resized_with_the_mask(dataset_of: MakeDataset) -> None:
    half = np.zeros((3, 4), np.uint8)
    half[1, 3], half[0, 0] = 1, 255
    dataset = dataset_of([Path("/images/0.png")], gt=[fo.Segmentation(mask=half)])
    dataset.mask_targets = {"gt": {1: "dent", 255: "ignore"}}
    (truth,) = read_truth(dataset, "gt").values()
    areas = truth.read_areas(SIZE)
    assert areas is not None
    assert pixels(areas.defect) == ["........", "........", "......##", "......##", "........", "........"]
    assert pixels(areas.void) == ["##......", "##......"] + ["........"] * 4


def test_a_mask_of_several_pages_is_told(dataset_of: MakeDataset, tmp_path: Path) -> None:
    pages = Image.fromarray(CLASSES), Image.fromarray(CLASSES[::-1])
    pages[0].save(tmp_path / "mask.tif", save_all=True, append_images=pages[1:])
    truths = truths_of(dataset_of, [fo.Segmentation(mask_path=str(tmp_path / "mask.tif")), MARKED])
    assert [pixels(truth.read(SIZE)) for truth in truths] == [BOTH, BOTH]
    (warning,) = truth_warnings(truths)
    assert warning.startswith("1 ground-truth masks have more than one page or frame, of which only the first was read")
    assert "mask.tif" in warning
