"""How tests call operators, as FiftyOne does from Python and the App, and reach the plugin's copy of the package."""

from __future__ import annotations

import importlib
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
from fiftyone.operators.executor import ExecutionContext, ExecutionError

from conftest import PLUGIN

REFUSED = (ExecutionError, ValueError)
"""What an operator raises of parameters that it does not take."""


def plugin_module(name: str) -> Any:
    """Return a module of the plugin's copy by its name in the package, such as ``plugin.execution``."""
    module = type(foo.get_operator(f"{PLUGIN}/compute_segment_anomalies")).__module__
    return importlib.import_module(f"{module.removesuffix('.plugin.operators.compute')}.{name}")


def run(operator: str, dataset: fo.Dataset | None, /, state: dict[str, Any] | None = None, **params: Any) -> Any:
    """Execute an operator and return its result; the state is the App's, such as what is selected."""
    execution = foo.execute_operator(f"{PLUGIN}/{operator}", {"dataset": dataset, "params": params, **(state or {})})
    execution.raise_exceptions()
    if dataset is not None:
        dataset.reload()
    return execution.result


def form(operator: str, dataset: fo.Dataset | None, /, selected: tuple[str, ...] = (), **params: Any) -> dict[str, Any]:
    """Return the properties of an operator's form as the App gets them, by name."""
    uri = f"{PLUGIN}/{operator}"
    name = None if dataset is None else dataset.name
    request = {"dataset_name": name, "params": params, "view": [], "selected": list(selected)}
    inputs = foo.get_operator(uri).resolve_input(ExecutionContext(request, operator_uri=uri))
    return inputs.to_json()["type"]["properties"]


def operator(name: str) -> Any:
    """Return an operator of the plugin."""
    return foo.get_operator(f"{PLUGIN}/{name}")
