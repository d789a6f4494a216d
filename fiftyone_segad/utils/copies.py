"""Find files that are the same, by another path or as a copy byte by byte."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from functools import cache

from .object_storage import is_url

_CHUNK = 2**20


def find_copies(paths: Iterable[str], originals: Iterable[str]) -> dict[str, str]:
    """Find the files that are one of some originals by another path (as links give), or byte copies of one.

    Only files of equal size are read. What is a URL, empty or cannot be read is no copy.

    Args:
        paths: paths of files
        originals: paths of the originals

    Returns:
        the first original with the same content, by path; files that are the first themselves are left out

    Examples:
        >>> from tempfile import mkdtemp
        >>> folder = mkdtemp()
        >>> for name, text in (("a", "one"), ("b", "two"), ("c", "one")):
        ...     _ = open(f"{folder}/{name}", "w").write(text)
        >>> copies = find_copies([f"{folder}/{name}" for name in "abc"], [f"{folder}/a", f"{folder}/b"])
        >>> copies == {f"{folder}/c": f"{folder}/a"}
        True
    """
    by_size: dict[int, list[str]] = {}
    for original in dict.fromkeys(originals):
        by_size.setdefault(_size(original), []).append(original)
    digest = cache(_digest)
    copies = {}
    for path in dict.fromkeys(paths):
        size = _size(path)
        candidates = by_size.get(size, []) if size > 0 else []
        if candidates in ([], [path]):
            continue
        first = next((one for one in candidates if one == path or _same(path, one, digest)), path)
        if first != path:
            copies[path] = first
    return copies


def _same(path: str, other: str, digest: Callable[[str], str | None]) -> bool:
    real, real_other = os.path.realpath(path), os.path.realpath(other)
    if real == real_other:
        return True
    content = digest(real)
    return content is not None and content == digest(real_other)


def _size(path: str) -> int:
    """Return the bytes of a file; -1 if it cannot be told."""
    try:
        return -1 if is_url(path) else os.path.getsize(path)
    except OSError:
        return -1


def _digest(path: str) -> str | None:
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as source:
            while chunk := source.read(_CHUNK):
                digest.update(chunk)
    except OSError:
        return None
    return digest.hexdigest()
