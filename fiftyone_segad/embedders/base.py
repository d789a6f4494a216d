"""What an embedder is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..segments import Segments

_Embedder = TypeVar("_Embedder", bound="Embedder")


class Embedder(ABC):
    """Turns the segments of an image into features that can be compared.

    Attributes:
        name: the name under which it is chosen
        identity: changes whenever the same pixels would give other features; part of a run's settings
    """

    name: str
    identity: str

    def __init__(self, batch_size: int | None = None) -> None:
        self.batch_size = batch_size

    @abstractmethod
    def embed(self, image: NDArray[np.uint8], segments: Segments) -> NDArray[np.float32]:
        """Computes the features of the segments of one image.

        Args:
            image: uint8 RGB array ``[height, width, 3]``
            segments: boxes within the image

        Returns:
            a float32 array ``[n, d]``, as the model gives them (not normalised)
        """

    def close(self) -> None:  # noqa: B027 - most embedders hold nothing
        """Releases what the embedder holds (processes, threads). It may not be used afterwards."""

    def __enter__(self: _Embedder) -> _Embedder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
