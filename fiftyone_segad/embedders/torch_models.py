"""Dense features of any PyTorch network, chosen by name: patch tokens and feature maps by one adapter.

Nothing here knows a network. One pass over a blank image shows what its modules give: the tokens of a vision
transformer (DINOv2, Oquab et al., TMLR 2024) or the maps of a convolutional network (ResNet, He et al., CVPR 2016).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..segments.boxes import Segments, patch_grid
from .base import Embedder, Level, Patches
from .pooling import Maps, pool_boxes
from .torch_loading import SOURCES, digest_of, import_or_explain, is_torch_name, load_network

if TYPE_CHECKING:
    import torch

__all__ = ["TorchEmbedder", "is_torch_name"]

STRIDES = (8, 16, 32)
"""Default levels of a convolutional network, in input pixels: 8 and 16 find small defects, 16 and 32 large ones."""

SMALLEST_SIDE = 8
"""Pixels; in an image with a shorter side there is nothing to compare."""


class _Seen(NamedTuple):
    """What a module was given and gave for the blank image; strides in input pixels, None for what is no map."""

    kind: str
    tokens: bool
    before: int | None
    stride: int | None


class TorchEmbedder(Embedder):
    """The patch tokens or feature maps of a PyTorch network.

    A transformer's default levels are its middle and its last block: AnomalyDINO (Damm et al., WACV 2025) compares
    the tokens of the last; those of the middle, as in MuSc (Li et al., ICLR 2024), know less of what a thing is and
    more of its surface. The final norm follows each block, as in DINOv2's ``get_intermediate_layers``; [CLS] and
    register tokens are dropped. A convolutional network's are the last maps at each of ``STRIDES``. Features are
    those of one image at a time, from one thread at a time.

    Args:
        name: see ``SOURCES``. A torch hub repository is code that is run; torch asks before it trusts a new one
        input_size (448): pixels a side to which images are resized; rounded to whole patches, or multiples of 32
        layers (None): names of the modules whose outputs are the levels; None for the defaults
        pooling (3): odd side of the window over which neighbouring features are averaged, as in PatchCore (Roth
            et al., CVPR 2022); 1 for none
        weights (None): a ``.safetensors``, ``.pth`` or ``.pt`` file of tensors to use instead of a download
        half (False): computes in float16 on a GPU, in bfloat16 on a processor; features are float32 all the same
        device (None): as torch names it; None for a GPU where there is one
        components (64): principal components to which the features of a level are reduced

    Raises:
        ValueError: if a parameter is wrong, there is no such network, or the weights do not fit it
        FileNotFoundError: if there is no such file of weights
        MissingDependencyError: if a package is missing or a download fails; the message says what to do
    """

    def __init__(
        self,
        name: str,
        input_size: int = 448,
        layers: Sequence[str] | None = None,
        pooling: int = 3,
        weights: str | None = None,
        half: bool = False,
        device: str | None = None,
        components: int | None = 64,
    ) -> None:
        if not is_torch_name(name):
            raise ValueError(f"embedder={name!r} is not known; networks are named {[f'{s}:...' for s in SOURCES]}")
        if pooling < 1 or pooling % 2 == 0:
            raise ValueError(f"pooling must be an odd number from 1 on, got {pooling}")
        if input_size < 32:
            raise ValueError(f"input_size must be at least 32, got {input_size}")
        torch = import_or_explain("torch", "pip install 'fiftyone_segad[torch]'")
        loaded = load_network(name, weights)
        self.name, self._pooling = name, pooling
        self._mean, self._std = (np.array(x, np.float32) for x in (loaded.mean, loaded.std))
        self._device = torch.device(device or _best_device())
        self._network: Any = loaded.network.float().eval().to(self._device)
        self._patch = _patch_side(self._network)
        # Where the side does not divide, features would not lie on an even grid
        step = self._patch if self._patch and self._patch >= 8 else 32
        self._side = max(1, round(input_size / step)) * step
        self._dtype, self._layout = torch.float32, torch.contiguous_format
        seen = self._look()
        self._layers = _choose_layers(name, seen, layers)
        self._norms = {layer: _norm_after(layer, self._network, seen) for layer in self._layers}
        self.levels = tuple(Level(f"{layer}, stride {seen[layer].stride}", 1.0, components) for layer in self._layers)
        if half:
            self._dtype = torch.bfloat16 if self._device.type == "cpu" else torch.float16
        self.identity = (
            f"{name} weights={digest_of(loaded)} input={self._side} layers={','.join(self._layers)} "
            f"pooling={pooling} dtype={self._dtype}"
        )
        if self._dtype == torch.float16:
            self._network.half()
        if not any(seen[layer].tokens for layer in self._layers):
            self._layout = torch.channels_last  # twice as fast on a processor
            self._network.to(memory_format=self._layout)

    def patches(self, image: NDArray[np.uint8]) -> list[Patches]:
        size, maps = (image.shape[1], image.shape[0]), self._maps(image)
        return [Patches(patch_grid(size, *level.shape[:2]), level.reshape(-1, level.shape[2])) for level in maps]

    def embed(self, image: NDArray[np.uint8], segments: Segments) -> NDArray[np.float32]:
        return pool_boxes(self._maps(image), segments)

    def close(self) -> None:
        del self._network, self._norms

    def _maps(self, image: NDArray[np.uint8]) -> Maps:
        import torch

        if min(image.shape[:2]) < SMALLEST_SIDE:
            raise ValueError(
                f"An image of {image.shape[1]} x {image.shape[0]} px is too small (at least {SMALLEST_SIDE} px a side)"
            )
        resized = Image.fromarray(image).resize((self._side, self._side), Image.Resampling.BICUBIC)
        scaled = (np.asarray(resized, np.float32) / 255 - self._mean) / self._std

        pool = torch.nn.AvgPool2d(self._pooling, 1, self._pooling // 2, count_include_pad=False)

        def pooled(layer: str, _inputs: object, output: Any) -> NDArray[np.float32]:
            features = _as_map(self._norms[layer](_first(output)), self._side, self._patch)
            assert features is not None, layer
            return np.ascontiguousarray(pool(features.float())[0].permute(1, 2, 0).cpu().numpy())

        found = self._run(torch.from_numpy(scaled.transpose(2, 0, 1)[None]), self._layers, pooled)
        return [found[layer] for layer in self._layers]

    def _look(self) -> dict[str, _Seen]:
        """What each module does with a blank image, in the order in which they end."""
        import torch

        modules = {name: module for name, module in self._network.named_modules() if name}

        def look(name: str, inputs: object, output: Any) -> _Seen:
            before, after = (_as_map(x, self._side, self._patch) for x in (inputs, output))
            strides = (None if x is None else self._side // x.shape[2] for x in (before, after))
            return _Seen(type(modules[name]).__name__, after is not None and _first(output).ndim == 3, *strides)

        try:
            return self._run(torch.zeros(1, 3, self._side, self._side), modules, look)
        except (AssertionError, RuntimeError, TypeError, ValueError) as error:
            side = f"{self._side} x {self._side} px"
            raise ValueError(f"{self.name} takes no images of {side}; try another input_size ({error})") from None

    def _run(self, batch: torch.Tensor, modules: Iterable[str], take: Callable[[str, Any, Any], Any]) -> dict[str, Any]:
        """Run the network on images ``[n, 3, side, side]`` and takes something of what modules get and give."""
        import torch

        found: dict[str, Any] = {}

        def hook(name: str) -> Callable[[Any, Any, Any], None]:
            def call(_module: object, inputs: object, output: object) -> None:
                found.pop(name, None)  # what is used twice counts where it is used last
                found[name] = take(name, inputs, output)

            return call

        handles = [self._network.get_submodule(name).register_forward_hook(hook(name)) for name in modules]
        dtype = next(self._network.parameters()).dtype
        try:
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, self._dtype == torch.bfloat16):
                forward = getattr(self._network, "forward_features", self._network)  # leaves out the head
                forward(batch.to(self._device, dtype, memory_format=self._layout))
        finally:
            for handle in handles:
                handle.remove()
        return found


def _first(output: Any) -> Any:
    """A module's main output, where it gives several."""
    return output[0] if isinstance(output, (list, tuple)) and output else output


def _as_map(output: Any, side: int, patch: int | None) -> torch.Tensor | None:
    """The feature map ``[1, d, n, n]`` that a module gives for an image of ``side`` x ``side`` px, if it is one."""
    output = _first(output)
    shape: tuple[int, ...] = tuple(getattr(output, "shape", ()))
    if len(shape) == 4 and shape[1] == shape[2] > 1 and shape[3] != shape[2]:
        output, shape = output.permute(0, 3, 1, 2), (shape[0], shape[3], *shape[1:3])  # channels come last in Swin
    if len(shape) == 4 and shape[0] == 1 and shape[2] == shape[3] > 1 and side % shape[2] == 0:
        return output
    if len(shape) == 3 and shape[0] == 1 and patch is not None:
        n = side // patch
        extra = shape[1] - n * n  # [CLS] and register tokens come first
        if 0 <= extra < n * n:
            return output[:, extra:].transpose(1, 2).reshape(1, shape[2], n, n)
    return None


def _patch_side(network: torch.nn.Module) -> int | None:
    """Side of the patches into which a network's first convolution cuts an image; None if they overlap."""
    import torch

    first = next((m for m in network.modules() if isinstance(m, torch.nn.Conv2d)), None)
    return int(first.stride[0]) if first is not None and first.stride == first.kernel_size else None


def _blocks(seen: Mapping[str, _Seen]) -> list[str]:
    """The blocks of a transformer: the longest list of modules of one kind, side by side, that give tokens."""
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name, what in seen.items():
        if what.tokens:
            groups[name.rpartition(".")[0], what.kind].append(name)
    return max(groups.values(), key=len, default=[])


def _choose_layers(name: str, seen: Mapping[str, _Seen], layers: Sequence[str] | None) -> list[str]:
    dense = [module for module, what in seen.items() if what.stride is not None]
    if layers is not None:
        for layer in layers:
            if layer not in dense:
                close = get_close_matches(layer, dense, cutoff=0.4)
                raise ValueError(f"layers: {name} has no {layer!r} that gives a feature map; the closest are {close}")
        if not layers or len(set(layers)) < len(layers):
            raise ValueError(f"layers must be different names of modules, at least one, got {list(layers)}")
        return list(layers)
    if dense and seen[dense[-1]].tokens:
        blocks = _blocks(seen)
        return list(dict.fromkeys([blocks[(len(blocks) - 1) // 2], blocks[-1]]))
    chosen = []
    for stride in STRIDES:
        # What leads from this stride to another (the next stage, the pooling before the head) is not its last layer
        leaving = tuple(f"{m}." for m, what in seen.items() if what.before == stride != what.stride)
        chosen += [m for m in dense if seen[m].stride == stride and not m.startswith(leaving)][-1:]
    if not chosen:
        raise ValueError(f"{name} gives no patch tokens and no feature maps at the strides {STRIDES}; name its layers")
    return chosen


def _norm_after(layer: str, network: torch.nn.Module, seen: Mapping[str, _Seen]) -> torch.nn.Module:
    """The norm that a transformer applies to its last block, for any of its blocks; else what changes nothing."""
    import torch

    blocks, order = _blocks(seen), list(seen)
    after = order[order.index(blocks[-1]) + 1 :] if layer in blocks else []
    norm = next((name for name in after if seen[name].tokens and "Norm" in seen[name].kind), None)
    return torch.nn.Identity() if norm is None else network.get_submodule(norm)


def _best_device() -> str:
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
