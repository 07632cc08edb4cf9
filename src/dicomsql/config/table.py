"""The table of settings: what each is called by options, the environment and profiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dicomsql.config.values import KINDS, chosen

# As `output.FORMATS` has them, without those that are of a file only: a profile's is for terminals
# and pipes.
_OUTPUTS = (
    *("table", "box", "csv", "tsv", "json", "jsonl", "markdown", "vertical", "html", "chart"),
)


@dataclass(frozen=True, slots=True)
class Option:
    """A setting.

    Attributes:
        name: as `Settings` and `connect` have it.
        kind: what it takes; see `dicomsql.config.values.KINDS`, or `choice`.
        help: what it does, in a line.
        flag: the option of the command line.
        environment: the variable.
        elsewhere: a variable that other programs heed too, and that stands behind the profile.
        key: its name in a profile; empty where it cannot stand there.
        choices: what it may be, of the kind `choice`.
        face: it is of the program that shows results, and not of the session.
        secret: its value is never shown.
    """

    name: str
    kind: str
    help: str
    flag: str = ""
    environment: str = ""
    elsewhere: str = ""
    key: str = ""
    choices: tuple[str, ...] = ()
    face: bool = False
    secret: bool = False

    @property
    def is_file(self) -> bool:
        """Whether it names a file or folder: one of a profile lies beside the configuration."""
        return self.kind in {"path", "local"} or self.name in {"credentials", "ca_bundle"}

    def convert(self, value: Any) -> Any:
        """The value in the setting's own type.

        Raises:
            InterfaceError: the setting does not take it.
        """
        if self.kind == "choice":
            return chosen(self.key or self.name, value, self.choices)
        return KINDS[self.kind](self.key or self.name, value)


def _option(name: str, kind: str, help: str, **more: Any) -> Option:
    """An option that is called everywhere as its name says, but where `more` says otherwise."""
    called = name.replace("_", "-")
    usual = {
        "flag": f"--{called}",
        "environment": f"DICOMSQL_{name.upper()}",
        "key": name,
    }
    return Option(name, kind, help, **{**usual, **more})


# What must be said anew for each command: consent, and what lets values or credentials out.
_ONLY_GIVEN = {"environment": "", "key": ""}

OPTIONS: tuple[Option, ...] = (
    _option("config", "path", "the configuration file", key=""),
    _option("profile", "text", "the profile of it that is used", key=""),
    _option("endpoint", "url", "a server instead of Google's"),
    _option("local", "local", "folder of the embedded emulator; on: that in the user's folder"),
    _option("connection", "text", "the connection that its service's own name means"),
    _option("project", "text", "default of projectsId", elsewhere="GOOGLE_CLOUD_PROJECT"),
    _option("location", "text", "default of locationsId"),
    _option("dataset", "text", "default of datasetsId"),
    _option(
        *("dicom_store", "text", "default of dicomStoresId"),
        flag="--store",
        environment="DICOMSQL_STORE",
        key="store",
    ),
    _option("credentials", "any", "a file of Google's credentials"),
    _option("impersonate", "text", "service account to act as"),
    _option(
        *("quota_project", "text", "project that the calls are billed to"),
        elsewhere="GOOGLE_CLOUD_QUOTA_PROJECT",
    ),
    _option("anonymous", "switch", "send no credentials, whatever there is"),
    _option("user", "text", "who the endpoint is asked as"),
    _option("password", "text", "the user's password", flag="", key="", secret=True),
    _option("token", "text", "a bearer token for the endpoint", flag="", key="", secret=True),
    _option("token_file", "path", "the file that holds it"),
    _option("insecure_auth", "switch", "let credentials go over plain http", **_ONLY_GIVEN),
    _option("proxy", "text", "proxy for all calls"),
    _option("ca_bundle", "any", "certificates to trust, as PEM"),
    _option("timeout", "seconds", "seconds that one call may take"),
    _option("parallel", "count", "calls made at the same time"),
    _option("max_pages", "count", "pages of one list or search that may be fetched"),
    _option("max_calls", "count", "calls that one statement may make"),
    _option("max_bytes", "size", "bytes that one statement may receive: 500000, 10MB, 2GB"),
    _option("cache", "age", "how long answers are kept on disk and used again: 30s, 10m, 2h, off"),
    _option(
        "await_operations",
        "switch",
        "wait until long-running operations end",
        flag="--await",
        environment="DICOMSQL_AWAIT",
        key="await",
    ),
    _option("yes", "switch", "consent to what a statement shows that it would do", **_ONLY_GIVEN),
    _option("audit_log", "path", "file that takes a line for each write"),
    _option("database", "path", "file of the local tables and views"),
    _option("files", "switch", "let statements read and write local files", flag="--no-files"),
    _option("dialect", "any", "dialect that queries are written in, e.g. bigquery"),
    _option("providers", "path", "a further folder of provider documents"),
    _option("log_http", "switch", "a line for each call on standard error", **_ONLY_GIVEN),
    _option("show_phi", "switch", "let values of attributes into logs and errors", **_ONLY_GIVEN),
    _option("autocommit", "switch", "commit each statement by itself", flag="", **_ONLY_GIVEN),
    _option("output", "choice", "format of results", choices=_OUTPUTS, face=True),
    _option("color", "choice", "colors", choices=("auto", "on", "off"), face=True),
    _option(
        "pager",
        "choice",
        "a pager for long results in the shell",
        choices=("auto", "on", "off"),
        face=True,
    ),
)

BY_NAME = {option.name: option for option in OPTIONS}
BY_KEY = {option.key: option for option in OPTIONS if option.key}
