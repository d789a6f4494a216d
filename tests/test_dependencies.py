"""The page of dependencies names each that is asked for."""

from __future__ import annotations

import re

import pytest

from conftest import ROOT


def asked_for() -> set[str]:
    """Names in the project file's lists of requirements; read as text, as Python 3.10 has no reader of TOML."""
    project = (ROOT / "pyproject.toml").read_text()
    lists = re.findall(r"^(?:dependencies|torch|ray|docs|dev) = \[(.*?)\]$", project, re.DOTALL | re.MULTILINE)
    assert len(lists) == 5
    names = re.findall(r'"([A-Za-z][\w-]*)', " ".join(lists))
    return {name for name in names if name != "fiftyone-segad"}


@pytest.mark.parametrize("name", sorted(asked_for()))
def test_the_page_names_it(name: str) -> None:
    page = (ROOT / "docs" / "dependencies.md").read_text()
    assert re.search(rf"^\| [^|]*`{re.escape(name)}`[^|]*\|", page, re.MULTILINE), f"docs/dependencies.md lacks {name}"
