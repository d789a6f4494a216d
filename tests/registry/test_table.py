"""``run.save_table``: tables of images and of regions as a spreadsheet reads them."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

import fiftyone_segad as segad
from seen_parts import BAD, CAMERAS, GOOD, grouped_parts
from small_runs import compute, make_dataset, save_stripes

pytestmark = pytest.mark.usefixtures("colour_embedder")

FLAGGED = ("anomalous", "True")


@pytest.fixture
def dataset(dataset_of: Callable[..., fo.Dataset], pictures: list[Path]) -> fo.Dataset:
    return make_dataset(dataset_of, pictures)


def read(file: Path) -> list[dict[str, str]]:
    assert file.read_bytes().startswith(b"\xef\xbb\xbf")
    with file.open(encoding="utf-8-sig", newline="") as source:
        return list(csv.DictReader(source))


def test_a_row_per_image_and_per_region(dataset: fo.Dataset, tmp_path: Path) -> None:
    dataset.set_values("split", ["train"] * 4 + ["test"] * 2)
    run = compute(dataset, threshold="fpr:0.3")
    last = dataset.last()
    last.tags = ["@night shift"]
    last.save()
    segad.mark_normal(dataset.select([last.id]), "segad", why="=dust")
    file = run.save_table(tmp_path / "scores.csv", regions=tmp_path / "regions.csv")
    table = read(file)
    assert [row["path"] for row in table] == dataset.skip(4).values("filepath")
    row = table[-1]
    sample = dataset.last()
    assert float(row["score"]) == sample.segad_score
    assert float(row["p_value"]) == sample.segad_pred.p_value
    assert (row["decision"], row["split"], row["tags"]) == ("anomalous", "test", "'@night shift")
    assert row["marks"].startswith("normal (sample) by ") and row["marks"].endswith("Z: =dust")
    regions = sample.segad_regions.detections
    assert (int(row["area"]), int(row["regions"])) == (sum(region.area for region in regions), len(regions))
    mask = np.asarray(Image.open(sample.segad_mask.mask_path))
    rows = [row for row in read(tmp_path / "regions.csv") if row["path"] == sample.filepath]
    assert [float(row["score"]) for row in rows] == [region.anomaly_score for region in regions]
    covered = np.zeros(mask.shape, bool)
    for region_row, region in zip(rows, regions, strict=True):
        x0, y0, x1, y1 = (int(region_row[name]) for name in ("x0", "y0", "x1", "y1"))
        assert (x1 - x0, y1 - y0) == region.mask.shape[::-1]
        covered[y0:y1, x0:x1] |= region.mask
    np.testing.assert_array_equal(covered, mask > 0)
    assert [row[name] for name in ("x0", "y1")] == [rows[0][name] for name in ("x0", "y1")]
    assert [other["regions"] for other in table if other["decision"] == "normal"] == ["0"] * (
        len(table) - len(dataset.match({"segad_pred.label": "anomalous"}))
    )


def test_the_part_and_what_could_not_be_scored(dataset_of: Callable[..., fo.Dataset], tmp_path: Path) -> None:
    paths = save_stripes(tmp_path)
    broken = tmp_path / "-broken.png"
    broken.write_bytes(b"")
    dataset = dataset_of([*paths, broken], part=[f"p{index // 2}" for index in range(13)])
    run = segad.compute_segment_anomalies(dataset, reference=dataset.limit(8), groups="part", threshold=100)
    table = read(run.save_table(tmp_path / "scores.csv"))
    assert [row["part"] for row in table] == [f"p{index // 2}" for index in range(13)]
    assert table[-1]["score"] == "" and "is empty" in table[-1]["reason"]
    table = read(run.save_table(tmp_path / "scores.csv", samples=dataset[2:4]))
    assert [row["path"] for row in table] == [str(path) for path in paths[2:4]]
    alone = segad.compute_segment_anomalies(dataset, "auto", reference=dataset.limit(8), groups=None, threshold=100)
    assert {row["part"] for row in read(alone.save_table(tmp_path / "scores.csv"))} == {""}


def test_the_run_of_a_clone(dataset: fo.Dataset, tmp_path: Path) -> None:
    run = compute(dataset)
    clone = dataset.clone()
    try:
        clone.delete_samples(clone.limit(5))
        assert len(read(segad.load_run(clone, "segad").save_table(tmp_path / "a.csv", samples=clone))) == 1
        assert len(read(run.save_table(tmp_path / "a.csv"))) == 2
        dataset.delete()
        assert len(read(run.save_table(tmp_path / "a.csv"))) == 1, "the clone is the only one that has the run"
    finally:
        clone.delete()
    with pytest.raises(ValueError, match="No dataset has run 'segad' any more"):
        run.save_table(tmp_path / "a.csv")


def test_wrong_files_are_told(dataset: fo.Dataset, tmp_path: Path) -> None:
    run = compute(dataset)
    with pytest.raises(ValueError, match=r"path=.* is a folder; name a file in it"):
        run.save_table(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"of regions=.* does not exist; make it first"):
        run.save_table(tmp_path / "a.csv", regions=tmp_path / "no" / "b.csv")
    with pytest.raises(ValueError, match="are the same file"):
        run.save_table(tmp_path / "a.csv", regions=tmp_path / "a.csv")
    with pytest.raises(ValueError, match="samples must be a FiftyOne dataset or view"):
        run.save_table(tmp_path / "a.csv", samples=[1])  # type: ignore[arg-type]
    dataset.delete_sample_field("segad_score")
    with pytest.raises(ValueError, match="'segad_score' is gone; compute run 'segad' again"):
        run.save_table(tmp_path / "a.csv")
    assert not (tmp_path / "a.csv").exists()


def test_parts_and_views_have_columns_where_they_were_decided(tmp_path: Path) -> None:
    grouped = grouped_parts(tmp_path)
    try:
        views = segad.compute_segment_anomalies(
            grouped.match_tags("test"), reference=grouped.match_tags("good"), segments="tiles:0.4:0.2"
        )
        assert isinstance(views, segad.ViewRuns)
        before = read(views.save_table(tmp_path / "before.csv"))
        assert "part_decision" not in before[0] and {row["view"] for row in before} == set(CAMERAS)
        decisions = segad.decide_parts(grouped, "segad", share=0.06)
        rows = read(views.save_table(tmp_path / "scores.csv"))
        assert len(rows) == 2 * (GOOD + BAD)
        decided = {(row["part"], row["view"]) for row in rows if (row["part_decision"], row["decides"]) == FLAGGED}
        assert decided == {(part.part, part.view) for part in decisions.flagged}
        assert [{name: row[name] for name in before[0]} for row in rows] == before
        alone = read(views.runs["left"].save_table(tmp_path / "left.csv"))
        assert [row["part_p_value"] for row in alone] == [row["part_p_value"] for row in rows if row["view"] == "left"]
    finally:
        grouped.delete()
