"""The modules of a PyTorch network: which of them give patch tokens or feature maps, and which are the levels.

Nothing here knows a network: what its modules give for a blank image shows it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import torch

STRIDES = (8, 16, 32)
"""Default levels of a convolutional network, in input pixels: 8 and 16 find small defects, 16 and 32 large ones."""


class ModuleTrace(NamedTuple):
    """What a module was given and gave for a blank image.

    Attributes:
        kind: name of its class
        tokens: whether it gives tokens, one vector per patch, rather than a map
        stride_before: stride in input pixels of the feature map that it was given; None if it was given none
        stride: stride of the feature map, or of the patches, that it gives; None if it gives neither
    """

    kind: str
    tokens: bool
    stride_before: int | None
    stride: int | None


def trace(module: torch.nn.Module, inputs: object, output: Any, side: int, patch: int | None) -> ModuleTrace:
    """Describe what a module was given and gave for an image of ``side`` x ``side`` px."""
    before, after = (as_map(values, side, patch) for values in (inputs, output))
    strides = (None if features is None else side // features.shape[2] for features in (before, after))
    tokens = after is not None and main_output(output).ndim == 3
    return ModuleTrace(type(module).__name__, tokens, *strides)


def main_output(output: Any) -> Any:
    """Return the first output of a module that gives several."""
    return output[0] if isinstance(output, (list, tuple)) and output else output


def as_map(output: Any, side: int, patch: int | None) -> torch.Tensor | None:
    """Read what a module gives for one image of ``side`` x ``side`` px as a feature map ``[1, d, n, n]``.

    Args:
        output: what it gives; of several outputs the first
        side: of the image
        patch: side of the patches into which the network cuts an image; None if it does not

    Returns:
        the map, or None if it is none
    """
    output = main_output(output)
    shape: tuple[int, ...] = tuple(getattr(output, "shape", ()))
    if len(shape) == 4:
        return _square_map(output, side)
    if len(shape) == 3 and shape[0] == 1 and patch is not None:
        n = side // patch
        extra = shape[1] - n * n  # [CLS] and register tokens come first
        if 0 <= extra < n * n:
            return output[:, extra:].transpose(1, 2).reshape(1, shape[2], n, n)  # [1, extra + n * n, d] before
    return None


def _square_map(output: torch.Tensor, side: int) -> torch.Tensor | None:
    count, rows, columns, last = output.shape
    if rows == columns > 1 and last != columns:
        output = output.permute(0, 3, 1, 2)  # channels come last in Swin
    rows, columns = output.shape[2:]
    return output if count == 1 and rows == columns > 1 and side % rows == 0 else None


def patch_side(network: torch.nn.Module) -> int | None:
    """Return the side of the patches into which a network's first convolution cuts an image; None if they overlap."""
    import torch

    first = next((module for module in network.modules() if isinstance(module, torch.nn.Conv2d)), None)
    return int(first.stride[0]) if first is not None and first.stride == first.kernel_size else None


def choose_layers(name: str, traces: Mapping[str, ModuleTrace], layers: Sequence[str] | None) -> list[str]:
    """Choose the modules whose outputs are the levels.

    Args:
        name: of the network, for messages
        traces: of all its modules, in the order in which they end
        layers: names that the user chose, or None

    Raises:
        ValueError: if one of these gives no feature map, or there are no defaults
    """
    dense = [module for module, traced in traces.items() if traced.stride is not None]
    if layers is not None:
        _check_layers(name, dense, layers)
        return list(layers)
    if dense and traces[dense[-1]].tokens:
        blocks = _blocks(traces)
        return list(dict.fromkeys([blocks[(len(blocks) - 1) // 2], blocks[-1]]))
    last = [layer for stride in STRIDES if (layer := _last_layer(traces, stride)) is not None]
    if not last:
        raise ValueError(f"{name} gives no patch tokens and no feature maps at the strides {STRIDES}; name its layers")
    return last


def _check_layers(name: str, dense: Sequence[str], layers: Sequence[str]) -> None:
    for layer in layers:
        if layer not in dense:
            close = get_close_matches(layer, dense, cutoff=0.4)
            raise ValueError(f"layers: {name} has no {layer!r} that gives a feature map; the closest are {close}")
    if not layers or len(set(layers)) < len(layers):
        raise ValueError(f"layers must be different names of modules, at least one, got {list(layers)}")


def _last_layer(traces: Mapping[str, ModuleTrace], stride: int) -> str | None:
    """Find the last module that gives a map at a stride."""
    # What leads from this stride to another (the next stage, the pooling before the head) is not its last layer
    leaving = tuple(f"{m}." for m, traced in traces.items() if traced.stride_before == stride != traced.stride)
    layers = [m for m, traced in traces.items() if traced.stride == stride and not m.startswith(leaving)]
    return layers[-1] if layers else None


def _blocks(traces: Mapping[str, ModuleTrace]) -> list[str]:
    """Find the blocks of a transformer: the longest list of modules of one kind, side by side, that give tokens."""
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name, traced in traces.items():
        if traced.tokens:
            groups[name.rpartition(".")[0], traced.kind].append(name)
    return max(groups.values(), key=len, default=[])


def norm_after(layer: str, network: torch.nn.Module, traces: Mapping[str, ModuleTrace]) -> torch.nn.Module:
    """Return the norm that a transformer applies to its last block, for any of its blocks; else the identity."""
    import torch

    blocks, order = _blocks(traces), list(traces)
    after = order[order.index(blocks[-1]) + 1 :] if layer in blocks else []
    norm = next((name for name in after if traces[name].tokens and "Norm" in traces[name].kind), None)
    return torch.nn.Identity() if norm is None else network.get_submodule(norm)
