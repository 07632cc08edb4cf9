"""Pixel data with nothing but pixels in it: tails are cut, unused bits cleared, frames tidied.

Behind the last pixel, in the bits that an image does not use, and in the comments of a code stream
there is room for a name, where no viewer shows it and no rule about attributes finds it.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dicomsql.emulator import images
from dicomsql.emulator.deidentify import streams
from dicomsql.emulator.jobs import UnitError

if TYPE_CHECKING:
    import numpy as np
    from pydicom import Dataset, FileDataset
    from pydicom.dataelem import DataElement

    Pixels = np.ndarray[Any, np.dtype[Any]]

__all__ = ["LARGEST", "cut_tails", "tidy"]

LARGEST = 1024**3  # bytes of pixels that are held at once
_PIXELS = 0x7FE00010
# the bits of a pixel, where its element says how many they are
_BITS = {0x7FE00008: 32, 0x7FE00009: 64, _PIXELS: 0}
_OFFSETS = (0x7FE00001, 0x7FE00002)


def cut_tails(dataset: Dataset) -> None:
    """Take off what stands behind the pixels, where the data set says how many they are; in icons
    too.
    """
    for item in _images(dataset):
        for tag, bits in _BITS.items():
            if tag in item and not item[tag].is_undefined_length:
                length = _length(item, bits)
                if length is not None:
                    _cut(item[tag], length)


def tidy(dataset: FileDataset, path: Path) -> None:
    """Leave nothing in pixel data that is not the image's: as `cut_tails`, and no unused bits
    (old equipment put overlays there, PS3.3 C.9.2), nor anything in compressed frames that a
    decoder does not need. Where an image uses fewer bits than its compressed frames have, and the
    others are not empty, it is stored uncompressed.

    Args:
        path: the file that it was read from.

    Raises:
        UnitError: it cannot be told what is the image's.
    """
    for item in _images(dataset):
        top = item is dataset
        compressed = _PIXELS in item and item[_PIXELS].is_undefined_length
        if compressed != (top and dataset.file_meta.TransferSyntaxUID not in images.NATIVE):
            if _PIXELS in item and top:
                raise UnitError("the pixel data has another form than the transfer syntax says")
            if compressed:  # an icon
                del item[_PIXELS]
                continue
        if compressed:
            _tidy_frames(item, str(dataset.file_meta.TransferSyntaxUID))
            if not _has_unused_bits(item, path):
                continue
            item.decompress(generate_instance_uid=False)
        _tidy_native(item, little=dataset.file_meta.TransferSyntaxUID.is_little_endian, top=top)


def _images(dataset: Dataset) -> list[Any]:
    """The data set and the items in it that have pixels."""
    from dicomsql.emulator.deidentify.tags import vr_of

    found = []
    left = [dataset]
    while left:
        item = left.pop()
        if any(tag in item for tag in (*_BITS, *_OFFSETS)):
            found.append(item)
        for tag in list(item.keys()):
            vr = item.get_item(tag).VR or vr_of(int(tag))
            if vr in {"SQ", "UN", ""} and item[tag].VR == "SQ":
                left += item[tag].value or ()
    return found


def _length(dataset: Dataset, bits: int) -> int | None:
    """The bytes of all frames; None where the data set does not say (PS3.3 C.7.6.3)."""
    try:
        rows, columns = int(dataset.Rows), int(dataset.Columns)
        samples = 1 if bits else int(dataset.SamplesPerPixel)
        frames = int(dataset.get("NumberOfFrames") or 1)
        pixels = rows * columns * samples * frames
        found = math.ceil(pixels * (bits or int(dataset.BitsAllocated)) / 8)
    except (AttributeError, TypeError, ValueError):
        return None
    if not bits and dataset.get("PhotometricInterpretation") == "YBR_FULL_422":
        found = found // 3 * 2
    return found if found > 0 else None


def _cut(element: DataElement, length: int) -> None:
    value = element.value or b""
    if len(value) > length:
        element.value = value[:length] + b"\0" * (length % 2)


def _tidy_native(item: Dataset, *, little: bool, top: bool) -> None:
    for tag, bits in _BITS.items():
        if tag not in item:
            continue
        length = _length(item, bits)
        if length is None and top:
            raise UnitError(
                "the instance has pixel data and does not say how many pixels there are"
            )
        if length is None:
            del item[tag]
            continue
        _cut(item[tag], length)
        if not bits:
            _clear_unused_bits(item, little)
    _remove_offsets(item)


def _clear_unused_bits(item: Dataset, little: bool) -> None:
    width = int(item.BitsAllocated) // 8
    pixels = _only_used(item, item.PixelData or b"", "<" if little else ">")
    if pixels is not None:
        # bytes that make no whole pixel are none
        item.PixelData = pixels.tobytes() + b"\0" * (pixels.size * width % 2)


def _only_used(item: Dataset, content: bytes, order: str) -> Pixels | None:
    """Pixels with all bits cleared that are not the image's, of signed ones made the sign; None
    where it has all bits.
    """
    import numpy as np

    allocated = int(item.BitsAllocated)
    stored = int(item.get("BitsStored") or allocated)
    high = item.get("HighBit")
    high = stored - 1 if high is None else int(high)
    if stored == allocated or item.get("PhotometricInterpretation") == "YBR_FULL_422":
        return None
    if allocated not in (8, 16, 32, 64) or not 0 < stored <= high + 1 <= allocated:
        raise UnitError("the image has unused bits in its pixels that cannot be cleared")
    signed = "i" if int(item.get("PixelRepresentation") or 0) else "u"
    width = allocated // 8
    pixels = np.frombuffer(
        content[: len(content) // width * width], dtype=f"{order}{signed}{width}"
    )
    if high + 1 == stored:  # up and down again, which keeps the sign
        spare = allocated - stored
        return ((pixels << spare) >> spare).astype(pixels.dtype)
    mask = ((1 << stored) - 1) << (high + 1 - stored)
    unsigned = pixels.view(f"{order}u{width}")
    return np.asarray(unsigned & unsigned.dtype.type(mask), dtype=unsigned.dtype)


def _tidy_frames(item: Dataset, syntax: str) -> None:
    from pydicom.encaps import encapsulate, generate_frames

    count = int(item.get("NumberOfFrames") or 1)
    pixels = int(item.Rows) * int(item.Columns)
    if int(item.BitsAllocated) == 1:
        pixels = math.ceil(pixels / 8)
    tables = [item.get(tag) for tag in _OFFSETS]
    offsets = [table.value for table in tables if table is not None and table.value]
    try:
        found = generate_frames(
            item.PixelData,
            number_of_frames=count,
            extended_offsets=(offsets[0], offsets[1]) if len(offsets) == 2 else None,
        )
        frames = [streams.cleaned(frame, syntax, pixels) for frame in found]
    except streams.UnknownForm:
        raise UnitError(
            "the compressed pixel data has parts of which cannot be told that they are the image;"
            " decompress the instance first"
        ) from None
    if len(frames) != count:
        raise UnitError("the compressed pixel data has another number of frames than it says")
    _remove_offsets(item)
    item[_PIXELS].value = encapsulate(frames)


def _remove_offsets(item: Dataset) -> None:
    """The offsets of frames are in the pixel data itself once they are written anew."""
    for tag in _OFFSETS:
        if tag in item:
            del item[tag]


def _has_unused_bits(item: Dataset, path: Path) -> bool:
    """Whether there is anything in the bits of compressed frames that the image does not use.

    Raises:
        UnitError: that cannot be seen, or is too large to be taken out.
    """
    from pydicom.encaps import generate_frames

    syntax = str(item.file_meta.TransferSyntaxUID)
    allocated = int(item.BitsAllocated)
    stored = int(item.get("BitsStored") or allocated)
    count = int(item.get("NumberOfFrames") or 1)
    found = generate_frames(item.PixelData, number_of_frames=count)
    depth = max(streams.precision(frame, syntax) or allocated for frame in found)
    if depth <= stored:
        return False
    if not images.decodable(syntax) or (_length(item, 0) or 0) > LARGEST:
        raise UnitError(
            "the compressed pixel data has bits that the image does not use, and cannot be decoded"
            " to clear them"
        )
    with images.opened(path) as image:
        for number in range(1, count + 1):
            frame = image.raw(number)
            used = _only_used(item, frame, "<")
            if used is not None and used.tobytes() != frame:
                return True
    return False
