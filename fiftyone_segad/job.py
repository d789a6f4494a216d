"""A job: images to decode, embed and score into a store. Knows nothing of FiftyOne."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from .embedders import Embedder
from .embedders.base import Level, Patches
from .errors import ImageError
from .images import read_ahead
from .levels import Levels
from .maps import anomaly_map
from .segments import Proposer, Segments, Size, from_relative, get_proposer
from .store import ImageScores, RunStore, ScoreParts

Advance = Callable[[int], None]

GIVEN = (Level("segments"),)
"""The one level of segments that were asked for."""


FEATURE_BYTES = 2 * 2**30
"""Features of scored images that a run keeps by default."""


@dataclass(frozen=True)
class JobImage:
    """An image of a job.

    Attributes:
        id: name under which its scores are stored
        path: its file; two images with the same path are the same
        boxes: its segments as ``[n, 4]`` relative ``x, y, width, height``, if they are given one by one
    """

    id: str
    path: str
    boxes: list[list[float]] | None = None


@dataclass(frozen=True)
class Embedded:
    """An image that was read: its pixels and its features, one entry a level."""

    image: JobImage
    pixels: NDArray[np.uint8]
    patches: list[Patches]


@dataclass
class Clock:
    """Adds up the seconds of named stages."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start


@dataclass
class Job:
    """What is to be scored, how, and into which store; :func:`~fiftyone_segad.methods.run_job` does it.

    Attributes:
        images: the images to score
        normals: normal images: the bank of ``reference``, and what thresholds are calibrated on. Their ids
            are their paths
        method: ``reference``, ``unlabeled`` or ``within_image``
        segments: specification or function of the segments; None for those that the embedder chooses. Images that
            bring boxes have these
        embedder: the embedder
        store: where scores and bank go
        workers: threads that decode
        rotations: copies of each normal image in the bank, turned in equal steps (``reference``)
        bank_size: rows that the bank may have at each level; None for what fits into 256 MiB (``reference``)
        marks: boxes ``[n, 4]``, relative ``x, y, width, height``, of images that people marked as normal; what is in
            them is compared with as the bank is (``reference``)
        feature_bytes: features of the scored images that are kept, for :func:`~fiftyone_segad.rescore`
        advise: whether to see if rotations would help
        seed: seed of all that is chosen at random
        copies: paths by which the bank knows files that lie elsewhere now, by the files' paths
        advance: called with the number of images that were finished; may raise to stop the job, which loses
            nothing that was finished
        stage: called with what is being done, in a few words
        skipped: ``{"id", "filepath", "reason"}`` of the images that could not be used
        warnings: what the user should know
        clock: seconds spent, by stage
    """

    images: list[JobImage]
    normals: list[JobImage]
    method: str
    segments: str | Proposer | None
    embedder: Embedder
    store: RunStore
    workers: int
    rotations: int = 1
    bank_size: int | None = None
    marks: list[tuple[JobImage, list[tuple[float, ...]]]] = field(default_factory=list)
    feature_bytes: int = FEATURE_BYTES
    advise: bool = True
    seed: int = 0
    copies: Mapping[str, str] = field(default_factory=dict)
    advance: Advance = lambda count: None
    stage: Callable[[str], None] = lambda text: None
    skipped: list[dict[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    clock: Clock = field(default_factory=Clock)

    @property
    def chosen(self) -> bool:
        """Whether the embedder chooses the segments."""
        return self.segments is None

    def levels(self) -> Levels:
        """The levels of the run, with what the store knows of them."""
        return Levels(self.embedder.levels if self.chosen else GIVEN, self.store.levels())

    def embed(
        self, images: list[JobImage], advance: Advance | None = None, met_again: bool = False
    ) -> Iterator[Embedded]:
        """Yields the images that can be used; the others are noted in ``skipped``.

        Args:
            images: the images
            advance: what to call instead of :attr:`advance`
            met_again: whether another pass meets the same images, and notes those that cannot be used
        """
        decoded = read_ahead([image.path for image in images], self.workers)
        for image in images:
            with self.clock("decode"):
                pixels = next(decoded)
            try:
                if isinstance(pixels, ImageError):
                    raise pixels
                yield Embedded(image, pixels, self.patches(image, pixels))
            except (ImageError, ValueError) as error:
                if not met_again:
                    self.skip(image, str(error))
            (advance or self.advance)(1)

    def patches(self, image: JobImage, pixels: NDArray[np.uint8]) -> list[Patches]:
        """The features of an image's pixels, one entry a level.

        Raises:
            ValueError: if it has no segments, or its features are not finite
        """
        if self.chosen:
            with self.clock("embed"):
                patches = self.embedder.patches(pixels)
        else:
            segments = self._propose(image, (pixels.shape[1], pixels.shape[0]))
            if len(segments) == 0:
                raise ValueError("It has no segments")
            with self.clock("embed"):
                patches = [Patches(segments, self.embedder.embed(pixels, segments))]
        if not all(np.isfinite(level.features).all() for level in patches):
            raise ValueError("The embedder gave values that are not finite")
        return patches

    def add(
        self,
        target: ScoreParts,
        id: str,
        segments: Segments,
        scores: NDArray[np.float32],
        outliers: NDArray[np.bool_] | None = None,
    ) -> None:
        """Keeps the scores of an image."""
        with self.clock("map"):
            image_score = float(anomaly_map(segments, scores).max())
        if outliers is None:
            outliers = np.zeros(len(scores), bool)
        target.add(ImageScores(id, segments, scores, outliers, image_score))

    def original(self, path: str) -> str:
        """The path by which the bank knows a file."""
        return self.copies.get(path, path)

    def copy(self, images: list[JobImage], source: ScoreParts) -> None:
        """Keeps scores that are known already under the ids of these images; source ids are paths."""
        by_path: dict[str, list[JobImage]] = {}
        for image in images:
            by_path.setdefault(self.original(image.path), []).append(image)
        for record in source if by_path else ():
            for image in by_path.get(record.id, ()):
                self.store.scores.add(replace(record, id=image.id))

    def skip(self, image: JobImage, reason: str) -> None:
        """Notes an image that cannot be used."""
        self.skipped.append({"id": image.id, "filepath": image.path, "reason": reason})

    def first_reason(self) -> str:
        """Why the first image was skipped, as a sentence."""
        return f"The first: {self.skipped[0]['filepath']}: {self.skipped[0]['reason']}" if self.skipped else ""

    def _propose(self, image: JobImage, size: Size) -> Segments:
        if image.boxes is not None:
            return from_relative(size, image.boxes)
        assert self.segments is not None
        return get_proposer(self.segments)(size)
