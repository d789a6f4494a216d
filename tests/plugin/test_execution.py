"""How operators run in the App: forms close at once, the panel shows what runs, and results come at the end."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import fiftyone as fo
import pytest
from fiftyone.operators.executor import ExecutionContext, Executor

import fiftyone_segad as segad
from conftest import PLUGIN
from plugin_calls import operator, plugin_module

Triggers = list[tuple[str, dict[str, Any]]]


def app_context(name: str, dataset: fo.Dataset | None, /, **params: Any) -> ExecutionContext:
    """A context as the App's requests make it: they hold the state of its sidebar."""
    request = {"params": params, "view": [], "extended": {}, "active_fields": ["defect", "segad_score"]}
    if dataset is not None:
        request["dataset_name"] = dataset.name
    return ExecutionContext(request, operator_uri=f"{PLUGIN}/{name}", executor=Executor())


def triggers_of(messages: Any) -> Triggers:
    """What a generator has the App do."""
    bodies = [message.body.to_json() for message in messages]
    return [(body["operator_uri"].removeprefix(f"{PLUGIN}/"), body["params"]) for body in bodies]


def run_in_app(name: str, dataset: fo.Dataset, /, **params: Any) -> Triggers:
    """What the App does of an operator, from its form to the result."""
    first = triggers_of(operator(name).execute(app_context(name, dataset, **params)))
    ((again, given),) = first
    assert again == name, "the form closes at once"
    return triggers_of(operator(name).execute(app_context(name, dataset, **given)))


def test_a_run_leaves_the_page_free_and_ends_with_its_result(dataset_with_run: fo.Dataset) -> None:
    answer = run_in_app("compute_segment_anomalies", dataset_with_run, key="later", method="unlabeled")
    names = [name for name, _ in answer]
    assert names[0] == "open_panel" and dict(answer)["open_panel"]["name"] == "anomaly_triage"
    assert "set_progress" not in names, "its dialog opens again whenever it is closed"
    assert names[-1] == "show_output"
    result = answer[-1][1]["results"]
    assert (result["key"], result["scored"]) == ("later", 6)
    assert dict(answer)["set_active_fields"]["fields"] == ["later_score", "later_pred", "later_map"]
    dataset_with_run.reload()
    assert segad.load_run(dataset_with_run, "later").scored == 6


def test_the_form_has_no_result_of_its_own(dataset_with_run: fo.Dataset) -> None:
    """The App would keep the form open to show it."""
    context = app_context("set_threshold", dataset_with_run)
    context.request_params["results"] = {}
    assert operator("set_threshold").resolve_output(context) is None


def test_an_error_is_shown_in_the_words_of_the_app(dataset_with_run: fo.Dataset) -> None:
    dataset_with_run.add_sample_field("taken_score", fo.FloatField)
    answer = run_in_app("compute_segment_anomalies", dataset_with_run, key="taken", method="unlabeled")
    name, shown = answer[-1]
    assert name == "show_output"
    assert shown["results"]["error"].endswith("use another key so that they stay")


def test_a_closed_page_stops_the_run(dataset_with_run: fo.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(*args: Any, progress: Any, **options: Any) -> None:
        bar = fo.ProgressBar(total=3, start_msg="", quiet=True)
        while True:
            progress(bar)
            time.sleep(0.01)

    monkeypatch.setattr(plugin_module("plugin.operators.compute"), "compute_segment_anomalies", endless)
    context = app_context("compute_segment_anomalies", dataset_with_run, key="later", in_background=True)
    messages = operator("compute_segment_anomalies").execute(context)
    next(messages)
    messages.close()
    execution, dataset_id = plugin_module("plugin.execution"), str(dataset_with_run._doc.id)
    end = time.monotonic() + 30
    while not execution.failures(dataset_id) and time.monotonic() < end:  # it may not even have begun
        time.sleep(0.1)
    assert "Cancelled" in execution.failures(dataset_id)["later"] and not execution.running(dataset_id)


@pytest.mark.parametrize(
    ("name", "params", "fields"),
    [
        ("image_quality", {}, ["quality_blur", "quality_brightness"]),
        ("find_contamination", {"normals": "field value", "normals_value": "good"}, ["contamination"]),
        ("find_duplicates", {"kind": "exact"}, ["duplicates_group", "duplicates_leak"]),
        ("select_coreset", {"normals": "field value", "k": 2}, ["tags"]),
        ("set_threshold", {"threshold": "quantile:0.5"}, ["segad_pred", "segad_map"]),
    ],
)
def test_what_an_operator_has_written_is_shown(
    dataset_with_run: fo.Dataset, name: str, params: dict[str, Any], fields: list[str]
) -> None:
    shown = dict(run_in_app(name, dataset_with_run, **params))["set_active_fields"]["fields"]
    assert {"defect", *fields} <= set(shown)
    dataset_with_run.reload()
    assert all(path == "tags" or dataset_with_run.get_field(path) for path in shown)


def test_on_a_page_without_a_dataset_the_form_closes_before_one_is_opened(sample_category: Path) -> None:
    """The App would show the form again instead of the result."""
    params = {"dataset_dir": str(sample_category), "name": "segad-opened-test", "persistent": False}
    context = app_context("load_folder", None, **params)
    assert operator("load_folder").execute(context) == {}
    ((again, given),) = requests_of(context)
    assert again == "load_folder"
    context = app_context("load_folder", None, **given)
    operator("load_folder").execute(context)
    try:
        (opened, where), (shown, result) = requests_of(context)
        assert (opened, where["dataset"]) == ("open_dataset", "segad-opened-test")
        assert (shown, result["results"]["problems"]) == ("show_output", 0)
    finally:
        fo.delete_dataset("segad-opened-test")


def test_what_goes_wrong_there_is_shown_too() -> None:
    context = app_context("load_folder", None, dataset_dir="/absent/folder", in_background=True)
    operator("load_folder").execute(context)
    ((name, shown),) = requests_of(context)
    assert name == "show_output"
    assert "/absent/folder" in shown["results"]["error"]


def requests_of(context: ExecutionContext) -> Triggers:
    """What a plain operator has the App do."""
    requests = context.executor.to_json()["requests"]
    return [(entry["operator_uri"].removeprefix(f"{PLUGIN}/"), entry["params"]) for entry in requests]


def test_a_failure_is_shown_once_it_has_ended(dataset_with_run: fo.Dataset) -> None:
    """It is stored before, so that no poll sees neither; a button would move away under the mouse."""
    execution, dataset_id = plugin_module("plugin.execution"), str(dataset_with_run._doc.id)
    monitor = execution._RunMonitor(dataset_id, "later")
    monitor.__enter__()
    execution._store().set(f"failed:{dataset_id}:later", "out of paper")
    assert execution.running(dataset_id) == ["later"] and execution.failures(dataset_id) == {}
    monitor.__exit__(ValueError, ValueError("out of paper"), None)
    assert execution.running(dataset_id) == [] and execution.failures(dataset_id) == {"later": "out of paper"}


def test_progress_says_what_is_done_and_how_long_it_takes(
    dataset_with_run: fo.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    execution = plugin_module("plugin.execution")
    monkeypatch.setattr(execution, "_INTERVAL", 0)
    labels: list[str] = []
    report = execution._RunMonitor.report

    def note(self: Any, bar: Any, show: Any) -> None:
        report(self, bar, lambda share, label: labels.append(label))

    monkeypatch.setattr(execution._RunMonitor, "report", note)
    run_in_app("compute_segment_anomalies", dataset_with_run, key="later", method="unlabeled")
    assert any(re.fullmatch(r"[a-z ]+, \d+%, about \d+ s left", label) for label in labels), labels
    assert labels[-1] == "writing the fields, 100%"
    assert not any("steps" in label for label in labels)
