"""Shows pictures on a terminal: by its own protocol where it has one, else in colored blocks.

A terminal is never asked what it can do: its answer would come as typed keys, late or never. What
it can do is taken from the environment that it gives its programs.

Pillow reads the pictures and rich knows the colors. Of the libraries that draw pictures on
terminals, textual-image asks the terminal as soon as it is imported, term-image wants a Pillow of
years ago, chafa.py wants a library of the system and frees nothing; timg does none of this, and
encodes sixels.
"""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache, lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

from dicomsql.errors import InterfaceError, nearest

if TYPE_CHECKING:
    from PIL import Image

PROTOCOLS = ("kitty", "iterm", "sixel", "blocks")

# What to do where pictures cannot be drawn.
MISSING = "Pictures are drawn with: pip install 'dicomsql[pictures]'"

# How pictures begin that are shown, with their kinds. A JPEG goes on with one of the segments that
# stand before a baseline image; JPEG-LS and lossless JPEG, which few programs show, do not.
_SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": "png",
    b"GIF87a": "gif",
    b"GIF89a": "gif",
    **{b"\xff\xd8\xff" + bytes([m]): "jpeg" for m in (0xDB, 0xFE, *range(0xE0, 0xF0))},
}

# What terminals say of themselves -> their protocol. A name ends with `*` where more may follow.
_TERMINALS = (
    ("TERM", "xterm-kitty", "kitty"),
    ("TERM", "xterm-ghostty", "kitty"),
    ("TERM_PROGRAM", "ghostty", "kitty"),
    ("TERM_PROGRAM", "iTerm.app", "iterm"),
    ("LC_TERMINAL", "iTerm2", "iterm"),
    ("TERM_PROGRAM", "WezTerm", "iterm"),
    ("TERM_PROGRAM", "mintty", "iterm"),
    ("TERM", "foot*", "sixel"),
    ("TERM", "mlterm*", "sixel"),
    ("TERM", "contour*", "sixel"),
    ("TERM", "yaft*", "sixel"),
)
# Programs between: they know the terminal's name, and do not let its pictures through.
_BETWEEN = (("TMUX", "*"), ("STY", "*"), ("ZELLIJ", "*"), ("TERM", "screen*"), ("TERM", "tmux*"))

# Terminals of 24-bit color that do not say so in COLORTERM.
_TRUE_COLORS = ("*-direct", "xterm-kitty", "xterm-ghostty", "alacritty", "foot*", "wezterm")

# Pixels of a cell where the terminal's driver does not know: those of the VT340.
_CELL = (10, 20)

# From black to white, for who wants no colors.
_LETTERS = " .:-=+*#%@"

# Pixels of a picture that is read at all, as of a slide's tile and far from exhausting memory.
_MOST_PIXELS = 100_000_000

# Bytes of base64 in one of kitty's commands.
_KITTY_CHUNK = 4096


def is_picture(data: bytes) -> str | None:
    """The kind of a picture that browsers and terminals show: `png`, `jpeg`, `gif`, else None."""
    return next((kind for begin, kind in _SIGNATURES.items() if data.startswith(begin)), None)


def described(data: bytes) -> str:
    """What a picture is, in words: `PNG, 12,345 bytes`."""
    return f"{(is_picture(data) or 'binary').upper()}, {size_text(data)}"


def size_text(data: bytes) -> str:
    """How long a binary value is: `12,345 bytes`."""
    return f"{len(data):,} byte{'s' * (len(data) != 1)}"


@cache
def can_draw() -> bool:
    """Whether what draws pictures is installed."""
    return find_spec("PIL") is not None


def terminal_protocol(environment: Mapping[str, str]) -> str:
    """How this terminal shows pictures, one of PROTOCOLS; `blocks` where nothing tells.

    DICOMSQL_PICTURES names another, where the environment is wrong about it.

    Raises:
        InterfaceError: DICOMSQL_PICTURES names none.
    """
    asked = environment.get("DICOMSQL_PICTURES")
    if asked:
        if asked == "sixel" and find_spec("timg") is None:
            raise InterfaceError(f"DICOMSQL_PICTURES is 'sixel'. {MISSING}.")
        if asked not in PROTOCOLS:
            raise InterfaceError(
                f"DICOMSQL_PICTURES is {asked!r}.{nearest(asked, PROTOCOLS)} "
                f"It is one of {', '.join(PROTOCOLS)}."
            )
        return asked
    if any(_says(environment, *place) for place in _BETWEEN):
        return "blocks"
    for name, value, protocol in _TERMINALS:
        if _says(environment, name, value):
            # Without timg there are blocks, which every terminal shows.
            return "blocks" if protocol == "sixel" and find_spec("timg") is None else protocol
    return "blocks"


def picture_text(data: bytes, *, width: int, height: int, protocol: str | None = None) -> str:
    """A picture as lines for a terminal, in its proportions.

    Args:
        data: a PNG, JPEG or GIF, of which the first frame is shown.
        width, height: cells of the terminal that it takes at most.
        protocol: one of PROTOCOLS; None for what this terminal has.

    Returns:
        lines; with a protocol other than blocks it is one, which the terminal makes higher.

    Raises:
        InterfaceError: it cannot be read as a picture, or what draws it is not installed.
    """
    protocol = protocol or terminal_protocol(os.environ)
    if protocol == "blocks":
        return "\n".join(thumbnail_lines(data, width, height, color=True))
    across, down = _cell_size()
    picture = _opened(data, width * across, height * down)
    scale = min(width * across / picture.width, height * down / picture.height, 1.0)
    picture = _resized(picture, scale, scale)
    columns, rows = -(-picture.width // across), -(-picture.height // down)
    if protocol == "sixel":
        return _sixels(picture)
    # Its pixels are on the screen then, and nothing else that the file held.
    buffer = io.BytesIO()
    picture.save(buffer, "png")
    encoded = base64.b64encode(buffer.getvalue()).decode("ascii")
    if protocol == "kitty":
        return "".join(_kitty(encoded, columns, rows))
    return (
        f"\x1b]1337;File=inline=1;size={len(buffer.getvalue())};width={columns};height={rows};"
        f"preserveAspectRatio=1:{encoded}\a"
    )


def thumbnail_lines(data: bytes, width: int, height: int, *, color: bool) -> list[str]:
    """A picture as lines of cells: half blocks in the terminal's colors, or letters.

    Args:
        data: a PNG, JPEG or GIF.
        width, height: cells that it takes at most.
        color: the reader shows colors (SGR codes).

    Raises:
        InterfaceError: it cannot be read as a picture, or what draws it is not installed.
    """
    system = color_system(color=color) or ""
    return list(_drawn(data, max(1, width), max(1, height), system))


def color_system(*, color: bool) -> Literal["standard", "256", "truecolor"] | None:
    """The colors that this terminal has, by rich's name for them; None for none.

    Args:
        color: the reader shows colors (SGR codes).
    """
    if not color:
        return None
    environment = os.environ
    term = environment.get("TERM", "")
    if environment.get("COLORTERM", "").lower() in {"truecolor", "24bit"}:
        return "truecolor"
    if any(_says(environment, "TERM", name) for name in _TRUE_COLORS):
        return "truecolor"
    return "standard" if term in {"linux", "ansi"} else "256"


@lru_cache(maxsize=32)
def _drawn(data: bytes, width: int, height: int, system: str) -> tuple[str, ...]:
    """The lines; a table draws a cell to measure it, and again to write it."""
    picture = _opened(data, width, 2 * height)
    # Half a cell is as high as it is wide.
    scale = min(width / picture.width, 2 * height / picture.height)
    picture = _resized(picture, scale, scale if system else scale / 2)
    return tuple(_blocks(picture, system) if system else _letters(picture))


def _opened(data: bytes, width: int, height: int) -> Image.Image:
    """The picture in RGB on black, decoded at no more than what the size needs where that can be.

    Raises:
        InterfaceError: it cannot be read.
    """
    import struct
    from warnings import catch_warnings

    try:
        from PIL import Image
    except ImportError:
        raise InterfaceError(f"{MISSING}.") from None
    problem = "what it holds is damaged"
    try:
        # What Pillow warns of is refused below, and said there.
        with catch_warnings(action="ignore"), _read(data) as picture:
            if picture.width * picture.height <= _MOST_PIXELS:
                picture.draft("RGB", (width, height))
                picture.load()
                return _rgb(picture)
            problem = f"{picture.width:,} x {picture.height:,} pixels are too many"
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError):
        pass
    raise InterfaceError(f"The picture ({described(data)}) cannot be shown: {problem}.")


def _read(data: bytes) -> Image.Image:
    from PIL import Image

    return Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "GIF"))


def _rgb(picture: Image.Image) -> Image.Image:
    from PIL import Image

    if picture.mode.startswith("I"):
        # 16 bits, which Pillow would clip at the first 8.
        picture = picture.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    if picture.has_transparency_data:
        whole = picture.convert("RGBA")
        black = Image.new("RGBA", whole.size, "black")
        return Image.alpha_composite(black, whole).convert("RGB")
    return picture.convert("RGB")


def _resized(picture: Image.Image, across: float, down: float) -> Image.Image:
    size = (max(1, round(picture.width * across)), max(1, round(picture.height * down)))
    if size == picture.size:
        return picture
    from PIL import Image

    return picture.resize(size, Image.Resampling.LANCZOS)


def _blocks(picture: Image.Image, system: str) -> Iterator[str]:
    """Lines in which a cell is two pixels: the upper in its color, the lower in its ground's."""
    from rich.color import Color
    from rich.console import COLOR_SYSTEMS
    from rich.style import Style

    colors = COLOR_SYSTEMS[system]

    @cache
    def color(pixel: tuple[int, ...]) -> Color:
        return Color.from_rgb(*pixel).downgrade(colors)

    @cache
    def style(upper: Color, lower: Color | None) -> Style:
        return Style(color=upper, bgcolor=lower)

    pixels = picture.tobytes()
    across = picture.width

    def at(x: int, y: int) -> Color:
        start = 3 * (y * across + x)
        return color(tuple(pixels[start : start + 3]))

    for y in range(0, picture.height, 2):
        runs: list[tuple[Style, int]] = []
        for x in range(across):
            cell = style(at(x, y), at(x, y + 1) if y + 1 < picture.height else None)
            before, count = runs[-1] if runs else (None, 0)
            if cell is before:
                runs[-1] = (cell, count + 1)
            else:
                runs.append((cell, 1))
        yield "".join(cell.render("▀" * count, color_system=colors) for cell, count in runs)


def _letters(picture: Image.Image) -> Iterator[str]:
    gray = picture.convert("L")
    pixels = gray.tobytes()
    for start in range(0, len(pixels), gray.width):
        line = pixels[start : start + gray.width]
        yield "".join(_LETTERS[value * len(_LETTERS) // 256] for value in line)


def _kitty(encoded: str, columns: int, rows: int) -> Iterable[str]:
    """Commands that place a PNG where the cursor is; `q=2` lets the terminal answer nothing."""
    keys = f"a=T,f=100,q=2,c={columns},r={rows},"
    for start in range(0, len(encoded), _KITTY_CHUNK):
        more = int(start + _KITTY_CHUNK < len(encoded))
        chunk = encoded[start : start + _KITTY_CHUNK]
        yield f"\x1b_G{keys}m={more};{chunk}\x1b\\"
        keys = "q=2,"


def _sixels(picture: Image.Image) -> str:
    try:
        from timg.methods.sixel import SixelMethod
    except ImportError:
        raise InterfaceError(f"{MISSING}.") from None
    # Sixels stand in lines of six, and terminals have 256 registers of colors.
    down = picture.height + -picture.height % 6
    whole = picture.crop((0, 0, picture.width, down))
    return str(SixelMethod(whole.quantize(256)).to_string())


def _cell_size() -> tuple[int, int]:
    """Pixels of a cell, as the terminal's driver has them; no query is made."""
    with suppress(ImportError, OSError, ValueError, AttributeError):
        import fcntl
        import struct
        import sys
        import termios

        packed = fcntl.ioctl(sys.__stdout__.fileno(), termios.TIOCGWINSZ, bytes(8))  # type: ignore[union-attr]
        rows, columns, across, down = struct.unpack("HHHH", packed)
        if rows and columns and across >= columns and down >= rows:
            return across // columns, down // rows
    return _CELL


def _says(environment: Mapping[str, str], name: str, pattern: str) -> bool:
    from fnmatch import fnmatchcase

    value = environment.get(name, "")
    return bool(value) and fnmatchcase(value, pattern)
