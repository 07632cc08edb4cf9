"""Elements of one attribute that a server wrote all alike, a page of them read as one text.

Well-behaved servers write the elements of an attribute with the same characters around each value:
`{"vr":"UI","Value":["` and `"]}`. Joined by a character that no JSON holds, a page of them is taken
apart by one split, which costs a fraction of parsing each. What surrounds the values is learned
from the first that has one, so that indented answers are read too. Whatever is written in another
way (a second value, another VR, another member) shows in the checks, and the answer is None: then
each element has to be parsed.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator
from functools import cache
from types import ModuleType
from typing import Any

import msgspec
import pyarrow as pa

from dicomsql.dicom.elements import SEPARATOR, Elements

__all__ = ["holds", "lists", "numbers", "text_array", "texts"]

_VR = rb'"vr"\s*:\s*"[A-Z]{2}"'
_HEAD = rb'(?P<open>\{\s*)(?:(?P<first>%b)\s*,\s*)?"Value"\s*:\s*\[\s*' % _VR
_TAIL = rb"\s*\](?:\s*,\s*(?P<last>%b))?(?P<close>\s*\})" % _VR
_CHARACTERS = rb'(?:[^"\\]|\\.)*'
_TEXT = rb'"%b"' % _CHARACTERS
_NUMBER = rb"[-+.0-9eE]+"
_LIST = rb"(?:%b(?:\s*,\s*%b)*|%b(?:\s*,\s*%b)*)" % (_TEXT, _TEXT, _NUMBER, _NUMBER)


def _element(opening: bytes, value: bytes, closing: bytes) -> re.Pattern[bytes]:
    """The pattern of an element with one value; what stands around it is `before` and `after`."""
    return re.compile(
        b"(?P<before>%b%b)%b(?P<after>%b%b)" % (_HEAD, opening, value, closing, _TAIL)
    )


_TEXT_ELEMENT = _element(b'"', _CHARACTERS, b'"')
_NUMBER_ELEMENT = _element(b"", _NUMBER, b"")
_LIST_ELEMENT = _element(b"", _LIST, b"")
_EMPTY_ELEMENT = re.compile(rb"\{\s*(?:%b\s*)?\}" % _VR)
# No element with a value is shorter.
_SHORTEST = len(b'{"Value":[0]}')
# Elements that are looked at for one that can be read so; where none can, others hardly can.
_TRIES = 32
# Bytes of texts that an Arrow array surely takes.
_ARRAY_MOST = 1 << 30


def texts(page: Elements, group: str = "") -> list[str] | None:
    """The text of each element, empty where it has none; None where they are not all alike.

    Args:
        page: at least one element.
        group: of person names, the component group whose text it is, where there is no other.
    """
    form = _form(page, _text_element(group))
    if form is None:
        return [""] * page.count if _all_empty(page) else None
    boundary = form["after"] + SEPARATOR + form["before"]
    for data in _joined(page, form, filler=b""):
        found = data.decode().split(boundary.decode())
        if len(found) == page.count:
            # A quote would end the value, and open what the split does not know of.
            held = "".join(found)
            if '"' not in held:
                return _unescaped(found) if "\\" in held else found
            break
    return _decoded(page, form, b"", b'","', _text_decoder)


def text_array(page: Elements, group: str, kernels: ModuleType) -> pa.Array | None:
    """The same as an array of strings; None where they are not all alike, or have escapes.

    Args:
        kernels: `pyarrow.compute`.
    """
    form = _form(page, _text_element(group))
    if form is None or len(page.data) > _ARRAY_MOST:
        return None
    boundary = form["after"] + SEPARATOR + form["before"]
    for data in _joined(page, form, filler=b""):
        ends = pa.py_buffer(array("i", (0, len(data))))
        whole = pa.Array.from_buffers(pa.string(), 1, [None, ends, pa.py_buffer(data)])
        found = kernels.split_pattern(whole, boundary).flatten()
        if len(found) == page.count:
            return None if holds(found, b'"\\') else found
    return None


def holds(texts: pa.Array, characters: bytes) -> bool:
    """Whether a text of an array has any of these ASCII characters."""
    buffer = texts.buffers()[2]
    data = b"" if buffer is None else buffer.to_pybytes()
    return any(character in data for character in characters)


def _unescaped(found: list[str]) -> list[str] | None:
    """JSON texts without a quote in them, read; what repeats is read once."""
    distinct = dict.fromkeys(found)
    try:
        meant = _text_decoder.decode('["' + '","'.join(distinct) + '"]')
    except msgspec.DecodeError:  # half of a surrogate pair
        return None
    table = dict(zip(distinct, meant, strict=True))
    return list(map(table.__getitem__, found))


def numbers(page: Elements, kind: type) -> list[Any] | None:
    """The number of each element, None where it has none; None where they are not all alike.

    Args:
        page: as for `texts`.
        kind: `int` or `float`.
    """
    form = _form(page, _NUMBER_ELEMENT)
    if form is None:
        return [None] * page.count if _all_empty(page) else None
    return _decoded(page, form, b"null", b",", _number_decoder(kind))


def lists(page: Elements, kind: type) -> list[Any] | None:
    """The values of each element in a list; None where they are not all alike.

    Args:
        page: as for `texts`.
        kind: `str`, `int` or `float`.
    """
    form = _form(page, _LIST_ELEMENT)
    if form is None:
        return [[]] * page.count if _all_empty(page) else None
    # Lists are the same in many rows: character sets, spacings, orientations.
    several = page.data.split(SEPARATOR)
    distinct = dict.fromkeys(several)
    if len(distinct) > page.count // 4:
        return _decoded(page, form, b"", b"],[", _list_decoder(kind))
    some = Elements(SEPARATOR.join(distinct), len(distinct))
    found = _decoded(some, form, b"", b"],[", _list_decoder(kind))
    if found is None:
        return None
    table = dict(zip(distinct, found, strict=True))
    return list(map(table.__getitem__, several))


def _form(page: Elements, element: re.Pattern[bytes]) -> re.Match[bytes] | None:
    """The first element that has a value, as one of that pattern; None where none is found."""
    for one in page.data.split(SEPARATOR, _TRIES)[:_TRIES]:
        if len(one) >= _SHORTEST and (found := element.fullmatch(one)):
            return found
    return None


def _joined(page: Elements, form: re.Match[bytes], filler: bytes) -> Iterator[bytes]:
    """The elements in one text, without what stands before the first value and after the last.

    First as they are, then with `filler` for the value of those that have none: most columns need
    only the first.
    """
    before, after = form["before"], form["after"]
    data = page.data
    if data.startswith(before) and data.endswith(after):
        yield data[len(before) : len(data) - len(after)]
    data = SEPARATOR + data
    vr = form["first"] or form["last"] or b""
    # An element that begins so ends there too: these are whole objects.
    for empty in (b"{}", form["open"] + vr + form["close"]):
        data = data.replace(SEPARATOR + empty, SEPARATOR + before + filler + after)
    before = SEPARATOR + before
    if data.startswith(before) and data.endswith(after):
        yield data[len(before) : len(data) - len(after)]


def _decoded(
    page: Elements,
    form: re.Match[bytes],
    filler: bytes,
    between: bytes,
    decoder: msgspec.json.Decoder[list[Any]],
) -> list[Any] | None:
    """The values, by one parse of a list, with `between` for what separates two elements' values.

    Where an element is written in another way, what surrounds it stays, and the list is no JSON or
    has too many values.
    """
    boundary = form["after"] + SEPARATOR + form["before"]
    close, _, opening = between.partition(b",")
    for data in _joined(page, form, filler):
        try:
            found = decoder.decode(b"[%b%b%b]" % (opening, data.replace(boundary, between), close))
        except msgspec.DecodeError:
            continue
        if len(found) == page.count:
            return found
    return None


def _all_empty(page: Elements) -> bool:
    return all(map(_EMPTY_ELEMENT.fullmatch, set(page.data.split(SEPARATOR))))


_text_decoder = msgspec.json.Decoder(list[str])


@cache
def _text_element(group: str) -> re.Pattern[bytes]:
    if not group:
        return _TEXT_ELEMENT
    opening = rb'\{\s*"%b"\s*:\s*"' % group.encode()
    return _element(opening, _CHARACTERS, rb'"\s*\}')


@cache
def _number_decoder(kind: type) -> msgspec.json.Decoder[list[Any]]:
    return msgspec.json.Decoder(list[kind | None])  # type: ignore[valid-type]


@cache
def _list_decoder(kind: type) -> msgspec.json.Decoder[list[Any]]:
    return msgspec.json.Decoder(list[list[kind | None]])  # type: ignore[valid-type]
