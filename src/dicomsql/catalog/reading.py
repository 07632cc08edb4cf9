"""Reads a provider document from its file: YAML or JSON into plain mappings, or a DocumentError."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dicomsql.catalog.openapi import Document
from dicomsql.errors import DocumentError


def read_bytes(path: Path) -> bytes:
    """The file's bytes.

    Raises:
        DocumentError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise DocumentError(f"cannot be read: {reason}", document=str(path)) from error


def parse(data: bytes, name: str) -> Document:
    """A document from its bytes.

    Raises:
        DocumentError: they are no YAML, or no mapping.
    """
    import yaml

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        document = yaml.load(data, Loader=loader)  # noqa: S506  (a safe loader, the C one)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "not readable"
        raise DocumentError(f"no YAML: {problem}{where}", document=name) from error
    if not isinstance(document, dict):
        raise DocumentError("a document is a mapping", document=name)
    return document
