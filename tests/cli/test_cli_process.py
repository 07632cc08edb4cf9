"""The program as a process: help, version, what it imports, and pipes that close."""

from __future__ import annotations

import socket
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from dicomsql.cli import main

HEAVY = {
    "sqlglot", "duckdb", "pyarrow", "httpx", "yaml", "jsonschema", "pydicom", "starlette",
    "google", "msgspec", "uvicorn", "numpy", "dataclasses",
}  # fmt: skip


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    "argv", [["--help"], ["exec", "--help"], ["--version"], ["config", "set", "--help"]]
)
def test_help_and_version_import_nothing_heavy(argv: list[str]) -> None:
    code = (
        "import sys\nfrom dicomsql.cli import main\n"
        f"assert main({argv!r}) == 0\n"
        f"print('heavy:', sorted({HEAVY!r} & set(sys.modules)))"
    )
    done = python(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "heavy: []"


def test_the_parser_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom dicomsql.language.parse import parse\nimport dicomsql.output\n"
        "parse(\"SHOW PROVIDERS; EXEC a.b.c.d @x = '{{ y }}'\", {'y': 1})\n"
        f"print(sorted(({HEAVY!r} - {{'dataclasses'}}) & set(sys.modules)))"
    )
    assert python(code).stdout == "[]\n"


def test_module_runs_as_a_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dicomsql", "--version"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.startswith("dicomsql ")


def test_no_command_without_a_terminal_runs_nothing_and_says_so() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dicomsql"],
        input="SELECT 1", capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 2
    assert "`dicomsql exec`" in done.stderr


def test_an_unknown_command_is_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["exce", "SELECT 1"]) == 2
    assert capsys.readouterr().err == (
        "error: There is no command exce. Did you mean exec?\n"
        "`dicomsql --help` lists the options.\n"
    )
    assert main(["config", "shw"]) == 2
    assert capsys.readouterr().err.startswith("error: There is no command shw. Did you mean show?")


PIPED = """
import sys, types, pyarrow as pa
from dicomsql.result import Result, ResultColumn
class Session:
    in_transaction = False
    def __init__(self, *_, **__): pass
    def __enter__(self): return self
    def __exit__(self, *_): pass
    def parse(self, text, variables): return [types.SimpleNamespace(text=text)]
    def execute(self, statement, dry_run):
        batch = pa.record_batch({"a": ["x" * 1000] * 1000})
        return Result((ResultColumn("a", "VARCHAR"),), (batch for _ in range(50)))
sys.modules["dicomsql.session"] = types.SimpleNamespace(Session=Session)
from dicomsql.cli import main
sys.exit(main(["exec", "SELECT 1"]))
"""


def test_a_reader_that_goes_away_ends_it_quietly() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PIPED], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"a\n"
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 141


def test_ctrl_c_during_imports_is_130() -> None:
    code = (
        "import sys\nfrom dicomsql.cli import main\n"
        "class Finder:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'argparse': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Finder())\n"
        "sys.exit(main(['exec', 'SELECT 1']))"
    )
    done = python(code)
    assert (done.returncode, done.stderr) == (130, "interrupted\n")


def test_sigterm_is_143_and_closes_what_is_open(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys, tempfile\n"
        "import dicomsql.cli, dicomsql.cli.run\n"
        "def run(_):\n"
        "    with tempfile.TemporaryDirectory(dir=sys.argv.pop()):\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        signal.pause()\n"
        "dicomsql.cli.run.run = run\n"
        f"sys.argv = ['dicomsql', 'cache', {str(tmp_path)!r}]\n"
        "dicomsql.cli.entry()"
    )
    done = python(code)
    assert (done.returncode, done.stderr) == (143, "told to stop\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("module", ["dicomsql.cli", "dicomsql.cli.imports", "dicomsql.cli.run"])
def test_ctrl_c_while_the_program_starts_leaves_no_traceback(module: str) -> None:
    code = (
        "import runpy, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name == {module!r}: raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Finder())\n"
        "sys.argv = ['dicomsql', 'exec', 'SELECT 1']\n"
        "runpy.run_module('dicomsql', run_name='__main__', alter_sys=False)"
    )
    done = python(code)
    assert done.returncode == 130
    assert "Traceback" not in done.stderr


Serve = Callable[..., None]


def emulator(monkeypatch: pytest.MonkeyPatch, serve: Serve) -> None:
    import dicomsql.emulator

    module = types.ModuleType("dicomsql.emulator.server")
    module.serve = serve  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "dicomsql.emulator.server", module)
    monkeypatch.setattr(dicomsql.emulator, "server", module, raising=False)


def test_emulator_serves_and_prints_its_url(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[tuple[Path, dict[str, object]]] = []

    def serve(root: Path, *, ready: Callable[[str], None], **options: object) -> None:
        ready("http://127.0.0.1:8042")
        calls.append((root, options))

    from dicomsql.emulator.faults import Behaviour, Fault, Faults

    emulator(monkeypatch, serve)
    assert main(["emulator", "--root", "folder"]) == 0
    assert main(
        ["emulator", "--root", "f", "--host", "::1", "--port", "80", "--verbose",
         "--operation-delay", "0.5", "--allow-host", "pacs", "--allow-host", "pacs.test",
         "--allow-origin", "http://localhost:3000",
         "--latency", "20ms", "--quota", "600",
         "--fault", "rate=0.5,kinds=429,stall,seed=7"]
    ) == 0  # fmt: skip
    assert calls == [
        (
            Path("folder"),
            {"host": "127.0.0.1", "port": 0, "verbose": False, "operation_delay": 0.0, "hosts": []}
            | {"origins": []}
            | {"behaviour": Behaviour()},
        ),
        (
            Path("f"),
            {"host": "::1", "port": 80, "verbose": True, "operation_delay": 0.5}
            | {"hosts": ["pacs", "pacs.test"], "origins": ["http://localhost:3000"]}
            | {"behaviour": Behaviour(Faults(0.5, (Fault.BUSY, Fault.STALL), 7), 0.02, 600)},
        ),
    ]
    assert capsys.readouterr().out == "http://127.0.0.1:8042\n" * 2


def test_emulator_without_its_extra_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def serve(*_: object, **__: object) -> None:
        raise ModuleNotFoundError("No module named 'uvicorn'", name="uvicorn.config")

    emulator(monkeypatch, serve)
    assert main(["emulator", "--root", "f"]) == 1
    assert 'pip install "dicomsql[emulator]"' in capsys.readouterr().err


def test_an_emulator_that_cannot_start_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    assert main(["emulator", "--root", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith(f"error: The folder {tmp_path} holds other things")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["emulator", "--root", str(tmp_path / "new"), "--port", str(port)]) == 1
    assert capsys.readouterr().err.startswith(f"error: Cannot listen on 127.0.0.1:{port}: ")


def test_a_wrong_option_of_the_program_and_of_the_emulator(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--verison"]) == 2
    assert capsys.readouterr().err == (
        "error: There is no option --verison. Did you mean --version?\n"
        "`dicomsql --help` lists the options.\n"
    )
    assert main(["emulator", "--root", "f", "--porrt", "1"]) == 2
    assert capsys.readouterr().err == (
        "error: There is no option --porrt. Did you mean --port?\n"
        "`dicomsql emulator --help` lists the options.\n"
    )


def test_emulator_that_lacks_something_else_is_a_defect(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def serve(*_: object, **__: object) -> None:
        raise ModuleNotFoundError("No module named 'x'", name="x")

    emulator(monkeypatch, serve)
    assert main(["emulator", "--root", "f"]) == 1
    assert "a defect of dicomsql: ModuleNotFoundError" in capsys.readouterr().err


def test_emulator_port_and_root(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["emulator", "--root", "f", "--port", "70000"]) == 2
    assert "no port" in capsys.readouterr().err
    assert main(["emulator"]) == 2
    assert "--root" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (["--fault", "rate=2"], "it goes from 0 to 1"),
        (["--fault", "rate=0.1,kinds=flood"], "'flood' is no kind; the kinds are 429, 503, reset"),
        (["--latency", "20"], "write it as 20ms or 1.5s"),
        (["--latency", "-1s"], "write it as 20ms or 1.5s"),
        (["--latency", "9" * 400 + "s"], "it is a number of seconds"),
        (["--quota", "0"], "no number of 1 or more"),
    ],
)
def test_an_emulator_cannot_misbehave_so(
    option: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["emulator", "--root", "f", *option]) == 2
    assert said in capsys.readouterr().err
