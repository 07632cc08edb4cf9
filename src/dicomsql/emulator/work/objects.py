"""Exporting instances to the objects of a bucket.

Each is written to `{prefix}{study}/{series}/{instance}.{extension}`; as pixels or images, one with
more than one frame becomes `{instance}/{frame}.{extension}` for each, counted from 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from dicomsql.dicom import part10
from dicomsql.emulator import images, multipart, pixels, rendering
from dicomsql.emulator.jobs import Context, Job, UnitError
from dicomsql.emulator.status import invalid_field
from dicomsql.emulator.work import selection, uris

__all__ = ["ExportObjects", "Form", "form"]

_PIECE = 256 * 1024
_EXTENSIONS = {
    "application/dicom": ".dcm",
    "application/octet-stream": "",
    "image/jpeg": ".jpg",
    "image/png": ".png",
}
_JPEG = "1.2.840.10008.1.2.4.50"
# GcsDestination.mimeType of the discovery document; those that cannot be made are told apart from
# those that there are not
_DICOM = "1.2.840.10008.1.2"
_SYNTAXES = frozenset(
    _DICOM + end
    for end in (
        *("", ".1", ".1.99", ".4.50", ".4.51", ".4.57", ".4.70", ".4.80", ".4.81", ".4.90"),
        *(".4.91", ".4.110", ".4.111", ".4.112", ".4.201", ".4.202", ".4.203", ".5", ".8.1"),
    )
)


@dataclass(frozen=True, slots=True)
class Form:
    """What is written for an instance.

    Attributes:
        media: the media type without parameters.
        syntax: the transfer syntax; `*` for what is stored, empty where the type needs none.
    """

    media: str
    syntax: str


def form(mime_type: str) -> Form:
    """What a `GcsDestination.mimeType` asks for.

    Raises:
        StatusError: 400 for what the API does not have.
    """
    field = "gcs_destination.mime_type"
    media, parameters = multipart.media_type(mime_type or "application/dicom; transfer-syntax=*")
    syntax = parameters.pop("transfer-syntax", "")
    allowed = {
        "application/dicom": _SYNTAXES | {"*", ""},
        "application/octet-stream": {part10.EXPLICIT_LITTLE, "*", ""},
        "image/jpeg": {_JPEG, ""},
        "image/png": {""},
    }
    if parameters or syntax not in allowed.get(media, ()):
        raise invalid_field(field, f"Invalid {field}: the API writes no such form.")
    if media.startswith("image/"):
        return Form(media, "")
    return Form(media, syntax or part10.EXPLICIT_LITTLE)


class ExportObjects:
    """The work of dicomStores.export with a `gcsDestination`.

    Its spec: `store`, the row; `filter`; `uri`, of the folder; `mime`, as the request had it.
    """

    def units(self, context: Context, job: Job) -> Iterator[str]:
        """The instances that are meant."""
        bucket, prefix = uris.folder(job.spec["uri"], "gcs_destination.uri_prefix")
        # asked for now: a bucket that is not there fails the whole rather than each
        next(iter(context.neighbours.objects.list(bucket, prefix)), None)
        yield from selection.instances(context, job.spec["store"], filter_uri=job.spec["filter"])

    def do(self, context: Context, job: Job, units: list[str]) -> list[UnitError | None]:
        """Write the objects of instances, in the place of those of the same names."""
        outcomes: list[UnitError | None] = []
        for unit in units:
            try:
                self._write(context, job, unit)
                outcomes.append(None)
            except UnitError as error:
                outcomes.append(error)
        return outcomes

    def finish(self, context: Context, job: Job) -> None:  # noqa: ARG002 - only told
        """Tell of what failed."""
        selection.check_failures(job, "instances could not be exported")

    def _write(self, context: Context, job: Job, unit: str) -> None:
        stored = _stored(context, selection.row_of(unit))
        wanted = form(job.spec["mime"])
        bucket, prefix = uris.folder(job.spec["uri"], "gcs_destination.uri_prefix")
        path = context.folder.path(stored.file)
        name = f"{prefix}{stored.study}/{stored.series}/{stored.instance}"
        as_stored = wanted.syntax in {"*", stored.transfer_syntax}
        write = context.neighbours.objects.write
        try:
            if as_stored and wanted.media == "application/dicom":
                with path.open("rb") as stream:
                    pieces = iter(partial(stream.read, _PIECE), b"")
                    write(bucket, f"{name}.dcm", pieces, wanted.media)
                return
            for place, content in _made(path, stored, wanted, as_stored=as_stored):
                whole = f"{name}{place}{_EXTENSIONS[wanted.media]}"
                write(bucket, whole, [content], wanted.media)
        except FileNotFoundError:
            raise UnitError("the instance was deleted meanwhile") from None
        except images.CannotDecode as error:
            raise UnitError(f"it cannot be written so: {error}") from error


class _Stored(NamedTuple):
    study: str
    series: str
    instance: str
    file: str
    transfer_syntax: str


def _stored(context: Context, row: int) -> _Stored:
    with context.folder.read() as db:
        found = db.execute(
            "SELECT st.uid, se.uid, i.uid, i.file, i.transfer_syntax FROM instances i"
            " JOIN series se ON se.id = i.series_id JOIN studies st ON st.id = i.study_id"
            " WHERE i.id = ?",
            (row,),
        ).fetchone()
    if found is None:
        raise UnitError("the instance was deleted meanwhile")
    return _Stored(*found)


def _made(
    path: Path, stored: _Stored, wanted: Form, *, as_stored: bool
) -> Iterator[tuple[str, bytes]]:
    """What follows the instance's name, and what is written there."""
    if wanted.media == "application/dicom":
        yield "", _transcoded(path, stored, wanted.syntax)
        return
    with images.opened(path) as image:
        count = image.frames
    for number in range(1, count + 1):
        place = f"/{number}" if count > 1 else ""
        if wanted.media.startswith("image/"):
            yield place, rendering.render(path, number, wanted.media)
            continue
        with images.opened(path) as image:
            content = image.stored(number) if as_stored else image.raw(number)
        yield place, content


def _transcoded(path: Path, stored: _Stored, syntax: str) -> bytes:
    if not pixels.makeable(stored.transfer_syntax, syntax):
        raise UnitError("it cannot be written in this transfer syntax")
    return pixels.transcode(path, syntax)[1]
