"""``AnomalyResults.save_report``: an evaluation as one HTML file for people without FiftyOne."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
from plotly.offline import get_plotlyjs

from .._version import __version__
from ..metrics.names import METRICS
from ..scoring.thresholds import threshold_text
from ..utils.drawing import jpeg_url
from ..utils.files import atomic_write
from ..utils.text import pluralize
from . import palette, plots
from .families import family_cards
from .mistakes import (
    JPEG_QUALITY,
    TITLES,
    Mistake,
    draw_mistakes,
    false_alarms,
    misses,
    root_dataset,
    sample_names,
)
from .pictures import short_name
from .record import audit_record, run_date
from .text import format_metric, why_missing

if TYPE_CHECKING:
    from ..evaluation.results import AnomalyResults

_COLUMNS = ("image_auroc", "image_ap", "pixel_auroc", "pixel_ap", "aupro_30", "aupro_05", "aupimo", "recall", "fpr")

_SIZES = {"small": "up to 32 x 32 px", "medium": "up to 96 x 96 px", "large": "larger", "all": "all"}

_MOST_EXCLUDED = 100

_ID = re.compile(r"\b[0-9a-f]{24}\b")
_START = r"(?:/(?=\S)|[A-Za-z]:[\\/]|\\\\)"
_PATHS = (
    re.compile(rf"(?<='){_START}[^']*"),  # in quotes, as messages have most of them
    re.compile(rf"(?<![\w.'/\\]){_START}[^'\"\n]*?\.\w{{2,5}}\b"),  # of a file, maybe with spaces
    re.compile(rf"(?<![\w.'/\\]){_START}[^\s'\",;:()]+"),
)

Intervals = Mapping[str, tuple[float, float]]


def save_report(results: AnomalyResults, path: str | Path, max_images: int = 12, by: str | None = None) -> Path:
    """See ``AnomalyResults.save_report``."""
    file = Path(path).expanduser()
    if isinstance(max_images, bool) or not isinstance(max_images, int) or max_images < 0:
        raise ValueError(f"max_images={max_images!r} must be a whole number, 0 or more")
    if file.is_dir():
        raise ValueError(f"path='{file}' is a folder; name a file in it, e.g. '{file / 'report.html'}'")
    if not file.parent.is_dir():
        raise FileNotFoundError(f"The folder '{file.parent}' of path='{file}' does not exist; make it first")
    text = render_report(report_context(results, max_images, by))
    with atomic_write(file) as partial:
        partial.write_text(text, encoding="utf-8")
    return file


def render_report(context: Mapping[str, Any]) -> str:
    """Fill the template: the same text for the same content.

    The page's policy lets only those scripts run that have its nonce. It is a digest of the page without it, so that
    nothing within the page can know it.
    """
    template = _template()
    digest = hashlib.sha256(template.render({**context, "nonce": ""}).encode()).hexdigest()
    return template.render({**context, "nonce": digest[:32]})


def report_context(results: AnomalyResults, max_images: int, by: str | None = None) -> dict[str, Any]:
    """Gather what ``templates/report.html.j2`` shows, as texts that it escapes."""
    rows = results.rows()
    total = rows[-1]
    dataset = root_dataset(results)
    intervals = results.intervals()
    date = run_date(results)
    return {
        "title": f"Anomaly report: {results.key if dataset is None else dataset.name}",
        "facts": _facts(results, date),
        "threshold": f"{results.threshold:.4g}",
        "hits": len(results.ids("TP")),
        "alarms": len(results.ids("FP")),
        "n_defective": total["n_anomalous"],
        "n_normal": total["n_normal"],
        "better_f1": _better_f1(total),
        "tiles": _tiles(results, total, intervals),
        "warnings": _readable(results, [*results.warnings, *(results.run.warnings if results.run is not None else [])]),
        "scores": plots.scores(results),
        "curves": {name: plots.curves(results, [name]) for name in plots.CURVES},
        "metrics": _metrics(total, intervals),
        "missing": why_missing(total),
        "defects": _defects(results, rows),
        "regions": _regions(results),
        "parts": _parts(results),
        "families": family_cards(dataset, results.run, _defective(results)),
        "mistakes": _mistakes(results, max_images),
        "excluded": _excluded(results),
        "record": _record(results, by),
        "version": __version__,
        "date": date,
        "palette": palette,
        "plotly_js": get_plotlyjs(),
    }


def hide_paths(text: str) -> str:
    """Cut each absolute path in a text to a file with its folder: a report goes to other people.

    >>> hide_paths("No such image file: '/home/me/data/good/1.png'")
    "No such image file: 'good/1.png'"
    """
    for pattern in _PATHS:
        text = pattern.sub(lambda match: short_name(match.group()), text)
    return text


def _template() -> jinja2.Template:
    loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["pluralize"] = pluralize
    return environment.get_template("report.html.j2")


def _facts(results: AnomalyResults, date: str) -> list[tuple[str, str]]:
    run = results.run
    facts = {
        "run": results.key,
        "method": run.method if run is not None else "",
        "embedder": run.embedder if run is not None else "",
        "normal images used": str(run.normals) if run is not None and run.normals else "",
        "threshold": threshold_text(results.threshold, results.threshold_rule),
        "ground truth": results.gt_field,
        "run made on": date,
        "fiftyone_segad": __version__,
    }
    return [(name, value) for name, value in facts.items() if value]


def _better_f1(total: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return F1 at the best threshold and at the run's own, if the first is clearly better."""
    best, actual = total["image_f1max"], total["image_f1"]
    if best is None or actual is None or best - actual < 0.1:
        return None
    return f"{best:.3f}", f"{actual:.3f}"


def _tiles(results: AnomalyResults, total: Mapping[str, Any], intervals: Intervals) -> list[tuple[str, str, str]]:
    def area(title: str, name: str) -> tuple[str, str, str]:
        interval = f"95 %: {_interval(intervals, name)}" if name in intervals else ""
        return title, format_metric(total[name]), interval

    return [
        area("Image AUROC", "image_auroc"),
        area("AUPRO up to 0.3", "aupro_30"),
        (
            "Defective images found",
            f"{len(results.ids('TP'))} of {total['n_anomalous']}",
            _percent(total["recall"]),
        ),
        ("False alarms", f"{len(results.ids('FP'))} of {total['n_normal']}", _percent(total["fpr"])),
    ]


def _metrics(total: Mapping[str, Any], intervals: Intervals) -> list[tuple[str, str, str, str]]:
    return [
        (title, format_metric(total[name]), _interval(intervals, name), why)
        for name, (title, why) in METRICS.items()
        if not name.startswith("n_")
    ]


def _defects(results: AnomalyResults, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    with_category = len(results.categories) > 1
    names = ["category"] * with_category + ["defect"]
    return {
        "figure": plots.defects(results, rows),
        "titles": [*names, "normal", "defective", *(METRICS[name][0] for name in _COLUMNS)],
        "words": len(names),
        "rows": [
            [row[name] for name in names]
            + [row["n_normal"], row["n_anomalous"]]
            + [format_metric(row[name]) for name in _COLUMNS]
            for row in rows
        ],
        "totals": [index for index, row in enumerate(rows) if row["defect"] == "all"],
    }


def _regions(results: AnomalyResults) -> list[list[Any]]:
    counts = ("found", "missed", "true", "false")
    rows = results.regions()
    if not any(rows[-1][name] for name in counts):
        return []
    return [
        [_SIZES[row["size"]]]
        + [row[name] for name in counts]
        + [format_metric(row[name]) for name in ("recall", "precision")]
        for row in rows
    ]


def _parts(results: AnomalyResults) -> dict[str, Any] | None:
    """Return the tables of what was decided on parts, by kind of defect and by view; None if nothing was."""
    parts = results.parts
    if parts is None:
        return None
    names = ("part_auroc", "part_ap", "part_recall", "part_fpr", "part_precision")
    return {
        "share": f"{parts.decisions.share:g}",
        "hits": len(parts.names("TP")),
        "alarms": len(parts.names("FP")),
        "n_defective": parts.metrics()["n_anomalous"],
        "n_normal": parts.metrics()["n_normal"],
        "rows": [
            [row["defect"], row["n_normal"], row["n_anomalous"], *(format_metric(row[name]) for name in names)]
            for row in parts.rows()
        ],
        "views": [[format_metric(value) for value in row.values()] for row in parts.views],
        "missed": [(name, parts.parts[name].defect) for name in parts.names("FN")[:_MOST_EXCLUDED]],
        "warnings": _readable(results, parts.decisions.warnings),
    }


def _mistakes(results: AnomalyResults, max_images: int) -> list[dict[str, Any]]:
    alarms = {
        "title": "Worst false alarms",
        "about": "Normal images above the threshold, highest score first. Look at them: some may hold a defect that "
        "nobody marked.",
        "none": "No false alarms at this threshold.",
        "ids": false_alarms(results),
    }
    missed = {
        "title": "Worst misses",
        "about": "Defective images that are not above the threshold, largest defect first.",
        "none": "No misses at this threshold."
        if any(image.defective for image in results.images.values())
        else "There are no defective images.",
        "ids": misses(results),
    }
    groups: list[dict[str, Any]] = [alarms, missed]
    for group in groups:
        group["cards"] = [_card(results, mistake) for mistake in draw_mistakes(results, group["ids"][:max_images])]
    return groups


def _card(results: AnomalyResults, mistake: Mistake) -> dict[str, Any]:
    urls = {title: jpeg_url(image, JPEG_QUALITY) for title, image in mistake.pictures.items()}
    return {
        "name": mistake.name,
        "facts": mistake.facts,
        "pictures": {title: urls.get(title) for title in TITLES},
        "problems": _readable(results, mistake.problems),
    }


def _defective(results: AnomalyResults) -> dict[str, bool]:
    return {id: image.defective for id, image in results.images.items()}


def _excluded(results: AnomalyResults) -> dict[str, Any]:
    entries = results.excluded[:_MOST_EXCLUDED]
    names = sample_names(results, [entry["id"] for entry in entries])
    reasons = _readable(results, [entry["reason"] for entry in entries])
    rows = [(names.get(entry["id"], entry["id"]), reason) for entry, reason in zip(entries, reasons, strict=True)]
    return {"count": len(results.excluded), "rows": rows}


def _record(results: AnomalyResults, by: str | None) -> dict[str, Any]:
    record = audit_record(results, by)
    record["settings"] = [(name, hide_paths(value)) for name, value in record["settings"]]
    return record


def _readable(results: AnomalyResults, texts: Sequence[str]) -> list[str]:
    """Replace the samples' ids in texts by their files, and cut the machine's folders."""
    names = sample_names(results, sorted({id for text in texts for id in _ID.findall(text)}))
    return [_ID.sub(lambda match: names.get(match.group(), match.group()), hide_paths(text)) for text in texts]


def _interval(intervals: Intervals, name: str) -> str:
    return "{:.3f} to {:.3f}".format(*intervals[name]) if name in intervals else ""


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"
