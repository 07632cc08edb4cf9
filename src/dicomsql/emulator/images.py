"""Frames of stored images, one at a time: as they are stored, uncompressed, or as an array.

pydicom, numpy and their codecs are imported here and in the modules that build on this one, and
only when called. Of a file only its image attributes and the frame that is asked for are read.
Values that break their VR's rules make pydicom warn and print them; its checks are off while it
works here.
"""

from __future__ import annotations

import contextlib
import math
import struct
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from dicomsql.dicom import part10
from dicomsql.emulator import reading

if TYPE_CHECKING:
    import numpy as np
    from pydicom import Dataset

    Pixels = np.ndarray[Any, np.dtype[Any]]

__all__ = ["NATIVE", "CannotDecode", "Image", "NoSuchFrame", "decodable", "opened", "quiet"]

NATIVE = frozenset(
    {
        part10.IMPLICIT_LITTLE,
        part10.EXPLICIT_LITTLE,
        part10.EXPLICIT_BIG,
        part10.DEFLATED_LITTLE,
    }
)
# bytes of one frame once it is decoded
LARGEST_FRAME = 512 * 1024 * 1024
# bytes of a sequence of functional groups that is read for what it says of one frame
_LARGEST_GROUPS = 64 * 1024 * 1024

# what damaged or unusual pixel data makes the libraries raise
_FAILURES = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)


class CannotDecode(Exception):
    """The pixels cannot be had in the form that is asked for."""


class NoSuchFrame(Exception):
    """The instance has fewer frames."""


@lru_cache
def decodable(syntax: str) -> bool:
    """Whether what is stored in a transfer syntax can be decoded with the codecs that are here."""
    if syntax in NATIVE:
        return True
    with quiet():
        from pydicom.pixels.decoders.base import get_decoder

        try:
            return bool(get_decoder(syntax).is_available)
        except NotImplementedError:
            return False


@dataclass(frozen=True, slots=True)
class Image:
    """An open image; `header` has all its attributes about pixels, and no pixels.

    All its methods count frames from 1, and raise CannotDecode and NoSuchFrame.
    """

    header: Dataset
    syntax: str
    frames: int
    _data: BinaryIO
    _place: part10.Bulk
    _pixel_keyword: str

    def stored(self, number: int) -> bytes:
        """The bytes of a frame as they are stored; native ones in little endian."""
        self.check(number)
        return self._encapsulated(number) if self._place.length is None else self.raw(number)

    def raw(self, number: int) -> bytes:
        """The uncompressed, little-endian bytes of a frame, its samples as they are arranged."""
        from pydicom.pixels.decoders.base import get_decoder

        self.check(number, decoded=True)
        if self.syntax == part10.EXPLICIT_BIG:
            array = self.array(number, raw=True)
            if self.header.get("PlanarConfiguration") == 1 and array.ndim == 3:
                array = array.transpose(2, 0, 1)
            return array.astype(array.dtype.newbyteorder("<")).tobytes()
        self._data.seek(self._place.offset)
        content, _ = get_decoder(self.syntax).as_buffer(
            self._data, index=number - 1, raw=True, **self._options()
        )
        return bytes(content)

    def array(self, number: int, *, raw: bool = False) -> Pixels:
        """A frame as rows, columns and, if there is more than one, samples.

        Args:
            raw: leave YBR as it is, where otherwise it becomes RGB.
        """
        from pydicom.pixels.decoders.base import get_decoder

        self.check(number, decoded=True)
        self._data.seek(self._place.offset)
        array, _ = get_decoder(self.syntax).as_array(
            self._data, index=number - 1, raw=raw, **self._options()
        )
        return array

    def check(self, number: int, *, decoded: bool = False) -> None:
        """Refuse a frame that is not there; and for decoding, one that a decoder must not see."""
        if not 1 <= number <= self.frames:
            raise NoSuchFrame(f"the instance has {self.frames} frames")
        if decoded and not decodable(self.syntax):
            raise CannotDecode(f"no codec for the transfer syntax {self.syntax} is installed")
        header = self.header
        values = [header.get(k) for k in ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated")]
        rows, columns, samples, bits = (int(value or 1) for value in values)
        if rows * columns * samples * math.ceil(bits / 8) > LARGEST_FRAME:
            raise CannotDecode(f"a frame is larger than {LARGEST_FRAME} bytes")
        if self._place.length is not None:
            from pydicom.pixels.utils import get_expected_length

            if self._place.length < get_expected_length(header):
                raise CannotDecode("the pixel data cannot be decoded: they are too short")
        if decoded and self._place.length is None:
            size = encoded_size(self._encapsulated(number))
            if size not in {None, (rows, columns)}:
                raise CannotDecode("the encoded frame has another size than the data set says")

    def _encapsulated(self, number: int) -> bytes:
        from pydicom.encaps import get_frame

        self._data.seek(self._place.offset)
        return get_frame(
            self._data,
            number - 1,
            number_of_frames=self.frames,
            extended_offsets=self._extended_offsets(),
        )

    def _extended_offsets(self) -> tuple[bytes, bytes] | None:
        found = [self.header.get(k) for k in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")]
        return (found[0], found[1]) if found[0] and found[1] else None

    def _options(self) -> dict[str, Any]:
        from pydicom.pixels.utils import as_pixel_options

        options = as_pixel_options(self.header, pixel_keyword=self._pixel_keyword)
        options["transfer_syntax_uid"] = self.header.file_meta.TransferSyntaxUID
        options["pixel_vr"] = self._place.vr
        return options


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Image]:
    """A stored file's image.

    Raises:
        CannotDecode: it has none, or one that is damaged.
    """
    with quiet(), reading.opened(path, path.parent) as file:
        from pydicom.dataset import FileMetaDataset
        from pydicom.filereader import read_dataset
        from pydicom.uid import UID

        bulk = file.instance.bulk
        keyword = next((keyword for tag, keyword in _PIXELS.items() if tag in bulk), None)
        if keyword is None:
            raise CannotDecode("the instance has no pixel data")
        place = bulk[next(tag for tag in _PIXELS if tag in bulk)]
        syntax = UID(file.instance.transfer_syntax)
        tags = set(_IMAGE_TAGS)
        for tag in _GROUPS:
            known = bulk.get(tag)
            if known is None or (known.length or 0) <= _LARGEST_GROUPS:
                tags.add(int(tag, 16))
        file.data.seek(file.start)
        header = read_dataset(
            file.data,
            syntax.is_implicit_VR,
            syntax.is_little_endian,
            stop_when=lambda tag, _vr, _length: tag >= 0x7FE00008,
            specific_tags=sorted(tags),
        )
        header.file_meta = FileMetaDataset()
        header.file_meta.TransferSyntaxUID = syntax
        frames = int(header.get("NumberOfFrames") or 1)
        yield Image(header, str(syntax), frames, file.data, place, keyword)


_LOCK = threading.RLock()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """pydicom at work, silently; in one thread at a time, since its settings are global.

    Raises:
        CannotDecode: in the place of what the libraries raise.
    """
    try:
        import pydicom
    except ImportError:
        raise CannotDecode("pydicom is not installed: pip install 'dicomsql[emulator]'") from None
    settings = pydicom.config.settings
    with _LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = settings.reading_validation_mode, settings.writing_validation_mode
        settings.reading_validation_mode = settings.writing_validation_mode = pydicom.config.IGNORE
        try:
            yield
        except FileNotFoundError:
            raise
        except _FAILURES as error:
            raise CannotDecode(
                f"the pixel data cannot be decoded ({type(error).__name__})"
            ) from error
        finally:
            settings.reading_validation_mode, settings.writing_validation_mode = before


def encoded_size(frame: bytes) -> tuple[int, int] | None:
    """The rows and columns that a frame's own JPEG, JPEG-LS or JPEG 2000 header says.

    A decoder makes room for what this says, so it is looked at before one is asked. None where the
    frame is in another format, or damaged.
    """
    if frame[:4] == b"\xff\x4f\xff\x51" and len(frame) >= 24:
        width, height, left, top = struct.unpack_from(">IIII", frame, 8)
        return height - top, width - left
    if frame[:2] != b"\xff\xd8":
        return None
    position = 2
    while position + 9 <= len(frame) and frame[position] == 0xFF:
        marker = frame[position + 1]
        if marker == 0xFF:
            position += 1
        elif marker in _START_OF_FRAME:
            rows, columns = struct.unpack_from(">HH", frame, position + 5)
            return (rows, columns) if rows else None
        else:
            position += 2 + int(struct.unpack_from(">H", frame, position + 2)[0])
    return None


# ITU-T T.81 table B.1, and T.87's for JPEG-LS
_START_OF_FRAME = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})

_PIXELS = {
    "7FE00010": "PixelData",
    "7FE00008": "FloatPixelData",
    "7FE00009": "DoubleFloatPixelData",
}
_GROUPS = ("52009229", "52009230")
# image pixel, LUTs and windows (PS3.3 C.7.6.3, C.11.1, C.11.2, C.11.6), and offsets of frames
_IMAGE_TAGS = frozenset(
    {
        *range(0x00280002, 0x0028000B),
        *range(0x00280010, 0x00280013),
        *range(0x00280100, 0x00280108),
        *(0x00281050, 0x00281051, 0x00281052, 0x00281053, 0x00281054, 0x00281056),
        *(0x00281101, 0x00281102, 0x00281103, 0x00281201, 0x00281202, 0x00281203),
        *(0x00281221, 0x00281222, 0x00281223, 0x00283000, 0x00283010),
        *(0x20500020, 0x7FE00001, 0x7FE00002),
    }
)
