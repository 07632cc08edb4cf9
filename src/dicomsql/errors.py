"""The one error tree of dicomsql, under the exceptions of PEP 249.

    Warning                         something a user should know; the result stands
    Error
    ├── InterfaceError              the driver was used wrongly (fetch before execute)
    └── DatabaseError
        ├── DataError               a value does not fit (a number where an identifier is text)
        ├── OperationalError        something outside the statement went wrong
        │   ├── ApiError            a server answered with an error; carries the whole of it
        │   │   ├── NotFoundError          404
        │   │   ├── PermissionDeniedError  401, 403
        │   │   ├── QuotaError             429, after all attempts
        │   │   └── ConflictError          409, 412; an IntegrityError too
        │   ├── EndpointError       no answer: name resolution, connection, TLS, time-out
        │   ├── CredentialsError    no credentials, or they were refused or cannot be refreshed
        │   ├── IncompleteError     rows could not be fetched completely; what is missing is said
        │   ├── BudgetError         the statement needs more calls or bytes than it may use
        │   ├── OperationFailedError  a long-running operation ended with an error
        │   └── CancelledError      the statement was cancelled
        ├── IntegrityError          the server holds something else under that identity (409, 412)
        ├── InternalError           a defect of dicomsql
        ├── ProgrammingError        the statement is wrong
        │   ├── LanguageError       a syntax error, with line, column and caret
        │   ├── PlanningError       unknown names, missing parameters, bodies that do not fit
        │   ├── ConsentError        what would be lost or billed has not been allowed
        │   └── DocumentError       a provider document is broken; carries the path inside it
        └── NotSupportedError       the server or dicomsql cannot do that

Every error's text is safe to log: values of attributes and secrets are kept out of it by the one
gate in `dicomsql.transport.gate`.
"""

from __future__ import annotations

import builtins
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType

__all__ = [
    "ApiError",
    "ApiFailure",
    "BudgetError",
    "CancelledError",
    "ConflictError",
    "ConsentError",
    "CredentialsError",
    "DataError",
    "DatabaseError",
    "DocumentError",
    "EndpointError",
    "Error",
    "IncompleteError",
    "IntegrityError",
    "InterfaceError",
    "InternalError",
    "LanguageError",
    "NotFoundError",
    "NotSupportedError",
    "OperationFailedError",
    "OperationalError",
    "PermissionDeniedError",
    "PlanningError",
    "ProgrammingError",
    "QuotaError",
    "Warning",
    "alone",
    "nearest",
    "separate",
    "without_literals",
]


class Warning(builtins.Warning):
    """Something a user should know, though the result stands."""


class Error(Exception):
    """The base of all that dicomsql raises."""


class InterfaceError(Error):
    """The driver itself was used wrongly."""


class DatabaseError(Error):
    """The base of errors that concern the statement or what answered it."""


class DataError(DatabaseError):
    """A value does not fit where it was used."""


class OperationalError(DatabaseError):
    """Something outside the statement went wrong."""


class IntegrityError(DatabaseError):
    """The server holds something else under that identity."""


class InternalError(DatabaseError):
    """A defect of dicomsql itself."""


class ProgrammingError(DatabaseError):
    """The statement is wrong."""


class NotSupportedError(DatabaseError):
    """The server, or dicomsql, cannot do that."""


@dataclass(frozen=True)
class ApiFailure:
    """What a server said when it refused a call, for people and programs.

    Attributes:
        method: HTTP method.
        url: the URL as the gate lets it out (path template, parameter names, no values).
        status: HTTP status code.
        code: Google's status name, such as `INVALID_ARGUMENT`; empty where there is none.
        message: the server's message, as the gate lets it out.
        attempts: how many times the call was made.
        request_id: the server's id of the request, where it gave one.
        resource: `provider.service.resource.method` where known.
    """

    method: str
    url: str
    status: int
    code: str = ""
    message: str = ""
    attempts: int = 1
    request_id: str = ""
    resource: str = ""

    def __str__(self) -> str:
        said = f"{self.status} {self.code}".strip()
        text = f"{self.method} {self.url} answered {said}"
        if self.message:
            text += f": {self.message}"
        notes = []
        if self.resource:
            notes.append(self.resource)
        if self.attempts > 1:
            notes.append(f"{self.attempts} attempts")
        if self.request_id:
            notes.append(f"request id {self.request_id}")
        return f"{text} ({', '.join(notes)})" if notes else text


class ApiError(OperationalError):
    """A server answered a call with an error."""

    def __init__(self, failure: ApiFailure) -> None:
        super().__init__(str(failure))
        self.failure = failure

    def __reduce__(self) -> tuple[type[ApiError], tuple[ApiFailure]]:
        return type(self), (self.failure,)


class NotFoundError(ApiError):
    """The server knows nothing under that name (404)."""


class PermissionDeniedError(ApiError):
    """The server did not let these credentials do that (401, 403)."""


class QuotaError(ApiError):
    """The server's rate was exceeded, and still was after all attempts (429)."""


class ConflictError(ApiError, IntegrityError):
    """The server holds something else under that identity (409, 412)."""


class EndpointError(OperationalError):
    """A server could not be reached, or did not answer in time."""


class CredentialsError(OperationalError):
    """There are no credentials, or they cannot be used."""


class IncompleteError(OperationalError):
    """A result could not be fetched completely."""


class BudgetError(OperationalError):
    """The statement needs more calls or bytes than it may use."""


class OperationFailedError(OperationalError):
    """A long-running operation ended with an error, or with failures in its counters."""


class CancelledError(OperationalError):
    """The statement was cancelled while it ran."""


class LanguageError(ProgrammingError):
    """A syntax error, with its place in the text, whose literals are shown as `·`.

    Attributes:
        line, column: 1-based place of the first character that does not fit.
        text: the whole text that was parsed.
    """

    def __init__(self, message: str, *, text: str = "", position: int | None = None) -> None:
        self.message = message
        self.text = text
        self.position = position
        self.line = self.column = 0
        shown = message
        if position is not None:
            position = min(position, len(text))
            self.line = text.count("\n", 0, position) + 1
            start = text.rfind("\n", 0, position) + 1
            self.column = position - start + 1
            end = text.find("\n", position)
            source = without_literals(text)[start : end if end >= 0 else len(text)]
            # A long line is shown around the place, so that the caret stays in sight.
            left = max(0, self.column - 60)
            window = source[left : left + 100]
            # Tabs are kept under the text so that the caret stands below its character.
            pad = "".join("\t" if c == "\t" else " " for c in window[: self.column - 1 - left])
            at = " At" if message.endswith((".", "?")) else ", at"
            shown = f"{message}{at} line {self.line}, column {self.column}\n  {window}\n  {pad}^"
        super().__init__(shown)

    def __reduce__(self) -> tuple[object, ...]:
        return _language_error, (self.message, self.text, self.position)


# A literal in a statement, an open one to the end of the text; identifiers in quotes stay.
_LITERALS = re.compile(
    r"(?P<name>\"(?:[^\"]|\"\")*\"|`[^`]*`|--[^\n]*|/\*.*?\*/)"
    r"|'(?:[^']|'')*(?:'|\Z)"
    r"|\$(?P<tag>\w*)\$.*?(?:\$(?P=tag)\$|\Z)"
    r"|(?<![\w.$])\d[\d.]{2,}",
    re.DOTALL,
)


def without_literals(text: str) -> str:
    """The text with each literal's characters replaced, one by one, so that columns stay.

    An identifier of a patient in a condition is a literal, and errors may be logged.
    """

    def hidden(match: re.Match[str]) -> str:
        found = match[0]
        if match["name"] is not None:
            return found
        first = "'" if found.startswith("'") else ""
        last = "'" if first and len(found) > 1 and found.endswith("'") else ""
        inner = found[len(first) : len(found) - len(last)]
        return first + "".join(c if c == "\n" else "·" for c in inner) + last

    return _LITERALS.sub(hidden, text)


def _language_error(message: str, text: str, position: int | None) -> LanguageError:
    return LanguageError(message, text=text, position=position)


class PlanningError(ProgrammingError):
    """A statement that cannot be planned.

    Attributes:
        resource: `provider.service.resource` where one was found.
        missing: names of required parameters without a value, by method.
        given: names of the parameters that had one.
    """

    def __init__(
        self,
        message: str,
        *,
        resource: str = "",
        missing: dict[str, tuple[str, ...]] | None = None,
        given: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message)
        self.resource = resource
        self.missing = missing or {}
        self.given = given


class ConsentError(ProgrammingError):
    """A statement would destroy or bill something that has not been allowed.

    Attributes:
        number: the number to allow with `SET allow_writes`, `--yes` or the shell's question;
            None where the size could not be learned.
    """

    def __init__(self, message: str, *, number: int | None = None) -> None:
        super().__init__(message)
        self.number = number


class DocumentError(ProgrammingError):
    """A provider document is broken.

    Attributes:
        document: the file.
        path: where inside it, as a JSON pointer.
    """

    def __init__(self, message: str, *, document: str = "", path: str = "") -> None:
        where = f"{document}#{path}" if path else document
        super().__init__(f"{where}: {message}" if where else message)
        self.document = document
        self.path = path


class alone:
    """Lets errors out of a block without the exceptions that they came from; see `separate`."""

    def __enter__(self) -> None:
        self._handled = sys.exception()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        separate(error, self._handled)


def separate(error: BaseException | None, handled: BaseException | None = None) -> None:
    """Take the exceptions that an error of this tree came from off it.

    Those of libraries and of the engine quote values, addresses and bodies. `raise ... from None`
    keeps them out of tracebacks only: what follows `__context__`, as collectors of errors do, would
    find them. A cause that is no error of this tree, as a defect has one, leaves its class and its
    trace.

    Args:
        handled: what the caller was handling when it began, which becomes the error's context.
    """
    seen = list(_contexts(handled))
    if error in seen:
        handled = None
    while isinstance(error, Error) and error not in seen:
        seen.append(error)
        cause, is_hidden = error.__cause__, error.__suppress_context__
        if cause is not None and not isinstance(cause, Error):
            cause = InternalError(type(cause).__name__).with_traceback(cause.__traceback__)
        error.__cause__, error.__context__ = cause, handled
        error.__suppress_context__ = is_hidden
        error, handled = cause, None


def _contexts(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__context__


def nearest(name: str, known: list[str] | tuple[str, ...]) -> str:
    """Return ` Did you mean X?` for the known name nearest to `name`, or an empty string."""
    import difflib

    by_lower = {k.lower(): k for k in known}
    found = difflib.get_close_matches(name.lower(), list(by_lower), n=1, cutoff=0.6)
    return f" Did you mean {by_lower[found[0]]}?" if found else ""
