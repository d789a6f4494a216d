"""Measure how fast a person gets through alarms by keys in the panel Review, in a real browser.

    python benchmarks/review_speed.py [--note TEXT]

The panel is opened on pictures with 54 alarms (tests/spotted_dataset.py), and 50 of them are decided on by keys. The
page itself takes the time from a key to the picture of the next alarm. The table goes to review_speed.md beside this
file. It needs Chromium and playwright.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parent.parent
TABLE = Path(__file__).with_suffix(".md")

ALARMS = 50

PAUSES = {"as soon as the next picture is there": 0.0, "after half a second of looking": 0.5}
"""Seconds after which the next key is pressed, by what that is in words."""

CLOCK = """
window.waits = [];
document.addEventListener('keydown', () => {
    const alarm = () => document.querySelector('[data-cy="segad-alarm"]');
    const [pressed, before] = [performance.now(), alarm()?.dataset.alarm];
    const look = () => {
        const now = alarm();
        if (now && now.dataset.alarm !== before && now.dataset.ready === 'true')
            requestAnimationFrame(() => window.waits.push(performance.now() - pressed));
        else requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
}, true);
"""
"""Has the page note the milliseconds from each key to the frame after the one with the next picture."""

WRITTEN = """() => !document.querySelector('[data-cy="segad-review"]').innerText.includes('writing')"""

HEADER = """# Alarms by keys

Made by `python benchmarks/review_speed.py`: {count} alarms in the panel *Review*, each decided on by one key in
headless Chromium. "Wait" is the time from a key to the picture of the next alarm, as the page itself measures it.{note}

| the next key comes | all {count}, s | median wait, ms | 95 % of waits, ms | longest wait, ms | marks written |
| --- | --- | --- | --- | --- | --- |
"""


def main() -> None:
    """Go through the alarms at each pace, and write the table."""
    parser = argparse.ArgumentParser(description="Measure a review by keys in a browser")
    parser.add_argument("--note", default="", help="what should be known of the machine, such as that others used it")
    note = parser.parse_args().note
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(
            FIFTYONE_DATABASE_DIR=str(Path(folder, "db")),
            FIFTYONE_DEFAULT_DATASET_DIR=str(Path(folder, "datasets")),
            FIFTYONE_SEGAD_DIR=str(Path(folder, "segad")),
            FIFTYONE_PLUGINS_DIR=str(ROOT),
            FIFTYONE_DO_NOT_TRACK="true",
        )
        sys.path.insert(0, str(ROOT / "tests"))
        from spotted_dataset import spotted_dataset

        pictures = Path(folder, "pictures")
        pictures.mkdir()
        dataset = spotted_dataset(pictures, "segad-review-speed")
        rows = [_row(words, *_review(dataset, pause)) for words, pause in PAUSES.items()]
        dataset.delete()
    header = HEADER.format(count=ALARMS, note=f" {note}" if note else "")
    TABLE.write_text(header + "".join(f"{row}\n" for row in rows))
    print(TABLE.read_text())


def _review(dataset: Any, pause: float) -> tuple[float, list[float], int]:
    """Decide on the alarms; returns the seconds that it took, the waits in ms, and how many marks were written."""
    import fiftyone_segad as segad
    from app_page import app_page

    segad.unmark(dataset, "segad")
    with app_page(dataset, panel=False) as page:
        page.evaluate(CLOCK)
        page.locator('[data-cy="new-panel-btn"]').first.click()
        page.get_by_text("Review", exact=True).first.click()
        page.locator('[data-cy="segad-alarm"][data-ready="true"]').wait_for()
        page.locator('[data-cy="segad-review"]').hover()
        time.sleep(5)  # what comes first is prepared while a person reads the page
        begin = time.monotonic()
        for done in range(ALARMS):
            page.keyboard.press("d" if done % 3 else "h")
            page.wait_for_function("count => window.waits.length >= count", arg=done + 1)
            time.sleep(pause)
        seconds = time.monotonic() - begin
        page.wait_for_function(
            """() => !document.querySelector('[data-cy="segad-review"]').innerText.includes('writing')"""
        )
        waits: list[float] = page.evaluate("window.waits")
    dataset.reload()
    return seconds, waits, len(segad.list_marks(dataset, "segad"))


def _row(words: str, seconds: float, waits: list[float], marks: int) -> str:
    median, most, longest = np.quantile(waits, [0.5, 0.95, 1.0])
    return f"| {words} | {seconds:.1f} | {median:.0f} | {most:.0f} | {longest:.0f} | {marks} |"


if __name__ == "__main__":
    main()
