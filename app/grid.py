"""Tables that fit: on a narrow terminal the least important columns go, and no cell is ever folded.

Into a pipe or a file everything is written, in full width and without colour. Lines are plain text with
a style for each cell, so that rich is only loaded where there is a terminal to colour.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from rich.cells import cell_len, set_cell_size

if TYPE_CHECKING:
    from rich.text import Text

GAP = "  "
Row = TypeVar("Row")


class Cell(NamedTuple):
    """What stands in one cell, and its rich style."""

    text: str
    style: str = ""


@dataclass(frozen=True)  # no slots: on Python 3.11 `Column[Case](…)` of a slotted one raises a TypeError
class Column(Generic[Row]):
    """How one column is made.

    Attributes:
        head: Its header.
        cell: Makes the cell of a row.
        rank: 0 stays at every width; of the others the highest goes first.
        right: Right-aligned, for numbers.
        least: Free text that may be cut, with an ellipsis, to so many cells; 0 is never cut.
    """

    head: str
    cell: Callable[[Row], Cell | str]
    rank: int = 0
    right: bool = False
    least: int = 0


@dataclass(frozen=True, slots=True)
class Grid:
    """A table laid out for one width.

    Attributes:
        lines: Header first; each a list of padded cells.
        dropped: Headers of the columns that had no room.
    """

    lines: list[list[Cell]]
    dropped: list[str]

    def plain(self) -> list[str]:
        """Return the lines without colour."""
        return [GAP.join(cell.text for cell in line).rstrip() for line in self.lines]


def lay_out(columns: Sequence[Column[Row]], rows: Sequence[Row], width: int | None) -> Grid:
    """Return *rows* as lines of at most *width* cells; None: as wide as they are.

    Only columns of rank 0 are never dropped: where they alone are too wide, the lines are.
    """
    made = [[_cell(column.cell(row)) for row in rows] for column in columns]
    widths = [
        max([cell_len(column.head), *(cell_len(cell.text) for cell in cells)])
        for column, cells in zip(columns, made, strict=True)
    ]
    keep = list(range(len(columns)))
    dropped: list[str] = []
    if width is not None:
        keep, dropped = _fit(columns, widths, width)
    lines = [[_padded(Cell(columns[at].head, "bold"), widths[at], columns[at].right) for at in keep]]
    lines += [
        [_padded(made[at][number], widths[at], columns[at].right) for at in keep]
        for number in range(len(rows))
    ]
    return Grid(lines, dropped)


def print_grid(title: str, columns: Sequence[Column[Row]], rows: Sequence[Row]) -> None:
    """Print a table to standard output, fitted to the terminal where there is one."""
    if not sys.stdout.isatty():
        print("\n".join([title, *lay_out(columns, rows, None).plain()]))
        return
    from rich.console import Console
    from rich.text import Text

    console = Console()
    grid = lay_out(columns, rows, console.width)
    console.print(Text(title, style="italic"), soft_wrap=True)
    for line in grid.lines:
        console.print(styled(line), soft_wrap=True, crop=False)
    if grid.dropped:
        note = f"No room for {', '.join(grid.dropped)}; a pipe or --json gets all."
        console.print(Text(note, style="dim"))


def styled(line: Sequence[Cell]) -> Text:
    """Return a line as a rich text; what looks like markup in it stays as it is."""
    from rich.text import Text

    text = Text()
    for number, cell in enumerate(line):
        text.append(GAP if number else "")
        text.append(cell.text, style=cell.style)
    text.rstrip()
    return text


def _cell(made: Cell | str) -> Cell:
    cell = Cell(made) if isinstance(made, str) else made
    if cell.text.isprintable():
        return cell
    # A name or a reason must not move the cursor of somebody's terminal.
    return Cell("".join(letter if letter.isprintable() else "·" for letter in cell.text), cell.style)


def _fit(columns: Sequence[Column[Row]], widths: list[int], width: int) -> tuple[list[int], list[str]]:
    """Choose columns and narrow *widths*; return the kept indices and the dropped headers."""
    keep = list(range(len(columns)))

    def needed() -> int:
        return sum(widths[at] for at in keep) + len(GAP) * (len(keep) - 1)

    dropped = []
    while needed() > width:
        over = needed() - width
        cuttable = [at for at in keep if 0 < columns[at].least < widths[at]]
        spare = {at: widths[at] - columns[at].least for at in cuttable}
        widest = max(spare, key=lambda at: spare[at], default=None)
        if widest is not None and sum(spare.values()) >= over:
            widths[widest] -= min(over, spare[widest])
            continue
        least = max(keep, key=lambda at: columns[at].rank)
        if columns[least].rank == 0:
            break
        keep.remove(least)
        dropped.append(columns[least].head)
    return keep, dropped


def _padded(cell: Cell, width: int, right: bool) -> Cell:
    short = width - cell_len(cell.text)
    if short < 0:
        return Cell(set_cell_size(cell.text, width - 1) + "…", cell.style)
    pad = " " * short
    return Cell(pad + cell.text if right else cell.text + pad, cell.style)
