"""Completion in the shell: the time from a key to the menu, in a statement of 200 lines.

    python benchmarks/completing.py [--rounds 20]

Processor time of the thread that makes the menu; nobody types slower for it, as it is not the one
that takes the keys.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from measure import print_machine, print_table, rounds
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from dicomsql.config import Settings
from dicomsql.session import Session
from dicomsql.shell.completion import Completion

# The milliseconds that a menu may take.
BOUND = 20

LINES = "\n".join(f"  count(*) FILTER (WHERE Modality = 'M{n}') AS m{n}," for n in range(200))
TEXTS = {
    "a column in SELECT": f"SELECT\n{LINES}\n  pat| FROM google.healthcare.studies",
    "a condition": f"SELECT\n{LINES}\n  1 FROM google.healthcare.instances WHERE ro|",
    "a resource": f"SELECT\n{LINES}\n  1 FROM stud|",
    "a keyword": f"SELECT\n{LINES}\n  1 FROM google.healthcare.studies wh|",
    "a column in one line": "SELECT pat| FROM google.healthcare.studies",
}


def menu(completion: Completion, text: str) -> None:
    """Make the menu at the mark of a text."""
    document = Document(text.replace("|", ""), text.index("|"))
    event = CompleteEvent(text_inserted=True)
    assert list(completion.get_completions(document, event))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    print_machine()
    with (
        tempfile.TemporaryDirectory() as folder,
        Session(Settings(local=Path(folder))) as session,
    ):
        completion = Completion(session, lambda: session.defaults)
        tasks: dict[str, Callable[[], object]] = {
            name: partial(menu, completion, text) for name, text in TEXTS.items()
        }
        for task in tasks.values():
            task()
        # The engine's functions are there by now, as they are for whoever types on.
        completion.settle()
        medians = rounds(tasks, arguments.rounds, clock=time.thread_time)
        completion.close()
    rows = [(name, f"{seconds * 1e3:.1f}", f"{BOUND}") for name, seconds in medians.items()]
    print_table("from a key to the menu, ms", ("", "took", "bound"), rows)


if __name__ == "__main__":
    main()
