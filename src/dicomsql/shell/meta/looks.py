"""Meta-commands that change how results look, and the settings of shell and session."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dicomsql.errors import nearest
from dicomsql.output import FORMATS
from dicomsql.shell.meta.table import Command, one_of, words_of
from dicomsql.shell.running import MetaError

if TYPE_CHECKING:
    from dicomsql.shell.running import Shell

__all__ = ["COMMANDS", "SETTINGS"]

_GROUP = "How results look"

_ON = frozenset({"on", "true", "yes", "1"})
_OFF = frozenset({"off", "false", "no", "0"})
# Formats of files, which no terminal shows.
_FILES = frozenset({"parquet", "arrow", "html"})
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?")


def _switch(name: str, value: str) -> bool:
    if value.lower() in _ON | _OFF:
        return value.lower() in _ON
    raise MetaError(f"{name} takes on or off, not {value!r}.")


def _choice(*known: str) -> Callable[[str, str], str]:
    return lambda name, value: one_of(value, known, name)


def _form(name: str, value: str) -> str:
    form = one_of(value, tuple(FORMATS), name)
    if form in _FILES:
        raise MetaError(f"{form.capitalize()} is written to a file: \\o FILE.{form} begins one.")
    return form


def _text(_name: str, value: str) -> str:
    return value


def _letter(name: str, value: str) -> str:
    letter = "\t" if value == "\\t" else value
    if len(letter) != 1 or not letter.isascii() or letter in '"\r\n':
        raise MetaError(f"{name} takes one ASCII letter other than a quote, or \\t.")
    return letter


def _count(name: str, value: str) -> int:
    digits = value.replace(",", "").replace("_", "")
    if not digits.isdigit() or int(digits) < 1:
        raise MetaError(f"{name} takes a whole number from 1 on, not {value!r}.")
    return int(digits)


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting of how results look.

    Attributes:
        read: the value of what was typed; raises MetaError.
        help: what it does, in a line.
        choices: what it takes, where that can be listed.
    """

    read: Callable[[str, str], Any]
    help: str
    choices: tuple[str, ...] = ()


_SWITCHED = ("on", "off")
_AUTO = ("auto", "on", "off")

# Names of `Look`'s fields, and `timing`.
SETTINGS = {
    "format": Setting(
        _form, "how rows are written", tuple(form for form in FORMATS if form not in _FILES)
    ),
    "expanded": Setting(_choice(*_AUTO), "each value on a line of its own", _AUTO),
    "types": Setting(_switch, "types under the names of columns", _SWITCHED),
    "null": Setting(_text, "what stands for NULL"),
    "json": Setting(_choice("compact", "pretty"), "how JSON is written", ("compact", "pretty")),
    "pager": Setting(_choice(*_AUTO), "show long results in a pager", _AUTO),
    "max_rows": Setting(_count, "rows that are shown without a pager"),
    "pictures": Setting(_switch, "show values that are pictures as such", _SWITCHED),
    "headers": Setting(_switch, "write the names of columns", _SWITCHED),
    "delimiter": Setting(_letter, "what stands between the values of csv"),
    "timing": Setting(_switch, "say what a statement took", _SWITCHED),
}


def value_of(shell: Shell, name: str) -> str:
    """A setting's value as it is typed."""
    state = shell.state
    value = state.timing if name == "timing" else getattr(state.look, name)
    if isinstance(value, bool):
        return "on" if value else "off"
    return "\\t" if value == "\t" else str(value)


def put(shell: Shell, name: str, value: str) -> None:
    """Change a setting of how results look.

    Raises:
        MetaError: it does not take the value.
    """
    read = SETTINGS[name].read(name, value)
    if name == "timing":
        shell.state.timing = read
    else:
        setattr(shell.state.look, name, read)


def _one(name: str, *, toggles: tuple[str, ...] = ()) -> Callable[[Shell, str], None]:
    """A command for one setting: shows it, or turns it over, where nothing is given."""

    def run(shell: Shell, arguments: str) -> None:
        usage = f"It takes {' | '.join(SETTINGS[name].choices) or 'a value'}."
        said = words_of(arguments, 1, usage)
        if said:
            put(shell, name, said[0])
        elif toggles:
            now = value_of(shell, name)
            put(shell, name, toggles[now == toggles[0]])
        shell.talk.say(f"{name} is {value_of(shell, name)}")

    return run


def _set(shell: Shell, arguments: str) -> bool:
    usage = "\\set NAME VALUE changes a setting; \\set alone lists them."
    name, _, rest = arguments.partition(" ")
    name, value = name.strip().rstrip("="), rest.strip().removeprefix("=").strip()
    session = shell.state.session.current_settings
    if not name:
        _list(shell)
        return True
    known = next((n for n in (*SETTINGS, *session) if n.lower() == name.lower()), name)
    if known in SETTINGS:
        said = words_of(value, 1, usage)
        if said:
            put(shell, known, said[0])
        shell.talk.say(f"{known} is {value_of(shell, known)}")
        return True
    if not value:
        if known in session:
            shell.talk.say(f"{known} is {_shown(session[known])}")
            return True
        raise MetaError(
            f"There is no setting {name}.{nearest(name, (*SETTINGS, *session))} \\set lists all; "
            "\\var sets what {{ name }} stands for."
        )
    # The session's own, and the engine's: the session says what is wrong with it.
    if known not in session and re.fullmatch(r"[A-Za-z_]\w*", known) is None:
        raise MetaError(usage)
    said = words_of(value, 1, usage)
    if shell.ask(f"SET {known} = {literal(said[0] if said else '')}"):
        return True
    if known not in session:
        shell.talk.say(
            f"\\set takes {', '.join(SETTINGS)} too; \\var NAME=VALUE sets what {{{{ NAME }}}} "
            "stands for."
        )
    return False


def _unset(shell: Shell, arguments: str) -> bool:
    usage = "\\unset NAME takes a setting, or a variable, back to what it was."
    said = words_of(arguments, 1, usage)
    if not said:
        raise MetaError(usage)
    name = said[0]
    if name in shell.state.variables:
        del shell.state.variables[name]
        return True
    known = next((n for n in SETTINGS if n.lower() == name.lower()), None)
    if known == "timing":
        shell.state.timing = True
    elif known is not None:
        from dicomsql.output.display import Look

        setattr(shell.state.look, known, getattr(Look(), known))
    elif re.fullmatch(r"[A-Za-z_]\w*", name) is None:
        raise MetaError(usage)
    else:
        return shell.ask(f"RESET {name}")
    return True


def literal(value: str) -> str:
    """A value as SET takes it: a number, true, false, or text in quotes."""
    if _NUMBER.fullmatch(value) or value.lower() in {"true", "false"}:
        return value
    return "'" + value.replace("'", "''") + "'"


def _list(shell: Shell) -> None:
    rows = [(name, value_of(shell, name), setting.help) for name, setting in SETTINGS.items()]
    session = shell.state.session.current_settings.items()
    rows += [(name, _shown(value), "of the session: SET") for name, value in session]
    widths = [max(len(row[n]) for row in rows) for n in (0, 1)]
    shell.show_lines(
        "\n".join(f"{n.ljust(widths[0])}  {v.ljust(widths[1])}  {help}" for n, v, help in rows)
    )


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return "-" if value is None else str(value)


COMMANDS = (
    Command(
        ("format", "output", "mode"),
        "[FORMAT]",
        "how rows are written: table, csv, json and others",
        _GROUP,
        _one("format"),
        takes="format",
    ),
    Command(
        ("x",), "[on|off|auto]", "each value on a line of its own", _GROUP,
        _one("expanded", toggles=("on", "off")), takes="switch",
    ),
    Command(
        ("timing", "timer"), "[on|off]", "say what a statement took", _GROUP,
        _one("timing", toggles=("on", "off")), takes="switch",
    ),
    Command(
        ("pager",), "[auto|on|off]", "show long results in a pager", _GROUP, _one("pager"),
        takes="switch",
    ),
    Command(
        ("headers",), "[on|off]", "write the names of columns", _GROUP,
        _one("headers", toggles=("on", "off")), takes="switch",
    ),
    Command(("maxrows",), "[N]", "rows that are shown without a pager", _GROUP, _one("max_rows")),
    Command(("nullvalue",), "[TEXT]", "what stands for NULL", _GROUP, _one("null")),
    Command(
        ("separator",), "[LETTER]", "what stands between the values of csv", _GROUP,
        _one("delimiter"),
    ),
    Command(
        ("set", "pset", "show"),
        "[NAME [VALUE]]",
        "these and all other settings, those that SET takes too",
        _GROUP,
        _set,
        takes="setting",
    ),
    Command(
        ("unset",), "NAME", "take a setting, or a variable, back", _GROUP, _unset, takes="setting"
    ),
)  # fmt: skip
