"""What a statement took when it ran (EXPLAIN ANALYZE), in all and table by table.

Names and numbers only; no value of the data comes here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from dicomsql.planning.explain import counted, named

if TYPE_CHECKING:
    from dicomsql.result import ScanStatistics, Statistics


def report_lines(statistics: Statistics, rows: int, told: Sequence[str]) -> list[str]:
    """The cost as lines of text.

    Args:
        rows: that the statement gave.
        told: lines that stand above, whose notes are not repeated.
    """
    s = statistics
    lines = [
        f"RAN  {counted(rows, 'row')} in {s.seconds:.3f} s",
        f"  requests  {s.requests:,}",
        f"  pages     {s.pages:,}",
        f"  bytes     {s.bytes_received:,}",
    ]
    if s.repeated:
        lines.append(f"  repeated  {s.repeated:,}")
    if s.from_cache:
        lines.append(f"  cached    {s.from_cache:,}")
    for scan in s.scans:
        lines += _scan_lines(scan)
    return lines + [f"  note      {note}" for note in s.notes if f"NOTE  {note}" not in told]


def report_document(statistics: Statistics, rows: int) -> dict[str, object]:
    """The cost as a JSON document has it."""
    return {"rows": rows, **dataclasses.asdict(statistics)}


def _scan_lines(scan: ScanStatistics) -> Iterator[str]:
    parts = [
        counted(scan.requests, "request"),
        counted(scan.rows, "row"),
        counted(scan.bytes_received, "byte"),
    ]
    if scan.from_cache:
        parts.append(f"{counted(scan.from_cache, 'answer')} from the cache")
    yield f"  read      {named(scan.resource, scan.alias)}: {', '.join(parts)}"
    for decision in scan.decided:
        yield f"            {decision}"
