"""Text in pixels: found by the attributes that tell where it is, and blanked.

Nothing here reads images. Text stands outside of the regions that an ultrasound machine marks, and
where a known machine writes it: the recipes of the package deid (from RSNA's Clinical Trial
Processor) say which and where. An image that says that it has no text is taken at its word, and so
are the kinds in `_TEXTLESS`. All others cannot be made safe, and fail.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dicomsql.emulator import images
from dicomsql.emulator.deidentify import frames
from dicomsql.emulator.jobs import UnitError
from dicomsql.emulator.status import StatusError

if TYPE_CHECKING:
    import numpy as np
    from pydicom import Dataset, FileDataset

    Mask = np.ndarray[Any, np.dtype[np.bool_]]

__all__ = ["recipes", "redact"]

# Pixels that a scanner or a computation makes, with nothing written into them: the modality, and
# whether only original images of it are so (ImageType, PS3.3 C.7.6.1.1.2).
_TEXTLESS = {
    "CT": True,
    "MR": True,
    "PT": True,
    "NM": True,
    "RTDOSE": False,
    "SEG": False,
}
_UNITS = {1: "u1", 2: "u2", 4: "u4"}


def redact(dataset: FileDataset, path: Path) -> None:
    """Blank the text in an instance's pixels; other images in it (icons, overlays) are taken out.

    Args:
        path: the file that it was read from.

    Raises:
        UnitError: it may hold text, and nothing says where.
    """
    _remove_other_images(dataset)
    if "PixelData" not in dataset:
        return
    mask = _mask(dataset)
    if mask is not None:
        _blank(dataset, path, mask)
        dataset.BurnedInAnnotation = "NO"
        return
    declared = str(dataset.get("BurnedInAnnotation") or "").strip().upper()
    if declared != "NO" and (declared == "YES" or not _textless(dataset)):
        raise UnitError(
            "the image may have text in its pixels, and no attribute of it says where: it has no"
            " BurnedInAnnotation of NO, no ultrasound regions, and its equipment is not known"
        )


def _textless(dataset: Dataset) -> bool:
    original = _TEXTLESS.get(str(dataset.get("Modality") or ""))
    if original is None:
        return False
    kind = [str(value).strip() for value in dataset.get("ImageType") or ()][:2]
    return not original or kind == ["ORIGINAL", "PRIMARY"]


def _remove_other_images(dataset: Dataset) -> None:
    """Overlays (PS3.3 C.9) and icons (F.7), which may show the same text."""
    for tag in list(dataset.keys()):
        if tag.group & 0xFF01 == 0x6000 or tag == 0x00880200:
            del dataset[tag]
            continue
        element = dataset[tag]
        if element.VR == "SQ":
            for item in element.value or ():
                _remove_other_images(item)


def _mask(dataset: Dataset) -> Mask | None:
    """Which pixels stay; None where nothing is known."""
    import numpy as np

    rows, columns = int(dataset.Rows), int(dataset.Columns)
    mask = np.ones((rows, columns), dtype=np.bool_)
    regions = list(_regions(dataset))
    if regions:
        mask[:] = False
        for left, top, right, bottom in regions:
            mask[top : bottom + 1, left : right + 1] = True
    written = np.ones_like(mask)
    for recipe in recipes():
        if recipe.fits(dataset):
            for stays, (left, top, right, bottom) in recipe.boxes:
                written[top:bottom, left:right] = stays
    np.logical_and(mask, written, out=mask)
    return None if mask.all() else mask


def _regions(dataset: Dataset) -> Iterator[tuple[int, int, int, int]]:
    """Left, top, right, bottom, inclusive (PS3.3 C.8.5.5)."""
    for item in dataset.get("SequenceOfUltrasoundRegions") or ():
        names = ("MinX0", "MinY0", "MaxX1", "MaxY1")
        found = [item.get(f"RegionLocation{name}") for name in names]
        if all(isinstance(number, int) and number >= 0 for number in found):
            left, top, right, bottom = (int(number) for number in found if number is not None)
            yield left, top, right, bottom


def _blank(dataset: FileDataset, path: Path, mask: Mask) -> None:
    """Make all pixels the same that are not in the mask, in every frame."""
    import numpy as np

    count = int(dataset.get("NumberOfFrames") or 1)
    samples, width = int(dataset.SamplesPerPixel), int(dataset.BitsAllocated) // 8
    if mask.size * count * samples * max(width, 1) > frames.LARGEST:
        raise UnitError("the image is too large to blank the text in it")
    if dataset.file_meta.TransferSyntaxUID not in images.NATIVE:
        with images.opened(path) as image:
            for number in range(1, image.frames + 1):
                image.stored(number)  # looks at its header before a decoder believes it
        dataset.decompress(generate_instance_uid=False)
    photometric = str(dataset.PhotometricInterpretation)
    if width not in _UNITS or (samples, photometric) not in _BLANK:
        raise UnitError("the image has pixels of a form that text cannot be blanked in")
    order = "<" if dataset.file_meta.TransferSyntaxUID.is_little_endian else ">"
    blank = [2 ** (8 * width) - 1 if n < 0 else n for n in _BLANK[samples, photometric]]
    content = np.frombuffer(dataset.PixelData, dtype=order + _UNITS[width]).copy()
    rows, columns = mask.shape
    if photometric == "YBR_FULL_422":  # two pixels are four bytes: Y Y Cb Cr
        mask = np.asarray(mask.reshape(rows, columns // 2, 2).all(axis=2), dtype=np.bool_)
        shape: tuple[int, ...] = (count, rows, columns // 2, 4)
    elif samples > 1 and int(dataset.get("PlanarConfiguration") or 0) == 1:
        shape = (count, samples, rows, columns)
    else:
        shape = (count, rows, columns, samples)
    used = content[: int(np.prod(shape))].reshape(shape)
    if shape[1] == samples and shape[2:] == (rows, columns):
        used = np.moveaxis(used, 1, -1)
    used[:, ~mask] = blank
    content[int(np.prod(shape)) :] = 0
    dataset.PixelData = content.tobytes()


# Black in the forms that pixels have (PS3.3 C.7.6.3.1.2); -1 is the largest value.
_BLANK = {
    (1, "MONOCHROME1"): [-1],
    (1, "MONOCHROME2"): [0],
    (1, "PALETTE COLOR"): [0],
    (3, "RGB"): [0, 0, 0],
    (3, "YBR_FULL"): [0, 128, 128],
    (3, "YBR_FULL_422"): [0, 0, 128, 128],
}


@dataclass(frozen=True, slots=True)
class _Recipe:
    """Where known equipment writes.

    Attributes:
        tests: all have to hold; in each, one after the other with `and` or `or` between them:
            the operator, what is asked, a keyword, and a pattern.
        boxes: whether they stay, and left, top, right, bottom, exclusive.
    """

    tests: tuple[tuple[tuple[str, str, str, str], ...], ...]
    boxes: tuple[tuple[bool, tuple[int, int, int, int]], ...]

    def fits(self, dataset: Dataset) -> bool:
        return all(_holds(dataset, test) for test in self.tests)


@functools.cache
def recipes() -> tuple[_Recipe, ...]:
    """The recipes that name places. They are read as deid reads them; its own evaluation would
    load a library that draws, and change pydicom's classes.

    Raises:
        StatusError: the package is not installed.
    """
    try:
        from deid.config import DeidRecipe
        from deid.logger import bot
    except ImportError:
        raise StatusError(
            "UNIMPLEMENTED",
            "Redaction of text in images needs packages that are not installed: pip install"
            " 'dicomsql[deidentify]'.",
        ) from None
    before, bot.level = bot.level, 0  # it says on standard error what it reads
    try:
        groups = DeidRecipe("dicom").get_filters() or {}
    finally:
        bot.level = before
    found = []
    for item in (item for group in groups.values() for item in group):
        boxes = tuple(_box(stays, place) for stays, place in item["coordinates"])
        if boxes:
            found.append(_Recipe(tuple(_test(group) for group in item["filters"]), boxes))
    return tuple(found)


def _box(stays: int, place: str) -> tuple[bool, tuple[int, int, int, int]]:
    left, top, right, bottom = (int(number) for number in place.split(","))
    return bool(stays), (left, top, right, bottom)


def _test(group: dict[str, Any]) -> tuple[tuple[str, str, str, str], ...]:
    values = iter(group["value"])
    operators = ["and", *group["InnerOperators"]]
    return tuple(
        # only some questions take a value
        (operator, what, field, next(values, "") if "tains" in what or "quals" in what else "")
        for operator, what, field in zip(operators, group["action"], group["field"], strict=True)
    )


def _holds(dataset: Dataset, test: tuple[tuple[str, str, str, str], ...]) -> bool:
    holds = True
    for operator, what, field, value in test:
        one = _answer(dataset, what.lower(), field, value)
        holds = holds or one if operator == "or" else holds and one
    return holds


def _answer(dataset: Dataset, what: str, field: str, value: str) -> bool:
    name: Any = int(field, 0) if field.startswith("0x") else field
    found: Any = dataset.get(name)
    found = getattr(found, "value", found)
    many = hasattr(found, "__iter__") and not isinstance(found, str)
    text = "\\".join(map(str, found)) if many else str(found or "")
    text, value = text.strip().lower(), value.strip().lower()
    answers = {
        "contains": bool(value and re.search(value, text)),
        "notcontains": not re.search(value, text),
        "equals": text == value,
        "notequals": text != value,
        "missing": found is None,
        "present": found is not None,
        "empty": found is not None and not text,
    }
    return answers[what]
