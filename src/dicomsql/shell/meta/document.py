"""The tables of docs/shell.md, made from those of the meta-commands and settings."""

from __future__ import annotations

from dicomsql.shell.meta import commands
from dicomsql.shell.meta.looks import SETTINGS

__all__ = ["filled_in"]

_MARK = "<!-- {}: made by `make docs` -->\n"
_END = "<!-- end -->"


def filled_in(page: str) -> str:
    """A page with its tables as they have to be."""
    for name, table in (("meta-commands", _commands()), ("settings", _settings())):
        mark = _MARK.format(name)
        before, found, rest = page.partition(mark)
        if found:
            page = f"{before}{mark}{table}{_END}{rest.partition(_END)[2]}"
    return page


def _commands() -> str:
    lines: list[str] = []
    group = ""
    for command in commands():
        if command.group != group:
            group = command.group
            lines += ["", f"**{group}**", "", "| | | Also |", "|---|---|---|"]
        usage = f"\\{command.names[0]} {command.usage}".rstrip()
        also = ", ".join(f"`\\{name}`" for name in command.names[1:])
        lines.append(_row(f"`{usage}`", command.help, also))
    return "\n".join(lines[1:]) + "\n\n"


def _settings() -> str:
    lines = ["| Setting | Takes | |", "|---|---|---|"]
    for name, setting in SETTINGS.items():
        choices = ", ".join(f"`{choice}`" for choice in setting.choices)
        lines.append(_row(f"`{name}`", choices, setting.help))
    return "\n".join(lines) + "\n\n"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
