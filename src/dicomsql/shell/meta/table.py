"""What a meta-command is: its names, what it takes, its help, and what it does."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dicomsql.shell.running import MetaError

if TYPE_CHECKING:
    from dicomsql.shell.running import Shell

__all__ = ["Command", "file_of", "named", "one_of", "words_of"]

# A name of a resource or a method, dotted, as SQL takes it.
_NAME = re.compile(r'(?:[\w$-]+|"(?:[^"]|"")+")(?:\.(?:[\w$-]+|"(?:[^"]|"")+"))*')


@dataclass(frozen=True, slots=True)
class Command:
    """A meta-command.

    Attributes:
        names: without backslash or dot; help shows the first as the name.
        usage: what it takes, as help shows it.
        help: what it does, in a line.
        group: the heading that it stands under.
        run: does it, with the shell and the rest of the line; False where it failed and has told.
        takes: what completes its arguments: `resource`, `method`, `file`, `format`, `switch`,
            `setting`, `connection`, `default`, `statement` or nothing.
        secret: its arguments may be a patient's, and stay out of the history's file.
    """

    names: tuple[str, ...]
    usage: str
    help: str
    group: str
    run: Callable[[Shell, str], object]
    takes: str = ""
    secret: bool = False


def words_of(text: str, most: int, usage: str) -> list[str]:
    """The arguments of a command; one with spaces in it stands in quotes.

    Raises:
        MetaError: there are more than it takes, or a quote is left open.
    """
    try:
        found = shlex.split(text)
    except ValueError:
        raise MetaError(f"A closing quote is missing. {usage}") from None
    if len(found) > most:
        raise MetaError(f"There is an argument too many. {usage}")
    return found


def file_of(text: str, usage: str) -> str:
    """The file that a command's arguments name; empty where they name none.

    Raises:
        MetaError: they name a pipe, as in other shells, or more than a file.
    """
    if text.startswith("|"):
        raise MetaError(
            f"Nothing is piped to a program, and no file is named |. {usage} DICOMSQL_PAGER names "
            "the program that long results are shown in; `dicomsql exec` writes to pipes."
        )
    return next(iter(words_of(text, 1, usage)), "")


def named(text: str, usage: str) -> str:
    """The name of a resource or a method, safe to stand in a statement.

    Raises:
        MetaError: it is none.
    """
    name = text.strip().rstrip(";").strip()
    if _NAME.fullmatch(name) is None:
        raise MetaError(f"That is no name. {usage}")
    return name


def one_of(value: str, known: tuple[str, ...], what: str) -> str:
    """A value that is one of those known, in any case.

    Raises:
        MetaError: it is none of them.
    """
    from dicomsql.errors import nearest

    if value.lower() in known:
        return value.lower()
    raise MetaError(
        f"{what} takes {', '.join(known[:-1])} or {known[-1]}, not {value!r}."
        f"{nearest(value, known)}"
    )
