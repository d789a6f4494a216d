"""Families in bank files: regions on other machines get the names that people gave."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest

import fiftyone_segad as segad
from banks import make_bank, rewrite, rewrite_header
from fiftyone_segad.storage.bank_file import BankFile
from fiftyone_segad.storage.families import SavedFamilies
from kinds_of_defects import BLUE, EACH, GOOD, GREEN, RED, kinds_by_family, save_picture


@pytest.fixture
def dataset(dataset_with_kinds: fo.Dataset) -> fo.Dataset:
    return dataset_with_kinds


@pytest.fixture
def bank(dataset: fo.Dataset, tmp_path: Path) -> Path:
    """A bank whose families have the names of their kinds."""
    families = segad.find_families(dataset, "segad")
    for label, kinds in kinds_by_family(dataset, families).items():
        (kind,) = kinds
        segad.name_family(dataset, "segad", label, kind)
    return segad.save_bank(dataset, "segad", tmp_path / "bank.safetensors")


@pytest.fixture
def later(tmp_path: Path) -> dict[str, Path]:
    """A picture of each kind, of one never seen before, and a good one."""
    folder = tmp_path / "later"
    folder.mkdir()
    kinds = {"red": (RED, False), "blue": (BLUE, True), "new": (GREEN, False), "good": (None, False)}
    return {
        kind: save_picture(folder / f"{kind}.png", 70 + i, colour, bar)
        for i, (kind, (colour, bar)) in enumerate(kinds.items())
    }


def test_an_inspector_names_the_families_of_regions(bank: Path, later: dict[str, Path]) -> None:
    with segad.load_bank(bank) as inspector:
        names = {kind: inspector(path).families for kind, path in later.items()}
    assert names == {"red": ["red"], "blue": ["blue"], "new": ["new"], "good": []}


def test_a_run_with_the_bank_has_the_same_families(
    bank: Path, later: dict[str, Path], dataset_of: Callable[..., fo.Dataset]
) -> None:
    other = dataset_of(list(later.values()))
    segad.score_new(other, "line", bank=bank)
    with segad.load_bank(bank) as inspector:
        for sample in other:
            written = [region["family"] for region in sample["line_regions"].detections]
            assert written == inspector(sample.filepath).families
    families = segad.list_families(other, "line")
    assert sorted(family.label for family in families.families) == ["blue", "red"] and families.new.size == 1


def test_a_run_with_the_bank_passes_them_on(
    bank: Path, later: dict[str, Path], dataset_of: Callable[..., fo.Dataset], tmp_path: Path
) -> None:
    """Through another bank file, and through an exported run."""
    other = dataset_of(list(later.values()))
    segad.score_new(other, "line", bank=bank)
    again = segad.save_bank(other, "line", tmp_path / "again.safetensors")
    with segad.load_bank(again) as inspector:
        assert inspector(later["red"]).families == ["red"]
    archive = segad.export_run(other, "line", tmp_path / "line.zip")
    segad.delete_run(other, "line")
    segad.import_run(other, archive)
    third = segad.save_bank(other, "line", tmp_path / "third.safetensors")
    with segad.load_bank(third) as inspector:
        assert inspector(later["blue"]).families == ["blue"]


def test_an_array_and_an_image_of_the_bank(bank: Path, later: dict[str, Path], dataset: fo.Dataset) -> None:
    from fiftyone_segad.utils.images import read_image

    with segad.load_bank(bank) as inspector:
        assert inspector(read_image(str(later["red"]))).families == ["red"]
        inspector.set_threshold(-1)  # so that a good image has regions
        result = inspector(dataset.first().filepath)
        assert result.regions and len(result.families) == len(result.regions)


def test_without_families_there_are_no_names(dataset: fo.Dataset, tmp_path: Path) -> None:
    file = segad.save_bank(dataset, "segad", tmp_path / "plain.safetensors")
    assert BankFile.read(file).families is None
    with segad.load_bank(file) as inspector:
        result = inspector(dataset.skip(GOOD + EACH).first().filepath)
        assert result.families == [None] * len(result.regions) != []


@pytest.fixture
def altered(tmp_path: Path) -> Path:
    """A small bank with families, to be altered."""
    families = SavedFamilies.of_bank(["scratch"], np.eye(2, 24, dtype=np.float32), np.zeros(2, np.int64))
    made = make_bank(families=["scratch"])
    BankFile(made.header, made.levels, made.fitted, made.calibration, families).write(tmp_path / "bank")
    assert BankFile.read(tmp_path / "bank").families is not None
    return tmp_path / "bank"


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("families.vectors", lambda a: a * np.float32(np.nan), "no table of 24 finite numbers"),
        ("families.vectors", lambda a: a.ravel(), "no table of 24 finite numbers"),
        ("families.vectors", lambda a: a[:, 1:].copy(), "no table of 24 finite numbers"),
        ("families.numbers", lambda a: a[:1], "do not fit their regions"),
        ("families.numbers", lambda a: a + 1, "families that it does not have"),
    ],
)
def test_families_that_do_not_fit_are_refused(
    altered: Path, name: str, change: Callable[[np.ndarray], np.ndarray], reason: str
) -> None:
    rewrite(altered, lambda arrays, _: arrays.__setitem__(name, change(arrays[name])))
    with pytest.raises(segad.BankError, match=reason):
        BankFile.read(altered)


def test_names_without_regions_are_refused(altered: Path) -> None:
    rewrite(altered, lambda arrays, _: arrays.pop("families.vectors"))
    with pytest.raises(segad.BankError, match=r"families\.vectors"):
        BankFile.read(altered)


def test_names_that_are_none_are_refused(altered: Path) -> None:
    rewrite_header(altered, lambda header: header.update(families=[3]))
    with pytest.raises(segad.BankError, match="families"):
        BankFile.read(altered)
