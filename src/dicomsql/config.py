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
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Login:
    """Who a DICOMweb server is asked as.

    Attributes:
        kind: `none`, `basic` or `bearer`.
        user: for `basic`.
        secret: the password or token itself; None where `variable` or `file` tells it.
        variable: of the environment, that holds it.
        file: that holds it; looked at again where a server refuses what it held.
    """

    kind: str = "none"
    user: str = ""
    secret: str | None = field(default=None, repr=False)
    variable: str = ""
    file: Path | None = None


@dataclass(frozen=True, slots=True)
class Connection:
    """A server with a name of its own, which is a service of its provider (`dicomweb.pacs`).

    Attributes:
        service: full name of the service whose document describes it (`dicomweb.orthanc`).
        endpoint: its base URL.
        parallel, timeout, ca_bundle: as in `Settings`, which win where they are given.
        insecure_auth: credentials may go to it over plain http.
    """

    name: str
    service: str
    endpoint: str
    login: Login = field(default_factory=Login)
    parallel: int | None = None
    timeout: float | None = None
    ca_bundle: str | None = None
    insecure_auth: bool = False

    @property
    def full_name(self) -> str:
        """As statements name it: `dicomweb.pacs`."""
        return f"{self.service.partition('.')[0]}.{self.name}"


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


def default_config_file() -> Path:
    """The file of connections, in the user's configuration folder."""
    if sys.platform == "win32":
        base = Path(os.environ.get("APPDATA", Path.home() / "AppData" / "Roaming"))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_CONFIG_HOME", Path.home() / ".config"))
    return base / "dicomsql" / "config.toml"


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
    if "connections" not in values:
        values["connections"] = read_connections(values.get("config"))
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
    for name in ("audit_log", "providers", "token_file", "config"):
        if values.get(name) is not None:
            values[name] = Path(values[name]).expanduser()
    if values.get("endpoint") is not None:
        values["endpoint"] = _base_url(str(values["endpoint"]), "endpoint", _SAY_WHO)
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


def _base_url(text: str, what: str, instead: str) -> str:
    """A base URL without a slash at its end.

    Raises:
        InterfaceError: it is none, or holds a user.
    """
    url = text.rstrip("/")
    # What stands before an `@` may be a password, which no message repeats.
    if "@" in url.partition("://")[2].partition("/")[0] or (
        "@" in url and not url.startswith(("http://", "https://"))
    ):
        raise InterfaceError(
            f"The {what} holds a user or a password before its host, which is not supported. "
            f"Write it as http://host:port or https://host, and {instead}."
        )
    if not url.startswith(("http://", "https://")):
        raise InterfaceError(
            f"The {what} {url!r} is no URL; write it as http://host:port or https://host."
        )
    return url


# -- the file of connections ----------------------------------------------------------------------

_TEXTS = ("service", "endpoint", "auth", "user", "ca_bundle")
_SECRETS = ("password", "token")
_REFERENCES = tuple(f"{name}_{how}" for name in _SECRETS for how in ("env", "file"))
_MEMBERS = (*_TEXTS, *_SECRETS, *_REFERENCES, "parallel", "timeout", "insecure_auth")
_SECRET_OF = {"basic": "password", "bearer": "token"}


def read_connections(file: str | Path | None = None) -> dict[str, Connection]:
    """The connections of a configuration file (TOML), by name.

    Args:
        file: None for the one in the user's configuration folder, which need not be there.

    Raises:
        InterfaceError: the file cannot be read, or something in it does not fit.
    """
    path = default_config_file() if file is None else Path(file).expanduser()
    try:
        text = path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        if file is None:
            return {}
        raise InterfaceError(f"There is no configuration file {path}.") from None
    except OSError as error:
        raise InterfaceError(f"Cannot read {path}: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise InterfaceError(f"{path} is not UTF-8 text.") from None
    import tomllib

    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        # Its text names a place and a character, and quotes no line.
        raise InterfaceError(f"{path} is not TOML: {error}.") from None
    for key in content:
        if key != "connections":
            raise InterfaceError(f"{path}: {key} is not known; the file holds [connections.NAME].")
    tables = content.get("connections", {})
    if not isinstance(tables, dict):
        raise InterfaceError(f"{path}: connections are tables, [connections.NAME].")
    private = is_private(path)
    return {name: _connection(name, table, path, private) for name, table in tables.items()}


def is_private(path: Path) -> bool:
    """Whether nobody but its owner may do anything with a file; what is no file has no say.

    Neither has one on a file system that cannot be written to: so secrets are handed to containers,
    readable by all, and nobody inside can change that.

    Raises:
        OSError: it cannot be looked at.
    """
    mode = path.stat().st_mode
    if os.name != "posix" or not stat.S_ISREG(mode):
        return True
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        return True
    return not mode & (stat.S_IRWXG | stat.S_IRWXO)


def _connection(name: str, table: Any, path: Path, private: bool) -> Connection:
    where = f"{path}, connections.{name}"
    if not _NAME.fullmatch(name):
        raise InterfaceError(
            f"{where}: a name has small letters, digits and underscores, and begins with a letter."
        )
    if not isinstance(table, dict):
        raise InterfaceError(f"{where} is no table; write [connections.{name}].")
    for key, value in table.items():
        if key not in _MEMBERS:
            raise InterfaceError(f"{where}: {key} is not known.{nearest(key, _MEMBERS)}")
        _check_member(where, key, value)
    for key in ("service", "endpoint"):
        if not table.get(key):
            raise InterfaceError(f"{where}: {key} is missing.")
    if table["service"].count(".") != 1:
        raise InterfaceError(f"{where}: service is the full name of one, such as dicomweb.orthanc.")
    secrets = [key for key in _SECRETS if key in table]
    if secrets and not private:
        raise InterfaceError(
            f"{where}: {secrets[0]} stands in a file that others may read. Make it yours alone "
            f"(chmod 600 {path}), or name the secret's place with {secrets[0]}_env or "
            f"{secrets[0]}_file."
        )
    return Connection(
        name=name,
        service=table["service"],
        endpoint=_base_url(
            table["endpoint"], f"endpoint of connection {name}", 'give auth = "basic"'
        ),
        login=_login(where, table, path),
        parallel=table.get("parallel"),
        timeout=table.get("timeout"),
        ca_bundle=_beside(path, table["ca_bundle"]) if "ca_bundle" in table else None,
        insecure_auth=table.get("insecure_auth", False),
    )


def _check_member(where: str, key: str, value: object) -> None:
    """The type of a connection's member; what it is stays out of the message."""
    if key == "insecure_auth":
        fits, due = isinstance(value, bool), "true or false"
    elif key == "parallel":
        fits = isinstance(value, int) and not isinstance(value, bool) and value > 0
        due = "a whole number greater than 0"
    elif key == "timeout":
        fits = isinstance(value, int | float) and not isinstance(value, bool) and value > 0
        due = "a number greater than 0"
    else:
        fits, due = isinstance(value, str) and bool(value), "a text that is not empty"
    if not fits:
        raise InterfaceError(f"{where}: {key} is {due}.")


def _login(where: str, table: Mapping[str, Any], path: Path) -> Login:
    kind = table.get("auth", "none")
    if kind not in {"none", *_SECRET_OF}:
        raise InterfaceError(f"{where}: auth is basic, bearer or none.")
    given = [key for key in (*_SECRETS, *_REFERENCES) if key in table]
    wanted = _SECRET_OF.get(kind, "")
    stray = [key for key in given if not wanted or not key.startswith(wanted)]
    stray += ["user"] if "user" in table and kind != "basic" else []
    if stray:
        raise InterfaceError(f'{where}: {stray[0]} does not go with auth = "{kind}".')
    if kind == "none":
        return Login()
    if kind == "basic" and "user" not in table:
        raise InterfaceError(f"{where}: user is missing.")
    if len(given) != 1:
        ways = f"{wanted}_env or {wanted}_file"
        raise InterfaceError(f"{where}: say with one of {ways} where the {wanted} is.")
    file = table.get(f"{wanted}_file")
    return Login(
        kind,
        table.get("user", ""),
        secret=table.get(wanted),
        variable=table.get(f"{wanted}_env", ""),
        file=Path(_beside(path, file)) if file else None,
    )


def _beside(path: Path, file: str) -> str:
    """A file that the configuration names, from the configuration's folder on."""
    return str(path.parent / Path(file).expanduser())
