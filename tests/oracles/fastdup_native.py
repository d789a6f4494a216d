"""The real fastdup package in a subprocess: the oracle that the in-memory embedder is held against."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fiftyone_segad.embedders.base import Embedder, Level, Patches
from fiftyone_segad.embedders.fastdup import FEATURES, INSTALL_COMMAND, fastdup_folder, installed_version
from fiftyone_segad.errors import MissingDependencyError, SegadError
from fiftyone_segad.scoring.fastdup_rule import Outliers
from fiftyone_segad.segments.boxes import SMALLEST_TILE, Segments, tiles

NATIVE_INSTALL_COMMAND = f"{INSTALL_COMMAND} && pip install pyOpenSSL pillow_heif sentry-sdk==2.27.0"
"""fastdup's own pins exclude every current FiftyOne, so that only what its import needs is installed."""

_WORKER = Path(__file__).with_name("_fastdup_worker.py")
_QUIET = {"SENTRY_OPT_OUT": "1", "FIFTYONE_DO_NOT_TRACK": "true"}


class FastdupNativeEmbedder(Embedder):
    """Features and outliers from the real fastdup, run on segments written to temporary PNG files.

    Many times slower than ``FastdupEmbedder``, which gives the same features; made for comparison.
    fastdup runs in a process of its own, kept warm between images, with its telemetry switched off.
    """

    name = "fastdup-native"

    def __init__(self, batch_size: int | None = None) -> None:
        self.levels = (Level("tiles"),)
        fastdup_folder()
        self.identity = f"fastdup-native-{installed_version()}"
        self._worker = subprocess.Popen(
            [sys.executable, str(_WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **_QUIET},
        )
        answer = self._read()
        if "error" in answer:
            self.close()
            raise MissingDependencyError(
                f"fastdup is installed but cannot be imported ({answer['error']}). "
                f"Install what it needs with: {NATIVE_INSTALL_COMMAND}"
            )

    def embed(self, image: NDArray[np.uint8], segments: Segments) -> NDArray[np.float32]:
        if len(segments) == 0:
            return np.zeros((0, FEATURES), np.float32)
        sides = segments.boxes[:, 2:] - segments.boxes[:, :2]
        if sides.min() < SMALLEST_TILE:
            raise ValueError(f"fastdup takes no segments with a side below {SMALLEST_TILE} px; use larger ones")
        with tempfile.TemporaryDirectory(prefix="segad-") as folder:
            write_segments(image, segments, f"{folder}/segments")
            features = np.array(self._ask("features", folder), np.float32)
        if len(features) != len(segments):
            raise SegadError(f"fastdup gave features for {len(features)} of {len(segments)} segments")
        return features

    def patches(self, image: NDArray[np.uint8]) -> list[Patches]:
        segments = tiles((image.shape[1], image.shape[0]))
        return [Patches(segments, self.embed(image, segments))]

    def find_outliers(self, image: NDArray[np.uint8], segments: Segments) -> Outliers:
        """Asks fastdup itself for the outlier segments of one image (``fd.outliers()``)."""
        if len(segments) < 2:
            return Outliers(np.zeros(0, np.int64), np.zeros(0, np.float32))
        with tempfile.TemporaryDirectory(prefix="segad-") as folder:
            write_segments(image, segments, f"{folder}/segments")
            pairs = self._ask("outliers", folder)
        indices, similarities = zip(*pairs, strict=True) if pairs else ((), ())
        return Outliers(np.array(indices, np.int64), np.array(similarities, np.float32))

    def close(self) -> None:
        if self._worker.poll() is None:
            self._worker.kill()
        self._worker.wait()
        for pipe in (self._worker.stdin, self._worker.stdout):
            if pipe is not None:
                pipe.close()

    def _ask(self, job: str, folder: str) -> Any:
        assert self._worker.stdin is not None
        try:
            self._worker.stdin.write(json.dumps({"job": job, "folder": folder}) + "\n")
            self._worker.stdin.flush()
        except BrokenPipeError:
            raise SegadError("The fastdup process has died; start the run again") from None
        answer = self._read()
        if "error" in answer:
            raise SegadError(f"fastdup failed: {answer['error']}")
        return answer["result"]

    def _read(self) -> dict[str, Any]:
        assert self._worker.stdout is not None
        line = self._worker.stdout.readline()
        if not line:
            return {"error": f"its process ended with code {self._worker.wait()}"}
        answer: dict[str, Any] = json.loads(line)
        return answer


def write_segments(image: NDArray[np.uint8], segments: Segments, folder: str) -> None:
    """Writes each segment to ``folder`` as a PNG file named by its number, as the original method did."""
    os.makedirs(folder)
    for index, (x0, y0, x1, y1) in enumerate(segments.boxes):
        Image.fromarray(image[y0:y1, x0:x1]).save(f"{folder}/{index}.png", compress_level=1)
