"""COPY (query) TO a file of rows: its format, and the options that the format takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dicomsql.errors import PlanningError, nearest
from dicomsql.planning.options import any_text, one_of, switch, text, whole
from dicomsql.planning.values import parameter_text

if TYPE_CHECKING:
    from dicomsql.planning.options import Options, Reader

# What FORMAT may be for the instances themselves, with the format that each of them is.
OF_INSTANCES = {"dicom": "dicom", "png": "png", "jpeg": "jpeg", "jpg": "jpeg"}

# How the name of a file ends, and its format.
_ENDINGS = {
    ".parquet": "parquet",
    ".csv": "csv",
    ".tsv": "tsv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".arrow": "arrow",
}
# Of texts, behind such an ending.
_COMPRESSED = {".gz": "gzip", ".zst": "zstd"}

FORMATS = tuple(dict.fromkeys(_ENDINGS.values()))

_DELIMITED = ("csv", "tsv")
_TEXTS = (*_DELIMITED, "json", "jsonl")
_PARQUET = ("uncompressed", "snappy", "gzip", "zstd", "brotli", "lz4", "lz4_raw")

_OPTIONS: dict[tuple[str, str], Reader] = {
    **{(f, "header"): switch for f in _DELIMITED},
    ("csv", "delimiter"): text,
    **{(f, o): text for f in _DELIMITED for o in ("quote", "escape")},
    **{(f, "nullstr"): any_text for f in _DELIMITED},
    **{(f, o): text for f in _TEXTS for o in ("dateformat", "timestampformat")},
    **{(f, "compression"): one_of("none", "gzip", "zstd") for f in _TEXTS},
    ("json", "array"): switch,
    ("parquet", "compression"): one_of(*_PARQUET),
    ("parquet", "compression_level"): whole(1, 22),
    ("parquet", "row_group_size"): whole(1, 10_000_000),
}

# The engine's other names for some of them.
_ALIASES = {"delim": "delimiter", "sep": "delimiter", "null": "nullstr"}

# What only the engine's own COPY does: several files, and what is particular to its formats.
_ENGINES = frozenset(
    {
        *("partition_by", "per_thread_output", "file_size_bytes", "filename_pattern"),
        *("file_extension", "overwrite", "overwrite_or_ignore", "append", "use_tmp_file"),
        *("return_files", "return_stats", "preserve_order", "write_partition_columns"),
        *("write_empty_file", "hive_file_pattern", "force_quote", "prefix", "suffix", "encoding"),
        *("field_ids", "kv_metadata", "row_group_size_bytes", "row_groups_per_file"),
        *("parquet_version", "dictionary_size_limit", "string_dictionary_page_size_limit"),
        *("bloom_filter_false_positive_ratio", "encryption_config", "geoparquet_version"),
    }
)


def is_engines(options: Options) -> bool:
    """Whether the options ask for what only the engine's own COPY does."""
    if options.names & _ENGINES:
        return True
    given = _format(options)
    known = {*FORMATS, *OF_INSTANCES}
    return bool(given) and given not in known and not nearest(given, sorted(known))


def of_instances(options: Options) -> str:
    """The format of instances' files that the options name; empty for rows."""
    return OF_INSTANCES.get(_format(options), "")


def export_of(path: str, options: Options) -> tuple[str, tuple[tuple[str, str], ...]]:
    """The format of a file of rows, and its options.

    Raises:
        LanguageError, PlanningError: nothing says which format, or it does not take an option.
    """
    given = _format(options)
    compression = next((c for end, c in _COMPRESSED.items() if path.lower().endswith(end)), "")
    name = path.lower().removesuffix(".gz").removesuffix(".zst")
    by_name = next((f for end, f in _ENDINGS.items() if name.endswith(end)), "")
    format_ = given or by_name
    if format_ not in FORMATS:
        listed = ", ".join(FORMATS)
        if given:
            raise PlanningError(
                f"COPY ... TO has no FORMAT {given}.{nearest(given, [*FORMATS, *OF_INSTANCES])} "
                f"It is dicom, png or jpeg for instances, or for rows {listed}."
            )
        raise PlanningError(
            f"COPY ... TO does not say what it is to make. Add (FORMAT dicom) for the files of the "
            f"instances, or for rows FORMAT {listed}, or give the file such an ending."
        )
    known = {name: reader for (of, name), reader in _OPTIONS.items() if of == format_}
    aliases = {alias: name for alias, name in _ALIASES.items() if name in known}
    options.check(["FORMAT", *known, *aliases])
    found: dict[str, str] = {}
    for name in sorted(options.names - {"format"}):
        value = options.read(name, known[aliases.get(name, name)])
        found[aliases.get(name, name)] = parameter_text(value)
    if compression and (format_, "compression") in _OPTIONS and format_ in _TEXTS:
        found.setdefault("compression", compression)
    if found.pop("array", "true") == "false":
        format_ = "jsonl"
    return format_, tuple(found.items())


def _format(options: Options) -> str:
    return str(options.get("format", text, "")).lower()
