"""Draws the chart of a page as SVG, where a result can be one."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from dicomsql.errors import InterfaceError
from dicomsql.output.cells import cut_within, width_of
from dicomsql.output.charting import Bar, Chart, Gathered

if TYPE_CHECKING:
    from dicomsql.output.pieces import Piece
    from dicomsql.result import ResultColumn

# Bars of a figure: as many as are seen at once.
_MOST = 40
# Pixels: a bar's line, the bars, their values, a letter; and letters of a label.
_LINE = 20
_BARS, _VALUES, _LETTER = 400, 100, 7.3
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
    names = [cut_within(bar.label, _LETTERS) for bar in chart.bars]
    labels = 12 + _LETTER * max(map(width_of, names))
    zero = labels + _BARS * -chart.low / size
    lines = []
    for number, (name, bar) in enumerate(zip(names, chart.bars, strict=True)):
        middle = number * _LINE + _LINE / 2
        lines.append(
            f'<text class="label" x="{labels - 8:.1f}" y="{middle:g}">{escape(name)}'
            f"<title>{escape(bar.label)}</title></text>"
        )
        lines += _bar(bar, middle, zero, _BARS / size)
    width, height = labels + _BARS + _VALUES, len(chart.bars) * _LINE
    notes = "".join(f"<p>{escape(note)}</p>" for note in chart.notes)
    title = escape(chart.title)
    return (
        f"<figure><details open><summary>{title}</summary>"
        f'<svg viewBox="0 0 {width:.0f} {height}" width="{width:.0f}" role="img" '
        f'aria-label="{title}">{"".join(lines)}'
        f'<line x1="{zero:.1f}" y1="0" x2="{zero:.1f}" y2="{height}"/></svg>'
        f"{notes}</details></figure>\n"
    )


def _bar(bar: Bar, middle: float, zero: float, scale: float) -> list[str]:
    label, text = escape(bar.label), escape(bar.text)
    if bar.value is None:
        return [f'<text class="none" x="{zero + 6:.1f}" y="{middle:g}">{text}</text>']
    long = max(abs(bar.value) * scale, 1.0 if bar.value else 0.0)
    left = zero - long if bar.value < 0 else zero
    shape = (
        f'<rect class="{"below" if bar.value < 0 else "above"}" x="{left:.1f}" '
        f'y="{middle - _LINE / 2 + 3:g}" width="{long:.1f}" height="{_LINE - 6}">'
        f"<title>{label}: {text}</title></rect>"
    )
    end = max(zero, left + long)
    return [shape, f'<text x="{end + 6:.1f}" y="{middle:g}">{text}</text>']
