"""Answers of a series search with the real metadata of the NCI Imaging Data Commons.

The package idc-index-data carries the index of its series, more than a million, as Parquet. The
datasets hold the twelve attributes that a Google-hosted store returns by itself, in the order of
their tags, empty where the index does not know them.
"""

from __future__ import annotations

import importlib.util
from itertools import accumulate
from pathlib import Path

import duckdb

# Tag, VR, and the column of the index; None where every element is empty.
_ELEMENTS = (
    ("00080020", "DA", "strftime(try_cast(StudyDate AS DATE), '%Y%m%d')"),
    ("00080030", "TM", None),
    ("00080050", "SH", None),
    ("00080060", "CS", "Modality"),
    ("00080090", "PN", None),
    ("00100010", "PN", "PatientID"),
    ("00100020", "LO", "PatientID"),
    ("00100030", "DA", None),
    ("00100040", "CS", "PatientSex"),
    ("0020000D", "UI", "StudyInstanceUID"),
    ("0020000E", "UI", "SeriesInstanceUID || '.' || {marker}"),
    ("00200010", "SH", None),
)

# Ends every series' UID, so that a server can give the same rows again as other series.
MARKER = "9900"
PAGE = 5_000


def index() -> Path:
    """The index file of the installed idc-index-data.

    Raises:
        SystemExit: the package is not installed.
    """
    found = importlib.util.find_spec("idc_index_data")
    if found is None or found.origin is None:
        raise SystemExit("This benchmark needs real metadata: pip install idc-index-data")
    return Path(found.origin).with_name("idc_index.parquet")


def write_rows(file: Path, series: int) -> list[int]:
    """Write the datasets of a search one after another, separated by commas.

    Returns: where each begins, and where another one would.
    """
    elements = ", ',', ".join(_element(*element) for element in _ELEMENTS)
    query = f"SELECT concat('{{', {elements}, '}}') FROM (SELECT * FROM '{index()}' LIMIT {series})"
    starts = [0]
    with duckdb.connect() as connection, file.open("wb") as written:
        connection.execute("SET enable_progress_bar = false")
        connection.execute(query)
        while rows := connection.fetchmany(PAGE):
            datasets = [dataset.encode() + b"," for (dataset,) in rows]
            written.write(b"".join(datasets))
            starts += accumulate(map(len, datasets), initial=starts.pop())
    return starts


def pages(file: Path, starts: list[int]) -> list[bytes]:
    """The bodies of the first twenty pages."""
    data = memoryview(file.read_bytes())
    firsts = range(0, min(20 * PAGE, len(starts) - 1), PAGE)
    spans = [(starts[n], starts[min(n + PAGE, len(starts) - 1)]) for n in firsts]
    return [b"[" + data[first : last - 1].tobytes() + b"]" for first, last in spans]


def _element(tag: str, vr: str, column: str | None) -> str:
    """SQL for the JSON text of one element."""
    empty = f'"{tag}":{{"vr":"{vr}"}}'
    if column is None:
        return f"'{empty}'"
    value = f"to_json({column.format(marker=repr(MARKER))})::VARCHAR"
    if vr == "PN":
        value = f"""concat('{{"Alphabetic":', {value}, '}}')"""
    full = f"""concat('"{tag}":{{"vr":"{vr}","Value":[', {value}, ']}}')"""
    return f"CASE WHEN {column.format(marker=repr(MARKER))} IS NULL THEN '{empty}' ELSE {full} END"
