"""The panel Review in a real browser and what is beside it: the grid, an open sample, alarms that are not sent yet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import fiftyone as fo
import numpy as np
import pytest

import fiftyone_segad as segad
from app_page import app_page, button, close, execute, first_box, needs_chromium, open_dataset, wait_until_idle
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


def open_first(page: Any) -> Any:
    """Open the first sample of the grid."""
    tile = first_box(page)
    page.mouse.click(tile["x"] + tile["width"] / 2, tile["y"] + tile["height"] - 12)
    return page.locator('[data-cy="modal"]')


def test_beside_an_open_sample_its_alarms_are_shown(page: Any, dataset: fo.Dataset) -> None:
    """The arrows of the App lead from sample to sample, and the panel follows; it tells of one without alarms."""
    wait_until_idle(page)
    modal = open_first(page)
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


def spotted_scores(dataset: fo.Dataset) -> Any:
    """The scores of the first two spotted images."""
    dataset.reload()
    return np.array(dataset.values("segad_score")[GOOD : GOOD + 2])


def wait_for_beside(page: Any, field: str, line: int, expected: str) -> None:
    """Wait until the sidebar of the open sample shows a text so many lines below the name of a field."""
    sidebar, shown = page.locator('[data-cy="modal"] [data-cy="sidebar"]'), ""
    for _ in range(60):
        lines = sidebar.inner_text().split("\n")
        shown = lines[lines.index(field) + line] if field in lines else ""
        if shown == expected:
            return
        page.wait_for_timeout(500)
    assert shown == expected


def wait_for_score(page: Any, score: float) -> None:
    wait_for_beside(page, "segad_score", -1, f"{score:.3f}".rstrip("0"))


def test_open_samples_show_what_was_learnt(page: Any, dataset: fo.Dataset) -> None:
    """The open one at once, and one that was open before when it is opened again; learnt in either panel."""
    segad.unmark(dataset, "segad")
    segad.mark_normal(dataset.skip(GOOD + 2).limit(1), "segad")
    open_dataset(page, dataset.name, panel=False)
    modal = open_first(page)
    for _ in range(GOOD + 1):
        modal.locator('[data-cy="nav-right-button"]').click()
        wait_until_idle(page)
    before = spotted_scores(dataset)
    wait_for_score(page, before[1])
    modal.get_by_text("Review", exact=True).click()
    modal.locator('[data-cy="segad-alarm"]').wait_for()
    modal.locator(REVIEW).hover()
    page.keyboard.press("l")
    modal.get_by_text("Learnt 1 mark,").wait_for()
    learnt = spotted_scores(dataset)
    assert abs(learnt - before).min() > 0.001
    wait_for_score(page, learnt[1])
    modal.locator('[data-cy="nav-left-button"]').click()
    wait_for_score(page, learnt[0])
    segad.unmark(dataset, "segad")
    modal.get_by_text("Anomaly triage", exact=True).click()
    button(modal, "Normal").click()
    execute(page, "Marks of the run")
    close(page)
    wait_for_beside(page, "segad_review", 1, "1")
    button(modal, "Rescore").click()
    page.get_by_text("1 mark says 'normal'").wait_for()
    execute(page, "Marks learnt")
    close(page)
    unlearnt = spotted_scores(dataset)
    assert abs(unlearnt - learnt).min() > 0.001
    wait_for_score(page, unlearnt[0])
