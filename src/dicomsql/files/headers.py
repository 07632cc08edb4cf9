"""The header of one file: its identity, and chosen attributes as DICOM JSON."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from dicomsql.dicom import part10
from dicomsql.dicom.skim import Chosen, Skimmed, choose, skim, survey
from dicomsql.files.local import InvalidFileError, LocalFile, reason_of

__all__ = ["Header", "InvalidFileError", "examine", "read_dataset", "read_header"]


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of itself.

    Attributes:
        study, series, instance: UIDs.
        sop_class, transfer_syntax: UIDs; the latter from the file meta information.
        dataset: DICOM JSON (PS3.18 Annex F) of the chosen attributes, UTF-8.
    """

    study: str
    series: str
    instance: str
    sop_class: str
    transfer_syntax: str
    dataset: bytes = b"{}"


def read_header(file: LocalFile, tags: Collection[str] = ()) -> Header:
    """Read a file's header and check that the file is whole.

    No pixel is read, but the place of every element, so that a file whose end is missing is found.

    Args:
        tags: eight upper-case hexadecimal digits each.

    Raises:
        InvalidFileError: it cannot be read, is no DICOM file, is cut off, or lacks the study's,
            the series' or its own UID or its SOP class.
    """
    chosen = _chosen(frozenset(tags))
    found = _read(file, survey, _with_identity(chosen))
    if problem := _problem(found):
        raise InvalidFileError(problem)
    study, series, instance, sop_class = (part10.text(found.dataset, tag) for tag in _UIDS)
    dataset = _encoded(file, chosen.of(found.dataset))
    return Header(study, series, instance, sop_class, found.transfer_syntax, dataset)


def read_dataset(file: LocalFile, chosen: Chosen) -> bytes:
    """DICOM JSON of what is chosen and there, read with as little else as that takes.

    What stands behind a place where the file is damaged is not there.

    Raises:
        InvalidFileError: it cannot be read, or is no DICOM file.
    """
    return _encoded(file, _read(file, skim, chosen).dataset)


def examine(file: LocalFile, chosen: Chosen) -> tuple[bytes, str]:
    """The same as `read_dataset`, and what `read_header` would say against the file; or nothing."""
    try:
        found = _read(file, survey, _with_identity(chosen))
    except InvalidFileError as error:
        return b"{}", str(error)
    return _encoded(file, chosen.of(found.dataset)), _problem(found)


# In the order of `Header`.
_UIDS = {
    "0020000D": "StudyInstanceUID",
    "0020000E": "SeriesInstanceUID",
    "00080018": "SOPInstanceUID",
    "00080016": "SOPClassUID",
}
_MEDIA_CLASS = "00020002"
_IDENTITY = choose([*_UIDS, _MEDIA_CLASS])
# PS3.4 annex B.5: Media Storage Directory Storage
_DIRECTORY = "1.2.840.10008.1.3.10"
# How a data set begins that has no file's header: group 0002 or 0008, in either byte order.
_FIRST_GROUPS = frozenset({b"\x02\0", b"\x08\0", b"\0\x08"})


@lru_cache(maxsize=16)
def _chosen(tags: frozenset[str]) -> Chosen:
    return choose(tags)


@lru_cache(maxsize=16)
def _with_identity(chosen: Chosen) -> Chosen:
    return chosen.also(_IDENTITY)


def _problem(found: Skimmed) -> str:
    """What is wrong with a DICOM file; empty where nothing is."""
    if part10.text(found.dataset, _MEDIA_CLASS) == _DIRECTORY:
        return "it is a DICOMDIR, which names instances and is none"
    if found.broken:
        return found.broken
    lacking = (keyword for tag, keyword in _UIDS.items() if not part10.text(found.dataset, tag))
    keyword = next(lacking, "")
    return f"it has no {keyword}" if keyword else ""


def _read(
    file: LocalFile, reading: Callable[[BinaryIO, int, Chosen], Skimmed], chosen: Chosen
) -> Skimmed:
    with file.open() as stream:
        try:
            try:
                return reading(stream, file.size, chosen)
            except part10.InvalidDicom as error:
                raise InvalidFileError(_stranger(stream) or str(error)) from None
        except OSError as error:
            raise InvalidFileError(reason_of(error)) from None


def _stranger(stream: BinaryIO) -> str:
    """What a file is that does not begin as a DICOM file does; empty where that is not known."""
    stream.seek(0)
    head = stream.read(132)
    if not head:
        return "it is empty"
    if head[128:] == b"DICM":
        return ""
    if head.startswith(b"PK\x03\x04"):
        return "it is a zip archive and no DICOM file; name it by itself to have what is in it"
    if head[:2] in _FIRST_GROUPS:
        return "no DICM prefix after 128 bytes: a data set without the header of a DICOM file"
    return ""


def _encoded(file: LocalFile, dataset: part10.Dataset) -> bytes:
    """A data set as JSON, in which binary values that are left out are told by their place."""
    import msgspec

    text = msgspec.json.encode(dataset)
    return text.replace(_BULK, _bulk_address(file)) if _BULK in text else text


# No value can look so: its quotation marks would be escaped.
_BULK = b'"BulkDataURI":"\\u0001/bulkdata/'


def _bulk_address(file: LocalFile) -> bytes:
    """What comes before the place of a binary value in the file: `file:///in/a.dcm#7FE00010`."""
    address = Path(file.path).as_uri()
    if file.packed is not None:
        address += "!/" + quote(file.packed.member, errors="replace")
    return f'"BulkDataURI":"{address}#'.encode()
