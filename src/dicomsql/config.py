"""The settings of a session and where each comes from: arguments, then environment, then defaults.

One order for every face. The environment's names: DICOMSQL_ENDPOINT, DICOMSQL_LOCAL,
DICOMSQL_CONNECTION, DICOMSQL_CONFIG, DICOMSQL_USER, DICOMSQL_PASSWORD, DICOMSQL_TOKEN,
DICOMSQL_PROJECT (else GOOGLE_CLOUD_PROJECT), DICOMSQL_LOCATION, DICOMSQL_DATASET, DICOMSQL_STORE,
DICOMSQL_CREDENTIALS, DICOMSQL_IMPERSONATE, DICOMSQL_ANONYMOUS, DICOMSQL_QUOTA_PROJECT,
DICOMSQL_PROXY, DICOMSQL_CA_BUNDLE, DICOMSQL_TIMEOUT, DICOMSQL_MAX_PAGES, DICOMSQL_CACHE,
DICOMSQL_PROVIDERS. Servers with names of their own stand in a file; see docs/connections.md.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dicomsql.connections import SWITCHES, Connection, Login, base_url, read_configuration
from dicomsql.errors import InterfaceError, alone, nearest

# The session's names for the parameters that they are defaults of.
PARAMETER_DEFAULTS = {
    "project": "projectsId",
    "location": "locationsId",
    "dataset": "datasetsId",
    "dicom_store": "dicomStoresId",
}

DEFAULT_TIMEOUT = 120.0
# Answers are kept for a day at most, whatever is asked for.
LONGEST_CACHE = 86_400.0

# Any of these says who asks.
_WHO_ASKS = frozenset({"user", "password", "token", "token_file", "credentials", "impersonate"})

_AGE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(s|m|h)", re.IGNORECASE)
_BYTES = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([kMGT]?)(i?)B?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class Settings:
    """What a session is told once.

    Attributes:
        endpoint: base URL of a server to use instead of the provider document's own.
        local: folder of the embedded emulator, which then runs in this process.
        connection: name of the connection that its service's own name (`dicomweb.orthanc`) means.
        connections: the servers with names of their own, by name.
        config: the file that they were read from, where one was named.
        user, password: for basic authentication at the endpoint.
        token: bearer token for the endpoint.
        token_file: file that holds it.
        insecure_auth: credentials may go to the endpoint over plain http.
        project, location, dataset, dicom_store: defaults of the parameters projectsId,
            locationsId, datasetsId, dicomStoresId.
        credentials: a credentials file, or an object of google-auth.
        impersonate: service account to act as.
        anonymous: send no credentials, whatever there is.
        quota_project: project that is billed for the calls.
        max_pages: pages of one list or search that may be fetched; None for all.
        timeout: seconds that one call may take in all, its attempts apart.
        log_http: write a line for each call to standard error.
        show_phi: let values of attributes into logs, EXPLAIN and errors.
        audit_log: file that takes a line for each write.
        await_operations: wait for long-running operations to end.
        yes: consent to the number that the statement shows.
        dialect: sqlglot's name of the dialect that queries are written in; empty for DuckDB's.
        providers: a further folder of provider documents.
        parallel: calls to one server at a time; None for what its document says.
        max_calls: calls that one statement may make.
        max_bytes: bytes of answers that one statement may receive; None for any number.
        cache: seconds for which an answer is kept on disk to be used again; None keeps nothing.
        database: file of the local tables and views; None keeps them in memory.
        files: statements may read and write local files. Where they may not, nothing in SQL reaches
            the disk or the network but through providers.
        autocommit: each statement that writes local tables is committed by itself; else the first
            one begins a transaction.
    """

    endpoint: str | None = None
    local: Path | None = None
    connection: str | None = None
    connections: Mapping[str, Connection] = field(default_factory=dict)
    config: Path | None = None
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    token_file: Path | None = None
    insecure_auth: bool = False
    project: str | None = None
    location: str | None = None
    dataset: str | None = None
    dicom_store: str | None = None
    credentials: Any = field(default=None, repr=False)
    impersonate: str | None = None
    anonymous: bool = False
    quota_project: str | None = None
    proxy: str | None = field(default=None, repr=False)
    ca_bundle: str | None = None
    max_pages: int | None = None
    timeout: float = DEFAULT_TIMEOUT
    log_http: bool = False
    show_phi: bool = False
    audit_log: Path | None = None
    await_operations: bool = False
    yes: bool = False
    dialect: str = ""
    providers: Path | None = None
    parallel: int | None = None
    max_calls: int = 100_000
    max_bytes: int | None = None
    cache: float | None = None
    database: Path | None = None
    files: bool = True
    autocommit: bool = True

    def parameter_defaults(self) -> dict[str, str]:
        """Parameter name -> value, for those that have one."""
        values = {param: getattr(self, name) for name, param in PARAMETER_DEFAULTS.items()}
        return {param: value for param, value in values.items() if value}

    def login(self) -> Login:
        """Who the endpoint is asked as."""
        if self.user is not None:
            return Login("basic", self.user, self.password)
        if self.token is not None or self.token_file is not None:
            return Login("bearer", secret=self.token, file=self.token_file)
        return Login()

    def connected(self) -> dict[str, Connection]:
        """Full names of services -> the connection that serves them."""
        found = {c.full_name: c for c in self.connections.values()}
        if self.connection is not None:
            chosen = self.connections[self.connection]
            found[chosen.service] = chosen
        return found


def default_local_root() -> Path:
    """The emulator's folder where none is named: in the user's data folder."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME", Path.home() / ".local" / "share"))
    return base / "dicomsql" / "emulator"


def default_cache_root() -> Path:
    """The folder for compiled provider documents, and for answers where they are kept."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return base / "dicomsql"


def settings(environment: Mapping[str, str] | None = None, **given: Any) -> Settings:
    """Settings from what was given and, where that is None, from the environment.

    `local=True` (or DICOMSQL_LOCAL=1) means the default folder.

    Raises:
        InterfaceError: a value is unknown or does not fit.
    """
    # What an error came from may hold the text of the configuration, with its secrets.
    with alone():
        return _settings(os.environ if environment is None else environment, given)


def _settings(env: Mapping[str, str], given: Mapping[str, Any]) -> Settings:
    unknown = set(given) - set(Settings.__dataclass_fields__)
    if unknown:
        raise InterfaceError(f"Unknown setting {', '.join(sorted(unknown))}.")
    values = {name: value for name, value in given.items() if value is not None}

    def fill(name: str, *variables: str) -> None:
        if name not in values:
            found = next((env[v] for v in variables if env.get(v)), None)
            if found is not None:
                values[name] = found

    # What was given outright takes the place of what excludes it in the environment.
    outright = frozenset(values)
    if "endpoint" not in outright:
        fill("local", "DICOMSQL_LOCAL")
        fill("connection", "DICOMSQL_CONNECTION")
    if "local" not in values and "connection" not in outright:
        fill("endpoint", "DICOMSQL_ENDPOINT")
    _check_login(values)
    _fill_login(values, env)
    fill("project", "DICOMSQL_PROJECT", "GOOGLE_CLOUD_PROJECT")
    for name in ("location", "dataset", "credentials", "impersonate", "proxy", "cache"):
        fill(name, f"DICOMSQL_{name.upper()}")
    fill("config", "DICOMSQL_CONFIG")
    fill("dicom_store", "DICOMSQL_STORE")
    fill("quota_project", "DICOMSQL_QUOTA_PROJECT", "GOOGLE_CLOUD_QUOTA_PROJECT")
    fill("ca_bundle", "DICOMSQL_CA_BUNDLE")
    fill("providers", "DICOMSQL_PROVIDERS")
    if not outright & _WHO_ASKS:
        fill("anonymous", "DICOMSQL_ANONYMOUS")
    fill("timeout", "DICOMSQL_TIMEOUT")
    fill("max_pages", "DICOMSQL_MAX_PAGES")
    fill("database", "DICOMSQL_DATABASE")
    fill("files", "DICOMSQL_FILES")
    if "connections" not in values:
        said = read_configuration(values.get("config"))
        values["connections"] = said.connections
        if said.files is not None:
            values.setdefault("files", said.files)
    return _checked(values)


def _check_login(values: Mapping[str, Any]) -> None:
    """What was given outright has to have a server that it is for, and only one of two kinds."""
    named = [f"--{n.replace('_', '-')}" for n in ("user", "token_file") if n in values]
    named += [n for n in ("password", "token") if n in values]
    if not named:
        return
    if "endpoint" not in values:
        raise InterfaceError(
            f"{named[0]} goes with --endpoint: it is sent to that server and to no other. "
            "A connection has its own, in the configuration file."
        )
    if "user" in values and ("token" in values or "token_file" in values):
        raise InterfaceError("Give either a user or a token, not both.")
    if "credentials" in values:
        raise InterfaceError("Give either Google's credentials or a user or token, not both.")


def _fill_login(values: dict[str, Any], env: Mapping[str, str]) -> None:
    """User, password and token from the environment, for an endpoint alone."""
    if "endpoint" not in values:
        return
    if "token" not in values and "token_file" not in values and "credentials" not in values:
        if "user" not in values and env.get("DICOMSQL_USER"):
            values["user"] = env["DICOMSQL_USER"]
        elif "user" not in values and env.get("DICOMSQL_TOKEN"):
            values["token"] = env["DICOMSQL_TOKEN"]
    if "user" in values and "password" not in values and env.get("DICOMSQL_PASSWORD"):
        values["password"] = env["DICOMSQL_PASSWORD"]


def seconds_of(text: str) -> float | None:
    """The seconds of an age such as `30s`, `10m` or `2h`; None for `off`.

    Raises:
        InterfaceError: it is none, or longer than a day.
    """
    if text.strip().lower() in {"off", "0"}:
        return None
    found = _AGE.fullmatch(text.strip())
    seconds = float(found.group(1)) * _UNITS[found.group(2).lower()] if found else 0.0
    if not 0 < seconds <= LONGEST_CACHE:
        raise InterfaceError(
            "cache takes an age such as '30s', '10m' or '2h', of at most 24 hours, or 'off'."
        )
    return seconds


def bytes_of(text: str) -> int:
    """The number of bytes of a size such as `500000`, `10k`, `1.5 MB` or `2GiB`.

    k, M, G and T are powers of 1,000, and with an i of 1,024.

    Raises:
        InterfaceError: it is none, or less than a byte.
    """
    found = _BYTES.fullmatch(text.strip())
    size = 0
    if found is not None:
        number, unit, binary = found.groups()
        if unit or not binary:
            factor = (1024 if binary else 1000) ** _POWERS[unit.lower()]
            size = int(float(number) * factor) if "." in number else int(number) * factor
    if size < 1:
        raise InterfaceError(
            "must be a number of bytes from 1 on, such as 500000, '10kB', '1.5 MB' or '2GiB'."
        )
    return size


def _checked(values: dict[str, Any]) -> Settings:
    """Settings with each value in its own type."""
    if isinstance(values.get("anonymous"), str):
        values["anonymous"] = values["anonymous"].lower() not in {"", "0", "false", "no"}
    if "files" in values:
        files = values["files"]
        flag = SWITCHES.get(files.lower() if isinstance(files, str) else files)
        if flag is None:
            raise InterfaceError("files takes 'on' or 'off'.")
        values["files"] = flag
    if isinstance(values.get("cache"), str):
        values["cache"] = seconds_of(values["cache"])
    if isinstance(values.get("max_bytes"), str):
        try:
            values["max_bytes"] = bytes_of(values["max_bytes"])
        except InterfaceError as error:
            raise InterfaceError(f"max_bytes {error}") from None
    kinds = {"timeout": float, "max_pages": int, "parallel": int, "max_bytes": int}
    for name, kind in kinds.items():
        if values.get(name) is not None:
            try:
                values[name] = kind(values[name])
            except (TypeError, ValueError):
                raise InterfaceError(f"{name} must be a number, not {values[name]!r}.") from None
            if values[name] <= 0:
                raise InterfaceError(f"{name} must be greater than 0.")
    local = values.get("local")
    if local is not None:
        if local is True or local in {"1", "true", ""}:
            values["local"] = default_local_root()
        else:
            values["local"] = Path(local).expanduser()
    for name in ("audit_log", "providers", "token_file", "config", "database"):
        if values.get(name) is not None:
            values[name] = Path(values[name]).expanduser()
    if values.get("endpoint") is not None:
        values["endpoint"] = base_url(str(values["endpoint"]), "endpoint", _SAY_WHO)
        if values.get("local") is not None:
            raise InterfaceError("Give either an endpoint or a local folder, not both.")
        if values.get("connection") is not None:
            raise InterfaceError("Give either an endpoint or a connection, not both.")
    chosen = values.get("connection")
    if chosen is not None and chosen not in values["connections"]:
        known = sorted(values["connections"])
        raise InterfaceError(
            f"There is no connection {chosen}.{nearest(chosen, known)} "
            + (f"The connections are {', '.join(known)}." if known else "The file names none.")
        )
    return Settings(**values)


_SAY_WHO = "give --user NAME (and the password in DICOMSQL_PASSWORD), --token-file or --credentials"
