"""The tab *Families* of the panel, and the operators that it leads to."""

from __future__ import annotations

from pathlib import Path

import fiftyone as fo
import pytest

import fiftyone_segad as segad
from kinds_of_defects import EACH, GREEN, add_picture
from panel_page import Page
from plugin_calls import REFUSED, form, run


@pytest.fixture
def dataset(dataset_with_kinds: fo.Dataset) -> fo.Dataset:
    return dataset_with_kinds


@pytest.fixture
def page(dataset: fo.Dataset) -> Page:
    made = Page(dataset)
    made.state["tab"] = "families"
    made.send("choose_tab", value="families")
    return made


def test_the_tab_finds_families_then_shows_a_strip_of_each(dataset: fo.Dataset, page: Page) -> None:
    assert "no_families" in page.drawn and "find_families" in page.drawn
    assert run("find_families", dataset, key="segad")["families"] == 2
    page.send("poll")
    assert not {"no_families", "family2"} & set(page.drawn)
    for number in range(2):
        crops = page.drawn[f"family{number}"]["type"]["properties"]
        assert len(crops) == 5
        assert page.data[f"family{number}.crop0"].startswith("data:image/jpeg")
        buttons = page.drawn[f"family{number}_buttons"]["type"]["properties"]
        assert list(buttons) == [
            "show", "name_family", "merge_families", "split_family", "mark_family_normal", "mark_family_anomalous",
        ]  # fmt: skip


def test_a_click_shows_the_regions_of_a_family_those_that_fit_least_first(dataset: fo.Dataset, page: Page) -> None:
    families = segad.find_families(dataset, "segad")
    page.send("poll")
    family = families.families[1]
    answer = dict(page.ask("show_family", family=family.label))
    view = fo.DatasetView._build(dataset, answer["set_view"]["view"])
    assert view.values("id") == family.region_ids[::-1]
    assert view._dataset.media_type == "image" and view.patches_field == "segad_regions"


def test_the_panel_says_first_that_an_alarm_is_of_a_kind_never_seen_before(dataset: fo.Dataset, tmp_path: Path) -> None:
    segad.find_families(dataset, "segad")
    assert "note0" not in Page(dataset).drawn
    add_picture(dataset, tmp_path / "green.png", GREEN)
    segad.score_new(dataset, "segad")
    page = Page(dataset)
    notes = [value["view"]["label"] for name, value in page.drawn.items() if name.startswith("note")]
    assert any("1 region of a kind never seen before: look at them in the tab 'Families'" in note for note in notes)
    page.state["tab"] = "families"
    page.send("choose_tab", value="families")
    assert page.drawn["family0_title"]["default"].startswith("**Never seen before**")


def test_the_panel_says_what_is_known_of_a_family(dataset: fo.Dataset) -> None:
    dataset.set_values(
        "defect", [fo.Classification(label="good" if kind == "blue" else kind) for kind in dataset.values("kind")]
    )
    families = segad.find_families(dataset, "segad")
    segad.name_family(dataset, "segad", families.families[0].label, "*rust*")
    other = Page(dataset)
    other.state["tab"] = "families"
    other.send("choose_tab", value="families")
    titles = [other.drawn[f"family{number}_title"]["default"] for number in range(2)]
    assert any(title.startswith("**\\*rust\\***") for title in titles)
    assert any(f"{EACH} on defective images, 0 on good ones" in title for title in titles)
    assert any(f"0 on defective images, {EACH} on good ones" in title for title in titles)


def test_families_are_edited_and_marked_by_operators(dataset: fo.Dataset) -> None:
    first, second = run("find_families", dataset, key="segad")["labels"]
    assert list(form("name_family", dataset, key="segad", family=second)) == ["key", "family", "name"]
    assert "stain" in run("name_family", dataset, key="segad", family=first, name="stain")["labels"]
    assert run("merge_families", dataset, key="segad", family="stain", other=second)["labels"] == ["stain"]
    assert len(run("split_family", dataset, key="segad", family="stain")["labels"]) == 2
    result = run("mark_family", dataset, key="segad", family="stain", label="normal")
    assert result["marked"] == EACH - result["left_out"] == len(segad.list_marks(dataset, "segad", "normal"))


def test_forms_say_that_families_are_to_be_found_first(dataset: fo.Dataset) -> None:
    shown = form("name_family", dataset, key="segad")
    assert "no_families" in shown and "Find families of regions" in str(shown["no_families"])
    with pytest.raises(REFUSED, match="no_families"):
        run("name_family", dataset, key="segad", family="family 1", name="stain")


def test_operators_refuse_what_they_cannot_do(dataset: fo.Dataset) -> None:
    run("find_families", dataset, key="segad")
    for operator, params in {
        "name_family": {"family": "rust", "name": "dust"},
        "merge_families": {"family": "family 1"},
        "split_family": {},
        "mark_family": {"family": "family 1", "label": "odd"},
    }.items():
        with pytest.raises(REFUSED):
            run(operator, dataset, key="segad", **params)
    assert not segad.list_marks(dataset, "segad")
