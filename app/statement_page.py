"""A statement as one HTML page: no script, nothing from elsewhere, light and dark, fit for paper."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from app.grid import Cell, Column
from app.statement_listing import Section, sections, title

if TYPE_CHECKING:
    from order.statement import Statement

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #5c6670; --line: #d9dee3; --page: #fff;
  --band: #f5f7f9; --red: #b3261e; --green: #1a6e37; --yellow: #7a5a00; --cyan: #0b6478; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --soft: #9aa5b0; --line: #343b43;
  --page: #14181c; --band: #1c2126; --red: #ff8a80; --green: #7ddc9c; --yellow: #e8c34a; --cyan: #6fd3e8; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1700px; padding: 24px; background: var(--page); color: var(--ink);
  font: 14px/1.45 system-ui, sans-serif; }
h1 { font-size: 20px; margin: 0 0 4px; } h2 { font-size: 15px; margin: 28px 0 8px; }
p { color: var(--soft); margin: 4px 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 12.5px; font-variant-numeric: tabular-nums; }
th, td { padding: 4px 10px 4px 0; border-bottom: 1px solid var(--line); text-align: left;
  white-space: nowrap; }
th { color: var(--soft); font-weight: 600; border-bottom-width: 2px; }
tbody tr:nth-child(even) { background: var(--band); }
.right { text-align: right; } .free { white-space: normal; min-width: 16em; }
.sum tbody tr:last-child td { font-weight: 700; border-bottom: 3px double var(--line); }
.red { color: var(--red); } .green { color: var(--green); } .yellow { color: var(--yellow); }
.cyan { color: var(--cyan); } .bold { font-weight: 700; }
@media (max-width: 1500px) { table { font-size: 11.5px; } th, td { padding-right: 7px; }
  .free { min-width: 12em; } }
@page { size: A4 landscape; margin: 12mm; }
@media print { :root { --ink: #000; --soft: #333; --line: #bbb; --page: #fff; --band: #fff; --red: #900;
  --green: #000; --yellow: #000; --cyan: #000; } body { padding: 0; max-width: none; font-size: 9px; }
  h1 { font-size: 14px; } h2 { font-size: 11px; } table { font-size: 8px; }
  th, td { padding: 2px 6px 2px 0; white-space: normal; } .free { min-width: 8em; }
  .wide { overflow: visible; } h2 { break-after: avoid; margin-top: 14px; } tr { break-inside: avoid; }
  thead { display: table-header-group; } }
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_SUMMED = 2
"""The first sections end with what their rows come to."""


def page(found: Statement) -> str:
    """Return the statement as an HTML document."""
    head = escape(title(found))
    body = "\n".join(_section(each, summed=at < _SUMMED) for at, each in enumerate(sections(found)))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f"<title>{head}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{head}</h1>\n"
        "<p>Rupees; times in India. Paper books are simulated; charges are computed from published rates"
        " and are no contract note.</p>\n"
        f"{body}\n</body>\n</html>\n"
    )


def _section(section: Section, *, summed: bool) -> str:
    head = f"<section>\n<h2>{escape(section.title)}</h2>\n"
    if not section.rows:
        return f"{head}<p>{escape(section.empty)}</p>\n</section>"
    heads = "".join(f"<th{_class(_shape(each))}>{escape(each.head)}</th>" for each in section.columns)
    rows = "\n".join(
        f"<tr>{''.join(_cell(each, row) for each in section.columns)}</tr>" for row in section.rows
    )
    kind = ' class="sum"' if summed else ""
    return (
        f'{head}<div class="wide"><table{kind}>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n'
        "</table></div>\n</section>"
    )


def _cell(column: Column[Any], row: object) -> str:
    made = column.cell(row)
    cell = made if isinstance(made, Cell) else Cell(made)
    return f"<td{_class(f'{_shape(column)} {cell.style}'.strip())}>{escape(cell.text)}</td>"


def _shape(column: Column[Any]) -> str:
    return "right" if column.right else "free" if column.least else ""


def _class(names: str) -> str:
    return f' class="{names}"' if names else ""
