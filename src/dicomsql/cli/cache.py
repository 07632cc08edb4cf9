"""The command `cache`: what is kept on this machine of servers' answers."""

from __future__ import annotations

import argparse
import sys

from dicomsql.session.transports import kept_answers


def cache(arguments: argparse.Namespace) -> int:
    """Tell how much is kept, or remove it."""
    answers = kept_answers()
    if arguments.action == "clear":
        count, size = answers.clear()
        sys.stdout.write(f"removed {_told(count, size)} from {answers.folder}\n")
    else:
        count, size = answers.info()
        sys.stdout.write(f"{_told(count, size)} in {answers.folder}\n")
    return 0


def _told(count: int, size: int) -> str:
    return f"{count:,} answer{'' if count == 1 else 's'} of {size:,} bytes"
