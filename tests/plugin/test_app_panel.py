"""The triage panel in a real browser: from an empty dataset to decisions.

With the variable ``SEGAD_PICTURES`` set, the pictures of docs/app.md are made anew.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import pytest
from fiftyone import ViewField as F

import fiftyone_segad as segad
from app_page import MINUTE, app_page, close, execute, needs_chromium, open_dataset, select_first, wait_until_idle
from conftest import ROOT
from fiftyone_segad.plugin import execution
from fiftyone_segad.review.score_table import ScoreTable
from fiftyone_segad.review.triage import read_score_table

pytestmark = [pytest.mark.browser, pytest.mark.slow, needs_chromium]

COUNTS = ("flagged", "hits", "false alarms", "misses", "good passed")
SINGULAR = dict(zip(COUNTS, ("flagged", "hit", "false alarm", "miss", "good passed"), strict=True))

NAME = "segad-panel-test"


@pytest.fixture(scope="module")
def dataset(sample_category: Path) -> Iterator[fo.Dataset]:
    made = segad.load_mvtec(sample_category, name=NAME, persistent=True)
    yield made
    made.delete()


@pytest.fixture(scope="module")
def page(dataset: fo.Dataset) -> Iterator[Any]:
    with app_page(dataset) as made:
        yield made


def picture(page: Any, name: str) -> None:
    """Keeps a picture for the documents, if it was asked for."""
    if "SEGAD_PICTURES" in os.environ:
        (ROOT / "docs" / "app").mkdir(exist_ok=True)
        page.wait_for_timeout(10_000)  # until the grid shows its images
        page.screenshot(path=ROOT / "docs" / "app" / f"{name}.jpg", type="jpeg", quality=60)


@pytest.fixture(scope="module")
def triage(page: Any, dataset: fo.Dataset) -> ScoreTable:
    """A run that the panel shows after a reload."""
    page.get_by_text("No run yet").wait_for()
    page.get_by_role("button", name="Compute anomalies").click()
    page.get_by_text("images will be scored").wait_for()
    picture(page, "1-compute")
    execute(page, "Images scored")
    close(page)
    page.get_by_text("images by").wait_for()  # the panel has stayed open, and shows the run
    wait_until_idle(page)
    picture(page, "2-scores")
    dataset.reload()
    scores = sorted(dataset.values("segad_score"))
    segad.set_threshold(dataset, "segad", (scores[-5] + scores[-6]) / 2)  # five are flagged
    page.reload()
    page.get_by_role("button", name="5 flagged").wait_for()
    return read_score_table(dataset, segad.load_run(dataset, "segad"))


def wait_for_all(page: Any, dataset: fo.Dataset) -> None:
    page.get_by_text(f"{len(dataset)} samples").first.wait_for()


def counts(page: Any) -> dict[str, int]:
    """The numbers on the panel's buttons."""
    found = {}
    for words in COUNTS:
        text = page.get_by_role(
            "button", name=re.compile(rf"^(1 {SINGULAR[words]}|[\d,]+ {words})$")
        ).first.inner_text()
        found[words] = int(text.split()[0].replace(",", ""))
    return found


def wait_for_counts(page: Any, expected: dict[str, int]) -> None:
    """Buttons are drawn one after the other."""
    for _ in range(60):
        if counts(page) == expected:
            return
        page.wait_for_timeout(500)
    assert counts(page) == expected


def expected(triage: ScoreTable, threshold: float) -> dict[str, int]:
    matrix = triage.confusion(threshold)
    return {
        "flagged": triage.flagged(threshold),
        "hits": matrix.tp,
        "false alarms": matrix.fp,
        "misses": matrix.fn,
        "good passed": matrix.tn,
    }


def slide(page: Any, share: float) -> float:
    """Clicks on the slider, wherever the panel is scrolled to, and returns the threshold that it then says."""
    slider = page.locator(".MuiSlider-root").last
    before = slider.locator("input").input_value()
    slider.scroll_into_view_if_needed()
    size = slider.bounding_box()
    slider.click(position={"x": share * size["width"], "y": size["height"] / 2})
    page.wait_for_function(
        "before => [...document.querySelectorAll('.MuiSlider-root input')].pop().value !== before", arg=before
    )
    return float(slider.locator("input").input_value())


def test_counts_are_those_of_the_run(page: Any, dataset: fo.Dataset, triage: ScoreTable) -> None:
    threshold = segad.load_run(dataset, "segad").thresholds.image
    wait_for_counts(page, expected(triage, threshold))
    assert counts(page)["flagged"] == 5


@pytest.mark.parametrize("words", COUNTS)
def test_each_count_sets_the_grid_to_what_it_counts(
    page: Any, dataset: fo.Dataset, triage: ScoreTable, words: str
) -> None:
    count = counts(page)[words]
    page.get_by_role("button", name=f"1 {SINGULAR[words]}" if count == 1 else f"{count} {words}", exact=True).click()
    if count:
        page.get_by_text(f"{count} sample").first.wait_for()
        page.get_by_role("button", name="All").click()
        wait_for_all(page, dataset)
    else:
        page.get_by_text("There are none").first.wait_for()


def test_a_bar_of_the_histogram_sets_the_grid(page: Any, dataset: fo.Dataset, triage: ScoreTable) -> None:
    _, bars = triage.histogram()
    totals = sum(bars.values())
    highest = int(np.flatnonzero(totals)[-1])
    wait_until_idle(page)  # a view that has just changed has the panel drawn anew
    page.locator(".barlayer .point path").first.scroll_into_view_if_needed()
    boxes = [bar.bounding_box() for bar in page.locator(".barlayer .point path").all()]
    bar = max((box for box in boxes if box and box["height"] > 2), key=lambda box: box["x"])
    page.mouse.click(bar["x"] + bar["width"] / 2, bar["y"] + bar["height"] / 2)
    page.get_by_text(f"{totals[highest]} sample").first.wait_for()
    page.get_by_role("button", name="All").click()
    wait_for_all(page, dataset)


def test_uncertain_begins_at_the_threshold(page: Any, dataset: fo.Dataset, triage: ScoreTable) -> None:
    page.get_by_role("button", name="Uncertain").click()
    page.get_by_text("SortBy").first.wait_for(state="attached")  # the bar may be too narrow for it
    wait_until_idle(page)
    threshold = segad.load_run(dataset, "segad").thresholds.image
    select_first(page)
    nearest = min(dataset.values("segad_score"), key=lambda score: abs(score - threshold))
    page.get_by_role("button", name=f"Why is it anomalous? (score {nearest:.3g})").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="All").click()
    wait_for_all(page, dataset)


def test_a_filter_of_the_sidebar_leaves_the_counts(page: Any, dataset: fo.Dataset, triage: ScoreTable) -> None:
    """They are of the run; a button clears the filter, which would hide some of what it has counted."""
    before = counts(page)
    page.locator('[data-cy="sidebar-field-arrow-enabled-split"]').click()
    page.get_by_placeholder("+ filter by split").fill("train")
    wait_until_idle(page)  # the values are looked up
    page.keyboard.press("Enter")
    page.get_by_text("10 samples").first.wait_for()
    assert counts(page) == before
    page.get_by_role("button", name="5 flagged").click()
    page.get_by_text("5 samples").first.wait_for()
    page.get_by_role("button", name="All").click()
    wait_for_all(page, dataset)


def test_the_slider_counts_without_writing(page: Any, dataset: fo.Dataset, triage: ScoreTable) -> None:
    before = segad.load_run(dataset, "segad").thresholds.image
    moved = slide(page, 0.3)
    assert moved < before
    page.get_by_role("button", name=re.compile("^Apply")).wait_for()
    wait_for_counts(page, expected(triage, moved))
    assert counts(page)["flagged"] > 5
    assert segad.load_run(dataset, "segad").thresholds.image == before
    picture(page, "3-threshold")
    page.get_by_role("button", name="Back").click()
    page.get_by_role("button", name="5 flagged").wait_for()


def test_why_shows_crops_of_the_sample_and_of_normal_images(page: Any, dataset: fo.Dataset, triage: ScoreTable) -> None:
    page.get_by_role("button", name="Highest").click()
    page.get_by_text("Limit", exact=True).first.wait_for(state="attached")  # the view has as many samples as before
    select_first(page)
    page.get_by_role("button", name="Why is it anomalous?").click()
    page.get_by_text("its worst segments").wait_for()
    highest = dataset.sort_by("segad_score", reverse=True).first()
    assert page.get_by_text(Path(highest.filepath).name).count()
    assert page.locator('img[alt^="score"]').count() == page.locator('img[alt^="distance"]').count() >= 2
    (score,) = {text for text in page.get_by_text(re.compile("^score")).all_inner_texts()[:1]}
    worst = segad.explain_sample(dataset, "segad", highest.id, max_segments=1)[0].score
    assert score == f"score {worst:.2f}"
    picture(page, "4-why")


def test_a_crop_of_a_normal_image_opens_it(page: Any, dataset: fo.Dataset, triage: ScoreTable) -> None:
    highest = dataset.sort_by("segad_score", reverse=True).first()
    near = segad.explain_sample(dataset, "segad", highest.id, max_segments=1)[0].neighbours[0]
    page.locator('img[alt^="distance"]').first.click()
    page.locator('[data-cy="modal"]').wait_for()
    page.get_by_text(Path(near.filepath).name).first.wait_for()
    wait_until_idle(page)  # the image still loads
    page.mouse.click(10, 600)  # beside it; the Escape key is taken by whatever has the focus
    page.locator('[data-cy="modal"]').wait_for(state="detached")


def test_the_review_is_one_click_away(page: Any, dataset: fo.Dataset, triage: ScoreTable) -> None:
    """The sample that the explanation was asked for is still selected."""
    wait_until_idle(page)  # the panel is drawn anew once the modal has closed
    page.get_by_role("button", name="Normal", exact=True).click()
    page.get_by_text("1 selected sample: ").wait_for()
    execute(page, "Marks of the run")
    close(page)
    dataset.reload()
    (mark,) = segad.list_marks(dataset, "segad")
    assert (mark.sample_id, mark.kind) == (dataset.sort_by("segad_score", reverse=True).first().id, "sample")
    page.get_by_role("button", name="Undo", exact=True).click()
    execute(page, "Actions taken back")
    close(page)
    dataset.reload()
    assert segad.list_marks(dataset, "segad") == []


def test_apply_writes_the_threshold(page: Any, dataset: fo.Dataset, triage: ScoreTable) -> None:
    flagged = triage.flagged(slide(page, 0.5))
    assert flagged > 5
    page.get_by_role("button", name=f"{flagged} flagged").wait_for()
    page.get_by_role("button", name=re.compile("^Apply")).click()
    page.get_by_text("Images scored").first.wait_for()
    close(page)
    dataset.reload()
    assert len(dataset.match(F("segad_pred.label") == "anomalous")) == flagged
    page.get_by_role("button", name=re.compile("^Apply")).wait_for(state="detached")


def test_regions_and_groups_open_in_the_grid(page: Any, dataset: fo.Dataset, triage: ScoreTable) -> None:
    dataset.reload()
    page.get_by_role("button", name="Regions").click()
    page.get_by_text(f"{len(dataset.to_patches('segad_regions'))} patches").first.wait_for()
    page.get_by_role("button", name="By defect").click()
    page.get_by_text("GroupBy").first.wait_for(state="attached")  # the bar may be too narrow for it
    page.get_by_role("button", name="All").click()
    wait_for_all(page, dataset)


def test_a_kind_of_defect_opens_in_the_grid(page: Any, dataset: fo.Dataset, triage: ScoreTable) -> None:
    row = page.get_by_role("row").filter(has_text="scratch")
    assert row.inner_text().split()[1] == str(len(dataset.match(F("defect.label") == "scratch")))
    row.get_by_role("button").last.click()
    page.get_by_text(f"{len(dataset.match(F('defect.label') == 'scratch'))} samples").first.wait_for()
    page.get_by_role("button", name="All").click()
    page.get_by_text(f"{len(dataset)} samples").first.wait_for()


def test_a_point_of_a_curve_moves_the_threshold(page: Any, dataset: fo.Dataset, triage: ScoreTable) -> None:
    page.get_by_text("Curves", exact=True).click()
    page.locator(".scatterlayer .point").first.wait_for()
    page.locator(".scatterlayer .trace").first.locator(".point").nth(2).click(force=True)
    rates = triage.rates()
    assert rates is not None
    page.get_by_role("button", name=f"{triage.flagged(rates[0][2])} flagged").wait_for()
    page.get_by_text(f"{triage.flagged(rates[0][2])} samples").first.wait_for()
    page.get_by_role("button", name="Back").click()
    page.get_by_role("button", name="Apply").wait_for(state="detached")


def test_segments_are_plotted_and_open_as_patches(page: Any, dataset: fo.Dataset, triage: ScoreTable) -> None:
    page.get_by_text("Segments", exact=True).click()
    page.get_by_role("button", name="Plot the segments").click()
    page.get_by_text("Key of the plot").first.wait_for(timeout=5 * MINUTE)
    close(page)
    page.locator(".scatterlayer .point").first.wait_for()
    dataset.reload()
    assert dataset.has_brain_run("segad_plot")
    points = len(dataset.load_brain_results("segad_plot").points)
    assert points == dataset.count("segad_segments.detections")
    picture(page, "5-segments")
    page.locator(".scatterlayer .point").nth(3).click(force=True)
    page.get_by_text("1 patch").first.wait_for()
    page.get_by_role("button", name="All").click()


def test_a_reload_keeps_the_tab_and_the_run(page: Any, triage: ScoreTable) -> None:
    page.reload()
    page.get_by_text("draw around several").wait_for()
    page.get_by_text("Scores", exact=True).click()
    page.get_by_text("Threshold", exact=True).wait_for()


def test_what_runs_and_what_failed_is_shown_in_every_tab(page: Any, dataset: fo.Dataset, triage: ScoreTable) -> None:
    """Another process works on the dataset; two pages look on, and one of them cancels."""
    other = open_dataset(page.context.new_page(), NAME)
    ended = threading.Event()

    def work() -> None:
        monitor = execution._RunMonitor(str(dataset._doc.id), "elsewhere")
        bar = fo.ProgressBar(total=200, start_msg="", quiet=True)
        try:
            with monitor, bar:
                while not ended.wait(0.6):
                    bar.update()
                    monitor.report(bar, lambda share, label: None)
        except segad.RunCancelled:
            ended.set()

    worker = threading.Thread(target=work)
    worker.start()
    try:
        for tab in (page, other):
            tab.get_by_text("Running 'elsewhere': ").wait_for()
        other.get_by_role("button", name="Cancel elsewhere").click()
        for tab in (page, other):
            tab.get_by_text("'elsewhere' did not end: Cancelled").wait_for()
    finally:
        ended.set()
        worker.join()
    page.get_by_role("button", name="Dismiss").click()
    page.get_by_text("did not end").wait_for(state="detached")
    other.get_by_text("did not end").wait_for(state="detached")
    other.close()
