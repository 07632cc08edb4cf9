"""Changes of TOML line by line: what is not changed stays as it was, comments and all."""

from __future__ import annotations

import tomllib

import pytest

from dicomsql.config.lines import line_of, with_value, without

TEXT = """\
# mine
default_profile = "a" # the usual one

[profiles.a]
# where
"pro=ject" = "x"  # odd
project = 'p # no comment' # a comment
many = [
  1, # one
  2,
]

# of b
[profiles.b]
project = "q"

[connections]
pacs = {service = "s", endpoint = "e"}
"""


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        (("default_profile",), 2),
        (("profiles", "a"), 4),
        (("profiles", "a", "pro=ject"), 6),
        (("profiles", "a", "project"), 7),
        (("profiles", "a", "many"), 8),
        (("profiles", "b", "project"), 15),
        (("connections", "pacs", "endpoint"), 18),
        (("profiles", "b", "nothing"), 14),
        (("nothing",), 1),
    ],
)
def test_lines(keys: tuple[str, ...], line: int) -> None:
    assert line_of(TEXT, keys) == line


@pytest.mark.parametrize(
    ("keys", "value", "old", "new"),
    [
        (
            ("profiles", "a", "project"),
            'a "b" \\ é',
            "project = 'p # no comment' # a comment",
            'project = "a \\"b\\" \\\\ é" # a comment',
        ),
        (("profiles", "a", "pro=ject"), 1.5, '"pro=ject" = "x"  # odd', '"pro=ject" = 1.5  # odd'),
        (("profiles", "a", "many"), True, "many = [\n  1, # one\n  2,\n]", "many = true"),
        (("profiles", "b", "store"), "s", 'project = "q"\n', 'project = "q"\nstore = "s"\n'),
        (("files",), "off", "# the usual one\n", '# the usual one\nfiles = "off"\n'),
        (("profiles", "c d", "x"), 1, '"e"}\n', '"e"}\n\n[profiles."c d"]\nx = 1\n'),
    ],
)
def test_a_value_is_set(keys: tuple[str, ...], value: object, old: str, new: str) -> None:
    assert TEXT.count(old) == 1
    assert with_value(TEXT, keys, value) == TEXT.replace(old, new)  # type: ignore[arg-type]


def test_an_empty_file_is_set() -> None:
    assert with_value("", ("a", "b", "c"), 1) == "[a.b]\nc = 1\n"
    assert with_value("", ("a",), "x\x7f\n") == 'a = "x\\u007f\\n"\n'


def test_what_is_written_otherwise_is_not_touched() -> None:
    assert with_value(TEXT, ("connections", "pacs", "endpoint"), "f") is None
    assert without(TEXT, ("connections", "pacs", "endpoint")) is None


def test_a_value_or_a_table_is_taken_out() -> None:
    assert without(TEXT, ("profiles", "a", "project")) == TEXT.replace(
        "project = 'p # no comment' # a comment\n", ""
    )
    left = without(TEXT, ("profiles", "b"))
    assert left is not None
    assert "b" not in tomllib.loads(left)["profiles"]
    assert left.startswith(TEXT.partition("# of b")[0])


def test_lines_that_end_otherwise() -> None:
    made = with_value("[p]\r\na = 1\r\n", ("p", "a"), 2)
    assert made is not None
    assert tomllib.loads(made) == {"p": {"a": 2}}
