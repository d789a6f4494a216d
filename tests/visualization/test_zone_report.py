"""Tables and reports say which zone decides, and what decides in it."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path

import fiftyone as fo
import pytest

import fiftyone_segad as segad
from zoned_dataset import LEFT, NORMALS, RIGHT, SPOT, boxes, compute_zoned, zoned_dataset

pytestmark = pytest.mark.usefixtures("colour_embedder")


def read(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8-sig", newline="") as source:
        return list(csv.DictReader(source))


def test_table_and_report(dataset_of: Callable[..., fo.Dataset], tmp_path: Path) -> None:
    dataset, first = zoned_dataset(dataset_of, tmp_path, boxes(inspect_left=LEFT, inspect_right=RIGHT))
    spot = fo.Detections(detections=[fo.Detection(label="spot", bounding_box=SPOT)])
    dataset.set_values("defect_mask", [None] * (NORMALS + 1) + [spot])
    run = compute_zoned(dataset, zones="zones", zones_from=first, pixel_size=0.5, min_area={"right": "0.5 mm2"})
    run.save_table(tmp_path / "scores.csv", regions=tmp_path / "regions.csv")
    sample = dataset.last()
    assert read(tmp_path / "scores.csv")[-1]["zone"] == "left"
    row = read(tmp_path / "regions.csv")[-1]
    region = sample.segad_regions.detections[-1]
    assert row["zone"] == "left"
    for name in ("area_mm2", "length_mm", "width_mm"):
        assert float(row[name]) == pytest.approx(region[name])

    results = segad.evaluate_anomalies(dataset.skip(NORMALS - 2), "segad")
    rows = {(row["group"], row["outcome"]): row["images"] for row in results.bounds("zone")}
    assert rows["left", "missed"] == 1 and sum(rows.values()) == 4
    html = results.save_report(tmp_path / "report.html").read_text()
    text = re.sub(r"<[^>]+>|\s+", " ", html)
    assert re.search(r"zone &#39;right&#39; +anomalous above [\d.]+, regions of at least 2 px", text)
    assert re.search(r"side of a pixel in mm +0.5 ", text) and "zone: left" in text


def test_a_run_without_zones_has_empty_columns(dataset_of: Callable[..., fo.Dataset], tmp_path: Path) -> None:
    dataset, _ = zoned_dataset(dataset_of, tmp_path, None)
    run = compute_zoned(dataset)
    run.save_table(tmp_path / "scores.csv", regions=tmp_path / "regions.csv")
    rows = [*read(tmp_path / "scores.csv"), *read(tmp_path / "regions.csv")]
    assert {row["zone"] for row in rows} == {""}
    assert not run.zone_summaries
