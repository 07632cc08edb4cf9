"""Meta-commands about the session: where it is connected, its defaults, variables, pictures."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

from dicomsql.cli.opening import resolution_of, session_of, settings_of
from dicomsql.config import PARAMETER_DEFAULTS
from dicomsql.errors import nearest
from dicomsql.shell.bar import connected_to
from dicomsql.shell.meta.table import Command, words_of
from dicomsql.shell.running import MetaError

if TYPE_CHECKING:
    from dicomsql.session import Session
    from dicomsql.shell.running import Shell

_GROUP = "The session"

# As the command line calls them, too.
_DEFAULTS = {**PARAMETER_DEFAULTS, "store": PARAMETER_DEFAULTS["dicom_store"]}
# Settings that say which server is asked, and as whom; a connection or profile brings its own.
_SERVER = (
    *("endpoint", "local", "connection", "profile", "user", "token_file", "credentials"),
    *("impersonate", "anonymous"),
)
_VARIABLE = re.compile(r"([^\W\d][\w.-]*)\s*=\s*(.*)", re.DOTALL)
_PAIR = re.compile(r"(\w+)\s*=\s*((?!\w+\s*=)\S*)")


def _information(shell: Shell, _arguments: str) -> None:
    state = shell.state
    session, settings = state.session, state.session.settings
    lines = [f"connected to    {connected_to(state)}"]
    if settings.local is not None:
        lines.append(f"folder          {settings.local}")
    if settings.connection is not None:
        lines.append(f"address         {settings.connections[settings.connection].endpoint}")
    if session.prefix:
        lines.append(f"USE             {'.'.join(session.prefix)}")
    lines += [f"{name:15} {value}" for name, value in session.defaults.items()]
    lines.append(f"local tables    {settings.database or 'in memory'}")
    if session.in_transaction:
        failed = " (failed: ROLLBACK is left)" if session.in_failed_transaction else ""
        lines.append(f"transaction     open{failed}")
    lines.append(f"connections     {', '.join(sorted(settings.connections)) or 'none'}")
    shell.show_lines("\n".join(lines))


def _defaults(shell: Shell, arguments: str) -> bool:
    usage = (
        "\\defaults project=p location=l dataset=d store=s changes defaults; an empty value takes "
        "one back."
    )
    if not arguments:
        now = shell.state.session.defaults
        names = {parameter: name for name, parameter in _DEFAULTS.items()}
        lines = [f"{names[p]:9} {p:14} {now.get(p, '-')}" for p in PARAMETER_DEFAULTS.values()]
        shell.show_lines("\n".join(lines))
        return True
    if _PAIR.sub("", arguments).replace(",", "").strip():
        raise MetaError(usage)
    by_name = {**_DEFAULTS, **{p.lower(): p for p in PARAMETER_DEFAULTS.values()}}
    statements = []
    for name, value in _PAIR.findall(arguments):
        parameter = by_name.get(name.lower())
        if parameter is None:
            raise MetaError(f"There is no default {name}.{nearest(name, tuple(by_name))} {usage}")
        text = value.rstrip(",").strip("'\"")
        statements.append(f"SET {parameter} = {quoted(text)}" if text else f"RESET {parameter}")
    if not shell.do("; ".join(statements)):
        return False
    names = {parameter: name for name, parameter in _DEFAULTS.items()}
    now = shell.state.session.defaults
    said = [f"{names[p]}={now[p]}" for p in PARAMETER_DEFAULTS.values() if now.get(p)]
    shell.talk.say(f"defaults: {' '.join(said) or 'none'}")
    return True


def _refresh(shell: Shell, _arguments: str) -> None:
    shell.state.refreshed += 1
    shell.talk.say("Projects, datasets and stores are listed anew when they are next offered.")


def _variable(shell: Shell, arguments: str) -> None:
    usage = "\\var NAME=VALUE sets what {{ NAME }} stands for; \\unset NAME takes it back."
    variables = shell.state.variables
    if not arguments:
        shell.show_lines(
            "\n".join(f"{name} = {value}" for name, value in sorted(variables.items())) or usage
        )
        return
    found = _VARIABLE.fullmatch(arguments)
    if found is None:
        if arguments in variables:
            shell.show_lines(f"{arguments} = {variables[arguments]}")
            return
        raise MetaError(usage)
    name, value = found.groups()
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        value = value[1:-1]
    variables[name] = value


def _connect(shell: Shell, arguments: str) -> None:
    usage = (
        "\\connect NAME takes a profile or a connection of the configuration, the URL of a server, "
        "`local` or `local FOLDER`, or `default`."
    )
    said = words_of(arguments, 2, usage)
    if not said:
        _information(shell, "")
        return
    state = shell.state
    if state.session.in_transaction:
        raise MetaError("A transaction is open: COMMIT or ROLLBACK it first.")
    if len(said) == 2 and said[0] != "local":
        raise MetaError(usage)
    chosen = _chosen(shell, said)
    if not _may_leave(shell):
        return
    settings = settings_of(chosen, shell.talk)
    opened = session_of(settings, shell.talk, bool(getattr(chosen, "quiet", False)))
    before, state.session = state.session, opened
    state.profile = profile_of(chosen)
    state.last = None
    before.close()
    shell.talk.say(f"connected to {connected_to(state)}")


def _chosen(shell: Shell, said: list[str]) -> argparse.Namespace:
    """The options of the command line, with another server."""
    name = said[0]
    given = dict(vars(shell.state.arguments))
    configuration = resolution_of(shell.state.arguments).configuration
    profiles, connections = configuration.profiles, configuration.connections
    left = _SERVER if name not in profiles else (*_SERVER, *PARAMETER_DEFAULTS)
    chosen = argparse.Namespace(**{**given, **{key: None for key in left if key in given}})
    if "://" in name:
        chosen.endpoint = name
    elif name in profiles:
        chosen.profile = name
    elif name in connections:
        chosen.connection = name
    elif name == "local":
        chosen.local = said[1] if len(said) == 2 else True
    elif name != "default":
        known = [*profiles, *connections, "local", "default"]
        raise MetaError(
            f"There is no profile or connection {name}.{nearest(name, known)} "
            f"There are {', '.join(known)}."
        )
    return chosen


def profile_of(arguments: argparse.Namespace) -> str:
    """The profile that is in use with these options; empty for none."""
    return str(resolution_of(arguments).face("profile") or "")


def _may_leave(shell: Shell) -> bool:
    """Whether tables that are in memory alone may go with the session."""
    session = shell.state.session
    if session.settings.database is not None:
        return True
    count = _local_tables(session)
    if not count:
        return True
    these = "table or view is" if count == 1 else "tables and views are"
    return shell.talk.ask(f"{count} local {these} in memory and will be gone. Connect?")


def _local_tables(session: Session) -> int:
    text = """
        SELECT (SELECT count(*) FROM duckdb_tables() WHERE NOT internal)
            + (SELECT count(*) FROM duckdb_views() WHERE NOT internal)
    """
    result = session.execute(session.parse(text)[0])
    return sum(int(batch.column(0)[0].as_py()) for batch in result.batches())


def _picture(shell: Shell, arguments: str) -> bool:
    usage = "\\image UID takes the SOPInstanceUID of an instance."
    said = words_of(arguments, 1, usage)
    uid = said[0].rstrip(";").strip("'") if said else ""
    if re.fullmatch(r"[0-9]+(?:\.[0-9]+)*", uid) is None:
        raise MetaError(usage)
    table = _table_of_instances(shell)
    # The table is a document's, and the UID is one.
    shown = shell.ask(f"SELECT preview FROM {table} WHERE SOPInstanceUID = {quoted(uid)}")  # noqa: S608
    if shown and shell.state.last is not None and shell.state.last.rows == 0:
        raise MetaError(f"There is no such instance: no row of {table} has this SOPInstanceUID.")
    return shown


def quoted(value: str) -> str:
    """A value as a text in quotes."""
    return "'" + value.replace("'", "''") + "'"


def _table_of_instances(shell: Shell) -> str:
    """The resource whose rows are instances, at the server that is asked."""
    session = shell.state.session
    settings, catalog = session.settings, session.catalog
    # Where the person is, then servers that are named, then those that documents know.
    places: list[tuple[str, ...]] = [session.prefix] if len(session.prefix) == 2 else []
    if settings.connection is not None:
        places.append(tuple(settings.connections[settings.connection].full_name.split(".")))
    for provider in sorted(catalog.providers(), key=lambda p: p.auth == "none"):
        places += [(provider.name, entry.name) for entry in catalog.entries(provider.name)]
    for provider_name, service_name in places:
        for name in catalog.service(provider_name, service_name).resource_names:
            resource = catalog.resource(provider_name, service_name, name)
            table = resource.dicom
            if table is not None and (table.level, table.source) == ("instance", "search"):
                return resource.full_name
    raise MetaError("No document has a resource of instances.")


COMMANDS = (
    Command(("conninfo",), "", "where the session is connected", _GROUP, _information),
    Command(
        ("connect", "c", "open"),
        "NAME",
        "another profile, connection, URL, `local [FOLDER]` or `default`",
        _GROUP,
        _connect,
        takes="connection",
    ),
    Command(
        ("defaults",),
        "[project=P store=S ...]",
        "defaults of the parameters of places",
        _GROUP,
        _defaults,
        takes="default",
    ),
    Command(
        ("var",),
        "[NAME=VALUE]",
        "what {{ NAME }} stands for in statements",
        _GROUP,
        _variable,
        secret=True,
    ),
    Command(
        ("refresh",),
        "",
        "forget what completion has listed of servers; it is kept for five minutes",
        _GROUP,
        _refresh,
    ),
    Command(("image",), "UID", "show an instance's picture", _GROUP, _picture, secret=True),
)
