"""Draws the chart of a page as SVG, where a result can be one."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from dicomsql.errors import InterfaceError
from dicomsql.output.cells import cut
from dicomsql.output.charting import Bar, Chart, Gathered

if TYPE_CHECKING:
    from dicomsql.output.pieces import Piece
    from dicomsql.result import ResultColumn

# Bars of a figure: as many as are seen at once.
_MOST = 40
# Pixels: a bar's line, its labels, the bars, their values; and letters of a label.
_LINE = 20
_LABELS, _BARS, _VALUES = 180, 420, 100
_LETTERS = 26


class Figure:
    """The chart of a page's rows, if they can have one."""

    def __init__(self, columns: Sequence[ResultColumn]) -> None:
        self._gathered: Gathered | None
        try:
            self._gathered = Gathered(columns)
        except InterfaceError:
            # The page was asked for, not a chart.
            self._gathered = None

    def add(self, piece: Piece) -> None:
        """Take some rows."""
        if self._gathered is None:
            return
        try:
            self._gathered.add(piece.texts())
        except InterfaceError:
            self._gathered = None

    def svg(self) -> str:
        """The figure; empty where there is none."""
        if self._gathered is None or not self._gathered.count:
            return ""
        try:
            chart = self._gathered.chart(_MOST)
        except InterfaceError:
            return ""
        return _figure(chart) if len(chart.bars) > 1 else ""


def _figure(chart: Chart) -> str:
    size = (chart.high - chart.low) or 1.0
    zero = _LABELS + _BARS * -chart.low / size
    lines = []
    for number, bar in enumerate(chart.bars):
        lines += _bar(bar, number * _LINE, zero, _BARS / size)
    height = len(chart.bars) * _LINE
    notes = "".join(f"<p>{escape(note)}</p>" for note in chart.notes)
    title = escape(chart.title)
    return (
        f"<figure><details open><summary>{title}</summary>"
        f'<svg viewBox="0 0 {_LABELS + _BARS + _VALUES} {height}" role="img" aria-label="{title}">'
        f'{"".join(lines)}<line x1="{zero:.1f}" y1="0" x2="{zero:.1f}" y2="{height}"/></svg>'
        f"{notes}</details></figure>\n"
    )


def _bar(bar: Bar, top: int, zero: float, scale: float) -> list[str]:
    label, text = escape(bar.label), escape(bar.text)
    middle = top + _LINE / 2
    name = (
        f'<text class="label" x="{_LABELS - 8}" y="{middle:g}">{escape(cut(bar.label, _LETTERS))}'
        f"<title>{label}</title></text>"
    )
    if bar.value is None:
        said = f'<text class="none" x="{zero + 6:.1f}" y="{middle:g}">{text}</text>'
        return [name, said]
    long = max(abs(bar.value) * scale, 1.0 if bar.value else 0.0)
    left = zero - long if bar.value < 0 else zero
    shape = (
        f'<rect class="{"below" if bar.value < 0 else "above"}" x="{left:.1f}" y="{top + 3}" '
        f'width="{long:.1f}" height="{_LINE - 6}"><title>{label}: {text}</title></rect>'
    )
    end = max(zero, left + long)
    return [name, shape, f'<text x="{end + 6:.1f}" y="{middle:g}">{text}</text>']
