"""Read images from object storage that is not mounted, such as ``s3://bucket/image.png``, through fsspec."""

from __future__ import annotations

import io

from ..errors import ImageError

_LARGEST_OBJECT = 2**30  # bytes that are fetched for an image


def is_url(path: str) -> bool:
    """Return whether a path names an object in storage that is not mounted.

    Examples:
        >>> is_url("s3://bucket/image.png"), is_url("/data/image.png")
        (True, False)
    """
    return "://" in path


def object_state(url: str) -> tuple[int, int]:
    """Read the size of an object and a number that changes with its content; -1 for both if it is not there."""
    try:
        import fsspec

        storage, path = fsspec.core.url_to_fs(url)
        return int(storage.size(path)), int(storage.checksum(path))
    except Exception:  # storage systems raise many types; reading the image will tell what is wrong
        return -1, -1


def fetch(url: str) -> io.BytesIO:
    """Fetch an object into memory.

    Raises:
        ImageError: if it is absent, cannot be fetched, or is larger than 1 GiB
    """
    try:
        import fsspec  # only where it is needed
    except ImportError:
        raise ImageError(f"'{url}' is in object storage, which needs fsspec: pip install fsspec") from None
    try:
        with fsspec.open(url, "rb") as file:
            content = file.read(_LARGEST_OBJECT + 1)
    except FileNotFoundError:
        raise ImageError(f"No such image file: '{url}'") from None
    except Exception as error:  # storage systems raise many types
        raise ImageError(f"Cannot fetch '{url}': {error or type(error).__name__}") from error
    if len(content) > _LARGEST_OBJECT:
        raise ImageError(f"'{url}' is too large: more than {_LARGEST_OBJECT // 2**20:,} MiB")
    return io.BytesIO(content)
