"""The history of what was typed: a file that only its owner reads, shared by parallel shells.

What compares a patient's attribute with a value stays out of the file, and is in memory alone:
see `may_be_kept`. A file that cannot be read or written is told once, and the history goes on in
memory.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from prompt_toolkit.history import History

from dicomsql.errors import LanguageError
from dicomsql.language.lexer import DUCKDB, PLACEHOLDER, Kind, Lexis, Token, lex, words
from dicomsql.shell.pieces import Meta, pieces

__all__ = ["KeptHistory", "default_file", "may_be_kept"]

# Entries that a file keeps; it is cut to them when it has grown to twice as many.
_KEPT = 10_000
# Bytes of one entry that go into the file: a paste is no line to go back to.
_LONGEST = 100_000


def default_file() -> Path:
    """The history's file, in the folder where programs keep their state."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return base / "dicomsql" / "history"


class KeptHistory(History):
    """A history that is read from a file and appended to it.

    Parameters:
        file: None keeps all in memory.
        keeps: whether an entry may go into the file.
        say: tells what is wrong with the file.
    """

    def __init__(
        self, file: Path | None, keeps: Callable[[str], bool], say: Callable[[str], None]
    ) -> None:
        super().__init__()
        self._file = file
        self._keeps = keeps
        self._say = say

    def load_history_strings(self) -> Iterable[str]:
        """The entries of the file, the newest first."""
        if self._file is None:
            return []
        try:
            data = self._file.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as error:
            self._give_up(error)
            return []
        entries = _entries(data)
        if len(entries) > 2 * _KEPT:
            self._cut()
        return entries[-_KEPT:][::-1]

    def store_string(self, string: str) -> None:
        """Append an entry to the file."""
        if self._file is None or len(string) > _LONGEST or not self._keeps(string):
            return
        lines = "".join(f"+{line}\n" for line in string.split("\n"))
        entry = f"\n# {datetime.now().isoformat(' ', 'seconds')}\n{lines}"
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _Locked(self._file) as descriptor:
                # In one call, at the end as it is then: another shell may have written.
                os.write(descriptor, entry.encode("utf-8", "replace"))
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self._say(
            f"warning: the history is kept in memory alone, since {self._file} cannot be used: "
            f"{error.strerror}."
        )
        self._file = None

    def _cut(self) -> None:
        """Leave the newest entries alone in the file."""
        assert self._file is not None
        with suppress(OSError), _Locked(self._file) as descriptor:
            kept = _entries(self._file.read_bytes())[-_KEPT:]
            text = "".join(
                "\n# kept\n" + "".join(f"+{line}\n" for line in entry.split("\n")) for entry in kept
            )
            os.ftruncate(descriptor, 0)
            os.write(descriptor, text.encode("utf-8", "replace"))


class _Locked:
    """A file opened for appending, readable for its owner alone, held by one shell at a time."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __enter__(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        self._descriptor = os.open(self._file, flags, 0o600)
        with suppress(ImportError, OSError):
            # Where there are no locks, appending in one call has to do.
            import fcntl

            os.fchmod(self._descriptor, 0o600)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        return self._descriptor

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


def _entries(data: bytes) -> list[str]:
    """The entries of a file's content, the oldest first."""
    entries: list[str] = []
    lines: list[str] = []
    for line in [*data.decode("utf-8", "replace").split("\n"), ""]:
        if line.startswith("+"):
            lines.append(line[1:])
        elif lines:
            entries.append("\n".join(lines))
            lines = []
    return entries


# -- what may be kept ------------------------------------------------------------------------------

# Representations (PS3.5, 6.2) whose values are codes, numbers, dates and ages; all others hold
# names, identifiers and free text. Of the patient's own group even those identify: birth dates.
_PLAIN_VRS = words("CS IS DS SL SS UL US SV UV FL FD AS DA TM DT")
_PATIENT_GROUP = "0010"

# What parts a statement into conditions; a value is held against the names of its own.
_PARTING = words(
    "SELECT FROM WHERE AND OR ON HAVING QUALIFY GROUP ORDER LIMIT OFFSET JOIN USING UNION EXCEPT "
    "INTERSECT RETURNING TO"
)
# Those after which a value with no name beside it is a path or a count.
_BEFORE_VALUES = words("FROM JOIN TO LIMIT OFFSET")
# Words of the language that are no names.
_WORDS = words(
    "NOT IN IS NULL LIKE ILIKE SIMILAR GLOB BETWEEN ANY ALL SOME EXISTS DISTINCT AS ESCAPE TRUE "
    "FALSE CASE WHEN THEN ELSE END BY ASC DESC NULLS FIRST LAST DATE TIME TIMESTAMP TIMESTAMPTZ "
    "INTERVAL VARCHAR BIGINT INTEGER DOUBLE BOOLEAN DAY DAYS MONTH MONTHS YEAR YEARS HOUR HOURS "
    "CURRENT_DATE CURRENT_TIMESTAMP EXTRACT SET RESET USE SHOW DESCRIBE EXTENDED METHOD METHODS "
    "SERVICES RESOURCES PROVIDERS EXPLAIN ANALYZE COPY FORMAT EXEC WITH RECURSIVE LEFT RIGHT INNER "
    "OUTER FULL CROSS NATURAL OVER PARTITION"
)
# Statements that write values which no name stands beside.
_WRITES = words("INSERT UPDATE REPLACE VALUES MERGE CREATE PREPARE EXECUTE CALL")
# Statements about names, unless they hold a query.
_ASKS = words("SHOW DESCRIBE USE")
_READS = words("SELECT FROM WHERE WITH VALUES")
# Digits of a number that names nobody: a count, a limit.
_SHORT = 3


def may_be_kept(
    text: str, plain: Iterable[str], secret: Iterable[str] = (), rules: Lexis = DUCKDB
) -> bool:
    """Whether what was typed may go into the history's file.

    A value may where the names beside it in its condition are known to identify nobody: attributes
    whose values are codes, numbers and dates, other than the patient's own, and the names of
    `plain`. A name that is not known, an alias for one, may stand for a patient's.

    Args:
        plain: names of parameters and settings.
        secret: names of meta-commands whose arguments are kept out.
    """
    names = {name.lower() for name in plain}
    hidden = frozenset(secret)
    try:
        return all(
            not (piece.arguments and piece.name in hidden)
            if isinstance(piece, Meta)
            else _may(lex(piece.text, rules), names)
            for piece in pieces(text, rules)
        )
    except LanguageError:
        return False


def _may(tokens: list[Token], plain: set[str]) -> bool:
    first = tokens[0] if tokens else None
    if first is None or (first.is_word(*_ASKS) and not any(t.is_word(*_READS) for t in tokens)):
        return True
    writes = any(token.is_word(*_WRITES) for token in tokens)
    parts: list[tuple[Token | None, list[tuple[Token, bool]]]] = [(None, [])]
    for index, token in enumerate(tokens):
        if token.kind in {Kind.COMMENT, Kind.HINT}:
            continue
        if token.is_word(*_PARTING) or token.kind is Kind.VARIABLE:
            parts.append((token, []))
        if not token.is_word(*_PARTING):
            parts[-1][1].append((token, _is_name(tokens, index)))
    named = [t.text for _, part in parts for t, is_name in part if is_name]
    # A value may be given a name, by which another part compares it.
    tells = all(_is_plain(name, plain, short=True) for name in named)
    for opener, part in parts:
        values = [t for t, _ in part if _is_value(t)]
        names = [t.text for t, is_name in part if is_name]
        short = all(t.kind is Kind.NUMBER and len(t.text) <= _SHORT for t in values)
        if not values:
            continue
        if writes or not all(_is_plain(name, plain, short) for name in names):
            return False
        free = opener is None or not opener.is_word(*_BEFORE_VALUES)
        if free and not names and not short and not tells:
            return False
    return True


def _is_value(token: Token) -> bool:
    """Whether a token may be a value: also one in the wrong quotes, but no placeholder alone."""
    if token.kind is Kind.STRING:
        return PLACEHOLDER.fullmatch(token.text.strip("'")) is None
    return token.kind in {Kind.NUMBER, Kind.QUOTED}


def _is_name(tokens: list[Token], index: int) -> bool:
    """Whether a token is the name of a column or a parameter."""
    token = tokens[index]
    if token.kind is Kind.VARIABLE:
        return True
    if token.kind not in {Kind.WORD, Kind.QUOTED} or token.is_word(*_WORDS):
        return False
    after = tokens[index + 1] if index + 1 < len(tokens) else None
    before = tokens[index - 1] if index else None
    if after is not None and after.is_operator("(", "."):
        return False
    return before is None or not before.is_word("AS")


def _is_plain(name: str, plain: set[str], short: bool) -> bool:
    from dicomsql.dicom.tags import lookup

    name = name.strip('@"`').lower()
    if name in plain:
        return True
    tag = lookup(name)
    if tag is None:
        return short
    return tag.vr in _PLAIN_VRS and not tag.tag.startswith(_PATIENT_GROUP)
