"""The settings of a session and where each comes from: arguments, then environment, then defaults.

One order for every face. The environment's names: DICOMSQL_ENDPOINT, DICOMSQL_LOCAL,
DICOMSQL_PROJECT (else GOOGLE_CLOUD_PROJECT), DICOMSQL_LOCATION, DICOMSQL_DATASET, DICOMSQL_STORE,
DICOMSQL_CREDENTIALS, DICOMSQL_IMPERSONATE, DICOMSQL_ANONYMOUS, DICOMSQL_QUOTA_PROJECT,
DICOMSQL_PROXY, DICOMSQL_CA_BUNDLE, DICOMSQL_TIMEOUT, DICOMSQL_MAX_PAGES, DICOMSQL_PROVIDERS.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dicomsql.errors import InterfaceError

# The session's names for the parameters that they are defaults of.
PARAMETER_DEFAULTS = {
    "project": "projectsId",
    "location": "locationsId",
    "dataset": "datasetsId",
    "dicom_store": "dicomStoresId",
}


@dataclass(frozen=True, slots=True)
class Settings:
    """What a session is told once.

    Attributes:
        endpoint: base URL of a server to use instead of the provider document's own.
        local: folder of the embedded emulator, which then runs in this process.
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
    """

    endpoint: str | None = None
    local: Path | None = None
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
    timeout: float = 120.0
    log_http: bool = False
    show_phi: bool = False
    audit_log: Path | None = None
    await_operations: bool = False
    yes: bool = False
    dialect: str = ""
    providers: Path | None = None
    parallel: int | None = None
    max_calls: int = 100_000

    def parameter_defaults(self) -> dict[str, str]:
        """Parameter name -> value, for those that have one."""
        values = {param: getattr(self, name) for name, param in PARAMETER_DEFAULTS.items()}
        return {param: value for param, value in values.items() if value}


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
    """The folder for compiled provider documents."""
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
    env = os.environ if environment is None else environment
    unknown = set(given) - set(Settings.__dataclass_fields__)
    if unknown:
        raise InterfaceError(f"Unknown setting {', '.join(sorted(unknown))}.")
    values = {name: value for name, value in given.items() if value is not None}

    def fill(name: str, *variables: str) -> None:
        if name not in values:
            found = next((env[v] for v in variables if env.get(v)), None)
            if found is not None:
                values[name] = found

    # An endpoint that was given outright is not mixed with a folder from the environment.
    if "endpoint" not in values:
        fill("local", "DICOMSQL_LOCAL")
    if "local" not in values:
        fill("endpoint", "DICOMSQL_ENDPOINT")
    fill("project", "DICOMSQL_PROJECT", "GOOGLE_CLOUD_PROJECT")
    for name in ("location", "dataset", "credentials", "impersonate", "proxy"):
        fill(name, f"DICOMSQL_{name.upper()}")
    fill("dicom_store", "DICOMSQL_STORE")
    fill("quota_project", "DICOMSQL_QUOTA_PROJECT", "GOOGLE_CLOUD_QUOTA_PROJECT")
    fill("ca_bundle", "DICOMSQL_CA_BUNDLE")
    fill("providers", "DICOMSQL_PROVIDERS")
    fill("anonymous", "DICOMSQL_ANONYMOUS")
    fill("timeout", "DICOMSQL_TIMEOUT")
    fill("max_pages", "DICOMSQL_MAX_PAGES")
    return _checked(values)


def _checked(values: dict[str, Any]) -> Settings:
    """Settings with each value in its own type."""
    if isinstance(values.get("anonymous"), str):
        values["anonymous"] = values["anonymous"].lower() not in {"", "0", "false", "no"}
    for name, kind in (("timeout", float), ("max_pages", int), ("parallel", int)):
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
    for name in ("audit_log", "providers"):
        if values.get(name) is not None:
            values[name] = Path(values[name]).expanduser()
    if values.get("endpoint") is not None:
        endpoint = str(values["endpoint"]).rstrip("/")
        # What stands before an `@` may be a password, which no message repeats.
        if "@" in endpoint.partition("://")[2].partition("/")[0] or (
            "@" in endpoint and not endpoint.startswith(("http://", "https://"))
        ):
            raise InterfaceError(
                "The endpoint holds a user or a password before its host, which is not supported. "
                "Write it as http://host:port or https://host, and give --credentials."
            )
        if not endpoint.startswith(("http://", "https://")):
            raise InterfaceError(
                f"The endpoint {endpoint!r} is no URL; write it as http://host:port or https://host."
            )
        values["endpoint"] = endpoint
        if values.get("local") is not None:
            raise InterfaceError("Give either an endpoint or a local folder, not both.")
    return Settings(**values)
