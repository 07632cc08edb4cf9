"""What a store transaction's answer says of each instance (PS3.18 section 10.5.3), JSON or XML."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

# What a Failure Reason means (PS3.18, tables I.2-1 and I.2-2; PS3.7, annex C).
FAILURE_REASONS = {
    0x0110: "processing failure",
    0x0117: "invalid object instance",
    0x0122: "SOP class not supported",
    0x0124: "not authorized",
    0x0131: "duplicate transaction",
    0xA700: "out of resources",
    0xA710: "out of resources",
    0xA770: "more than one content type",
    0xA773: "none of the formats is supported",
    0xA776: "quota exceeded",
    0xA777: "not an instance of that study",
    0xA900: "dataset does not match SOP class",
    0xC000: "cannot understand",
    0xC122: "transfer syntax not supported",
}

# What a Warning Reason means (PS3.18, table I.2-3).
WARNING_REASONS = {
    0xB000: "data elements were coerced",
    0xB006: "elements were discarded",
    0xB007: "the dataset does not match its SOP class",
}

# Google's private Failure Detail (0009,0097), as the tag stands and as its block may reserve it.
FAILURE_DETAILS = ("00090097", "00091097")

_INSTANCE_UID = "00081155"  # ReferencedSOPInstanceUID
_WARNING_REASON = "00081196"
_FAILURE_REASON = "00081197"
_FAILED = "00081198"  # FailedSOPSequence
_STORED = "00081199"  # ReferencedSOPSequence
_OTHER_FAILURES = "0008119A"
_RETRIEVE_URL = "00081190"
_MARKS = frozenset({_FAILED, _STORED, _OTHER_FAILURES, _RETRIEVE_URL})

_Dataset = Mapping[str, "list[Any]"]


@dataclass(frozen=True, slots=True)
class Failure:
    """An instance that was not stored.

    Attributes:
        reason: its FailureReason (0008,1197); None where the answer gives none.
        detail: the server's own words, free text; may be empty.
    """

    reason: int | None = None
    detail: str = ""

    @property
    def text(self) -> str:
        """The reason for people, without the server's own words."""
        if self.reason is None:
            return "the server refused it without a reason"
        return _text("failure reason", self.reason, FAILURE_REASONS)


@dataclass(frozen=True, slots=True)
class StoreAnswer:
    """What an answer says.

    Attributes:
        stored: SOP Instance UID -> Warning Reason (0008,1196), None where there is none.
        failed: SOP Instance UID -> failure.
        unnamed: failures of parts that the server could not name.
    """

    stored: Mapping[str, int | None]
    failed: Mapping[str, Failure]
    unnamed: tuple[Failure, ...] = ()


def warning_text(reason: int) -> str:
    """A Warning Reason for people."""
    return _text("warning reason", reason, WARNING_REASONS)


def read_answer(body: bytes) -> StoreAnswer | None:
    """Read the answer to a store transaction; servers are careless about its media type.

    An instance that stands among those stored and among those failed is in neither: nothing is
    known of it.

    Returns: None where the body is no such answer.
    """
    text = body.decode("utf-8", "replace").strip().lstrip("\ufeff")
    dataset: _Dataset | None = None
    if text[:1] in {"{", "["}:
        dataset = _from_json(text)
    elif text[:1] == "<":
        dataset = _from_xml(text)
    if dataset is None or not _MARKS & dataset.keys():
        return None
    stored: dict[str, int | None] = {}
    failed: dict[str, Failure] = {}
    unnamed: list[Failure] = []
    for item in _items(dataset, _STORED):
        uid = _first(item, _INSTANCE_UID)
        if uid and stored.get(uid) is None:
            stored[uid] = _number(item, _WARNING_REASON)
    for item in _items(dataset, _FAILED):
        uid = _first(item, _INSTANCE_UID)
        if uid:
            failed[uid] = _failure(item)
        else:
            unnamed.append(_failure(item))
    unnamed += (_failure(item) for item in _items(dataset, _OTHER_FAILURES))
    for uid in stored.keys() & failed.keys():
        del stored[uid], failed[uid]
    return StoreAnswer(stored, failed, tuple(unnamed))


def _text(what: str, reason: int, meanings: Mapping[int, str]) -> str:
    meaning = meanings.get(reason, "")
    return f"{what} {reason}" + (f" ({meaning})" if meaning else "")


def _failure(item: _Dataset) -> Failure:
    detail = next((text for tag in FAILURE_DETAILS if (text := _first(item, tag))), "")
    return Failure(_number(item, _FAILURE_REASON), detail)


def _items(dataset: _Dataset, tag: str) -> Iterator[_Dataset]:
    for item in dataset.get(tag, ()):
        if isinstance(item, dict):
            yield item


def _first(item: _Dataset, tag: str) -> str:
    values = item.get(tag)
    return str(values[0]).strip("\0 ") if values and not isinstance(values[0], dict) else ""


def _number(item: _Dataset, tag: str) -> int | None:
    text = _first(item, tag)
    return int(text) if text.isascii() and text.isdigit() else None


def _from_json(text: str) -> _Dataset | None:
    """The dataset of DICOM JSON (PS3.18, annex F): tag -> values, items as datasets."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if isinstance(content, list) and len(content) == 1:
        content = content[0]
    return _json_dataset(content) if isinstance(content, dict) else None


def _json_dataset(content: Mapping[str, Any], depth: int = 0) -> _Dataset:
    found: dict[str, list[Any]] = {}
    for tag, element in content.items():
        values = element.get("Value") if isinstance(element, dict) else None
        if not isinstance(values, list):
            values = []
        # The sequences of an answer have items of plain values.
        found[tag.upper()] = [
            _json_dataset(value, depth + 1) if isinstance(value, dict) and depth < 2 else value
            for value in values
        ]
    return found


def _from_xml(text: str) -> _Dataset | None:
    """The same of the Native DICOM Model (PS3.19, annex A), with a namespace or without."""
    from xml.etree import ElementTree

    # A document type may define entities that grow without bound; no answer needs one.
    if "<!DOCTYPE" in text.upper():
        return None
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 - no document type
    except ElementTree.ParseError:
        return None
    return _xml_dataset(root) if _local(root) == "NativeDicomModel" else None


def _xml_dataset(parent: Element) -> _Dataset:
    found: dict[str, list[Any]] = {}
    for element in parent:
        if _local(element) != "DicomAttribute":
            continue
        tag = element.get("tag", "").upper()
        if element.get("keyword") == "FailureDetail":
            tag = FAILURE_DETAILS[0]
        found[tag] = [
            _xml_dataset(child) if _local(child) == "Item" else child.text or ""
            for child in element
            if _local(child) in {"Item", "Value"}
        ]
    return found


def _local(element: Element) -> str:
    return element.tag.rpartition("}")[2]
