"""``AnomalyResults.save_report``: an evaluation as one HTML file for people without FiftyOne."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._version import __version__
from ..metrics.names import METRICS
from ..scoring.thresholds import threshold_text
from ..utils.whole_files import atomic_write
from . import plots
from .pictures import short_name
from .report_page import escape, page, paragraph, plot, section, table
from .text import format_metric, why_missing
from .thumbnails import SHOWN, Thumbnails, draw_thumbnails, facts_of, false_alarms, misses, names_of, root_dataset

if TYPE_CHECKING:
    from ..evaluation.results import AnomalyResults

_COLUMNS = ("image_auroc", "image_ap", "pixel_auroc", "pixel_ap", "aupro_30", "aupro_05", "aupimo", "recall", "fpr")

_MOST_EXCLUDED = 100

_ID = re.compile(r"\b[0-9a-f]{24}\b")
_START = r"(?:/(?=\S)|[A-Za-z]:[\\/]|\\\\)"
_PATHS = (
    re.compile(rf"(?<='){_START}[^']*"),  # in quotes, as messages have most of them
    re.compile(rf"(?<![\w.'/\\]){_START}[^'\"\n]*?\.\w{{2,5}}\b"),  # of a file, maybe with spaces
    re.compile(rf"(?<![\w.'/\\]){_START}[^\s'\",;:()]+"),
)


def save_report(results: AnomalyResults, path: str | Path, max_images: int = 12) -> Path:
    """See ``save_report``."""
    file = Path(path).expanduser()
    if isinstance(max_images, bool) or not isinstance(max_images, int) or max_images < 0:
        raise ValueError(f"max_images={max_images!r} must be a whole number, 0 or more")
    if file.is_dir():
        raise ValueError(f"path='{file}' is a folder; name a file in it, e.g. '{file / 'report.html'}'")
    if not file.parent.is_dir():
        raise FileNotFoundError(f"The folder '{file.parent}' of path='{file}' does not exist; make it first")
    text = html_report(results, max_images)
    with atomic_write(file) as partial:
        partial.write_text(text, encoding="utf-8")
    return file


def html_report(results: AnomalyResults, max_images: int = 12) -> str:
    """The page that ``save_report`` saves."""
    rows = results.rows()
    total = rows[-1]
    dataset = root_dataset(results)
    title = f"Anomaly report: {results.key if dataset is None else dataset.name}"
    bounds = results.intervals()
    parts = [
        f"<h1>{escape(title)}</h1>",
        _facts(results, total),
        _lead(results, total),
        _tiles(results, total, bounds),
        _warnings(results),
        _plots(results),
        _figures(results, total, bounds),
        _defects(results, rows),
        _regions(results),
        _grid(
            results,
            "Worst false alarms",
            "Normal images above the threshold, highest score first. Look at them: some may hold a defect that nobody "
            "marked.",
            "No false alarms at this threshold.",
            false_alarms(results),
            max_images,
        ),
        _grid(
            results,
            "Worst misses",
            "Defective images that are not above the threshold, largest defect first.",
            "No misses at this threshold." if total["n_anomalous"] else "There are no defective images.",
            misses(results),
            max_images,
        ),
        _excluded(results),
        f"<footer>Made by fiftyone_segad {escape(__version__)} on {_now()}. This file holds everything it shows and "
        "opens no connection. Metrics follow MVTec: pixels of all images at image size, good ones included, "
        "8-connected regions.</footer>",
    ]
    return page(title, "\n".join(part for part in parts if part))


def hide_paths(text: str) -> str:
    """Text in which each absolute path is only a file with its folder: a report goes to other people."""
    for pattern in _PATHS:
        text = pattern.sub(lambda found: short_name(found.group()), text)
    return text


def _facts(results: AnomalyResults, total: dict[str, Any]) -> str:
    run = results.run
    facts = {
        "run": results.key,
        "method": run.method if run is not None else "",
        "embedder": run.embedder if run is not None else "",
        "normal images used": str(run.normals) if run is not None and run.normals else "",
        "threshold": threshold_text(results.threshold, results.threshold_rule),
        "ground truth": results.gt_field,
        "date": _now(),
        "fiftyone_segad": __version__,
    }
    shown = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in facts.items() if v)
    return f'<dl class="facts">{shown}</dl>'


def _lead(results: AnomalyResults, total: dict[str, Any]) -> str:
    found, alarms = len(results.ids("TP")), len(results.ids("FP"))
    text = (
        f"At the run's threshold of {results.threshold:.4g}, "
        f"{found} of {_count(total['n_anomalous'], 'defective image')} and "
        f"{alarms} of {_count(total['n_normal'], 'normal image')} are flagged."
    )
    best, own = total["image_f1max"], total["image_f1"]
    if best is not None and own is not None and best - own >= 0.1:
        text += (
            f" Scores would allow more: the best threshold, which has seen the truth, has an F1 of {best:.3f} instead "
            f"of {own:.3f}."
        )
    return paragraph(text, "lead")


def _tiles(results: AnomalyResults, total: dict[str, Any], bounds: dict[str, tuple[float, float]]) -> str:
    def interval(name: str) -> str:
        return f"95 %: {_interval(bounds, name)}" if name in bounds else ""

    n_normal, n_defective = total["n_normal"], total["n_anomalous"]
    tiles = [
        ("Image AUROC", format_metric(total["image_auroc"]), interval("image_auroc")),
        ("AUPRO up to 0.3", format_metric(total["aupro_30"]), interval("aupro_30")),
        ("Defective images found", f"{len(results.ids('TP'))} of {n_defective}", _percent(total["recall"])),
        ("False alarms", f"{len(results.ids('FP'))} of {n_normal}", _percent(total["fpr"])),
    ]
    shown = "".join(
        f'<div class="tile"><span>{escape(name)}</span><b>{escape(value)}</b><span>{escape(more)}</span></div>'
        for name, value, more in tiles
    )
    return f'<div class="tiles">{shown}</div>'


def _warnings(results: AnomalyResults) -> str:
    texts = [*results.warnings, *(results.run.warnings if results.run is not None else [])]
    if not texts:
        return ""
    items = "".join(f"<li>{escape(text)}</li>" for text in _readable(results, texts))
    return section("What to know first", f"<ul>{items}</ul>", kind="warn")


def _plots(results: AnomalyResults) -> str:
    curves = "".join(plot(plots.curves(results, [name]), f"curve-{name}") for name in plots.CURVES)
    return section("Scores and curves", plot(plots.scores(results), "scores"), f'<div class="plots">{curves}</div>')


def _figures(results: AnomalyResults, total: dict[str, Any], bounds: dict[str, tuple[float, float]]) -> str:
    rows = [
        (title, format_metric(total[key]), _interval(bounds, key), why)
        for key, (title, why) in METRICS.items()
        if not key.startswith("n_")
    ]
    missing = why_missing(total)
    return section(
        "All figures",
        paragraph(
            "Intervals hold 95 % of what other images of the same kind would give (bootstrap over the images); what "
            "other light or another batch would change, they do not tell."
            + (f" A dash is a figure that does not exist here: {missing}." if missing else "")
        ),
        _figure_table(rows),
    )


def _figure_table(rows: Iterable[tuple[str, str, str, str]]) -> str:
    body = "".join(
        f'<tr><td class="label">{escape(name)}</td><td class="number">{escape(value)}</td>'
        f'<td class="number">{escape(interval)}</td><td class="soft">{escape(why)}</td></tr>'
        for name, value, interval, why in rows
    )
    head = (
        '<th>figure</th><th class="number">value</th><th class="number label">95 % interval</th><th>what it says</th>'
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _defects(results: AnomalyResults, rows: Sequence[dict[str, Any]]) -> str:
    named = len(results.categories) > 1
    titles = ["category"] * named + ["defect", "normal", "defective", *(METRICS[name][0] for name in _COLUMNS)]
    cells = [
        [row["category"]] * named
        + [row["defect"], str(row["n_normal"]), str(row["n_anomalous"])]
        + [format_metric(row[name]) for name in _COLUMNS]
        for row in rows
    ]
    return section(
        "Kinds of defects",
        paragraph("Each kind is compared with all normal images of its category."),
        plot(plots.defects(results, rows), "defects"),
        table(titles, cells, left=1 + named, totals=[i for i, row in enumerate(rows) if row["defect"] == "all"]),
    )


def _regions(results: AnomalyResults) -> str:
    counts = ("found", "missed", "true", "false")
    names = {"small": "up to 32 x 32 px", "medium": "up to 96 x 96 px", "large": "larger", "all": "all"}
    rows = results.regions()
    if not any(rows[-1][name] for name in counts):
        return ""
    cells = [
        [names[row["size"]], *(str(row[name]) for name in counts)]
        + [format_metric(row[name]) for name in ("recall", "precision")]
        for row in rows
    ]
    titles = ["area", "defects found", "defects missed", "true regions", "false regions", "recall", "precision"]
    return section(
        "Regions by size",
        paragraph(
            "Connected regions of the predicted masks against those of the ground truth, which count as met if a tenth "
            "of the smaller of the two is shared. Found and missed are by the size of the defect, true and false by "
            "that of the predicted region."
        ),
        table(titles, cells, left=1, totals=[len(rows) - 1]),
    )


def _grid(results: AnomalyResults, title: str, says: str, empty: str, ids: Sequence[str], max_images: int) -> str:
    if not ids:
        return section(title, paragraph(empty, "none"))
    shown = ids[:max_images]
    if not shown:
        return section(title, paragraph(f"{len(ids)}; their pictures were left out of this report.", "none"))
    legend = (
        '<p class="soft">Image, anomaly map, and masks: <span class="key red"></span>predicted '
        '<span class="key cyan"></span>outline of the ground truth. '
        + escape(f"{len(shown)} of {len(ids)} are shown." if len(shown) < len(ids) else "")
        + "</p>"
    )
    cards = "".join(_card(results, thumbnails) for thumbnails in draw_thumbnails(results, shown))
    return section(f"{title} ({len(ids)})", paragraph(says), legend, f'<div class="cards">{cards}</div>')


def _card(results: AnomalyResults, thumbnails: Thumbnails) -> str:
    pictures = []
    for shown in SHOWN:
        data = thumbnails.pictures.get(shown)
        if data is None:
            pictures.append(f'<div class="gone">no {shown}</div>')
        else:
            source = base64.b64encode(data).decode()
            alt = escape(f"{shown} of {thumbnails.name}")
            pictures.append(f'<img alt="{alt}" src="data:image/jpeg;base64,{source}">')
    problems = "".join(f"<br>{escape(text)}" for text in _readable(results, thumbnails.problems))
    return (
        f'<figure class="card"><div class="trio">{"".join(pictures)}</div><figcaption><b>{escape(thumbnails.name)}</b>'
        f"<br><span>{escape(facts_of(results, thumbnails))}{problems}</span></figcaption></figure>"
    )


def _excluded(results: AnomalyResults) -> str:
    if not results.excluded:
        return ""
    shown = results.excluded[:_MOST_EXCLUDED]
    names = names_of(results, [entry["id"] for entry in shown])
    reasons = _readable(results, [entry["reason"] for entry in shown])
    rows = [(names.get(entry["id"], entry["id"]), reason) for entry, reason in zip(shown, reasons, strict=True)]
    left_out = len(results.excluded) - len(shown)
    return section(
        f"Samples that were not evaluated ({len(results.excluded)})",
        table(["image", "reason"], rows, left=2),
        paragraph(f"And {left_out} more.") if left_out else "",
    )


def _readable(results: AnomalyResults, texts: Sequence[str]) -> list[str]:
    """Texts with files instead of the samples' ids, and without the machine's folders."""
    names = names_of(results, sorted({id for text in texts for id in _ID.findall(text)}))
    return [_ID.sub(lambda found: names.get(found.group(), found.group()), hide_paths(text)) for text in texts]


def _interval(bounds: dict[str, tuple[float, float]], name: str) -> str:
    return "{:.3f} to {:.3f}".format(*bounds[name]) if name in bounds else ""


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def _now() -> str:
    return f"{datetime.now().astimezone():%Y-%m-%d %H:%M %Z}"
