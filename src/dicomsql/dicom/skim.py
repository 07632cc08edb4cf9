"""Chosen elements of a DICOM file (PS3.10) as DICOM JSON, of which only what is needed is read.

`skim` stops where it has everything; `survey` goes on to the end and says whether the file is
whole. Both step from element to element, decode those that were chosen, and skip the bytes of all
others: those are not even read where they are many.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from struct import Struct, error
from typing import BinaryIO, NamedTuple, cast

from dicomsql.dicom import charset
from dicomsql.dicom.inflated import Inflated
from dicomsql.dicom.part10 import (
    BINARY,
    BULK_BYTES,
    DEFLATED_LITTLE,
    DEPTH,
    ENCODINGS,
    EXPLICIT,
    IMPLICIT,
    ITEM,
    ITEM_END,
    PIXELS,
    SEQUENCE_END,
    SEQUENCES,
    SHORT_LENGTH,
    UNDEFINED,
    Dataset,
    Encoding,
    InvalidDicom,
    Walk,
    bulk_element,
    codecs_of,
    dictionary_vr,
    known_vr,
    text,
)

__all__ = ["EVERYTHING", "Chosen", "Skimmed", "choose", "skim", "survey"]


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which elements of a data set, and of the file meta information, are wanted.

    Attributes:
        meta: tags of group 0002.
        tags: tags of the data set.
        groups: of which every element is wanted; None for all groups.
    """

    meta: frozenset[int] = frozenset()
    tags: frozenset[int] = frozenset()
    groups: frozenset[int] | None = frozenset()

    def also(self, other: Chosen) -> Chosen:
        """What either of them chooses."""
        every = self.groups is None or other.groups is None
        groups = None if every else frozenset().union(self.groups or (), other.groups or ())
        return Chosen(self.meta | other.meta, self.tags | other.tags, groups)

    def of(self, dataset: Dataset) -> Dataset:
        """The elements of a data set, with its file meta information, that are chosen."""
        wanted = _wanted(self)
        return {
            key: element
            for key, element in dataset.items()
            if (tag := int(key, 16)) in self.meta or (tag >> 16 != _META and tag in wanted)
        }


# The data set as a whole; the file meta information is no part of it (PS3.18 F.2).
EVERYTHING = Chosen(groups=None)


def choose(tags: Iterable[str], groups: Iterable[str] = ()) -> Chosen:
    """Choose elements by tags of eight hexadecimal digits, and groups by four."""
    numbers = {int(tag, 16) for tag in tags}
    meta = frozenset(tag for tag in numbers if tag >> 16 == _META)
    return Chosen(meta, frozenset(numbers - meta), frozenset(int(group, 16) for group in groups))


@dataclass(slots=True)
class Skimmed:
    """What was read of a file.

    Attributes:
        transfer_syntax: its UID.
        dataset: DICOM JSON of what was chosen and found, in which each BulkDataURI begins with
            `part10.BASE`.
        broken: what ended the reading before its end; empty where nothing did. What stands before
            that place is in `dataset` nevertheless.
    """

    transfer_syntax: str
    dataset: Dataset = field(default_factory=dict)
    broken: str = ""


def skim(stream: BinaryIO, size: int | None, chosen: Chosen) -> Skimmed:
    """Read the chosen elements, and as little else as that takes.

    Elements stand in the order of their tags (PS3.5 7.1), so reading ends behind the last that is
    chosen; where one was not found, only at the pixels, in case the file keeps no order.

    Args:
        stream: of bytes, at any place; it can be sought in.
        size: its bytes; None where they are not known.

    Raises:
        InvalidDicom: no preamble, no file meta information or no transfer syntax.
        OSError: what the stream raised.
    """
    return _Skim(stream, size, chosen, _last(chosen)).run()


def survey(stream: BinaryIO, size: int | None, chosen: Chosen) -> Skimmed:
    """Read the chosen elements, and step to the file's end.

    Every element lies within the file where `broken` is empty; zeros behind the last are no fault.

    Args, Raises: as `skim`.
    """
    return _Skim(stream, size, chosen, _NEVER).run()


_META = 0x0002
_META_END = 0x0002FFFF
_TRANSFER_SYNTAX = 0x00020010
_CHARACTER_SET = 0x00080005
_PIXEL_GROUP = 0x7FE00000
# No tag is greater.
_NEVER = 1 << 32
# What the decoding of an element behind it may need: the character set, and whether it is signed.
_CONTEXT = frozenset({_CHARACTER_SET, 0x00280103})

# Bytes that are read at the beginning, further on, and between the fragments of pixel data: most
# headers lie within the first, and hardly anything else is wanted among the last.
_FIRST, _STEP, _LITTLE = 8 * 1024, 64 * 1024, 512
_PIECE = 1024 * 1024

# Tag, VR, and the length where it is a short one; in implicit VR only the tag is read of it.
_HEADS = {True: Struct("<HH2sH"), False: Struct(">HH2sH")}
# The VRs with a length of 32 bits whose value holds no elements.
_FLAT = frozenset(vr.encode() for vr in (*(BINARY - {"UN"}), "UC", "UR", "UT", "SV", "UV"))


@lru_cache(maxsize=16)
def _last(chosen: Chosen) -> int:
    if chosen.groups is None:
        return _NEVER
    return max((*chosen.tags, *(group << 16 | 0xFFFF for group in chosen.groups)), default=0)


class _All:
    """Every element but the group lengths."""

    def __contains__(self, tag: int) -> bool:
        return tag & 0xFFFF != 0


@dataclass(frozen=True, slots=True)
class _TagsAndGroups:
    """Some elements, and all of some groups but the group lengths."""

    tags: frozenset[int]
    groups: frozenset[int]

    def __contains__(self, tag: int) -> bool:
        return tag in self.tags or (tag >> 16 in self.groups and tag & 0xFFFF != 0)


_Wanted = frozenset[int] | _All | _TagsAndGroups


@lru_cache(maxsize=16)
def _wanted(chosen: Chosen, more: frozenset[int] = frozenset()) -> _Wanted:
    if chosen.groups is None:
        return _All()
    tags = chosen.tags | more
    return _TagsAndGroups(tags, chosen.groups) if chosen.groups else tags


class _Element(NamedTuple):
    """Where an element stands.

    Attributes:
        vr: its own, or the dictionary's.
        inner: the encoding of what its value holds.
        position, start: of its header and of its value.
        length: as written.
    """

    tag: int
    vr: str
    inner: Encoding
    position: int
    start: int
    length: int


class _Skim:
    """One file on its way: the bytes that are held, and what was found.

    Places are counted from the stream's beginning; the bytes that are held begin at `_base`.
    """

    def __init__(self, stream: BinaryIO, size: int | None, chosen: Chosen, end: int) -> None:
        self._stream = stream
        self._size = size
        self._chosen = chosen
        self._end = end
        self._to_end = end == _NEVER
        self._found: Dataset = {}
        stream.seek(0)
        self._base, self._buffer = 0, _read(stream, _FIRST)

    def run(self) -> Skimmed:
        """Read the file meta information, and the data set as far as it is wanted."""
        if self._buffer[128:132] != b"DICM":
            raise InvalidDicom("no DICM prefix after 128 bytes: not a DICOM file")
        wanted = self._chosen.meta | {_TRANSFER_SYNTAX}
        start = self._elements(132, EXPLICIT, wanted, _META_END, frozenset())
        meta, self._found = self._found, {}
        syntax = text(meta, f"{_TRANSFER_SYNTAX:08X}")
        if not syntax:
            raise InvalidDicom("the file meta information has no TransferSyntaxUID")
        broken = ""
        try:
            self._dataset(start, syntax)
        except InvalidDicom as damage:
            broken = str(damage)
        return Skimmed(syntax, self._chosen.of(meta | self._found), broken)

    def _dataset(self, start: int, syntax: str) -> None:
        encoding, wanted = ENCODINGS.get(syntax, EXPLICIT), _wanted(self._chosen, _CONTEXT)
        if syntax == DEFLATED_LITTLE:
            self._stream = cast(BinaryIO, Inflated(self._stream, start))
            self._size, self._base, self._buffer, start = None, 0, b"", 0
        try:
            after = self._elements(start, encoding, wanted, self._end, self._chosen.tags)
        except zlib.error:
            raise InvalidDicom("the deflated data set is damaged") from None
        except EOFError:
            raise InvalidDicom("the deflated data set is not complete") from None
        if self._to_end and after == start:
            raise InvalidDicom("the file has no data set")

    def _elements(
        self,
        position: int,
        encoding: Encoding,
        wanted: _Wanted,
        end: int,
        missing: frozenset[int],
    ) -> int:
        """Decode the wanted elements from `position` on; the place behind the last one.

        Args:
            end: a tag; behind it this stops as soon as nothing is missing, or pixels begin.
        """
        explicit = encoding.explicit
        short = SHORT_LENGTH if explicit else frozenset()
        head_at, long_at = _HEADS[encoding.little].unpack_from, encoding.long.unpack_from
        codecs = charset.DEFAULT
        buffer, base = self._buffer, self._base
        walk = Walk(buffer, encoding, {})
        at, held, last = position - base, len(buffer), 0
        while True:
            try:
                group, number, letters, length = head_at(buffer, at)
                tag = group << 16 | number
                if tag > end and (not missing or tag >= _PIXEL_GROUP):
                    return base + at
                start = at + 8
                if letters in short:
                    after = start + length
                    # Most elements are of this kind, so they take the shortest way.
                    if tag not in wanted and after <= held:
                        at, last = after, tag
                        continue
                elif not tag and self._is_padding(base + at):
                    return base + at
                elif explicit:
                    start = at + 12
                    (length,) = long_at(buffer, at + 8)
                else:
                    (length,) = long_at(buffer, at + 4)
            except error:
                position = base + at
                if not self._refill(position, last):
                    return position
                buffer, base, held, at = self._buffer, self._base, len(self._buffer), 0
                walk = Walk(buffer, encoding, {})
                continue
            last = tag
            after = start + length
            # What nests may have to be stepped through, and what is not held be read.
            if explicit:
                plain = letters in short or (letters in _FLAT and length != UNDEFINED)
            else:
                plain = length != UNDEFINED and not (self._to_end and self._nests(tag))
            if plain and after <= held:
                at, before = after, at
                if tag not in wanted:
                    continue
                walk.element(self._found, before, after, tag, codecs=codecs)
            else:
                vr, inner = self._meaning(tag, letters, encoding)
                element = _Element(tag, vr, inner, base + at, base + start, length)
                position = self._past(element, encoding)
                if tag in wanted:
                    self._decode(element, position, encoding, codecs)
                if self._base != base:
                    buffer, base, held = self._buffer, self._base, len(self._buffer)
                    walk = Walk(buffer, encoding, {})
                at = position - base
            if tag == _CHARACTER_SET:
                codecs = codecs_of(self._found)
            elif tag in missing:
                missing -= {tag}

    def _nests(self, tag: int) -> bool:
        return dictionary_vr(tag, self._found) in SEQUENCES

    def _meaning(self, tag: int, letters: bytes, encoding: Encoding) -> tuple[str, Encoding]:
        """The VR of an element, and the encoding of what its value holds."""
        if not encoding.explicit:
            return dictionary_vr(tag, self._found), encoding
        if not (letters.isalpha() and letters.isupper()):
            raise InvalidDicom(f"element {tag:08X} has no VR")
        vr = known_vr(letters)
        # As `Walk.element` takes a value of unknown VR (PS3.5 6.2.2).
        return (dictionary_vr(tag, self._found), IMPLICIT) if vr == "UN" else (vr, encoding)

    def _decode(
        self, element: _Element, after: int, encoding: Encoding, codecs: tuple[str, ...]
    ) -> None:
        """Decode an element that is large, or not held; `after` is the place behind it."""
        key = f"{element.tag:08X}"
        if element.vr in BINARY:
            large = element.length > BULK_BYTES or key in PIXELS
            if large and element.length and (element.length != UNDEFINED or element.vr != "UN"):
                self._found[key] = bulk_element(element.vr, key)
                return
        size = after - element.position
        at = element.position - self._base
        raw = self._buffer[at : at + size] if at >= 0 else b""
        if len(raw) < size:
            self._stream.seek(element.position)
            raw = _read(self._stream, size)
        Walk(raw, encoding, {}).element(self._found, 0, len(raw), element.tag, codecs=codecs)

    def _past(self, element: _Element, encoding: Encoding, depth: int = 0) -> int:
        """The place behind an element, of which what nests is stepped through if need be."""
        if element.length == UNDEFINED:
            if element.vr in SEQUENCES:
                return self._past_items(element.start, None, element.inner, depth)
            return self._past_fragments(element.start, encoding)
        after = element.start + element.length
        if self._size is not None and after > self._size:
            raise InvalidDicom(_longer(element.tag))
        if element.vr == "SQ" and self._to_end:
            self._past_items(element.start, after, element.inner, depth)
        return after

    def _past_items(self, position: int, stop: int | None, encoding: Encoding, depth: int) -> int:
        """The place behind the items that end at `stop`, or at the sequence's delimiter if None."""
        while stop is None or position < stop:
            tag, length = self._item(position, encoding, "a sequence", _STEP)
            position += 8
            if tag == SEQUENCE_END:
                return position
            if tag != ITEM:
                raise InvalidDicom(f"found {tag:08X} where a sequence's item should begin")
            end = None if length == UNDEFINED else position + length
            if end is not None and (end > stop if stop is not None else self._is_behind(end)):
                raise InvalidDicom("a sequence's item is longer than what is left of the file")
            if end is None or self._to_end:
                position = self._past_nested(position, end, encoding, depth + 1)
            else:
                position = end
        return position

    def _past_nested(self, position: int, stop: int | None, encoding: Encoding, depth: int) -> int:
        """The place behind the elements of an item."""
        if depth > DEPTH:
            raise InvalidDicom(f"sequences are nested more than {DEPTH} levels deep")
        while stop is None or position < stop:
            at = self._held(position, 8, "a sequence's item", _STEP)
            group, number, letters, length = _HEADS[encoding.little].unpack_from(self._buffer, at)
            tag, start = group << 16 | number, position + 8
            if tag == ITEM_END:
                return start
            if not encoding.explicit:
                (length,) = encoding.long.unpack_from(self._buffer, at + 4)
            elif letters not in SHORT_LENGTH:
                start += 4
                at = self._held(position, 12, "a sequence's item", _STEP)
                (length,) = encoding.long.unpack_from(self._buffer, at + 8)
            vr, inner = self._meaning(tag, letters, encoding)
            element = _Element(tag, vr, inner, position, start, length)
            position = self._past(element, encoding, depth)
            if stop is not None and position > stop:
                raise InvalidDicom(_longer(tag))
        return position

    def _past_fragments(self, position: int, encoding: Encoding) -> int:
        """The place behind encapsulated pixel data (PS3.5 A.4)."""
        while True:
            tag, length = self._item(position, encoding, "the encapsulated pixel data", _LITTLE)
            position += 8
            if tag == SEQUENCE_END:
                return position
            if tag != ITEM or length == UNDEFINED:
                raise InvalidDicom("the encapsulated pixel data is not complete")
            position += length

    def _item(self, position: int, encoding: Encoding, what: str, ahead: int) -> tuple[int, int]:
        """The tag and length of an item or delimiter; `what` is told where the file ends here."""
        at = self._held(position, 8, what, ahead)
        group, number = encoding.tag.unpack_from(self._buffer, at)
        (length,) = encoding.long.unpack_from(self._buffer, at + 4)
        return group << 16 | number, length

    def _held(self, position: int, size: int, what: str, ahead: int) -> int:
        """Where in the buffer a place is, once at least `size` bytes from there on are held."""
        at = position - self._base
        if at + size <= len(self._buffer):
            return at
        self._load(position, ahead)
        if len(self._buffer) < size:
            raise InvalidDicom(f"the file ends within {what}")
        return 0

    def _refill(self, position: int, last: int) -> bool:
        """Hold the bytes from there on; False where the file ends there, as it should."""
        if self._is_behind(position):
            raise InvalidDicom(_longer(last))
        again = position == self._base and self._buffer
        self._load(position, _STEP)
        if not self._buffer and self._stream.tell() < position:
            raise InvalidDicom(_longer(last))
        if again and self._buffer:
            raise InvalidDicom("the file ends within an element's header")
        return bool(self._buffer)

    def _load(self, position: int, size: int) -> None:
        self._stream.seek(position)
        self._base, self._buffer = position, _read(self._stream, size)

    def _is_behind(self, position: int) -> bool:
        """Whether a place is known to be behind the file's end."""
        return self._size is not None and position > self._size

    def _is_padding(self, position: int) -> bool:
        """Whether there is nothing but zeros from there on."""
        self._stream.seek(position)
        while piece := _read(self._stream, _PIECE):
            if piece.count(0) < len(piece):
                return False
        return True


def _longer(tag: int) -> str:
    return f"element {tag:08X} is longer than what is left of the file"


def _read(stream: BinaryIO, size: int) -> bytes:
    """That many bytes, or all up to the end.

    Piece by piece, so that a length that is only written, and not there, takes no memory.
    """
    found = stream.read(min(size, _PIECE))
    if len(found) == size or not found:
        return found
    pieces = [found]
    left = size - len(found)
    while left and (piece := stream.read(min(left, _PIECE))):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)
