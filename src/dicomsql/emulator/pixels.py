"""What needs pixels: transcoding, frames and rendered images, by pydicom, numpy and Pillow.

They are imported here only, and only when called. Values of data sets that break their VR's rules
make pydicom warn and print them; its checks are off while it works for the emulator.
"""

from __future__ import annotations

import contextlib
import io
import struct
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dicomsql.dicom import part10

if TYPE_CHECKING:
    import numpy as np
    from pydicom import Dataset, FileDataset

    Pixels = np.ndarray[Any, np.dtype[Any]]

NATIVE = frozenset(
    {
        part10.IMPLICIT_LITTLE,
        part10.EXPLICIT_LITTLE,
        part10.EXPLICIT_BIG,
        part10.DEFLATED_LITTLE,
    }
)
# What numpy and Pillow decode: JPEG baseline and extended (8 bits), JPEG 2000, RLE. JPEG-LS, JPEG
# lossless and video need libraries that the emulator does not ask for.
DECODABLE = NATIVE | {
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.51",
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.5",
}
ENCODABLE = frozenset({part10.EXPLICIT_LITTLE, part10.IMPLICIT_LITTLE})
IMAGE_FORMATS = {"image/jpeg": "JPEG", "image/png": "PNG"}

# what damaged or unusual pixel data makes the libraries raise
_FAILURES = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
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


def transcode(path: Path, syntax: str) -> bytes:
    """A stored file in another, uncompressed transfer syntax; all UIDs stay as they are.

    Args:
        syntax: one of `ENCODABLE`.

    Raises:
        CannotDecode: the pixels are damaged, or in a form that cannot be decoded.
    """
    with _pydicom(path) as dataset:
        from pydicom.filewriter import dcmwrite
        from pydicom.uid import UID

        meta = dataset.file_meta
        if meta.TransferSyntaxUID not in NATIVE:
            dataset.decompress(generate_instance_uid=False)
        elif meta.TransferSyntaxUID == part10.EXPLICIT_BIG:
            dataset.walk(_swap)
        meta.TransferSyntaxUID = UID(syntax)
        out = io.BytesIO()
        # Dataset.save_as refuses big-endian sets, since it would leave their numbers unswapped
        dcmwrite(out, dataset)
        return out.getvalue()


def frame(path: Path, number: int) -> bytes:
    """The uncompressed, little-endian bytes of a frame, counted from 1.

    Raises:
        CannotDecode, NoSuchFrame.
    """
    with _pydicom(path) as dataset:
        from pydicom.pixels.decoders.base import get_decoder

        _check_frame(dataset, number)
        decoder = get_decoder(dataset.file_meta.TransferSyntaxUID)
        content, _ = decoder.as_buffer(dataset, index=number - 1, raw=True)
        content = bytes(content)
        bytes_each = int(dataset.BitsAllocated) // 8
        if dataset.file_meta.TransferSyntaxUID == part10.EXPLICIT_BIG and bytes_each > 1:
            return part10.swapped(content, "OW", bytes_each)
        return content


def stored_frame(path: Path, number: int) -> bytes:
    """The bytes of a frame as they are stored, compressed or not; raises as `frame`."""
    with _pydicom(path) as dataset:
        if dataset.file_meta.TransferSyntaxUID not in NATIVE:
            from pydicom.encaps import get_frame

            frames = _check_frame(dataset, number)
            return get_frame(dataset.PixelData, number - 1, number_of_frames=frames)
    return frame(path, number)


def all_frames(path: Path) -> bytes:
    """The uncompressed bytes of all frames; raises as `frame`."""
    with _pydicom(path) as dataset:
        frames = _frames(dataset)
    return b"".join(frame(path, number) for number in range(1, frames + 1))


def render(path: Path, number: int, media: str, viewport: tuple[int, int] | None) -> bytes:
    """A frame as an image.

    Grey values pass through the rescale and the first window of the data set, or without one are
    spread from the least to the greatest; MONOCHROME1 is inverted. Colours become 8 bit RGB.

    Args:
        number: of the frame, from 1.
        media: a key of `IMAGE_FORMATS`.
        viewport: width and height that the image is scaled to fit into, its proportions kept.

    Raises:
        CannotDecode, NoSuchFrame.
    """
    with _pydicom(path) as dataset:
        from PIL import Image
        from pydicom.pixels.processing import apply_color_lut
        from pydicom.pixels.utils import pixel_array

        _check_frame(dataset, number)
        array = pixel_array(dataset, index=number - 1)
        if dataset.PhotometricInterpretation == "PALETTE COLOR":
            array = _eight_bits(apply_color_lut(array, dataset))
        elif dataset.SamplesPerPixel == 1:
            array = _grey(array, dataset)
        elif array.dtype.itemsize > 1:
            array = _eight_bits(array)
        image = Image.fromarray(array)
        if viewport is not None:
            scale = min(viewport[0] / image.width, viewport[1] / image.height)
            image = image.resize(
                (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
            )
        out = io.BytesIO()
        image.save(out, IMAGE_FORMATS[media])
        return out.getvalue()


_LOCK = threading.Lock()


@contextlib.contextmanager
def _pydicom(path: Path) -> Iterator[FileDataset]:
    """A file for pydicom to work on, silently; one at a time, since its settings are global."""
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
            yield pydicom.dcmread(path)
        except FileNotFoundError:
            raise
        except _FAILURES as error:
            raise CannotDecode(
                f"the pixel data cannot be decoded ({type(error).__name__})"
            ) from error
        finally:
            settings.reading_validation_mode, settings.writing_validation_mode = before


def _frames(dataset: Dataset) -> int:
    if "PixelData" not in dataset:
        raise CannotDecode("the instance has no pixel data")
    return int(dataset.get("NumberOfFrames") or 1)


def _check_frame(dataset: Dataset, number: int) -> int:
    frames = _frames(dataset)
    if not 1 <= number <= frames:
        raise NoSuchFrame(f"the instance has {frames} frames")
    return frames


def _swap(dataset: Dataset, element: Any) -> None:
    if element.VR in {"OW", "OF", "OL", "OD", "OV"} and element.value:
        pixels = element.keyword == "PixelData"
        unit = max(2, int(dataset.BitsAllocated) // 8) if pixels else None
        element.value = part10.swapped(element.value, element.VR, unit)


def _grey(array: Pixels, dataset: Dataset) -> Pixels:
    import numpy as np

    values = array.astype(np.float64)
    values = values * float(dataset.get("RescaleSlope") or 1)
    values += float(dataset.get("RescaleIntercept") or 0)
    center, width = (_first(dataset.get(k)) for k in ("WindowCenter", "WindowWidth"))
    if center is not None and width is not None and width >= 1:
        # PS3.3 C.11.2.1.2.1, LINEAR
        shade = (values - (center - 0.5)) / max(width - 1, 1e-9) + 0.5
    else:
        low, high = values.min(), values.max()
        shade = (values - low) / ((high - low) or 1.0)
    shade = np.clip(shade, 0.0, 1.0)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        shade = 1.0 - shade
    return np.asarray(np.rint(shade * 255), dtype=np.uint8)


def _first(value: Any) -> float | None:
    if value in (None, ""):
        return None
    members = value if hasattr(value, "__iter__") and not isinstance(value, str) else [value]
    return next((float(member) for member in members), None)


def _eight_bits(array: Pixels) -> Pixels:
    import numpy as np

    shift = (array.dtype.itemsize - 1) * 8
    return np.asarray(array >> shift, dtype=np.uint8)
