"""The panel Review in a real browser: alarms by keys, by two people at once, with learning in the background.

With the variable ``SEGAD_PICTURES`` set, the pictures of docs/app.md are made anew.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fiftyone as fo
import pytest

import fiftyone_segad as segad
from app_page import COUNT_REQUESTS, app_page, needs_chromium, open_dataset, wait_until_idle
from conftest import ROOT
from fiftyone_segad.review.alarms import Alarm, read_alarms
from fiftyone_segad.review.mark_field import Mark
from spotted_dataset import spotted_dataset

pytestmark = [pytest.mark.browser, pytest.mark.slow, needs_chromium]

COUNT = 50
LABELS = {"d": "anomalous", "h": "normal"}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Iterator[fo.Dataset]:
    made = spotted_dataset(tmp_path_factory.mktemp("spots"), "segad-queue-test")
    yield made
    made.delete()


@pytest.fixture(scope="module")
def page(dataset: fo.Dataset) -> Iterator[Any]:
    with app_page(dataset, panel=False) as made:
        open_review(made)
        yield made


@pytest.fixture(autouse=True)
def nothing_marked(dataset: fo.Dataset, page: Any) -> None:
    """Begin each test with the same alarms, none of them marked, on a page that is loaded anew."""
    page.unroute_all(behavior="ignoreErrors")
    while segad.undo_review(dataset, "segad"):
        pass
    segad.unmark(dataset, "segad")
    page.evaluate("sessionStorage.clear()")
    reload(page)


def reload(page: Any) -> None:
    """Load the page anew, and open the panel where FiftyOne has not kept it open."""
    page.reload()
    page.locator('[data-cy="fo-grid"]').wait_for()
    wait_until_idle(page)
    if page.locator('[data-cy="segad-review"]').count() == 0:
        page.locator('[data-cy="new-panel-btn"]').first.click()
        page.get_by_text("Review", exact=True).first.click()
    page.locator('[data-cy="segad-open"]').wait_for()
    page.locator('[data-cy="segad-review"]').hover()


def open_review(page: Any) -> None:
    page.locator('[data-cy="new-panel-btn"]').first.click()
    page.get_by_text("Review", exact=True).first.click()
    page.locator('[data-cy="segad-alarm"]').wait_for()
    page.locator('[data-cy="segad-review"]').hover()


def alarms_of(dataset: fo.Dataset) -> list[Alarm]:
    dataset.reload()
    return read_alarms(dataset, segad.load_run(dataset, "segad"))


def marks_by_box(dataset: fo.Dataset) -> dict[tuple[Any, ...], Mark]:
    dataset.reload()
    marks = segad.list_marks(dataset, "segad")
    by_box = {(mark.sample_id, mark.box): mark for mark in marks}
    assert len(by_box) == len(marks), "an alarm is marked twice"
    return by_box


def wait_until_written(page: Any) -> None:
    page.wait_for_function("""() => {
        const panel = document.querySelector('[data-cy="segad-review"]');
        return panel && !panel.innerText.includes('writing') && !panel.innerText.includes('Not yet written');
    }""")


def keys_for(count: int) -> list[str]:
    return random.Random(3).choices("dh", k=count)


def expected_marks(alarms: list[Alarm], keys: list[str]) -> dict[tuple[Any, ...], str]:
    return {(alarm.sample_id, tuple(alarm.box)): LABELS[key] for alarm, key in zip(alarms, keys, strict=False)}


def labels(dataset: fo.Dataset) -> dict[tuple[Any, ...], str]:
    return {place: mark.label for place, mark in marks_by_box(dataset).items()}


def shows(page: Any, alarm: Alarm) -> None:
    page.locator(f'[data-cy="segad-alarm"][data-alarm="{alarm.id}"][data-ready="true"]').wait_for()


def test_one_key_rejects_a_false_alarm(page: Any, dataset: fo.Dataset) -> None:
    first, second = alarms_of(dataset)[:2]
    shows(page, first)
    page.keyboard.press("h")
    shows(page, second)
    wait_until_written(page)
    assert labels(dataset) == {(first.sample_id, tuple(first.box)): "normal"}


def test_fifty_alarms_each_looked_at(page: Any, dataset: fo.Dataset) -> None:
    alarms, keys = alarms_of(dataset), keys_for(COUNT)
    for alarm, key in zip(alarms, keys, strict=False):
        shows(page, alarm)
        page.keyboard.press(key)
    wait_until_written(page)
    assert labels(dataset) == expected_marks(alarms, keys) and len(labels(dataset)) == COUNT


def test_fifty_keys_that_are_faster_than_the_pictures(page: Any, dataset: fo.Dataset) -> None:
    """No picture comes while the keys are pressed; all marks are there, and all can be undone."""
    alarms, keys = alarms_of(dataset), keys_for(COUNT)
    late: list[Any] = []
    page.route("**/media?**", lambda route: late.append(route))
    page.reload()
    page.locator('[data-cy="segad-alarm"]').wait_for()
    page.locator('[data-cy="segad-review"]').hover()
    assert page.locator('[data-cy="segad-alarm"]').get_attribute("data-ready") == "false"
    for key in keys:
        page.keyboard.press(key)
    wait_until_written(page)
    assert labels(dataset) == expected_marks(alarms, keys) and len(labels(dataset)) == COUNT
    for _ in keys:
        page.keyboard.press("u")
    wait_until_written(page)
    page.get_by_text(f"{len(alarms)} of {len(alarms)} open").wait_for()
    assert labels(dataset) == {} and late


def test_two_people_on_one_queue(page: Any, dataset: fo.Dataset) -> None:
    """Both press keys at once, from both ends of what the other has seen: one mark an alarm, all keys accounted for."""
    other = page.context.browser.new_context(base_url=page.url.split("/datasets")[0], viewport=page.viewport_size)
    other.set_default_timeout(120_000)
    other.add_init_script(COUNT_REQUESTS)
    second = other.new_page()
    open_dataset(second, dataset.name, panel=False)
    open_review(second)
    for one, name in ((page, "ada"), (second, "bob")):
        one.get_by_placeholder("this machine's user").fill(name)
        one.locator('[data-cy="segad-review"]').focus()
    for _ in range(20):
        page.keyboard.press("h")
        second.keyboard.press("d")
    for one in (page, second):
        wait_until_written(one)
    marks = marks_by_box(dataset)
    assert {(mark.by, mark.label) for mark in marks.values()} <= {("ada", "normal"), ("bob", "anomalous")}
    alarms = alarms_of(dataset)
    places = {(alarm.sample_id, tuple(alarm.box)) for alarm in alarms[:40]}
    assert {(alarm.sample_id, tuple(alarm.box)) for alarm in alarms[:20]} <= marks.keys() <= places
    for one in (page, second):
        one.get_by_text(f"{len(alarms) - len(marks)} of {len(alarms)} open").wait_for()
    for one, name in ((page, "ada"), (second, "bob")):  # each takes back what is theirs, and nothing else
        while one.locator('[data-cy="segad-undo"]').is_enabled():
            one.keyboard.press("u")
        wait_until_written(one)
        assert not [mark for mark in marks_by_box(dataset).values() if mark.by == name]
    page.get_by_placeholder("this machine's user").fill("")
    other.close()


def test_the_place_survives_a_reload(page: Any, dataset: fo.Dataset) -> None:
    alarms = alarms_of(dataset)
    for key in "hsd":
        page.keyboard.press(key)
    shows(page, alarms[3])
    wait_until_written(page)
    reload(page)
    shows(page, alarms[3])
    page.get_by_text(f"{len(alarms) - 2} of {len(alarms)} open").wait_for()
    page.locator('[data-cy="segad-review"]').hover()
    page.keyboard.press("u")  # a person's own marks can be undone after a reload, too
    shows(page, alarms[2])
    wait_until_written(page)
    assert labels(dataset) == expected_marks(alarms, ["h"])


def test_buttons_do_what_keys_do(page: Any, dataset: fo.Dataset) -> None:
    alarms = alarms_of(dataset)
    page.locator('[data-cy="segad-defect"]').click()
    shows(page, alarms[1])
    page.locator('[data-cy="segad-previous"]').click()
    page.locator('[data-cy="segad-previous"]').click()
    shows(page, alarms[0])
    page.locator('[data-cy="segad-mark"]').wait_for()
    page.locator('[data-cy="segad-harmless"]').click()  # another decision takes the place of the first
    wait_until_written(page)
    assert labels(dataset) == expected_marks(alarms, ["h"])


def test_lines_and_views_are_a_key_each(page: Any, dataset: fo.Dataset) -> None:
    def view() -> str:
        return page.locator('[data-cy="segad-alarm"] svg').get_attribute("viewBox")

    page.locator('[data-line="outline"]').wait_for()
    page.locator('[data-cy="segad-normal"] svg').wait_for()
    for key, line in (("m", "map"), ("o", "outline")):
        assert page.locator(f'[data-line="{line}"]').count()
        page.keyboard.press(key)
        page.locator(f'[data-line="{line}"]').first.wait_for(state="detached")
    page.keyboard.press("t")
    page.locator('[data-line="truth"]').wait_for()
    region = view()
    page.keyboard.press("w")
    assert view() == "0 0 288 192"
    page.keyboard.press("w")
    assert view() == region
    page.keyboard.press("+")
    assert float(view().split()[2]) < float(region.split()[2])
    normal = page.locator('[data-cy="segad-normal"] svg').get_attribute("viewBox")
    assert normal.split()[2:] == view().split()[2:], "both at the same scale"


def picture(page: Any, name: str) -> None:
    """Keep a picture for the documents, if it was asked for."""
    if "SEGAD_PICTURES" in os.environ:
        page.wait_for_timeout(10_000)  # until the grid shows its images
        page.screenshot(path=ROOT / "docs" / "app" / f"{name}.jpg", type="jpeg", quality=60)


def least_contrast(page: Any) -> float:
    """The least contrast of text in the panel, by the formula of WCAG 2."""
    return page.evaluate("""() => {
        const panel = document.querySelector('[data-cy="segad-review"]');
        const rgb = (colour) => colour.match(/[\\d.]+/g).map(Number);
        const light = (colour) => {
            const linear = (c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
            const [r, g, b] = rgb(colour).map((c) => linear(c / 255));
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const behind = (element) => {
            const colour = getComputedStyle(element).backgroundColor;
            return (rgb(colour)[3] ?? 1) > 0.99 ? colour : behind(element.parentElement);
        };
        const written = (node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim();
        const texts = [...panel.querySelectorAll('*')].filter(
            (one) => !one.closest('style, svg, :disabled') && [...one.childNodes].some(written));
        return Math.min(...texts.map((one) => {
            const pair = [light(getComputedStyle(one).color), light(behind(one))].sort((a, b) => b - a);
            return (pair[0] + 0.05) / (pair[1] + 0.05);
        }));
    }""")


def test_both_themes_can_be_read(page: Any, dataset: fo.Dataset, sample_category: Path) -> None:
    """On the sample dataset, whose pictures the documents show."""
    category = segad.load_mvtec(sample_category, name="brick", persistent=True)
    try:
        segad.compute_segment_anomalies(category, reference=category.match({"split": "train"}), embedder="efficientnet")
        segad.find_families(category, "segad")
        page.set_viewport_size({"width": 1440, "height": 900})
        open_dataset(page, category.name, panel=False)
        open_review(page)
        page.locator('[data-cy="segad-normal"] svg').wait_for()
        assert least_contrast(page) > 4.5
        picture(page, "6-review")
        page.get_by_placeholder("this machine's user").fill("ada")
        page.locator('[data-testid="LightModeIcon"], [aria-label*="light" i]').first.click()
        page.locator('[data-cy="segad-review"]').focus()
        page.keyboard.press("d")
        page.keyboard.press("ArrowLeft")
        page.locator('[data-cy="segad-mark"]').wait_for()
        assert least_contrast(page) > 4.5
        picture(page, "7-review-light")
        page.get_by_placeholder("this machine's user").fill("")
        page.locator('[data-testid="DarkModeIcon"], [aria-label*="dark" i]').first.click()
    finally:
        category.delete()
        open_dataset(page, dataset.name, panel=False)
        open_review(page)


def test_learning_is_one_click_and_the_review_goes_on(page: Any, dataset: fo.Dataset) -> None:
    """The last test: the run is another one after it."""
    alarms = alarms_of(dataset)
    for key in "hhh":
        page.keyboard.press(key)
    page.get_by_text("3 marks not yet learnt").wait_for()
    page.locator('[data-cy="segad-learn"]').click()
    page.keyboard.press("d")
    page.get_by_text("Learnt 3 marks").or_(page.get_by_text("Learnt 4 marks")).first.wait_for()
    wait_until_written(page)
    assert {mark.label for mark in marks_by_box(dataset).values()} == {"normal", "anomalous"}
    assert len(marks_by_box(dataset)) == 4
    assert segad.load_run(dataset, "segad").settings["marks"]
    assert {alarm.id for alarm in alarms_of(dataset)}.isdisjoint(alarm.id for alarm in alarms)
    open_now = re.compile(rf"^\d+ of {len(alarms_of(dataset))} open$")
    page.get_by_text(open_now).wait_for()  # the queue is that of the run as it is now


def test_the_page_without_the_bundle_still_has_its_triage(page: Any, dataset: fo.Dataset) -> None:
    """The last test, since the panel that it opens would lie over the grid."""
    page.route("**/app/review.js*", lambda route: route.abort())
    page.reload()
    page.locator('[data-cy="fo-grid"]').wait_for()
    page.locator('[data-cy="new-panel-btn"]').first.click()
    page.get_by_text("Anomaly triage").first.click()
    page.get_by_text("images by").first.wait_for()
