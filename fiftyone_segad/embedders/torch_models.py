"""Dense features of any PyTorch network, chosen by name: patch tokens and feature maps by one adapter.

Nothing here knows a network. One pass over a blank image shows what its modules give: the tokens of a vision
transformer (DINOv2, Oquab et al., TMLR 2024) or the maps of a convolutional network (ResNet, He et al., CVPR 2016).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..segments.boxes import Segments, patch_grid
from .base import Embedder, Level, Patches
from .pooling import Maps, pool_boxes
from .torch_layers import ModuleTrace, as_map, choose_layers, main_output, norm_after, patch_side, trace
from .torch_loading import SOURCES, digest_of, import_or_explain, is_torch_name, load_network

if TYPE_CHECKING:
    import torch

SMALLEST_SIDE = 8
"""Pixels; in an image with a shorter side there is nothing to compare."""


class TorchEmbedder(Embedder):
    """The patch tokens or feature maps of a PyTorch network.

    A transformer's default levels are its middle and its last block: AnomalyDINO (Damm et al., WACV 2025) compares
    the tokens of the last; those of the middle, as in MuSc (Li et al., ICLR 2024), know less of what a thing is and
    more of its surface. The final norm follows each block, as in DINOv2's ``get_intermediate_layers``; [CLS] and
    register tokens are dropped. A convolutional network's are the last maps at strides of 8, 16 and 32 px. Features are
    those of one image at a time, from one thread at a time.

    Args:
        name: see ``SOURCES``. A torch hub repository is code that is run; torch asks before it trusts a new one
        input_size (448): pixels per side to which images are resized; rounded to whole patches, or multiples of 32
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
        _check_parameters(name, input_size, pooling)
        torch = import_or_explain("torch", "pip install 'fiftyone_segad[torch]'")
        loaded = load_network(name, weights)
        self.name, self._pooling = name, pooling
        self._mean, self._std = (np.array(channels, np.float32) for channels in (loaded.mean, loaded.std))  # [3]
        self._device = torch.device(device or _best_device())
        self._network: Any = loaded.network.float().eval().to(self._device)
        self._patch = patch_side(self._network)
        self._side = _even_side(input_size, self._patch)
        self._dtype, self._layout = torch.float32, torch.contiguous_format
        traces = self._trace()
        self._layers = choose_layers(name, traces, layers)
        self._norms = {layer: norm_after(layer, self._network, traces) for layer in self._layers}
        self.levels = tuple(Level(f"{layer}, stride {traces[layer].stride}", 1.0, components) for layer in self._layers)
        digest = digest_of(loaded)
        if half:
            self._use_half_precision()
        if not any(traces[layer].tokens for layer in self._layers):
            self._layout = torch.channels_last  # twice as fast on a processor
            self._network.to(memory_format=self._layout)
        self.identity = (
            f"{name} weights={digest} input={self._side} layers={','.join(self._layers)} "
            f"pooling={pooling} dtype={self._dtype}"
        )

    def patches(self, image: NDArray[np.uint8]) -> list[Patches]:
        size, maps = (image.shape[1], image.shape[0]), self._maps(image)
        return [Patches(patch_grid(size, *level.shape[:2]), level.reshape(-1, level.shape[2])) for level in maps]

    def embed(self, image: NDArray[np.uint8], segments: Segments) -> NDArray[np.float32]:
        return pool_boxes(self._maps(image), segments)

    def close(self) -> None:
        del self._network, self._norms

    def _use_half_precision(self) -> None:
        import torch

        if self._device.type == "cpu":
            self._dtype = torch.bfloat16  # only while it runs: weights stay as they are
        else:
            self._dtype = torch.float16
            self._network.half()

    def _maps(self, image: NDArray[np.uint8]) -> Maps:
        import torch

        if min(image.shape[:2]) < SMALLEST_SIDE:
            raise ValueError(
                f"An image of {image.shape[1]} x {image.shape[0]} px is too small (at least {SMALLEST_SIDE} px a side)"
            )
        resized = Image.fromarray(image).resize((self._side, self._side), Image.Resampling.BICUBIC)
        scaled = (np.asarray(resized, np.float32) / 255 - self._mean) / self._std  # [side, side, 3]
        batch = torch.from_numpy(scaled.transpose(2, 0, 1)[None])  # [1, 3, side, side]
        average = torch.nn.AvgPool2d(self._pooling, 1, self._pooling // 2, count_include_pad=False)

        def pool(layer: str, _inputs: object, output: Any) -> NDArray[np.float32]:
            features = as_map(self._norms[layer](main_output(output)), self._side, self._patch)  # [1, d, n, n]
            assert features is not None, layer
            return np.ascontiguousarray(average(features.float())[0].permute(1, 2, 0).cpu().numpy())  # [n, n, d]

        maps = self._run(batch, self._layers, pool)
        return [maps[layer] for layer in self._layers]

    def _trace(self) -> dict[str, ModuleTrace]:
        """Describe what each module does with a blank image, in the order in which they end."""
        import torch

        modules = {name: module for name, module in self._network.named_modules() if name}

        def describe(name: str, inputs: object, output: Any) -> ModuleTrace:
            return trace(modules[name], inputs, output, self._side, self._patch)

        try:
            return self._run(torch.zeros(1, 3, self._side, self._side), modules, describe)
        except (AssertionError, RuntimeError, TypeError, ValueError) as error:
            side = f"{self._side} x {self._side} px"
            raise ValueError(f"{self.name} takes no images of {side}; try another input_size ({error})") from None

    def _run(self, batch: torch.Tensor, modules: Iterable[str], take: Callable[[str, Any, Any], Any]) -> dict[str, Any]:
        """Run the network on images, and take something of what modules get and give.

        Args:
            batch: images ``[n, 3, side, side]``
            modules: names of the modules
            take: gets the name, the inputs and the output of each

        Returns:
            what ``take`` returned, by name, in the order in which the modules end
        """
        import torch

        taken: dict[str, Any] = {}

        def hook(name: str) -> Callable[[Any, Any, Any], None]:
            def call(_module: object, inputs: object, output: object) -> None:
                taken.pop(name, None)  # what is used twice counts where it is used last
                taken[name] = take(name, inputs, output)

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
        return taken


def _check_parameters(name: str, input_size: int, pooling: int) -> None:
    if not is_torch_name(name):
        raise ValueError(f"embedder={name!r} is not known; networks are named {[f'{s}:...' for s in SOURCES]}")
    if pooling < 1 or pooling % 2 == 0:
        raise ValueError(f"pooling must be an odd number from 1 on, got {pooling}")
    if not isinstance(input_size, int) or input_size < 32:
        raise ValueError(f"input_size must be at least 32 and a whole number, got {input_size!r}")


def _even_side(input_size: int, patch: int | None) -> int:
    """Round the side of the input so that it divides: else features would not lie on an even grid."""
    step = patch if patch and patch >= 8 else 32
    return max(1, round(input_size / step)) * step


def _best_device() -> str:
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
