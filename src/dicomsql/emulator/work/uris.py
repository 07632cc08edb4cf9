"""Addresses of objects and tables, as requests give them: gs:// with wildcards, and bq://."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dicomsql.emulator.neighbours.base import TableName
from dicomsql.emulator.status import StatusError, invalid_field

__all__ = ["Pattern", "folder", "object_name", "pattern", "table"]

_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
_OBJECT = re.compile(r"[^\r\n\0]{1,1024}")
_TABLE = re.compile(
    r"bq://(?P<project>[a-z0-9][a-z0-9.:-]*)\.(?P<dataset>\w{1,1024})\.(?P<table>[\w -]{1,1024})"
)
_LONGEST_TABLE = 2000  # characters, of `tableUri` in the discovery document


@dataclass(frozen=True, slots=True)
class Pattern:
    """Objects of a bucket by their names.

    Attributes:
        prefix: how all of them begin.
        regex: what their whole names match.
        exact: whether it is the name of one.
    """

    bucket: str
    prefix: str
    regex: re.Pattern[str]
    exact: bool

    def matches(self, name: str) -> bool:
        """Whether an object is meant; what stands for a folder never is, unless it is named."""
        found = self.regex.fullmatch(name) is not None
        return found and (self.exact or not name.endswith("/"))


def pattern(uri: str, field: str) -> Pattern:
    """What `GcsSource.uri` names: `*` within a folder, `?`, and `**` or `**.ext` at the end.

    Raises:
        StatusError: 400 for another form.
    """
    bucket, name = _split(uri, field)
    wild = re.search(r"[*?]", name)
    if wild is None:
        return Pattern(bucket, name, re.compile(re.escape(name)), exact=True)
    head, stars, extension = name.partition("**")
    if stars:
        if not re.fullmatch(r"(\.[^/*?]+)?", extension) or re.search(r"[*?]", head):
            raise invalid_field(
                field,
                f"Invalid {field}: ** stands at the end of a path, alone or before a file"
                " extension such as .dcm, and with no other wildcard.",
            )
        regex = re.escape(head) + ".*" + re.escape(extension)
    else:
        parts = {"*": "[^/]*", "?": "."}
        regex = "".join(parts.get(c) or re.escape(c) for c in name)
    return Pattern(bucket, name[: wild.start()], re.compile(regex, re.DOTALL), exact=False)


def object_name(uri: str, field: str) -> tuple[str, str]:
    """Bucket and name of one object.

    Raises:
        StatusError: 400.
    """
    return _split(uri, field)


def folder(uri: str, field: str) -> tuple[str, str]:
    """Bucket and the beginning of the names in a folder, which is empty or ends with a slash.

    Raises:
        StatusError: 400.
    """
    bucket, _, name = uri.removeprefix("gs://").partition("/")
    if not uri.startswith("gs://") or not _BUCKET.fullmatch(bucket):
        raise _not_storage(field)
    if not name:
        return bucket, ""
    return _split(uri if uri.endswith("/") else uri + "/", field)


def table(uri: str, field: str) -> TableName:
    """The table of `bq://project.dataset.table`.

    Raises:
        StatusError: 400.
    """
    found = _TABLE.fullmatch(uri) if len(uri) <= _LONGEST_TABLE else None
    if found is None:
        raise invalid_field(
            field, f"Invalid {field}: bq://projectId.bqDatasetId.tableId is needed."
        )
    return TableName(found["project"], found["dataset"], found["table"])


def _split(uri: str, field: str) -> tuple[str, str]:
    bucket, _, name = uri.removeprefix("gs://").partition("/")
    fits = _BUCKET.fullmatch(bucket) and _OBJECT.fullmatch(name) and len(name.encode()) <= 1024
    if not uri.startswith("gs://") or not fits:
        raise _not_storage(field)
    return bucket, name


def _not_storage(field: str) -> StatusError:
    return invalid_field(field, f"Invalid {field}: gs://bucket/object is needed.")
