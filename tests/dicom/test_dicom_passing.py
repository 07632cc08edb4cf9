"""Files that pass by: each that is whole is found so, and none that is cut off or goes on."""

from __future__ import annotations

import random
import struct
import zlib
from pathlib import Path

import pydicom
import pytest

from dicomsql.dicom.inflated import Inflated
from dicomsql.dicom.passing import Passing

FILES = Path(pydicom.__file__).parent / "data" / "test_files"
NAMES = ("CT_small.dcm", "MR_small_bigendian.dcm", "JPEG2000.dcm", "image_dfl.dcm", "rtplan.dcm")
SMALL = (FILES / "CT_small.dcm").read_bytes()
HEAD = SMALL[: SMALL.index(struct.pack("<HH2s", 0x7FE0, 0x10, b"OW"))]
FRAGMENT = struct.pack("<HHI", 0xFFFE, 0xE000, 300_000) + bytes(300_000)
# As they are, and in fragments: both too large to be held.
LARGE = HEAD + struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OW", 0, 5_000_000) + bytes(5_000_000)
FRAGMENTS = (
    HEAD
    + struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OB", 0, 0xFFFFFFFF)
    + struct.pack("<HHI", 0xFFFE, 0xE000, 0)
    + 20 * FRAGMENT
    + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
)


def broken(content: bytes, size: int) -> str:
    with Passing() as passing:
        for at in range(0, len(content), size):
            passing.feed(content[at : at + size])
        return passing.end()


@pytest.mark.parametrize("name", NAMES)
def test_real_files_are_whole_and_their_beginnings_are_not(name: str) -> None:
    content = (FILES / name).read_bytes()
    assert broken(content, 1000) == ""
    assert broken(content[: len(content) * 2 // 3], 1000)


@pytest.mark.parametrize("content", [LARGE, FRAGMENTS], ids=["one value", "fragments"])
@pytest.mark.parametrize("size", [4_099, 262_144, 10**9])
def test_large_ones_are_followed_however_they_come(content: bytes, size: int) -> None:
    assert broken(content, size) == ""
    assert broken(content + bytes(300_000), size) == ""
    for cut in (len(HEAD) + 9, len(content) // 2, len(content) - 1):
        assert broken(content[:cut], size)
    assert broken(content + b"<html>an error</html>", size)


def test_large_deflated_ones_are_followed() -> None:
    start = SMALL.index(b"\x08\x00\x05\x00CS")
    meta = SMALL[:start].replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99")
    length = struct.unpack_from("<I", meta, 140)[0] + 2
    at = meta.index(b"1.2.840.10008.1.2.1.99") - 2
    meta = meta[:140] + struct.pack("<I", length) + meta[144:at] + b"\x16\0" + meta[at + 2 :]
    pixels = random.Random(1).randbytes(3_000_000)
    data = HEAD[start:] + struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OW", 0, len(pixels)) + pixels
    packer = zlib.compressobj(wbits=-15)
    content = meta + packer.compress(data) + packer.flush()
    assert broken(content, 65_536) == ""
    assert "deflated" in broken(content[:-20_000], 65_536)


def test_what_is_no_dicom_file_is_left_to_others() -> None:
    assert broken(b"<html></html>", 5) == ""
    assert broken(bytes(3_000_000), 65_536) == ""


def test_one_that_is_left_midway_leaves_no_thread() -> None:
    with Passing() as passing:
        passing.feed(LARGE[:2_000_000])
        thread = passing._thread
    assert thread is not None
    assert not thread.is_alive()


def test_a_little_way_back_is_not_inflated_again(tmp_path: Path) -> None:
    content = random.Random(2).randbytes(400_000)
    packer = zlib.compressobj(wbits=-15)
    path = tmp_path / "x"
    path.write_bytes(packer.compress(content) + packer.flush())
    with path.open("rb") as packed:
        stream = Inflated(packed, 0)
        for place in (0, 300_000, 250_000, 299_000, 399_990, 10, 131_000):
            assert stream.seek(place) == place
            assert stream.read(5) == content[place : place + 5]
        stream.seek(300_000)
        stream.read(1)
        before = packed.tell()
        stream.seek(200_000)
        assert stream.read(3) == content[200_000:200_003]
        assert packed.tell() == before
