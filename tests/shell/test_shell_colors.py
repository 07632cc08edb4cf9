"""Colors: every line is whole, and what was cut before is the same as what is cut anew."""

from __future__ import annotations

import random

from prompt_toolkit.document import Document

from dicomsql.shell.colors import Colors

PARTS = (
    "select", "FROM", "'a b'", "'", "-- x", "/*", "*/", "$$", "12", "foo.bar", '"q"', ";", "\n",
    "{{ v }}", ":n", "@m", "\\g", " ", "\t",
)  # fmt: skip


def colored(colors: Colors, text: str) -> list[list[tuple[str, str]]]:
    document = Document(text)
    line = colors.lex_document(document)
    return [[(part[0], part[1]) for part in line(number)] for number in range(document.line_count)]


def merged(line: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """A style for each letter."""
    return [(style, letter) for style, text in line for letter in text]


def test_edits_give_what_the_whole_text_gives() -> None:
    chance = random.Random(6)
    kept, text = Colors(), ""
    for _ in range(400):
        place = chance.randrange(len(text) + 1)
        text = text[:place] + chance.choice(PARTS) + text[place + chance.randrange(4) :]
        text = text[-200:]
        lines = colored(kept, text)
        assert ["".join(part for _, part in line) for line in lines] == text.split("\n")
        anew = colored(Colors(), text)
        assert [merged(line) for line in lines] == [merged(line) for line in anew], text


def test_a_long_text_is_cut_where_it_is_seen() -> None:
    text = "SELECT '" + "x'';\n" * 20_000 + "' AS a"
    line = Colors().lex_document(Document(text))
    assert line(0)[0] == ("class:sql.keyword", "SELECT")
    assert line(20_000)[-2:] == [("", " "), ("", "a")] or line(20_000)[-1][1] == "a"
    assert line(10_000) == [("class:sql.string", "x'';")]


def test_lines_of_an_earlier_text_can_still_be_asked_for() -> None:
    colors = Colors()
    before = colors.lex_document(Document("SELECT 'first'"))
    colors.lex_document(Document("SELECT 'second'"))(0)
    assert "".join(part[1] for part in before(0)) == "SELECT 'first'"


def test_a_meta_command_is_one_piece() -> None:
    assert colored(Colors(), "\\echo it's") == [[("class:sql.meta", "\\echo it's")]]
