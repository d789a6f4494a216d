"""The panel Review without a browser: what its half in Python answers."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
import pytest
import yaml
from fiftyone.operators.executor import ExecutionContext, Executor

import fiftyone_segad as segad
from conftest import PLUGIN, ROOT
from fiftyone_segad.review.lost_defects import LostDefect
from plugin_calls import plugin_module

URI = f"{PLUGIN}/anomaly_review"


@pytest.fixture
def dataset(dataset_with_run: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    # As in the App's server, where each request loads the dataset anew and reloads none that is at work
    monkeypatch.setattr(fo.config, "singleton_cache", False)
    assert dataset_with_run.count("segad_regions.detections"), "there are no alarms to review"
    return dataset_with_run


def ask(dataset: Any, method: str, /, **params: Any) -> Any:
    """Ask the panel as its component does."""
    request = {"dataset_name": dataset.name, "params": {"__method__": method, "panel_id": "1", **params}}
    context = ExecutionContext(request, operator_uri=URI, executor=Executor())
    answer = foo.get_operator(URI).execute(context)
    assert context.executor.to_json()["requests"] == [], "it draws nothing"
    return answer


def decision(
    alarm: dict[str, Any], label: str | None, action: str = "a", replaces: str | None = None
) -> dict[str, Any]:
    return {"action": action, "sample": alarm["sample"], "box": alarm["box"], "label": label, "replaces": replaces}


def test_the_queue_has_each_region_highest_first(dataset: Any) -> None:
    queue = ask(dataset, "queue")
    scores = [alarm["score"] for alarm in queue["alarms"]]
    assert scores == sorted(dataset.values("segad_regions.detections.anomaly_score", unwind=True), reverse=True)
    assert sorted(queue["telling"]) == list(range(len(scores)))
    assert (queue["run"], queue["unlearnt"], queue["marks"], queue["learning"]) == ("segad", 0, {}, None)
    assert "of 4 good images" in queue["alarms"][0]["rarity"]


def test_a_long_queue_begins_with_what_is_open(dataset: Any) -> None:
    segad.set_threshold(dataset, "segad", min(dataset.values("segad_score")) / 2)  # all images are flagged
    alarms = ask(dataset, "queue")["alarms"]
    highest, lowest = alarms[0], min(alarms, key=lambda alarm: alarm["imageScore"])
    assert len(alarms) > 2
    first = ask(dataset, "queue", most=1)
    assert (first["total"], first["alarms"]) == (len(alarms), [highest])
    ask(dataset, "decide", decisions=[decision(highest, "normal")])
    second = ask(dataset, "queue", most=1)
    assert second["alarms"] == alarms[:2], "what is reviewed comes along"
    telling = ask(dataset, "queue", most=1, order="telling")
    assert lowest in telling["alarms"] and len(telling["alarms"]) == len(telling["telling"]) == 2
    assert telling["alarms"][telling["telling"][0]] == lowest, "nearest to the threshold"


def test_a_long_queue_has_the_alarms_of_the_open_sample(dataset: Any) -> None:
    segad.set_threshold(dataset, "segad", min(dataset.values("segad_score")) / 2)
    lowest = ask(dataset, "queue")["alarms"][-1]
    request = {"dataset_name": dataset.name, "current_sample": lowest["sample"]}
    params = {"__method__": "queue", "panel_id": "1", "most": 0}
    context = ExecutionContext({**request, "params": params}, operator_uri=URI, executor=Executor())
    queue = foo.get_operator(URI).execute(context)
    assert lowest in queue["alarms"] and {alarm["sample"] for alarm in queue["alarms"]} == {lowest["sample"]}
    context = ExecutionContext({**request, "params": {"__method__": "opened"}}, operator_uri=URI, executor=Executor())
    assert foo.get_operator(URI).execute(context) == {"sample": lowest["sample"]}


def test_a_decision_is_in_the_next_answers(dataset: Any) -> None:
    alarm = ask(dataset, "queue")["alarms"][0]
    answer = ask(dataset, "decide", decisions=[decision(alarm, "normal")], by="ada")
    mark = {"label": "normal", "by": "ada", "action": "a"}
    assert answer == {"outcomes": [{"action": "a", "mark": mark, "refused": False}]}
    assert ask(dataset, "poll")["marks"] == {alarm["id"]: mark} == ask(dataset, "queue")["marks"]
    assert ask(dataset, "poll")["unlearnt"] == 1


def test_a_poll_that_brings_nothing_new_is_short(dataset: Any) -> None:
    queue = ask(dataset, "queue")
    assert "marks" not in ask(dataset, "poll", version=queue["version"])
    ask(dataset, "decide", decisions=[decision(queue["alarms"][0], "normal")])
    news = ask(dataset, "poll", version=queue["version"])
    assert len(news["marks"]) == 1 and "marks" not in ask(dataset, "poll", version=news["version"])


def test_a_decision_on_another_dataset_is_not_taken(dataset: Any) -> None:
    alarm = ask(dataset, "queue")["alarms"][0]
    answer = ask(dataset, "decide", dataset="another", decisions=[decision(alarm, "normal")])
    assert "another dataset" in answer["error"] and segad.list_marks(dataset, "segad") == []


def test_shapes_are_paths_over_the_image(dataset: Any) -> None:
    alarm = ask(dataset, "queue")["alarms"][0]
    (shapes,) = ask(dataset, "shapes", ids=[alarm["id"], "0" * 24]).values()
    assert tuple(shapes["size"]) == (96, 80)
    assert shapes["outline"].startswith("M") and all(line.startswith("M") for line in shapes["map"])
    assert shapes["truth"] is None and shapes["hit"] is None


def test_the_truth_is_drawn_where_it_is_known(dataset: Any) -> None:
    import numpy as np

    mask = np.zeros((80, 96), np.uint8)
    mask[30:46, 40:56] = 255
    dataset.set_values("defect_mask", [None] * 5 + [fo.Segmentation(mask=mask)])
    alarms = ask(dataset, "queue")["alarms"]
    shapes = ask(dataset, "shapes", ids=[alarm["id"] for alarm in alarms])
    spot = next(alarm for alarm in alarms if alarm["sample"] == dataset.last().id)
    assert shapes[spot["id"]]["hit"] is True and shapes[spot["id"]]["truth"].startswith("M")


def test_the_nearest_normal_segment_is_of_another_image(dataset: Any) -> None:
    alarm = ask(dataset, "queue")["alarms"][0]
    normal = ask(dataset, "normals", ids=[alarm["id"]])[alarm["id"]]
    assert normal["path"] in dataset.limit(4).values("filepath") and normal["path"] != alarm["path"]
    assert normal["name"] == Path(normal["path"]).name and len(normal["box"]) == 4 and normal["distance"] > 0


def wait_until_learnt(dataset: Any) -> Any:
    """Ask until the run has learnt; while it puts its fields in place, it asks to be asked again."""
    while "error" in (answer := ask(dataset, "poll")) or answer["learning"] is not None:
        time.sleep(0.1)
    return answer


def test_learning_goes_on_without_the_page(dataset: Any) -> None:
    queue = ask(dataset, "queue")
    ask(dataset, "decide", decisions=[decision(alarm, "normal", alarm["id"]) for alarm in queue["alarms"]])
    assert ask(dataset, "learn") == {}
    after = wait_until_learnt(dataset)
    assert after["failed"] is None
    marks = "1 mark" if len(queue["alarms"]) == 1 else f"{len(queue['alarms'])} marks"
    assert after["learnt"].startswith(f"Learnt {marks}, ") and "no longer flagged" in after["learnt"]
    assert after["unlearnt"] == 0 and after["stamp"] != queue["stamp"]


def test_learning_names_defects_that_are_found_now_and_no_more(dataset: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ids, paths = dataset.values(["id", "filepath"])
    found, lost = ([LostDefect(id) for id in some] for some in (ids[:1], [*ids[1:6], ids[1]]))
    report = segad.ReviewReport(segad.load_run(dataset, "segad"), 2, ids[1:6], ids[:1], lost, found)
    monkeypatch.setattr(plugin_module("plugin.panels.anomaly_review"), "rescore", lambda *_, **__: report)
    ask(dataset, "learn")
    names = [Path(path).name for path in paths]
    assert wait_until_learnt(dataset)["learnt"] == (
        f"Learnt 2 marks, 5 images no longer flagged, 1 newly flagged, 1 defect of the ground truth found now "
        f"({names[0]}), 6 defects of the ground truth found no more ({', '.join(names[1:4])} and 2 more)"
    )


def test_a_learning_that_fails_says_why(dataset: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin_module("plugin.panels.anomaly_review"), "rescore", refuse)
    ask(dataset, "learn")
    assert wait_until_learnt(dataset)["failed"] == "the disk is full"


def refuse(*args: Any, **options: Any) -> None:
    raise OSError("the disk is full")


def test_errors_are_answers(dataset: Any) -> None:
    assert "no run 'other'" in ask(dataset, "shapes", run="other", ids=[])["error"]
    segad.delete_run(dataset, "segad")
    assert "No run yet" in ask(dataset, "queue")["error"]


def test_keys_are_changed_by_settings_that_are_checked(dataset: Any) -> None:
    wanted = {"harmless": "j", "defect": "j", "dance": "x", "skip": "F13"}
    dataset.app_config.plugins = {PLUGIN: {"review_keys": wanted}}
    dataset.save()
    queue = ask(dataset, "queue")
    assert (queue["keys"]["harmless"], queue["keys"]["skip"]) == ("j", "s")
    assert [word for problem in queue["problems"] for word in ("dance", "'F13'", "same key") if word in problem] == [
        "dance",
        "'F13'",
        "same key",
    ]


def test_the_bundle_is_what_its_source_makes() -> None:
    if shutil.which("npm") is None or not (ROOT / "app" / "node_modules").is_dir():
        pytest.skip("make bundle makes app/node_modules, from npm")
    done = subprocess.run(["npm", "run", "--silent", "check"], cwd=ROOT / "app", capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_bundle_comes_with_the_plugin_and_names_no_registry() -> None:
    bundle = ROOT / yaml.safe_load((ROOT / "fiftyone.yml").read_text())["js_bundle"]
    assert bundle.is_file() and "SegadReview" in bundle.read_text()
    assert "http" not in (ROOT / "app" / "package-lock.json").read_text()
