"""Ground truth of every kind that a dataset can hold, on images of 8 x 6 px unless a test says otherwise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

from fiftyone_segad.data import truth_sources
from fiftyone_segad.data.truth import Truth, read_truth, segmentation_fields, truth_fields, truth_warnings
from fiftyone_segad.errors import ImageError

MakeDataset = Callable[..., fo.Dataset]

SIZE = (8, 6)


def truths_of(make: MakeDataset, labels: list[fo.Label | None], **fields: list[Any]) -> list[Truth]:
    dataset = make([Path(f"/images/{index}.png") for index in range(len(labels))], gt=labels, **fields)
    found = read_truth(dataset, "gt")
    assert list(found) == dataset.values("id")
    return list(found.values())


def pixels(mask: np.ndarray | None) -> list[str]:
    """The mask as a drawing: "#" on defects."""
    assert mask is not None and mask.dtype == bool
    return ["".join("#" if pixel else "." for pixel in row) for row in mask]


def array(*rows: str) -> np.ndarray:
    return np.array([[int(value) for value in row] for row in rows], np.uint8)


CLASSES = array("00000000", "03300000", "03300000", "00000770", "00000770", "00000000")
BOTH = ["........", ".##.....", ".##.....", ".....##.", ".....##.", "........"]
ONLY_7 = ["........", "........", "........", ".....##.", ".....##.", "........"]


def save(path: Path, image: Image.Image) -> str:
    image.save(path)
    return str(path)


def palette(values: np.ndarray, colours: list[int]) -> Image.Image:
    image = Image.fromarray(values, "P")
    image.putpalette(colours)
    return image


@pytest.mark.parametrize("stored", ["file", "database"])
@pytest.mark.parametrize(
    ("targets", "default", "expected"),
    [
        # Nothing is named: all that is nonzero is defective
        ({}, {}, BOTH),
        # Names of no normal class
        ({0: "background", 3: "dent", 7: "scratch"}, {}, BOTH),
        # A normal class, whatever its case and spaces
        ({3: " Good", 7: "scratch"}, {}, ONLY_7),
        ({}, {3: "normal"}, ONLY_7),
        # The field's own targets come first
        ({3: "dent"}, {3: "normal"}, BOTH),
        # 0 is no defect, whatever it is called
        ({0: "crack", 3: "ok"}, {}, ONLY_7),
        # As colours, #030303 is the grey 3
        ({"#030303": "none", "#070707": "scratch"}, {}, ONLY_7),
    ],
)
def test_class_values(
    dataset_of: MakeDataset,
    tmp_path: Path,
    stored: str,
    targets: dict[Any, str],
    default: dict[Any, str],
    expected: list[str],
) -> None:
    label = fo.Segmentation(mask=CLASSES)
    if stored == "file":
        label = fo.Segmentation(mask_path=save(tmp_path / "classes.png", Image.fromarray(CLASSES)))
    dataset = dataset_of([Path("/images/0.png")], gt=[label])
    dataset.mask_targets = {"gt": targets} if targets else {}
    dataset.default_mask_targets = default
    for samples in (dataset, dataset.limit(1)):
        assert pixels(read_truth(samples, "gt")[dataset.first().id].read(SIZE)) == expected


RED, GREEN, GREY = (255, 0, 0), (0, 255, 0), (9, 9, 9)


def coloured(left: tuple[int, ...], right: tuple[int, ...]) -> np.ndarray:
    """A mask whose pixel (1, 0) has one colour, and (2, 0) another."""
    values = np.zeros((6, 8, len(left)), np.uint8)
    values[0, 1], values[0, 2] = left, right
    return values


@pytest.mark.parametrize("stored", ["file", "database"])
@pytest.mark.parametrize(
    ("values", "targets", "expected"),
    [
        (coloured(RED, GREEN), {}, ".##....."),
        (coloured(RED, GREEN), {"#ff0000": "scratch", "#00FF00": "OK"}, ".#......"),
        # A name for 0 says nothing of colours
        (coloured(RED, GREEN), {0: "background", 255: "dent"}, ".##....."),
        # Grey in three channels: numbers may name it too
        (coloured(GREY, (5, 5, 5)), {9: "good"}, "..#....."),
        # Alpha says nothing of defects
        (coloured((0, 0, 0, 255), (0, 1, 0, 0)), {}, "..#....."),
        (coloured((0, 255), (3, 0)), {3: "dent"}, "..#....."),
    ],
    ids=["colours", "named", "zero", "grey", "alpha", "grey-alpha"],
)
def test_colours(
    dataset_of: MakeDataset, tmp_path: Path, stored: str, values: np.ndarray, targets: dict[Any, str], expected: str
) -> None:
    label = fo.Segmentation(mask=values)
    if stored == "file":
        label = fo.Segmentation(mask_path=save(tmp_path / "colours.png", Image.fromarray(values)))
    dataset = dataset_of([Path("/images/0.png")], gt=[label])
    dataset.mask_targets = {"gt": targets} if targets else {}
    (found,) = read_truth(dataset, "gt").values()
    assert pixels(found.read(SIZE)) == [expected] + ["........"] * 5


def test_palettes_are_colours_or_the_numbers_that_are_named(dataset_of: MakeDataset, tmp_path: Path) -> None:
    values = CLASSES // 3  # 0, 1 and 2
    file = save(tmp_path / "palette.png", palette(values, [0, 0, 0, 0, 255, 0, 255, 0, 0]))
    dataset = dataset_of([Path("/images/0.png")], gt=[fo.Segmentation(mask_path=file)])
    for targets, expected in (({}, BOTH), ({1: "good"}, ONLY_7), ({"#00ff00": "good"}, ONLY_7)):
        dataset.mask_targets = {"gt": targets} if targets else {}
        (found,) = read_truth(dataset, "gt").values()
        assert pixels(found.read(SIZE)) == expected, targets


def test_masks_of_other_number_types(dataset_of: MakeDataset) -> None:
    whole = CLASSES.astype(np.float32)
    found = truths_of(dataset_of, [fo.Segmentation(mask=mask) for mask in (CLASSES > 0, whole, CLASSES[..., None])])
    assert [pixels(each.read(SIZE)) for each in found] == [BOTH, BOTH, BOTH]


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        pytest.param(CLASSES / 10, r"in 'gt' of sample \w{24} holds fractions.*make it 0 and 255", id="fractions"),
        pytest.param(np.full((6, 8), np.nan), "holds fractions or other values", id="nan"),
        pytest.param(np.zeros((6, 8, 7), np.uint8), r"shape \(6, 8, 7\)", id="seven channels"),
        pytest.param(np.zeros((0, 8), np.uint8), "is empty", id="empty"),
    ],
)
def test_masks_that_are_refused(dataset_of: MakeDataset, mask: np.ndarray, message: str) -> None:
    (found,) = truths_of(dataset_of, [fo.Segmentation(mask=mask)])
    with pytest.raises(ImageError, match=message):
        found.read(SIZE)


def test_colours_whose_names_are_numbers_are_refused(dataset_of: MakeDataset) -> None:
    dataset = dataset_of([Path("/images/0.png")], gt=[fo.Segmentation(mask=coloured(RED, GREEN))])
    dataset.mask_targets = {"gt": {255: "good"}}
    (found,) = read_truth(dataset, "gt").values()
    with pytest.raises(ImageError, match="has colours, but the dataset's mask_targets have numbers; use '#rrggbb'"):
        found.read(SIZE)


def test_masks_of_another_size_are_resized_to_the_image(dataset_of: MakeDataset, tmp_path: Path) -> None:
    double = save(tmp_path / "double.png", Image.fromarray(np.kron(CLASSES, np.ones((2, 2), np.uint8))))
    half = np.zeros((3, 4), np.uint8)
    half[1, 3] = 255
    found = truths_of(
        dataset_of, [fo.Segmentation(mask=CLASSES), fo.Segmentation(mask=half), fo.Segmentation(mask_path=double)]
    )
    assert truth_warnings(found) == []
    assert pixels(found[0].read(SIZE)) == BOTH
    assert pixels(found[1].read(SIZE)) == ["........", "........", "......##", "......##", "........", "........"]
    assert pixels(found[2].read(SIZE)) == BOTH
    assert [each.resized for each in found] == [False, True, True]
    (warning,) = truth_warnings(found)
    assert warning.startswith("2 ground-truth masks have another size than their image and were resized; the first is")
    assert "in 'gt' of sample " in warning
    assert truth_warnings(found[2:])[0].endswith(f"the first is '{double}'")


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
    (found,) = truths_of(dataset_of, [fo.Segmentation(mask_path=file)])
    if fits:
        mask = found.read(image_size)
        assert mask is not None and mask.shape == (image_size[1], image_size[0]) and mask.all()
        return
    text = f"mask.png' is {mask_size[0]} x {mask_size[1]} px, its image {image_size[0]} x {image_size[1]} px.*aspect"
    with pytest.raises(ImageError, match=text):
        found.read(image_size)
    assert not found.resized


def test_a_defect_that_would_vanish_is_not_made_normal(dataset_of: MakeDataset) -> None:
    fine = np.zeros((60, 80), np.uint8)
    fine[0, 0] = 255
    (found,) = truths_of(dataset_of, [fo.Segmentation(mask=fine)])
    with pytest.raises(ImageError, match="resized to 8 x 6 px nothing of it is left"):
        found.read(SIZE)


def detection(box: list[float], label: str | None = "dent", **fields: Any) -> fo.Detection:
    return fo.Detection(label=label, bounding_box=box, **fields)


DIAGONAL = np.array([[1, 0], [0, 1]], bool)
CORNER = np.array([[0, 0], [0, 1]], bool)


@pytest.mark.parametrize(
    ("box", "mask", "expected"),
    [
        # A box is filled: columns 2 to 4, rows 1 and 2
        ([2 / 8, 1 / 6, 3 / 8, 2 / 6], None, ["........", "..###...", "..###..."] + ["........"] * 3),
        # An instance mask is stretched to its box, 4 x 4 px
        (
            [2 / 8, 1 / 6, 4 / 8, 4 / 6],
            DIAGONAL,
            ["........", "..##....", "..##....", "....##..", "....##..", "........"],
        ),
        # Both end outside of the image: box and mask keep their place, 4 x 4 px from (-2, -2) and to (10, 8)
        ([-2 / 8, -2 / 6, 4 / 8, 4 / 6], None, ["##......", "##......"] + ["........"] * 4),
        ([-2 / 8, -2 / 6, 4 / 8, 4 / 6], CORNER, ["##......", "##......"] + ["........"] * 4),
        ([-2 / 8, -2 / 6, 4 / 8, 4 / 6], ~DIAGONAL, None),
        ([6 / 8, 4 / 6, 4 / 8, 4 / 6], CORNER, None),
        ([6 / 8, 4 / 6, 4 / 8, 4 / 6], DIAGONAL, ["........"] * 4 + ["......##", "......##"]),
        # Less than a pixel is a pixel, also in the corner
        ([0.3, 0.3, 0.001, 0.001], None, ["........", "........", "..#....."] + ["........"] * 3),
        ([1.0, 1.0, 0.0, 0.0], None, ["........"] * 5 + [".......#"]),
        # So is what ends within the first pixel
        ([-0.2, 0, 0.21, 1 / 6], None, ["#......."] + ["........"] * 5),
    ],
)
def test_detections(
    dataset_of: MakeDataset, box: list[float], mask: np.ndarray | None, expected: list[str] | None
) -> None:
    (found,) = truths_of(dataset_of, [fo.Detections(detections=[detection(box, mask=mask)])])
    read = found.read(SIZE)
    assert read is None if expected is None else pixels(read) == expected
    assert not found.resized, "instance masks have no size of their own"


def test_detections_are_united_and_normal_ones_left_out(dataset_of: MakeDataset, tmp_path: Path) -> None:
    file = save(tmp_path / "instance.png", Image.fromarray(np.array([[0, 2], [2, 2]], np.uint8)))
    labels = [
        fo.Detections(
            detections=[
                detection([0, 0, 2 / 8, 2 / 6], mask_path=file),
                detection([1 / 8, 1 / 6, 2 / 8, 1 / 6], label=None),
                detection([0, 0, 1, 1], label="Good"),
                fo.Detection(label="background"),  # says nothing of a place, and needs none
            ]
        ),
        fo.Detections(detections=[detection([0, 0, 1, 1], label="normal")]),
        fo.Detections(),
        None,
    ]
    found = truths_of(dataset_of, labels)
    assert pixels(found[0].read(SIZE)) == [".#......", "###....."] + ["........"] * 4
    assert [each.read(SIZE) for each in found[1:]] == [None, None, None]


def test_a_single_detection(dataset_of: MakeDataset) -> None:
    found = truths_of(dataset_of, [detection([0, 0, 1 / 8, 1 / 6]), None])
    assert pixels(found[0].read(SIZE)) == ["#......."] + ["........"] * 5
    assert found[1].read(SIZE) is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (fo.Detection(label="dent"), r"'dent' in 'gt' of sample \w{24} has the bounding box.*must be \[x, y, width"),
        (detection([0.5, 0.5, -0.1, 0.1]), "has the bounding box"),
        (detection([2, 1, 3, 2]), r"outside of its image, from \[2.0, 1.0\] to \[5.0, 3.0\]; coordinates are relative"),
        (detection([0, 0, 5, 3]), "outside of its image"),
        (detection([-0.5, 0, 0.25, 1]), "outside of its image"),
        (detection([float("nan"), 0, 1, 1]), "outside of its image"),
        (detection([0, 0, 1, 1], mask_path="/absent.png"), r"No such image file: '/absent.png'"),
        (detection([0, 0, 1, 1], mask=np.full((2, 2), 0.5)), r"of 'dent' in 'gt' of sample \w{24} holds fractions"),
    ],
)
def test_detections_that_are_refused(dataset_of: MakeDataset, wrong: fo.Detection, message: str) -> None:
    right = detection([0, 0, 1, 1])
    (found,) = truths_of(dataset_of, [fo.Detections(detections=[right, wrong])])
    with pytest.raises(ImageError, match=message):
        found.read(SIZE)


def polyline(*shapes: list[tuple[float, float]], label: str = "crack", filled: bool = True) -> fo.Polyline:
    points = [[(x / 8, y / 6) for x, y in shape] for shape in shapes]
    return fo.Polyline(label=label, points=points, closed=True, filled=filled)


def rectangle(x0: float, y0: float, x1: float, y1: float) -> list[tuple[float, float]]:
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]


@pytest.mark.parametrize(
    ("drawn", "expected"),
    [
        # As a box of the same corners: columns 2 to 4, rows 1 and 2
        (polyline(rectangle(2, 1, 5, 3)), ["........", "..###...", "..###..."] + ["........"] * 3),
        # A pixel belongs to the polygon that holds its centre: column 1 begins at 1.4, row 3 ends at 3.4
        (polyline(rectangle(1.4, 1.6, 4, 3.4)), ["........", "........", ".###...."] + ["........"] * 3),
        # Centres (c + 0.5, r + 0.5) below the diagonal from (4, 0) to (0, 4): c + r < 3
        (polyline([(0, 0), (4, 0), (0, 4)]), ["###.....", "##......", "#.......", "........", "........", "........"]),
        # A shape in a shape is a hole
        (
            polyline(rectangle(1, 0, 7, 6), rectangle(3, 2, 5, 4)),
            [".######.", ".######.", ".##..##.", ".##..##.", ".######.", ".######."],
        ),
        # It ends outside of the image
        (polyline(rectangle(6, -2, 12, 2)), ["......##", "......##"] + ["........"] * 4),
        # Too thin to hold the centre of a pixel: drawn as a line
        (polyline([(1.1, 2.1), (5.1, 2.2), (1.1, 2.2)]), ["........", "........", ".#####.."] + ["........"] * 3),
    ],
)
def test_polygons(dataset_of: MakeDataset, drawn: fo.Polyline, expected: list[str]) -> None:
    for label in (drawn, fo.Polylines(polylines=[drawn])):
        (found,) = truths_of(dataset_of, [label])
        assert pixels(found.read(SIZE)) == expected


def test_polylines_are_united_and_normal_ones_left_out(dataset_of: MakeDataset) -> None:
    drawn = [
        polyline(rectangle(0, 0, 3, 1)),
        polyline(rectangle(2, 0, 4, 2)),  # overlaps: no hole, as it is another object
        polyline(rectangle(0, 0, 8, 6), label="background"),
        polyline(rectangle(0, 0, 8, 6), label="good", filled=False),
    ]
    found = truths_of(dataset_of, [fo.Polylines(polylines=drawn), fo.Polylines(polylines=drawn[2:]), None])
    assert pixels(found[0].read(SIZE)) == ["####....", "..##...."] + ["........"] * 4
    assert [each.read(SIZE) for each in found[1:]] == [None, None]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (polyline(rectangle(0, 0, 3, 3), filled=False), r"'crack' in 'gt' of sample \w{24} is a line.*set filled=True"),
        (polyline(), "'crack' in 'gt' of sample .* has no points"),
        (polyline(rectangle(80, 60, 90, 70)), "outside of its image.*coordinates are relative"),
    ],
)
def test_polylines_that_are_refused(dataset_of: MakeDataset, wrong: fo.Polyline, message: str) -> None:
    (found,) = truths_of(dataset_of, [fo.Polylines(polylines=[wrong])])
    with pytest.raises(ImageError, match=message):
        found.read(SIZE)


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
    found = truths_of(dataset_of, labels, **fields)
    assert [each.known for each in found] == known


@pytest.mark.parametrize(("labels", "known"), [([MARKED, None], [True, True]), ([None, None], [False, False])])
def test_a_field_of_defect_types_that_nobody_uses(
    dataset_of: MakeDataset, labels: list[fo.Label | None], known: list[bool]
) -> None:
    dataset = dataset_of([Path("/images/0.png"), Path("/images/1.png")])
    for name, kind in (("gt", fo.Segmentation), ("defect", fo.Classification)):
        dataset.add_sample_field(name, fo.EmbeddedDocumentField, embedded_doc_type=kind)
    dataset.set_values("gt", labels)
    assert [each.known for each in read_truth(dataset, "gt").values()] == known


def test_what_is_known_does_not_depend_on_the_view(dataset_of: MakeDataset) -> None:
    paths = [Path("/images/0.png"), Path("/images/1.png")]
    dataset = dataset_of(paths, gt=[MARKED, None], defect=types("dent", None))
    (found,) = read_truth(dataset.skip(1), "gt").values()
    assert not found.known


def test_types_and_categories(dataset_of: MakeDataset) -> None:
    found = truths_of(dataset_of, [MARKED, None], defect=types("dent", "good"), category=["bolt", None])
    assert [(each.defect, each.category) for each in found] == [("dent", "bolt"), ("good", None)]


def test_nothing_is_decoded_before_it_is_read(dataset_of: MakeDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(*args: object) -> None:
        raise AssertionError("decoded")

    labels = [fo.Segmentation(mask=CLASSES), fo.Segmentation(mask_path="/absent.png")]
    boxes = [fo.Detections(detections=[detection([0, 0, 1, 1], mask=DIAGONAL)]), None]
    dataset = dataset_of([Path("/images/0.png"), Path("/images/1.png")], gt=labels, boxes=boxes)
    with monkeypatch.context() as patch:
        patch.setattr(truth_sources.fou, "deserialize_numpy_array", decode)
        found = list(read_truth(dataset, "gt").values())
        instances = list(read_truth(dataset, "boxes").values())
    assert pixels(found[0].read(SIZE)) == BOTH
    with pytest.raises(ImageError, match=r"No such image file: '/absent\.png'"):
        found[1].read(SIZE)
    assert pixels(instances[0].read(SIZE)) == ["####...."] * 3 + ["....####"] * 3


def test_damaged_masks_in_the_database_are_told_by_sample(dataset_of: MakeDataset) -> None:
    dataset = dataset_of([Path("/images/0.png")], gt=[MARKED])
    dataset._sample_collection.update_one({}, {"$set": {"gt.mask": b"damaged"}})
    ((id, found),) = read_truth(dataset, "gt").items()
    with pytest.raises(ImageError, match=f"Cannot decode the ground-truth mask in 'gt' of sample {id}"):
        found.read(SIZE)


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
