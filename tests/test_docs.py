"""The docs say what the code does."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest

from dicomsql.cli.arguments import make_parser
from dicomsql.config.file import checked_configuration
from dicomsql.language.parse import parse

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from scripts import build_docs  # noqa: E402 - the folder that holds it is on the path only now

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_page_of_the_command_line_is_the_program_s_own_help(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "96")
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert page == build_docs.command_line(), "run `make docs`"


def test_every_command_has_help_with_examples() -> None:
    for name, parser in build_docs.parsers(make_parser()):
        assert parser.description, name
        if name.count(" ") < 2:
            assert re.search(r"examples:\n  .*dicomsql", str(parser.epilog)), name
        for action in parser._actions:
            assert action.help or action.metavar == "COMMAND", f"{name} {action.dest}"


def test_the_examples_of_commands_can_be_given() -> None:
    for name, parser in build_docs.parsers(make_parser()):
        lines = str(parser.epilog or "").partition("examples:\n")[2].partition("\n\nexit")[0]
        for example in re.findall(
            r"^  dicomsql.*(?:\n +.*)*?(?=\n  dicomsql|\n\n|\Z)", lines, re.M
        ):
            words = shlex.split(example.replace("\\\n", " "), comments=True)[1:]
            words = words[: next((i for i, w in enumerate(words) if w in {"<", ">"}), None)]
            assert make_parser().parse_args(words) is not None, f"{name}: {example}"


def test_the_page_of_the_configuration_has_all_settings() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert page == build_docs.configuration(page), "run `make docs`"
    for block in re.findall(r"```toml\n(.*?)```", page, re.DOTALL):
        assert checked_configuration(Path("c.toml"), block, private=True).profiles


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_sql_in_the_docs_parses(page: Path) -> None:
    for block in re.findall(r"```sql\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        assert parse(block)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_readme_begins_with_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^    (make \w+)", text, re.MULTILINE)
    assert commands[:2] == ["make demo", "make test"]
