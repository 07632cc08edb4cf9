"""The command `exec`: runs statements and writes each one's result."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dicomsql import config
from dicomsql.cli.console import Console, RowStream, row_stream, terminal_width
from dicomsql.cli.failures import UsageError
from dicomsql.errors import InterfaceError, nearest

if TYPE_CHECKING:
    from dicomsql.config import Settings
    from dicomsql.language.statements import Statement
    from dicomsql.result import Result

# Options of the command line that are settings of the session, by the same name.
_SETTINGS = tuple(config.Settings.__dataclass_fields__)

_NO_SQL = (
    'There is no SQL. Give it as an argument, as in dicomsql exec "SHOW PROVIDERS", '
    "with --infile FILE, or on standard input."
)

# What the ending of the output's file says about its format.
_ENDINGS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".md": "markdown",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".txt": "csv",
}

# Formats of files that hold one result and are of no use on a terminal.
_BINARY = frozenset({"parquet", "arrow"})
_ONE_RESULT = (
    "A {form} file holds one result, but more than one statement has one; "
    "write each to a file of its own."
)

# Options that only calls over the network heed.
_NETWORK_OPTIONS = {"--proxy": "proxy", "--ca-bundle": "ca_bundle"}

_VARIABLE = re.compile(r"([^\W\d][\w.-]*)=(.*)", re.DOTALL)


def execute(arguments: argparse.Namespace) -> int:
    """Run the statements of the command line; the first that fails ends it.

    Raises:
        UsageError: an option, or a file that it names, is wrong.
        Error: a statement failed.
    """
    text = _sql(arguments)
    variables = _variables(arguments)
    form = _asked_format(arguments.output, arguments.outfile)
    console = Console()
    settings = _with_password(_settings(arguments), console)
    _tell_what_has_no_effect(arguments, console)
    quiet = arguments.quiet
    failure: Exception | None = None
    from dicomsql.cli.imports import import_arrow
    from dicomsql.language.statements import Describe, Set, Show, Use
    from dicomsql.session import Session

    with (
        console.warnings(),
        row_stream(arguments.outfile, console) as stream,
        Session(
            settings,
            consent=console.ask if console.interactive else None,
            progress=console.progress if console.shows_progress and not quiet else None,
            lines=None if console.shows_progress or quiet else console.say,
            stop_operation=console.ask_to_stop if console.interactive else None,
        ) as session,
    ):
        try:
            statements = session.parse(text, variables)
            if not statements:
                raise UsageError(_NO_SQL)
            if form in _BINARY:
                _check_one_result(statements, form)
            for statement in statements:
                if not isinstance(statement, Describe | Set | Show | Use):
                    import_arrow()
                result = session.execute(statement, dry_run=arguments.dry_run)
                console.clear()
                _write(result, form, arguments, stream, console)
                failure = result.failure
                if failure is not None:
                    break
        finally:
            console.clear()
    if failure is not None:
        # Only here, since its rows are in the output and stay there.
        raise failure
    return 0


def _write(
    result: Result,
    form: str | None,
    arguments: argparse.Namespace,
    stream: RowStream,
    console: Console,
) -> None:
    from dicomsql import output

    to_terminal = arguments.outfile in {None, "-"} and sys.stdout.isatty()
    if output.is_text(result) and _is_written_as_text(result, form, arguments):
        output.write_text(result, stream, escape=to_terminal)
    else:
        _write_rows(
            result,
            form or ("table" if to_terminal else "csv"),
            arguments,
            stream,
            console,
            width=terminal_width() if to_terminal else None,
        )
    if result.summary is not None and form in {"json", "jsonl"}:
        import json

        console.say(json.dumps(result.summary))
    elif result.message:
        console.say(result.message)
    for note in result.statistics.notes:
        console.say(f"note: {note}")


def _write_rows(
    result: Result,
    form: str,
    arguments: argparse.Namespace,
    stream: RowStream,
    console: Console,
    *,
    width: int | None,
) -> None:
    from dicomsql import output

    if form in _BINARY and stream.written and result.columns is not None:
        result.close()
        raise UsageError(_ONE_RESULT.format(form=form))
    left_out: list[str] = []
    count = output.write(
        result,
        form,
        stream,
        headers=not arguments.hideheaders,
        delimiter=arguments.delimiter,
        width=width,
        left_out=left_out.extend,
    )
    stream.flush()
    if left_out:
        columns = "column" if len(left_out) == 1 else "columns"
        names = ", ".join(left_out)
        console.say(f"{len(left_out)} more {columns}: {names}; -o vertical shows all")
    if count is not None and form in {"table", "vertical"}:
        console.say(f"({count:,} row{'' if count == 1 else 's'})")


def _is_written_as_text(result: Result, form: str | None, arguments: argparse.Namespace) -> bool:
    """Whether lines of a text are written as such, and not as rows of one column."""
    if form == "table":
        # A document in a cell that is cut to the terminal is of no use to anybody.
        return result.columns is not None and result.columns[0].type == "JSON"
    return arguments.output is None and form not in _BINARY


def _asked_format(output: str | None, outfile: str | None) -> str | None:
    """The format that is asked for by its name or by the file's ending; None for neither.

    Raises:
        UsageError: the ending is none that is known, or the format cannot be written there.
    """
    ending = Path(outfile or "").suffix.lower()
    form = output or _ENDINGS.get(ending)
    if form is None and ending:
        raise UsageError(
            f"{outfile}: the ending {ending} says nothing of the format. Those known are "
            f"{', '.join(_ENDINGS)}; for another, name the format with -o."
        )
    if form in _BINARY and (outfile in {None, "-"} or not _is_file(outfile)):
        raise UsageError(
            f"{form.capitalize()} is written to a file and to nothing else: name it with -f FILE."
        )
    return form


def _is_file(outfile: str | None) -> bool:
    """Whether it is a file, or nothing yet."""
    path = Path(outfile or "").expanduser()
    return path.is_file() or not path.exists()


def _check_one_result(statements: Sequence[Statement], form: str) -> None:
    """Refuse more than one result for a file that holds one, before any statement runs."""
    from dicomsql.language.statements import CopyIn, CopyOut, Engine, Set, Use

    count = 0
    for statement in statements:
        writes_only = getattr(statement, "returning", statement) is None
        writes_only &= not isinstance(statement, CopyIn | CopyOut)
        count += not (isinstance(statement, Engine | Set | Use) or writes_only)
    if count > 1:
        raise UsageError(_ONE_RESULT.format(form=form))


def _sql(arguments: argparse.Namespace) -> str:
    """The statements' text, from the one place where it was given."""
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
        return _decoded(sys.stdin.buffer.read(), "Standard input")
    text = "" if sys.stdin.isatty() else _decoded(sys.stdin.buffer.read(), "Standard input")
    if not text.strip():
        raise UsageError(_NO_SQL)
    return text


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
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{source} is not UTF-8 text (byte {error.start + 1} does not fit)."
        ) from None


def _variables(arguments: argparse.Namespace) -> dict[str, object]:
    """Values of placeholders: those of the files in their order, then those of --var."""
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


def _tell_what_has_no_effect(arguments: argparse.Namespace, console: Console) -> None:
    given = [name for name, key in _NETWORK_OPTIONS.items() if getattr(arguments, key) is not None]
    if given and arguments.local is not None:
        have = "has" if len(given) == 1 else "have"
        console.say(
            f"warning: {' and '.join(given)} {have} no effect with --local, "
            "which makes no calls over the network"
        )


def _settings(arguments: argparse.Namespace) -> Settings:
    given = {name: getattr(arguments, name) for name in _SETTINGS if hasattr(arguments, name)}
    if given["dialect"]:
        given["dialect"] = _dialect(given["dialect"])
    try:
        return config.settings(**given)
    except InterfaceError as error:
        raise UsageError(str(error)) from None


def _with_password(settings: Settings, console: Console) -> Settings:
    """The settings with the password that goes with the user, asked for where nothing told it.

    Raises:
        UsageError: there is nobody to ask.
    """
    if settings.user is None or settings.password is not None:
        return settings
    if not console.interactive:
        raise UsageError("--user needs a password: put it into DICOMSQL_PASSWORD.")
    from dataclasses import replace
    from getpass import getpass

    return replace(settings, password=getpass(f"Password of {settings.user}: "))


def _dialect(name: str) -> str:
    """The dialect's name as sqlglot has it."""
    from sqlglot.dialects import DIALECTS

    known = [dialect.lower() for dialect in DIALECTS]
    if name.lower() not in known:
        raise UsageError(f"There is no dialect {name!r}.{nearest(name, known)}")
    return "" if name.lower() == "duckdb" else name.lower()
