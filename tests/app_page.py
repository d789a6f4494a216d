"""What tests of the App share: a page of a real browser, and what a person does in it."""

from __future__ import annotations

import importlib.util
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import fiftyone as fo
import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
MINUTE = 60_000  # ms

COUNT_REQUESTS = """
window.pending = 0; window.lastRequest = 0;
const fetchUncounted = window.fetch;
window.fetch = async (...request) => {
    window.pending++;
    try { return await fetchUncounted(...request); }
    finally { window.pending--; window.lastRequest = performance.now(); }
};
"""
"""Lets ``wait_until_idle`` know what a page is waiting for."""

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None or importlib.util.find_spec("playwright") is None,
    reason="no browser: apt-get install chromium, pip install playwright",
)


@contextmanager
def app_page(dataset: fo.Dataset, width: int = 1280, height: int = 1000, panel: bool = True) -> Iterator[Any]:
    """A page with the dataset in the App, the triage panel beside the grid; both end with the context."""
    from playwright.sync_api import sync_playwright

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    session = fo.launch_app(dataset, remote=True, port=port)
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=CHROMIUM,
                args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-quic"],
            )
            size: Any = {"width": width, "height": height}
            context = browser.new_context(viewport=size, base_url=f"http://localhost:{port}")
            context.set_default_timeout(2 * MINUTE)
            context.add_init_script(COUNT_REQUESTS)
            yield open_dataset(context.new_page(), dataset.name, panel)
            browser.close()
    finally:
        session.close()


def open_dataset(page: Any, name: str, panel: bool = True) -> Any:
    """Open a dataset, and the triage panel where it is asked for."""
    page.goto(f"/datasets/{name}")
    page.locator('[data-cy="fo-grid"]').wait_for()
    wait_until_idle(page)
    if page.get_by_text("Dismiss").count():  # an advertisement that covers the grid
        page.get_by_text("Dismiss").first.click()
    if panel:
        page.locator('[data-cy="new-panel-btn"]').first.click()
        page.get_by_text("Anomaly triage").first.click()
    return page


def wait_until_idle(page: Any) -> None:
    """Wait until the App has asked its server for nothing for a while, longer than a form waits for the next key."""
    page.evaluate("window.lastRequest = performance.now()")
    page.wait_for_function("!window.pending && performance.now() - window.lastRequest > 1000")


def open_form(page: Any, label: str) -> None:
    """Open an operator's form from the list of operators."""
    page.keyboard.press("Escape")
    page.keyboard.press("`")
    page.get_by_placeholder("Search operations by name").fill(label)
    page.locator('[data-cy="operators-browser"]').get_by_text(label).last.click()
    page.get_by_role("button", name="Execute").first.wait_for()
    wait_until_idle(page)


def execute(page: Any, done: str) -> None:
    """Execute the form that is open, and wait for the text that says that it is done."""
    wait_until_idle(page)  # the App may still ask what is in the form, and then takes no click
    page.get_by_role("button", name="Execute").first.click()
    page.get_by_text(done).first.wait_for(timeout=5 * MINUTE)


def close(page: Any) -> None:
    """Close the result that is open."""
    page.get_by_role("button", name="Done").or_(page.get_by_role("button", name="Close")).first.click()
    page.locator(".MuiDialog-container").wait_for(state="detached")
    wait_until_idle(page)  # the grid is made anew


def first_box(page: Any) -> dict[str, float]:
    """Where the first image of the grid is; it is made anew whenever the view changes."""
    for _ in range(120):
        box = page.locator('[data-cy="fo-grid"] canvas').first.bounding_box()
        if box is not None:
            return box
        page.wait_for_timeout(500)
    raise AssertionError("the grid shows no image")


def select_first(page: Any) -> None:
    """Ticks the box of the first image of the grid; a tile that is drawn anew just then takes no click."""
    selection = page.locator('[data-cy="selection-count-container"]')
    for _ in range(10):
        wait_until_idle(page)  # the tiles of the view before may still be there
        if selection.is_visible():
            return
        tile = first_box(page)
        page.mouse.move(tile["x"] + 40, tile["y"] + 40)
        page.mouse.click(tile["x"] + 18, tile["y"] + 18, delay=100)
    selection.wait_for()


def button(page: Any, name: str) -> Any:
    """The first button of exactly this name."""
    return page.get_by_role("button", name=name, exact=True).first
