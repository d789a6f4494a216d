"""The frame of a report: one HTML page that holds its styles, its scripts and its data, and fetches nothing."""

from __future__ import annotations

import html
import secrets
from collections.abc import Collection, Iterable, Sequence

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

escape = html.escape

_STYLE = """
:root { color-scheme: light dark; --page: #f5f6f8; --sheet: #ffffff; --text: #1d2430; --soft: #5a6473; --line: #dde1e7;
  --accent: #1f6fbf; --warn: #fdf3e4; --warn-line: #e06a10; --head: #f0f2f5; }
@media (prefers-color-scheme: dark) { :root { --page: #12151a; --sheet: #1b2027; --text: #e7eaef; --soft: #a3acb9;
  --line: #323a45; --accent: #6cb2f5; --warn: #33281b; --head: #232a33; } }
@media print { :root { color-scheme: light; --page: #ffffff; --sheet: #ffffff; --text: #000000; --soft: #444444;
  --line: #cccccc; --accent: #1f6fbf; --warn: #fdf3e4; --head: #f0f2f5; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); line-height: 1.5;
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1240px; margin: 0 auto; padding: 28px 24px 48px; }
h1 { font-size: 27px; line-height: 1.2; margin: 0 0 6px; overflow-wrap: anywhere; }
h2 { font-size: 19px; margin: 0 0 4px; }
p { margin: 4px 0 12px; max-width: 82ch; }
.soft { color: var(--soft); }
.facts { display: flex; flex-wrap: wrap; gap: 4px 26px; margin: 0 0 20px; color: var(--soft); font-size: 14px; }
.facts div { display: flex; gap: 6px; }
.facts dd { margin: 0; color: var(--text); overflow-wrap: anywhere; }
section, .tile { background: var(--sheet); border: 1px solid var(--line); border-radius: 10px; }
section { padding: 20px 22px; margin-top: 18px; }
.lead { font-size: 17px; max-width: none; margin: 0 0 16px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(210px, 1fr)); gap: 14px; }
.tile { padding: 14px 18px; }
.tile b { display: block; font-size: 28px; line-height: 1.25; font-weight: 650; font-variant-numeric: tabular-nums; }
.tile span { color: var(--soft); font-size: 13.5px; display: block; }
.warn { background: var(--warn); border-left: 4px solid var(--warn-line); }
.warn ul { margin: 6px 0 0; padding-left: 20px; }
.warn li { overflow-wrap: anywhere; margin-bottom: 4px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th, td { padding: 6px 10px; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th { background: var(--head); font-weight: 600; vertical-align: bottom; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
td.number, .label { white-space: nowrap; }
td.name { overflow-wrap: anywhere; min-width: 165px; }
tr.total td { font-weight: 650; background: var(--head); }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(340px, 1fr)); gap: 8px; }
.plots > *, .plot { min-width: 0; }
.plot text:not(.hoverlayer *) { fill: var(--text) !important; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(520px, 1fr)); gap: 16px; margin-top: 12px; }
.card { margin: 0; border: 1px solid var(--line); border-radius: 8px; padding: 8px; break-inside: avoid; min-width: 0; }
.trio { display: grid; grid-template-columns: repeat(3, 1fr); gap: 6px; }
.trio img { width: 100%; display: block; border-radius: 4px; }
.trio .gone { border: 1px dashed var(--line); border-radius: 4px; color: var(--soft); font-size: 12.5px;
  min-height: 90px; display: grid; place-items: center; text-align: center; padding: 6px; }
figcaption { padding: 8px 2px 2px; font-size: 13.5px; overflow-wrap: anywhere; }
figcaption span { color: var(--soft); }
.key { display: inline-block; width: 12px; height: 12px; border-radius: 3px; vertical-align: -1px; }
.key { margin: 0 3px 0 8px; }
.red { background: #e03c3c; } .cyan { background: #1b2027; border: 3px solid #00dcff; }
.none { color: var(--soft); font-style: italic; margin: 8px 0 0; }
footer { color: var(--soft); font-size: 13px; margin-top: 22px; }
@media (max-width: 620px) { .cards { grid-template-columns: 1fr; } main { padding: 16px 12px; } }
@media print { main { padding: 0; max-width: none; } body { font-size: 12px; }
  section, .tile { border-radius: 0; break-inside: auto; } section { padding: 10px 0; border-width: 1px 0 0; }
  .warn { padding-left: 10px; } .tiles { grid-template-columns: repeat(4, 1fr); } .tile b { font-size: 20px; }
  .plots { grid-template-columns: 1fr; } .plot { break-inside: avoid; } .cards { grid-template-columns: 1fr 1fr; }
  thead { display: table-header-group; } tr, h2, .tile { break-inside: avoid; } h2 { break-after: avoid; }
  table { font-size: 10.5px; } th, td { padding: 3px 5px; } .modebar-container { display: none !important; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""

_SCRIPT = """
const plots = [...document.querySelectorAll(".plot")];
for (const plot of plots) {
  const figure = JSON.parse(document.getElementById(plot.id + "-data").textContent);
  Plotly.newPlot(plot, figure.data, figure.layout, { responsive: true, displaylogo: false });
}
// A page of paper is narrower than the window that the plots were drawn for
addEventListener("beforeprint", () => plots.forEach((plot) => Plotly.relayout(plot, { width: 680 })));
addEventListener("afterprint", () => plots.forEach((plot) => Plotly.relayout(plot, { width: null, autosize: true })));
"""


def page(title: str, body: str) -> str:
    """A whole HTML page. Its policy forbids any network access, and any script but its own.

    Args:
        title: title, as text
        body: content, as HTML
    """
    nonce = secrets.token_urlsafe(16)
    policy = f"default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src 'nonce-{nonce}'"
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
{body}
</main>
<script nonce="{nonce}">{get_plotlyjs()}</script>
<script nonce="{nonce}">{_SCRIPT}</script>
</body>
</html>
"""


def section(title: str, *parts: str, kind: str = "") -> str:
    """A section: its title as text, and what it holds as HTML."""
    content = "\n".join(part for part in parts if part)
    return f'<section class="{kind}">\n<h2>{escape(title)}</h2>\n{content}\n</section>'


def paragraph(text: str, kind: str = "soft") -> str:
    """A paragraph of text."""
    return f'<p class="{kind}">{escape(text)}</p>'


def table(titles: Sequence[str], rows: Iterable[Sequence[str]], left: int, totals: Collection[int] = ()) -> str:
    """A table of texts.

    Args:
        titles: titles of the columns
        rows: rows of cells
        left: columns of words, from the left; those of numbers follow
        totals: indices of rows that sum up others
    """
    kinds = ["name" if column < left else "number" for column in range(len(titles))]
    head = "".join(f'<th class="{kind}">{escape(title)}</th>' for kind, title in zip(kinds, titles, strict=True))
    body = []
    for index, row in enumerate(rows):
        cells = "".join(f'<td class="{kind}">{escape(cell)}</td>' for kind, cell in zip(kinds, row, strict=True))
        body.append(f"<tr{' class=total' if index in totals else ''}>{cells}</tr>")
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead>\n<tbody>{"".join(body)}</tbody></table></div>'


def plot(figure: go.Figure, name: str) -> str:
    """A figure. ``name`` is its id in the page."""
    # Plotly's JSON has no < or >, so that no name in it can end the element
    return (
        f'<div class="plot" id="{name}" style="height: {figure.layout.height}px">'
        "<noscript>This figure needs JavaScript.</noscript></div>"
        f'<script type="application/json" id="{name}-data">{figure.to_json()}</script>'
    )
