"""Compute features of images as a finished run did: with its embedder, segments and levels."""

from __future__ import annotations

from types import TracebackType

import fiftyone as fo
import numpy as np
from numpy.typing import NDArray

from ..embedders.aligned import aligned_patches
from ..embedders.base import Embedder, Patches
from ..embedders.factory import get_embedder
from ..engine.job import CUSTOM_SEGMENTS
from ..errors import RunError
from ..registry.run import Run
from ..scoring import IMPORTED
from ..scoring.levels import LevelScorer
from ..segments.boxes import Proposer
from ..storage.bank_file import BANK_SETTING
from ..storage.records import ImageScores


class RunFeatures:
    """Loads the embedder and the levels of a run; a context manager that closes the embedder.

    Args:
        run: the run

    Raises:
        RunError: if the embedder gives other features than then
        MissingDependencyError: if it is not installed
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self._embedder = load_embedder(run)
        levels = CUSTOM_SEGMENTS if self._has_custom_segments else self._embedder.levels
        self.levels = LevelScorer(levels, run.store.levels())

    def __enter__(self) -> RunFeatures:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._embedder.close()

    @property
    def _has_custom_segments(self) -> bool:
        return self.run.settings["segments"] is not None

    def patches(self, record: ImageScores, pixels: NDArray[np.uint8]) -> list[Patches]:
        """Compute the features of an image that the run scored, one entry per level.

        Raises:
            RunError: if the image has another size now
        """
        size = (pixels.shape[1], pixels.shape[0])
        if size != record.segments.size:
            raise RunError(
                f"The image is {size[0]} x {size[1]} px now and was {record.segments.size[0]} x "
                f"{record.segments.size[1]} px when run '{self.run.key}' scored it; compute the run again"
            )
        if not self._has_custom_segments:
            embedder = self._embedder
            return aligned_patches(embedder, pixels) if self.levels.aligned else embedder.patches(pixels)
        return [Patches(record.segments, self._embedder.embed(pixels, record.segments))]


def load_embedder(run: Run, batch_size: int | None = None) -> Embedder:
    """Load the embedder of a run as it was.

    Raises:
        RunError: if it has none, or it gives other features than then
        MissingDependencyError: if it is not installed
    """
    settings = run.settings
    if run.method == IMPORTED:
        raise RunError(
            f"Run '{run.key}' has scores that {run.embedder} predicted, but no features: it can neither score nor "
            "explain images. Predict with that program, or compute a run"
        )
    embedder = get_embedder(run.embedder, batch_size, settings["defects"], settings["embedder_kwargs"])
    if embedder.identity != settings["embedder"]:
        embedder.close()
        remedy = "install that one, or save the bank with this one" if BANK_SETTING in settings else "compute it again"
        raise RunError(
            f"Run '{run.key}' was made with '{settings['embedder']}', which is now '{embedder.identity}'; {remedy}"
        )
    return embedder


def named_segments(run: Run, dataset: fo.Dataset, segments: Proposer | None) -> str | Proposer | None:
    """Return the segments of a run; a function must be given again, since a run keeps its name only.

    Raises:
        ValueError: if it is not given, or is another one
    """
    named: str | None = run.settings["segments"]
    if segments is not None and segments_name(segments) != named:
        raise ValueError(f"segments={segments!r} is not what run '{run.key}' was made with, which is {named!r}")
    if segments is None and named is not None and "." in named and ":" not in named and not dataset.has_field(named):
        raise ValueError(f"The segments of run '{run.key}' come from the function {named}; pass it as segments=...")
    return named if segments is None else segments


def segments_name(segments: str | Proposer | None) -> str | None:
    """Return the name by which a run keeps its segments: of a function, where it is defined."""
    if callable(segments):
        return f"{segments.__module__}.{getattr(segments, '__qualname__', repr(segments))}"
    return segments
