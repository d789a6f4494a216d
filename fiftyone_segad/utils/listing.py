"""Know image files by their names."""

from __future__ import annotations

import os
from pathlib import Path

IMAGE_SUFFIXES = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".avif"),
    *(".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm"),
)
"""Suffixes of files that are read as images."""


def list_images(folder: Path) -> list[Path]:
    """List the images in a folder and those below it, in the order of their paths; hidden ones are left out.

    Examples:
        >>> from tempfile import mkdtemp
        >>> folder = Path(mkdtemp())
        >>> for name in ("b.PNG", "a.jpg", ".c.png", "notes.txt"):
        ...     (folder / name).touch()
        >>> [path.name for path in list_images(folder)]
        ['a.jpg', 'b.PNG']
    """
    images = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        images += [
            Path(parent, name)
            for name in names
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES
        ]
    return sorted(images)
