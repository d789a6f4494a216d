"""The triage panel in a real browser: what it offers, outcomes, families, days, lines, and a run judging one picture.

With the variable ``SEGAD_PICTURES`` set, the pictures of families in docs/app.md are made anew.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import pytest
from fiftyone import ViewField as F
from PIL import Image, ImageColor

import fiftyone_segad as segad
from app_page import (
    app_page,
    button,
    close,
    execute,
    needs_chromium,
    open_dataset,
    open_form,
    select_first,
    wait_until_idle,
)
from conftest import ROOT
from fiftyone_segad.plugin.trial import DATASET
from fiftyone_segad.review.families import list_families
from fiftyone_segad.review.triage import read_score_table
from fiftyone_segad.runs.contours import COLOURS

pytestmark = [pytest.mark.browser, pytest.mark.slow, needs_chromium]


@pytest.fixture(scope="module")
def dataset(sample_category: Path) -> Iterator[fo.Dataset]:
    """A run with an evaluation and with the families of its regions; all defects were seen on the second day."""
    made = segad.load_mvtec(sample_category, name="segad-offers-test", persistent=True)
    days = [datetime(2026, 5, 1 + (label != "good"), 8) for label in made.values("defect.label")]
    made.set_values("captured", days)
    segad.compute_segment_anomalies(made, reference=made.match(F("split") == "train"), embedder="efficientnet")
    segad.find_families(made, "segad")
    segad.evaluate_anomalies(made.match(F("split") == "test"), "segad", eval_key="eval")
    yield made
    made.delete()


@pytest.fixture(scope="module")
def page(dataset: fo.Dataset) -> Iterator[Any]:
    with app_page(dataset) as made:
        made.get_by_text("images by").first.wait_for()
        yield made


def picture(page: Any, name: str) -> None:
    """Keep a picture for the documents, if it was asked for."""
    if "SEGAD_PICTURES" in os.environ:
        page.wait_for_timeout(10_000)  # until the grid shows its images
        page.screenshot(path=ROOT / "docs" / "app" / f"{name}.jpg", type="jpeg", quality=60)


def wait_for_ticks(page: Any, **fields: bool) -> None:
    """Wait until the boxes of some fields in the sidebar are ticked, or are not."""
    for name, ticked in fields.items():
        state = ":checked" if ticked else ":not(:checked)"
        page.locator(f'[data-cy="checkbox-{name}"] input{state}').first.wait_for(state="attached")


def show_all(page: Any, dataset: fo.Dataset) -> None:
    button(page, "All").click()
    page.get_by_text(f"{len(dataset)} samples").first.wait_for()


def test_outcomes_are_groups_of_patches_that_say_what_they_are(page: Any, dataset: fo.Dataset) -> None:
    wait_for_ticks(page, eval_regions=False)
    button(page, "By outcome").click()
    outcomes = len(dataset.distinct("eval_regions.detections.label"))
    assert outcomes
    words = "1 group of patch" if outcomes == 1 else f"{outcomes} groups of patches"
    page.get_by_text(words).first.wait_for()
    wait_for_ticks(page, eval_regions=True)
    show_all(page, dataset)


def test_a_day_opens_from_the_tab_over_time(page: Any, dataset: fo.Dataset) -> None:
    defective = dataset.match(F("defect.label") != "good")
    page.get_by_text("Over time", exact=True).first.click()
    page.get_by_role("combobox").filter(has_text="created_at").click()
    page.get_by_role("option", name="captured").click()
    for day in ("2026-05-01", "2026-05-02"):
        page.locator(".js-plotly-plot").get_by_text(day, exact=True).wait_for()
    bars = page.locator(".js-plotly-plot .barlayer .point path")
    bars.last.scroll_into_view_if_needed()
    wait_until_idle(page)
    bar = max((path.bounding_box() for path in bars.all()), key=lambda box: box["height"])
    page.mouse.click(bar["x"] + bar["width"] / 2, bar["y"] + bar["height"] / 2)
    page.get_by_text(f"{len(defective)} samples").first.wait_for()
    page.get_by_role("combobox").filter(has_text=re.compile("^day$")).click()
    page.get_by_role("option", name="month").click()
    page.locator(".js-plotly-plot").get_by_text("2026-05", exact=True).wait_for()
    page.locator(".js-plotly-plot").get_by_text("2026-05-01", exact=True).wait_for(state="detached")
    page.get_by_text("Scores", exact=True).click()
    show_all(page, dataset)


def yellow(page: Any) -> int:
    """Count the pixels of the grid that have the colour of the lines of the lowest level, or nearly so."""
    grid = Image.open(io.BytesIO(page.locator('[data-cy="fo-grid"]').screenshot())).convert("RGB")
    colour = ImageColor.getrgb(COLOURS["yellow"])
    return int((abs(np.asarray(grid).astype(int) - colour).max(axis=-1) < 60).sum())


def test_maps_become_lines_and_heatmaps_again(page: Any, dataset: fo.Dataset) -> None:
    wait_until_idle(page)
    before = yellow(page)
    button(page, "Lines instead of heatmaps").click()
    page.get_by_text("Images with lines").first.wait_for()
    close(page)
    dataset.reload()
    assert dataset.count("segad_contours.polylines")
    page.get_by_text("Lines: above").wait_for()
    wait_for_ticks(page, segad_contours=True, segad_map=False)
    for _ in range(60):  # the grid draws its images one by one
        if yellow(page) > 2 * before:
            break
        page.wait_for_timeout(500)
    assert yellow(page) > 2 * before
    button(page, "Heatmaps instead").click()
    wait_for_ticks(page, segad_contours=False, segad_map=True)
    page.get_by_text("Map: clear below the pixel threshold").wait_for()


def test_families_are_shown_in_both_themes_and_open_as_patches(page: Any, dataset: fo.Dataset) -> None:
    families = list_families(dataset, "segad")
    largest = max(families.families, key=lambda family: family.size)
    page.get_by_text("Families", exact=True).first.click()
    page.get_by_text("Regions that look alike, largest family first").wait_for()
    page.locator('img[alt^="fit"]').first.wait_for()
    wait_until_idle(page)
    assert page.get_by_text(f"{largest.label}:").first.is_visible()
    picture(page, "8-families")
    page.locator('[data-testid="LightModeIcon"], [aria-label*="light" i]').first.click()
    picture(page, "9-families-light")
    page.locator('[data-testid="DarkModeIcon"], [aria-label*="dark" i]').first.click()
    button(page, f"{largest.size} regions").click()
    page.get_by_text(f"{largest.size} patches").first.wait_for()
    show_all(page, dataset)
    page.get_by_text("Scores", exact=True).click()
    page.get_by_text("Threshold", exact=True).wait_for()


def make_poor(page: Any, dataset: fo.Dataset) -> None:
    """Flag two images alone, as another person might; the page finds out by itself."""
    scores = sorted(dataset.values("segad_score"))
    segad.set_threshold(dataset, "segad", (scores[-2] + scores[-3]) / 2)
    page.reload()
    button(page, "2 flagged").wait_for()


def take_offer(page: Any, label: str) -> None:
    page.get_by_role("button", name=label).click()
    page.get_by_text("Images scored").first.wait_for()
    close(page)
    page.get_by_role("button", name=label).wait_for(state="detached")


def test_the_best_f1_is_one_click_away(page: Any, dataset: fo.Dataset) -> None:
    make_poor(page, dataset)
    best = read_score_table(dataset, segad.load_run(dataset, "segad")).best_f1()
    assert best is not None
    take_offer(page, f"Best F1: {best[0]:.2f} at {best[1]:.3g}")
    dataset.reload()
    assert segad.load_run(dataset, "segad").thresholds.image == best[1]
    flagged = len(dataset.match(F("segad_pred.label") == "anomalous"))
    assert flagged > 2
    button(page, f"{flagged} flagged").wait_for()


def test_five_percent_of_false_alarms_are_one_click_away(page: Any, dataset: fo.Dataset) -> None:
    make_poor(page, dataset)
    take_offer(page, "5 % false alarms")
    dataset.reload()
    assert segad.load_run(dataset, "segad").thresholds.rule == "fpr:0.05"
    button(page, f"{len(dataset.match(F('segad_pred.label') == 'anomalous'))} flagged").wait_for()


def test_a_run_judges_one_picture(page: Any, dataset: fo.Dataset) -> None:
    """The last test: it leaves the dataset for that of trials."""
    dataset.reload()
    highest = dataset.sort_by("segad_score", reverse=True).first()
    threshold = segad.load_run(dataset, "segad").thresholds.image
    button(page, "Highest").click()
    page.get_by_text("Limit", exact=True).first.wait_for(state="attached")
    select_first(page)
    open_form(page, "Anomalies: try one image")
    page.get_by_text(f"The selected sample: {Path(highest.filepath).name}").wait_for()
    page.get_by_text("The normal images of a run").click()
    page.get_by_text("Its bank and its threshold; it stays as it is").wait_for()
    execute(page, "Decision")
    try:
        score = f"{highest.segad_score:.3g}"
        page.get_by_text(f"anomalous: its score {score} is above the threshold {threshold:.3g}").wait_for()
        page.get_by_role("button", name="Close", exact=True).last.click()
        page.locator(".MuiDialog-container").wait_for(state="detached")
        sidebar = page.locator('[data-cy="modal"] [data-cy="sidebar"]')
        sidebar.get_by_text(f"{highest.segad_score:.3f}".rstrip("0"), exact=True).wait_for()
        tried = fo.load_dataset(DATASET).one(F("filepath") == highest.filepath)
        assert tried.segad_score == highest.segad_score
        assert len(tried.segad_regions.detections) == len(highest.segad_regions.detections)
    finally:
        open_dataset(page, dataset.name, panel=False)
        fo.delete_dataset(DATASET)
