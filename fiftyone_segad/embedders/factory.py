"""Embedders by name: which there are, what each needs, and how one is loaded."""

from __future__ import annotations

import difflib
import importlib.util
import inspect
import platform
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ..errors import MissingDependencyError, SegadError
from .base import Embedder
from .efficientnet import EfficientNetEmbedder
from .fastdup import FastdupEmbedder, fastdup_folder
from .fused import FusedEmbedder
from .torch_loading import is_torch_name
from .torch_models import TorchEmbedder

EMBEDDERS: dict[str, Callable[..., Embedder]] = {
    "efficientnet": EfficientNetEmbedder,
    "fastdup": FastdupEmbedder,
}
"""Embedders by name. Besides these there are names of PyTorch networks (``timm:``, ``torchhub:``, ``zoo:``), fused
ones (``fastdup+efficientnet``), and ``auto``."""

CHOICES = ("auto", "efficientnet", "fastdup", "fastdup+efficientnet")
"""Names to choose from without knowing networks by name."""

DEFECTS = ("any", "small", "large")
"""What an embedder is to look for: ``small`` leaves out its coarse levels, ``large`` its fine ones."""

_FOCUS: dict[str, dict[str, dict[str, Any]]] = {
    "small": {"efficientnet": {"levels": (8,)}, "fastdup": {"tiles": {"tiles": 1.0}}},
    "large": {"efficientnet": {"levels": (16, 32)}, "fastdup": {"tiles": {"tiles:0.25:0.125": 1.0}}},
}


def resolve_name(name: str, method: str = "reference") -> str:
    """Return the embedder that a name stands for.

    ``auto`` is fastdup for ``within_image``, which is fastdup's method, if it is installed, and else EfficientNet,
    which is more accurate and quicker. Fusing both gains too little to cost twice the time by default (see
    ``benchmarks/``).

    Raises:
        ValueError: if there is no such embedder

    Examples:
        >>> resolve_name("auto")
        'efficientnet'
    """
    if name == "auto":
        return "fastdup" if method == "within_image" and _has_fastdup() else "efficientnet"
    for part in str(name).split("+"):
        if part not in EMBEDDERS and not is_torch_name(part):
            close = difflib.get_close_matches(part, EMBEDDERS, 1)
            raise ValueError(
                f"embedder={name!r} is not known"
                + (f" (did you mean '{close[0]}'?)" if close else "")
                + f"; use one of {list(CHOICES)}, or a PyTorch network: 'timm:NAME', 'torchhub:OWNER/REPO:NAME', "
                "'zoo:NAME'"
            )
    return name


def get_embedder(
    name: str,
    batch_size: int | None = None,
    defects: str = "any",
    options: Mapping[str, Any] | None = None,
    method: str = "reference",
) -> Embedder:
    """Load an embedder by name.

    Args:
        name: a key of ``EMBEDDERS``, the name of a PyTorch network, several joined by ``+``, or ``auto``
        batch_size (None): segments that go through the model at once; None is the fastest measured
        defects ("any"): one of ``DEFECTS``
        options (None): further arguments of the embedder; of fused ones, by name of the embedder
        method ("reference"): what ``auto`` is chosen for

    Raises:
        ValueError: if there is no such embedder, or an argument is wrong
        MissingDependencyError: if what it needs is not installed; the message says how to install it
    """
    if batch_size is not None and (not isinstance(batch_size, int) or batch_size < 1):
        raise ValueError(f"batch_size must be at least 1, got {batch_size!r}")
    if defects not in DEFECTS:
        raise ValueError(f"defects={defects!r} is not known; use one of {list(DEFECTS)}")
    parts = resolve_name(name, method).split("+")
    if len(set(parts)) < len(parts):
        raise ValueError(f"embedder={name!r} names an embedder twice")
    by_embedder = dict(options or {})
    if len(parts) == 1:
        by_embedder = {parts[0]: by_embedder}
    elif unknown := set(by_embedder) - set(parts):
        raise ValueError(f"embedder_kwargs has {sorted(unknown)}; with {name!r} it must be by embedder: {parts}")
    embedders: list[Embedder] = []
    try:
        for part in parts:
            embedders.append(_load(part, batch_size, defects, by_embedder.get(part, {})))
    except BaseException:
        for embedder in embedders:
            embedder.close()
        raise
    embedder = embedders[0] if len(embedders) == 1 else FusedEmbedder(embedders)
    embedder.load = partial(_load_alike, "+".join(parts), batch_size, defects, options)
    return embedder


def _load_alike(
    name: str, batch_size: int | None, defects: str, options: Mapping[str, Any] | None, identity: str
) -> Embedder:
    """Load an embedder that another machine has loaded, too.

    Raises:
        SegadError: if it has another identity here
    """
    embedder = get_embedder(name, batch_size, defects, options)
    if embedder.identity != identity:
        raise SegadError(
            f"embedder='{name}' is '{embedder.identity}' on {platform.node()}, and '{identity}' where the run was "
            "started; install the same versions on all machines"
        )
    return embedder


def _load(name: str, batch_size: int | None, defects: str, options: Mapping[str, Any]) -> Embedder:
    focus = _FOCUS.get(defects, {}).get(name, {})
    if defects != "any" and not focus:
        raise ValueError(f"defects={defects!r} is for {list(_FOCUS[defects])}; embedder '{name}' looks at all it has")
    make: Callable[..., Embedder] = partial(TorchEmbedder, name)
    if name in EMBEDDERS:
        _check_onnxruntime()
        make = partial(EMBEDDERS[name], batch_size=batch_size)
    arguments = {**focus, **options}
    try:
        inspect.signature(make).bind(**arguments)
    except TypeError as error:
        raise ValueError(f"embedder_kwargs of '{name}': {error}") from None
    try:
        return make(**arguments)
    except TypeError as error:
        if not options:
            raise
        raise ValueError(
            f"embedder_kwargs={dict(options)!r} of '{name}' has a value of a wrong type: {error}"
        ) from error


def check_installed(name: str, method: str = "reference") -> None:
    """Check, without loading anything, that what an embedder needs is there.

    Raises:
        ValueError: if there is no such embedder
        MissingDependencyError: if something is missing; the message says how to install it
    """
    for part in resolve_name(name, method).split("+"):
        if part == "fastdup":
            fastdup_folder()
        if part in EMBEDDERS:
            _check_onnxruntime()


def _check_onnxruntime() -> None:
    """Name the missing requirement where a plugin's are not installed yet, which its download does not do."""
    if importlib.util.find_spec("onnxruntime") is None:
        raise MissingDependencyError(
            "This embedder needs onnxruntime, which is not installed. Install it with: pip install onnxruntime"
        )


def _has_fastdup() -> bool:
    try:
        fastdup_folder()
    except MissingDependencyError:
        return False
    return True
