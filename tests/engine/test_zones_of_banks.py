"""Bank files of runs whose zones are drawn once: inspector, command line and later runs score in these zones."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest

import fiftyone_segad as segad
from fiftyone_segad.engine.command_line import main
from zoned_dataset import LEFT, RIGHT, SPOT, boxes, compute_zoned, mask_of, picture, zoned_dataset

pytestmark = pytest.mark.usefixtures("colour_embedder")

MakeDataset = Callable[..., fo.Dataset]

DRAWN = {
    "two zones": boxes(inspect_left=LEFT, inspect_right=RIGHT),
    "what is ignored": boxes(ignore=SPOT),
    "one zone without a name, and one with": boxes(inspect=LEFT, inspect_right=RIGHT),
}


@pytest.fixture(params=DRAWN)
def banked(
    request: pytest.FixtureRequest, dataset_of: MakeDataset, tmp_path: Path
) -> Iterator[tuple[fo.Dataset, Path, fo.Dataset]]:
    """A dataset with a run in zones, its bank, and later images, of which the last is of another size."""
    dataset, first = zoned_dataset(dataset_of, tmp_path, DRAWN[request.param])
    compute_zoned(dataset, zones="zones", zones_from=first)
    bank = segad.save_bank(dataset, "segad", tmp_path / "bank.safetensors")
    folder = tmp_path / "later"
    folder.mkdir()
    files = [folder / f"{number}.png" for number in range(4)]
    for number, file in enumerate(files[:3]):
        picture(100 + number, spotted=number == 0).save(file)
    picture(103, spotted=True).resize((96, 80)).save(files[3])
    dataset.add_images([str(file) for file in files])
    segad.score_new(dataset, "segad")
    yield dataset, bank, dataset_of(files)


def read(table: Path) -> dict[str, dict[str, str]]:
    """Read the rows of a table by the names of their images."""
    with table.open(encoding="utf-8-sig", newline="") as file:
        return {Path(row["path"]).name: row for row in csv.DictReader(file)}


def test_an_inspector_has_the_figures_of_score_new(banked: tuple[fo.Dataset, Path, fo.Dataset]) -> None:
    dataset, bank, _ = banked
    run = segad.load_run(dataset, "segad")
    with segad.load_bank(bank) as inspector:
        assert inspector.thresholds == run.thresholds and inspector.false_alarm_share == run.false_alarm_share
        for sample in dataset:
            result = inspector(sample.filepath)
            assert result.score == sample.segad_score
            assert (result.anomalous, result.p_value) == (
                sample.segad_pred.label == "anomalous",
                sample.segad_pred.p_value,
            )
            assert result.zone == (getattr(sample.segad_pred, "zone", None) or None)
            np.testing.assert_array_equal(result.mask, mask_of(sample))
            written = [getattr(region, "zone", "") for region in sample.segad_regions.detections]
            assert [region.zone for region in result.regions] == written


def test_a_run_that_is_made_with_a_bank_has_its_zones(banked: tuple[fo.Dataset, Path, fo.Dataset]) -> None:
    dataset, bank, later = banked
    segad.score_new(later.limit(1), "line", bank=bank)
    run = segad.score_new(later, "line")
    original = segad.load_run(dataset, "segad")
    assert run.thresholds == original.thresholds
    assert [str(zone) for zone in run.zone_summaries] == [str(zone) for zone in original.zone_summaries]
    for sample in later:
        other = dataset[sample.filepath]
        assert (sample.line_score, sample.line_pred.p_value) == (other.segad_score, other.segad_pred.p_value)
        np.testing.assert_array_equal(mask_of(sample, "line"), mask_of(other))
        assert (sample.line_zones is None) == (other.segad_zones is None)
    assert segad.save_bank(later, "line", bank.with_name("again.safetensors")).stat().st_size == bank.stat().st_size


def test_the_command_line_says_which_zone_decides(banked: tuple[fo.Dataset, Path, fo.Dataset]) -> None:
    dataset, bank, later = banked
    table = bank.with_suffix(".csv")
    main(["score", str(bank), str(Path(later.first().filepath).parent), "--csv", str(table), "--quiet"])
    rows = read(table)
    of_run = read(segad.load_run(dataset, "segad").save_table(bank.with_name("run.csv")))
    for sample in later:
        name = Path(sample.filepath).name
        assert {**rows[name], "path": sample.filepath} == {column: of_run[name][column] for column in rows[name]}
    assert rows["3.png"]["zone"] == "", "of another size, inspected as a whole"
    assert any(row["zone"] for row in rows.values()) == (dataset.get_field("segad_pred.zone") is not None)


def test_zones_can_be_changed_afterwards(banked: tuple[fo.Dataset, Path, fo.Dataset]) -> None:
    dataset, bank, _ = banked
    compute_zoned(dataset.limit(14), key="plain")
    plain = segad.load_run(dataset, "plain")
    with segad.load_bank(bank) as inspector:
        assert inspector.set_zones(None) == plain.thresholds
        assert inspector(dataset.first().filepath).score == dataset.first().plain_score
        inspector.set_zones(np.array([[1, 2]]), ["left", "right"])


def test_a_threshold_that_needs_scored_images_stays(dataset_of: MakeDataset, tmp_path: Path) -> None:
    dataset, first = zoned_dataset(dataset_of, tmp_path, DRAWN["two zones"])
    compute_zoned(dataset, zones="zones", zones_from=first, threshold="alarms:1", min_area={"left": 4})
    bank = segad.save_bank(dataset, "segad", tmp_path / "bank.safetensors")
    with segad.load_bank(bank) as inspector:
        assert inspector.thresholds == segad.load_run(dataset, "segad").thresholds
        assert [inspector(sample.filepath).score for sample in dataset] == dataset.values("segad_score")
