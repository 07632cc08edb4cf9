"""Small DICOM files, made without a library."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
_LONG = {"OB", "OW", "SQ", "UN", "UT"}


def element(tag: int, vr: str, value: bytes, length: int | None = None) -> bytes:
    value += b"\0" * (len(value) % 2)
    size = len(value) if length is None else length
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr.encode()
    if vr in _LONG:
        return head + struct.pack("<HI", 0, size) + value
    return head + struct.pack("<H", size) + value


@pytest.fixture(scope="session")
def make() -> Callable[..., bytes]:
    """Makes a file of an instance; UIDs that are empty are left out."""

    def made(
        instance: str = "1.2.3",
        series: str = "1.2",
        study: str = "1",
        *more: bytes,
        sop_class: str = "1.2.840.10008.5.1.4.1.1.7",
    ) -> bytes:
        found = {
            0x00080016: sop_class,
            0x00080018: instance,
            0x0020000D: study,
            0x0020000E: series,
        }
        uids = (element(tag, "UI", uid.encode()) for tag, uid in found.items() if uid)
        meta = element(0x00020002, "UI", sop_class.encode())
        meta += element(0x00020010, "UI", EXPLICIT_LITTLE.encode())
        return bytes(128) + b"DICM" + meta + b"".join((*uids, *more))

    return made
