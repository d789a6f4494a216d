"""The triage panel in a real browser where the threshold is poor: its offers, the outcomes, and the families.

With the variable ``SEGAD_PICTURES`` set, the pictures of families in docs/app.md are made anew.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fiftyone as fo
import pytest
from fiftyone import ViewField as F

import fiftyone_segad as segad
from app_page import app_page, button, close, needs_chromium, wait_until_idle
from conftest import ROOT
from fiftyone_segad.review.families import list_families
from fiftyone_segad.review.triage import read_score_table

pytestmark = [pytest.mark.browser, pytest.mark.slow, needs_chromium]


@pytest.fixture(scope="module")
def dataset(sample_category: Path) -> Iterator[fo.Dataset]:
    """A run with an evaluation and with the families of its regions."""
    made = segad.load_mvtec(sample_category, name="segad-offers-test", persistent=True)
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


def test_outcomes_are_groups_of_patches(page: Any, dataset: fo.Dataset) -> None:
    button(page, "By outcome").click()
    outcomes = len(dataset.distinct("eval_regions.detections.label"))
    assert outcomes
    words = "1 group of patch" if outcomes == 1 else f"{outcomes} groups of patches"
    page.get_by_text(words).first.wait_for()
    button(page, "All").click()
    page.get_by_text(f"{len(dataset)} samples").first.wait_for()


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
    button(page, "All").click()
    page.get_by_text(f"{len(dataset)} samples").first.wait_for()
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
