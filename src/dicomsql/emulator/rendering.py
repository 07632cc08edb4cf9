"""Rendered images (PS3.18 8.3.5 and 10.4): a frame as people see it, as JPEG or PNG.

Grey values pass through the modality LUT or rescale, then the VOI LUT or window of the data set,
or of the frame's functional groups; without one they are spread from the least to the greatest.
Colours and palettes become 8 bit RGB.
"""

from __future__ import annotations

import io
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dicomsql.emulator import images
from dicomsql.emulator.images import CannotDecode
from dicomsql.emulator.status import invalid

if TYPE_CHECKING:
    from PIL import Image as Pillow
    from pydicom import Dataset

    from dicomsql.emulator.images import Pixels

__all__ = ["FORMATS", "Viewport", "Window", "quality", "render", "viewport", "window"]

FORMATS = {"image/jpeg": "JPEG", "image/png": "PNG"}
# a PNG is made for one reader: the time to compress it further is longer than it takes to send
_OPTIONS = {"JPEG": {"quality": 90}, "PNG": {"compress_level": 1}}
_LARGEST_SIDE = 16_384
_LARGEST_AREA = 8192 * 8192  # pixels of a viewport
# grey values are shaded so many at a time
_BLOCK = 4 * 1024 * 1024
_DECIMAL = r"-?[0-9]{1,9}(?:\.[0-9]{1,9})?"


@dataclass(frozen=True, slots=True)
class Viewport:
    """What of an image is shown how large (PS3.18 8.3.5.1.3).

    Attributes:
        width, height: of the viewport; the region is scaled to fit into it, its proportions kept.
        left, top: of the region, in pixels of the image.
        across, down: its size, None up to the image's end; a negative one flips it.
    """

    width: int
    height: int
    left: float = 0
    top: float = 0
    across: float | None = None
    down: float | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """Which values are shown from black to white (PS3.3 C.11.2.1.2)."""

    center: float
    width: float
    function: str = "LINEAR"


def viewport(text: str | None) -> Viewport | None:
    """The parameter `viewport`: `WIDTH,HEIGHT[,LEFT,TOP[,ACROSS,DOWN]]`.

    Raises:
        StatusError: 400.
    """
    if text is None:
        return None
    match = re.fullmatch(
        rf"([0-9]{{1,5}}),([0-9]{{1,5}})(?:,({_DECIMAL})?,({_DECIMAL})?"
        rf"(?:,({_DECIMAL})?,({_DECIMAL})?)?)?",
        text,
    )
    sizes = [int(size) for size in match.groups()[:2]] if match else [0]
    fits = all(1 <= size <= _LARGEST_SIDE for size in sizes)
    if match is None or not fits or math.prod(sizes) > _LARGEST_AREA:
        raise invalid(
            "The viewport is WIDTH,HEIGHT, and may go on with LEFT,TOP,ACROSS,DOWN of the region;"
            f" width and height are from 1 to {_LARGEST_SIDE}, and make {_LARGEST_AREA} pixels"
            " at most."
        )
    left, top, across, down = (
        None if value is None else float(value) for value in match.groups()[2:]
    )
    return Viewport(sizes[0], sizes[1], left or 0, top or 0, across, down)


def window(text: str | None) -> Window | None:
    """The parameter `window`: `CENTER,WIDTH[,FUNCTION]` (PS3.18 8.3.5.1.4).

    Raises:
        StatusError: 400.
    """
    if text is None:
        return None
    match = re.fullmatch(rf"({_DECIMAL}),({_DECIMAL})(?:,(linear|linear-exact|sigmoid))?", text)
    if match is None or float(match[2]) <= 0 or (float(match[2]) < 1 and not match[3]):
        raise invalid(
            "The window is CENTER,WIDTH, and may go on with a function: linear, linear-exact or"
            " sigmoid. The width is at least 1 for linear, and over 0 for the others."
        )
    function = (match[3] or "linear").replace("-", "_").upper()
    return Window(float(match[1]), float(match[2]), function)


def quality(text: str | None) -> int | None:
    """The parameter `quality` of a JPEG: 1 to 100 (PS3.18 8.3.5.1.2).

    Raises:
        StatusError: 400.
    """
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,3}", text) or not 1 <= int(text) <= 100:
        raise invalid("The quality is a number from 1 to 100.")
    return int(text)


def render(
    path: Path,
    number: int,
    media: str,
    view: Viewport | None = None,
    shown: Window | None = None,
    *,
    quality: int | None = None,
) -> bytes:
    """A frame as an image.

    Args:
        number: of the frame, from 1.
        media: a key of `FORMATS`.
        shown: in the place of the data set's own window.
        quality: of a JPEG, 1 to 100.

    Raises:
        CannotDecode, NoSuchFrame.
        StatusError: 400 for a region that is not in the image.
    """
    with images.opened(path) as image:
        from PIL import Image
        from pydicom.pixels.processing import apply_color_lut

        array, header = image.array(number), image.header
        if header.get("PhotometricInterpretation") == "PALETTE COLOR":
            array = _eight_bits(apply_color_lut(array, header), 16)
        elif array.ndim == 2:
            array = _grey(array, header, number, shown)
        else:
            array = _eight_bits(array, int(header.get("BitsStored") or 8))
        picture = Image.fromarray(array)
        if view is not None:
            picture = _viewed(picture, view)
        out = io.BytesIO()
        kind = FORMATS[media]
        options = dict(_OPTIONS[kind])
        if quality is not None and kind == "JPEG":
            options["quality"] = quality
        picture.save(out, kind, **options)
        return out.getvalue()


def _viewed(picture: Pillow.Image, view: Viewport) -> Pillow.Image:
    from PIL import ImageOps

    across = picture.width - view.left if view.across is None else view.across
    down = picture.height - view.top if view.down is None else view.down
    right, bottom = view.left + abs(across), view.top + abs(down)
    inside = 0 <= view.left < right <= picture.width and 0 <= view.top < bottom <= picture.height
    if not inside:
        raise invalid("The viewport's region is not within the image.")
    box = (view.left, view.top, right, bottom)
    scale = min(view.width / abs(across), view.height / abs(down))
    size = (max(1, round(abs(across) * scale)), max(1, round(abs(down) * scale)))
    picture = picture.resize(size, box=box)
    if across < 0:
        picture = ImageOps.mirror(picture)
    return ImageOps.flip(picture) if down < 0 else picture


def _grey(array: Pixels, header: Dataset, number: int, shown: Window | None) -> Pixels:
    import numpy as np

    low, high = float(array.min()), float(array.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise CannotDecode("the pixel data hold values that are no numbers")
    modality = _modality(header, number)
    table = None
    if shown is None:
        shown = _window(_described(header, number, "FrameVOILUTSequence", "WindowCenter"))
        table = _table(header, "VOILUTSequence") if shown is None else None
    ends = sorted(float(v) for v in modality(np.asarray([low, high])))
    if modality.table is not None:
        ends = [float(modality.table.min()), float(modality.table.max())]
    inverted = (
        header.get("PhotometricInterpretation") == "MONOCHROME1"
        or header.get("PresentationLUTShape") == "INVERSE"
    )
    flat = array.reshape(-1)
    out = np.empty(flat.shape, np.uint8)
    for start in range(0, flat.size, _BLOCK):
        values = modality(flat[start : start + _BLOCK].astype(np.float64))
        if table is not None:
            shade = table(values) / table.top
        elif shown is not None:
            shade = _shade(values, shown)
        else:
            shade = (values - ends[0]) / ((ends[1] - ends[0]) or 1.0)
        shade = np.clip(shade, 0.0, 1.0)
        out[start : start + _BLOCK] = np.rint((1.0 - shade if inverted else shade) * 255)
    return out.reshape(array.shape)


@dataclass(frozen=True, slots=True)
class _Lookup:
    """A modality or VOI LUT (PS3.3 C.11.1.1, C.11.2.1.1), or a rescale where `table` is None."""

    table: Pixels | None = None
    first: float = 0
    top: float = 1
    slope: float = 1
    intercept: float = 0

    def __call__(self, values: Pixels) -> Pixels:
        import numpy as np

        if self.table is None:
            return np.asarray(values * self.slope + self.intercept)
        places = np.clip(values - self.first, 0, len(self.table) - 1).astype(np.int64)
        return np.asarray(self.table[places])


def _modality(header: Dataset, number: int) -> _Lookup:
    table = _table(header, "ModalityLUTSequence")
    if table is not None:
        return table
    said = _described(header, number, "PixelValueTransformationSequence", "RescaleSlope")
    slope, intercept = _first(said.get("RescaleSlope")), _first(said.get("RescaleIntercept"))
    return _Lookup(slope=1.0 if slope is None else slope, intercept=intercept or 0.0)


def _table(header: Dataset, keyword: str) -> _Lookup | None:
    import numpy as np

    item = next(iter(header.get(keyword) or []), None)
    if item is None or "LUTDescriptor" not in item or "LUTData" not in item:
        return None
    entries, first, bits = (int(value) for value in item.LUTDescriptor)
    entries = entries or 65_536
    if first > 32_767 and header.get("PixelRepresentation") == 1:
        first -= 65_536
    data = item.LUTData
    if isinstance(data, bytes):
        wide = len(data) >= 2 * entries
        data = np.frombuffer(data, "<u2" if wide else "u1")
    elif isinstance(data, int):
        data = [data]
    values = np.asarray(data, np.float64)[:entries]
    if not values.size:
        return None
    return _Lookup(values, first, float(2 ** min(max(bits, 1), 16) - 1))


def _described(header: Dataset, number: int, sequence: str, keyword: str) -> Dataset:
    """The data set, or the item of the frame's functional groups, that has an attribute."""
    per_frame = header.get("PerFrameFunctionalGroupsSequence") or []
    groups = [
        *per_frame[number - 1 : number],
        *(header.get("SharedFunctionalGroupsSequence") or []),
    ]
    items: list[Dataset] = [item for group in groups for item in group.get(sequence) or []]
    return next((item for item in items if keyword in item), header)


def _window(said: Dataset) -> Window | None:
    center, width = _first(said.get("WindowCenter")), _first(said.get("WindowWidth"))
    function = str(said.get("VOILUTFunction") or "LINEAR")
    if center is None or width is None or width <= 0 or (function == "LINEAR" and width < 1):
        return None
    return Window(center, width, function)


def _shade(values: Pixels, shown: Window) -> Pixels:
    """PS3.3 C.11.2.1.2 and C.11.2.1.3, from 0 to 1."""
    import numpy as np

    if shown.function == "SIGMOID":
        power = np.clip(-4 * (values - shown.center) / shown.width, -700, 700)
        return np.asarray(1 / (1 + np.exp(power)))
    if shown.function == "LINEAR_EXACT":
        return (values - shown.center) / shown.width + 0.5
    return (values - (shown.center - 0.5)) / max(shown.width - 1, 1e-9) + 0.5


def _first(value: Any) -> float | None:
    if value in (None, ""):
        return None
    members = value if hasattr(value, "__iter__") and not isinstance(value, str) else [value]
    return next((float(member) for member in members), None)


def _eight_bits(array: Pixels, stored: int) -> Pixels:
    import numpy as np

    if array.dtype.itemsize == 1:
        return np.asarray(array, dtype=np.uint8)
    return np.asarray(np.right_shift(array, max(0, stored - 8)), dtype=np.uint8)
