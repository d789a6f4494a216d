"""Embedders: from an image and its segments to one feature vector a segment."""

from __future__ import annotations

from .base import Embedder
from .fastdup import FastdupEmbedder
from .fastdup_native import FastdupNativeEmbedder

EMBEDDERS: dict[str, type[Embedder]] = {
    "fastdup": FastdupEmbedder,
    "fastdup-native": FastdupNativeEmbedder,
}
"""Embedders by name. ``auto`` stands for the best that is installed."""

AUTO = "fastdup"


def resolve_name(name: str) -> str:
    """Returns the embedder that a name stands for (``auto`` resolved).

    Raises:
        ValueError: if there is no such embedder
    """
    resolved = AUTO if name == "auto" else name
    if resolved not in EMBEDDERS:
        raise ValueError(f"embedder={name!r} is not known; use one of {['auto', *EMBEDDERS]}")
    return resolved


def get_embedder(name: str, batch_size: int | None = None) -> Embedder:
    """Loads an embedder by name.

    Args:
        name: a key of :data:`EMBEDDERS`, or ``auto``
        batch_size (None): segments that go through the model at once; None is the fastest measured

    Raises:
        ValueError: if there is no such embedder, or the batch size is below 1
        MissingDependencyError: if what it needs is not installed; the message says how to install it
    """
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    return EMBEDDERS[resolve_name(name)](batch_size)


__all__ = ["AUTO", "EMBEDDERS", "Embedder", "get_embedder", "resolve_name"]
