"""Zones in forms: the fields that can hold some, the sample that stands for all, and what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import fiftyone as fo
import pytest

import fiftyone_segad as segad
from plugin_calls import REFUSED, form, run
from zoned_dataset import LEFT, RIGHT, boxes, zoned_dataset

pytestmark = pytest.mark.usefixtures("colour_embedder")

MakeDataset = Callable[..., fo.Dataset]


def test_compute_and_rescore(dataset_of: MakeDataset, tmp_path: Path) -> None:
    dataset, first = zoned_dataset(dataset_of, tmp_path, boxes(ignore=RIGHT))
    fields = form("compute_segment_anomalies", dataset)
    assert fields["zones"]["type"]["values"] == ["-", "zones"] and "zones_from" not in fields
    fields = form("compute_segment_anomalies", dataset, zones="zones")
    assert fields["zones_from"]["default"] == first
    assert [choice["label"] for choice in fields["zones_from"]["view"]["choices"]] == [
        "each image has its own",
        "those of 00.png, for all images of its size",
    ]
    run("compute_segment_anomalies", dataset, method="unlabeled", zones="zones", zones_from=first, min_area="5")
    computed = segad.load_run(dataset, "segad")
    assert computed.zones is not None and computed.zones.zones_from == first
    assert computed.thresholds.min_area == {"": 5.0}
    assert form("rescore", dataset, key="segad")["zones"]["type"]["values"] == ["zones"]
    sample = dataset.first()
    sample["zones"] = boxes(ignore=LEFT)
    sample.save()
    run("rescore", dataset, key="segad")
    record = next(iter(segad.load_run(dataset, "segad").store.scores))
    assert record.ignored[:, :48].all() and not record.ignored[:, 48:].any()


def test_a_form_says_what_is_wrong(dataset_of: MakeDataset, tmp_path: Path) -> None:
    dataset, _ = zoned_dataset(dataset_of, tmp_path, boxes(clamp=RIGHT))
    fields = form("compute_segment_anomalies", dataset, min_area="tiny")
    assert fields["min_area"]["invalid"] and "no area" in fields["min_area"]["error_message"]
    with pytest.raises(REFUSED, match="has the label 'clamp'"):
        run("compute_segment_anomalies", dataset, method="unlabeled", zones="zones")


def test_a_dataset_without_fields_for_zones(dataset_of: MakeDataset, tmp_path: Path) -> None:
    dataset, _ = zoned_dataset(dataset_of, tmp_path, None)
    assert "zones" not in form("compute_segment_anomalies", dataset)
