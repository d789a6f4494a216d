"""The panel Review in a real browser and what is beside it: the grid, an open sample, alarms that are not sent yet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import fiftyone as fo
import pytest

import fiftyone_segad as segad
from app_page import app_page, first_box, needs_chromium, open_dataset, wait_until_idle
from fiftyone_segad.review.alarms import Alarm, read_alarms
from spotted_dataset import GOOD, spotted_dataset

pytestmark = [pytest.mark.browser, pytest.mark.slow, needs_chromium]

REVIEW = '[data-cy="segad-review"]'


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Iterator[fo.Dataset]:
    made = spotted_dataset(tmp_path_factory.mktemp("spots"), "segad-beside-test")
    yield made
    made.delete()


@pytest.fixture(scope="module")
def page(dataset: fo.Dataset) -> Iterator[Any]:
    with app_page(dataset, panel=False) as made:
        yield made


def alarms_of(dataset: fo.Dataset) -> list[Alarm]:
    dataset.reload()
    return read_alarms(dataset, segad.load_run(dataset, "segad"))


def shown_image(page: Any) -> str:
    return page.locator('[data-cy="segad-alarm"] figcaption').inner_text()


def wait_for_image(page: Any, name: str) -> None:
    page.locator('[data-cy="segad-alarm"] figcaption', has_text=name).wait_for()


def test_beside_an_open_sample_its_alarms_are_shown(page: Any, dataset: fo.Dataset) -> None:
    """The arrows of the App lead from sample to sample, and the panel follows; it tells of one without alarms."""
    wait_until_idle(page)
    tile = first_box(page)
    page.mouse.click(tile["x"] + tile["width"] / 2, tile["y"] + tile["height"] - 12)
    modal = page.locator('[data-cy="modal"]')
    modal.get_by_text("Review", exact=True).click()
    page.get_by_text("The open image has no alarm").wait_for()
    names = [path.rsplit("/", 1)[-1] for path in dataset.values("filepath")]
    for _ in range(GOOD):
        modal.locator('[data-cy="nav-right-button"]').click()
        wait_until_idle(page)
    wait_for_image(page, names[GOOD])
    for step, name in (("right", names[GOOD + 1]), ("right", names[GOOD + 2]), ("left", names[GOOD + 1])):
        modal.locator(f'[data-cy="nav-{step}-button"]').click()
        wait_for_image(page, name)
    assert page.locator('[data-cy="segad-elsewhere"]').count() == 0
    page.reload()  # the tab remembers a place in the queue; the open sample counts more
    modal.get_by_text("Review", exact=True).click()
    wait_for_image(page, names[GOOD + 1])
    page.mouse.click(10, 600)  # beside it; the Escape key is taken by whatever has the focus
    modal.wait_for(state="detached")


def test_a_queue_that_is_too_long_comes_piece_by_piece(page: Any, dataset: fo.Dataset) -> None:
    """The browser asks for 20 alarms instead of 5,000; all of them are gone through by keys."""
    alarms = alarms_of(dataset)

    def shorten(route: Any) -> None:
        body = route.request.post_data or ""
        route.continue_(post_data=body.replace('"most":5000', '"most":20'))

    page.route("**/operators/execute", shorten)
    open_dataset(page, dataset.name, panel=False)
    page.locator('[data-cy="new-panel-btn"]').first.click()
    page.get_by_text("Review", exact=True).first.click()
    page.get_by_text(f"20 of 20 open, the first 20 of {len(alarms)}").wait_for()
    page.locator(REVIEW).hover()
    held = 0
    while held < len(alarms):
        fresh = min(20, len(alarms) - held)
        held += fresh
        first = f", the first {held} of {len(alarms)}" if held < len(alarms) else ""
        page.get_by_text(f"{fresh} of {held} open{first}", exact=True).wait_for()
        for _ in range(fresh):
            page.keyboard.press("d")
    page.get_by_text(f"0 of {len(alarms)} open", exact=True).wait_for()
    page.wait_for_function(f"!document.querySelector('{REVIEW}').innerText.includes('writing')")
    dataset.reload()
    marks = segad.list_marks(dataset, "segad")
    assert {(mark.sample_id, mark.box) for mark in marks} == {(alarm.sample_id, tuple(alarm.box)) for alarm in alarms}
    assert len(marks) == len(alarms) and {mark.label for mark in marks} == {"anomalous"}
    page.unroute_all(behavior="ignoreErrors")


def test_the_grid_shows_what_was_learnt_and_the_place_is_kept(page: Any, dataset: fo.Dataset) -> None:
    segad.unmark(dataset, "segad")
    page.evaluate("sessionStorage.clear()")
    open_dataset(page, dataset.name, panel=False)
    if page.locator(REVIEW).count() == 0:
        page.locator('[data-cy="new-panel-btn"]').first.click()
        page.get_by_text("Review", exact=True).first.click()
    page.locator('[data-cy="segad-alarm"]').wait_for()
    page.locator(REVIEW).hover()
    grid = page.locator('[data-cy="fo-grid"]')
    before = [f"{score:.3f}".rstrip("0") for score in dataset.values("segad_score")]
    grid.get_by_text(before[-1]).wait_for()
    page.keyboard.press("d")
    page.keyboard.press("d")
    looked = alarms_of(dataset)[2]
    page.locator(f'[data-alarm="{looked.id}"]').wait_for()
    page.keyboard.press("l")
    page.get_by_text("Learnt 2 marks").wait_for()
    dataset.reload()
    after = [f"{score:.3f}".rstrip("0") for score in dataset.values("segad_score")]
    assert after[-1] not in before
    grid.get_by_text(after[-1]).wait_for()
    assert shown_image(page) == looked.filepath.rsplit("/", 1)[-1]
    x, y, *_ = looked.box
    same = min(
        (alarm for alarm in alarms_of(dataset) if alarm.sample_id == looked.sample_id),
        key=lambda alarm: abs(alarm.box[0] - x) + abs(alarm.box[1] - y),
    )
    page.locator(f'[data-alarm="{same.id}"]').wait_for()
