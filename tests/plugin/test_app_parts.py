"""A grouped dataset in a real browser: grid and panel are on the same slice, and a button shows the flagged parts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import fiftyone as fo
import pytest

import fiftyone_segad as segad
from app_page import app_page, button, needs_chromium, select_first, wait_until_idle
from seen_parts import BAD, GOOD, grouped_parts

pytestmark = [pytest.mark.browser, pytest.mark.slow, needs_chromium]

LEFT, RIGHT = "segad_left", "segad_right"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Iterator[fo.Dataset]:
    """Both slices scored by one call, and decided on; two parts are defective, one in each slice."""
    made = grouped_parts(tmp_path_factory.mktemp("parts"))
    made.name, made.persistent = "segad-parts-test", True
    segad.compute_segment_anomalies(
        made.match_tags("test"), reference=made.match_tags("good"), segments="tiles:0.4:0.2", embedder="efficientnet"
    )
    segad.decide_parts(made, "segad", share=0.06)
    yield made
    made.delete()


@pytest.fixture(scope="module")
def page(dataset: fo.Dataset) -> Iterator[Any]:
    with app_page(dataset) as made:
        made.get_by_text("images by").wait_for()
        wait_until_idle(made)
        yield made


def run_of_panel(page: Any) -> Any:
    return page.get_by_role("combobox").last


def wait_for(page: Any, slice: str, run: str) -> None:
    """Wait until the grid shows a slice, and the panel a run."""
    page.locator(f'[data-cy="selector-slice"][value="{slice}"]').wait_for()
    run_of_panel(page).get_by_text(run, exact=True).wait_for()


def test_the_panel_follows_the_slice_of_the_grid(page: Any) -> None:
    wait_for(page, "left", LEFT)
    page.locator('[data-cy="selector-slice"]').click()
    page.get_by_text("right", exact=True).last.click()
    wait_for(page, "right", RIGHT)
    page.wait_for_timeout(4000)  # two more polls take nothing back
    wait_for(page, "right", RIGHT)


def test_the_grid_follows_the_run_of_the_panel_until_all_is_shown(page: Any, dataset: fo.Dataset) -> None:
    run_of_panel(page).click()
    page.get_by_role("option", name=LEFT, exact=True).click()
    scored = len(dataset.select_group_slices("left").exists(f"{LEFT}_score"))
    page.get_by_text(f"{scored} samples", exact=True).first.wait_for()
    wait_until_idle(page)
    select_first(page)
    highest = max(dataset.select_group_slices("left").exists(f"{LEFT}_score").values(f"{LEFT}_score"))
    button(page, f"Why is it anomalous? (score {highest:.3g})").wait_for()
    page.keyboard.press("Escape")
    run_of_panel(page).get_by_text(LEFT, exact=True).wait_for()
    button(page, "All").click()
    wait_for(page, "right", RIGHT)


def test_a_button_shows_the_flagged_parts(page: Any, dataset: fo.Dataset) -> None:
    decisions = segad.list_parts(dataset, "segad")
    flagged, decided = len(decisions.flagged), len(decisions.parts)
    assert BAD <= flagged < decided == GOOD + BAD
    button(page, f"{flagged} of {decided} parts flagged").click()
    page.get_by_text(f"{flagged} groups").first.wait_for()
    wait_until_idle(page)
    select_first(page)
