"""A scored dataset that is opened again: one click shows its worst images with map and score, beside the panel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fiftyone as fo
import pytest
from fiftyone import ViewField as F

import fiftyone_segad as segad
from app_page import app_page, button, needs_chromium, select_first, wait_until_idle

pytestmark = [pytest.mark.browser, pytest.mark.slow, needs_chromium]


@pytest.fixture(scope="module")
def dataset(sample_category: Path) -> Iterator[fo.Dataset]:
    made = segad.load_mvtec(sample_category, name="segad-worst-test", persistent=True)
    segad.compute_segment_anomalies(made, reference=made.match(F("split") == "train"))
    yield made
    made.delete()


def test_the_worst_come_first_with_one_click(dataset: fo.Dataset) -> None:
    with app_page(dataset, panel=False) as page:
        page.locator('[data-item-id="@segad/anomaly/worst_first"]').click()
        page.get_by_text("Flagged above").wait_for()
        wait_until_idle(page)
        for field in ("segad_score", "segad_map"):
            assert page.locator(f'[data-cy="checkbox-{field}"] input').is_checked()
        assert "MuiButton-contained" in (button(page, "Highest").get_attribute("class") or "")
        select_first(page)
        worst = max(dataset.values("segad_score"))
        page.get_by_role("button", name=f"Why is it anomalous? (score {worst:.3g})").wait_for()
