"""A page of the App without a browser, as far as the panel knows of it."""

from __future__ import annotations

import json
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
from fiftyone.operators.executor import ExecutionContext, Executor

from conftest import PLUGIN

URI = f"{PLUGIN}/anomaly_triage"


class Page:
    """A page of the App as far as the panel knows of it: its state, what it was sent, and what it shows."""

    def __init__(self, dataset: fo.Dataset, slice: str | None = None) -> None:
        self.dataset = dataset
        self.slice = slice
        self.state: dict[str, Any] = {}
        self.data: dict[str, Any] = {}
        self.drawn: dict[str, Any] = {}
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.send("on_load")

    def ask(self, method: str, **params: Any) -> list[tuple[str, dict[str, Any]]]:
        """What the panel answers to an event."""
        request = {
            "dataset_name": self.dataset.name,
            "view": params.pop("view", []),
            "selected": params.pop("selected", []),
            "active_fields": params.pop("active_fields", []),
            "current_sample": params.pop("current_sample", None),
            "spaces": params.pop("spaces", None),
            "group_slice": self.slice,
            # As it would come from the browser
            "params": {
                "__method__": method,
                "panel_id": "1",
                "panel_state": json.loads(json.dumps(self.state)),
                **params,
            },
        }
        context = ExecutionContext(request, operator_uri=URI, executor=Executor())
        foo.get_operator(URI).execute(context)
        answer = context.executor.to_json()["requests"]
        return [(each["operator_uri"].split("/")[-1], each["params"]) for each in answer]

    def take(self, answer: list[tuple[str, dict[str, Any]]]) -> None:
        """Does what an answer says, as the App does."""
        for name, params in answer:
            if name == "patch_panel_state":
                self.state.update(params["state"])
            elif name == "patch_panel_data":
                self.data.update(params["data"])
            elif name == "show_panel_output":
                self.drawn = params["output"]["type"]["properties"]
        self.requests = answer

    def send(self, method: str, **params: Any) -> None:
        self.take(self.ask(method, **params))

    def names(self) -> list[str]:
        return [name for name, _ in self.requests]

    @property
    def slider(self) -> str:
        (name,) = (name for name in self.drawn if name.startswith("slider_"))
        return name

    def button(self, row: str, name: str) -> str:
        return self.drawn[row]["type"]["properties"][name]["view"]["label"]

    def shown_ids(self) -> list[str]:
        """Ids of the samples that the last answer has set the grid to, in order."""
        return fo.DatasetView._build(self.dataset, self.stages).values("id")

    @property
    def stages(self) -> list[dict[str, Any]]:
        """Stages of the view that the last answer has set the grid to."""
        return dict(self.requests)["set_view"]["view"]

    def move(self, value: float) -> None:
        """What the App does first: it sets the state."""
        self.state[self.slider] = value
