"""What `connect` takes, by name and type: one list for every face that opens connections."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypedDict

__all__ = ["ConnectArguments"]


class ConnectArguments(TypedDict, total=False):
    """Arguments of `connect`; what is not given, or is None, comes from the environment.

    Attributes:
        endpoint: base URL of a server to use instead of the service's own.
        local: folder of the embedded emulator; True for the default folder.
        connection: a server of the configuration file, for the service that it names.
        config: that file; by default the one in the user's configuration folder.
        profile: a profile of it, whose settings stand behind arguments and environment.
        user, password, token, token_file: for basic or bearer authentication at the endpoint.
        insecure_auth: credentials may go to the endpoint over plain http.
        project, location, dataset, dicom_store: defaults of projectsId, locationsId, datasetsId
            and dicomStoresId.
        credentials: a credentials file, or an object of google-auth.
        cache: how long answers are kept on disk and used again, such as `10m`.
        database: file of the local tables, or `:memory:NAME` for memory that connections of the
            program share by the name; without it they are in this connection's memory.
        files: `off`, and statements neither read nor write local files.
        autocommit: each statement that writes local tables is committed by itself; without it
            `commit` does it, as PEP 249 asks.
        yes: consent to what each statement shows that it would destroy or bill.
        consent: is asked with that sentence instead; True allows it.

    The others are those of `dicomsql.config.Settings`.
    """

    endpoint: str | None
    local: str | os.PathLike[str] | bool | None
    connection: str | None
    config: str | os.PathLike[str] | None
    profile: str | None
    user: str | None
    password: str | None
    token: str | None
    token_file: str | os.PathLike[str] | None
    insecure_auth: bool | None
    project: str | None
    location: str | None
    dataset: str | None
    dicom_store: str | None
    credentials: Any
    impersonate: str | None
    anonymous: bool | None
    quota_project: str | None
    proxy: str | None
    ca_bundle: str | None
    timeout: float | None
    max_pages: int | None
    max_calls: int | None
    max_bytes: int | str | None
    cache: str | None
    parallel: int | None
    await_operations: bool | None
    yes: bool | None
    audit_log: str | os.PathLike[str] | None
    show_phi: bool | None
    dialect: str | None
    providers: str | os.PathLike[str] | None
    database: str | os.PathLike[str] | None
    files: bool | str | None
    autocommit: bool | None
    consent: Callable[[str], bool] | None
