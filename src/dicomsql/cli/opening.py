"""From the options of a command to its settings and its session, for every face that has some."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from dicomsql import config
from dicomsql.cli.failures import UsageError
from dicomsql.errors import InterfaceError, nearest

if TYPE_CHECKING:
    from dicomsql.cli.console import Console
    from dicomsql.config import Resolution, Settings
    from dicomsql.session import Session

_PROXIES = frozenset({"http", "https", "socks5", "socks5h"})
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
    check_files(settings)
    _tell_what_has_no_effect(arguments, console)
    return settings


def check_files(settings: Settings) -> None:
    """Look whether what the settings name can be used, before anything runs.

    Raises:
        UsageError: a file cannot be, or the proxy is no URL.
    """
    credentials = settings.credentials
    calls = settings.local is None
    read = {
        "token file": settings.token_file,
        # These have no effect, and a warning, where no calls go over the network.
        "file of certificates": settings.ca_bundle if calls else None,
        # An object of google-auth has no name, nor has a key's content.
        "file of credentials": credentials
        if isinstance(credentials, str | Path) and not str(credentials).lstrip().startswith("{")
        else None,
    }
    for what, name in read.items():
        if name is not None:
            _check_read(what, Path(name).expanduser())
    written = {"audit log": settings.audit_log, "database": settings.database}
    for what, path in written.items():
        # The database makes its own folder no more than the log does.
        if path is not None and not path.parent.is_dir():
            raise UsageError(f"The {what} {path} cannot be made: its folder is not there.")
        if path is not None and path.is_dir():
            raise UsageError(f"The {what} {path} is a folder; name a file.")
    if settings.providers is not None and not settings.providers.is_dir():
        raise UsageError(f"The folder of provider documents {settings.providers} is not there.")
    if calls and settings.proxy is not None and not _is_proxy(settings.proxy):
        # Its text may hold a password.
        raise UsageError("The proxy is no URL; write it as http://host:port.")


def _check_read(what: str, path: Path) -> None:
    try:
        if path.is_dir():
            raise UsageError(f"The {what} {path} is a folder.")
        # What is no file, such as a pipe, can be read once.
        if path.is_file() or not path.exists():
            path.open("rb").close()
    except OSError as error:
        raise UsageError(f"Cannot read the {what} {path}: {error.strerror}.") from None


def _is_proxy(url: str) -> bool:
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        # A port that is none raises.
        return bool(parts.port is None or parts.port) and bool(
            parts.scheme in _PROXIES and parts.hostname
        )
    except ValueError:
        return False


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
