"""What a shell knows while it runs: session, looks, variables, the last statement."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dicomsql.output.display import Look

if TYPE_CHECKING:
    from dicomsql.cli.console import RowStream
    from dicomsql.session import Session

__all__ = ["Last", "OutputFile", "State"]


@dataclass(frozen=True, slots=True)
class Last:
    """What the last statement cost. Numbers only.

    Attributes:
        rows: that were shown; None for a statement that has none.
        more: there are more, which were not fetched.
    """

    rows: int | None
    more: bool
    requests: int
    received: int
    from_cache: int
    seconds: float


@dataclass(slots=True)
class OutputFile:
    """Where results go instead of the screen; see `\\o`.

    Attributes:
        format: of the rows.
        results: that are in it.
        close: writes it out and lets it appear; True leaves it away.
        once: it takes the next result alone.
    """

    path: Path
    format: str
    stream: RowStream
    close: Callable[[bool], None]
    results: int = 0
    once: bool = False


@dataclass(slots=True)
class State:
    """A shell's state, which statements and meta-commands change.

    Attributes:
        arguments: of the command line; `\\connect` opens the next session with them.
        profile: the profile in force, by name; empty for none.
        look: how results look.
        timing: say how long each statement took.
        variables: values of the `{{ name }}` placeholders.
        text: the last statement's text, which `\\g`, `\\e` and others take up.
        last: what it cost; None where none has run.
        output: the file that results go to; None for the screen.
        failed: whether the last statement or command failed.
        told_of_memory: it was said that local tables go with the shell.
        refreshed: how often the lists that completion has of servers were thrown away.
    """

    session: Session
    arguments: argparse.Namespace
    profile: str = ""
    look: Look = field(default_factory=Look)
    timing: bool = True
    variables: dict[str, object] = field(default_factory=dict)
    text: str = ""
    last: Last | None = None
    output: OutputFile | None = None
    failed: bool = False
    told_of_memory: bool = False
    refreshed: int = 0
