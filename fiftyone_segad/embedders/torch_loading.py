"""Networks of PyTorch by name, with their published weights or those of a local file."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import MissingDependencyError

if TYPE_CHECKING:
    import torch

SOURCES = ("timm", "torchhub", "zoo")
"""What a name begins with: ``timm:NAME``, ``torchhub:OWNER/REPO:ENTRY`` or ``torchhub:FOLDER:ENTRY``, ``zoo:NAME``."""

# Parts that dense features do not depend on, by the first part of their tensors' names
_HEADS = {"aux_classifier", "classifier", "fc", "head", "head_dist", "heads", "last_linear", "mask_token"}


class Loaded(NamedTuple):
    """A network, and the mean and standard deviation of the colours it was trained on."""

    network: Any
    mean: Sequence[float] = (0.485, 0.456, 0.406)  # ImageNet's, for networks that do not tell theirs
    std: Sequence[float] = (0.229, 0.224, 0.225)


def is_torch_name(name: str) -> bool:
    """Tell whether a name stands for a PyTorch network: one of ``SOURCES``, a colon, and what to load.

    Examples:
        >>> is_torch_name("timm:resnet18"), is_torch_name("fastdup")
        (True, False)
    """
    source, _, model = name.partition(":")
    return source in SOURCES and bool(model)


def load_network(name: str, weights: str | None) -> Loaded:
    """Build a network with its published weights, or with those of a file instead.

    Args:
        name: see ``SOURCES``
        weights: the file, or None

    Raises:
        ValueError: if there is no such network, or the weights do not fit it
        FileNotFoundError: if there is no such file
        MissingDependencyError: if a package is missing or a download fails; the message says what to do
    """
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


def _from_timm(model: str, pretrained: bool) -> Loaded:
    timm = import_or_explain("timm", "pip install timm")
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
    return Loaded(network, network.pretrained_cfg["mean"], network.pretrained_cfg["std"])


def _from_hub(model: str, pretrained: bool) -> Loaded:
    hub = importlib.import_module("torch.hub")
    repository, _, entry = model.rpartition(":")
    local = bool(repository) and Path(repository).is_dir()
    if not local and repository.count("/") != 1:
        raise ValueError(f"torchhub:{model}: {repository!r} is neither a folder nor OWNER/REPO")
    source = "local" if local else "github"
    try:
        return Loaded(
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


def _from_zoo(model: str, pretrained: bool) -> Loaded:
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
    return Loaded(network, *(config[key] for key in ("image_mean", "image_std") if config.get(key)))


def _check_known(source: str, model: str, names: Sequence[str]) -> None:
    if model not in names:
        close = get_close_matches(model, names, cutoff=0.5)
        raise ValueError(f"embedder='{source}:{model}' is not known; the closest names are {close}")


def _read_weights(path: Path) -> Mapping[str, torch.Tensor]:
    import torch

    if not path.is_file():
        raise FileNotFoundError(f"weights: there is no file {path}")
    if path.suffix == ".safetensors":
        read = import_or_explain("safetensors.torch", "pip install safetensors").load_file
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
    """Put tensors into a network.

    Raises:
        ValueError: if they do not fit it, but for its head; the message begins with the complaint
    """
    state = network.state_dict()
    fitting = {key: tensors[key] for key in state if key in tensors and tensors[key].shape == state[key].shape}
    missing = [key for key in state if key not in fitting and not _is_head(key)]
    wrong = missing + [key for key in tensors if key not in state and not _is_head(key)]
    if wrong:
        raise ValueError(f"{complaint}: {len(wrong)} tensors are missing, unknown or of another shape: {wrong[:3]}")
    network.load_state_dict(fitting, strict=False)


def _is_head(key: str) -> bool:
    # Old files do not have the counter of a batch norm, which only training uses
    return key.split(".")[0] in _HEADS or key.endswith("num_batches_tracked")


def digest_of(loaded: Loaded) -> str:
    """Return a digest that is the same for the same weights, downloaded or from a file, whatever the head."""
    import torch

    digest = hashlib.sha256(repr((list(loaded.mean), list(loaded.std))).encode())
    for key, tensor in sorted(loaded.network.state_dict().items()):
        if not _is_head(key):
            digest.update(f"{key} {list(tensor.shape)}".encode())
            digest.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:12]


def import_or_explain(name: str, command: str) -> Any:
    """Import a module, or raise an error that says how to install it.

    Raises:
        MissingDependencyError: if it, or a package that it needs, is not installed
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        missing = error.name or name
        remedy = command if missing.partition(".")[0] == name else f"pip install {missing.partition('.')[0]}"
        raise MissingDependencyError(f"{name} cannot be imported ({error}). Install it with: {remedy}") from None
