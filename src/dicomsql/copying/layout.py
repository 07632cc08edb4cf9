"""Where a file goes below the folder: a template with values, made safe for every file system.

Values come from data that nobody checked: an ID may be `../../x`, a name that a system reserves, or
a thousand characters long. Whatever they are, each fills its place within one name.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping
from pathlib import PurePosixPath

from dicomsql.errors import InterfaceError

__all__ = ["Layout", "folded"]

# The most bytes of one name: file systems take 255, and while a file is written its name has a dot
# before and `.part` behind it.
LONGEST = 240

_NAME = re.compile(r"\{([^{}]*)\}")
_BRACKETS = re.compile(r"[{}]")
# What Windows takes in no name; the slash and the backslash would be another path.
_FORBIDDEN = frozenset('/\\:*?"<>|')
# Control and format characters (which may turn the text around), halves of pairs, private and
# unassigned ones, which not every system stores.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# Names that are devices on Windows, whatever follows their first dot.
_DEVICE = re.compile(
    r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9\u00b9\u00b2\u00b3])\s*(?:\.|$)",
    re.IGNORECASE,
)
# The end of a name that is kept where it is shortened.
_EXTENSION = re.compile(r"\.[A-Za-z0-9]{1,8}\Z")


class Layout:
    """A template such as `{PatientID}/{SOPInstanceUID}.dcm`.

    Attributes:
        names: those that it has between its brackets, each once, in their order.

    Raises:
        InterfaceError: it is no path below a folder, or a bracket of it stands alone.
    """

    def __init__(self, template: str) -> None:
        self.names = tuple(dict.fromkeys(_NAME.findall(template)))
        if _BRACKETS.search(_NAME.sub("", template)):
            raise InterfaceError("A bracket of the layout is not closed, or stands alone.")
        steps = template.split("/")
        if not steps[-1] or not steps[0] or ".." in steps:
            raise InterfaceError(
                "The layout is no path of a file below the folder, such as "
                "'{PatientID}/{SOPInstanceUID}.dcm'."
            )
        self._steps = [step for step in steps if step not in {"", "."}]

    def path(self, values: Mapping[str, str | None]) -> PurePosixPath:
        """The path of one file, relative to the folder; it never leaves it.

        Args:
            values: by name; what is missing, NULL or empty becomes `_`.
        """
        names = [
            _safe_name(_NAME.sub(lambda m: _safe_value(values.get(m[1])), step))
            for step in self._steps
        ]
        return PurePosixPath(*names)


def folded(path: PurePosixPath) -> str:
    """What is the same for all paths that are one file where case and accents' form do not count.

    Source: Unicode 3.13, definition D145 (canonical caseless matching).
    """
    text = str(path)
    if text.isascii():
        return text.casefold()
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", text).casefold())


# A UID, a number or a plain word with an extension: nothing of it means anything to any system.
_PLAIN = re.compile(r"[0-9](?:[0-9A-Za-z_.-]{0,98}[0-9A-Za-z_-])?")


def _safe_value(value: str | None) -> str:
    """A value as a piece of one name."""
    if not value:
        return "_"
    if value.isascii() and value.isprintable() and not _FORBIDDEN & set(value):
        return value
    composed = unicodedata.normalize("NFC", value)
    return "".join(
        "_" if c in _FORBIDDEN or unicodedata.category(c) in _UNSEEN else c for c in composed
    )


def _safe_name(name: str) -> str:
    """A name that every file system takes, and that means no other place and no device."""
    if _PLAIN.fullmatch(name):
        return name  # as almost all are; the same as what follows would give
    name = unicodedata.normalize("NFC", "".join("_" if c in _FORBIDDEN else c for c in name))
    # Windows drops dots and spaces at the end; a dot at the beginning hides the file elsewhere.
    kept = name.rstrip(". ")
    name = kept + "_" * (len(name) - len(kept))
    if name.startswith((".", " ")):
        name = f"_{name[1:]}"
    if _DEVICE.match(name):
        name = f"_{name}"
    return _short(name) if len(name.encode()) > LONGEST else name


def _short(name: str) -> str:
    """A long name's beginning, a digest of the whole, and its extension."""
    found = _EXTENSION.search(name)
    extension = found[0] if found else ""
    digest = hashlib.sha256(name.encode()).hexdigest()[:20]
    room = LONGEST - len(extension) - len(digest) - 1
    begin = name.encode()[:room].decode(errors="ignore")
    return f"{begin}-{digest}{extension}"
