"""The App in a real browser: forms, a run, and the pixels that it draws."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import pytest
from fiftyone import ViewField as F
from PIL import Image

import fiftyone_segad as segad
from app_page import MINUTE, app_page, close, execute, first_box, needs_chromium, open_form, wait_until_idle
from conftest import needs_fastdup
from fiftyone_segad.errors import RunBusyError

pytestmark = [pytest.mark.browser, needs_fastdup, needs_chromium]

NAME = "segad-app-test"


@pytest.fixture(scope="module")
def dataset(sample_category: Path) -> Iterator[fo.Dataset]:
    made = segad.load_mvtec(sample_category, name=NAME, persistent=True)
    yield made
    made.delete()


@pytest.fixture(scope="module")
def page(dataset: fo.Dataset) -> Iterator[Any]:
    with app_page(dataset, width=1400, height=900, panel=False) as made:
        yield made


def key_field(page: Any, value: str) -> Any:
    return page.locator(f'input[value="{value}"]').first


def first_tile(page: Any) -> np.ndarray:
    """The pixels of the first image of the grid as the browser draws it."""
    box = first_box(page)
    shot = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB")).astype(int)
    left, top = int(box["x"]), int(box["y"])
    return shot[top : top + int(box["height"]), left : left + int(box["width"])]


def first_tile_when(page: Any, is_right: Callable[[np.ndarray], bool]) -> np.ndarray:
    """Return the first tile once it is drawn right, or as it is after a minute and a half: pictures come one by one."""
    for _ in range(90):
        tile = first_tile(page)
        if is_right(tile):
            break
        page.wait_for_timeout(1000)
    return tile


def test_a_wrong_key_is_told_under_its_field(page: Any) -> None:
    open_form(page, "Anomalies: compute segment anomalies")
    key = key_field(page, "segad").element_handle()
    key.fill("two words")
    page.get_by_text("must be letters, digits and underscores").wait_for()
    assert page.get_by_role("button", name="Execute").first.is_disabled()
    key.fill("app")
    page.get_by_role("button", name="Execute", disabled=False).first.wait_for()
    page.get_by_role("button", name="Cancel").first.click()


def test_a_run_with_progress_ends_sorted_by_score(page: Any, dataset: fo.Dataset) -> None:
    open_form(page, "Anomalies: compute segment anomalies")
    assert page.get_by_text("10 normal images").count(), "the training split is offered by itself"
    page.get_by_role("button", name="Execute").first.click()
    page.get_by_text("Running 'segad': ").first.wait_for()
    page.get_by_text("Images scored").first.wait_for(timeout=5 * MINUTE)
    close(page)
    dataset.reload()
    assert segad.load_run(dataset, "segad").scored == len(dataset)
    assert page.get_by_text("SortBy").count(), "the view is sorted"
    assert page.get_by_text("segad_score").count() >= 2, "in the view bar and in the sidebar"


def test_the_heatmap_is_hot_where_the_map_is(page: Any, dataset: fo.Dataset) -> None:
    dataset.reload()
    worst = dataset.exists("segad_score").sort_by("segad_score", reverse=True).first()
    heat = np.asarray(Image.open(worst.segad_map.map_path)).astype(float)

    def medians(tile: np.ndarray) -> tuple[float, float]:
        shown = slice(0, int(len(tile) * 0.8))  # labels are drawn over the lower part
        colour, expected = colourfulness(tile)[shown], shown_as(tile.shape[:2], heat)[shown]
        return float(np.median(colour[expected > 200])), float(np.median(colour[expected == 0]))

    hot, cold = medians(first_tile_when(page, lambda tile: medians(tile)[0] > 60))
    assert hot > 60, "the hot spot is coloured"
    assert cold < 20, "what is normal stays clear"


def colourfulness(drawn: np.ndarray) -> np.ndarray:
    """How far pixels are from grey; the pictures are grey, so that all colour is what is drawn over them."""
    return drawn.max(axis=2) - drawn.min(axis=2)


def shown_as(shape: tuple[int, int], picture: np.ndarray) -> np.ndarray:
    """A picture at the size at which the browser draws it."""
    rows = np.arange(shape[0]) * picture.shape[0] // shape[0]
    columns = np.arange(shape[1]) * picture.shape[1] // shape[1]
    return picture[rows][:, columns]


def show_only(page: Any, dataset: fo.Dataset, field: str) -> None:
    """Tick one label field in the sidebar; nothing else is drawn over the images then."""
    for name in ("segad_score", "segad_pred", "segad_map", "segad_mask", "segad_regions"):
        box = page.locator(f'[data-cy="checkbox-{name}"]').first
        box.scroll_into_view_if_needed()
        if box.locator("input").is_checked() != (name == field):
            box.click()
            page.wait_for_timeout(2000)  # FiftyOne's tiles fail if a field is ticked while they are loading


def reddish(drawn: np.ndarray) -> np.ndarray:
    """Where the browser has drawn red over the grey pictures."""
    return (drawn[..., 0] - drawn[..., 1:].max(axis=2)) > 40


def test_the_mask_is_drawn_where_the_mask_is(page: Any, dataset: fo.Dataset) -> None:
    worst = dataset.exists("segad_score").sort_by("segad_score", reverse=True).first()
    show_only(page, dataset, "segad_mask")
    mask = np.asarray(Image.open(worst.segad_mask.mask_path)) > 0
    assert 0 < mask.mean() < 0.5

    def overlap(tile: np.ndarray) -> float:
        drawn, expected = reddish(tile), shown_as(tile.shape[:2], mask)
        return (drawn & expected).sum() / (drawn | expected).sum()

    tile = first_tile_when(page, lambda tile: overlap(tile) > 0.7)
    assert overlap(tile) > 0.7, "the same pixels, but for those at the edge"


def test_the_regions_are_drawn_where_they_are(page: Any, dataset: fo.Dataset) -> None:
    worst = dataset.exists("segad_score").sort_by("segad_score", reverse=True).first()
    show_only(page, dataset, "segad_regions")

    def shares(tile: np.ndarray) -> tuple[float, float]:
        """Return how much of the regions is red, and how much of what is red is in them or their boxes."""
        drawn = reddish(tile)
        height, width = drawn.shape
        inside, boxed = np.zeros_like(drawn), np.zeros_like(drawn)
        for region in worst.segad_regions.detections:
            x, y, w, h = region.bounding_box
            top, left = round(y * height), round(x * width)
            mask = shown_as((max(round(h * height), 1), max(round(w * width), 1)), region.mask)
            inside[top : top + mask.shape[0], left : left + mask.shape[1]] |= mask[: height - top, : width - left]
            boxed[max(top - 3, 0) : top + mask.shape[0] + 3, max(left - 3, 0) : left + mask.shape[1] + 3] = True
        assert inside.any()
        return drawn[inside].mean(), boxed[drawn].mean() if drawn.any() else 0

    red, within = shares(first_tile_when(page, lambda tile: shares(tile)[0] > 0.7 and shares(tile)[1] > 0.95))
    assert red > 0.7, "what belongs to a region is red"
    assert within > 0.95, "and nothing but regions and their boxes"
    show_only(page, dataset, "segad_map")


def test_evaluate_shows_its_table(page: Any) -> None:
    open_form(page, "Anomalies: evaluate a run")
    execute(page, "Image AUROC")
    assert page.get_by_text("foreign_object").count()
    close(page)


def test_the_original_method_shows_red_segments(page: Any, dataset: fo.Dataset) -> None:
    open_form(page, "Anomalies: compute segment anomalies")
    key_field(page, "segad_2").fill("grid")
    page.get_by_text("within_image:").click()
    slider = page.locator('input[type="range"][value="7"]').last
    slider.wait_for(state="attached")
    assert (slider.get_attribute("min"), slider.get_attribute("max")) == ("1", "10")
    slider.focus()
    page.keyboard.press("ArrowLeft")
    wait_until_idle(page)
    execute(page, "Images scored")
    close(page)
    dataset.reload()
    run = segad.load_run(dataset, "grid")
    assert run.settings["segments"] == "grid:6"
    odd = dataset.sort_by("grid_score", reverse=True).first()

    def red_and_inside(tile: np.ndarray) -> tuple[int, float]:
        """Return how many pixels are red, and the share of them in outlier segments."""
        upper = slice(0, int(len(tile) * 0.6))  # over the rest are two rows of labels, in any colour
        red = ((tile[..., 0] - tile[..., 1:].max(axis=2)) > 60)[upper]
        height, width = tile.shape[:2]
        inside = np.zeros((height, width), bool)
        for segment in odd.grid_segments.detections:
            if segment.label == "anomalous":
                x, y, w, h = segment.bounding_box
                inside[int(y * height) : int((y + h) * height) + 2, int(x * width) : int((x + w) * width) + 2] = True
        return red.sum(), inside[upper][red].mean() if red.any() else 0

    count, inside = red_and_inside(first_tile_when(page, lambda tile: red_and_inside(tile)[1] > 0.9))
    assert count > 50
    assert inside > 0.9, "what is red is an outlier segment"


def test_delete_asks_which_and_leaves_nothing(page: Any, dataset: fo.Dataset) -> None:
    open_form(page, "Anomalies: delete a run")
    assert page.get_by_role("button", name="Execute").first.is_disabled(), "no run is chosen beforehand"
    page.get_by_role("combobox").last.click()
    page.get_by_role("option", name="grid").click()
    page.get_by_text("This removes grid_score").wait_for()
    execute(page, "Run deleted")
    close(page)
    dataset.reload()
    assert segad.list_runs(dataset) == ["segad"]
    assert not dataset.has_sample_field("grid_score")


def test_a_closed_page_cancels_and_the_run_goes_on_later(page: Any, dataset: fo.Dataset) -> None:
    open_form(page, "Anomalies: compute segment anomalies")
    key_field(page, "segad_2").fill("later")
    wait_until_idle(page)
    page.get_by_role("button", name="Execute").first.click()
    page.get_by_text("Running 'later': ").first.wait_for()
    page.reload()
    page.wait_for_selector('[data-cy="fo-grid"]')
    test, normals = (dataset.match(F("split") == split) for split in ("test", "train"))
    for _ in range(MINUTE // 1000):
        time.sleep(1)
        dataset.reload()
        assert "later" not in segad.list_runs(dataset), "it was stopped, or should have been"
        with suppress(RunBusyError):  # it has not stopped yet
            run = segad.compute_segment_anomalies(test, key="later", reference=normals)
            break
    assert run.scored == len(test)
