"""What is marked is what one looks at: the open image, not what was ticked or selected before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fiftyone as fo
import pytest
from fiftyone.operators.executor import ExecutionContext

import fiftyone_segad as segad
from fiftyone_segad.plugin.selection import Selection, selection_of


@pytest.fixture
def dataset(dataset_of: Any, pictures: list[Path]) -> fo.Dataset:
    """Six pictures with two boxes each."""
    boxes = [[0.1, 0.1, 0.2, 0.2], [0.5, 0.5, 0.25, 0.25]]
    labels = [fo.Detections(detections=[fo.Detection(label="x", bounding_box=box) for box in boxes]) for _ in pictures]
    return dataset_of(pictures, spots=labels)


def selected(dataset: fo.Dataset, view: Any = None, **state: Any) -> Selection:
    stages = [] if view is None else view._serialize()
    return selection_of(ExecutionContext({"dataset_name": dataset.name, "view": stages, "params": {}, **state}))


def label_of(sample: fo.Sample, index: int = 0) -> dict[str, str]:
    return {"label_id": sample.spots.detections[index].id, "sample_id": sample.id, "field": "spots"}


def test_the_open_sample_comes_before_a_ticked_one(dataset: fo.Dataset) -> None:
    ticked, opened = dataset.first(), dataset.last()
    selection = selected(dataset, selected=[ticked.id], current_sample=opened.id)
    assert selection.samples.values("id") == [opened.id]
    assert selection.text.startswith("1 open sample: ") and selection.text.endswith("/5.png")


def test_labels_of_another_image_are_left_over(dataset: fo.Dataset) -> None:
    before, opened = dataset.first(), dataset.last()
    selection = selected(dataset, selected_labels=[label_of(before)], current_sample=opened.id)
    assert selection.samples.values("id") == [opened.id]
    both = [label_of(before), label_of(opened, 1)]
    selection = selected(dataset, selected_labels=both, current_sample=opened.id)
    (patch,) = selection.samples
    assert (patch.sample_id, patch.spots.bounding_box) == (opened.id, [0.5, 0.5, 0.25, 0.25])
    assert selection.text.startswith("1 selected label of spots: ") and selection.text.endswith("/5.png")


def test_an_open_patch_is_meant_and_so_are_labels_in_it(dataset: fo.Dataset) -> None:
    patches = dataset.to_patches("spots")
    opened = patches.skip(3).first()
    selection = selected(dataset, patches, current_sample=opened.id, selected=[patches.first().id])
    assert selection.samples.values("id") == [opened.id]
    assert "1 open patch: " in selection.text
    owner = dataset[opened.sample_id]
    selection = selected(dataset, patches, current_sample=opened.id, selected_labels=[label_of(owner)])
    assert selection.samples.values("spots.id") == [owner.spots.detections[0].id]


def test_with_nothing_open_ticks_count_then_labels(dataset: fo.Dataset) -> None:
    ids = dataset.limit(2).values("id")
    labels = [label_of(dataset.last())]
    assert selected(dataset, selected=ids, selected_labels=labels).samples.values("id") == ids
    assert selected(dataset, selected_labels=labels).samples.values("sample_id") == [dataset.last().id]
    with pytest.raises(ValueError, match="open a sample, first"):
        selected(dataset)


def test_files_are_named_up_to_three(dataset: fo.Dataset) -> None:
    names = selected(dataset, selected=dataset.values("id")).text.split(": ")[1].split(", ")
    assert [name.split("/")[-1] for name in names] == ["0.png", "1.png", "2.png", "..."]


def test_pictures_show_the_images_with_boxes_around_patches(dataset: fo.Dataset) -> None:
    ids = dataset.limit(4).values("id")
    pictures = selected(dataset, selected=ids).pictures()
    assert [name.split("/")[-1] for name in pictures] == ["0.png", "1.png", "2.png"]
    plain = selected(dataset, current_sample=ids[0]).pictures()
    outlined = selected(dataset, current_sample=ids[0], selected_labels=[label_of(dataset.first())]).pictures()
    assert plain.keys() == outlined.keys()
    assert plain != outlined, "the box is drawn"


def test_an_image_that_is_gone_has_no_picture(dataset: fo.Dataset) -> None:
    Path(dataset.first().filepath).unlink()
    assert selected(dataset, current_sample=dataset.first().id).pictures() == {}


def test_a_sample_of_a_hidden_slice_is_found(pictures: list[Path]) -> None:
    grouped = fo.Dataset()
    grouped.add_group_field("group", default="left")
    group = fo.Group()
    names = zip(("left", "right"), pictures, strict=False)
    grouped.add_samples([fo.Sample(filepath=str(path), group=group.element(name)) for name, path in names])
    try:
        right = grouped.select_group_slices("right").first()
        assert selected(grouped, current_sample=right.id).samples.values("id") == [right.id]
    finally:
        grouped.delete()


def test_after_a_mark_nothing_is_selected(dataset_with_run: fo.Dataset) -> None:
    """The form and the result name the file and show it; the next mark is of what is selected for it."""
    from fiftyone.operators.executor import Executor

    from plugin_calls import operator

    opened = dataset_with_run.last()
    request = {
        "dataset_name": dataset_with_run.name,
        "view": [],
        "params": {},
        "extended": {},
        "selected": [dataset_with_run.first().id],
        "current_sample": opened.id,
        "active_fields": ["segad_score"],
    }
    context = ExecutionContext(request, operator_uri="@segad/anomaly/mark_normal", executor=Executor())
    mark = operator("mark_normal")
    properties = mark.resolve_input(context).to_json()["type"]["properties"]
    assert "/5.png" in properties["selection"]["view"]["label"]
    assert properties["picture0"]["default"].startswith("data:image/jpeg")
    result = mark.execute(context)
    assert "/5.png" in result["selection"]
    assert len(result["pictures"]) == 1
    triggers = {
        entry["operator_uri"].split("/")[-1]: entry["params"] for entry in context.executor.to_json()["requests"]
    }
    assert {"clear_selected_samples", "clear_selected_labels"} <= triggers.keys()
    assert triggers["set_active_fields"]["fields"] == ["segad_score", "segad_review"]
    assert [mark.sample_id for mark in segad.list_marks(dataset_with_run, "segad")] == [opened.id]
