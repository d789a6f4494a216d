"""Describe a job: what is asked, what it is done with, and what came of it; and the task that is done with each image.

A ``Job`` is handed to ``run_job`` (``methods.py``), which fills its report. Nobody changes it otherwise.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ..embedders.aligned import aligned_patches
from ..embedders.base import Embedder, Level, Patches
from ..errors import ImageError
from ..scoring.levels import LevelScorer
from ..segments.boxes import Proposer, RelativeBox, Segments, Size, from_relative, get_proposer
from ..storage.store import RunStore
from ..utils.grey_scale import FULL_RANGE, GreyScale
from ..utils.images import PIXELS_AHEAD, count_pixels, read_image_or_error, rotate
from ..utils.timing import StageTimer
from .executors import Executor, LocalExecutor, Task
from .executors.base import Result
from .report import JobReport

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
        group: the same for pictures of the same part, if a field names parts; None for one that stands alone
    """

    id: str
    path: str
    boxes: list[list[float]] | None = None
    group: str | None = None


MarkedImage = tuple[JobImage, list[RelativeBox]]  # the boxes are what people marked


@dataclass(frozen=True)
class JobSpec:
    """A job as it is asked for.

    Attributes:
        images: the images to score
        normals: the bank of ``reference``, and what thresholds are calibrated on. Their ids are their paths
        method: ``reference``, ``unlabeled`` or ``within_image``
        segments: specification or function of the segments, unless images bring boxes; None for the embedder's own
        rotations: copies of each normal image in the bank, turned in equal steps; None finds how many (``reference``)
        bank_size: rows that the bank may have per level; None for 131,072 at the finest one (``reference``)
        marks: what people marked as normal, which is compared with as the bank is (``reference``)
        marked_defects: what they marked as anomalous; what looks like it scores higher (``reference``)
        seed: seed of all that is chosen at random
        feature_bytes: features of the scored images that are kept, for ``rescore``
        bank_names: names by which the bank knows files of other paths: links, copies, and what lies elsewhere now
        scale: grey values of more than 8 bits that are black and white in all images
        groups: what tells which normals show the same part: ``auto``, a field for their ``group``, or None
        clean: whether the second-nearest part of the bank counts, not the nearest row (``reference``)
        align: whether the part on each image is laid straight first; None finds whether that helps (``reference``)
    """

    images: Sequence[JobImage]
    normals: Sequence[JobImage]
    method: str
    segments: str | Proposer | None
    rotations: int | None = 1
    bank_size: int | None = None
    marks: Sequence[MarkedImage] = ()
    marked_defects: Sequence[MarkedImage] = ()
    seed: int = 0
    feature_bytes: int = FEATURE_BYTES
    bank_names: Mapping[str, str] = field(default_factory=dict)
    scale: GreyScale = FULL_RANGE
    groups: str | None = None
    clean: bool = False
    align: bool | None = False

    @property
    def ids(self) -> set[str]:
        """Ids of the images to score."""
        return {image.id for image in self.images}

    @property
    def paths(self) -> set[str]:
        """Files of the images to score."""
        return {image.path for image in self.images}

    def bank_path(self, image: JobImage) -> str:
        """Return the path by which the bank knows an image's file."""
        return self.bank_names.get(image.path, image.path)


@dataclass(frozen=True)
class JobContext:
    """What a job is done with.

    Attributes:
        embedder: turns images into features
        store: where features and scores go
        workers: threads that decode images
        executor: has the images embedded and scored; None for this machine
        on_progress: called with the number of images that were finished; may raise to stop the job, which loses
            nothing that was finished
        on_stage: called with a few words on what is being done
        timer: counts the seconds by stage
        earlier: the store of the run with other marks, whose features are compared with the bank again
    """

    embedder: Embedder
    store: RunStore
    workers: int
    executor: Executor | None = None
    on_progress: Callable[[int], None] = lambda count: None
    on_stage: Callable[[str], None] = lambda text: None
    timer: StageTimer = field(default_factory=StageTimer)
    earlier: RunStore | None = None


@dataclass(frozen=True)
class Embedded:
    """An image that was read.

    Attributes:
        image: the image
        copies: its features at each angle that was asked for, per angle one entry per level
    """

    image: JobImage
    copies: list[list[Patches]]

    @property
    def patches(self) -> list[Patches]:
        """Features at the first angle, one entry per level."""
        return self.copies[0]


@dataclass(frozen=True)
class Skipped:
    """The reason why an image cannot be used."""

    reason: str


@dataclass(frozen=True)
class Reader:
    """Turns images into features, on whichever machine.

    Attributes:
        embedder: the embedder
        segments: as those of a ``JobSpec``
        timer: counts the seconds
        scale: that of a ``JobSpec``
        aligned: whether the part on each image is laid straight and cut out first
    """

    embedder: Embedder
    segments: str | Proposer | None
    timer: StageTimer
    scale: GreyScale = FULL_RANGE
    aligned: bool = False

    def patches(self, image: JobImage, pixels: NDArray[np.uint8], angle: float = 0) -> list[Patches]:
        """Compute the features of an image's pixels ``[height, width, 3]``, one entry per level.

        Args:
            image: the image
            pixels: its pixels
            angle (0): degrees by which it, or its straight part, is turned before

        Raises:
            ValueError: if it has no segments, or its features are not finite
        """
        turned = pixels if self.aligned else rotate(pixels, angle)
        if self.segments is None:
            with self.timer("embed"):
                model = self.embedder
                patches = aligned_patches(model, pixels, angle) if self.aligned else model.patches(turned)
        else:
            segments = self._propose(image, (turned.shape[1], turned.shape[0]))
            if len(segments) == 0:
                raise ValueError("It has no segments")
            with self.timer("embed"):
                patches = [Patches(segments, self.embedder.embed(turned, segments))]
        if not all(np.isfinite(level.features).all() for level in patches):
            raise ValueError("The embedder gave values that are not finite")
        return patches

    def _propose(self, image: JobImage, size: Size) -> Segments:
        if image.boxes is not None:
            return from_relative(size, image.boxes)
        assert self.segments is not None
        return get_proposer(self.segments)(size)


class ImageTask(Task[JobImage, Result | Skipped]):
    """Reads and embeds each image, and does ``work`` with those that can be used.

    Args:
        reader: turns them into features
        angles: degrees by which each image is turned before
    """

    def __init__(self, reader: Reader, angles: Sequence[float] = (0,)) -> None:
        self.reader = reader
        self.timer = reader.timer
        self._angles = angles

    budget = PIXELS_AHEAD

    def cost(self, item: JobImage) -> int:
        return count_pixels(item.path)

    def read(self, item: JobImage) -> NDArray[np.uint8] | ImageError:
        """Decode the image."""
        return read_image_or_error(item.path, self.reader.scale)

    def __call__(self, item: JobImage, content: NDArray[np.uint8] | ImageError) -> Embedded | Skipped:
        """Embed the image."""
        try:
            if isinstance(content, ImageError):
                raise content
            return Embedded(item, [self.reader.patches(item, content, angle) for angle in self._angles])
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


@dataclass(frozen=True)
class Job:
    """Images to be scored: by ``spec``, with ``context``, into ``report``; ``run_job`` does it.

    Attributes:
        spec: what is asked
        context: what it is done with
        report: what has come of it so far
    """

    spec: JobSpec
    context: JobContext
    report: JobReport = field(default_factory=JobReport)

    @property
    def store(self) -> RunStore:
        return self.context.store

    @property
    def timer(self) -> StageTimer:
        return self.context.timer

    def reader(self, levels: LevelScorer | None = None) -> Reader:
        """Return what turns the job's images into the features of some levels; None for those of images as they are."""
        aligned = levels is not None and levels.aligned
        return Reader(self.context.embedder, self.spec.segments, self.timer, self.spec.scale, aligned)

    @property
    def executor(self) -> Executor:
        """Has the images worked on."""
        return self.context.executor or self._this_machine

    @property
    def _this_machine(self) -> LocalExecutor:
        return LocalExecutor(self.context.workers)

    def with_progress(self, on_progress: Callable[[int], None], on_stage: Callable[[str], None]) -> Job:
        """Return the same job, its progress told to a function, and its stages to another one as well."""

        def tell(text: str) -> None:
            on_stage(text)
            self.context.on_stage(text)

        return replace(self, context=replace(self.context, on_progress=on_progress, on_stage=tell))

    def levels(self) -> LevelScorer:
        """Load the levels of the run, with what the store has of them."""
        levels = self.context.embedder.levels if self.spec.segments is None else CUSTOM_SEGMENTS
        return LevelScorer(levels, self.store.levels())

    def advance(self, count: int) -> None:
        """Say that images are finished."""
        self.context.on_progress(count)

    def stage(self, text: str) -> None:
        """Say what is done next."""
        self.context.on_stage(text)

    def map(self, task: ImageTask[Result], images: Sequence[JobImage], ordered: bool = False) -> Iterator[Result]:
        """Yield what a task makes of the images that can be used; the others are reported as skipped.

        Args:
            task: the task
            images: the images, each of which is progress
            ordered (False): whether the results must come in the images' order
        """
        with closing(self.executor.map(task, images, ordered)) as results:
            for image, result in results:
                if isinstance(result, Skipped):
                    self.skip(image, result.reason)
                else:
                    yield result
                self.advance(1)

    def embed(
        self, images: Sequence[JobImage], levels: LevelScorer, report_skipped: bool = True, angle: float = 0
    ) -> Iterator[Embedded]:
        """Yield the images that can be used with their features, in order and embedded by this machine.

        Args:
            images: the images, which are no progress: they are worked on again later
            levels: the levels of the features
            report_skipped (True): False if a later pass over the same images reports those that cannot be used
            angle (0): degrees by which they are turned before
        """
        with closing(self._this_machine.map(_Embed(self.reader(levels), [angle]), images)) as results:
            for image, result in results:
                if not isinstance(result, Skipped):
                    yield result
                elif report_skipped:
                    self.skip(image, result.reason)

    def skip(self, image: JobImage, reason: str) -> None:
        """Report an image that cannot be used."""
        self.report.skipped.append({"id": image.id, "filepath": image.path, "reason": reason})
