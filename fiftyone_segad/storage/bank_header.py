"""Check what a bank file says of itself, apart from its arrays."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..scoring.thresholds import Thresholds
from ..utils.grey_scale import GreyScale
from ..utils.values import all_finite, make_dataclass
from .bank_images import FileState


@dataclass(frozen=True)
class BankSettings:
    """The settings that a bank must have among those of its run."""

    embedder: str
    segments: str | None
    defects: str
    embedder_kwargs: dict[str, Any]
    bank_size: int | None
    seed: int
    grey_scale: tuple[int, int] | None = None
    clean: bool = False
    align: bool | None = False


@dataclass(frozen=True)
class BankHeader:
    """A bank but for its arrays.

    Attributes:
        embedder: name of the embedder
        settings: the run's settings, as JSON values
        thresholds: the run's thresholds
        map_range: scores that heatmaps show as 0 and 255
        levels: names of the embedder's levels
        images: the normal images
        normals: names of the normal images whose scores are kept
        marked: names of the images of which parts were marked as normal in a review
        groups: names of the normal images of each group that shows the same part
        families: names of the families of anomalous regions
        zones: names of the zones 1, 2, ... that images have in common
    """

    embedder: str
    settings: dict[str, Any]
    thresholds: Thresholds
    map_range: tuple[float, float]
    levels: list[str]
    images: list[FileState]
    normals: list[str]
    marked: list[str] = field(default_factory=list)
    groups: list[list[str]] = field(default_factory=list)
    families: list[str] = field(default_factory=list)
    zones: list[str] = field(default_factory=list)


def parse_header(text: str) -> BankHeader:
    """Read a header that was written as JSON.

    Raises:
        ValueError: if it is damaged, or a value contradicts others; the message says which
    """
    try:
        header = make_dataclass(BankHeader, json.loads(text))
    except RecursionError as error:
        raise ValueError("its header is nested too deeply") from error
    settings = make_dataclass(BankSettings, header.settings, ignore_unknown=True)
    if settings.grey_scale is not None:
        GreyScale(*settings.grey_scale)
    numbers = [header.thresholds.image, header.thresholds.pixel, *header.map_range]
    names = [image.name for image in header.images]
    paths = [name for name in (*names, *header.marked) if Path(name).name != name]
    for fits, otherwise in (
        (all_finite(numbers), "a threshold is not finite"),
        (header.map_range[0] < header.map_range[1], "its range of heatmaps is empty"),
        (len(header.levels) > 0, "it has no levels"),
        (len(set(names)) == len(names) > 0, "it has no images, or two of one name"),
        ({name for group in header.groups for name in group} <= set(names), "its groups name other images"),
        (not paths, f"'{''.join(paths[:1])}' is not the name of a file"),
    ):
        if not fits:
            raise ValueError(otherwise)
    return header
