"""The meta-commands: one table, and what each does to the shell."""

from __future__ import annotations

import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from dicomsql.cli.arguments import make_parser, parse_arguments
from dicomsql.errors import OperationalError
from dicomsql.output.display import Look
from dicomsql.result import Result, ResultColumn
from dicomsql.session import Session
from dicomsql.shell.interrupts import Interrupts
from dicomsql.shell.meta import commands, help_lines
from dicomsql.shell.meta.looks import SETTINGS
from dicomsql.shell.meta.syntax import STATEMENTS
from dicomsql.shell.running import Quit, Shell
from dicomsql.shell.state import State
from dicomsql.shell.talk import Talk

Run = Callable[[str], str]


@pytest.fixture
def shell(filled: Session) -> Iterator[Shell]:
    interrupts = Interrupts()
    arguments = parse_arguments(make_parser(), ["shell"])
    shell = Shell(State(filled, arguments), Talk(interrupts), interrupts)
    shell.state.timing = False
    yield shell
    if shell.state.output is not None:
        shell.state.output.close(True)


@pytest.fixture
def run(shell: Shell, capfdbinary: pytest.CaptureFixture[bytes]) -> Run:
    """Runs what is typed; what is written to both streams."""

    def run(text: str) -> str:
        shell.run(text)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        out, err = capfdbinary.readouterr()
        return (out + err).decode()

    return run


# -- the table -------------------------------------------------------------------------------------


def test_each_name_means_one_command() -> None:
    names = [name for command in commands() for name in command.names]
    assert len(names) == len(set(names))
    for command in commands():
        assert command.help
        assert not command.help.endswith(".")


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_help_names_every_command_and_fits(width: int) -> None:
    lines = help_lines(width)
    assert max(map(len, lines)) <= max(width, 36)
    text = "\n".join(lines)
    assert all(f"\\{command.names[0]}" in text for command in commands())


def test_every_look_can_be_set() -> None:
    assert set(SETTINGS) == set(Look.__dataclass_fields__) | {"timing"}


@pytest.mark.parametrize("name", STATEMENTS)
def test_every_example_parses(name: str, filled: Session) -> None:
    statements = filled.parse(STATEMENTS[name].example)
    assert statements
    assert STATEMENTS[name].example.startswith(name.split(maxsplit=1)[0])


# -- running ---------------------------------------------------------------------------------------


def test_a_backslash_and_a_dot_do_the_same(run: Run, shell: Shell) -> None:
    run("\\format csv")
    assert shell.state.look.format == "csv"
    run(".mode json")
    assert shell.state.look.format == "json"


def test_an_unknown_command_names_the_nearest(run: Run) -> None:
    assert "There is no command \\fromat. Did you mean \\format?" in run("\\fromat csv")
    assert "COPY (SELECT" in run("\\copy x")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\\format xml", "format takes table"),
        ("\\format parquet", "\\o FILE.parquet"),
        ("\\timing maybe", "on or off, not 'maybe'"),
        ("\\set max_rows 0", "a whole number from 1 on"),
        ("\\set no_such thing", "There is no setting"),
        ("\\set delimiter ,,", "one ASCII letter"),
        ("\\x on off", "too many"),
        ("\\d a b", "That is no name"),
        ("\\d x; DROP TABLE t", "That is no name"),
        ("\\dm", "takes the name of a resource"),
        ("\\i", "\\i FILE"),
        ("\\i /no/such/file", "Cannot read /no/such/file"),
        ("\\o", "\\o FILE"),
        ("\\o x.xml", "the ending .xml"),
        ("\\g", "There is no statement yet"),
        ("SELECT 1 \\g |cat", "Nothing is piped"),
        ("SELECT 1 \\gx | cat", "Nothing is piped"),
        ("\\o |cat", "Nothing is piped"),
        ("\\once |cat", "Nothing is piped"),
        ("SELECT 1 \\w |cat", "Nothing is piped"),
        ("\\set no_such 5", "\\set takes format"),
        ("\\df", "duckdb_functions()"),
        ("\\if true", "no conditions"),
        ("SELECT $1;", "\\var NAME=VALUE"),
        ("SELECT :x;", "\\var NAME=VALUE"),
        ("\\watch soon", "\\watch 5"),
        ("\\var 1=2", "NAME=VALUE"),
        ("\\defaults shop=1", "There is no default shop"),
        ("\\connect nowhere", "nowhere"),
        ("\\image x", "SOPInstanceUID"),
        ("\\h MERGE", "There is no help on MERGE"),
        ("\\echo 'a\n\\format 'csv", "closing quote"),
    ],
)
def test_what_is_wrong_says_what_is_right(text: str, said: str, run: Run, shell: Shell) -> None:
    assert said in run(text)
    assert shell.state.failed


def test_what_follows_a_failure_is_not_run(run: Run, shell: Shell) -> None:
    said = run("SELECT 1 AS a; SELECT nothing; SELECT 2 AS b; \\format csv")
    assert "nothing" in said
    assert "was not run (2)" in said
    assert shell.state.look.format == "table"


def test_a_statement_that_is_begun_stands_in_the_next_prompt(run: Run, shell: Shell) -> None:
    run("SELECT 1 AS a \\timing on")
    assert shell.draft == "SELECT 1 AS a"


def test_a_meta_command_in_the_middle_leaves_the_statement_whole(run: Run) -> None:
    assert "seven" in run("SELECT 7\n\\format csv\nAS seven;")


def test_g_runs_it_again_and_gx_shows_it_vertically(run: Run, shell: Shell) -> None:
    run("\\format csv")
    assert run("SELECT 40 + 2 AS answer;").startswith("answer\n42\n")
    assert run("\\g").startswith("answer\n42\n")
    run("\\format table")
    assert "answer | 42" in run("\\gx")
    assert shell.state.look.format == "table"
    assert "b | 3" in run("SELECT 3 AS b \\G")


def test_quit_ends_it(shell: Shell) -> None:
    for text in ("\\q", "quit", "exit;", ".exit"):
        with pytest.raises(Quit):
            shell.run(text)


def test_d_lists_services_resources_columns_and_methods(run: Run) -> None:
    assert "google.healthcare" in run("\\d")
    assert "dicom_stores" in run("\\d google.healthcare")
    assert "StudyInstanceUID" in run("\\d google.healthcare.studies")
    assert "store_instances" in run("\\dm google.healthcare.dicom_stores")
    assert "dicomStoresId" in run("\\dm google.healthcare.dicom_stores.store_instances")
    run("USE google.healthcare;")
    assert "dicom_stores" in run("\\d")


def test_dt_lists_local_tables_and_views(run: Run) -> None:
    run("CREATE TABLE cohort AS SELECT 1 AS a; CREATE VIEW seen AS SELECT 2 AS b;")
    said = run("\\dt")
    assert "cohort" in said
    assert "seen" in said


def test_h_shows_a_statement(run: Run) -> None:
    assert "DELETE FROM google.healthcare.instances" in run("\\h delete")
    assert "COPY FROM" in run("\\h copy")
    assert "INSERT" in run("\\h")


def test_set_changes_looks_and_settings_of_the_session(run: Run, shell: Shell) -> None:
    run("\\set null -")
    assert shell.state.look.null == "-"
    run("\\unset null")
    assert shell.state.look.null == "NULL"
    run("\\set max_calls 5")
    assert shell.state.session.current_settings["max_calls"] == 5
    run("\\set projectsId other")
    assert shell.state.session.defaults["projectsId"] == "other"
    run("\\unset projectsId")
    assert shell.state.session.defaults["projectsId"] == "p"
    listed = run("\\set")
    assert all(name in listed for name in (*SETTINGS, "max_calls", "cache"))


def test_defaults_are_shown_and_changed(run: Run, shell: Shell) -> None:
    run("\\defaults store=o'ther project = q")
    assert shell.state.session.defaults["dicomStoresId"] == "o'ther"
    assert shell.state.session.defaults["projectsId"] == "q"
    run("\\defaults store=")
    assert shell.state.session.defaults["dicomStoresId"] == "s"
    assert "datasetsId" in run("\\defaults")


def test_variables_fill_placeholders(run: Run) -> None:
    run("\\format csv")
    run("\\var word=it's so")
    run("\\var number = '5'")
    assert "it's so,6" in run("SELECT '{{ word }}' AS a, {{ number }} + 1 AS b;")
    assert "word = it's so" in run("\\var")
    run("\\unset word")
    assert "word" in run("SELECT '{{ word }}';")


def test_results_go_to_a_file_that_appears_at_its_end(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "out.csv"
    run(f"\\o {file}")
    assert "1" not in run("SELECT 1 AS a;").split("(")[0]
    assert not file.exists()
    assert "is written (csv, 1 result)" in run("\\o")
    assert file.read_text() == "a\n1\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_file_with_part_of_a_result_never_appears(
    run: Run, shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def batches() -> Iterator[pa.RecordBatch]:
        yield pa.record_batch({"a": [1]})
        raise OperationalError("The second page did not come.")

    result = Result((ResultColumn("a", "BIGINT"),), batches())
    file = tmp_path / "out.csv"
    run(f"\\o {file}")
    monkeypatch.setattr(shell.state.session, "execute", lambda *_, **__: result)
    said = run("SELECT a FROM somewhere;")
    assert "The second page did not come" in said
    assert "is not written" in said
    assert not file.exists()
    assert "\\o FILE" in run("\\o")


def test_once_takes_the_next_result_alone(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "one.json"
    assert "is written" in run(f".once {file}\nSELECT 1 AS a;")
    assert file.read_text() == '[{"a":1}]\n'
    assert "2" in run("SELECT 2 AS b;")


def test_a_parquet_file_holds_one_result(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "out.parquet"
    assert "holds one result" in run(f"\\o {file}\nSELECT 1 AS a;\nSELECT 2 AS b;")
    assert "is written (parquet, 1 result)" in run("\\o")
    assert file.stat().st_size > 0


def test_g_with_a_file(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "g.csv"
    run(f"SELECT 5 AS a \\g {file}")
    assert file.read_text() == "a\n5\n"
    run(f"SELECT nothing \\g {tmp_path / 'none.csv'}")
    assert not (tmp_path / "none.csv").exists()


def test_scripts_run_statements_and_meta_commands(run: Run, tmp_path: Path) -> None:
    script = tmp_path / "script.sql"
    script.write_text("\\format csv\nSELECT 1 AS a;\n-- no `;` at the end\nSELECT 2 AS b")
    said = run(f"\\i {script}")
    assert "a\n1\n" in said
    assert "b\n2\n" in said
    script.write_text(f"\\i {script}")
    assert "runs itself" in run(f"\\i {script}")
    script.write_bytes(b"SELECT \xff")
    assert "is not UTF-8" in run(f"\\i {script}")


def test_the_editor_gives_the_next_prompt(
    run: Run, shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = tmp_path / "seen"
    editor = tmp_path / "editor"
    editor.write_text(f'#!/bin/sh\ncp -p "$1" {seen}\nprintf \'SELECT 9;\' > "$1"\n')
    editor.chmod(0o700)
    monkeypatch.setenv("EDITOR", str(editor))
    monkeypatch.delenv("VISUAL", raising=False)
    run("SELECT 8 AS a \\e")
    assert seen.read_text() == "SELECT 8 AS a;\n"
    assert stat.S_IMODE(seen.stat().st_mode) == 0o600
    assert shell.draft == "SELECT 9;"
    monkeypatch.setenv("EDITOR", "/no/such/editor")
    assert "cannot be started" in run("\\e")


def test_the_buffer_is_shown_written_and_forgotten(run: Run, shell: Shell, tmp_path: Path) -> None:
    assert "SELECT 1" in run("SELECT 1 \\p")
    run(f"SELECT 2 \\w {tmp_path / 'saved.sql'}")
    assert (tmp_path / "saved.sql").read_text() == "SELECT 2;\n"
    shell.draft = ""
    run("SELECT 3 \\r")
    assert shell.draft == ""


def test_connect_goes_elsewhere_unless_that_loses_something(
    run: Run, shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = shell.state.session
    run("CREATE TABLE kept AS SELECT 1 AS a;")
    asked: list[str] = []
    monkeypatch.setattr(shell.talk, "ask", lambda question: bool(asked.append(question)))
    run(f"\\connect local {tmp_path / 'other'}")
    assert shell.state.session is before
    assert "1 local table or view is in memory" in asked[0]
    run("DROP TABLE kept; BEGIN;")
    assert "A transaction is open" in run("\\connect default")
    run("ROLLBACK;")
    assert "connected to local other" in run(f"\\connect local {tmp_path / 'other'}")
    assert before.closed
    shell.state.session.close()


def test_conninfo_tells_of_places_and_of_no_secret(run: Run) -> None:
    said = run("\\conninfo")
    assert "dicomStoresId" in said
    assert "in memory" in said


def test_other_programs_run(run: Run) -> None:
    assert "hello" in run("\\! echo hello")
    assert "exit code 3" in run("\\! exit 3")
    assert run("\\echo a  b") == "a  b\n"


def test_a_local_table_is_told_to_be_in_memory_once_and_to_hide_the_servers(run: Run) -> None:
    assert "--database FILE keeps them" in run("CREATE TABLE one AS SELECT 1 AS a;")
    run("USE google.healthcare;")
    said = run("CREATE TABLE Studies AS SELECT 1 AS a;")
    assert "the server's is google.healthcare.studies" in said
    assert "--database" not in said
    assert "note" not in run("CREATE TABLE other AS SELECT 1 AS a;")


def test_what_more_there_is_to_see_is_told(run: Run) -> None:
    assert "There are no local tables; \\d" in run("\\dt")
    assert "\\d+ google.healthcare.studies shows" in run("\\d google.healthcare.studies")
    assert "\\d+" not in run("CREATE TABLE t AS SELECT 1 AS a; \\d t")


def test_defaults_are_told_in_one_line(run: Run) -> None:
    said = run("\\defaults project=a location=b dataset= store=")
    assert said == "defaults: project=a location=b dataset=d store=s\n"
