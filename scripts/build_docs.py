"""Writes the parts of docs/ that are made from the code: help texts, and the table of settings.

python scripts/build_docs.py
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

from dicomsql.cli.arguments import commands_of, make_parser
from dicomsql.config import OPTIONS
from dicomsql.shell.meta.document import filled_in

DOCS = Path(__file__).parent.parent / "docs"

INTRODUCTION = """\
# The command line

Made by `make docs` from the program's own help. `dicomsql` alone on a terminal opens the shell;
where there is none it ends with 2, so that statements of a pipe are never taken for run: those are
for `dicomsql exec`.
"""

BEHAVIOUR = """\
## What is written how

- Rows go to standard output, everything else to standard error.
- Without `-o`, a file of `-f` is written in the format that its ending names, then in that of
  DICOMSQL_OUTPUT or the profile, else a terminal gets a table, a pipe csv. A plan (EXPLAIN,
  `--dry-run`) and SHOW INSERT are plain text then. An ending that is not known is an error; the
  known ones are `.csv`, `.tsv`, `.json`, `.jsonl`, `.md`, `.html`, `.parquet`, `.arrow` and `.txt`
  (csv).
- A table on a terminal cuts no column below twelve characters; columns that do not fit are named
  under it. `-o vertical` shows all.
- In csv and tsv an empty text is `""` and NULL is nothing; in a result of one column NULL is `""`
  too, since programs that read csv pass over empty lines.
- json is one array with values of their own type, nested ones as JSON; jsonl streams. NaN and the
  infinities, for which JSON has no numbers, are the texts `"NaN"`, `"Infinity"` and `"-Infinity"`.
- Results of several statements follow each other in one output: of csv each with its header, of
  json an array for each, which few programs read; of jsonl an object a line, whose keys tell them
  apart. Write what is to be read by a program to files of their own, or as jsonl.
- html is one page of one result ([the shell](shell.md#pages-of-html)); chart is bars in text.
- parquet and arrow (its IPC file format) are written to a file only, one result each. Columns keep
  their types; JSON is text.
- A COPY that moves instances says how far it is: on a terminal in a line that changes, with a bar,
  files, bytes, rate, time left and failures, elsewhere in a line every ten seconds; `--quiet` keeps
  both back. Its rows come once it is done, then on standard error what was done in one line; with
  `-o json` and `-o jsonl` that line is a JSON object: `instances`, a number for each status,
  `bytes`, `seconds`. Where rows failed, or it could not go on, the rows are written all the same
  (to the file of `-f` too), the number is said, and the exit code is 1. Ctrl-C says what is done by
  then and ends with 130; the same statement goes on from there.
- `--max-bytes` takes a number of bytes, or one with k, M, G or T (powers of 1,000; Ki, Mi, Gi, Ti
  of 1,024) and a B where you like: `10k`, `1.5MB`, `2 GiB`.

## Scripts

- The statements of a text are all read before the first runs: where one is no SQL, nothing runs.
- `--on-error stop` ends at the first that fails. `--on-error continue` runs the others, tells each
  failure with its number and line (`error: statement 2, line 5: ...`), and ends with 1. Rows of a
  statement are written once it has all of them, so that none are of one that failed. An error in an
  open transaction ends the run all the same: the transaction is rolled back, and what is left would
  do something else without it.
- A transaction that is open when the last statement is done is rolled back: that is an error.
- Messages that cannot be written to standard error are lost, and change nothing of the exit code.
  Rows that cannot be written are an error, and a reader that goes away is 141 without a message.
- Text that is not UTF-8, or holds a byte of 0, is refused before anything runs.
- Errors are a line, `error: ...`, on standard error; `--debug` shows the way through the program
  too, which may quote what servers sent. `DICOMSQL_TRACEBACK=1` does so for defects alone.

| Exit code | |
|---|---|
| 0 | done |
| 1 | a statement failed, or what was checked is wrong |
| 2 | the command line, a file that is named or the configuration is wrong; nothing ran |
| 129, 131 | told to stop (SIGHUP, SIGQUIT) |
| 130 | interrupted |
| 141 | the reader of the output went away |
| 143 | told to stop (SIGTERM) |

## The environment

The [table of settings](configuration.md#settings) has the variables.
"""

# What stands around the table of settings, on a page that is else written by hand.
BEGIN, END = "<!-- made by `make docs` -->\n", "<!-- end -->\n"


def parsers(
    parser: argparse.ArgumentParser, name: str = "dicomsql"
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Each command's parser by the words that name it, a command's own commands behind it."""
    yield name, parser
    for word, inner in commands_of(parser).items():
        yield from parsers(inner, f"{name} {word}")


def command_line() -> str:
    """The page of the command line."""
    os.environ["COLUMNS"] = "96"
    parts = [INTRODUCTION]
    for name, parser in parsers(make_parser()):
        level = "##" if name.count(" ") < 2 else "###"
        parts.append(f"{level} `{name}`\n\n```text\n{parser.format_help().rstrip()}\n```\n")
    parts.append(BEHAVIOUR)
    return "\n".join(parts)


def settings() -> str:
    """The table of settings."""
    rows = ["| In a profile | Option | Environment | What it says |", "|---|---|---|---|"]
    for option in OPTIONS:
        variables = [name for name in (option.environment, option.elsewhere) if name]
        cells = [
            f"`{option.key}`" if option.key else "",
            f"`{option.flag}`" if option.flag else "",
            ", then ".join(f"`{name}`" for name in variables),
            option.help,
        ]
        if cells[1] or cells[2]:
            rows.append(f"| {' | '.join(cells)} |".replace("|  |", "| |"))
    return "\n".join(rows) + "\n"


def configuration(page: str) -> str:
    """The page of the configuration, with the table as it has to be."""
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}{settings()}{END}{after}"


if __name__ == "__main__":
    (DOCS / "cli.md").write_text(command_line(), encoding="utf-8")
    page = DOCS / "configuration.md"
    page.write_text(configuration(page.read_text(encoding="utf-8")), encoding="utf-8")
    page = DOCS / "shell.md"
    page.write_text(filled_in(page.read_text(encoding="utf-8")), encoding="utf-8")
