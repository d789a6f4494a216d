"""Ways through the App beside triage: another run, a light theme, one picture, a run in the background."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import pytest
from fiftyone import ViewField as F
from fiftyone.operators.delegated import DelegatedOperationService
from PIL import Image

import fiftyone_segad as segad
from app_page import MINUTE, app_page, button, close, execute, needs_chromium, open_dataset, open_form, wait_until_idle
from conftest import needs_fastdup
from fiftyone_segad.plugin.trial import DATASET
from fiftyone_segad.registry.sidebar import show_run

pytestmark = [pytest.mark.browser, pytest.mark.slow, needs_fastdup, needs_chromium]

NAME = "segad-runs-test"
FLAGGED = {"coarse": 3, "fine": 1}


@pytest.fixture(scope="module")
def dataset(sample_category: Path) -> Iterator[fo.Dataset]:
    """Eight test images with two runs, of which one flags more than the other."""
    made = segad.load_mvtec(sample_category, name=NAME, persistent=True)
    test = made.match(F("split") == "test").sort_by("filepath").values("id")
    made.delete_samples(made.exclude(test[::4]).values("id"))
    options: dict[str, Any] = {"method": "within_image", "embedder": "fastdup", "progress": False}
    for key, grid in (("coarse", 3), ("fine", 5)):
        segad.compute_segment_anomalies(made, key=key, segments=f"grid:{grid}", **options)
        scores = sorted(made.values(f"{key}_score"), reverse=True)
        segad.set_threshold(made, key, (scores[FLAGGED[key] - 1] + scores[FLAGGED[key]]) / 2)
    yield made
    made.delete()


@pytest.fixture(scope="module")
def page(dataset: fo.Dataset) -> Iterator[Any]:
    # Without it FiftyOne's own App offers no execution in the background; the App's server inherits it
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIFTYONE_ALLOW_LEGACY_ORCHESTRATORS", "true")
        with app_page(dataset) as made:
            made.get_by_text("images by").wait_for()
            yield made


def picture(page: Any, name: str) -> None:
    """Keeps a picture to look at, if a folder for it is named."""
    if "SEGAD_LOOK" in os.environ:
        page.screenshot(path=Path(os.environ["SEGAD_LOOK"]) / f"{name}.png")


def choose(page: Any, run: str) -> None:
    page.get_by_role("combobox").last.click()
    page.get_by_role("option", name=run, exact=True).click()


def test_the_newest_run_is_shown_and_another_one_can_be_chosen(page: Any, dataset: fo.Dataset) -> None:
    page.get_by_role("button", name="1 flagged").wait_for()
    choose(page, "coarse")
    page.get_by_role("button", name="3 flagged").click()
    page.get_by_text("3 samples").first.wait_for()
    picture(page, "run")
    page.reload()
    page.get_by_role("button", name="3 flagged").wait_for()  # it is still that run
    button(page, "All").click()
    page.get_by_text(f"{len(dataset)} samples").first.wait_for()
    choose(page, "fine")
    page.get_by_role("button", name="1 flagged").wait_for()


def luminance(colour: Any) -> float:
    """Of red, green and blue from 0 to 255; from 0 to 1, as for contrast ratios."""
    parts = np.array([float(part) for part in colour]) / 255
    linear = np.where(parts <= 0.03928, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def colour_of(element: Any, kind: str) -> list[str]:
    """Red, green and blue of an element, which may be drawn anew meanwhile and then has none."""
    for _ in range(50):
        colour = element.evaluate(f"each => getComputedStyle(each).{kind}")
        if colour.startswith("rgb"):
            return colour[colour.index("(") + 1 : -1].split(",")[:3]
    raise AssertionError(f"no {kind}: {colour!r}")


def test_everything_can_be_read_in_the_light_theme(page: Any) -> None:
    page.get_by_title("Light mode").click()
    page.get_by_title("Dark mode").wait_for()
    wait_until_idle(page)  # the plot is drawn anew
    picture(page, "light")
    pixels = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB"))
    background = luminance(np.median(pixels[300:, -400:].reshape(-1, 3), axis=0))  # most of the panel
    assert background > 0.8
    texts = {
        "button": (button(page, "1 flagged"), "color"),
        "words": (page.get_by_text("images by").first, "color"),
        "axis": (page.locator(".xtick text").first, "fill"),
        "legend": (page.locator(".legendtext").first, "fill"),
    }
    for name, (element, kind) in texts.items():
        colour = colour_of(element, kind)
        # 3 is what WCAG asks of large text and parts of figures
        assert (background + 0.05) / (luminance(colour) + 0.05) > 3, f"{name} is {colour}"
    page.get_by_title("Dark mode").click()
    page.get_by_title("Light mode").wait_for()


def test_a_scheduled_run_is_followed_to_its_end_in_the_panel(page: Any, dataset: fo.Dataset) -> None:
    open_form(page, "Anomalies: compute segment anomalies")
    page.get_by_text("within_image:").click()
    page.locator('input[value="segad"]').first.fill("later")
    wait_until_idle(page)
    page.locator('[aria-label="split button"] button').last.click()
    page.get_by_text("Schedule", exact=True).click()
    wait_until_idle(page)
    page.get_by_role("button", name="Schedule").first.click()
    service = DelegatedOperationService()
    for _ in range(60):
        waiting = service.list_operations(dataset_name=dataset.name)
        if waiting:
            break
        page.wait_for_timeout(500)
    (operation,) = waiting
    assert operation.run_state == "queued"
    picture(page, "scheduled")
    page.keyboard.press("Escape")
    dataset.reload()
    assert "later" not in segad.list_runs(dataset), "it only waits"
    worker = threading.Thread(target=service.execute_queued_operations, kwargs={"dataset_name": dataset.name})
    worker.start()  # as `fiftyone delegated launch` does
    try:
        page.get_by_text("Running 'later': ").wait_for()
        picture(page, "running")
    finally:
        worker.join()
    (operation,) = service.list_operations(dataset_name=dataset.name)
    assert operation.run_state == "completed"
    page.get_by_text("Running 'later': ").wait_for(state="detached")
    page.get_by_role("combobox").last.get_by_text("later").wait_for()  # the panel shows it by itself
    dataset.reload()
    assert segad.load_run(dataset, "later").scored == len(dataset)
    service.delete_operation(operation.id)


def drawn(page: Any, box: list[float], channel: int) -> float:
    """The share of a box's edge, within the opened image, that is drawn in red (0) or green (1)."""
    canvas = page.locator('[data-cy="modal"] canvas').first.bounding_box()
    pixels = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB")).astype(int)
    side = min(canvas["width"], canvas["height"])  # the picture is square, and in the middle
    left = canvas["x"] + (canvas["width"] - side) / 2 + box[0] * side
    top = canvas["y"] + (canvas["height"] - side) / 2 + box[1] * side
    size = box[2] * side
    others = [each for each in range(3) if each != channel]
    coloured = pixels[..., channel] - pixels[..., others].max(axis=2) > 60
    found = [
        coloured[int(top + part * size), int(edge) - 6 : int(edge) + 7].any()
        for part in np.linspace(0.2, 0.8, 13)
        for edge in (left, left + size)
    ]
    return float(np.mean(found))


def test_one_picture_from_upload_to_its_red_segments(page: Any, sample_category: Path) -> None:
    open_form(page, "Anomalies: try one image")
    assert page.get_by_role("button", name="Execute").first.is_disabled(), "there is no picture yet"
    page.locator('input[type="file"]').set_input_files(sorted((sample_category / "test/hole").iterdir())[0])
    page.get_by_text("256 x 256 px").wait_for()
    slider = page.locator('input[type="range"]').last
    assert (slider.get_attribute("min"), slider.get_attribute("max"), slider.input_value()) == ("1", "10", "7")
    slider.focus()
    page.keyboard.press("ArrowLeft")
    wait_until_idle(page)  # the form is asked for anew
    execute(page, "Outlier segments (red)")
    page.locator('[data-cy="modal"]').wait_for()
    tried = fo.load_dataset(DATASET).first()
    try:
        assert tried.grid == 6
        outliers = [each.bounding_box for each in tried.outliers.detections]
        nearest = [each.bounding_box for each in tried.nearest.detections]
        assert outliers
        assert nearest
        rows = page.get_by_role("row").all_inner_texts()
        assert len(rows) == 1 + len(outliers), "the result lists each outlier beside what it is most like"
        page.get_by_role("button", name="Close", exact=True).last.click()
        page.locator(".MuiDialog-container").wait_for(state="detached")
        wait_until_idle(page)
        picture(page, "tried")
        assert all(drawn(page, box, 0) > 0.8 for box in outliers), "outliers are red"
        assert all(drawn(page, box, 1) > 0.8 for box in nearest), "what they are most like is green"
    finally:
        fo.delete_dataset(DATASET)


def test_a_dataset_that_is_opened_again_shows_the_current_run_alone(page: Any, dataset: fo.Dataset) -> None:
    dataset.reload()
    show_run(dataset, "fine")
    other = open_dataset(page.context.new_page(), dataset.name, panel=False)
    try:
        other.locator('[data-cy="checkbox-fine_score"]').first.wait_for()
        ticked = {
            box.get_attribute("data-cy").removeprefix("checkbox-")
            for box in other.locator('[data-cy^="checkbox-"]').all()
            if box.locator('input[type="checkbox"]').first.is_checked()
        }
        assert ticked == {"fine_score", "fine_pred", "fine_segments"}
    finally:
        other.close()


def test_the_sample_dataset_is_one_click_away(page: Any, sample_category: Path) -> None:
    empty = fo.Dataset("segad-empty-test", persistent=True)
    empty.add_sample(fo.Sample(filepath=str(sorted((sample_category / "test/hole").iterdir())[0])))
    other = open_dataset(page.context.new_page(), empty.name)
    try:
        button(other, "Sample dataset").click()
        other.get_by_text("made within seconds").wait_for()
        wait_until_idle(other)
        execute(other, "Problems (tag 'problem')")
        close(other)
        other.wait_for_url("**/datasets/segad-sample*", timeout=MINUTE)
        other.get_by_text("56 samples").first.wait_for()
    finally:
        other.close()
        empty.delete()
        if fo.dataset_exists("segad-sample"):
            fo.delete_dataset("segad-sample")
