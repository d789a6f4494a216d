"""Several embedders as one: their levels are scored one by one, and the scores are fused."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..segments.boxes import Segments
from .base import Embedder, Patches, normalize


class FusedEmbedder(Embedder):
    """The levels of several embedders, chosen as ``a+b``.

    Args:
        parts: the embedders; they are closed with this one
    """

    def __init__(self, parts: Sequence[Embedder]) -> None:
        self.parts = tuple(parts)
        self.name = "+".join(part.name for part in self.parts)
        self.identity = " + ".join(part.identity for part in self.parts)
        self.levels = tuple(level for part in self.parts for level in part.levels)

    def embed(self, image: NDArray[np.uint8], segments: Segments) -> NDArray[np.float32]:
        return np.concatenate([normalize(part.embed(image, segments)) for part in self.parts], axis=1)

    def patches(self, image: NDArray[np.uint8]) -> list[Patches]:
        return [level for part in self.parts for level in part.patches(image)]

    def close(self) -> None:
        for part in self.parts:
            part.close()
