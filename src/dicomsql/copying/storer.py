"""Stores instances in a DICOM store and says of each what became of it.

An instance counts as stored where the answer to its request names it so, and never otherwise: one
that the answer leaves out is looked for, and its bytes are compared.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dicomsql.copying.outcomes import Outcome, Status
from dicomsql.copying.replacing import Replacer
from dicomsql.copying.there import Target, There
from dicomsql.copying.upload import Part, PartFailedError, SourceFailedError, Upload, digest_of
from dicomsql.dicom.stow import Failure, StoreAnswer, read_answer, warning_text
from dicomsql.errors import ApiError, EndpointError, InterfaceError, NotSupportedError
from dicomsql.planning.plan import Conflict

if TYPE_CHECKING:
    from dicomsql.catalog.model import Method
    from dicomsql.execution.run import Run
    from dicomsql.planning.plan import DicomStore
    from dicomsql.transport.base import Request

# Statuses by which a server may refuse a whole request for what one of its instances is, or for
# its size. Others are about the store, the credentials or the server's own state.
_OF_AN_INSTANCE = frozenset({400, 406, 409, 411, 413, 415, 422, 500})
# Of these, what an instance may cause as well as a server that is broken: so many single ones in
# a row, and it is the server.
_FAULT = 500
# The status of a request of which nothing was stored; its body says why of each instance.
_CONFLICT = 409
_MOST_FAULTS = 3

OTHER_BYTES = "the store has an instance with these UIDs and other bytes"
_OTHER_STUDY = "it is of another study than the one that the store is to take instances of"
_UNNAMED = "the server's answer does not name it, and the store does not have it"
_UNASKED = "the server's answer does not name it, and the store cannot be asked for it"
_NOT_COMPARED = (
    "the store has an instance with these UIDs, and cannot be asked whether its bytes are the same"
)


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of a part.

    Attributes:
        digest: SHA-256 of its bytes, hex; empty where they were not read.
    """

    outcome: Outcome
    digest: str = ""


class Storer:
    """Stores parts in one target; safe for many threads.

    Parameters:
        conflict: what becomes of an instance that the target has with other bytes.
        study: the study that the target takes instances of; empty for any.
        kept: folder for the target's bytes before an instance is deleted to be replaced; None
            where there is none.
        sent: is told the bytes of the instances as they go out.

    Attributes:
        limit: bytes of a request beyond which the target has refused one; None until it does.

    Raises:
        NotSupportedError: the target has no method that stores, or none that replaces.
        InterfaceError: it replaces by deleting, and there is no folder for what is deleted.
    """

    def __init__(
        self,
        run: Run,
        target: DicomStore,
        conflict: Conflict,
        *,
        study: str = "",
        kept: Path | None = None,
        sent: Callable[[int], None] | None = None,
    ) -> None:
        moves = target.moves
        method = moves.store_in_study if study else moves.store
        if method is None:
            raise NotSupportedError(f"{target.resource} has no method that stores instances.")
        self.limit: int | None = None
        self._run = run
        self._moves = moves.moves
        self._method = method
        self._conflict = conflict
        self._study = study
        self._sent = sent
        self._target = Target(run, target)
        self._lock = threading.Lock()
        self._faults = 0
        self._replacer = (
            Replacer(run, self._target, target, self._send, kept)
            if conflict is Conflict.REPLACE
            else None
        )

    def store_parts(self, parts: Sequence[Part]) -> list[Stored]:
        """Store instances by one request, or by more where one does not do.

        Args:
            parts: no two of the same SOPInstanceUID.

        Returns: what became of each, in the order of the parts.

        Raises:
            ApiError, EndpointError, CredentialsError: the target takes nothing at all, after all
                attempts: it makes no sense to go on.
            CancelledError: the statement was cancelled.
            Error: what a part's `open` raised beside `PartError`.
        """
        known: dict[str, Stored] = {}
        to_send: list[Part] = []
        for part in parts:
            if self._study and part.study != self._study:
                known[part.instance] = _failed(part, _OTHER_STUDY)
            elif not self._moves.tells_conflicts and self._target.listed(part):
                known[part.instance] = self._compared(part)
            else:
                to_send.append(part)
        known.update(self._send_all(to_send))
        return [known[part.instance] for part in parts]

    def replace(self, part: Part) -> Stored:
        """Store an instance in the place of one that the target is known to have.

        Raises: as `store_parts`.
        """
        if self._replacer is None:
            raise InterfaceError("Instances are replaced only with on_conflict 'replace'.")
        return _result(part, *self._replacer.replace(part))

    # -- requests --------------------------------------------------------------------------------

    def _send_all(self, parts: list[Part]) -> dict[str, Stored]:
        """Send parts together, and what cannot go together in ever smaller groups."""
        known: dict[str, Stored] = {}
        groups = [parts]
        while groups:
            group = groups.pop()
            if not group:
                continue
            try:
                upload, answer = self._send(self._method, group)
            except SourceFailedError as error:
                raise error.error from error
            except PartFailedError as error:
                known[group[error.index].instance] = _failed(group[error.index], error.reason)
                groups.append([p for n, p in enumerate(group) if n != error.index])
            except ApiError as error:
                if error.failure.status not in _OF_AN_INSTANCE:
                    raise
                if len(group) > 1:
                    self._learn(error, group)
                    groups += _halves(group)
                else:
                    known[group[0].instance] = self._refused(group[0], error)
            except EndpointError as error:
                if len(group) > 1:
                    # A server that cannot bear the whole may bear a part, and one that is gone
                    # does not answer the first either.
                    groups += [*_halves(group[1:]), group[:1]]
                else:
                    known[group[0].instance] = self._broken_off(group[0], error)
            else:
                if answer is None and len(group) > 1:
                    groups += _halves(group)
                else:
                    known.update(self._judged(group, upload, answer))
        return known

    def _judged(
        self, group: list[Part], upload: Upload, answer: StoreAnswer | None
    ) -> dict[str, Stored]:
        """What became of each part of a request, by its answer; None where all were refused."""
        if answer is None:
            answer = StoreAnswer({}, {part.instance: Failure() for part in group})
        answer = _attributed(answer, group)
        known: dict[str, Stored] = {}
        for part, digest, size in zip(group, upload.digests, upload.sizes, strict=True):
            found = self._told(replace(part, size=size), digest, answer)
            if found is None:
                # A request of its own gets an answer of its own.
                found = (
                    self._send_all([part])[part.instance]
                    if len(group) > 1
                    else _result(part, Status.FAILED, _UNNAMED, digest)
                )
            known[part.instance] = found
        return known

    def _send(self, method: Method, group: Sequence[Part]) -> tuple[Upload, StoreAnswer | None]:
        """Make one request of the parts.

        Returns: what was sent, and the answer, which is empty where it says nothing; None where the
        whole was refused without a word about any.

        Raises:
            PartFailedError, SourceFailedError: a part cannot be read, or none.
            ApiError, EndpointError: the server refused the whole, or did not answer.
        """
        multipart = len(group) > 1 or not self._moves.single
        upload = Upload(group, multipart=multipart, sent=self._sent)
        with self._run.send(self._request(method, group[0], upload)) as response:
            body, status = response.read(), response.status
        answer = read_answer(body)
        if answer is None and status != _CONFLICT:
            answer = StoreAnswer({}, {})
        with self._lock:
            self._faults = 0
        return upload, answer

    def _request(self, method: Method, part: Part, upload: Upload) -> Request:
        request = self._target.request(method, part)
        headers = [*request.headers, ("Content-Type", upload.content_type)]
        if upload.length is not None:
            headers.append(("Content-Length", str(upload.length)))
        # The same bytes under the same UIDs may be sent any number of times.
        return replace(
            request,
            headers=tuple(headers),
            body=upload,
            repeatable=True,
            answers=frozenset({_CONFLICT}),
        )

    def _learn(self, error: ApiError, group: Sequence[Part]) -> None:
        """Keep in mind that a request was too large."""
        if error.failure.status == 413:
            size = sum(part.size or 0 for part in group) // 2
            with self._lock:
                self.limit = size if self.limit is None else min(self.limit, size)

    # -- verdicts --------------------------------------------------------------------------------

    def _refused(self, part: Part, error: ApiError) -> Stored:
        """What a refusal of a request with a single part means.

        Raises:
            ApiError: there were too many of the kind that is the server's own fault.
        """
        failure = error.failure
        if failure.status == _FAULT:
            self._count_fault(error)
        said = f"{failure.status} {failure.code}".strip()
        message = f": {failure.message}" if failure.message else ""
        return _failed(part, f"the server answered {said}{message}")

    def _broken_off(self, part: Part, error: EndpointError) -> Stored:
        """What it means that a single part cannot be sent to its end: the server is asked.

        Raises:
            EndpointError: it is gone, or there were too many of these.
        """
        self._count_fault(error)
        there = self._target.has(part)
        if there is There.UNKNOWN:
            raise error
        if there is There.OTHER:
            # Its answer was what was lost, or it was there before.
            return self._compared(part)
        return _failed(part, f"the server did not take it to its end: {str(error).rstrip('.')}")

    def _count_fault(self, error: ApiError | EndpointError) -> None:
        """Give the server up where it fails at one instance after the other."""
        with self._lock:
            self._faults += 1
            if self._faults >= _MOST_FAULTS:
                raise error

    def _told(self, part: Part, digest: str, answer: StoreAnswer) -> Stored | None:
        """What an answer says of a part, and the store where the answer does not do.

        Returns: None where neither knows of it.
        """
        if part.instance in answer.stored:
            warning = answer.stored[part.instance]
            reason = warning_text(warning) if warning else ""
            return _result(part, Status.STORED, reason, digest)
        failure = answer.failed.get(part.instance)
        if failure is None:
            return self._left_out(part, digest)
        reason = self._reason(part, failure)
        if failure.reason is not None and failure.reason not in self._moves.exists:
            return _result(part, Status.FAILED, reason, digest)
        there = self._target.has(part)
        if there is There.OTHER and not self._moves.tells_conflicts:
            there = self._target.compare(part, digest)
        if there is There.SAME:
            return _result(part, Status.PRESENT, "", digest)
        if there is There.OTHER:
            return self._conflicting(part, digest)
        return _result(part, Status.FAILED, reason, digest)

    def _left_out(self, part: Part, digest: str) -> Stored | None:
        """What became of a part that the answer does not name: only the bytes there tell."""
        there = self._target.compare(part, digest)
        if there is There.SAME:
            return _result(part, Status.STORED, "", digest)
        if there is There.OTHER:
            return self._conflicting(part, digest)
        if there is There.UNKNOWN:
            return _result(part, Status.FAILED, _UNASKED, digest)
        return None

    def _compared(self, part: Part) -> Stored:
        """What becomes of a part whose UIDs the store has already."""
        try:
            digest = digest_of(part)
        except PartFailedError as error:
            return _failed(part, error.reason)
        there = self._target.compare(part, digest)
        if there is There.SAME:
            return _result(part, Status.PRESENT, "", digest)
        if there is There.OTHER:
            return self._conflicting(part, digest)
        if there is There.UNKNOWN:
            return _result(part, Status.FAILED, _NOT_COMPARED, digest)
        # It went away between the search and now.
        return self._send_all([part])[part.instance]

    def _conflicting(self, part: Part, digest: str) -> Stored:
        """What becomes of a part that the store has with other bytes."""
        if self._conflict is Conflict.SKIP:
            return _result(part, Status.SKIPPED, OTHER_BYTES, digest)
        if self._conflict is Conflict.FAIL:
            return _result(part, Status.FAILED, OTHER_BYTES, digest)
        assert self._replacer is not None
        return _result(part, *self._replacer.replace(part))

    def _reason(self, part: Part, failure: Failure) -> str:
        """Why the server refused an instance, as far as the gate lets it out."""
        if not failure.detail:
            return failure.text
        request = self._target.request(self._method, part)
        return f"{failure.text}: {self._run.gate.scrub(failure.detail, request)}"


def _attributed(answer: StoreAnswer, group: Sequence[Part]) -> StoreAnswer:
    """An answer whose failures without a name are given to the only part that they can be of."""
    left = [p for p in group if p.instance not in answer.stored and p.instance not in answer.failed]
    if len(left) != 1 or len(answer.unnamed) != 1:
        return answer
    return replace(answer, failed={**answer.failed, left[0].instance: answer.unnamed[0]})


def _halves(group: list[Part]) -> list[list[Part]]:
    """Two groups, the first to be taken last in the list."""
    middle = len(group) // 2
    return [group[middle:], group[:middle]]


def _failed(part: Part, reason: str) -> Stored:
    return _result(part, Status.FAILED, reason)


def _result(part: Part, status: Status, reason: str = "", digest: str = "") -> Stored:
    outcome = Outcome(status, part.path, part.study, part.series, part.instance, reason, part.size)
    return Stored(outcome, digest)
