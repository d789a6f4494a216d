"""Runs with ``clean=True``: a defect that one normal image has is still found, and the setting travels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fiftyone as fo
import pytest
from fiftyone import ViewField as F

import fiftyone_segad as segad
from red_spots import picture, spotted_set

pytestmark = pytest.mark.usefixtures("colour_embedder")

NORMALS = 20
DIRTY = NORMALS - 1
"""The normal image that has the defect."""

DEFECTIVE = NORMALS + 2


@pytest.fixture
def dataset(dataset_of: Callable[..., fo.Dataset], tmp_path: Path) -> fo.Dataset:
    """Twenty normal pictures, one of them defective, and five to score, one of them with the same defect."""
    files = [tmp_path / f"{number}.png" for number in range(NORMALS + 5)]
    for number, file in enumerate(files):
        picture(number, spotted=number in (DIRTY, DEFECTIVE)).save(file)
    splits = ["train"] * NORMALS + ["test"] * 5
    parts = [None if number < DIRTY - 1 else "last" for number in range(NORMALS + 5)]
    return dataset_of(files, split=splits, part=parts)


def compute(dataset: fo.Dataset, **options: Any) -> segad.Run:
    normals = dataset.match(F("split") == "train")
    test = dataset.match(F("split") == "test")
    return segad.compute_segment_anomalies(test, reference=normals, overwrite=True, **options)


def scores(dataset: fo.Dataset, key: str = "segad") -> dict[int, float]:
    """Return the scores of the scored images by their numbers."""
    test = dataset.exists(f"{key}_score")
    numbers = [int(Path(path).stem) for path in test.values("filepath")]
    return dict(zip(numbers, test.values(f"{key}_score"), strict=True))


def others(by_number: dict[int, float]) -> float:
    return max(score for number, score in by_number.items() if number != DEFECTIVE)


def test_a_defect_that_one_normal_image_has_is_found(dataset: fo.Dataset) -> None:
    compute(dataset, key="nearest")
    run = compute(dataset, clean=True)
    nearest, clean = scores(dataset, "nearest"), scores(dataset)
    assert nearest[DEFECTIVE] < 10 * others(nearest), "it looks like the normal image with the same defect"
    assert clean[DEFECTIVE] > 50 * others(clean)
    assert run.settings["clean"] is True
    held_out = {int(Path(record.id).stem): record.image_score for record in run.store.normals}
    assert max(held_out, key=lambda number: held_out[number]) == DIRTY


def test_two_pictures_of_one_part_count_as_one(dataset: fo.Dataset) -> None:
    """The defect is in two normal images: of two parts it excuses itself, of one part it does not."""
    picture(DIRTY - 1, spotted=True).save(dataset.match(F("filepath").ends_with(f"/{DIRTY - 1}.png")).first().filepath)
    compute(dataset, key="alone", clean=True, groups=None)
    compute(dataset, clean=True, groups="part")
    alone, together = scores(dataset, "alone"), scores(dataset)
    assert alone[DEFECTIVE] < 10 * others(alone) and together[DEFECTIVE] > 50 * others(together)


def test_a_mark_counts_by_its_nearest_row(dataset: fo.Dataset) -> None:
    compute(dataset, clean=True)
    before = scores(dataset)
    segad.mark_normal(dataset.match(F("filepath").ends_with(f"/{DEFECTIVE}.png")), "segad")
    report = segad.rescore(dataset, "segad")
    after = scores(dataset)
    assert report.run.settings["clean"] is True
    assert before[DEFECTIVE] > 50 * others(before) and after[DEFECTIVE] < 10 * others(after)
    compute(dataset, clean=True)  # a new run of the key learns the mark, too
    assert scores(dataset) == after


def test_later_images_and_a_bank_file_count_the_same(
    dataset: fo.Dataset, dataset_of: Callable[..., fo.Dataset], tmp_path: Path
) -> None:
    normals = dataset.match(F("split") == "train")
    test = dataset.match(F("split") == "test")
    compute(dataset, key="all", clean=True)
    run = segad.compute_segment_anomalies(test.limit(1), key="first", reference=normals, clean=True)
    segad.score_new(test, "first")
    expected = scores(dataset, "all")
    assert scores(dataset, "first") == pytest.approx(expected)
    file = segad.save_bank(dataset, "first", tmp_path / "bank.safetensors")
    other = dataset_of(test.values("filepath"))
    elsewhere = segad.score_new(other, "line2", bank=file)
    assert scores(other, "line2") == pytest.approx(expected, rel=1e-3)
    assert elsewhere.settings["clean"] is run.settings["clean"] is True


def test_too_few_parts_are_told(dataset: fo.Dataset) -> None:
    """Where the parts that are found leave no second one, the nearest row counts, and the run says so."""
    few = dataset.match(F("split") == "train").skip(DIRTY - 3)  # two alone, two of the part "last"
    test = dataset.match(F("split") == "test")
    run = segad.compute_segment_anomalies(test, reference=few.skip(1), clean=True, groups="part")
    assert any("at least 3 parts, and these show 2" in warning for warning in run.warnings)
    run = segad.compute_segment_anomalies(test, key="three", reference=few, clean=True, groups="part")
    assert not any("clean" in warning for warning in run.warnings)


def test_a_dirty_bank_is_told_by_name(dataset_of: Callable[..., fo.Dataset], tmp_path: Path) -> None:
    dataset = spotted_set(dataset_of, tmp_path, {7, *range(40, 50)})
    (warning,) = [text for text in compute(dataset).warnings if "seem to be defective" in text]
    assert "1 part of the bank hides" in warning and "107.png" in warning and "clean=True" in warning
    segad.mark_normal(dataset.match(F("filepath").ends_with("/130.png")), "segad")
    assert warning in segad.rescore(dataset, "segad").run.warnings, "what a run learns does not clean its bank"
    assert not any("seem to be defective" in text for text in compute(dataset, key="cleaned", clean=True).warnings)


def test_of_a_clean_bank_nothing_is_told(dataset_of: Callable[..., fo.Dataset], tmp_path: Path) -> None:
    dataset = spotted_set(dataset_of, tmp_path, set(range(40, 50)))
    assert not any("seem to be defective" in text for text in compute(dataset).warnings)


@pytest.mark.parametrize("size", [2, 30])
def test_banks_of_few_rows(dataset: fo.Dataset, size: int) -> None:
    """A coreset may leave most normal images without a row."""
    for key, clean in (("nearest", False), ("clean", True)):
        assert compute(dataset, key=key, clean=clean, bank_size=size).scored == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clean": "yes"}, "must be True or False"),
        ({"method": "unlabeled", "reference": None, "clean": True}, "is for method='reference'"),
        ({"clean": True}, "at least 3 normal images in reference=..., got 2"),
    ],
)
def test_error_of_clean(dataset: fo.Dataset, options: dict[str, Any], message: str) -> None:
    options = {"reference": dataset.match(F("split") == "train").limit(2), **options}
    with pytest.raises(ValueError, match=message):
        segad.compute_segment_anomalies(dataset.match(F("split") == "test"), **options)
    assert segad.list_runs(dataset) == []
