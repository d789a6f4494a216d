"""``load_bank``: score one image after the other against a bank file, without a dataset, a database or FiftyOne."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..embedders.base import Embedder, Patches
from ..embedders.factory import get_embedder
from ..errors import BankError, ImageError
from ..scoring.conformal import FalseAlarmShare, NormalScores
from ..scoring.levels import LevelScorer
from ..scoring.neighbors import NeighborIndex, search_threads
from ..scoring.thresholds import ThresholdRule, Thresholds, choose_thresholds, parse_threshold
from ..segments.boxes import Proposer, parse_spec
from ..segments.regions import Region
from ..storage.bank_file import BankFile
from ..storage.bank_images import file_state
from ..storage.records import ImageScores
from ..utils.grey_scale import FULL_RANGE, GreyScale
from ..utils.images import read_image
from ..utils.threads import one_blas_thread, prefetch_map, usable_cores
from ..utils.timing import StageTimer
from .array_image import array_to_rgb
from .calibration import group_scores, map_pixels
from .families import FamilyNamer, normal_segments
from .inspection import Inspection
from .job import CUSTOM_SEGMENTS, Embedded, JobImage, Reader, Skipped
from .passes import ScoreTask
from .reference import bank_score
from .shared_zones import SharedZones, parse_zones
from .siblings import part_numbers

_Source: TypeAlias = str | Path | io.BytesIO | NDArray[np.integer]

logger = logging.getLogger(__name__)


def load_bank(
    path: str | Path,
    embedder: str | None = None,
    embedder_kwargs: Mapping[str, Any] | None = None,
    segments: Proposer | None = None,
    batch_size: int | None = None,
) -> Inspector:
    """Load a file of ``save_bank`` to score single images with it, without FiftyOne.

    Args:
        path: the file
        embedder (None): for a bank of a network (``timm:``, ``torchhub:``, ``zoo:``) its name, to say that you trust
            it: such a name can stand for code from anywhere
        embedder_kwargs (None): further arguments of the embedder in place of those in the bank, if for instance the
            file of its weights lies elsewhere
        segments (None): for a bank of segments from a function or a field, the function that gives the boxes ``x0, y0,
            x1, y1`` of an image of ``(width, height)``
        batch_size (None): segments that go through the model at once

    Returns:
        an object that scores images, from any thread

    Raises:
        ValueError: if a parameter is wrong, or is missing for this bank
        FileNotFoundError: if there is no such bank
        BankError: if the bank is damaged, was altered, is of another version, or does not fit the embedder
        MissingDependencyError: if the embedder is not installed

    Examples:
        >>> inspector = segad.load_bank("screws.safetensors")  # doctest: +SKIP
        >>> inspector("part.png").anomalous  # doctest: +SKIP
        True
    """
    bank = BankFile.read(Path(path).expanduser())
    bank.check_trust(embedder)
    propose = _bank_segments(bank, segments)
    settings = bank.header.settings
    options = settings["embedder_kwargs"] if embedder_kwargs is None else embedder_kwargs
    model = get_embedder(bank.header.embedder, batch_size, settings["defects"], options)
    try:
        if model.identity != settings["embedder"]:
            raise BankError(
                f"'{path}' was made with '{settings['embedder']}', which is now '{model.identity}'; install that one, "
                "or save the bank with this one"
            )
        bank.check_levels(model.levels if propose is None else CUSTOM_SEGMENTS)
        return Inspector(bank, model, propose)
    except BaseException:
        model.close()
        raise


def _bank_segments(bank: BankFile, segments: Proposer | None) -> str | Proposer | None:
    """Return the segments of a bank; a function must be given, since a bank keeps its name only.

    Raises:
        ValueError: if it is not given, or the bank has segments of its own
    """
    named: str | None = bank.header.settings["segments"]
    try:
        is_spec = named is None or bool(parse_spec(named))
    except ValueError:
        is_spec = False
    if is_spec and segments is not None:
        raise ValueError(f"segments={segments!r}: the bank has its own, {named!r}; leave segments out")
    if not is_spec and not callable(segments):
        raise ValueError(
            f"The segments of the bank come from {named!r}, a function or a field of a dataset, which a file does not "
            "hold; pass a function of the image size that gives the same boxes as segments=..."
        )
    return named if is_spec else segments


class Inspector:
    """Scores images against a bank; made by ``load_bank``. It may be called from several threads at once.

    The figures are those that ``score_new`` gives the same file, to the last bit. An image of the bank is recognised by
    its file and, as there, not compared with itself; an array is not recognised.

    A context manager that closes the embedder.

    Attributes:
        bank: the content of the file
        thresholds: the thresholds that decide
        normals: scores of normal images, each without its own part, that p-values are relative to

    Examples:
        >>> with segad.load_bank("screws.safetensors") as inspector:  # doctest: +SKIP
        ...     inspector.set_threshold("fpr:0.01")
        ...     result = inspector(frame)  # an RGB array [height, width, 3], or a path
        >>> result.anomalous, result.score, result.p_value  # doctest: +SKIP
        (True, 2.31, 0.004)
        >>> [region.box for region in result.regions]  # doctest: +SKIP
        [(412, 96, 455, 131)]
    """

    def __init__(self, bank: BankFile, embedder: Embedder, segments: str | Proposer | None) -> None:
        header, settings = bank.header, bank.header.settings
        self.bank = bank
        self.thresholds: Thresholds = header.thresholds
        self._embedder = embedder
        self._embedding = threading.Lock()  # networks take all cores, and some only one image at a time
        self._names = {image.sha256: image.name for image in header.images if image.sha256}  # the last of copies
        self._sizes = {image.size for image in header.images}
        self._by_name = {record.id: record for record in bank.calibration}
        self._zones = None if bank.zones is None else SharedZones(bank.zones, bank.calibration, any_size=False)
        self._calibration = self._in_zones(self._zones)
        self.normals = group_scores(self._calibration, header.groups)
        scale = settings.get("grey_scale")
        self._scale = FULL_RANGE if scale is None else GreyScale(*scale)
        self._levels = LevelScorer(embedder.levels if segments is None else CUSTOM_SEGMENTS, bank.fitted)
        reader = Reader(embedder, segments, StageTimer(), self._scale, self._levels.aligned)
        self._task = _score_task(bank, self._levels, reader)

    def __call__(self, image: str | Path | bytes | NDArray[np.integer]) -> Inspection:
        """Score an image.

        Args:
            image: a path, the content of an image file, or an array ``[height, width, 3]`` of red, green and blue, or
                ``[height, width]`` of grey, of uint8 or uint16

        Returns:
            its score, p-value and decision, and on demand its map, mask, regions and their families

        Raises:
            ImageError: if it cannot be read or scored; the message says why
            ValueError: if an array is of another shape or type
        """
        thresholds, normals, zones = self.thresholds, self.normals, self._zones  # another thread may change them
        source = io.BytesIO(image) if isinstance(image, bytes) else image
        bank_name = None if isinstance(source, np.ndarray) else self._find_in_bank(source)
        patches: list[Patches] | None = None
        if bank_name in self._by_name:
            record = self._by_name[bank_name]
        elif bank_name is not None and len(self.bank.header.images) == 1:
            raise ImageError(f"'{bank_name}' is the only image of the bank and cannot be compared with itself")
        else:
            record, patches = self._score(source, bank_name)
        record = record if zones is None else zones(record)
        if self.bank.families is None:
            return Inspection(record, thresholds, normals)

        def name_families(record: ImageScores, regions: list[Region]) -> list[str]:
            return self._name_families(record, regions, patches or self._embed(source, bank_name).patches)

        return Inspection(record, thresholds, normals, name_families)

    @property
    def false_alarm_share(self) -> FalseAlarmShare | None:
        """The share of new good images that the threshold flags; None if the bank knows no scores of normal images."""
        return self.normals.false_alarm_share(self.thresholds.image) if len(self.normals) else None

    def set_threshold(self, threshold: str | float) -> Thresholds:
        """Choose anew where normal ends, for the images that are scored from now on.

        Args:
            threshold: ``"fpr:0.01"`` (share of good images that may be flagged), or a number

        Returns:
            the thresholds

        Raises:
            ValueError: if it is neither
        """
        rule = self._checked_rule(threshold)
        self.thresholds = self._choose_thresholds(rule, self.normals, self._calibration)
        return self.thresholds

    def set_zones(
        self, labels: NDArray[np.integer] | NDArray[np.bool_] | None, names: Sequence[str] = ()
    ) -> Thresholds:
        """Choose anew which parts of images are inspected, the same of each, for those that are scored from now on.

        A bank of a run whose zones were drawn once for all images has these from the start.

        What is ignored counts in no score, mask or region. Several zones are brought to one scale by the normal images,
        and the threshold follows from these by the rule that it was chosen by, as in a run with such zones.

        Args:
            labels: array ``[height, width]``, in proportion to the images: 0 where nothing counts, and 1, 2, ... in the
                zones, or a mask that is True where images are inspected; None to inspect all
            names (()): names of zones 1, 2, ...; a single one needs none

        Returns:
            the thresholds

        Raises:
            ValueError: if labels or names do not fit, nothing is left to inspect, or the threshold's rule needs scored
                images
        """
        rule = self._checked_rule(self.thresholds.rule)
        zones = None
        if labels is not None:
            zones = SharedZones(parse_zones(labels, names), self.bank.calibration, any_size=True)
        calibration = self._in_zones(zones)
        normals = group_scores(calibration, self.bank.header.groups)
        thresholds = self._choose_thresholds(rule, normals, calibration)
        self._calibration, self._zones, self.normals, self.thresholds = calibration, zones, normals, thresholds
        return thresholds

    def _in_zones(self, zones: SharedZones | None) -> list[ImageScores]:
        """Return the scores of the normal images in some zones."""
        records = self.bank.calibration
        return records if zones is None else [zones(record) for record in records]

    def _checked_rule(self, threshold: str | float) -> ThresholdRule:
        rule = parse_threshold(threshold)
        if rule.kind not in ("fpr", "value"):
            raise ValueError(
                f"threshold={threshold!r} needs scored images, of which a bank has none; use 'fpr:0.01' or a number, "
                "or save the bank of a run that has this threshold"
            )
        return rule

    def _choose_thresholds(
        self, rule: ThresholdRule, normals: NormalScores, calibration: Sequence[ImageScores]
    ) -> Thresholds:
        thresholds, warnings = choose_thresholds(rule, np.zeros(0), normals, map_pixels(calibration))
        for warning in warnings:
            logger.warning(warning)
        return replace(thresholds, min_area=self.thresholds.min_area)

    def close(self) -> None:
        """Release the embedder; the inspector may not be called afterwards."""
        self._embedder.close()

    def __enter__(self) -> Inspector:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _find_in_bank(self, source: str | Path | io.BytesIO) -> str | None:
        """Return the name that the bank knows a file by, if it is a copy of one of its images."""
        if isinstance(source, io.BytesIO):
            return self._names.get(hashlib.sha256(source.getbuffer()).hexdigest())
        try:
            is_candidate = os.path.getsize(source) in self._sizes
        except OSError:  # a URL, or it cannot be read, which is told when it is
            return None
        return self._names.get(file_state(source, "").sha256) if is_candidate else None

    @cached_property
    def _namer(self) -> FamilyNamer:
        assert self.bank.families is not None
        return FamilyNamer(self.bank.families, normal_segments(self.bank.images(), len(self.bank.header.images)))

    def _name_families(self, record: ImageScores, regions: list[Region], patches: list[Patches]) -> list[str]:
        rows = self._levels.to_stored(self._levels.transform(patches))  # as a run keeps them
        return self._namer.names(record, regions, [level.segments for level in patches], rows)

    def _score(self, source: _Source, bank_name: str | None) -> tuple[ImageScores, list[Patches]]:
        with one_blas_thread():  # as in a run: products of matrices may round otherwise with several
            embedded = self._embed(source, bank_name)
            with search_threads(usable_cores()):
                record, _ = self._task.work(embedded)
        return record, embedded.patches

    def _embed(self, source: _Source, bank_name: str | None) -> Embedded:
        if isinstance(source, np.ndarray):
            name, pixels = "The array", array_to_rgb(source, self._scale)
        else:
            name = "The file" if isinstance(source, io.BytesIO) else f"'{source}'"
            pixels = read_image(source if isinstance(source, io.BytesIO) else str(source), self._scale)
        image = JobImage(name, bank_name or "")  # no image of the bank has this path
        with self._embedding:
            embedded = self._task(image, pixels)
        if isinstance(embedded, Skipped):
            raise ImageError(f"{name} cannot be scored: {embedded.reason}")
        return embedded


def _score_task(bank: BankFile, levels: LevelScorer, reader: Reader) -> ScoreTask:
    """Make the task that scores an image against a bank, as the run did that it was saved from."""
    header, settings = bank.header, bank.header.settings
    rows = [(level.rows, level.ends) for level in bank.levels]
    rows += [
        (level.marked_rows, level.marked_ends)
        for level in bank.levels
        if level.marked_rows is not None and level.marked_ends is not None
    ]

    def index(level: tuple[NDArray[np.floating], NDArray[np.int64]]) -> NeighborIndex:
        with search_threads(1):
            return NeighborIndex(np.split(level[0], level[1][:-1]), settings["seed"])

    built = [made for _, made in prefetch_map(index, rows)]
    indexes, marked = built[: len(bank.levels)], built[len(bank.levels) :]
    names = [image.name for image in header.images]
    parts = part_numbers(names, header.groups)
    score_levels = bank_score(names, parts, lambda: indexes, settings.get("clean", False), {}, reader.timer)
    return ScoreTask(reader, levels, score_levels, marked)
