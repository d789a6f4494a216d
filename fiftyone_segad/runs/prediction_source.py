"""The predictions of another program, whichever way they are handed over."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..data.layouts.csv_rows import read_rows
from ..data.layouts.table import COLUMNS, IMAGE
from .map_files import as_array, find_map_files

_SCORE_COLUMNS = ("score", "pred_score", "anomaly_score", "image_score")

_PATHS, _MAPS, _SCORES = ("image_path",), ("anomaly_map", "anomaly_maps"), ("pred_score", "pred_scores")
"""Names of parts of a batch that anomalib's ``Engine.predict`` returns, in its present and its former version."""


@dataclass(frozen=True)
class Prediction:
    """What another program says of an image.

    Attributes:
        map: its anomaly map, or the file of it
        score: its image score, if there is one
    """

    map: Path | Any
    score: float | None = None


def collect_predictions(predictions: Any) -> dict[str, Prediction]:
    """Return predictions by id, path or name of their image.

    Args:
        predictions: a folder of maps; maps, or pairs of a map and a score, by id or path; or batches of anomalib

    Raises:
        FileNotFoundError: if there is no such folder, or no map in it
        ValueError: if it is none of these
    """
    if isinstance(predictions, (str, Path)):
        files = find_map_files(Path(predictions).expanduser().absolute())
        return {name: Prediction(file) for name, file in files.items()}
    if isinstance(predictions, Mapping):
        return {str(key): _prediction(value) for key, value in predictions.items()}
    if isinstance(predictions, Iterable):
        return {path: prediction for batch in predictions for path, prediction in _of_batch(batch)}
    raise ValueError(
        f"predictions is a {type(predictions).__name__}; pass a folder, a dict of maps by path, or what anomalib's "
        "Engine.predict gives"
    )


def _prediction(value: Any) -> Prediction:
    if isinstance(value, tuple) and len(value) == 2 and np.ndim(as_array(value[1])) == 0:
        return Prediction(_map_or_file(value[0]), float(value[1]))
    return Prediction(_map_or_file(value))


def _map_or_file(value: Any) -> Any:
    return Path(value) if isinstance(value, str) else value


def _of_batch(batch: Any) -> Iterator[tuple[str, Prediction]]:
    """Yield the path and the prediction of each image of a batch.

    Raises:
        ValueError: if it is no batch with paths and maps
    """
    paths, maps, scores = (_part(batch, names) for names in (_PATHS, _MAPS, _SCORES))
    if paths is None or maps is None:
        raise ValueError(
            f"predictions holds a {type(batch).__name__} without image_path and anomaly_map; pass a folder, a dict of "
            "maps by path, or what anomalib's Engine.predict gives"
        )
    if isinstance(paths, (str, Path)):  # a single item
        paths, maps, scores = [paths], [maps], None if scores is None else [scores]
    values = [None] * len(paths) if scores is None else as_array(scores).ravel().tolist()
    if not len(paths) == len(maps) == len(values):
        raise ValueError(f"predictions holds {len(paths)} paths, {len(maps)} maps and {len(values)} scores in a batch")
    for path, anomaly, score in zip(paths, maps, values, strict=True):
        yield str(path), Prediction(anomaly, score)


def _part(batch: Any, names: tuple[str, ...]) -> Any:
    for name in names:
        value = batch.get(name) if isinstance(batch, Mapping) else getattr(batch, name, None)
        if value is not None:
            return value
    return None


def collect_scores(scores: Mapping[str, float] | str | Path) -> dict[str, float]:
    """Return image scores by id, path or name of their image, from a dict or a table.

    Raises:
        FileNotFoundError: if there is no such file
        ValueError: if it has no columns of images and scores, or a score is no finite number
    """
    rows = scores.items() if isinstance(scores, Mapping) else _read_scores(Path(scores).expanduser().absolute())
    values = {}
    for name, text in rows:
        try:
            values[str(name)] = float(text)
        except (TypeError, ValueError):
            values[str(name)] = np.nan
        if not np.isfinite(values[str(name)]):
            raise ValueError(f"scores: that of '{name}' is {text!r}, which is no finite number")
    return values


def _read_scores(file: Path) -> Iterator[tuple[str, str]]:
    if not file.is_file():
        raise FileNotFoundError(f"There is no file '{file}'")
    rows = read_rows(file)
    names = list(rows[0]) if rows else []
    image = next((name for name in names if name.replace("_", " ") in COLUMNS[IMAGE]), None)
    score = next((name for name in _SCORE_COLUMNS if name in names), None)
    if image is None or score is None:
        raise ValueError(f"'{file}' needs a column 'image' and a column 'score'; it has {names}")
    return ((row[image], row[score]) for row in rows)
