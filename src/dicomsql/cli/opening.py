"""From the options of a command to its settings and its session, for every face that has some."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from dicomsql import config
from dicomsql.cli.failures import UsageError
from dicomsql.errors import InterfaceError, nearest

if TYPE_CHECKING:
    from dicomsql.cli.console import Console
    from dicomsql.config import Resolution, Settings
    from dicomsql.session import Session

# Options that only calls over the network heed.
_NETWORK_OPTIONS = {"--proxy": "proxy", "--ca-bundle": "ca_bundle"}


def settings_of(arguments: argparse.Namespace, console: Console) -> Settings:
    """The settings that the options ask for, with a password that nothing told asked for.

    What the environment or a profile says of what is shown (`output`, `color`, `pager`) is put into
    the arguments, where they say nothing.

    Raises:
        UsageError: an option or the configuration does not fit, or there is nobody to ask.
    """
    resolution = resolution_of(arguments)
    for option in config.OPTIONS:
        if option.face and getattr(arguments, option.name, None) is None:
            setattr(arguments, option.name, resolution.face(option.name))
    settings = _with_password(resolution.settings, console)
    _tell_what_has_no_effect(arguments, console)
    return settings


def resolution_of(arguments: argparse.Namespace) -> Resolution:
    """The settings, each with where it comes from.

    Raises:
        UsageError: an option or the configuration does not fit.
    """
    names = [option.name for option in config.OPTIONS]
    given = {name: getattr(arguments, name) for name in names if hasattr(arguments, name)}
    try:
        resolution = config.resolve(None, given)
        dialect = resolution.settings.dialect
        if not dialect:
            return resolution
        from dataclasses import replace

        return replace(resolution, settings=replace(resolution.settings, dialect=_dialect(dialect)))
    except InterfaceError as error:
        raise UsageError(str(error)) from None


def session_of(settings: Settings, console: Console, quiet: bool) -> Session:
    """A session that asks and tells the person at the terminal, if there is one.

    Args:
        quiet: do not say how far a statement is.
    """
    from dicomsql.session import Session

    return Session(
        settings,
        consent=console.ask if console.interactive else None,
        progress=console.progress if console.shows_progress and not quiet else None,
        lines=None if console.shows_progress or quiet else console.say,
        stop_operation=console.ask_to_stop if console.interactive else None,
    )


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


def _tell_what_has_no_effect(arguments: argparse.Namespace, console: Console) -> None:
    given = [name for name, key in _NETWORK_OPTIONS.items() if getattr(arguments, key) is not None]
    if given and arguments.local is not None:
        have = "has" if len(given) == 1 else "have"
        console.say(
            f"warning: {' and '.join(given)} {have} no effect with --local, "
            "which makes no calls over the network"
        )
