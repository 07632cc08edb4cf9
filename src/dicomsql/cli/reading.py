"""What a command is given to run: the text of statements, and the values of their placeholders."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from dicomsql.cli.failures import UsageError

NO_SQL = (
    'There is no SQL. Give it as an argument, as in dicomsql exec "SHOW PROVIDERS", '
    "with --infile FILE, or on standard input."
)

_VARIABLE = re.compile(r"([^\W\d][\w.-]*)=(.*)", re.DOTALL)


def sql_of(arguments: argparse.Namespace) -> str:
    """The statements' text, from the one place where it was given.

    Raises:
        UsageError: it was given nowhere or twice, or cannot be read.
    """
    local = arguments.local
    if arguments.sql is None and isinstance(local, str) and _is_sql(local):
        # `--local "SELECT ..."`: the option takes a folder, and argparse gave it the SQL.
        arguments.sql, arguments.local = local, True
    if arguments.sql is not None:
        if arguments.infile is not None:
            raise UsageError("Give the SQL either as an argument or with --infile, not both.")
        return str(arguments.sql)
    if arguments.infile not in {None, "-"}:
        return _decoded(_read(arguments.infile), arguments.infile)
    if arguments.infile == "-":
        return _standard_input()
    text = "" if sys.stdin is not None and sys.stdin.isatty() else _standard_input()
    if not text.strip():
        raise UsageError(NO_SQL)
    return text


def _standard_input() -> str:
    # A program that is started without one has None.
    stream = getattr(sys.stdin, "buffer", None)
    return "" if stream is None else _decoded(stream.read(), "Standard input")


def _is_sql(text: str) -> bool:
    """Whether an argument is a statement rather than a folder's name."""
    from dicomsql.language.parse import STATEMENT_WORDS

    words = text.split(maxsplit=1)
    return len(words) > 1 and words[0].upper() in STATEMENT_WORDS


def _read(file: str) -> bytes:
    try:
        return Path(file).expanduser().read_bytes()
    except OSError as error:
        raise UsageError(f"Cannot read {file}: {error.strerror}.") from None


def _decoded(data: bytes, source: str) -> str:
    # The preamble of a DICOM file is UTF-8 as well.
    if (nul := data.find(b"\0")) >= 0:
        raise UsageError(f"{source} is no text: it holds binary data (byte {nul + 1} is 0).")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{source} is not UTF-8 text (byte {error.start + 1} does not fit)."
        ) from None


def variables_of_options(arguments: argparse.Namespace) -> dict[str, object]:
    """Values of placeholders: those of the files in their order, then those of --var.

    Raises:
        UsageError: an option or a file is not of the form that it has to have.
    """
    variables: dict[str, object] = {}
    for file in arguments.vars:
        variables.update(_variables_of(file))
    for given in arguments.var:
        found = _VARIABLE.fullmatch(given)
        if found is None:
            name = given.partition("=")[0]
            raise UsageError(f"--var takes NAME=VALUE, such as --var store=ct, not {name!r}.")
        variables[found.group(1)] = found.group(2)
    return variables


def _variables_of(file: str) -> Mapping[str, object]:
    text = _decoded(_read(file), file)
    loaded = _json(text, file) if file.lower().endswith(".json") else _yaml(text, file)
    if loaded is None:
        return {}
    if not isinstance(loaded, dict) or not all(isinstance(key, str) for key in loaded):
        raise UsageError(f"{file} must hold names with values, such as `store: ct-archive`.")
    return loaded


def _json(text: str, file: str) -> object:
    import json

    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise UsageError(
            f"{file} is not JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        ) from None


def _yaml(text: str, file: str) -> object:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        # The parser's own text quotes the file, which may hold what should not be shown.
        raise UsageError(f"{file} is not YAML{where}.") from None
