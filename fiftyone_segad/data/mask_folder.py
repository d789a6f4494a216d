"""Masks in a folder of their own, and the images that they are of, by name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePath

from .image_files import ImageFile, list_images, printable
from .truth import GOOD

MASK = "_mask"
"""End of the names of masks in MVTec AD."""


class MaskFolder:
    """The masks in a folder of ground truth, and the images that they may be of.

    Args:
        folder: the folder, which may be absent
        problems: gets what cannot be read
        endings: what the name of a mask may have behind that of its image, in lower case
    """

    def __init__(self, folder: Path, problems: list[str], endings: Sequence[str] = (MASK,)) -> None:
        self._folder = folder
        self._files = list_images(folder, problems)
        self._endings = endings
        self._images: defaultdict[PurePath, list[ImageFile]] = defaultdict(list)

    def add(self, image: ImageFile, name: PurePath) -> None:
        """Add an image whose masks are called ``name`` in this folder, without their endings and suffixes."""
        self._images[name].append(image)

    def assign(self) -> list[str]:
        """Give each image its masks, and none that could be another one's; return what is told of the others."""
        named: defaultdict[PurePath, list[Path]] = defaultdict(list)
        parts: defaultdict[PurePath, list[Path]] = defaultdict(list)
        orphans = set()
        for file in self._files:
            place = file.relative_to(self._folder)
            names = [PurePath(place.parent, stem) for stem in (self._without_ending(place.stem), place.stem)]
            used = [name for name in names if name in self._images]
            if used:
                named[used[0]].append(file)
            elif place.parent in self._images:  # of LOCO, in a folder of the image's name
                parts[place.parent].append(file)
            else:
                orphans.add(file.parent if len(place.parts) > 2 else file)
        for name, images in self._images.items():
            _choose(images, named[name], parts[name])
        return [f"'{printable(path)}' is a mask without an image" for path in sorted(orphans)]

    def _without_ending(self, stem: str) -> str:
        ending = next((ending for ending in self._endings if stem.lower().endswith(ending)), "")
        return stem[: len(stem) - len(ending)]


def _choose(images: list[ImageFile], named: list[Path], parts: list[Path]) -> None:
    """Give images of one name their masks: those of the same name, or the parts of one."""
    masks = [*named, *parts]
    if images[0].defect == GOOD and (len(images) > 1 or len(masks) > 1):
        return  # all of a good image is normal, whatever its mask is called
    if len(images) > 1 and masks:
        by_suffix = {mask.suffix.lower(): [mask] for mask in named}
        suffixes = {image.path.suffix.lower() for image in images}
        if len(masks) == len(by_suffix) == len(suffixes) == len(images) and suffixes == set(by_suffix):
            for image in images:
                image.masks = by_suffix[image.path.suffix.lower()]
            return
        names = " or ".join(f"'{printable(image.path)}'" for image in images)
        for image in images:
            image.problems.append(f"'{printable(masks[0])}' could be the mask of {names}; name them differently")
    elif len(named) > 1 or (named and parts):
        names = " and ".join(f"'{printable(mask)}'" for mask in masks[:2])
        images[0].problems.append(f"{names} are both masks of '{printable(images[0].path)}'; keep one")
    else:
        images[0].masks = masks
