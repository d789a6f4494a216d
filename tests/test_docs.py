"""The pages: what they point to exists, every public name is on the page of names, README is short."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fiftyone_segad as segad
from conftest import ROOT

PAGES = sorted(path.relative_to(ROOT).as_posix() for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's titles, as GitHub and mkdocs make them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("name", PAGES)
def test_links_and_paths_lead_somewhere(name: str) -> None:
    page = ROOT / name
    text = page.read_text()
    for target, anchor in re.findall(r"\]\(([^)#:\s]*)(?:#([\w-]+))?\)", text):
        file = (page.parent / target).resolve() if target else page
        assert file.is_file(), f"{name} links to {target}"
        assert not anchor or anchor in anchors(file), f"{name} links to {target}#{anchor}"
    for path in re.findall(r"`((?:tests|benchmarks|examples|tools|fiftyone_segad)/[\w/.]+)`", text):
        assert (ROOT / path).exists(), f"{name} names {path}"


def test_every_public_name_is_on_the_page_of_names() -> None:
    names = re.findall(r"^::: fiftyone_segad\.(\w+)$", (ROOT / "docs/reference.md").read_text(), re.M)
    assert sorted(names) == sorted(name for name in segad.__all__ if name[0] != "_")


def test_every_page_is_in_the_menu() -> None:
    menu = (ROOT / "mkdocs.yml").read_text()
    for name in PAGES:
        page = name.removeprefix("docs/")
        assert f": {'index.md' if page == 'README.md' else page}\n" in menu


def test_readme_has_at_most_700_words() -> None:
    assert len((ROOT / "README.md").read_text().split()) <= 700


@pytest.mark.slow
def test_the_lines_of_readme_print_what_they_are_said_to(tmp_path: Path) -> None:
    from fiftyone_segad.data.sample_data import make_category

    blocks = dict(re.findall(r"^```(python|text)\n(.*?)^```$", (ROOT / "README.md").read_text(), re.DOTALL | re.M))
    assert blocks["python"].count("\n") == 12
    make_category(tmp_path / ".demo/sample/brick", "brick")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", blocks["python"]]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report.html").is_file()
    printed = done.stdout.splitlines()[-len(blocks["text"].splitlines()) :]
    for line, promised in zip(printed, blocks["text"].splitlines(), strict=True):
        assert re.sub(r"[\d.]", "", line) == re.sub(r"[\d.]", "", promised)
        figures, promised_figures = (list(map(float, re.findall(r"[\d.]+", text))) for text in (line, promised))
        assert figures == pytest.approx(promised_figures, abs=0.011), "other processors round otherwise"
