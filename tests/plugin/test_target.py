"""Operators work on the samples of the view, also of one that another step has left grouped, as patches, or empty."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fiftyone as fo
import pytest
from fiftyone.operators.executor import ExecutionContext

from fiftyone_segad.plugin import normals
from fiftyone_segad.plugin.target import target_samples
from fiftyone_segad.registry.samples import all_slices
from plugin_calls import operator

ON_SAMPLES = (
    "compute_segment_anomalies",
    "score_new",
    "evaluate_anomalies",
    "export_curated",
    "find_duplicates",
    "image_quality",
)


def context(dataset: fo.Dataset, view: Any = None, **request: Any) -> ExecutionContext:
    stages = [] if view is None else view._serialize()
    return ExecutionContext({"dataset_name": dataset.name, "view": stages, "params": {}, **request})


@pytest.fixture
def dataset(dataset_of: Any, pictures: list[Path]) -> fo.Dataset:
    boxes = [fo.Detections(detections=[fo.Detection(label="x", bounding_box=[0, 0, 1, 1])] * (i % 2)) for i in range(6)]
    labels = [fo.Classification(label=label) for label in "aabbbb"]
    return dataset_of(pictures, kind=labels, spots=boxes)


@pytest.fixture
def grouped(pictures: list[Path]) -> Iterator[fo.Dataset]:
    """Three groups of a left and a right picture."""
    made = fo.Dataset()
    made.add_group_field("group", default="left")
    for left, right in zip(pictures[::2], pictures[1::2], strict=True):
        group = fo.Group()
        made.add_samples(
            [
                fo.Sample(filepath=str(left), group=group.element("left"), tags=["good"]),
                fo.Sample(filepath=str(right), group=group.element("right"), tags=["good"]),
            ]
        )
    yield made
    made.delete()


def test_a_view_of_groups_stands_for_all_their_samples(dataset: fo.Dataset) -> None:
    by_kind = dataset.group_by("kind.label")
    assert len(by_kind) == 2
    assert set(target_samples(context(dataset, by_kind)).values("id")) == set(dataset.values("id"))
    filtered = dataset.match({"kind.label": "b"}).group_by("kind.label", order_by="filepath")
    assert len(target_samples(context(dataset, filtered))) == 4


def test_a_view_of_patches_stands_for_their_samples(dataset: fo.Dataset) -> None:
    patches = dataset.to_patches("spots")
    assert target_samples(context(dataset, patches)).values("filepath") == dataset.values("filepath")[1::2]


def test_of_a_grouped_dataset_the_active_slice_is_taken_or_those_of_the_view(grouped: fo.Dataset) -> None:
    both = grouped.select_group_slices(["left", "right"])
    paths = grouped.select_group_slices("right").values("filepath")
    assert target_samples(context(grouped, group_slice="right")).values("filepath") == paths
    assert len(target_samples(context(grouped, both))) == 6
    assert len(all_slices(grouped)) == 6
    assert normals.count(context(grouped, group_slice="right")) == 3
    assert normals.count(context(grouped, both)) == 6


@pytest.mark.parametrize("name", ON_SAMPLES)
@pytest.mark.parametrize("kind", ["view", "dataset"])
def test_no_form_can_be_executed_on_nothing(dataset_with_run: fo.Dataset, name: str, kind: str) -> None:
    if kind == "dataset":
        dataset_with_run.delete_samples(dataset_with_run.values("id"))
    empty = dataset_with_run.match_tags("absent") if kind == "view" else None
    inputs = operator(name).resolve_input(context(dataset_with_run, empty))
    properties = inputs.to_json()["type"]["properties"]
    assert any(prop["invalid"] for prop in properties.values())


def test_a_form_that_meets_a_change_of_the_dataset_reads_again(
    dataset_with_run: fo.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute = operator("set_threshold")
    add_inputs, attempts = type(compute).add_inputs, []

    def fails_once(self: Any, *args: Any) -> None:
        attempts.append(self)
        if len(attempts) == 1:
            raise KeyError("segad_score")
        add_inputs(self, *args)

    monkeypatch.setattr(type(compute), "add_inputs", fails_once)
    properties = compute.resolve_input(context(dataset_with_run)).to_json()["type"]["properties"]
    assert "threshold" in properties
    assert len(attempts) == 2
