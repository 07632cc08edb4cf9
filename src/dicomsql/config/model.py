"""The settings of a session: what it is told once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dicomsql.connections import Connection, Login

# The session's names for the parameters that they are defaults of.
PARAMETER_DEFAULTS = {
    "project": "projectsId",
    "location": "locationsId",
    "dataset": "datasetsId",
    "dicom_store": "dicomStoresId",
}

DEFAULT_TIMEOUT = 120.0


@dataclass(frozen=True, slots=True)
class Settings:
    """What a session is told once.

    Attributes:
        endpoint: base URL of a server to use instead of the provider document's own.
        local: folder of the embedded emulator, which then runs in this process.
        connection: name of the connection that its service's own name (`dicomweb.orthanc`) means.
        connections: the servers with names of their own, by name.
        config: the file that they were read from, where one was named.
        profile: name of the profile of that file that settings come from; None for none.
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
    profile: str | None = None
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
