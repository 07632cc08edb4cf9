"""An instance in the place of another: by the server's own overwrite, else kept, deleted, stored.

Between a delete and the store after it the target has neither instance. So what it had is on the
disk, checked, before it is deleted, and is put back where the store fails. From the delete on
neither the statement's budget nor its end stops that.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dicomsql.copying.outcomes import Status
from dicomsql.copying.there import Target, There
from dicomsql.copying.upload import (
    Part,
    PartError,
    PartFailedError,
    SourceFailedError,
    Upload,
    digest_of,
)
from dicomsql.dicom.stow import Failure, warning_text
from dicomsql.errors import (
    ApiError,
    CancelledError,
    EndpointError,
    Error,
    IncompleteError,
    InterfaceError,
    NotFoundError,
    NotSupportedError,
)

if TYPE_CHECKING:
    from dicomsql.catalog.model import Method
    from dicomsql.dicom.stow import StoreAnswer
    from dicomsql.execution.run import Run
    from dicomsql.planning.plan import DicomStore
    from dicomsql.transport.base import Request

# Makes one store request of some parts.
Send = Callable[["Target", "Method", Sequence[Part]], "tuple[Upload, StoreAnswer | None]"]
Verdict = tuple[Status, str, str]

_PIECE = 1 << 20
_NOT_SAFE = re.compile(r"[^0-9A-Za-z.]")
# Answers that a further request to the same server would get too.
_OF_THE_SERVER = frozenset({401, 403, 404, 429, 502, 503, 504})
# From here on an answer does not say whether the request took effect.
_UNSURE = 500

# Calls that an exchange takes from its delete on, where all goes well.
_CALLS = 2

_UNCLEAR = "it is not known whether it was overwritten"


class UnclearError(Exception):
    """What became of an instance cannot be told, and the copy cannot go on.

    Attributes:
        reason: for the instance's row.
        error: what happened.
    """

    def __init__(self, reason: str, error: Exception) -> None:
        super().__init__(reason)
        self.reason = reason
        self.error = error


class Replacer:
    """Replaces instances, one at a call; safe for many threads.

    Parameters:
        send: makes a store request.
        before: is told of an instance before anything of it is changed; raises `PartFailedError`
            where it must not be.
        kept: folder for what is deleted; None where there is none.

    Raises:
        NotSupportedError: the service can neither overwrite nor delete.
        InterfaceError: it can only delete, and there is no folder.
    """

    def __init__(
        self,
        run: Run,
        store: DicomStore,
        send: Send,
        before: Callable[[Part], None],
        kept: Path | None,
    ) -> None:
        moves = store.moves
        if moves.replace is None:
            if moves.delete is None or moves.instance is None or moves.store is None:
                raise NotSupportedError(
                    f"{store.resource}: this server can neither overwrite nor delete an instance, "
                    f"so that on_conflict 'replace' cannot be. Use 'skip' or 'fail'."
                )
            if kept is None:
                raise InterfaceError(
                    "This server has no overwrite: on_conflict 'replace' keeps an instance's old "
                    "bytes beside the journal before it deletes it, so a journal is needed. Name "
                    "one with journal '...'."
                )
        self._run = run
        self._target = Target(run, store)
        self._lasting = Target(run, store, finishing=True)
        self._moves = moves
        self._send = send
        self._before = before
        self._kept = kept

    def replace(self, part: Part) -> Verdict:
        """Store a part in the place of what the target has under its UIDs.

        Returns: status, reason, digest of the part's bytes.

        Raises:
            ApiError, EndpointError, BudgetError, CancelledError: nothing more can be sent; what
                the server had is still there.
            UnclearError: that, and what it has now is not known.
        """
        self._run.check()
        try:
            self._before(part)
        except PartFailedError as error:
            return Status.FAILED, error.reason, ""
        if self._moves.replace is not None:
            return self._overwrite(self._moves.replace, part)
        return self._exchange(part)

    def _overwrite(self, method: Method, part: Part) -> Verdict:
        try:
            stored, reason, digest = self._stored(self._target, method, part)
        except ApiError as error:
            if error.failure.status >= _UNSURE:
                return self._asked(part, error)
            if error.failure.status in _OF_THE_SERVER:
                raise
            return Status.FAILED, f"the overwrite was refused: {error}", ""
        except EndpointError as error:
            return self._asked(part, error)
        except CancelledError as error:
            raise UnclearError(_UNCLEAR, error) from error
        except PartFailedError as error:
            return Status.FAILED, error.reason, ""
        return (Status.REPLACED if stored else Status.FAILED), reason, digest

    def _asked(self, part: Part, error: ApiError | EndpointError) -> Verdict:
        """What an overwrite whose answer does not tell it has done: the store knows.

        Raises:
            ApiError: it did nothing, and neither would the next.
            UnclearError: the store does not tell.
        """
        try:
            digest = digest_of(part)
            there = self._lasting.compare(part, digest)
        except (Error, PartFailedError):
            raise UnclearError(f"{_said(error)}; {_UNCLEAR}", error) from error
        if there is There.SAME:
            return Status.REPLACED, "", digest
        if there is There.UNKNOWN:
            raise UnclearError(f"{_said(error)}; {_UNCLEAR}", error) from error
        if isinstance(error, ApiError) and error.failure.status in _OF_THE_SERVER:
            raise error
        return Status.FAILED, f"the overwrite failed: {_said(error)}", digest

    def _exchange(self, part: Part) -> Verdict:
        """Keep what is there, delete it, store the part; put what was there back if need be."""
        assert self._moves.delete is not None and self._moves.store is not None
        try:
            digest = digest_of(part)
            kept = self._keep(part, digest)
            if kept is There.NOTHING:
                # It went away meanwhile.
                stored, reason, digest = self._stored(self._target, self._moves.store, part)
                return (Status.STORED if stored else Status.FAILED), reason, digest
        except PartFailedError as error:
            return Status.FAILED, error.reason, ""
        if kept is There.SAME:
            return Status.PRESENT, "", digest
        assert isinstance(kept, Path)
        self._run.note(f"What was replaced is kept in {kept.parent}.")
        try:
            # Once it is under way it is seen to its end.
            self._run.check()
            self._run.check_budget(_CALLS, "Replacing an instance")
            with suppress(NotFoundError), self._run.send(self._delete(part)):
                pass
        except (ApiError, EndpointError) as error:
            there = self._now(part, kept)
            if there is not There.NOTHING:
                said = _NOW[there].format(kept=kept)
                return Status.FAILED, f"{_said(error)}; {said}", digest
        return self._renewed(part, digest, kept)

    def _now(self, part: Part, kept: Path) -> There:
        """What the store has after a delete that may have failed: `SAME` is what is kept."""
        try:
            return self._lasting.compare(part, _digest(kept))
        except (Error, OSError):
            return There.UNKNOWN

    def _renewed(self, part: Part, digest: str, kept: Path) -> Verdict:
        """Store the part where nothing is now, or what was there."""
        try:
            return self._stored_or_back(part, digest, kept)
        except (Error, PartFailedError, OSError) as error:
            return Status.FAILED, f"{_said(error)}; the store's own bytes are in {kept}", digest

    def _stored_or_back(self, part: Part, digest: str, kept: Path) -> Verdict:
        assert self._moves.store is not None
        try:
            stored, reason, _ = self._stored(self._lasting, self._moves.store, part)
        except (Error, PartFailedError) as error:
            # Whether it took effect is not known; the store knows.
            stored, reason = self._lasting.compare(part, digest) is There.SAME, _said(error)
        if stored:
            said = f"what it had is kept in {kept}"
            return Status.REPLACED, f"{reason}; {said}" if reason else said, digest
        if self._lasting.compare(part, digest) is There.OTHER:
            return Status.FAILED, f"{reason}; the store has other bytes again", digest
        back = replace(part, open=lambda: _pieces(kept), size=kept.stat().st_size)
        again, why, _ = self._stored(self._lasting, self._moves.store, back)
        if again:
            return Status.FAILED, f"{reason}; the store has its own bytes again", digest
        said = f"the store's own bytes could not be put back ({why}) and are in {kept}"
        return Status.FAILED, f"{reason}; {said}", digest

    def _stored(self, target: Target, method: Method, part: Part) -> tuple[bool, str, str]:
        """Send one part: whether it is there now, why not or a warning, its digest.

        Raises:
            PartFailedError: its bytes cannot be had.
            ApiError, EndpointError: the server refused it, or did not answer.
        """
        try:
            upload, answer = self._send(target, method, [part])
        except SourceFailedError as error:
            # What was deleted has to be put back first; the next part stops the copy.
            raise PartFailedError(0, str(error)) from error
        digest = upload.digests[0]
        if answer is None:
            return False, Failure().text, digest
        if part.instance in answer.stored:
            warning = answer.stored[part.instance]
            return True, warning_text(warning) if warning else "", digest
        for failure in (*answer.failed.values(), *answer.unnamed):
            return False, failure.text, digest
        if self._lasting.compare(part, digest) is There.SAME:
            return True, "", digest
        return False, "the server's answer does not name it, and it is not there", digest

    def _delete(self, part: Part) -> Request:
        assert self._moves.delete is not None
        return self._lasting.request(self._moves.delete, part)

    def _keep(self, part: Part, digest: str) -> Path | There:
        """Write what the store has to the disk, unless it is the part itself or nothing.

        Raises:
            PartFailedError: it could not be kept, and so must not be deleted.
        """
        assert self._kept is not None
        reason = "the store's own bytes could not be kept, so that they were not replaced"
        found = hashlib.sha256()
        temporary = self._kept / f".{secrets.token_hex(8)}"
        try:
            self._kept.mkdir(mode=0o700, exist_ok=True)
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                with os.fdopen(handle, "wb") as file, self._target.bytes_of(part) as pieces:
                    for piece in pieces or ():
                        found.update(piece)
                        file.write(piece)
                    file.flush()
                    os.fsync(handle)
                if pieces is None or found.hexdigest() == digest:
                    temporary.unlink()
                    return There.NOTHING if pieces is None else There.SAME
                self._check(temporary, part)
                name = _NOT_SAFE.sub("_", part.instance)[:64]
                path = self._kept / f"{name}.{found.hexdigest()[:16]}.dcm"
                temporary.rename(path)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
            _sync(self._kept)
        except OSError as error:
            raise PartFailedError(0, f"{reason} ({error.strerror})") from error
        except (IncompleteError, EndpointError, PartError) as error:
            raise PartFailedError(0, f"{reason}: {error}") from error
        return path

    def _check(self, path: Path, part: Part) -> None:
        """Make sure that a file is whole, and the instance that is to be replaced.

        Raises:
            PartError: it is not.
        """
        from dicomsql.files.headers import InvalidFileError, read_header
        from dicomsql.files.local import LocalFile

        found = path.stat()
        file = LocalFile(path.name, str(path), found.st_size, found.st_mtime_ns)
        try:
            header = read_header(file)
        except InvalidFileError as error:
            raise PartError(str(error)) from error
        if (header.study, header.series, header.instance) != (
            part.study,
            part.series,
            part.instance,
        ):
            raise PartError("the server gave another instance")


# What is said of a store after a delete that may have failed.
_NOW = {
    There.SAME: "the store still has its own bytes",
    There.OTHER: "the store has other bytes by now; its own are in {kept}",
    There.UNKNOWN: "it is not known whether the store still has its own bytes, which are in {kept}",
}


def _said(error: Exception) -> str:
    return error.reason if isinstance(error, PartFailedError) else str(error).rstrip(".")


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            yield piece


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(folder: Path) -> None:
    """Make the names in a folder last."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
