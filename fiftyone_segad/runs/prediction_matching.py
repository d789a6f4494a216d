"""Find which of the predictions of another program is of which image, by names."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath

from .matching import common_end

_ENDINGS = ("_anomaly_map", "_anomaly_maps", "_heatmap", "_map", "_score")
"""What the name of a map may have behind that of its image, in lower case."""


@dataclass
class Matches:
    """Which prediction is of which image.

    Attributes:
        keys: key of the prediction, by the id of the image
        ambiguous: names of images for which several predictions could be, or that share one with another image
        unused: keys of predictions that are of none
    """

    keys: dict[str, str] = field(default_factory=dict)
    ambiguous: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)


def match_predictions(keys: Iterable[str], paths: Mapping[str, str]) -> Matches:
    """Match predictions with images: by the image's id or path, else by the end of the path.

    A name alone is enough only where no other image and no other prediction has it: else the folder must be the same.

    Args:
        keys: keys of the predictions: ids, paths of images, or paths of files without their suffixes
        paths: paths of the images by id

    Examples:
        >>> paths = {"1": "/data/test/cut/000.png", "2": "/data/test/good/000.png"}
        >>> match_predictions(["cut/000", "good/000_anomaly_map"], paths).keys
        {'1': 'cut/000', '2': 'good/000_anomaly_map'}
    """
    keys = list(dict.fromkeys(keys))
    by_path = {path: id for id, path in paths.items()}
    exact = {key: key if key in paths else by_path.get(key) for key in keys}
    matches = Matches({id: key for key, id in exact.items() if id is not None})
    rest = [key for key in keys if exact[key] is None]
    open_paths = {id: path for id, path in paths.items() if id not in matches.keys}
    _match_ends(matches, rest, open_paths)
    used = set(matches.keys.values())
    matches.unused = [key for key in keys if key not in used]
    return matches


def _match_ends(matches: Matches, keys: list[str], paths: Mapping[str, str]) -> None:
    ids_by_stem: defaultdict[str, list[str]] = defaultdict(list)
    for id, path in paths.items():
        ids_by_stem[PurePath(path).stem].append(id)
    names = {key: _without_ending(key, ids_by_stem) for key in keys}
    keys_by_stem = Counter(PurePath(name).name for name in names.values())
    scored: defaultdict[str, dict[str, int]] = defaultdict(dict)  # by id: shared parts of the path, by key
    for key, name in names.items():
        stem = PurePath(name).name
        ids = ids_by_stem.get(stem, [])
        alone = len(ids) == 1 and keys_by_stem[stem] == 1
        shared = {id: common_end(_without_suffix(paths[id]), name) for id in ids}
        nearest = [id for id in ids if shared[id] == max(shared.values()) and (alone or shared[id] > 1)]
        for id in nearest:
            scored[id][key] = shared[id] if len(nearest) == 1 else -1
    for id, candidates in scored.items():
        best = [key for key, parts in candidates.items() if parts == max(candidates.values())]
        if len(best) == 1 and candidates[best[0]] > 0:
            matches.keys[id] = best[0]
        else:
            matches.ambiguous.append(paths[id])


def _without_ending(key: str, stems: Mapping[str, list[str]]) -> str:
    """Return a key without what is behind the name of the image, and without the suffix of an image's path."""
    path = PurePath(key)
    for stem in (path.name, path.stem):
        for ending in ("", *_ENDINGS):
            name = stem[: len(stem) - len(ending)]
            if stem.lower().endswith(ending) and name in stems:
                return (path.parent / name).as_posix()
    return path.as_posix()


def _without_suffix(path: str) -> str:
    return PurePath(path).with_suffix("").as_posix()
