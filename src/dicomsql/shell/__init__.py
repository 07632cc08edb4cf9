"""The shell: statements are typed, run and shown, one after the other, in one session.

    dicomsql shell --local ./archive

It is a face on `Session`, as `dicomsql exec` is; see docs/shell.md.
"""

from __future__ import annotations

import argparse
import sys

__all__ = ["run"]


def run(arguments: argparse.Namespace) -> int:
    """Run `dicomsql shell` with its options; the exit code.

    Where nobody types, what standard input holds is run as `dicomsql exec` runs it.

    Raises:
        UsageError: an option, or a file that it names, is wrong.
        Error: a statement of standard input failed.
    """
    if sys.stdin is None or not sys.stdin.isatty():
        from dicomsql.cli.execute import execute

        return execute(arguments)
    from dicomsql.shell.loop import interact

    return interact(arguments)
