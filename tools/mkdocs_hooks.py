"""Add to the pages of mkdocs those that stand outside of docs/, so that each is written once and read on GitHub, too.

README.md becomes the first page. Links between files of the repository become links between pages.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent

FIRST = "README.md"

_LINK = re.compile(r"(\]\()([^)#:\s]+)([^)]*\))")
"""A link or picture whose target is a path."""


def on_files(files: Files, config: Any) -> Files:
    """Add the pages outside of docs/."""
    for path in [ROOT / FIRST, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *ROOT.glob("benchmarks/*.md")]:
        source = path.relative_to(ROOT).as_posix()
        files.append(File.generated(config, page_of(source), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn links between files of the repository into links between pages."""
    path = Path(page.file.abs_src_path).resolve().relative_to(ROOT)
    here = posixpath.dirname(page_of(path.as_posix())) or "."

    def rewrite(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(path.parent.as_posix(), match[2]))
        return match[1] + os.path.relpath(page_of(target), here).replace(os.sep, "/") + match[3]

    return _LINK.sub(rewrite, markdown)


def page_of(path: str) -> str:
    """Return the address among the pages of a file of the repository.

    >>> page_of("README.md"), page_of("docs/app/1.jpg"), page_of("benchmarks/README.md")
    ('index.md', 'app/1.jpg', 'benchmarks/README.md')
    """
    return "index.md" if path == FIRST else path.removeprefix("docs/")
