"""Writes docs/cli.md: the help texts of the command line, as they are.

python scripts/build_docs.py
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from dicomsql import config
from dicomsql.cli.arguments import make_parser

OUTPUT = """## What is written how

- Rows go to standard output, everything else to standard error.
- Without `-o`, a file of `-f` is written in the format that its ending names, a terminal gets a
  table, a pipe csv. A plan (EXPLAIN, `--dry-run`) and SHOW INSERT are plain text then. An ending
  that is not known is an error; the known ones are `.csv`, `.tsv`, `.json`, `.jsonl`, `.md`,
  `.parquet`, `.arrow` and `.txt` (csv).
- A table on a terminal cuts no column below twelve characters; columns that do not fit are named
  under it. `-o vertical` shows all.
- In csv and tsv an empty text is `""` and NULL is nothing; in a result of one column NULL is `""`
  too, since programs that read csv pass over empty lines.
- json is one array with values of their own type, nested ones as JSON; jsonl streams.
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
"""

TARGET = Path(__file__).parent.parent / "docs" / "cli.md"


def parsers() -> dict[str, argparse.ArgumentParser]:
    """Each command's parser by the words that name it."""
    main = make_parser()
    found = {"dicomsql": main}
    for action in main._actions:
        if isinstance(action, argparse._SubParsersAction):
            found |= {f"dicomsql {name}": parser for name, parser in action.choices.items()}
    return found


def text() -> str:
    """The page."""
    os.environ["COLUMNS"] = "96"
    parts = ["# The command line\n\nMade by `make docs` from the program's own help.\n"]
    for name, parser in parsers().items():
        parts.append(f"## `{name}`\n\n```text\n{parser.format_help().rstrip()}\n```\n")
    parts.append(OUTPUT)
    parts.append(f"## The environment\n\n{config.__doc__ or ''}")
    return "\n".join(parts)


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
