"""Find the images of a run that comes from another machine among those of a dataset."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence

from ..storage.bank_images import FileState, file_state
from ..storage.run_archive import CarriedImage


class LocalFiles:
    """Files of this machine by their content. Only those are read that have the size of one that is looked for.

    Args:
        paths: paths by id
        carried: what will be looked for
    """

    def __init__(self, paths: Mapping[str, str], carried: Iterable[CarriedImage]) -> None:
        self.paths = paths
        sizes = {image.size for image in carried}
        self._states: dict[str, FileState] = {}
        self._ids: dict[str, list[str]] = {}
        for id, path in paths.items():
            try:
                is_candidate = os.path.getsize(path) in sizes
            except OSError:
                continue
            if is_candidate:
                self._states[id] = file_state(path, path)
                self._ids.setdefault(self._states[id].sha256, []).append(id)

    def same_content(self, image: CarriedImage) -> list[str]:
        """Return the ids of the files with the content of an image."""
        return self._ids.get(image.sha256, []) if image.sha256 else []

    def may_be(self, id: str, image: CarriedImage) -> bool:
        """Return whether nothing says that a file is another one than an image."""
        if id not in self.paths:
            return False
        return not image.sha256 or not os.path.isfile(self.paths[id]) or id in self.same_content(image)


def match_samples(carried: Sequence[CarriedImage], files: LocalFiles) -> dict[str, str]:
    """Find the sample of each image: by its id, else by its content, else by the end of its path.

    Args:
        carried: images that a run scored elsewhere
        files: the files of the samples, by their ids

    Returns:
        ids of the samples by those of the images; each sample stands for one image at most
    """
    matches = {image.id: image.id for image in carried if files.may_be(image.id, image)}
    taken = set(matches.values())
    for image in carried:
        if image.id in matches:
            continue
        candidates = [id for id in files.same_content(image) if id not in taken]
        if not image.sha256:  # it could not be read there: only its name tells
            candidates = [id for id in files.paths if id not in taken and common_end(files.paths[id], image.path)]
            candidates = _nearest(candidates, files, image)
            candidates = candidates if len(candidates) == 1 else []
        if candidates:
            matches[image.id] = _nearest(candidates, files, image)[0]
            taken.add(matches[image.id])
    return matches


def match_paths(carried: Sequence[CarriedImage], files: LocalFiles) -> dict[str, str]:
    """Find the file of this machine that is the same as each image, by the names under which a run has these."""
    nearest = {image.id: _nearest(files.same_content(image), files, image) for image in carried}
    return {name: files.paths[ids[0]] for name, ids in nearest.items() if ids}


def _nearest(ids: list[str], files: LocalFiles, image: CarriedImage) -> list[str]:
    """Return those ids whose paths end most like that of an image."""
    ends = {id: common_end(files.paths[id], image.path) for id in ids}
    return [id for id in ids if ends[id] == max(ends.values())]


def common_end(path: str, other: str) -> int:
    """Count the last parts that two paths share.

    >>> common_end("/data/test/cut/0.png", "D:\\\\screw\\\\test\\\\cut\\\\0.png")
    3
    """
    parts, other_parts = (re.split(r"[\\/]", text)[::-1] for text in (path, other))
    shared = [one == two for one, two in zip(parts, other_parts, strict=False)]
    return shared.index(False) if False in shared else len(shared)
