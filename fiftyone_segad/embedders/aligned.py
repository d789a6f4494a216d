"""An embedder that looks at the parts on images, all turned to one angle."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..segments.boxes import Segments
from .alignment import align
from .base import Embedder, Patches


class AlignedEmbedder(Embedder):
    """Turns and cuts out the part of each image before another embedder gets it; segments lie on the turned part.

    Args:
        inner: the other embedder; it is closed with this one
    """

    def __init__(self, inner: Embedder) -> None:
        self._inner = inner
        self.name = f"aligned {inner.name}"
        self.identity = f"aligned-1 {inner.identity}"
        self.levels = inner.levels

    def embed(self, image: NDArray[np.uint8], segments: Segments) -> NDArray[np.float32]:
        return self._inner.embed(align(image).pixels, segments)

    def patches(self, image: NDArray[np.uint8]) -> list[Patches]:
        """As in the base class.

        Raises:
            ValueError: if no part lies on a plain ground, or it is too small
        """
        return self._inner.patches(align(image).pixels)

    def close(self) -> None:
        self._inner.close()
