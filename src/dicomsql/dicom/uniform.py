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
from collections.abc import Iterator
from functools import cache
from typing import Any

import msgspec

from dicomsql.dicom.elements import SEPARATOR, Elements

__all__ = ["lists", "numbers", "texts"]

_VR = r'"vr"\s*:\s*"[A-Z]{2}"'
_HEAD = rf'(?P<open>\{{\s*)(?:(?P<first>{_VR})\s*,\s*)?"Value"\s*:\s*\[\s*'
_TAIL = rf"\s*\](?:\s*,\s*(?P<last>{_VR}))?(?P<close>\s*\}})"
_CHARACTERS = r'(?:[^"\\]|\\.)*'
_TEXT = f'"{_CHARACTERS}"'
_NUMBER = r"[-+.0-9eE]+"
_LIST = rf"(?:{_TEXT}(?:\s*,\s*{_TEXT})*|{_NUMBER}(?:\s*,\s*{_NUMBER})*)"

_TEXT_ELEMENT = re.compile(rf'(?P<before>{_HEAD}"){_CHARACTERS}(?P<after>"{_TAIL})')
_NUMBER_ELEMENT = re.compile(rf"(?P<before>{_HEAD}){_NUMBER}(?P<after>{_TAIL})")
_LIST_ELEMENT = re.compile(rf"(?P<before>{_HEAD}){_LIST}(?P<after>{_TAIL})")
_EMPTY_ELEMENT = re.compile(rf"\{{\s*(?:{_VR}\s*)?\}}")
# No element with a value is shorter.
_SHORTEST = len('{"Value":[0]}')
# Elements that are looked at for one that can be read so; where none can, others hardly can.
_TRIES = 32


def texts(page: Elements, group: str = "") -> list[str] | None:
    """The text of each element, empty where it has none; None where they are not all alike.

    Args:
        page: at least one element.
        group: of person names, the component group whose text it is, where there is no other.
    """
    form = _form(page, _name_element(group) if group else _TEXT_ELEMENT)
    if form is None:
        return [""] * page.count if _all_empty(page) else None
    boundary = form["after"] + SEPARATOR + form["before"]
    for text in _joined(page, form, filler=""):
        found = text.split(boundary)
        if len(found) == page.count:
            # A quote would end the value, and open what the split does not know of.
            held = "".join(found)
            if '"' not in held:
                return _unescaped(found) if "\\" in held else found
            break
    return _decoded(page, form, "", '","', _text_decoder)


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
    return _decoded(page, form, "null", ",", _number_decoder(kind))


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
    several = page.text.split(SEPARATOR)
    distinct = dict.fromkeys(several)
    if len(distinct) > page.count // 4:
        return _decoded(page, form, "", "],[", _list_decoder(kind))
    some = Elements(SEPARATOR.join(distinct), len(distinct))
    found = _decoded(some, form, "", "],[", _list_decoder(kind))
    if found is None:
        return None
    table = dict(zip(distinct, found, strict=True))
    return list(map(table.__getitem__, several))


def _form(page: Elements, element: re.Pattern[str]) -> re.Match[str] | None:
    """The first element that has a value, as one of that pattern; None where none is found."""
    for one in page.text.split(SEPARATOR, _TRIES)[:_TRIES]:
        if len(one) >= _SHORTEST and (found := element.fullmatch(one)):
            return found
    return None


def _joined(page: Elements, form: re.Match[str], filler: str) -> Iterator[str]:
    """The elements in one text, without what stands before the first value and after the last.

    First as they are, then with `filler` for the value of those that have none: most columns need
    only the first.
    """
    before, after = form["before"], form["after"]
    text = page.text
    if text.startswith(before) and text.endswith(after):
        yield text[len(before) : len(text) - len(after)]
    text = SEPARATOR + text
    vr = form["first"] or form["last"] or ""
    # An element that begins so ends there too: these are whole objects.
    for empty in ("{}", form["open"] + vr + form["close"]):
        text = text.replace(SEPARATOR + empty, SEPARATOR + before + filler + after)
    text = text[1:]
    if text.startswith(before) and text.endswith(after):
        yield text[len(before) : len(text) - len(after)]


def _decoded(
    page: Elements,
    form: re.Match[str],
    filler: str,
    between: str,
    decoder: msgspec.json.Decoder[list[Any]],
) -> list[Any] | None:
    """The values, by one parse of a list, with `between` for what separates two elements' values.

    Where an element is written in another way, what surrounds it stays, and the list is no JSON or
    has too many values.
    """
    boundary = form["after"] + SEPARATOR + form["before"]
    close, _, opening = between.partition(",")
    for text in _joined(page, form, filler):
        try:
            found = decoder.decode(f"[{opening}{text.replace(boundary, between)}{close}]")
        except msgspec.DecodeError:
            continue
        if len(found) == page.count:
            return found
    return None


def _all_empty(page: Elements) -> bool:
    return all(map(_EMPTY_ELEMENT.fullmatch, set(page.text.split(SEPARATOR))))


_text_decoder = msgspec.json.Decoder(list[str])


@cache
def _name_element(group: str) -> re.Pattern[str]:
    return re.compile(
        rf'(?P<before>{_HEAD}\{{\s*"{group}"\s*:\s*"){_CHARACTERS}(?P<after>"\s*\}}{_TAIL})'
    )


@cache
def _number_decoder(kind: type) -> msgspec.json.Decoder[list[Any]]:
    return msgspec.json.Decoder(list[kind | None])  # type: ignore[valid-type]


@cache
def _list_decoder(kind: type) -> msgspec.json.Decoder[list[Any]]:
    return msgspec.json.Decoder(list[list[kind | None]])  # type: ignore[valid-type]
