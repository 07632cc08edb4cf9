"""The direction of imports: lower parts never import higher ones."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "dicomsql"

# Each part with the parts that it may import, itself apart.
ALLOWED = {
    "errors": set(),
    "version": set(),
    "embedded": set(),
    "closing": set(),
    "waiting": set(),
    "progress": set(),
    "connections": {"errors"},
    "config": {"errors", "connections"},
    "result": {"errors"},
    "dicom": {"errors"},
    "transport": {"errors", "closing", "waiting", "config", "connections", "dicom", "embedded"},
    "language": {"errors"},
    "catalog": {"errors", "config", "dicom"},
    "planning": {"errors", "catalog", "language", "dicom", "embedded", "version"},
    "engine": {"errors", "language", "planning", "result"},
    "files": {"errors", "waiting", "dicom"},
    "execution": {
        *("errors", "catalog", "planning", "language", "dicom", "transport", "engine", "result"),
        *("files", "waiting", "progress"),
    },
    "copying": {
        *("errors", "catalog", "planning", "dicom", "transport", "execution", "engine", "result"),
        *("embedded", "waiting", "progress"),
        # Rows go to a file of COPY ... TO by the same code as to one of the command line.
        *("files", "output"),
    },
    "session": {
        *(
            "errors",
            "closing",
            "config",
            "connections",
            "catalog",
            "language",
            "planning",
            "execution",
        ),
        *("transport", "result", "copying", "engine", "progress"),
    },
    "output": {"errors", "result", "progress"},
    "dbapi": {"errors", "closing", "config", "language", "session", "result", "output"},
    "aio": {"errors", "dbapi", "result"},
    # Each on the DB-API module alone, which they import by its public names.
    "integrations": {"errors", "version", "__init__"},
    # The two programs share how a session is opened and how a person is talked to.
    "cli": {
        *("errors", "config", "language", "session", "result", "output", "version", "shell"),
        # `provider` looks at documents alone, without a session.
        *("progress", "catalog"),
    },
    "shell": {
        *("errors", "config", "language", "session", "result", "output", "version", "cli"),
        # Completion knows what there is to complete.
        *("catalog", "dicom"),
    },
    "emulator": {"dicom"},
    "__init__": {"aio", "dbapi", "errors", "version"},
    "__main__": {"cli"},
}

# The emulator is a program of its own: the command that starts it (and tells its errors) imports
# it, and the one transport that talks to it in process.
# Of the rest it uses only the reader of DICOM files, which both sides need and none is tested
# against the other by.
EMULATOR_READS = {"part10", "charset"}
EMULATOR_USERS = {"cli/emulator.py", "cli/failures.py", "transport/asgi.py"}


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def part_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Full names of the modules that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            if node.module == "dicomsql":
                found |= {f"dicomsql.{alias.name}" for alias in node.names}
            else:
                found.add(node.module or "")
    return {name for name in found if name.split(".")[0] == "dicomsql"}


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(SOURCE)))
def test_a_part_imports_only_what_is_below_it(path: Path) -> None:
    part = part_of(path)
    assert part in ALLOWED, f"{part} has no place in the order of the parts"
    for name in imported(path):
        parts = name.split(".")
        target = parts[1] if len(parts) > 1 else "__init__"
        if target == part:
            continue
        if target == "emulator":
            relative = path.relative_to(SOURCE).as_posix()
            assert relative in EMULATOR_USERS, f"{path} imports {name}"
            continue
        assert target in ALLOWED[part], f"{path} imports {name}"


def test_the_emulator_reads_files_and_imports_nothing_else_of_the_rest() -> None:
    for path in (SOURCE / "emulator").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names = {f"{node.module}.{alias.name}" for alias in node.names}
            else:
                continue
            for name in names:
                of, _, read = name.partition("dicomsql.dicom.")
                assert of or read.split(".")[0] in EMULATOR_READS, f"{path} imports {name}"


def test_every_part_is_there() -> None:
    found = {part_of(path) for path in modules()}
    assert found == set(ALLOWED)
