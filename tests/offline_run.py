"""A whole run in a process that may reach nothing but itself: `python offline_run.py CATEGORY FOLDER`.

Prints what was tried to be reached as JSON: two requests that it makes itself at the end, and no more. In a network
namespace of its own it brings up the loopback.
"""

from __future__ import annotations

import fcntl
import ipaddress
import json
import os
import socket
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
REACHED: list[str] = []


def is_local(host: Any) -> bool:
    if host in (None, "", b"", "localhost", b"localhost", socket.gethostname()):
        return True
    try:
        address = ipaddress.ip_address(host.decode() if isinstance(host, bytes) else host)
    except ValueError:
        return False  # a name that would be looked up
    return address.is_loopback or address.is_unspecified


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else None  # else a path of a Unix socket, or connected already
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0]
    else:
        return
    if not is_local(host):
        REACHED.append(f"{event} {host}")
        raise ConnectionRefusedError(f"The network is cut off: {event} {arguments[1:]}")


def raise_loopback() -> None:
    """Does nothing where it is up already."""
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14x", b"lo", 0x1 | 0x40))  # SIOCSIFFLAGS: up, running


def whole_run(category: Path, folder: Path) -> None:
    import fiftyone as fo
    import fiftyone.operators as foo
    from fiftyone import ViewField as F
    from fiftyone.operators.executor import ExecutionContext, Executor

    import fiftyone_segad as segad
    from fiftyone_segad.plugin.panels import figures, run_view

    dataset = segad.load_mvtec(category)
    normals, test = dataset.match(F("split") == "train"), dataset.match(F("split") == "test")
    options = {"embedder": "efficientnet", "embedder_kwargs": {"input_size": 128}}
    segad.compute_segment_anomalies(test, key="segad", reference=normals, threshold="quantile:0.5", **options)
    segad.compute_segment_anomalies(test, key="blind", method="unlabeled", **options)
    results = segad.evaluate_anomalies(test, key="segad", eval_key="judged")
    results.save_report(folder / "report.html")
    segad.compare_runs(test, ["segad", "blind"])
    segad.contact_sheet(test, path=folder / "sheet.png")
    segad.mark_normal(test.limit(1), "segad")
    segad.rescore(dataset, "segad")
    segad.explain_sample(dataset, "segad", test.first().id)
    segad.save_bank(dataset, "segad", folder / "bank")
    segad.score_new(test, "banked", bank=folder / "bank")
    segad.image_quality(test)
    segad.export_curated(test, folder / "export", gt_field="defect_mask")
    for uri in ("evaluate_anomalies", "set_threshold"):
        params = {"key": "segad", "threshold": "1.0"}
        foo.execute_operator(f"@segad/anomaly/{uri}", {"dataset": dataset, "params": params})
    triage = run_view.score_table(dataset, segad.load_run(dataset, "segad"))
    assert figures.histogram(triage) and figures.roc(triage, 1.0) and figures.defect_bars(triage, 1.0)
    panel = "@segad/anomaly/anomaly_triage"
    params = {"__method__": "on_load", "panel_id": "1", "panel_state": {}}
    request = {"dataset_name": dataset.name, "view": [], "params": params}
    context = ExecutionContext(request, operator_uri=panel, executor=Executor())
    foo.get_operator(panel).execute(context)
    assert any("show_panel_output" in each["operator_uri"] for each in context.executor.to_json()["requests"])
    fo.delete_dataset(dataset.name)


if __name__ == "__main__":
    sys.addaudithook(watch)
    raise_loopback()
    os.environ["FIFTYONE_PLUGINS_DIR"] = str(ROOT)
    sys.path.insert(0, str(ROOT))
    from conftest import start_mongod

    (Path(sys.argv[2]) / "db").mkdir()
    mongod, os.environ["FIFTYONE_DATABASE_URI"] = start_mongod(Path(sys.argv[2]) / "db")
    try:
        whole_run(Path(sys.argv[1]), Path(sys.argv[2]))
    finally:
        mongod.terminate()
        mongod.wait(30)
    with suppress(OSError), socket.socket() as any_socket:  # what follows shows that a leak would be seen
        any_socket.connect(("192.0.2.1", 80))  # for documentation only: nobody's address
    with suppress(OSError):
        socket.getaddrinfo("telemetry.example", 443)
    print(json.dumps(sorted(set(REACHED))))
