"""Without any extra: everything but the emulator works, and that says what to install."""

from __future__ import annotations

import subprocess
import sys
import textwrap

# What only the extra `emulator` brings.
EXTRA = ("starlette", "uvicorn", "pydicom", "numpy", "PIL")

PRELUDE = f"""
import sys
for name in {EXTRA!r}:
    sys.modules[name] = None
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", PRELUDE + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_queries_of_the_engine_and_the_documents_work() -> None:
    done = run(
        """
        from dicomsql.cli import main
        code = main(["exec", "SELECT 1 AS a, [2] AS b, DATE '2026-01-31' AS c; SHOW PROVIDERS"])
        sys.exit(code)
        """
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:2] == ["a,b,c", "1,[2],2026-01-31"]
    assert "google" in done.stdout


def test_the_emulator_says_what_to_install() -> None:
    for arguments in (
        [
            "exec",
            "--local",
            "x",
            "SELECT * FROM google.healthcare.locations WHERE projectsId = 'p'",
        ],
        ["emulator", "--root", "x"],
    ):
        done = run(f"from dicomsql.cli import main\nsys.exit(main({arguments!r}))")
        assert done.returncode in {1, 2}
        assert 'pip install "dicomsql[emulator]"' in done.stderr
        assert "Traceback" not in done.stderr


def test_importing_the_module_imports_nothing_heavy() -> None:
    done = run(
        """
        import dicomsql
        from dicomsql.cli.arguments import make_parser
        heavy = {"sqlglot", "duckdb", "pyarrow", "httpx", "yaml", "jsonschema", "google.auth"}
        print(sorted(heavy & set(sys.modules)))
        """
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_showing_providers_imports_neither_parser_nor_engine() -> None:
    done = run(
        """
        from dicomsql.cli import main
        main(["exec", "SHOW PROVIDERS"])
        heavy = {"sqlglot", "duckdb", "pyarrow", "httpx", "jsonschema"}
        print(sorted(heavy & set(sys.modules)))
        """
    )
    assert done.stdout.splitlines()[-1] == "[]", done.stderr
