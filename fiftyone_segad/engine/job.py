"""A job: images to decode, embed and score into a store. Knows nothing of FiftyOne."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ..embedders.base import Level, Patches
from ..embedders.factory import Embedder
from ..errors import ImageError
from ..scoring.levels import LevelScorer
from ..segments.boxes import Proposer, Segments, Size, from_relative, get_proposer
from ..storage.store import RunStore, ScoreParts
from ..utils.images import PIXELS_AHEAD, count_pixels, read_image_or_error, rotate
from ..utils.timing import StageTimer
from .executors import Executor, LocalExecutor, Task
from .executors.base import Result, Results

Advance = Callable[[int], None]

CUSTOM_SEGMENTS = (Level("segments"),)
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
    """An image that was read.

    Attributes:
        image: the image
        copies: its features at each angle that was asked for, one entry a level
    """

    image: JobImage
    copies: list[list[Patches]]

    @property
    def patches(self) -> list[Patches]:
        """Those at the first angle."""
        return self.copies[0]


@dataclass(frozen=True)
class Skipped:
    """Why an image cannot be used."""

    reason: str


@dataclass
class Reader:
    """Turns images into features, on whichever machine.

    Attributes:
        embedder: the embedder
        segments: as those of a ``Job``
        clock: counts the seconds
    """

    embedder: Embedder
    segments: str | Proposer | None
    clock: StageTimer

    def patches(self, image: JobImage, pixels: NDArray[np.uint8]) -> list[Patches]:
        """The features of an image's pixels, one entry a level.

        Raises:
            ValueError: if it has no segments, or its features are not finite
        """
        if self.segments is None:
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

    def _propose(self, image: JobImage, size: Size) -> Segments:
        if image.boxes is not None:
            return from_relative(size, image.boxes)
        assert self.segments is not None
        return get_proposer(self.segments)(size)


class ImageTask(Task[JobImage, Result | Skipped]):
    """What is done with each image that can be used.

    Args:
        reader: turns them into features
        angles: degrees by which each image is turned before
    """

    def __init__(self, reader: Reader, angles: Sequence[float] = (0,)) -> None:
        self.reader = reader
        self.clock = reader.clock
        self._angles = angles

    budget = PIXELS_AHEAD

    def cost(self, item: JobImage) -> int:
        return count_pixels(item.path)

    def read(self, item: JobImage) -> NDArray[np.uint8] | ImageError:
        """Decode the image."""
        return read_image_or_error(item.path)

    def __call__(self, item: JobImage, content: NDArray[np.uint8] | ImageError) -> Embedded | Skipped:
        """Embeds the image."""
        try:
            if isinstance(content, ImageError):
                raise content
            turned = (rotate(content, angle) if angle else content for angle in self._angles)
            return Embedded(item, [self.reader.patches(item, pixels) for pixels in turned])
        except (ImageError, ValueError) as error:
            return Skipped(str(error))

    def finish(self, item: JobImage, done: Embedded | Skipped) -> Result | Skipped:
        return done if isinstance(done, Skipped) else self.work(done)

    @abstractmethod
    def work(self, embedded: Embedded) -> Result:
        """Do the work on an image and its features."""


class _Embed(ImageTask[Embedded]):
    def work(self, embedded: Embedded) -> Embedded:
        return embedded


@dataclass
class Job:
    """What is to be scored, how, and into which store; ``run_job`` does it.

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
        executor: what has the images embedded and scored; None for this machine
        rotations: copies of each normal image in the bank, turned in equal steps (``reference``)
        bank_size: rows that the bank may have at each level; None for 131,072 at the finest one (``reference``)
        marks: boxes ``[n, 4]``, relative ``x, y, width, height``, of images that people marked as normal; what is in
            them is compared with as the bank is (``reference``)
        feature_bytes: features of the scored images that are kept, for ``rescore``
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
    executor: Executor | None = None
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
    clock: StageTimer = field(default_factory=StageTimer)

    @property
    def chosen(self) -> bool:
        """Whether the embedder chooses the segments."""
        return self.segments is None

    def levels(self) -> LevelScorer:
        """The levels of the run, with what the store knows of them."""
        return LevelScorer(self.embedder.levels if self.chosen else CUSTOM_SEGMENTS, self.store.levels())

    @property
    def reader(self) -> Reader:
        """Turns the job's images into features."""
        return Reader(self.embedder, self.segments, self.clock)

    def map(self, task: ImageTask[Result], images: list[JobImage], ordered: bool = False) -> Iterator[Result]:
        """Yield what a task makes of the images that can be used; the others are noted in ``skipped``.

        Args:
            task: the task
            images: the images
            ordered (False): whether the results must come in the images' order
        """
        yield from self._collect(self.run_by.map(task, images, ordered), self.advance, True)

    def embed(
        self, images: list[JobImage], advance: Advance | None = None, report_skipped: bool = True, angle: float = 0
    ) -> Iterator[Embedded]:
        """Yield the images that can be used with their features, in order and embedded by this machine.

        Args:
            images: the images; those that cannot be used are noted in ``skipped``
            advance: what to call instead of ``advance``
            report_skipped: False if a later pass over the same images reports those that cannot be used
            angle: degrees by which they are turned before
        """
        task = _Embed(self.reader, [angle])
        yield from self._collect(self._local.map(task, images), advance or self.advance, report_skipped)

    def _collect(
        self, results: Results[JobImage, Result | Skipped], advance: Advance, report_skipped: bool
    ) -> Iterator[Result]:
        with closing(results):
            for image, result in results:
                if not isinstance(result, Skipped):
                    yield result
                elif report_skipped:
                    self.skip(image, result.reason)
                advance(1)

    @property
    def run_by(self) -> Executor:
        """What has the images worked on."""
        return self.executor or self._local

    @property
    def _local(self) -> LocalExecutor:
        return LocalExecutor(self.workers)

    def original(self, path: str) -> str:
        """The path by which the bank knows a file."""
        return self.copies.get(path, path)

    def copy(self, images: list[JobImage], source: ScoreParts) -> None:
        """Keep scores that are known already under the ids of these images; source ids are paths."""
        by_path: dict[str, list[JobImage]] = {}
        for image in images:
            by_path.setdefault(self.original(image.path), []).append(image)
        for record in source if by_path else ():
            for image in by_path.get(record.id, ()):
                self.store.scores.add(replace(record, id=image.id))

    def skip(self, image: JobImage, reason: str) -> None:
        """Note an image that cannot be used."""
        self.skipped.append({"id": image.id, "filepath": image.path, "reason": reason})

    def first_reason(self) -> str:
        """Why the first image was skipped, as a sentence."""
        return f"The first: {self.skipped[0]['filepath']}: {self.skipped[0]['reason']}" if self.skipped else ""
