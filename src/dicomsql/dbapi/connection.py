"""PEP 249's Connection: a session with cursors on it."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import Any

from dicomsql import errors
from dicomsql.closing import Closing
from dicomsql.config import settings
from dicomsql.dbapi.cursor import Cursor
from dicomsql.session import Session


def connect(
    *,
    endpoint: str | None = None,
    local: str | os.PathLike[str] | bool | None = None,
    connection: str | None = None,
    config: str | os.PathLike[str] | None = None,
    user: str | None = None,
    password: str | None = None,
    token: str | None = None,
    token_file: str | os.PathLike[str] | None = None,
    insecure_auth: bool | None = None,
    project: str | None = None,
    location: str | None = None,
    dataset: str | None = None,
    dicom_store: str | None = None,
    credentials: Any = None,
    impersonate: str | None = None,
    anonymous: bool | None = None,
    quota_project: str | None = None,
    proxy: str | None = None,
    ca_bundle: str | None = None,
    timeout: float | None = None,
    max_pages: int | None = None,
    max_calls: int | None = None,
    max_bytes: int | None = None,
    cache: str | None = None,
    parallel: int | None = None,
    await_operations: bool | None = None,
    yes: bool | None = None,
    audit_log: str | os.PathLike[str] | None = None,
    show_phi: bool | None = None,
    dialect: str | None = None,
    providers: str | os.PathLike[str] | None = None,
    consent: Callable[[str], bool] | None = None,
) -> Connection:
    """Open a connection; what is not given comes from the environment (see `dicomsql.config`).

    Args:
        endpoint: base URL of a server to use instead of the service's own.
        local: folder of the embedded emulator; True for the default folder.
        connection: a server of the configuration file, for the service that it names.
        config: that file; by default the one in the user's configuration folder.
        user, password, token, token_file: for basic or bearer authentication at the endpoint.
        cache: how long answers are kept on disk and used again, such as `10m`.
        project, location, dataset, dicom_store: defaults of projectsId, locationsId, datasetsId
            and dicomStoresId.
        credentials: a credentials file, or an object of google-auth.
        yes: consent to what each statement shows that it would destroy or bill.
        consent: is asked with that sentence instead.

    The other arguments are those of `dicomsql.config.Settings`.

    Raises:
        InterfaceError: an argument does not fit.
    """
    given = settings(
        endpoint=endpoint,
        local=local,
        connection=connection,
        config=config,
        user=user,
        password=password,
        token=token,
        token_file=token_file,
        insecure_auth=insecure_auth,
        project=project,
        location=location,
        dataset=dataset,
        dicom_store=dicom_store,
        credentials=credentials,
        impersonate=impersonate,
        anonymous=anonymous,
        quota_project=quota_project,
        proxy=proxy,
        ca_bundle=ca_bundle,
        timeout=timeout,
        max_pages=max_pages,
        max_calls=max_calls,
        max_bytes=max_bytes,
        cache=cache,
        parallel=parallel,
        await_operations=await_operations,
        yes=yes,
        audit_log=audit_log,
        show_phi=show_phi,
        dialect=dialect,
        providers=providers,
    )
    return Connection(Session(given, consent=consent))


class Connection(Closing):
    """A connection; one thread uses it at a time. Made by `connect`."""

    Warning = errors.Warning
    Error = errors.Error
    InterfaceError = errors.InterfaceError
    DatabaseError = errors.DatabaseError
    DataError = errors.DataError
    OperationalError = errors.OperationalError
    IntegrityError = errors.IntegrityError
    InternalError = errors.InternalError
    ProgrammingError = errors.ProgrammingError
    NotSupportedError = errors.NotSupportedError

    def __init__(self, session: Session) -> None:
        self._session = session
        self._cursors: weakref.WeakSet[Cursor] = weakref.WeakSet()

    def cursor(self) -> Cursor:
        """A new cursor.

        Raises:
            InterfaceError: the connection is closed.
        """
        self._check()
        cursor = Cursor(self, self._session)
        self._cursors.add(cursor)
        return cursor

    def execute(self, operation: str, parameters: Any = None) -> Cursor:
        """A new cursor that has executed a statement."""
        return self.cursor().execute(operation, parameters)

    def commit(self) -> None:
        """Nothing is left to commit: every call is done when it has returned."""
        self._check()

    def rollback(self) -> None:
        """Calls cannot be taken back.

        Raises:
            NotSupportedError: always, rather than let anybody believe that it was done.
        """
        self._check()
        raise errors.NotSupportedError(
            "A call to a server is done when it has returned; it cannot be rolled back."
        )

    def cancel(self) -> None:
        """Stop the statement that runs, from another thread."""
        self._session.cancel()

    def close(self) -> None:
        """Free connections and threads. Cursors cannot be used afterwards."""
        for cursor in list(self._cursors):
            cursor.close()
        self._session.close()

    @property
    def closed(self) -> bool:
        """Whether the connection can no longer be used."""
        return self._session.closed

    def _check(self) -> None:
        if self._session.closed:
            raise errors.InterfaceError("The connection is closed.")
