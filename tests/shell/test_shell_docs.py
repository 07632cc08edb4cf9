"""docs/shell.md has every meta-command and setting as the tables have them."""

from __future__ import annotations

from pathlib import Path

from dicomsql.shell.meta import commands
from dicomsql.shell.meta.document import filled_in

PAGE = Path(__file__).parent.parent.parent / "docs" / "shell.md"


def test_the_page_is_what_make_docs_makes() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert filled_in(page) == page, "run `make docs`"
    assert all(f"`\\{command.names[0]}" in page for command in commands())
