"""Keep the zones of a run's images in its folder.

    <folder>/zones.json         names and scales of the zones; for each image its file of labels and its zones' scores
    <folder>/zones/D.png        numbers of the zones of an image's pixels, one file for all images of the same zones;
                                D is a digest of it
    <folder>/zones/D-hatched.png  the same for the eye, what is ignored in stripes

The records of ``scores/`` and ``normals/`` know of no zones: other zones need neither the images nor the network.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import RunError
from ..segments.zones import MOST_ZONES, ZoneMap, ZoneScale
from ..utils.files import link_or_copy, read_json, write_json, write_png
from ..utils.values import make_dataclass

FILE, FOLDER = "zones.json", "zones"


@dataclass(frozen=True)
class ZoneField:
    """Where zones are drawn.

    Attributes:
        field: the label field
        zones_from: id of the sample whose zones are those of all images of its size; None if there is none
    """

    field: str
    zones_from: str | None = None


@dataclass
class ImageZones:
    """The zones of an image.

    Attributes:
        file: name of its file of labels
        scores: score of the image in each of its zones, not yet on the common scale
        moved: whether they are those that were drawn once, moved with its part
    """

    file: str
    scores: dict[str, float]
    moved: bool = False


@dataclass
class MovedZones:
    """Zones that were drawn once, and move with the part on each image.

    Attributes:
        file: name of their file of labels
        part: where the part lies on which they were drawn, as ``TurnedSegments.part``
    """

    file: str
    part: list[list[float]]


@dataclass
class StoredZones:
    """The zones of a run.

    Attributes:
        names: names of the zones 1, 2, ...
        scales: scale of each zone
        images: zones by image: a sample's id, or the path of a normal image. An image that is not there is inspected
            as a whole
        drawn: the zones that move with parts; None if there are none
    """

    names: list[str] = field(default_factory=list)
    scales: dict[str, ZoneScale] = field(default_factory=dict)
    images: dict[str, ImageZones] = field(default_factory=dict)
    drawn: MovedZones | None = None

    def zone_map(self, folder: Path, image: str) -> ZoneMap:
        """Read the zones of an image from a run's folder.

        Raises:
            RunError: if the file is gone or damaged
        """
        stored = _read_labels(folder / FOLDER / self.images[image].file)
        drawn = self.drawn_map(folder) if self.images[image].moved else None
        return ZoneMap(stored.labels, tuple(self.names), drawn=drawn)

    def drawn_map(self, folder: Path) -> ZoneMap | None:
        """Read the zones that move with parts from a run's folder; None if there are none.

        Raises:
            RunError: if the file is gone or damaged
        """
        if self.drawn is None:
            return None
        labels = _read_labels(folder / FOLDER / self.drawn.file).labels
        return ZoneMap(labels, tuple(self.names), np.array(self.drawn.part))

    def picture(self, folder: Path, image: str) -> Path | None:
        """Return the file that shows the zones of an image in a run's folder, which is drawn if it is not there yet."""
        if image not in self.images:
            return None
        labels = folder / FOLDER / self.images[image].file
        file = labels.with_name(f"{labels.stem}-hatched.png")
        if not file.is_file():
            write_png(file, Image.fromarray(self.zone_map(folder, image).hatch()))
        return file

    def add_map(self, folder: Path, zones: ZoneMap) -> tuple[str, ZoneMap]:
        """Keep the zones of an image; returns the name of the file, and the zones with this run's numbers."""
        for name in zones.present:
            if name not in self.names:
                self.names.append(name)
        numbers = [0, *(self.names.index(name) + 1 if name in self.names else 0 for name in zones.names)]
        zones = replace(zones, labels=np.array(numbers, np.uint8)[zones.labels], names=tuple(self.names))
        labels = zones.labels
        digest = hashlib.sha256(repr(labels.shape).encode() + labels.tobytes()).hexdigest()[:16]
        file = folder / FOLDER / f"{digest}.png"
        if not file.is_file():
            file.parent.mkdir(parents=True, exist_ok=True)
            write_png(file, Image.fromarray(labels))
        return file.name, zones


def has_zones(folder: Path) -> bool:
    """Return whether a run has zones."""
    return (folder / FILE).is_file()


def read_zones(folder: Path) -> StoredZones | None:
    """Read the zones of a run; None if it has none.

    Raises:
        RunError: if the file is damaged
    """
    file = folder / FILE
    if not has_zones(folder):
        return None
    try:
        saved = read_json(file) or {}
        scales = {name: make_dataclass(ZoneScale, scale) for name, scale in saved["scales"].items()}
        names = [str(name) for name in saved["names"]]
        images = {
            id: ImageZones(str(image["file"]), image["scores"], bool(image.get("moved")))
            for id, image in saved["images"].items()
        }
        numbers = [score for image in images.values() for score in image.scores.values()]
        if not all(isinstance(score, float) for score in numbers) or len(names) > MOST_ZONES:
            raise ValueError("scores are no numbers, or there are too many zones")
        drawn = None if saved.get("drawn") is None else make_dataclass(MovedZones, saved["drawn"])
        if drawn is not None and not is_place(np.array(drawn.part, np.float64)):
            raise ValueError("nothing tells where the part lies on which zones were drawn")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"'{file}' is damaged: {error}; compute the run again") from error
    return StoredZones(names, scales, images, drawn)


def is_place(part: NDArray[Any]) -> bool:
    """Return whether an array tells where a part lies, as ``TurnedSegments.part``: it can be inverted.

    >>> is_place(np.eye(2, 3)), is_place(np.zeros((2, 3)))
    (True, False)
    """
    if part.shape != (2, 3) or part.dtype.kind != "f" or not np.isfinite(part).all():
        return False
    return bool(abs(np.linalg.det(part[:, :2])) > 1e-6)


def remove_zones(folder: Path) -> None:
    """Have a run inspect its images as a whole."""
    (folder / FILE).unlink(missing_ok=True)


def save_zones(folder: Path, zones: StoredZones) -> None:
    """Keep the zones of a run."""
    values: dict[str, Any] = {
        "names": zones.names,
        "scales": {name: vars(scale) for name, scale in zones.scales.items()},
        "images": {id: vars(image) for id, image in zones.images.items()},
        "drawn": None if zones.drawn is None else vars(zones.drawn),
    }
    write_json(folder / FILE, values)


def copy_zones(source: Path, target: Path, names: Mapping[str, str]) -> None:
    """Copy the zones of a run into another folder, its images under other ids or paths."""
    zones = read_zones(source)
    if zones is None:
        return
    drawn = set() if zones.drawn is None else {zones.drawn.file}
    for file in drawn | {image.file for image in zones.images.values()}:
        _check_name(file)
        (target / FOLDER).mkdir(parents=True, exist_ok=True)
        link_or_copy(source / FOLDER / file, target / FOLDER / file)
    zones.images = {names.get(id, id): image for id, image in zones.images.items()}
    save_zones(target, zones)


def _check_name(file: str) -> None:
    if Path(file).name != file:
        raise RunError(f"A file of zones is called '{file}'; export the run again")


@lru_cache(maxsize=4)
def _read_labels(file: Path) -> ZoneMap:
    _check_name(file.name)
    labels = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    if labels is None or labels.ndim != 2 or labels.dtype != np.uint8:
        raise RunError(f"'{file}' is gone or damaged; compute the run again")
    return ZoneMap(np.asarray(labels, np.uint8), ())
