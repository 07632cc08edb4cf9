"""The options of COPY with what they may be, as the shell offers them. Data alone."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["INTO_FILES", "INTO_STORE", "Option"]


class Option(NamedTuple):
    """An option.

    Attributes:
        about: what it does.
        values: what it may be, where that can be listed.
        of: formats that have it; none for every one.
    """

    about: str
    values: tuple[str, ...] = ()
    of: frozenset[str] = frozenset()


_SWITCH = ("true", "false")
_OF_BOTH = {
    "parallel": Option("calls at a time"),
    "journal": Option("file that an ended COPY goes on from, or off", ("off",)),
    "source": Option("the resource that is read from"),
}

# COPY resource FROM ...
INTO_STORE = {
    "on_conflict": Option("what becomes of an instance that is there", ("fail", "skip", "replace")),
    "batch_mb": Option("megabytes of one request"),
    **_OF_BOTH,
}

_DELIMITED = frozenset({"csv", "tsv"})
_TEXTS = _DELIMITED | {"json", "jsonl"}
_IMAGES = frozenset({"png", "jpeg"})
_INSTANCES = _IMAGES | {"dicom"}
_PARQUET = frozenset({"parquet"})

# COPY (query) TO ...
INTO_FILES = {
    "FORMAT": Option(
        "dicom, png or jpeg for instances; else rows",
        ("dicom", "png", "jpeg", "parquet", "csv", "tsv", "json", "jsonl", "arrow"),
    ),
    "layout": Option("names of the files, such as {StudyInstanceUID}/...", of=_INSTANCES),
    "transfer_syntax": Option(
        "'*' for the bytes as stored, or a UID", ("*",), frozenset({"dicom"})
    ),
    "overwrite": Option("replace files that are there", _SWITCH, _INSTANCES),
    **{name: option._replace(of=_INSTANCES) for name, option in _OF_BOTH.items()},
    "header": Option("names of the columns on the first line", _SWITCH, _DELIMITED),
    "delimiter": Option("what stands between values", of=frozenset({"csv"})),
    "quote": Option("what values are quoted with", of=_DELIMITED),
    "escape": Option("what stands before a quote in a value", of=_DELIMITED),
    "nullstr": Option("what stands for NULL", of=_DELIMITED),
    "dateformat": Option("how dates are written", of=_TEXTS),
    "timestampformat": Option("how timestamps are written", of=_TEXTS),
    "array": Option("one JSON list, not a line each", _SWITCH, frozenset({"json"})),
    "compression": Option(
        "how it is compressed",
        ("none", "gzip", "zstd", "snappy", "uncompressed", "brotli", "lz4", "lz4_raw"),
        _TEXTS | _PARQUET,
    ),
    "compression_level": Option("from 1 to 22", of=_PARQUET),
    "row_group_size": Option("rows of a row group", of=_PARQUET),
}
