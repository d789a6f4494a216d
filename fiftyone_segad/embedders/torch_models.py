"""Dense features of any PyTorch network, chosen by name: patch tokens and feature maps by one adapter.

Nothing here knows a network. One pass over a blank image shows what its modules give: the tokens of a vision
transformer (DINOv2, Oquab et al., TMLR 2024) or the maps of a convolutional network (ResNet, He et al., CVPR 2016).
"""

from __future__ import annotations

import hashlib
import importlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import MissingDependencyError
from ..segments import Segments, patch_grid
from .base import Embedder, Level, Patches
from .dense import Maps, pool_boxes

if TYPE_CHECKING:
    import torch

SOURCES = ("timm", "torchhub", "zoo")
"""What a name begins with: ``timm:NAME``, ``torchhub:OWNER/REPO:ENTRY`` or ``torchhub:FOLDER:ENTRY``, ``zoo:NAME``."""

STRIDES = (8, 16, 32)
"""Default levels of a convolutional network, in input pixels: 8 and 16 find small defects, 16 and 32 large ones."""

SMALLEST_SIDE = 8
"""Pixels; in an image with a shorter side there is nothing to compare."""

# Parts that dense features do not depend on, by the first part of their tensors' names
_HEADS = {"aux_classifier", "classifier", "fc", "head", "head_dist", "heads", "last_linear", "mask_token"}


def is_torch_name(name: str) -> bool:
    """Whether a name stands for a PyTorch network: one of :data:`SOURCES`, a colon, and what to load."""
    source, _, model = name.partition(":")
    return source in SOURCES and bool(model)


class _Loaded(NamedTuple):
    network: Any
    mean: Sequence[float] = (0.485, 0.456, 0.406)  # ImageNet's, for networks that do not tell theirs
    std: Sequence[float] = (0.229, 0.224, 0.225)


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
    register tokens are dropped. A convolutional network's are the last maps at each of :data:`STRIDES`. Features are
    those of one image at a time, from one thread at a time.

    Args:
        name: see :data:`SOURCES`. A torch hub repository is code that is run; torch asks before it trusts a new one
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
        torch = _module("torch", "pip install 'fiftyone_segad[torch]'")
        loaded = _load(name, weights)
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
            f"{name} weights={_digest(loaded)} input={self._side} layers={','.join(self._layers)} "
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
        """Runs the network on images ``[n, 3, side, side]`` and takes something of what modules get and give."""
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


def _load(name: str, weights: str | None) -> _Loaded:
    """Builds a network with its published weights, or with those of a file in their stead."""
    tensors = None if weights is None else _read_weights(Path(weights).expanduser())
    source, _, model = name.partition(":")
    load = {"timm": _from_timm, "torchhub": _from_hub, "zoo": _from_zoo}[source]
    try:
        loaded = load(model, tensors is None)
    except MissingDependencyError:
        raise
    except ImportError as error:
        raise MissingDependencyError(f"{name} needs a package that is not installed: {error}") from None
    except Exception as error:
        if not any(_is_failed_download(e) for e in (error, error.__cause__)):
            raise
        clone = ", and a local clone as torchhub:/path/to/clone:ENTRY" if source == "torchhub" else ""
        raise MissingDependencyError(
            f"The weights of {name} could not be downloaded ({type(error).__name__}: {error}). Without a network, "
            f'pass a local file with embedder_kwargs={{"weights": "/path/to/file"}}{clone}'
        ) from None
    if tensors is not None:
        _fill(loaded.network, tensors, f"{weights} does not hold the weights of {name}")
    return loaded


def _is_failed_download(error: BaseException | None) -> bool:
    return isinstance(error, OSError) or type(error).__module__.startswith(("httpx", "huggingface_hub"))


def _from_timm(model: str, pretrained: bool) -> _Loaded:
    timm = _module("timm", "pip install timm")
    if ":" not in model:  # else a source that timm knows, such as hf-hub:
        _check_known("timm", model, [*timm.list_models(), *timm.list_models(pretrained=True)])
    options = {"pretrained": pretrained, "num_classes": 0}
    try:
        try:
            network = timm.create_model(model, dynamic_img_size=True, **options)
        except TypeError:  # only transformers know the option, and only they need it
            network = timm.create_model(model, **options)
    except RuntimeError as error:  # timm's class for weights that it cannot get
        raise ConnectionError(error) from None
    return _Loaded(network, network.pretrained_cfg["mean"], network.pretrained_cfg["std"])


def _from_hub(model: str, pretrained: bool) -> _Loaded:
    hub = importlib.import_module("torch.hub")
    repository, _, entry = model.rpartition(":")
    local = bool(repository) and Path(repository).is_dir()
    if not local and repository.count("/") != 1:
        raise ValueError(f"torchhub:{model}: {repository!r} is neither a folder nor OWNER/REPO")
    source = "local" if local else "github"
    try:
        return _Loaded(
            hub.load(repository, entry, source=source, trust_repo="check", verbose=False, pretrained=pretrained)
        )
    except TypeError as error:
        raise ValueError(f"torchhub:{model} must take pretrained=True and False, as DINOv2's do ({error})") from None
    except EOFError:
        raise ValueError(f"torch asks whether to trust the code of {repository}; load it in a terminal once") from None
    except RuntimeError as error:
        if "Cannot find callable" not in str(error):
            raise
        raise ValueError(f"embedder='torchhub:{model}' is not known: {error}") from None


def _from_zoo(model: str, pretrained: bool) -> _Loaded:
    import fiftyone.zoo as foz

    _check_known("zoo", model, foz.list_zoo_models())
    if pretrained:
        wrapper = foz.load_zoo_model(model, cache=False)  # FiftyOne's own copy may not be changed
        network = getattr(wrapper, "_model", None)
        config = getattr(getattr(wrapper, "config", None), "__dict__", {})
    else:
        config = foz.get_zoo_model(model).default_deployment_config_dict["config"]
        module, _, function = config.get("entrypoint_fcn", "").rpartition(".")
        options = dict(config.get("entrypoint_args") or {})
        options |= {"weights": None} if "weights" in options else {"pretrained": False}
        network = getattr(importlib.import_module(module), function)(**options) if module else None
    if not hasattr(network, "named_modules"):
        raise ValueError(f"zoo:{model} cannot be used here: it is not built around one PyTorch network")
    return _Loaded(network, *(config[key] for key in ("image_mean", "image_std") if config.get(key)))


def _check_known(source: str, model: str, known: Sequence[str]) -> None:
    if model not in known:
        close = get_close_matches(model, known, cutoff=0.5)
        raise ValueError(f"embedder='{source}:{model}' is not known; the closest names are {close}")


def _read_weights(path: Path) -> Mapping[str, torch.Tensor]:
    import torch

    if not path.is_file():
        raise FileNotFoundError(f"weights: there is no file {path}")
    if path.suffix == ".safetensors":
        read = _module("safetensors.torch", "pip install safetensors").load_file
    elif path.suffix in (".pth", ".pt"):
        read = partial(torch.load, map_location="cpu", weights_only=True)  # anything else could run code
    else:
        raise ValueError(f"weights={str(path)!r} must be a .safetensors, .pth or .pt file")
    try:
        content = read(path)
    except Exception as error:  # each format has classes of its own
        reason = type(error).__name__
        raise ValueError(f"{path} cannot be read ({reason}); it must hold tensors alone: save a state_dict") from None
    for key in ("state_dict", "model"):
        content = content.get(key, content) if isinstance(content, dict) else {}
    return {key.removeprefix("module."): x for key, x in content.items() if isinstance(x, torch.Tensor)}


def _fill(network: torch.nn.Module, tensors: Mapping[str, torch.Tensor], complaint: str) -> None:
    """Puts tensors into a network; raises a ValueError if they fit it nowhere but in its head."""
    own = network.state_dict()
    needed = [key for key in own if not _is_head(key)]
    fitting = {key: tensors[key] for key in own if key in tensors and tensors[key].shape == own[key].shape}
    wrong = [key for key in needed if key not in fitting] + [k for k in tensors if k not in own and not _is_head(k)]
    if wrong:
        raise ValueError(f"{complaint}: {len(wrong)} tensors are missing, unknown or of another shape: {wrong[:3]}")
    network.load_state_dict(fitting, strict=False)


def _is_head(key: str) -> bool:
    # Old files do not have the counter of a batch norm, which only training uses
    return key.split(".")[0] in _HEADS or key.endswith("num_batches_tracked")


def _digest(loaded: _Loaded) -> str:
    """The same for the same weights, downloaded or from a file, whatever the head."""
    import torch

    digest = hashlib.sha256(repr((list(loaded.mean), list(loaded.std))).encode())
    for key, tensor in sorted(loaded.network.state_dict().items()):
        if not _is_head(key):
            digest.update(f"{key} {list(tensor.shape)}".encode())
            digest.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:12]


def _module(name: str, command: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingDependencyError(f"{name} cannot be imported ({error}). Install it with: {command}") from None
