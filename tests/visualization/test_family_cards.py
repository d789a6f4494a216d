"""Families in the report: a strip of crops for each, and what is known of it."""

from __future__ import annotations

from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest

import fiftyone_segad as segad
from fiftyone_segad.visualization.families import CROPS, family_cards
from kinds_of_defects import EACH


@pytest.fixture
def dataset(dataset_with_kinds: fo.Dataset) -> fo.Dataset:
    made = dataset_with_kinds
    masks = [fo.Segmentation(mask=np.full((96, 96), kind != "good", np.uint8)) for kind in made.values("kind")]
    made.set_values("defect_mask", masks)
    return made


def test_a_report_has_a_section_for_each_family(dataset: fo.Dataset, tmp_path: Path) -> None:
    results = segad.evaluate_anomalies(dataset.skip(6), "segad")
    results.save_report(tmp_path / "before.html", max_images=0)
    assert "Families of regions" not in (tmp_path / "before.html").read_text()
    families = segad.find_families(dataset, "segad")
    segad.name_family(dataset, "segad", families.families[0].label, "<rust>")
    results.save_report(tmp_path / "after.html", max_images=0)
    text = (tmp_path / "after.html").read_text()
    assert "Families of regions (2)" in text
    assert f"&lt;rust&gt;: {EACH} regions" in text and "<rust>" not in text
    assert text.count(f"{EACH} on defective images, 0 on good ones") == 2
    assert text.count('class="strip"') == 2 and text.count('<img alt="A region of') == 2 * CROPS


def test_an_image_that_is_gone_has_no_crop(dataset: fo.Dataset) -> None:
    segad.find_families(dataset, "segad")
    run = segad.load_run(dataset, "segad")
    Path(dataset.last().filepath).unlink()
    cards = family_cards(dataset, run, {})
    assert sorted(len(card["pictures"]) for card in cards) == [CROPS - 1, CROPS]
    assert all("defective" not in card["facts"] for card in cards)
