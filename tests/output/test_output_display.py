"""How results are laid out, bounded and paged; pagers here are programs that write to a file."""

from __future__ import annotations

import io
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from dicomsql.errors import CancelledError, InterfaceError, OperationalError
from dicomsql.output.display import (
    Look,
    Screen,
    Shown,
    of_note,
    remarks,
    screen_of,
    show,
    summary,
)
from dicomsql.output.pager import pager_of, shows_colors
from dicomsql.result import Result, ResultColumn, ScanStatistics, Statistics

UID = "1.2.840.113619.2.55.3.604688119.971.1449836723.798.12345678901234"


class Rows:
    """A result of pieces, and what was read of it."""

    def __init__(
        self, *pieces: int, columns: int = 1, value: str = "x", error: Exception | None = None
    ) -> None:
        self.read = 0
        self.closed = self.cancelled = False
        self._names = [f"column_{i}" for i in range(columns)]
        self._pieces, self._value, self._error = pieces, value, error
        self.result = Result(
            tuple(ResultColumn(name, "VARCHAR") for name in self._names),
            self._batches(),
            close=self._close,
            cancel=self._cancel,
        )

    def _batches(self) -> Iterator[pa.RecordBatch]:
        for rows in self._pieces:
            if self.cancelled:
                raise CancelledError("The statement was cancelled.")
            self.read += rows
            yield pa.RecordBatch.from_pydict({n: [self._value] * rows for n in self._names})
        if self._error is not None:
            raise self._error

    def _close(self) -> None:
        self.closed = True

    def _cancel(self) -> None:
        self.cancelled = True


class Display:
    """A terminal, and a pager whose text goes to a file."""

    def __init__(self, file: Path, width: int | None = 80, height: int = 20) -> None:
        self.file = file
        self.stream = io.BytesIO()
        self.width, self.height = width, height

    def show(self, rows: Rows, look: Look | None = None, *, pager: str = "") -> Shown:
        command = ("sh", "-c", pager.format(file=self.file)) if pager else ()
        screen = Screen(self.stream, self.width, self.height, pager=command)
        try:
            return show(rows.result, look or Look(), screen)
        finally:
            assert rows.closed

    @property
    def text(self) -> str:
        return self.stream.getvalue().decode()

    @property
    def paged(self) -> str:
        return self.file.read_text() if self.file.exists() else ""


@pytest.fixture
def display(tmp_path: Path) -> Display:
    return Display(tmp_path / "paged")


CAT = "cat > '{file}'"


def test_without_a_pager_so_many_rows_are_shown_and_no_more_fetched(display: Display) -> None:
    rows = Rows(6, 6, 6)
    shown = display.show(rows, Look(max_rows=10))
    assert (shown.rows, shown.more, rows.read) == (10, True, 12)
    assert display.text.count("x\n") == 10


@pytest.mark.parametrize("form", ["csv", "jsonl", "json", "vertical", "markdown", "box"])
def test_the_bound_holds_for_every_text(display: Display, form: str) -> None:
    shown = display.show(Rows(6, 6), Look(form, max_rows=7))
    assert (shown.rows, shown.more) == (7, True)
    assert display.text.count("x") == 7


def test_as_many_rows_as_are_shown_are_all(display: Display) -> None:
    assert display.show(Rows(5, 5), Look(max_rows=10)) == Shown(10, format="table")
    assert display.show(Rows(5, 5, 1), Look(max_rows=10)) == Shown(10, more=True, format="table")


def test_what_is_no_terminal_gets_all_rows_without_types(display: Display) -> None:
    display.width = None
    shown = display.show(Rows(50, columns=30, value=UID), Look(max_rows=10), pager=CAT)
    assert shown == Shown(50, format="table")
    assert display.text.count(UID) == 1500
    assert "varchar" not in display.text
    assert display.paged == ""


def test_types_are_shown_on_terminals(display: Display) -> None:
    display.show(Rows(1))
    assert display.text == "column_0\nvarchar\n--------\nx\n"


def test_few_rows_that_are_too_wide_stand_below_each_other(display: Display) -> None:
    assert display.show(Rows(1, 1, columns=9, value=UID)).format == "vertical"
    assert display.text.count(UID) == 18


def test_many_rows_that_are_too_wide_lose_columns_that_are_named(display: Display) -> None:
    shown = display.show(Rows(2, 2, columns=9, value=UID))
    assert shown.format == "table"
    assert shown.left_out == tuple(f"column_{i}" for i in range(3, 9))
    assert remarks(shown, Statistics())[0].startswith("6 more columns: column_3, ")


def test_a_narrow_terminal_shows_rows_below_each_other(display: Display) -> None:
    display.width = 20
    assert display.show(Rows(9, columns=2, value=UID)).format == "vertical"
    assert display.show(Rows(9, columns=2)).format == "table"


def test_expanded_is_heeded(display: Display) -> None:
    assert display.show(Rows(9), Look(expanded="on")).format == "vertical"
    few = Rows(1, columns=9, value=UID)
    assert display.show(few, Look("box", expanded="off")).format == "box"
    assert display.show(Rows(9), Look("csv", expanded="on")).format == "csv"


def test_what_fits_the_screen_is_not_paged(display: Display) -> None:
    display.show(Rows(3, 3), pager=CAT)
    assert display.paged == ""
    assert display.text.count("x\n") == 6


def test_what_is_longer_goes_to_the_pager_whole(display: Display) -> None:
    shown = display.show(Rows(3, 60), Look(max_rows=10), pager=CAT)
    assert shown == Shown(63, format="table")
    assert display.paged.count("x\n") == 63
    # What was on the screen by then is taken away, since the pager shows it again.
    head, shown_before, rest = display.text.partition("\x1b[6A\r\x1b[J")
    assert (head.count("x\n"), bool(shown_before), rest) == (3, True, "")


def test_what_is_wider_goes_to_the_pager_whole(display: Display) -> None:
    shown = display.show(Rows(5, columns=9, value=UID), pager=CAT)
    assert shown == Shown(5, format="table")
    assert display.paged.splitlines()[-1].count(UID) == 9
    assert display.text == ""


def test_nothing_is_cut_in_the_pager_and_said_where_it_is(display: Display) -> None:
    text = " ".join(f"word{i}" for i in range(60))
    rows = Rows(30, columns=2, value=text)
    shown = display.show(rows, Look(expanded="off"), pager="cat >{file}")
    assert "…" not in display.paged
    assert display.paged.count("word59") == 60
    assert shown.notes == ()
    for pieces in ((3,), (30,)):
        shown = display.show(Rows(*pieces, columns=2, value=text), Look(expanded="off"))
        assert "…" in display.text
        assert remarks(shown, Statistics()) == [
            "Long values are cut, with … at their end; vertical shows them whole"
        ]


def test_long_lines_of_other_formats_count_as_they_are_shown(display: Display) -> None:
    display.show(Rows(10, value="x" * 300), Look("csv"), pager=CAT)
    assert display.paged.count("x" * 300) == 10


def test_the_pager_is_asked_for_or_not(display: Display) -> None:
    display.show(Rows(1), Look(pager="on"), pager=CAT)
    assert display.paged.endswith("x\n")
    display.show(Rows(60), Look(pager="off"), pager="false")
    assert display.text.count("x\n") == 60


def test_leaving_the_pager_ends_the_result(display: Display) -> None:
    rows = Rows(*[1_000] * 1_000)
    shown = display.show(rows, pager="head -n 5 > '{file}'")
    assert shown.more
    assert rows.read < 100_000
    assert len(display.paged.splitlines()) == 5


def test_a_failure_is_told_in_the_pager_too(display: Display) -> None:
    with pytest.raises(OperationalError, match="gone"):
        display.show(Rows(60, error=OperationalError("The server is gone.")), pager=CAT)
    assert display.paged.splitlines()[-1].startswith("-- stopped here")


def test_ctrl_c_in_the_pager_ends_the_rows_and_not_the_pager(display: Display) -> None:
    before = signal.getsignal(signal.SIGINT)
    rows = Rows(60, *[1] * 100_000)
    shown = display.show(rows, pager="kill -INT $PPID; cat > '{file}'")
    assert shown.more
    assert display.paged.splitlines()[-1].startswith("-- stopped here")
    assert signal.getsignal(signal.SIGINT) == before


def test_less_keeps_nothing_of_what_it_shows(
    display: Display, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LESSHISTFILE", "/somewhere")
    monkeypatch.setenv("LESSOPEN", "|- tee /somewhere")
    monkeypatch.delenv("LESS", raising=False)
    display.show(Rows(60), pager="env > '{file}'; cat > /dev/null")
    given = dict(line.split("=", 1) for line in display.paged.splitlines() if "=" in line)
    assert given["LESSHISTFILE"] == "-"
    assert "LESSOPEN" not in given
    assert given["LESS"] == "-RSX"


def test_an_unknown_format_closes_the_result(display: Display) -> None:
    with pytest.raises(InterfaceError, match="no output format"):
        display.show(Rows(1), Look("tabel"))


def test_a_text_is_shown_as_such_and_paged(display: Display) -> None:
    lines = tuple((f"line {i}\x1b",) for i in range(50))
    plan = Result((ResultColumn("plan", "VARCHAR"),), iter(()), rows=lines)
    command = ("sh", "-c", CAT.format(file=display.file))
    shown = show(plan, Look(), Screen(display.stream, 80, 20, pager=command))
    assert shown.rows == 50
    assert display.paged.splitlines()[7] == "line 7\\x1b"


def test_a_statement_without_rows_has_no_number(display: Display) -> None:
    assert show(Result(None, iter(())), Look(), Screen(display.stream)) == Shown(None)


@pytest.mark.parametrize(
    ("environment", "command"),
    [
        ({"TERM": "xterm"}, ("less",)),
        ({"TERM": "dumb"}, ()),
        ({}, ()),
        ({"TERM": "xterm", "PAGER": ""}, ()),
        ({"TERM": "xterm", "PAGER": "cat"}, ()),
        ({"TERM": "xterm", "PAGER": "head -n '3'"}, ("head", "-n", "3")),
        ({"TERM": "xterm", "PAGER": "head", "DICOMSQL_PAGER": "tail"}, ("tail",)),
        ({"TERM": "xterm", "PAGER": "no-such-pager"}, ()),
        ({"TERM": "xterm", "PAGER": "head '"}, ()),
    ],
)
def test_which_pager(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], command: tuple[str, ...]
) -> None:
    known = {"less", "head", "tail", "cat"}
    monkeypatch.setattr("shutil.which", lambda name: name if name in known else None)
    assert pager_of(environment) == command


@pytest.mark.parametrize(
    ("command", "less", "colors"),
    [
        (("less",), None, True),
        (("/usr/bin/less", "-i"), None, True),
        (("less",), "-i", False),
        (("less",), "-iR", True),
        (("less", "-R"), "-i", True),
        (("less",), "--mouse -i", False),
        (("more",), None, False),
    ],
)
def test_which_pagers_show_colors(command: tuple[str, ...], less: str | None, colors: bool) -> None:
    assert shows_colors(command, {} if less is None else {"LESS": less}) is colors


class Tty(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environment", "color"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
        ({"TERM": "xterm", "NO_COLOR": ""}, True),
        ({"TERM": "dumb"}, False),
    ],
)
def test_the_screen_of_a_terminal(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], color: bool
) -> None:
    for name in ("TERM", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((77, 33)))
    screen = screen_of(Tty(io.BytesIO()))
    assert (screen.width, screen.height, screen.color) == (77, 33, color)
    plain = screen_of(io.TextIOWrapper(io.BytesIO()))
    assert (plain.width, plain.height, plain.color, plain.pager) == (None, None, False, ())


def test_what_is_said_below_rows() -> None:
    scan = ScanStatistics("s", "google.healthcare.studies", "s", expected=5_000)
    statistics = Statistics(requests=12, bytes_received=3_400_000, seconds=0.84, scans=[scan])
    assert remarks(Shown(1_000, more=True), statistics) == ["... more rows, which were not fetched"]
    statistics.rows_of = "s"
    assert remarks(Shown(1_000, more=True), statistics) == [
        "... about 4,000 more rows, which were not fetched"
    ]
    assert remarks(Shown(1_000), statistics) == []
    assert summary(Shown(1_234), statistics) == "(1,234 rows, 12 requests, 3.4 MB, 0.8 s)"
    assert summary(Shown(1), Statistics(from_cache=1)) == "(1 row, 1 from the cache, 0.0 s)"
    assert summary(Shown(None), Statistics(seconds=61)) == "(61.0 s)"


def test_the_time_in_the_pager_is_the_persons(display: Display) -> None:
    shown = display.show(Rows(300), pager="cat > '{file}'; sleep 0.05")
    assert shown.read >= 0.05
    cost = Statistics(seconds=3.0)
    assert summary(Shown(1, waited=2.0), cost) == "(1 row, 1.0 s)"


def test_rows_of_what_is_done_are_not_said_to_be_unfetched(display: Display) -> None:
    rows = Rows(9)
    rows.result.affected = 9
    shown = display.show(rows, Look(max_rows=5))
    assert (shown.more, shown.done) == (True, True)
    (said,) = remarks(shown, Statistics())
    assert said == "... more rows, which are not shown; all that the statement does is done"


def _copied(*statuses: str) -> Result:
    names = ("path", "status", "reason")
    batch = pa.RecordBatch.from_pydict(
        {"path": [UID] * len(statuses), "status": list(statuses), "reason": ["why"] * len(statuses)}
    )
    return Result(
        tuple(ResultColumn(name, "VARCHAR") for name in names),
        iter([batch]),
        schema=batch.schema,
        affected=2,
        of_note=("status", "failed"),
    )


def test_of_a_copy_the_failures_are_shown_their_reason_first() -> None:
    kept = of_note(_copied("stored", "failed", "stored"))
    assert [column.name for column in kept.columns or ()] == ["status", "reason", "path"]
    assert [b.to_pylist() for b in kept.batches()] == [
        [{"status": "failed", "reason": "why", "path": UID}]
    ]
    assert of_note(_copied("stored")).columns is None
    whole = _copied("stored")
    whole.of_note = None
    assert of_note(whole) is whole
