"""Draws a result as bars in the terminal: a category or a time and a number, or a histogram.

rich draws the bars, in eighths of a cell. Libraries of whole plots (plotext, plotille, termgraph)
draw axes for curves, print by themselves, or know no terminal of 20 columns; what a result means as
bars is for `dicomsql.output.charting` to say.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from dicomsql.output.charting import Chart, Gathered
from dicomsql.output.options import ByteStream, Options

if TYPE_CHECKING:
    from rich.console import Console

    from dicomsql.output.pieces import Piece
    from dicomsql.result import ResultColumn

# Of a terminal that is none.
_WIDTH, _HEIGHT = 80, 40
# Lines beside the bars: the title, notes, the next prompt; and the fewest bars.
_BESIDE = 6
_FEWEST = 5
# A label takes no more than this part of the width; a bar has at least so many cells.
_LABEL_PART = 2
_NARROWEST_LABEL = 5
_NARROWEST_BAR = 4


def write_chart(
    columns: tuple[ResultColumn, ...],
    pieces: Iterator[Piece],
    stream: ByteStream,
    options: Options,
) -> int:
    """Write a chart of all rows, and give their number.

    Raises:
        InterfaceError: no chart can be made of such columns, or of so many rows.
    """
    gathered = Gathered(columns)
    for piece in pieces:
        gathered.add(piece.texts())
    chart = gathered.chart(most_bars(options.height))
    text = drawn(chart, width=options.width or _WIDTH, color=options.color)
    stream.write(text.encode())
    stream.flush()
    return gathered.count


def chart_text(
    columns: Sequence[ResultColumn],
    rows: Iterable[Sequence[object]],
    *,
    width: int,
    height: int,
    color: bool,
) -> str:
    """A chart as lines of text.

    Args:
        rows: values that are written as texts are: numbers, dates in the form of ISO 8601.
        width, height: cells that it is to take; more lines where there is more to say.
        color: the reader shows colors (SGR codes).

    Raises:
        InterfaceError: no chart can be made of such columns, or of so many rows.
    """
    gathered = Gathered(columns)
    texts = [[None if value is None else str(value) for value in row] for row in rows]
    if texts:
        gathered.add([list(column) for column in zip(*texts, strict=True)])
    return drawn(gathered.chart(most_bars(height)), width=width, color=color)


def most_bars(height: int | None) -> int:
    """The bars that a terminal has lines for."""
    return max(_FEWEST, (height or _HEIGHT) - _BESIDE)


def drawn(chart: Chart, *, width: int, color: bool) -> str:
    """A chart's lines: what is shown, a line for each bar, notes."""
    from io import StringIO

    from rich.console import Console

    from dicomsql.output.pictures import color_system

    out = StringIO()
    console = Console(
        file=out,
        width=max(1, width),
        force_terminal=color,
        color_system=color_system(color=color),
        legacy_windows=False,
        soft_wrap=False,
        markup=False,
        highlight=False,
        emoji=False,
        _environ={},
    )
    _draw(chart, console)
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def _draw(chart: Chart, console: Console) -> None:
    from rich.bar import Bar
    from rich.table import Table
    from rich.text import Text

    from dicomsql.output.cells import cut, cut_within, width_of

    console.print(Text(chart.title, style="bold"))
    values = max((width_of(bar.text) for bar in chart.bars if not bar.is_gap), default=0)
    labels = max((width_of(bar.label) for bar in chart.bars), default=0)
    room = console.width - values - 2
    labels = min(labels, max(_NARROWEST_LABEL, console.width // _LABEL_PART))
    labels = max(1, min(labels, room - _NARROWEST_BAR))
    across = max(1, room - labels)
    size = (chart.high - chart.low) or 1.0
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(width=labels, no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(width=across, no_wrap=True)
    for bar in chart.bars:
        label = Text(cut_within(bar.label, labels), style="dim italic" if bar.is_null else "")
        if bar.is_gap:
            table.add_row(label, Text(""), Text(cut(bar.text, across), style="dim"))
        elif bar.value is None:
            table.add_row(label, Text(bar.text, style="dim italic"), Text(""))
        else:
            begin = min(bar.value, 0) - chart.low
            end = max(bar.value, 0) - chart.low
            if bar.value:
                # What is not nothing is seen.
                end = max(end, begin + size / (8 * across))
                begin = min(begin, end - size / (8 * across))
            shape = Bar(size, begin, end, width=across, color="cyan" if bar.value > 0 else "red")
            table.add_row(label, Text(bar.text), shape)
    console.print(table)
    for note in chart.notes:
        console.print(Text(note, style="dim"))
