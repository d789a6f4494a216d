"""The interface of embedders: from an image to features of its segments, at one or several levels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..segments.boxes import Segments

_Embedder = TypeVar("_Embedder", bound="Embedder")


@dataclass(frozen=True)
class Level:
    """One kind of features that an embedder takes of a whole image: a layer of a network, a size of tiles.

    Attributes:
        name: e.g. ``stride 8``; part of a run's settings
        weight: its share in the fused score, relative to the other levels
        components: principal components to which its features are reduced before they are compared by
            Euclidean distance; None if they are compared as they are, by cosine
        whiten: whether the components are scaled to one variance
        positional: whether scores are lowered where those of normal images are high, as they are at borders
    """

    name: str
    weight: float = 1.0
    components: int | None = None
    whiten: bool = False
    positional: bool = False


@dataclass(frozen=True)
class Patches:
    """The features of one image at one level.

    Attributes:
        segments: the ``n`` boxes that the features stand for
        features: float32 array ``[n, d]``
    """

    segments: Segments
    features: NDArray[np.float32]


class Embedder(ABC):
    """Turns the segments of an image into features that can be compared.

    Attributes:
        name: the name under which it is chosen
        identity: changes whenever the same pixels would give other features; part of a run's settings
        levels: what ``patches`` gives, in this order
    """

    name: str
    identity: str
    levels: tuple[Level, ...]
    load: Callable[[str], Embedder] | None = None
    """Loads an embedder like this one on another machine, given the identity that it must have. None if the embedder
    itself is sent."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        return super().__reduce_ex__(protocol) if self.load is None else (self.load, (self.identity,))

    @abstractmethod
    def embed(self, image: NDArray[np.uint8], segments: Segments) -> NDArray[np.float32]:
        """Compute one feature vector for each of the given segments of an image.

        Args:
            image: uint8 RGB array ``[height, width, 3]``
            segments: boxes within the image

        Returns:
            a float32 array ``[n, d]``, to be compared by cosine
        """

    @abstractmethod
    def patches(self, image: NDArray[np.uint8]) -> list[Patches]:
        """Compute the features of an image on segments of the embedder's own choice, one entry per level.

        Args:
            image: uint8 RGB array ``[height, width, 3]``

        Raises:
            ValueError: if the image is too small
        """

    def close(self) -> None:  # noqa: B027 - most embedders hold nothing
        """Release what the embedder holds (processes, threads). It may not be used afterwards."""

    def __enter__(self: _Embedder) -> _Embedder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def normalize(features: NDArray[np.floating]) -> NDArray[np.float32]:
    """Scale each row of ``[n, d]`` to length 1. A zero row stays zero.

    Raises:
        ValueError: if a value is not finite

    Examples:
        >>> normalize(np.array([[3, 4], [0, 0]]))
        array([[0.6, 0.8],
               [0. , 0. ]], dtype=float32)
    """
    with np.errstate(over="ignore"):
        rows = np.asarray(features, dtype=np.float32)
    if not np.isfinite(rows).all():
        raise ValueError("The features hold NaN or infinite values; the embedder failed on this image")
    # Squares of large and small features leave the range of single precision
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 0, lengths, 1), np.float32)
