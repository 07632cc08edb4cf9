"""Instances as they arrive: which they are, from their first bytes, however they are cut."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from storing_bench import dicom

from dicomsql.copying.arriving import UnreadableError, arrive

FILES = Path(pydicom.__file__).parent / "data" / "test_files"
NAMES = (
    "CT_small.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_implicit.dcm",
    "JPEG2000.dcm",
    "image_dfl.dcm",
    "liver_1frame.dcm",
    "rtplan.dcm",
)


def pieces(content: bytes, size: int) -> Iterator[bytes]:
    return (content[at : at + size] for at in range(0, len(content), size))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [17, 1000, 10**9])
def test_real_files_are_known_by_their_own_header(name: str, size: int) -> None:
    content = (FILES / name).read_bytes()
    known = pydicom.dcmread(FILES / name, stop_before_pixels=True)
    arrival = arrive(pieces(content, size))
    assert (arrival.study, arrival.series, arrival.instance, arrival.transfer_syntax) == (
        known.StudyInstanceUID,
        known.SeriesInstanceUID,
        known.SOPInstanceUID,
        known.file_meta.TransferSyntaxUID,
    )
    assert b"".join(arrival.pieces) == content


@pytest.mark.parametrize("name", ["CT_small.dcm", "image_dfl.dcm", "rtplan.dcm"])
def test_a_beginning_never_makes_another_identity(name: str) -> None:
    content = (FILES / name).read_bytes()
    whole = arrive([content])
    for size in [*range(0, 2500, 7), len(content) // 2]:
        try:
            found = arrive([content[:size]])
        except UnreadableError:
            continue
        assert (found.study, found.series, found.instance) == (
            whole.study,
            whole.series,
            whole.instance,
        )


def test_uids_far_back_are_found_and_too_far_back_are_not() -> None:
    content = dicom("1", "1.1", "1.1.1")
    at = content.index(b"\x10\x00\x20\x00LO")

    def padded(size: int) -> bytes:
        private = b"\x09\x00\x10\x10OB\0\0" + size.to_bytes(4, "little") + bytes(size)
        return content[:at] + private + content[at:]

    assert arrive(pieces(padded(3_000_000), 65_536)).series == "1.1"
    with pytest.raises(UnreadableError, match="which instance"):
        arrive(pieces(padded(12_000_000), 65_536))


@given(st.binary(max_size=600), st.booleans())
def test_anything_else_is_unreadable(content: bytes, prefixed: bool) -> None:
    with pytest.raises(UnreadableError):
        arrive([bytes(128) + b"DICM" + content if prefixed else content])


@given(st.data())
def test_damage_is_unreadable_or_harmless(data: st.DataObject) -> None:
    content = bytearray(dicom("1", "1.1", "1.1.1", padding=200))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(132, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        arrival = arrive([bytes(content)])
    except UnreadableError:
        return
    assert b"".join(arrival.pieces) == content


def test_a_deflated_bomb_is_not_inflated() -> None:
    meta = dicom("1", "1.1", "1.1.1")
    syntax = b"1.2.840.10008.1.2.1.99"
    plain = b"\x02\x00\x10\x00UI\x14\x00" + b"1.2.840.10008.1.2.1\0"
    deflated = b"\x02\x00\x10\x00UI\x16\x00" + syntax
    start = meta.index(plain)
    group = meta[: 132 + 8] + (int.from_bytes(meta[140:144], "little") + 2).to_bytes(4, "little")
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    size = 1 << 30
    head = b"\x09\x00\x10\x10OB\0\0" + size.to_bytes(4, "little")
    packed = packer.compress(head)
    for _ in range(20):
        packed += packer.compress(bytes(1 << 20))
    packed += packer.flush()
    with pytest.raises(UnreadableError):
        arrive(pieces(group + meta[144:start] + deflated + packed, 4096))
