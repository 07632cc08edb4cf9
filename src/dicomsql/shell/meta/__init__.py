"""The meta-commands: one table of them, from which `\\?`, completion and the documents are made."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from dicomsql.errors import nearest
from dicomsql.shell.meta.table import Command
from dicomsql.shell.running import MetaError

if TYPE_CHECKING:
    from dicomsql.shell.pieces import Meta
    from dicomsql.shell.running import Shell

__all__ = ["Command", "commands", "help_lines", "run_meta", "secret_names"]

# What users of other shells type, and what does the same here.
_ELSEWHERE = {
    "copy": "COPY (SELECT ...) TO 'file.csv'; is a statement here.",
    "l": "SELECT name FROM google.healthcare.datasets; lists the datasets of a project.",
    "du": "dicomsql auth status tells who asks.",
    "import": "COPY google.healthcare.instances FROM 'folder'; stores files, and "
    "read_dicom('folder/**') is a table of them.",
    "dump": "COPY (SELECT ...) TO 'file.parquet'; writes what a query gives.",
    "password": "DICOMSQL_PASSWORD holds the password of --user.",
    "a": "\\format changes how results look.",
    "t": "\\set headers off leaves the names of columns out.",
    "f": "\\set delimiter changes what stands between the values of csv.",
    "encoding": "All text is UTF-8.",
    "df": "SELECT function_name FROM duckdb_functions(); lists functions, \\dm methods.",
    "z": "SELECT * FROM google.healthcare.dicom_stores_iam_policies; shows who may do what.",
    "dp": "SELECT * FROM google.healthcare.dicom_stores_iam_policies; shows who may do what.",
    "di": "Resources have no indexes; \\d NAME shows what can be searched by.",
    **dict.fromkeys(
        ("if", "elif", "else", "endif"),
        "Scripts have no conditions here; CASE and WHERE decide in a statement.",
    ),
    "gset": "\\var NAME=VALUE sets what {{ NAME }} stands for.",
    "bind": "\\var NAME=VALUE sets what {{ NAME }} stands for.",
    "gexec": "What a query gives is not run; \\o FILE writes it and \\i FILE runs a file.",
}


@cache
def commands() -> tuple[Command, ...]:
    """All meta-commands, in the order of the help."""
    from dicomsql.shell.meta import again, catalog, files, help, looks, sessions

    parts = (help, catalog, again, looks, files, sessions)
    return tuple(command for part in parts for command in part.COMMANDS)


@cache
def _by_name() -> dict[str, Command]:
    return {name: command for command in commands() for name in command.names}


def secret_names() -> frozenset[str]:
    """Names of the commands whose arguments stay out of the history's file."""
    return frozenset(name for command in commands() if command.secret for name in command.names)


def run_meta(shell: Shell, meta: Meta) -> bool:
    """Run a meta-command; False where it failed and has said so.

    Raises:
        MetaError: there is none of that name, or it was used wrongly.
        Quit: the shell is to end.
    """
    known = _by_name()
    command = known.get(meta.name) or known.get(meta.name.lower())
    if command is None:
        hint = _ELSEWHERE.get(meta.name.lower())
        meant = "" if hint else nearest(meta.name, tuple(n for n in known if n.isascii()))
        said = f" {hint}" if hint else meant.replace("mean ", "mean \\")
        raise MetaError(f"There is no command \\{meta.name}.{said} \\? lists all.")
    return command.run(shell, meta.arguments) is not False


def help_lines(width: int) -> list[str]:
    """The lines of `\\?`."""
    lines: list[str] = []
    group = ""
    shown = [(c, f"\\{c.names[0]} {c.usage}".rstrip()) for c in commands()]
    column = min(max(len(text) for _, text in shown) + 2, max(width // 2, 12))
    for command, text in shown:
        if command.group != group:
            group = command.group
            lines += ["", group] if lines else [group]
        also = ", ".join(f"\\{name}" for name in command.names[1:])
        help = f"{command.help} ({also})" if also else command.help
        lines += _columns(text, help, column, width)
    return lines


def _columns(text: str, help: str, column: int, width: int) -> list[str]:
    """A command and its help side by side, the help in as many lines as it needs."""
    import textwrap

    room = width - column - 2
    if room < 20:
        return [
            f"  {text}",
            *textwrap.wrap(
                help, max(width - 6, 8), initial_indent="    ", subsequent_indent="    "
            ),
        ]
    wrapped = textwrap.wrap(help, room) or [""]
    first = f"  {text.ljust(column)}" if len(text) < column else f"  {text}"
    lines = [first + wrapped[0]] if len(text) < column else [first, f"  {' ' * column}{wrapped[0]}"]
    return lines + [f"  {' ' * column}{line}" for line in wrapped[1:]]
