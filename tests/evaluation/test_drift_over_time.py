"""``drift_over_time`` on a dataset: periods in order, what people said, sentences, views and a plot."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest

import fiftyone_segad as segad
from fiftyone_segad.scoring.periods import FEW, LIGHT, PARTS, STEADY

pytestmark = pytest.mark.usefixtures("colour_embedder")

THRESHOLD = 0.1
SIZES = {"batch 1": 30, "batch 2": 30, "batch 10": 30, "batch 11": 4}


@pytest.fixture
def line(dataset_of: Callable[..., fo.Dataset], pictures: list[Path]) -> fo.Dataset:
    """Batches with predictions as a run writes them: batch 2 is darker, batch 10 has defects, batch 11 is small."""
    dataset = dataset_of(pictures)
    segad.compute_segment_anomalies(dataset, reference=dataset.limit(4), segments="tiles:0.4:0.2")
    samples, start = [], datetime(2026, 11, 2, 6)
    for day, (batch, size) in enumerate(SIZES.items()):
        p_values = np.linspace(0.12, 0.4 if batch == "batch 2" else 1, size)
        alarms = {"batch 1": 1, "batch 10": 12}.get(batch, 0)
        p_values[:alarms] = 0.02
        for number, p_value in enumerate(p_values):
            at = start + timedelta(days=day, minutes=number)
            sample = fo.Sample(filepath=f"/line/{batch}/{number:02}.png", batch=batch, taken=at)
            flagged = bool(p_value <= THRESHOLD)
            sample["segad_score"] = 1 / p_value
            label = "anomalous" if flagged else "normal"
            sample["segad_pred"] = fo.Classification(label=label, p_value=float(p_value))
            boxes = [[0.1, 0.1, 0.2, 0.2], [0.6, 0.6, 0.2, 0.2]] if flagged else []
            sample["segad_regions"] = fo.Detections(
                detections=[fo.Detection(label="anomalous", bounding_box=box) for box in boxes]
            )
            samples.append(sample)
    dataset.add_samples(samples)
    return dataset


def test_batches_and_what_became_of_them(line: fo.Dataset) -> None:
    drift = segad.drift_over_time(line, "segad", by="batch")
    assert [period.name for period in drift.periods] == list(SIZES), "10 comes after 2"
    assert [period.verdict for period in drift.periods] == [STEADY, LIGHT, PARTS, FEW]
    assert [period.alarms for period in drift.periods] == [1, 0, 12, 0]
    assert drift.left_out == 6, "the pictures of the run have no batch"
    light, parts = drift.messages()
    assert light.startswith("batch 2: the light changed") and "'batch 1'" in light
    assert parts.startswith("batch 10: the parts got worse: 40.0% are alarms") and "Fisher" in parts
    assert drift.view("batch 10").values("batch") == ["batch 10"] * 30
    text = str(drift)
    assert "batch 11" in text and "6 images have no value in 'batch'" in text and light in text
    compared = segad.drift_over_time(line, "segad", by="batch", compared="batch 10")
    assert compared.compared == "batch 10" and compared.periods[0].verdict == STEADY


def test_alarms_that_people_overruled(line: fo.Dataset) -> None:
    alarms = line.match({"segad_pred.label": "anomalous", "batch": "batch 10"})
    ids = alarms.values("id")
    segad.mark_normal(line.select(ids[:8]), "segad", by="ada")
    half = line.select(ids[8]).to_patches("segad_regions").limit(1)
    segad.mark_normal(half, "segad", by="ada")
    period = segad.drift_over_time(line, "segad", by="batch").periods[2]
    assert (period.alarms, period.overruled, period.accepted) == (12, 8, 26), "half an alarm stays one"
    assert period.overruled_share == pytest.approx(8 / 12)
    segad.mark_normal(line.select(ids[8]).to_patches("segad_regions"), "segad", by="ada")
    accepted = line.match({"segad_pred.label": "normal", "batch": "batch 10"}).limit(1)
    segad.mark_anomalous(accepted, "segad", by="ada")
    period = segad.drift_over_time(line, "segad", by="batch").periods[2]
    assert (period.overruled, period.accepted) == (9, 26), "a missed part is not accepted"


def test_times(line: fo.Dataset) -> None:
    drift = segad.drift_over_time(line.match({"batch": {"$ne": None}}), "segad", by="taken")
    assert [period.name for period in drift.periods] == ["2026-11-02", "2026-11-03", "2026-11-04", "2026-11-05"]
    assert [period.verdict for period in drift.periods] == [STEADY, LIGHT, PARTS, FEW]
    weeks = segad.drift_over_time(line, "segad", by="taken", every="week")
    assert [(period.name, len(period.ids)) for period in weeks.periods] == [("2026-W45", 94)]
    assert len(segad.drift_over_time(line, "segad").periods) == 1, "all were added today"


def test_the_plot_has_the_ids_of_each_period(line: fo.Dataset) -> None:
    drift = segad.drift_over_time(line, "segad", by="batch")
    points, overruled, others = drift.plot().data
    assert list(points.x) == list(SIZES)
    assert [list(ids) for ids in points.customdata] == [period.ids for period in drift.periods]
    assert list(points.y) == [row["p_median"] for row in drift.rows()]
    assert list(others.y) == [row["alarm_share"] for row in drift.rows()] and set(overruled.y) == {0}


def test_wrong_parameters_are_told(line: fo.Dataset) -> None:
    with pytest.raises(ValueError, match="by='shift' is no field of dataset"):
        segad.drift_over_time(line, "segad", by="shift")
    with pytest.raises(ValueError, match="every='year' must be one of"):
        segad.drift_over_time(line, "segad", every="year")
    with pytest.raises(ValueError, match="compared='batch 3' is none of the periods"):
        segad.drift_over_time(line, "segad", by="batch", compared="batch 3")
    with pytest.raises(ValueError, match="holds Detections, by which no periods are told"):
        segad.drift_over_time(line, "segad", by="segad_regions")
    with pytest.raises(ValueError, match="has no run 'absent'"):
        segad.drift_over_time(line, "absent")
    with pytest.raises(ValueError, match="has a value in by='batch'; fill the field"):
        segad.drift_over_time(line.limit(6), "segad", by="batch")
    with pytest.raises(ValueError, match="There is no period 'x'"):
        segad.drift_over_time(line, "segad", by="batch").view("x")
    line.delete_sample_field("segad_pred")
    with pytest.raises(ValueError, match="'segad_pred' is gone; compute run 'segad' again"):
        segad.drift_over_time(line, "segad", by="batch")
