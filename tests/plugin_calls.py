"""How tests reach the plugin's copy of the package, which is another one than the installed one."""

from __future__ import annotations

import importlib
from typing import Any

import fiftyone.operators as foo

from conftest import PLUGIN


def plugin_module(name: str) -> Any:
    """Return a module of the plugin's copy by its name in the package, such as ``plugin.execution``."""
    module = type(foo.get_operator(f"{PLUGIN}/compute_segment_anomalies")).__module__
    return importlib.import_module(f"{module.removesuffix('.plugin.operators.compute')}.{name}")
