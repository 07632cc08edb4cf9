"""Pictures for terminals: which protocol, what is drawn, and where they stand among rows."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator

import pyarrow as pa
import pyte
import pytest
from PIL import Image

from dicomsql import output
from dicomsql.errors import InterfaceError
from dicomsql.output import cells, pictures
from dicomsql.output.display import Look, Screen, remarks, show
from dicomsql.output.pictures import (
    is_picture,
    picture_text,
    terminal_protocol,
    thumbnail_lines,
)
from dicomsql.result import Result, ResultColumn, Statistics


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 24-bit color that has no protocol."""
    for name in ("DICOMSQL_PICTURES", "TERM_PROGRAM", "LC_TERMINAL", "KITTY_WINDOW_ID", "TMUX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLORTERM", "truecolor")


def encoded(image: Image.Image, form: str = "png") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form)
    return buffer.getvalue()


def quarters(mode: str = "RGB", size: int = 64) -> Image.Image:
    """Red, green, blue, white."""
    small = Image.new("RGB", (2, 2))
    small.putdata([(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)])
    return small.resize((size, size), Image.Resampling.NEAREST).convert(mode)


def screen_of(text: str, width: int = 60, height: int = 30) -> pyte.Screen:
    screen = pyte.Screen(width, height)
    pyte.Stream(screen).feed(text.replace("\n", "\r\n"))
    return screen


def result_of(columns: dict[str, str], arrays: list[pa.Array]) -> Result:
    batch = pa.RecordBatch.from_arrays(arrays, names=list(columns))
    return Result(tuple(ResultColumn(*column) for column in columns.items()), iter([batch]))


# -- what they are -------------------------------------------------------------------------------


def test_pictures_are_known_by_how_they_begin() -> None:
    assert is_picture(encoded(quarters())) == "png"
    assert is_picture(encoded(quarters(), "jpeg")) == "jpeg"
    assert is_picture(encoded(quarters("P"), "gif")) == "gif"
    # JPEG-LS begins as a JPEG, and is none that is shown.
    assert is_picture(b"\xff\xd8\xff\xf7\x00\x0b") is None
    assert is_picture(b"") is None


@pytest.mark.parametrize(
    ("environment", "protocol"),
    [
        ({"TERM": "xterm-kitty", "KITTY_WINDOW_ID": "1"}, "kitty"),
        # A terminal that was started from kitty is none.
        ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"}, "blocks"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "ghostty"}, "kitty"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, "iterm"),
        ({"TERM": "xterm-256color", "LC_TERMINAL": "iTerm2"}, "iterm"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, "iterm"),
        ({"TERM": "foot-extra"}, "sixel"),
        ({"TERM": "xterm-256color"}, "blocks"),
        ({}, "blocks"),
        # What stands between lets nothing through.
        ({"TERM": "tmux-256color", "KITTY_WINDOW_ID": "1", "TMUX": "socket,1,0"}, "blocks"),
        ({"TERM": "screen.xterm-kitty", "KITTY_WINDOW_ID": "1"}, "blocks"),
        ({"TERM": "tmux-256color", "DICOMSQL_PICTURES": "sixel"}, "sixel"),
    ],
)
def test_the_environment_tells_the_protocol(environment: dict[str, str], protocol: str) -> None:
    assert terminal_protocol(environment) == protocol


def test_sixels_without_what_makes_them_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "find_spec", lambda _: None)
    assert pictures.terminal_protocol({"TERM": "foot"}) == "blocks"
    with pytest.raises(InterfaceError, match=r"'sixel'.*dicomsql\[pictures\]"):
        pictures.terminal_protocol({"DICOMSQL_PICTURES": "sixel"})


def test_a_protocol_that_there_is_not_is_refused() -> None:
    with pytest.raises(InterfaceError, match="Did you mean sixel"):
        terminal_protocol({"DICOMSQL_PICTURES": "sixels"})


# -- what is drawn -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "form"), [("RGB", "png"), ("P", "gif"), ("RGBA", "png"), ("P", "png")]
)
def test_blocks_have_the_pictures_colors_on_a_screen(mode: str, form: str) -> None:
    lines = thumbnail_lines(encoded(quarters(mode), form), 20, 30, color=True)
    assert len(lines) == 10
    assert {cells.width_of(line) for line in lines} == {20}
    screen = screen_of("\n".join(lines))
    assert screen.display[0].rstrip() == "▀" * 20

    def colors(x: int, y: int) -> tuple[str, str]:
        return screen.buffer[y][x].fg, screen.buffer[y][x].bg

    assert colors(2, 1) == ("ff0000", "ff0000")
    assert colors(17, 1) == ("00ff00", "00ff00")
    assert colors(2, 8) == ("0000ff", "0000ff")
    assert colors(17, 8) == ("ffffff", "ffffff")
    assert screen.buffer[0][20].bg == "default"


def test_black_is_black_in_256_colors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLORTERM")
    image = Image.new("L", (8, 8), 0)
    image.paste(255, (4, 0, 8, 8))
    screen = screen_of("\n".join(thumbnail_lines(encoded(image), 8, 8, color=True)))
    assert (screen.buffer[0][0].fg, screen.buffer[0][7].fg) == ("000000", "ffffff")


def test_a_picture_keeps_its_proportions_in_any_room() -> None:
    wide, high = encoded(Image.new("L", (200, 50))), encoded(Image.new("L", (50, 200)))
    assert (len(thumbnail_lines(wide, 40, 40, color=True)), 40) == (5, 40)
    shown = thumbnail_lines(high, 40, 10, color=True)
    assert (len(shown), cells.width_of(shown[0])) == (10, 5)
    odd = thumbnail_lines(encoded(Image.new("L", (7, 3))), 7, 9, color=True)
    assert (len(odd), cells.width_of(odd[0])) == (2, 7)
    for width, height in ((1, 1), (2, 40), (20, 1)):
        lines = thumbnail_lines(wide, width, height, color=True)
        assert 1 <= len(lines) <= height
        assert max(map(cells.width_of, lines)) <= width


def test_letters_without_colors() -> None:
    image = Image.new("L", (40, 40), 0)
    image.paste(255, (20, 0, 40, 40))
    lines = thumbnail_lines(encoded(image), 10, 10, color=False)
    assert len(lines) == 5
    assert all(line[:4] == "    " and line[6:] == "@@@@" for line in lines)


def test_sixteen_bits_and_transparency_are_seen_as_they_are() -> None:
    deep = Image.new("I;16", (4, 4), 65535 // 2)
    screen = screen_of("\n".join(thumbnail_lines(encoded(deep), 4, 4, color=True)))
    assert screen.buffer[0][0].fg == "7f7f7f"
    clear = Image.new("RGBA", (4, 4), (255, 255, 255, 0))
    screen = screen_of("\n".join(thumbnail_lines(encoded(clear), 4, 4, color=True)))
    assert screen.buffer[0][0].fg == "000000"


def test_kitty_gets_a_png_in_pieces_and_answers_nothing() -> None:
    noise = Image.effect_noise((300, 200), 90)
    text = picture_text(encoded(noise, "jpeg"), width=80, height=24, protocol="kitty")
    commands = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", text)
    assert "".join(f"\x1b_G{keys};{data}\x1b\\" for keys, data in commands) == text
    assert commands[0][0] == "a=T,f=100,q=2,c=30,r=10,m=1"
    assert all("q=2" in keys for keys, _ in commands)
    assert [keys[-3:] for keys, _ in commands] == ["m=1"] * (len(commands) - 1) + ["m=0"]
    assert all(len(data) <= 4096 for _, data in commands)
    drawn = Image.open(io.BytesIO(base64.b64decode("".join(data for _, data in commands))))
    assert (drawn.format, drawn.size) == ("PNG", (300, 200))


def test_iterm_and_sixel_are_given_what_fits() -> None:
    data = encoded(quarters(size=1000))
    text = picture_text(data, width=40, height=10, protocol="iterm")
    found = re.fullmatch(
        r"\x1b]1337;File=inline=1;size=(\d+);width=20;height=10;preserveAspectRatio=1:(.*)\a", text
    )
    assert found is not None
    png = base64.b64decode(found[2])
    assert len(png) == int(found[1])
    assert Image.open(io.BytesIO(png)).size == (200, 200)
    sixels = picture_text(data, width=40, height=10, protocol="sixel")
    assert sixels.startswith("\x1bPq#0;2;")
    assert sixels.endswith("\x1b\\")
    # 200 lines of pixels are 34 of sixels.
    assert sixels.count("-") == 34
    assert "#0;2;100;0;0" in sixels or ";2;100;0;0" in sixels
    assert "\n" not in text + sixels


@pytest.mark.parametrize(
    "data",
    [
        encoded(quarters())[:100],
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff\xe0nothing",
        b"GIF89a",
        encoded(Image.effect_noise((64, 64), 90), "jpeg")[:400],
    ],
)
def test_a_damaged_picture_is_refused_and_named_in_tables(data: bytes) -> None:
    with pytest.raises(InterfaceError, match="cannot be shown: what it holds is damaged"):
        picture_text(data, width=10, height=10, protocol="blocks")
    stream = io.BytesIO()
    result = result_of({"id": "INTEGER", "preview": "BLOB"}, [pa.array([1]), pa.array([data])])
    show(result, Look(pager="off"), Screen(stream, 80, 24, color=True))
    assert "bytes, which cannot be shown>" in stream.getvalue().decode()


def test_a_picture_that_would_fill_the_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "_MOST_PIXELS", 100)
    with pytest.raises(InterfaceError, match="64 x 64 pixels are too many"):
        thumbnail_lines(encoded(quarters()), 10, 10, color=True)


# -- among rows ----------------------------------------------------------------------------------


@pytest.fixture
def rows() -> Iterator[Result]:
    columns = {"SOPInstanceUID": "VARCHAR", "InstanceNumber": "BIGINT", "preview": "BLOB"}
    blobs = [encoded(quarters()), None, b"no picture"]
    yield result_of(
        columns,
        [pa.array(["1.2.3", "1.2.4", None]), pa.array([1, 2, 3]), pa.array(blobs, pa.binary())],
    )


def shown(result: Result, look: Look, width: int, *, color: bool = True) -> pyte.Screen:
    stream = io.BytesIO()
    show(result, look, Screen(stream, width, 40, color=color))
    return screen_of(stream.getvalue().decode(), width, 60)


@pytest.mark.parametrize("form", ["table", "box"])
def test_a_table_has_thumbnails_between_its_columns(rows: Result, form: str) -> None:
    screen = shown(rows, Look(form, pager="off"), 80)
    text = "\n".join(screen.display)
    first = next(line for line in screen.display if "1.2.3" in line)
    assert "▀" * 24 in first
    assert sum("▀" * 24 in line for line in screen.display) == 12
    x, y = first.index("▀"), screen.display.index(first)
    assert (screen.buffer[y][x].fg, screen.buffer[y][x + 23].fg) == ("ff0000", "00ff00")
    assert "NULL" in text
    assert base64.b64encode(b"no picture").decode() in text


def test_a_thumbnail_gives_way_with_its_column(rows: Result) -> None:
    screen = shown(rows, Look(pager="off", expanded="off"), 44)
    drawn = [line for line in screen.display if "▀" in line]
    across = drawn[0].count("▀")
    assert 12 <= across < 24
    assert len(drawn) == across // 2
    assert len({line.index("▀") for line in drawn}) == 1


def test_twenty_columns_are_enough(rows: Result) -> None:
    screen = shown(rows, Look(pager="off"), 20)
    drawn = [line for line in screen.display if "▀" in line]
    assert {line.count("▀") for line in drawn} == {16}
    assert len(drawn) == 8


def test_a_picture_alone_has_the_screen() -> None:
    screen = shown(
        result_of({"preview": "BLOB"}, [pa.array([encoded(quarters())])]), Look(pager="off"), 100
    )
    assert max(line.count("▀") for line in screen.display) > 40


def test_without_colors_a_table_has_letters(rows: Result) -> None:
    screen = shown(rows, Look(pager="off"), 80, color=False)
    assert any("@@@@@@@@@@@@" in line for line in screen.display)


def test_where_no_picture_is_drawn_it_is_named(rows: Result) -> None:
    named = f"<PNG, {len(encoded(quarters())):,} bytes>"
    screen = shown(rows, Look(pager="off", pictures=False), 80)
    assert any(named in line for line in screen.display)


@pytest.mark.parametrize("form", ["table", "box", "vertical", "markdown"])
def test_files_for_people_name_pictures(rows: Result, form: str) -> None:
    stream = io.BytesIO()
    output.write(rows, form, stream)
    assert "PNG, " in stream.getvalue().decode()
    assert "▀" not in stream.getvalue().decode()


def test_files_for_programs_have_the_bytes(rows: Result) -> None:
    stream = io.BytesIO()
    output.write(rows, "csv", stream)
    assert base64.b64encode(encoded(quarters())) in stream.getvalue()


def test_who_cannot_draw_is_told_how(rows: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "can_draw", lambda: False)
    stream = io.BytesIO()
    done = show(rows, Look(pager="off"), Screen(stream, 80, 24, color=True))
    assert remarks(done, Statistics()) == [pictures.MISSING]
    assert "<PNG, " in stream.getvalue().decode()


@pytest.mark.parametrize("columns", [1, 2])
def test_a_terminals_own_protocol_is_for_values_below_each_other(
    columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm-kitty")
    names = {"preview": "BLOB", "n": "BIGINT"}
    arrays = [pa.array([encoded(quarters(size=2000))]), pa.array([1])]
    result = result_of(dict(list(names.items())[:columns]), arrays[:columns])
    stream = io.BytesIO()
    # A pager would show the codes.
    screen = Screen(stream, 80, 24, color=True, pager=("false",))
    show(result, Look(pager="on" if columns == 1 else "off"), screen)
    text = stream.getvalue().decode()
    assert ("\x1b_Ga=T" in text) == (columns == 1)
    # Nothing of it is beyond the right edge: it stands behind `preview | `.
    across = [int(c) for c in re.findall(r"\x1b_Ga=T[^;]*,c=(\d+)", text)]
    assert all(10 + c <= 80 for c in across)
    assert ("▀" in text) == (columns == 2)
