"""What the App shows of a run when its dataset is opened: a group of the sidebar, and the fields that are ticked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import fiftyone as fo
import pytest

import fiftyone_segad as segad
from fiftyone_segad.registry.keys import EVALUATION_FIELDS, FIELD_NAMES
from fiftyone_segad.registry.sidebar import show_run
from small_runs import compute, make_dataset

pytestmark = pytest.mark.usefixtures("colour_embedder")

FIELDS = [f"segad_{name}" for name in FIELD_NAMES]
SHOWN = ["segad_score", "segad_pred", "segad_map"]


@pytest.fixture
def dataset(dataset_of: Callable[..., fo.Dataset], pictures: list[Path]) -> fo.Dataset:
    return make_dataset(dataset_of, pictures)


def groups(dataset: fo.Dataset) -> dict[str, list[str]] | None:
    dataset.reload()
    listed = dataset.app_config.sidebar_groups
    return None if listed is None else {group.name: list(group.paths) for group in listed}


def active(dataset: fo.Dataset) -> list[str] | None:
    dataset.reload()
    fields = dataset.app_config.active_fields
    return None if fields is None else list(fields.paths)


def test_a_run_has_a_group_and_is_shown(dataset: fo.Dataset) -> None:
    compute(dataset)
    assert groups(dataset) == {"segad": FIELDS}
    assert active(dataset) == SHOWN
    segad.delete_run(dataset, "segad")
    assert groups(dataset) is None and active(dataset) is None


def test_the_original_method_shows_its_segments(dataset: fo.Dataset) -> None:
    compute(dataset, method="within_image", segments="grid:4")
    assert active(dataset) == ["segad_score", "segad_pred", "segad_segments"]


def test_the_newest_run_is_shown_or_one_that_is_chosen(dataset: fo.Dataset) -> None:
    compute(dataset)
    compute(dataset, key="again")
    assert list(groups(dataset) or {}) == ["segad", "again"]
    assert [group.expanded for group in dataset.app_config.sidebar_groups] == [False, True]
    assert active(dataset) == ["again_score", "again_pred", "again_map"]
    show_run(dataset, "segad")
    assert active(dataset) == SHOWN
    assert [group.expanded for group in dataset.app_config.sidebar_groups] == [True, False]
    segad.set_threshold(dataset, "again", 0.3)
    assert active(dataset) == SHOWN
    segad.delete_run(dataset, "segad")
    assert active(dataset) == ["again_score", "again_pred", "again_map"]
    assert list(groups(dataset) or {}) == ["again"]


def test_what_a_person_has_arranged_stays(dataset: fo.Dataset) -> None:
    dataset.app_config.sidebar_groups = [
        fo.SidebarGroupDocument(name="mine", paths=["filepath"], expanded=False),
        fo.SidebarGroupDocument(name="empty", paths=[]),
        fo.SidebarGroupDocument(name="labels", paths=["defect"]),
    ]
    dataset.app_config.active_fields = fo.ActiveFields(paths=["tags"])
    dataset.save()
    own = {"mine": ["filepath"], "empty": [], "labels": ["defect"]}
    compute(dataset)
    assert groups(dataset) == {**own, "segad": FIELDS} and active(dataset) == ["tags", *SHOWN]
    segad.delete_run(dataset, "segad")
    assert groups(dataset) == own and active(dataset) == ["tags"]
    assert dataset.app_config.sidebar_groups[0].expanded is False


def test_fields_that_a_person_has_moved_stay_there(dataset: fo.Dataset) -> None:
    compute(dataset)
    dataset.app_config.sidebar_groups = [
        fo.SidebarGroupDocument(name="mine", paths=["segad_pred", "segad_score"]),
        fo.SidebarGroupDocument(name="labels", paths=["segad_map", "segad_mask"]),  # where the App itself puts fields
        fo.SidebarGroupDocument(name="segad", paths=["segad_segments", "segad_regions"]),
    ]
    dataset.app_config.active_fields = fo.ActiveFields(paths=["segad_regions", "tags"])
    dataset.save()
    for change in (lambda: segad.set_threshold(dataset, "segad", 0.3), lambda: compute(dataset, overwrite=True)):
        change()
        assert groups(dataset) == {
            "mine": ["segad_pred", "segad_score"],
            "labels": [],
            "segad": ["segad_segments", "segad_regions", "segad_map", "segad_mask"],
        }
        assert active(dataset) == ["segad_regions", "tags"]
    segad.delete_run(dataset, "segad")
    assert groups(dataset) == {"mine": [], "labels": []} and active(dataset) == ["tags"]


def test_fields_that_a_person_does_not_want_to_see(dataset: fo.Dataset) -> None:
    dataset.app_config.active_fields = fo.ActiveFields(paths=["defect"], exclude=True)
    dataset.save()
    compute(dataset)
    segad.delete_run(dataset, "segad")
    assert active(dataset) == ["defect"] and dataset.app_config.active_fields.exclude


def test_marks_and_evaluations_have_their_places(dataset: fo.Dataset) -> None:
    compute(dataset)
    segad.mark_normal(dataset.skip(5), "segad")
    assert groups(dataset) == {"segad": [*FIELDS, "segad_review"]}
    segad.unmark(dataset, "segad")
    dataset.set_values("dents", [fo.Detections()] * 6)
    for overwrite in (False, True):
        segad.evaluate_anomalies(dataset, "segad", "dents", eval_key="judged", overwrite=overwrite)
        assert (groups(dataset) or {})["judged"] == ["judged", *(f"judged_{name}" for name in EVALUATION_FIELDS)]
        assert list(groups(dataset) or {}) == ["segad", "judged"] and active(dataset) == SHOWN
    dataset.rename_evaluation("judged", "second")
    segad.delete_evaluation(dataset, "judged")
    assert groups(dataset) == {"segad": [*FIELDS, "segad_review"]}
