"""`dicomsql exec` over a session that runs statements in DuckDB alone."""

from __future__ import annotations

import io
import json
import os
import stat
import sys
import types
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from dicomsql import errors
from dicomsql.cli import main
from dicomsql.config import Settings
from dicomsql.language.parse import parse
from dicomsql.language.statements import Engine, Statement
from dicomsql.result import Result, ResultColumn, Statistics


class FakeSession:
    """Runs queries in DuckDB; other statements by the name that stands in them."""

    last: FakeSession
    in_transaction = False

    def __init__(
        self,
        settings: Settings,
        *,
        consent: Callable[[str], bool] | None = None,
        progress: Callable[[str], None] | None = None,
        lines: Callable[[str], None] | None = None,
        stop_operation: Callable[[str], bool] | None = None,
    ) -> None:
        self.settings = settings
        self.consent = consent
        self.stop_operation = stop_operation
        self.progress = progress
        self.lines = lines
        self.dry_runs: list[bool] = []
        self.closed = False
        FakeSession.last = self

    def __enter__(self) -> FakeSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.closed = True

    def parse(self, text: str, variables: Mapping[str, object]) -> tuple[Statement, ...]:
        return parse(text, variables)

    def execute(self, statement: Statement, *, dry_run: bool) -> Result:
        self.dry_runs.append(dry_run)
        if isinstance(statement, Engine):
            return getattr(self, statement.text.split()[1])()
        if self.progress:
            self.progress("page 1\x1b")
        relation = duckdb.sql(statement.text)
        columns = tuple(
            ResultColumn(n, str(t)) for n, t in zip(relation.columns, relation.types, strict=True)
        )
        notes = ["2 stores were skipped"] if "skip" in statement.text else []
        table = relation.to_arrow_table()
        batches = iter(table.to_batches())
        return Result(columns, batches, statistics=Statistics(notes=notes), schema=table.schema)

    def said(self) -> Result:
        return Result(None, iter(()), message="The store was deleted.")

    def asked(self) -> Result:
        assert self.consent is not None
        return Result(None, iter(()), message=str(self.consent("Delete 17 instances?")))

    def warned(self) -> Result:
        warnings.warn("the store's metrics lag", errors.Warning, stacklevel=1)
        return Result(None, iter(()))

    def elsewhere(self) -> Result:
        warnings.warn("not ours", UserWarning, stacklevel=1)
        return Result(None, iter(()))

    def explained(self) -> Result:
        columns = (ResultColumn("plan", "JSON"),)
        return Result(columns, iter(()), rows=(('{\n  "a": "b, \x9b"\n}',),))

    def shown(self) -> Result:
        columns = (ResultColumn("insert_statement", "VARCHAR"),)
        return Result(columns, iter(()), rows=(("INSERT INTO x\n  (a, b)",),))

    def copied(self) -> Result:
        if self.lines:
            self.lines("1 of 2 files")
        return Result(
            (ResultColumn("status", "VARCHAR"),),
            iter(duckdb.sql("SELECT 'failed' AS status").to_arrow_table().to_batches()),
            message="2 instances: 1 stored, 1 failed.",
            summary={"instances": 2, "failed": 1},
            failure=errors.OperationalError("1 of 2 instances failed."),
        )

    def failed(self) -> Result:
        raise errors.PlanningError("There is no resource google.healthcare.studys.")

    def defect(self) -> Result:
        raise ValueError("Doe^Jane")

    def interrupted(self) -> Result:
        raise KeyboardInterrupt


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def session(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("dicomsql.session")
    module.Session = FakeSession  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "dicomsql.session", module)
    for name in [n for n in os.environ if n.startswith(("DICOMSQL_", "GOOGLE_CLOUD_"))]:
        monkeypatch.delenv(name)


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Run:
    def go(*argv: str, stdin: str | bytes | None = None) -> tuple[int, str, str]:
        if stdin is not None:
            data = stdin.encode() if isinstance(stdin, str) else stdin
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        code = main(["exec", *argv])
        sys.stdout.flush()
        sys.stderr.flush()
        out, err = capfdbinary.readouterr()
        return code, out.decode(), err.decode()

    return go


def test_rows_go_to_stdout_as_csv_in_a_pipe(run: Run) -> None:
    assert run("SELECT 1 a, 'x' b; SELECT 2 c") == (0, "a,b\n1,x\nc\n2\n", "")
    assert FakeSession.last.closed
    assert FakeSession.last.consent is None
    assert FakeSession.last.progress is None


def test_table_tells_its_rows_on_stderr(run: Run) -> None:
    assert run("-o", "table", "SELECT 1 a") == (0, "a\n-\n1\n", "(1 row)\n")
    code, _, err = run("-o", "table", "SELECT * FROM range(2000)")
    assert (code, err) == (0, "(2,000 rows)\n")


@pytest.mark.parametrize(
    ("options", "out"),
    [
        (["-o", "json"], '[{"a":1,"b":"x"}]\n'),
        (["--output=tsv", "-H"], "1\tx\n"),
        (["--delimiter", ";"], "a;b\n1;x\n"),
        (["--delimiter", "tab", "--hideheaders"], "1\tx\n"),
    ],
)
def test_output_options(run: Run, options: list[str], out: str) -> None:
    assert run(*options, "SELECT 1 a, 'x' b") == (0, out, "")


def test_messages_notes_and_warnings_go_to_stderr(run: Run) -> None:
    code, out, err = run("DROP said; SELECT 'skip' a; DROP warned")
    assert (code, out) == (0, "a\nskip\n")
    assert err.splitlines() == [
        "The store was deleted.",
        "note: 2 stores were skipped",
        "warning: the store's metrics lag",
    ]


def test_warnings_of_others_go_their_way(run: Run) -> None:
    with pytest.warns(UserWarning, match="not ours"):
        assert run("DROP elsewhere")[0] == 0


def test_the_first_failure_ends_it(run: Run) -> None:
    code, out, err = run("SELECT 1 a; DROP failed; SELECT 2")
    assert (code, out) == (1, "a\n1\n")
    assert err == "error: There is no resource google.healthcare.studys.\n"
    assert FakeSession.last.closed


def test_a_syntax_error_runs_nothing(run: Run) -> None:
    code, out, err = run("SELECT 1; SELEC 2")
    assert (code, out) == (1, "")
    assert "line 1, column 11" in err
    assert FakeSession.last.dry_runs == []


def test_a_defect_is_told_without_data(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    code, _, err = run("DROP defect")
    assert code == 1
    assert err.startswith("error: a defect of dicomsql: ValueError at test_cli_exec.py:")
    assert "Doe" not in err
    monkeypatch.setenv("DICOMSQL_TRACEBACK", "1")
    assert "Traceback" in run("DROP defect")[2]


def test_ctrl_c_is_130_without_a_traceback(run: Run) -> None:
    assert run("DROP interrupted") == (130, "", "interrupted\n")
    assert FakeSession.last.closed


def test_sql_comes_from_a_file_or_standard_input(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "a.sql"
    file.write_bytes("\ufeffSELECT 'é' a".encode())
    assert run("-i", str(file)) == (0, "a\né\n", "")
    assert run("-i", "-", stdin="SELECT 1 a")[:2] == (0, "a\n1\n")
    assert run(stdin="SELECT 2 a -- b;\n")[:2] == (0, "a\n2\n")
    file.write_text("-- nothing")
    code, out, err = run("-i", str(file))
    assert (code, out) == (2, "")
    assert "There is no SQL" in err


@pytest.mark.parametrize(
    ("argv", "stdin", "said"),
    [
        ([], "", "There is no SQL"),
        ([""], None, "There is no SQL"),
        ([";"], None, "There is no SQL"),
        (["-- comment"], None, "There is no SQL"),
        (["-i", "/no/such.sql"], None, "Cannot read /no/such.sql: No such file"),
        (["-i", "x", "SELECT 1"], None, "not both"),
        (["-i", "-"], b"\xff", "Standard input is not UTF-8 text (byte 1"),
        (["--var", "a", "SELECT 1"], None, "--var takes NAME=VALUE"),
        (["--dialect", "bigqery", "SELECT 1"], None, "Did you mean bigquery?"),
        (["--endpoint", "localhost", "SELECT 1"], None, "is no URL"),
        (["--endpoint", "http://x", "--local", "d", "SELECT 1"], None, "not both"),
        (["--max-pages", "0", "SELECT 1"], None, "no number of 1 or more"),
        (["--timeout", "soon", "SELECT 1"], None, "no number of seconds"),
        (["--timeout", "nan", "SELECT 1"], None, "no number of seconds"),
        (["--delimiter", "ab", "SELECT 1"], None, "no delimiter"),
        (["-o", "xml", "SELECT 1"], None, "invalid choice"),
        (["-o", "parquet", "SELECT 1"], None, "name it with -f FILE"),
        (["-o", "parquet", "-f", "-", "SELECT 1"], None, "name it with -f FILE"),
        (["-o", "parquet", "-f", os.devnull, "SELECT 1"], None, "name it with -f FILE"),
        (
            ["-f", "x.foo", "SELECT 1"],
            None,
            ".foo says nothing of the format. Those known are .csv",
        ),
        (["-f", "x.parquet", "SELECT 1; SELECT 2"], None, "A parquet file holds one result"),
        (["--max-bytes", "10X", "SELECT 1"], None, "it must be a number of bytes from 1 on"),
        (["--max-bytes", "0", "SELECT 1"], None, "it must be a number of bytes from 1 on"),
        (["-f", "/no/such/folder/x.csv", "SELECT 1"], None, "Cannot write /no/such"),
        (["-f", "/", "SELECT 1"], None, "Cannot write /: Is a directory"),
        (["--loca", "d", "SELECT 1"], None, "There is no option --loca. Did you mean --local?"),
        (["--outptu=x", "SELECT 1"], None, "no option --outptu. Did you mean --output?"),
        (["--zzz", "SELECT 1"], None, "There is no option --zzz.\n"),
        (["SELECT", "1"], None, "put the SQL in quotes"),
    ],
)
def test_a_wrong_command_line_is_2(
    run: Run, argv: list[str], stdin: str | bytes | None, said: str
) -> None:
    code, out, err = run(*argv, stdin=stdin)
    assert (code, out) == (2, "")
    assert said in err
    assert "error: " in err


@pytest.mark.parametrize(
    "argv", [["--outpt", "SELECT 'Doe'"], ["-o", "xml"], ["--store"], ["SELECT 'Doe'", "x", "-z"]]
)
def test_a_wrong_option_is_told_in_two_lines(run: Run, argv: list[str]) -> None:
    code, _, err = run(*argv)
    told, hint = err.splitlines()
    assert code == 2
    assert told.startswith("error: ")
    assert hint == "`dicomsql exec --help` lists the options."
    assert "Doe" not in err


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("a.csv", "a,b"),
        ("a.TSV", "a\tb"),
        ("a.json", '[{"a":1,"b":2}]'),
        ("a.jsonl", '{"a":1,"b":2}'),
        ("a.md", "| a | b |"),
        ("a.txt", "a,b"),
    ],
)
def test_the_ending_of_the_outfile_gives_the_format(
    run: Run, tmp_path: Path, name: str, first: str
) -> None:
    file = tmp_path / name
    assert run("-f", str(file), "SELECT 1 a, 2 b")[0] == 0
    assert file.read_text().splitlines()[0] == first
    assert run("-o", "tsv", "-f", str(file), "SELECT 1 a, 2 b")[0] == 0
    assert file.read_text().splitlines()[0] == "a\tb"


def test_plans_and_statements_are_plain_text_unless_a_format_is_asked_for(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("DROP explained") == (0, '{\n  "a": "b, \x9b"\n}\n', "")
    assert run("DROP shown") == (0, "INSERT INTO x\n  (a, b)\n", "")
    asked = 'insert_statement\n"INSERT INTO x\n  (a, b)"\n'
    assert run("-o", "csv", "DROP shown") == (0, asked, "")
    terminal = Terminal(monkeypatch, "")
    assert main(["exec", "DROP explained; DROP shown"]) == 0
    assert terminal.rows() == '{\n  "a": "b, \\x9b"\n}\nINSERT INTO x\n  (a, b)\n'
    assert terminal.err.getvalue() == ""


def test_vertical_tells_its_rows_on_stderr(run: Run) -> None:
    assert run("-o", "vertical", "SELECT 1 a WHERE false") == (0, "", "(0 rows)\n")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--proxy", "http://x"], "--proxy has no effect with --local"),
        (["--proxy", "http://x", "--ca-bundle", "b"], "--proxy and --ca-bundle have no effect"),
    ],
)
def test_options_for_the_network_mean_nothing_locally(
    run: Run, options: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("b").touch()
    err = run(*options, "--local", "folder", "SELECT 1 a; SELECT 2 a")[2]
    assert err.startswith(f"warning: {said}")
    assert err.count("warning") == 1
    assert run(*options, "SELECT 1 a")[2] == ""


def test_no_sql_on_a_terminal(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Tty())
    code, _, err = run()
    assert code == 2
    assert 'dicomsql exec "SHOW PROVIDERS"' in err


def test_options_become_settings(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("c.json", "b"):
        Path(name).touch()
    Path("docs").mkdir()
    monkeypatch.setenv("DICOMSQL_STORE", "from-environment")
    monkeypatch.setenv("DICOMSQL_LOCATION", "not-this")
    options = (
        "--endpoint http://h:1/ --project p --location l --dataset d --credentials c.json "
        "--impersonate a --anonymous --quota-project q --proxy http://x --ca-bundle b --max-pages 3"
        " --max-calls 9 --parallel 2 --timeout 1.5 --log-http --show-phi --audit-log a.log --await "
        "--yes --dialect BigQuery --providers docs --dry-run"
    )
    assert run(*options.split(), "SELECT 1 a")[0] == 0
    assert FakeSession.last.settings == Settings(
        endpoint="http://h:1",
        project="p",
        location="l",
        dataset="d",
        dicom_store="from-environment",
        credentials="c.json",
        impersonate="a",
        anonymous=True,
        quota_project="q",
        proxy="http://x",
        ca_bundle="b",
        max_pages=3,
        max_calls=9,
        parallel=2,
        timeout=1.5,
        log_http=True,
        show_phi=True,
        audit_log=Path("a.log"),
        await_operations=True,
        yes=True,
        dialect="bigquery",
        providers=Path("docs"),
    )
    assert FakeSession.last.dry_runs == [True]


@pytest.mark.parametrize(
    ("argv", "local"),
    [
        (["SELECT 1", "--local"], "emulator"),
        (["--local", "SELECT 1"], "emulator"),
        (["--local", "folder", "SELECT 1"], "folder"),
        (["--local", "select", "SELECT 1"], "select"),
        (["--dialect", "duckdb", "SELECT 1", "--store", "s"], None),
    ],
)
def test_local_takes_an_optional_folder(run: Run, argv: list[str], local: str | None) -> None:
    assert run(*argv)[0] == 0
    found = FakeSession.last.settings.local
    assert (found.name if found else None) == local


def test_variables_from_files_and_options(run: Run, tmp_path: Path) -> None:
    yaml = tmp_path / "a.yaml"
    yaml.write_text("store: from-yaml\nlabels:\n  env: prod\nother: 1\n")
    more = tmp_path / "b.json"
    more.write_text('{"other": 2}')
    empty = tmp_path / "c.yml"
    empty.write_text("# nothing\n")
    files = ["--vars", str(yaml), "--vars", str(more), "--vars", str(empty)]
    sql = "SELECT '{{ store }}' a, '{{ labels }}' b, {{ other }} c"
    code, out, _ = run(*files, "--var", "store=it's=5", "-o", "json", sql)
    assert code == 0
    assert json.loads(out) == [{"a": "it's=5", "b": '{"env": "prod"}', "c": 2}]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.json", "{'a': 1}", "is not JSON: Expecting property name"),
        ("a.yaml", "a: [1", "is not YAML at line 2, column 1"),
        ("a.yaml", "- 1", "must hold names with values"),
        ("a.yaml", "1: 2", "must hold names with values"),
    ],
)
def test_files_of_variables_that_are_wrong(
    run: Run, tmp_path: Path, name: str, text: str, said: str
) -> None:
    file = tmp_path / name
    file.write_text(text + "\n")
    code, _, err = run("--vars", str(file), "SELECT 1")
    assert code == 2
    assert said in err


def test_an_outfile_appears_whole_and_for_its_owner_alone(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    assert run("-f", str(file), "SELECT 1 a; SELECT 2 b") == (0, "", "")
    assert file.read_text() == "a\n1\nb\n2\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert run("-f", str(file), "SELECT 3 c; DROP failed")[0] == 1
    assert file.read_text() == "a\n1\nb\n2\n"
    assert [p.name for p in tmp_path.iterdir()] == ["rows.csv"]


def test_parquet_is_a_file_that_is_whole_or_not_there(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    assert run("-f", str(file), "DROP said; SELECT 1 a, 'x' b")[:2] == (0, "")
    assert duckdb.sql(f"SELECT * FROM '{file}'").fetchall() == [(1, "x")]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    code, _, err = run("-f", str(file), "DROP shown; DROP explained")
    assert (code, "holds one result" in err) == (2, True)
    assert run("-f", str(file), "SELECT 3 c; DROP failed")[0] == 1
    assert duckdb.sql(f"SELECT * FROM '{file}'").fetchall() == [(1, "x")]
    assert run("-f", str(file), "DROP shown")[0] == 0
    assert duckdb.sql(f"SELECT * FROM '{file}'").fetchall() == [("INSERT INTO x\n  (a, b)",)]
    assert [p.name for p in tmp_path.iterdir()] == ["rows.parquet"]


def test_rows_of_a_copy_are_written_before_it_fails(run: Run, tmp_path: Path) -> None:
    ends = "1 of 2 files\n2 instances: 1 stored, 1 failed.\nerror: 1 of 2 instances failed.\n"
    assert run("DROP copied; SELECT 1 never") == (1, "status\nfailed\n", ends)
    assert run("-q", "DROP copied")[2] == ends.removeprefix("1 of 2 files\n")
    code, out, err = run("-q", "-o", "json", "DROP copied")
    assert (code, json.loads(out)) == (1, [{"status": "failed"}])
    assert json.loads(err.splitlines()[0]) == {"instances": 2, "failed": 1}
    file = tmp_path / "rows.csv"
    assert run("-f", str(file), "DROP copied")[:2] == (1, "")
    assert file.read_text() == "status\nfailed\n"


def test_a_copy_counts_as_one_result_of_a_file(run: Run, tmp_path: Path) -> None:
    copy = "COPY google.healthcare.instances FROM 'in'"
    code, _, err = run("-f", str(tmp_path / "x.parquet"), f"{copy}; SELECT 1")
    assert (code, "A parquet file holds one result" in err) == (2, True)


def test_arrow_is_a_file_too(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "rows.arrow"
    assert run("-f", str(file), "SELECT 1 a, 'x' b, INTERVAL 2 DAY c")[0] == 0
    table = pa.ipc.open_file(file).read_all()
    assert table.to_pylist() == [{"a": 1, "b": "x", "c": "P2D"}]
    assert run("-f", str(file), "SELECT 1 a WHERE false")[0] == 0
    assert pa.ipc.open_file(file).read_all().schema == pa.schema([("a", pa.int32())])
    code, _, err = run("-o", "arrow", "SELECT 1")
    assert (code, "Arrow is written to a file" in err) == (2, True)


def test_a_document_is_no_cell_of_a_table(run: Run) -> None:
    assert run("-o", "table", "DROP explained") == (0, '{\n  "a": "b, \x9b"\n}\n', "")


def test_a_device_is_written_and_not_replaced(run: Run) -> None:
    assert run("-f", os.devnull, "SELECT 1 a")[0] == 0
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)


class Terminal:
    """Standard streams that say that they are terminals."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
        self.err = Tty()
        self.out = Tty()
        self.out.buffer = io.BytesIO()  # type: ignore[attr-defined]
        monkeypatch.setattr(sys, "stdin", Tty(answer))
        monkeypatch.setattr(sys, "stderr", self.err)
        monkeypatch.setattr(sys, "stdout", self.out)
        monkeypatch.setenv("COLUMNS", "20")
        monkeypatch.setenv("NO_COLOR", "1")

    def rows(self) -> str:
        buffer: Any = self.out.buffer  # type: ignore[attr-defined]
        return str(buffer.getvalue().decode())


def test_a_terminal_gets_a_table_of_its_width(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal(monkeypatch, "")
    assert main(["exec", "SELECT repeat('x', 50) a"]) == 0
    assert terminal.rows().splitlines()[-3:] == ["x" * 20, "x" * 20, "x" * 10]
    # The line of progress is made safe, and taken away before the rows.
    assert terminal.err.getvalue() == "\r\x1b[2Kpage 1\\x1b\r\x1b[2K(1 row)\n"


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT 'x' StudyInstanceUID, 1 b", "1 more column: b"),
        ("SELECT 'x' StudyInstanceUID, 'y' SeriesInstanceUID, 1 b", "2 more columns: "),
    ],
)
def test_a_narrow_terminal_tells_which_columns_it_lacks(
    monkeypatch: pytest.MonkeyPatch, sql: str, said: str
) -> None:
    terminal = Terminal(monkeypatch, "")
    monkeypatch.setenv("COLUMNS", "15")
    assert main(["exec", sql]) == 0
    assert terminal.rows() == "StudyInstance\nUID\nvarchar\n---------------\nx\n"
    assert f"{said}" in terminal.err.getvalue()
    assert terminal.err.getvalue().endswith("; -o vertical shows all\n(1 row)\n")


@pytest.mark.parametrize(("answer", "said"), [("y\n", "True"), ("\n", "False"), ("", "False")])
def test_a_terminal_is_asked(monkeypatch: pytest.MonkeyPatch, answer: str, said: str) -> None:
    terminal = Terminal(monkeypatch, answer)
    assert main(["exec", "DROP asked"]) == 0
    assert terminal.err.getvalue() == f"Delete 17 instances? [y/N] {said}\n"
