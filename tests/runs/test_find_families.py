"""Families of a run's regions: what is alike is in one, and later regions find theirs, or are new."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import pytest

import fiftyone_segad as segad
from conftest import ColourEmbedder
from fiftyone_segad.storage.families import read_families, save_families
from kinds_of_defects import BLUE, EACH, GREEN, RED, add_picture, compute, kinds_by_family


@pytest.fixture
def dataset(dataset_with_kinds: fo.Dataset) -> fo.Dataset:
    return dataset_with_kinds


def attributes(dataset: fo.Dataset, name: str = "family") -> dict[str, Any]:
    """An attribute of the regions by their ids."""
    field = "segad_regions.detections"
    return dict(
        zip(dataset.values(f"{field}.id", unwind=True), dataset.values(f"{field}.{name}", unwind=True), strict=True)
    )


def label_of(dataset: fo.Dataset, sample: fo.Sample) -> list[str]:
    return [region["family"] for region in dataset[sample.id].segad_regions.detections]


def test_each_kind_is_a_family(dataset: fo.Dataset) -> None:
    families = segad.find_families(dataset, "segad")
    assert sorted(kinds_by_family(dataset, families).values(), key=sorted) == [{"blue"}, {"red"}]
    assert [family.size for family in families.families] == [EACH, EACH]
    assert not families.new.size and not families.single.size


def test_families_are_written_to_the_regions(dataset: fo.Dataset) -> None:
    families = segad.find_families(dataset, "segad")
    labels, fits = attributes(dataset), attributes(dataset, "family_fit")
    for family in families.families:
        assert {labels[id] for id in family.region_ids} == {family.label}
        assert [fits[id] for id in family.region_ids] == family.fits == sorted(family.fits, reverse=True)
        assert family.typical_id == family.region_ids[0]
        assert 0 <= family.spread == pytest.approx(1 - float(np.median(family.fits)))
    assert len(labels) == 2 * EACH
    assert "segad_regions.detections.family" in dataset.get_field_schema(flat=True)


def test_the_same_images_give_the_same_families(dataset: fo.Dataset) -> None:
    first = segad.find_families(dataset, "segad")
    assert segad.find_families(dataset.limit(1), "segad") == first == segad.list_families(dataset)


def test_no_image_goes_through_the_model_again(dataset: fo.Dataset) -> None:
    calls = ColourEmbedder.calls
    segad.find_families(dataset, "segad")
    assert ColourEmbedder.calls == calls


def test_images_without_stored_features_go_through_the_model_again(dataset: fo.Dataset) -> None:
    expected = segad.find_families(dataset, "segad")
    run = segad.load_run(dataset, "segad")
    run.store.features.discard(set(run.store.features.paths()))
    Path(run.folder, "families.safetensors").unlink()
    calls = ColourEmbedder.calls
    assert segad.find_families(dataset, "segad") == expected
    assert ColourEmbedder.calls == calls + 2 * EACH


def test_an_image_that_cannot_be_read_is_left_out(dataset: fo.Dataset, caplog: pytest.LogCaptureFixture) -> None:
    run = segad.load_run(dataset, "segad")
    run.store.features.discard(set(run.store.features.paths()))
    Path(dataset.last().filepath).unlink()
    families = segad.find_families(dataset, "segad")
    assert sorted(family.size for family in families.families) == [EACH - 1, EACH]
    assert Path(dataset.last().filepath).name in caplog.text


@pytest.mark.parametrize("options", [{"method": "within_image"}, {"method": "unlabeled"}])
def test_other_methods_have_families_too(dataset: fo.Dataset, options: dict[str, Any]) -> None:
    compute(dataset, key="other", reference=None, threshold="quantile:0.2", **options)
    families = segad.find_families(dataset, "other")
    regions = dataset.count("other_regions.detections")
    assert sum(family.size for family in (*families.families, families.single)) == regions > 0


def test_later_regions_find_their_family_or_are_new(
    dataset: fo.Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    families = segad.find_families(dataset, "segad")
    red = next(label for label, kinds in kinds_by_family(dataset, families).items() if kinds == {"red"})
    segad.name_family(dataset, "segad", red, "stain")
    alike, unlike = add_picture(dataset, tmp_path / "a.png", RED), add_picture(dataset, tmp_path / "b.png", GREEN, True)
    segad.score_new(dataset, "segad")
    assert label_of(dataset, alike) == ["stain"]
    assert label_of(dataset, unlike) == ["new"]
    assert segad.list_families(dataset).new.sample_ids == [unlike.id]
    assert "1 region of a kind never seen before" in caplog.text


def test_names_stay_when_families_are_found_again(dataset: fo.Dataset, tmp_path: Path) -> None:
    families = segad.find_families(dataset, "segad")
    labels = {next(iter(kinds)): label for label, kinds in kinds_by_family(dataset, families).items()}
    segad.name_family(dataset, "segad", labels["blue"], "scratch")
    for i in range(4):
        add_picture(dataset, tmp_path / f"green{i}.png", GREEN)
    add_picture(dataset, tmp_path / "blue.png", BLUE, True)
    segad.score_new(dataset, "segad")
    again = segad.find_families(dataset, "segad")
    found = kinds_by_family(dataset, again)
    assert found.pop("scratch") == {"blue", "later"} and again["scratch"].size == EACH + 1
    assert found.pop(labels["red"]) == {"red"}
    (green,) = found
    assert found[green] == {"later"} and again[green].size == 4


def test_families_outlive_a_threshold_that_is_moved_and_back(dataset: fo.Dataset) -> None:
    families = segad.find_families(dataset, "segad")
    segad.name_family(dataset, "segad", families.families[0].label, "stain")
    before = {family.label: sorted(family.sample_ids) for family in segad.list_families(dataset).families}
    segad.set_threshold(dataset, "segad", 10.0)
    emptied = segad.list_families(dataset)
    assert [(family.label, family.size, family.typical_id) for family in emptied.families] == [("stain", 0, None)]
    segad.set_threshold(dataset, "segad", 0.05)
    after = segad.list_families(dataset)
    assert {family.label: sorted(family.sample_ids) for family in after.families} == before


def test_families_outlive_rescoring(dataset: fo.Dataset) -> None:
    families = segad.find_families(dataset, "segad")
    red = next(label for label, kinds in kinds_by_family(dataset, families).items() if kinds == {"red"})
    segad.name_family(dataset, "segad", red, "stain")
    first = segad.list_families(dataset)["stain"].typical_id
    segad.mark_normal(dataset, "segad", label_ids=[first])
    segad.rescore(dataset, "segad")
    labels = set(attributes(dataset).values())
    assert labels <= {"stain", *(family.label for family in families.families)} and len(labels) >= 1


def test_a_run_that_is_computed_anew_takes_over_the_families_that_people_have_made(dataset: fo.Dataset) -> None:
    families = segad.find_families(dataset, "segad")
    red = next(label for label, kinds in kinds_by_family(dataset, families).items() if kinds == {"red"})
    segad.name_family(dataset, "segad", red, "stain")
    compute(dataset, segments="grid:6", threshold=0.02, overwrite=True)
    anew = segad.list_families(dataset)
    assert kinds_by_family(dataset, anew) == {"stain": {"red"}}
    assert set(attributes(dataset).values()) == {"stain", "new"}
    segad.find_families(dataset, "segad")
    assert "red" in kinds_by_family(dataset, segad.list_families(dataset))["stain"]


def test_families_go_to_another_machine(
    dataset: fo.Dataset, dataset_of: Callable[..., fo.Dataset], tmp_path: Path
) -> None:
    families = segad.find_families(dataset, "segad")
    segad.name_family(dataset, "segad", families.families[0].label, "stain")
    here = segad.list_families(dataset)
    segad.export_run(dataset, "segad", tmp_path / "run.zip")
    other = dataset_of(dataset.values("filepath"))
    segad.import_run(other, tmp_path / "run.zip")
    there = segad.list_families(other)
    assert [(family.label, family.size) for family in there.families] == [(f.label, f.size) for f in here.families]


def test_a_run_without_regions_says_what_to_do(dataset: fo.Dataset) -> None:
    segad.set_threshold(dataset, "segad", 10.0)
    with pytest.raises(ValueError, match="no region above its threshold; lower it with set_threshold"):
        segad.find_families(dataset, "segad")


def test_families_that_were_not_found_yet_cannot_be_listed(dataset: fo.Dataset) -> None:
    with pytest.raises(ValueError, match="call find_families"):
        segad.list_families(dataset)


def test_a_damaged_file_says_so(dataset: fo.Dataset) -> None:
    segad.find_families(dataset, "segad")
    folder = Path(segad.load_run(dataset, "segad").folder)
    saved = read_families(folder)
    assert saved is not None
    content = bytearray((folder / "families.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "families.safetensors").write_bytes(content)
    with pytest.raises(segad.RunError, match="damaged"):
        segad.list_families(dataset)
    save_families(folder, saved)
    assert segad.list_families(dataset).families
