"""The work of a run: images are decoded, embedded and scored into a store. Knows nothing of FiftyOne."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from .embedders import Embedder
from .errors import ImageError, SegadError
from .images import read_ahead
from .maps import anomaly_map
from .scoring.reference import Bank, build_bank, score_own, score_segments
from .scoring.within_image import find_outliers
from .scoring.within_image import segment_scores as within_image_scores
from .segments import Proposer, Segments, Size, from_relative, get_proposer
from .store import PART_SIZE, ImageScores, RunStore, ScoreParts

Embedded = tuple["JobImage", Segments, NDArray[np.float32]]


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
    """Scores images into a store; what the store holds already is not done again.

    Attributes:
        images: the images to score
        normals: normal images: the bank of ``reference``, and what thresholds are calibrated on. Their ids
            are their paths
        method: ``reference`` or ``within_image``
        segments: specification or function of the segments, for images that bring no boxes
        embedder: the embedder
        store: where scores and bank go
        workers: threads that decode
        advance: called with the number of images that were finished; may raise to stop the job, which loses
            nothing that was finished
        skipped: ``{"id", "filepath", "reason"}`` of the images that could not be used
        clock: seconds spent, by stage
    """

    images: list[JobImage]
    normals: list[JobImage]
    method: str
    segments: str | Proposer
    embedder: Embedder
    store: RunStore
    workers: int
    advance: Callable[[int], None] = lambda count: None
    skipped: list[dict[str, str]] = field(default_factory=list)
    clock: Clock = field(default_factory=Clock)

    def run(self) -> None:
        """Does all that is left to do.

        Raises:
            SegadError: if none of the normal images, or none of the images, can be used
        """
        if self.method == "reference":
            bank, owners = self._build_bank()
            self._score_bank(bank, owners)
            self._score_against(bank, {owner.path for owner, _ in owners})
        else:
            self._score_within(self.normals, self.store.normals)
            self._score_within(self.images, self.store.scores)
        if not self.store.scores.ids() & {image.id for image in self.images}:
            raise SegadError(f"None of the {len(self.images)} images could be scored. {self._first_reason()}")

    def _build_bank(self) -> tuple[Bank, list[tuple[JobImage, Segments]]]:
        known = {str(path) for part in self.store.bank for path in part["paths"]}
        pending: list[Embedded] = []
        try:
            for embedded in self._embed([image for image in self.normals if image.path not in known]):
                pending.append(embedded)
                if len(pending) >= PART_SIZE:
                    self._save_bank(pending)
                    pending = []
        finally:
            self._save_bank(pending)
        self.advance(len(known))
        features: list[NDArray[np.float32]] = []
        owners = []
        by_path = {image.path: image for image in self.normals}
        for part in self.store.bank:
            features += np.split(part["features"], np.cumsum(part["counts"])[:-1])
            for path, size in zip(part["paths"], part["sizes"], strict=True):
                owner = by_path[str(path)]
                owners.append((owner, self._propose(owner, (int(size[0]), int(size[1])))))
        if not features:
            raise SegadError(f"None of the {len(self.normals)} normal images could be used. {self._first_reason()}")
        return build_bank(features), owners

    def _save_bank(self, pending: list[Embedded]) -> None:
        if pending:
            self.store.bank.append(
                {
                    "paths": np.array([image.path for image, _, _ in pending]),
                    "sizes": np.array([segments.size for _, segments, _ in pending], np.int64),
                    "counts": np.array([len(features) for _, _, features in pending], np.int64),
                    "features": np.concatenate([features for _, _, features in pending]),
                }
            )

    def _score_bank(self, bank: Bank, owners: list[tuple[JobImage, Segments]]) -> None:
        """Scores each normal image against the others; a single one has no others."""
        done = self.store.normals.ids()
        for index, (image, segments) in enumerate(owners if bank.images > 1 else ()):
            if image.id not in done:
                with self.clock("search"):
                    scores = score_own(bank, index)
                self._add(self.store.normals, image.id, segments, scores)
        self.store.normals.flush()

    def _score_against(self, bank: Bank, bank_paths: set[str]) -> None:
        """Scores images against the bank; one that is in the bank was scored against the others already."""
        done = self.store.scores.ids()
        missing = [image for image in self.images if image.id not in done]
        own = [image for image in missing if image.path in bank_paths]
        try:
            self._copy_scores(own, bank)
            for image, segments, features in self._embed([i for i in missing if i.path not in bank_paths]):
                with self.clock("search"):
                    scores = score_segments(features, bank)
                self._add(self.store.scores, image.id, segments, scores)
        finally:
            self.store.scores.flush()
        self.advance(len(self.images) - len(missing) + len(own))

    def _copy_scores(self, images: list[JobImage], bank: Bank) -> None:
        if bank.images == 1:
            for image in images:
                self._skip(image, "It is the only normal image and cannot be compared with itself; add normals")
            return
        by_path: dict[str, list[JobImage]] = {}
        for image in images:
            by_path.setdefault(image.path, []).append(image)
        for record in self.store.normals if by_path else ():
            for image in by_path.get(record.id, ()):
                self.store.scores.add(replace(record, id=image.id))

    def _score_within(self, images: list[JobImage], target: ScoreParts) -> None:
        done = target.ids()
        missing = [image for image in images if image.id not in done]
        try:
            for image, segments, features in self._embed(missing):
                with self.clock("search"):
                    scores = within_image_scores(features)
                    outliers = np.isin(np.arange(len(segments)), find_outliers(features).indices)
                self._add(target, image.id, segments, scores, outliers)
        finally:
            target.flush()
        self.advance(len(images) - len(missing))

    def _embed(self, images: list[JobImage]) -> Iterator[Embedded]:
        """Yields the images that can be used; the others are noted in ``skipped``."""
        decoded = read_ahead([image.path for image in images], self.workers)
        for image in images:
            with self.clock("decode"):
                pixels = next(decoded)
            try:
                if isinstance(pixels, ImageError):
                    raise pixels
                segments = self._propose(image, (pixels.shape[1], pixels.shape[0]))
                if len(segments) == 0:
                    raise ValueError("It has no segments")
                with self.clock("embed"):
                    features = self.embedder.embed(pixels, segments)
                if not np.isfinite(features).all():
                    raise ValueError("The embedder gave values that are not finite")
            except (ImageError, ValueError) as error:
                self._skip(image, str(error))
            else:
                yield image, segments, features
            self.advance(1)

    def _propose(self, image: JobImage, size: Size) -> Segments:
        if image.boxes is not None:
            return from_relative(size, image.boxes)
        return get_proposer(self.segments)(size)

    def _add(
        self,
        target: ScoreParts,
        id: str,
        segments: Segments,
        scores: NDArray[np.float32],
        outliers: NDArray[np.bool_] | None = None,
    ) -> None:
        with self.clock("map"):
            image_score = float(anomaly_map(segments, scores).max())
        if outliers is None:
            outliers = np.zeros(len(scores), bool)
        target.add(ImageScores(id, segments, scores, outliers, image_score))

    def _skip(self, image: JobImage, reason: str) -> None:
        self.skipped.append({"id": image.id, "filepath": image.path, "reason": reason})

    def _first_reason(self) -> str:
        return f"The first: {self.skipped[0]['filepath']}: {self.skipped[0]['reason']}" if self.skipped else ""
