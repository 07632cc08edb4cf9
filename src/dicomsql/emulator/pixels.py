"""Stored files in other transfer syntaxes, as far as the codecs that are installed go.

Pillow encodes JPEG baseline; pylibjpeg-openjpeg encodes JPEG 2000. All UIDs stay as they are, also
where the new file is lossy, as with a Google-hosted store.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dicomsql.dicom import part10
from dicomsql.emulator import images
from dicomsql.emulator.images import NATIVE, CannotDecode

if TYPE_CHECKING:
    from pydicom import Dataset, FileDataset

    from dicomsql.emulator.images import Pixels

__all__ = [
    "JPEG_2000",
    "JPEG_2000_LOSSLESS",
    "JPEG_BASELINE",
    "CannotDecode",
    "encode",
    "makeable",
    "opened",
    "transcode",
]

JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
JPEG_2000_LOSSLESS = "1.2.840.10008.1.2.4.90"
JPEG_2000 = "1.2.840.10008.1.2.4.91"

_JPEG_QUALITY = 90
_JPEG_2000_PSNR = 80.0  # decibels
_LARGEST_FILE = 1024 * 1024 * 1024  # bytes, before and after


@contextlib.contextmanager
def opened(path: Path) -> Iterator[FileDataset]:
    """A whole stored file for pydicom to work on.

    Raises:
        CannotDecode: in the place of what pydicom raises, here and in the block.
    """
    with images.quiet():
        import pydicom

        yield pydicom.dcmread(path)


@lru_cache
def makeable(stored: str, wanted: str) -> bool:
    """Whether files of one transfer syntax can be made into another, most of them at least."""
    if stored == wanted:
        return True
    if not images.decodable(stored):
        return False
    if wanted in {part10.EXPLICIT_LITTLE, part10.IMPLICIT_LITTLE, JPEG_BASELINE}:
        return True
    if wanted not in {JPEG_2000_LOSSLESS, JPEG_2000}:
        return False
    with images.quiet():
        from pydicom.pixels.encoders.base import get_encoder

        return bool(get_encoder(wanted).is_available)


def transcode(path: Path, syntax: str) -> tuple[str, bytes]:
    """A stored file in another transfer syntax that is `makeable`.

    Returns:
        The transfer syntax, which is Explicit VR Little Endian where there are no pixels to
        compress, and the file.

    Raises:
        CannotDecode: the pixels are damaged, too large, or in a form that cannot be made so.
    """
    if path.stat().st_size > _LARGEST_FILE:
        raise CannotDecode(f"the file is larger than {_LARGEST_FILE} bytes")
    with opened(path) as dataset:
        from pydicom.filewriter import dcmwrite
        from pydicom.uid import UID

        meta = dataset.file_meta
        if "PixelData" not in dataset and syntax not in NATIVE:
            syntax = part10.EXPLICIT_LITTLE
        _check_size(dataset)
        if meta.TransferSyntaxUID not in NATIVE and "PixelData" in dataset:
            _check_frames(path)
            dataset.decompress(generate_instance_uid=False)
        elif meta.TransferSyntaxUID == part10.EXPLICIT_BIG:
            dataset.walk(_swap)
        meta.TransferSyntaxUID = UID(part10.EXPLICIT_LITTLE if syntax not in NATIVE else syntax)
        if syntax == JPEG_BASELINE:
            _to_jpeg(dataset)
        elif syntax not in NATIVE:
            psnr = [_JPEG_2000_PSNR] if syntax == JPEG_2000 else None
            dataset.compress(UID(syntax), generate_instance_uid=False, j2k_psnr=psnr)
        out = io.BytesIO()
        # Dataset.save_as refuses big-endian sets, since it would leave their numbers unswapped
        dcmwrite(out, dataset)
        return syntax, out.getvalue()


def encode(path: Path, number: int, syntax: str) -> bytes:
    """One frame, counted from 1, encoded anew.

    Args:
        syntax: JPEG baseline, or JPEG 2000 where that is `makeable`.

    Raises:
        CannotDecode, NoSuchFrame.
    """
    with images.opened(path) as image:
        array = image.array(number)
        if syntax == JPEG_BASELINE:
            return _jpeg(array, image.header)
        from pydicom.pixels.encoders.base import get_encoder

        header = image.header
        options: dict[str, Any] = {
            "rows": array.shape[0],
            "columns": array.shape[1],
            "samples_per_pixel": array.shape[2] if array.ndim == 3 else 1,
            "number_of_frames": 1,
            "planar_configuration": 0,
            "bits_allocated": array.dtype.itemsize * 8,
            "bits_stored": int(header.BitsStored),
            "pixel_representation": int(header.PixelRepresentation),
            "photometric_interpretation": "RGB" if array.ndim == 3 else "MONOCHROME2",
        }
        if syntax == JPEG_2000:
            options["j2k_psnr"] = [_JPEG_2000_PSNR]
        return get_encoder(syntax).encode(array, **options)


def _to_jpeg(dataset: FileDataset) -> None:
    from pydicom.encaps import encapsulate
    from pydicom.pixels.utils import pixel_array
    from pydicom.uid import UID

    frames = int(dataset.get("NumberOfFrames") or 1)
    encoded = [_jpeg(pixel_array(dataset, index=n), dataset) for n in range(frames)]
    before = len(dataset.PixelData)
    if int(dataset.SamplesPerPixel) > 1:
        dataset.PhotometricInterpretation = "YBR_FULL_422"
        dataset.PlanarConfiguration = 0
    dataset.LossyImageCompression = "01"
    ratio = f"{before / max(1, sum(map(len, encoded))):.2f}"
    for keyword, value in (("Ratio", ratio), ("Method", "ISO_10918_1")):
        # one value for each step, those of earlier ones first (PS3.3 C.7.6.1.1.5)
        name = f"LossyImageCompression{keyword}"
        earlier = dataset.get(name)
        steps = [] if earlier in (None, "") else [earlier] if isinstance(earlier, str) else earlier
        if not hasattr(steps, "__iter__"):
            steps = [steps]
        setattr(dataset, name, [*steps, value])
    dataset.PixelData = encapsulate(encoded)
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = UID(JPEG_BASELINE)


def _jpeg(array: Pixels, header: Dataset) -> bytes:
    from PIL import Image

    colours = header.get("PhotometricInterpretation")
    if array.dtype.itemsize != 1 or int(header.BitsStored) != 8 or header.PixelRepresentation:
        raise CannotDecode("JPEG baseline holds 8 bits a sample, without a sign")
    if colours == "PALETTE COLOR":
        raise CannotDecode("JPEG baseline holds no palette")
    out = io.BytesIO()
    # 4:2:2, which is what the data set then says
    Image.fromarray(array).save(out, "JPEG", quality=_JPEG_QUALITY, subsampling=1)
    return out.getvalue()


def _check_size(dataset: Dataset) -> None:
    values = [dataset.get(k) for k in ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated")]
    rows, columns, samples, bits = (int(value or 1) for value in values)
    frames = int(dataset.get("NumberOfFrames") or 1)
    if "PixelData" in dataset and rows * columns * samples * bits // 8 * frames > _LARGEST_FILE:
        raise CannotDecode(f"the uncompressed file is larger than {_LARGEST_FILE} bytes")


def _check_frames(path: Path) -> None:
    """Look at each frame's own header before a decoder makes room for what it says."""
    with images.opened(path) as image:
        for number in range(1, image.frames + 1):
            image.check(number, decoded=True)


def _swap(dataset: Dataset, element: Any) -> None:
    if element.VR in {"OW", "OF", "OL", "OD", "OV"} and element.value:
        pixels = element.keyword == "PixelData"
        unit = max(2, int(dataset.BitsAllocated) // 8) if pixels else None
        element.value = part10.swapped(element.value, element.VR, unit)
