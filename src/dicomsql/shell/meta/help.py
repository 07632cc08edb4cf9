"""Meta-commands that help, and that end the shell."""

from __future__ import annotations

import shutil
import textwrap
from typing import TYPE_CHECKING, NoReturn

from dicomsql.errors import nearest
from dicomsql.shell.meta.table import Command, words_of
from dicomsql.shell.running import MetaError, Quit

if TYPE_CHECKING:
    from dicomsql.shell.running import Shell

_GROUP = "Help"
_INTRODUCTION = (
    "Statements end with `;` and may take several lines; Alt-Enter begins a line anywhere. "
    "Meta-commands begin with a backslash, or with a dot at the beginning of a line."
)


def _help(shell: Shell, arguments: str) -> None:
    from dicomsql.shell.meta import commands, help_lines

    name = arguments.strip().lstrip("\\.")
    if not name:
        width = shutil.get_terminal_size().columns
        lines = textwrap.wrap(_INTRODUCTION, width - 1)
        shell.page("\n".join([*lines, "", *help_lines(width)]))
        return
    found = next((c for c in commands() if name in c.names), None)
    if found is None:
        known = tuple(n for c in commands() for n in c.names)
        raise MetaError(f"There is no command \\{name}.{nearest(name, known)} \\? lists all.")
    also = "".join(f", \\{n}" for n in found.names[1:])
    shell.show_lines(f"\\{found.names[0]} {found.usage}".rstrip() + f"\n  {found.help}{also}")


def _syntax(shell: Shell, arguments: str) -> None:
    from dicomsql.shell.meta.syntax import STATEMENTS

    asked = " ".join(arguments.upper().rstrip(";").split())
    if not asked:
        names = ", ".join(STATEMENTS)
        shell.show_lines(f"\\h STATEMENT shows how one is written:\n  {names}")
        return
    found = [name for name in STATEMENTS if name == asked]
    found = found or [name for name in STATEMENTS if name.startswith(asked)]
    if not found:
        # `\h SELECT a FROM b`: the words that it begins with.
        found = [name for name in STATEMENTS if f"{asked} ".startswith(f"{name} ")]
    if not found:
        raise MetaError(
            f"There is no help on {asked}.{nearest(asked, tuple(STATEMENTS))} \\h lists what "
            "there is."
        )
    parts = []
    for name in found:
        of = STATEMENTS[name]
        parts.append(f"{name}: {of.does}\n\n{of.syntax}\n\nFor example:\n{of.example}")
    shell.page("\n\n".join(parts))


def _quit(_shell: Shell, _arguments: str) -> NoReturn:
    raise Quit


def _history(shell: Shell, arguments: str) -> None:
    usage = "\\history [N] shows the last N entries (20)."
    said = words_of(arguments, 1, usage)
    if said and not said[0].isdigit():
        raise MetaError(usage)
    count = int(said[0]) if said else 20
    entries = list(shell.history)
    first = max(0, len(entries) - count)
    lines = [f"{n + 1:5}  {entry}" for n, entry in enumerate(entries[first:], first)]
    if lines:
        shell.page("\n".join(line.replace("\n", "\n       ") for line in lines))


COMMANDS = (
    Command(("?", "help"), "[COMMAND]", "meta-commands, or what one of them does", _GROUP, _help),
    Command(
        ("h",),
        "[STATEMENT]",
        "how a statement is written, with an example",
        _GROUP,
        _syntax,
        takes="statement",
    ),
    Command(("history", "s"), "[N]", "what was typed", _GROUP, _history),
    Command(("q", "quit", "exit"), "", "leave; Ctrl-D does, too", _GROUP, _quit),
)
