"""Dense features of EfficientNet-Lite2 in ONNX Runtime, from the network that this package ships; no PyTorch.

``tools/convert_efficientnet.py`` has made the file; ``NOTICE`` says where the weights are from.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ..segments.boxes import Segments, patch_grid
from ..utils.threads import usable_cores
from .base import Embedder, Level, Patches
from .pooling import Maps, pool_boxes

NETWORK = Path(__file__).with_name("efficientnet_lite2.onnx")

INPUT_SIZE = 512

LEVELS: dict[int, tuple[int, ...]] = {8: (2, 4), 16: (3, 4, 5), 32: (6,)}
"""By stride in pixels of the network's input: the stages whose outputs are joined."""

POOLING = {2: 3, 3: 3, 4: 3, 5: 3, 6: 5}
"""Side of the square of patches over which each stage is averaged, within the network. The coarsest looks for what is
odd over a large area."""

WEIGHTS = {8: 1.0, 16: 2.0, 32: 1.0}
"""Shares of the strides in the fused score. The middle one is good at small and at large defects alike."""

COMPONENTS = 64
"""Principal components of a level's features that are compared."""

WHITENED = (8,)
"""Strides whose components are scaled to one variance; without it fine levels follow the strongest textures."""

_SMALLEST_SIDE = 16
"""Pixels; in an image with a shorter side there is nothing to compare."""


class EfficientNetEmbedder(Embedder):
    """Patch features of EfficientNet-Lite2 at three strides.

    The image is resized to a square; each level is a map of features, averaged over 3 x 3 patches (5 x 5 at stride 32).

    Args:
        input_size: side of the network's input in pixels, a multiple of 32. Larger finds smaller defects, at a
            cost that grows with its square
        levels: strides to use, of 8, 16 and 32. Small strides find small defects, large ones those of
            texture, shape and large areas
        batch_size: has no effect: one image goes through the network at a time

    Raises:
        ValueError: if a parameter is out of range
    """

    name = "efficientnet"

    def __init__(
        self, input_size: int = INPUT_SIZE, levels: Sequence[int] = tuple(LEVELS), batch_size: int | None = None
    ) -> None:
        if not isinstance(input_size, int) or input_size < 64 or input_size % 32:
            raise ValueError(f"input_size={input_size!r} must be a whole number, a multiple of 32, and at least 64")
        if not levels or not set(levels) <= set(LEVELS) or len(set(levels)) != len(levels):
            raise ValueError(f"levels={list(levels)!r} must be some of the strides {list(LEVELS)}")
        self.input_size = input_size
        self._strides = tuple(sorted(levels))
        self.levels = tuple(
            Level(f"stride {s}", WEIGHTS[s], components=COMPONENTS, whiten=s in WHITENED, positional=True)
            for s in self._strides
        )
        self._stages = tuple(dict.fromkeys(stage for stride in self._strides for stage in LEVELS[stride]))
        import onnxruntime  # here, so that the package imports in no time

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = usable_cores()
        # Threads that wait actively take the cores from the search, which follows each image
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(NETWORK, options, providers=["CPUExecutionProvider"])
        digest = self._session.get_modelmeta().custom_metadata_map["weights_sha256"][:12]
        stages = "-".join(f"{stride}{LEVELS[stride]}" for stride in self._strides)
        pooling = tuple(POOLING[stage] for stage in self._stages)
        self.identity = f"efficientnet-lite2-{digest}-{input_size}-{stages}-pool{pooling}"

    def patches(self, image: NDArray[np.uint8]) -> list[Patches]:
        size = (image.shape[1], image.shape[0])
        return [
            Patches(patch_grid(size, *features.shape[:2]), features.reshape(-1, features.shape[2]))
            for features in self._maps(image)
        ]

    def embed(self, image: NDArray[np.uint8], segments: Segments) -> NDArray[np.float32]:
        return pool_boxes(self._maps(image), segments)

    def _maps(self, image: NDArray[np.uint8]) -> Maps:
        if min(image.shape[:2]) < _SMALLEST_SIDE:
            raise ValueError(
                f"An image of {image.shape[1]} x {image.shape[0]} px is too small for this embedder "
                f"(at least {_SMALLEST_SIDE} px)"
            )
        side = self.input_size
        shrinks = side <= min(image.shape[:2])
        resized = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        stages = self._run(resized[None])
        return [join_maps([stages[stage][0] for stage in LEVELS[stride]]) for stride in self._strides]

    def _run(self, images: NDArray[np.uint8]) -> dict[int, NDArray[np.float32]]:
        """Compute the pooled maps ``[n, rows, columns, d]`` of the stages from images ``[n, side, side, 3]``."""
        names = [f"stage{stage}" for stage in self._stages]
        maps = self._session.run(names, {"image": images, "last_stage": np.array(max(self._stages))})
        return dict(zip(self._stages, maps, strict=True))


def join_maps(maps: Maps) -> NDArray[np.float32]:
    """Join maps along their features, all resized (bilinearly) to the finest, which comes first.

    Examples:
        >>> join_maps([np.zeros((8, 8, 5), np.float32), np.zeros((4, 4, 3), np.float32)]).shape
        (8, 8, 8)
    """
    rows, columns = maps[0].shape[:2]
    return np.concatenate([maps[0], *(_resize(coarse, columns, rows) for coarse in maps[1:])], axis=2)


def _resize(features: NDArray[np.float32], columns: int, rows: int) -> NDArray[np.float32]:
    if features.shape[:2] == (rows, columns):
        return features
    # OpenCV resizes 4 channels at a time with speed, more than 512 not at all
    resized = [cv2.resize(part, (columns, rows)) for part in np.split(features, range(4, features.shape[2], 4), axis=2)]
    return np.concatenate([part.reshape(rows, columns, -1) for part in resized], axis=2)
