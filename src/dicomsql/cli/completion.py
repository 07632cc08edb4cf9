"""The command `completion`: scripts that complete the command line, made from its own parser."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from dicomsql.cli.arguments import commands_of, make_parser
from dicomsql.cli.arguments.completion import NAMES

if TYPE_CHECKING:
    from dicomsql.config import Configuration


def write(arguments: argparse.Namespace) -> int:
    """Write the script for a shell, or the names that the scripts complete."""
    if arguments.shell in NAMES:
        for name in _names(arguments.shell):
            sys.stdout.write(f"{name}\n")
    else:
        sys.stdout.write(_SCRIPTS[arguments.shell](tuple(_commands(make_parser()))))
    return 0


class Value(NamedTuple):
    """What an option or an argument takes.

    Attributes:
        kind: `words`, `file`, `folder`, `names` (the words say of what), `any`, or `none`.
    """

    kind: str
    words: tuple[str, ...] = ()


class Option(NamedTuple):
    """An option, by all its names."""

    names: tuple[str, ...]
    value: Value
    help: str


class Command(NamedTuple):
    """A command, by the words that lead to it; that of no words is the program.

    Attributes:
        commands: the next words, with their help.
        value: what it takes beside options.
    """

    words: tuple[str, ...]
    options: tuple[Option, ...]
    commands: tuple[tuple[str, str], ...]
    value: Value


def _commands(parser: argparse.ArgumentParser, words: tuple[str, ...] = ()) -> Iterator[Command]:
    options = []
    value = Value("none")
    helps: dict[str, str] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
        elif action.option_strings:
            options.append(Option(tuple(action.option_strings), _value(action), action.help or ""))
        else:
            value = _value(action)
    inner = commands_of(parser)
    yield Command(words, tuple(options), tuple((name, helps[name]) for name in inner), value)
    for name, one in inner.items():
        yield from _commands(one, (*words, name))


def _value(action: argparse.Action) -> Value:
    if action.nargs == 0:
        return Value("none")
    if action.choices is not None:
        return Value("words", tuple(str(choice) for choice in action.choices))
    if f"{action.dest}s" in NAMES:
        return Value("names", (f"{action.dest}s",))
    if str(action.metavar).startswith("KEY"):
        return Value("names", ("keys",))
    kind = {"FILE": "file", "DIR": "folder"}.get(str(action.metavar), "any")
    return Value(kind)


def _names(what: str) -> list[str]:
    """The profiles, connections or keys of the configuration file; none of one that is wrong."""
    from dicomsql.config import read_configuration
    from dicomsql.errors import InterfaceError

    try:
        configuration = read_configuration(os.environ.get("DICOMSQL_CONFIG") or None)
    except InterfaceError:
        # Nobody asked for a word on the file in the middle of a line.
        return []
    if what == "keys":
        return _keys(configuration)
    return sorted(
        {"profiles": configuration.profiles, "connections": configuration.connections}[what]
    )


def _keys(configuration: Configuration) -> list[str]:
    """What `config` can be asked for: the settings, and all that the file has."""
    import tomllib

    from dicomsql.config.table import BY_KEY

    found = {*BY_KEY, "default_profile"}
    content = tomllib.loads(configuration.text)
    for name, table in content.get("profiles", {}).items():
        found |= {name, *(f"{name}.{key}" for key in table)}
    for name, table in content.get("connections", {}).items():
        found |= {f"connections.{name}.{key}" for key in table}
    return sorted(found)


def _taking(commands: tuple[Command, ...]) -> str:
    """The options that take a value, which is no command's name."""
    names = {n for c in commands for o in c.options if o.value.kind != "none" for n in o.names}
    return "|".join(sorted(names))


# -- bash ----------------------------------------------------------------------------------------

_BASH = """\
# bash completion of dicomsql, made by `dicomsql completion bash`.
_dicomsql() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD - 1]}} at= before= i
    # bash parts words at `=`.
    if [[ $cur == "=" ]]; then cur=
    elif [[ $prev == "=" ]]; then prev=${{COMP_WORDS[COMP_CWORD - 2]}}
    # Where it is told not to, option and value are one word, and what is offered takes its place.
    elif [[ $cur == --*=* ]]; then prev=${{cur%%=*}} cur=${{cur#*=}} before=$prev=
    fi
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${{COMP_WORDS[i]}} in
            {taking}) ((i++)); continue ;;
        esac
        case "$at ${{COMP_WORDS[i]}}" in
            {paths}) at="$at ${{COMP_WORDS[i]}}" ;;
        esac
    done
    COMPREPLY=()
    case "$at:$prev" in
{values}
    esac
    if [[ $cur == -* ]]; then
        case $at in
{options}
        esac
        return
    fi
    case $at in
{arguments}
    esac
}}
complete -o bashdefault -F _dicomsql dicomsql
"""


def _bash(commands: tuple[Command, ...]) -> str:
    paths = [f'" {" ".join(c.words)}"' for c in commands if c.words]
    values, options, arguments = [], [], []
    for command in commands:
        at = "".join(f" {word}" for word in command.words)
        for option in command.options:
            if option.value.kind != "none":
                where = "|".join(f'"{at}:{name}"' for name in option.names)
                values.append(f"        {where}) {_bash_value(option.value)}; return ;;")
        names = " ".join(name for option in command.options for name in option.names)
        options.append(f'            "{at}") {_bash_words(names)} ;;')
        if command.commands:
            words = " ".join(name for name, _ in command.commands)
            arguments.append(f'        "{at}") {_bash_words(words)} ;;')
        elif command.value.kind not in {"none", "any"}:
            arguments.append(f'        "{at}") {_bash_value(command.value)} ;;')
    return _BASH.format(
        taking=_taking(commands),
        paths="|".join(paths),
        values="\n".join(values),
        options="\n".join(options),
        arguments="\n".join(arguments),
    )


def _bash_words(words: str) -> str:
    return f'COMPREPLY=($(compgen -P "$before" -W "{words}" -- "$cur"))'


def _bash_value(value: Value) -> str:
    if value.kind == "names":
        return _bash_words(f"$(dicomsql completion {value.words[0]} 2>/dev/null)")
    if value.kind in {"file", "folder"}:
        kind = "f" if value.kind == "file" else "d"
        # Names of files may hold spaces: a line is a name.
        return "compopt -o filenames; local IFS=$'\\n'; " + (
            f'COMPREPLY=($(compgen -P "$before" -{kind} -- "$cur"))'
        )
    return _bash_words(" ".join(value.words)) if value.words else ":"


# -- zsh -----------------------------------------------------------------------------------------

_ZSH = """\
#compdef dicomsql
# zsh completion of dicomsql, made by `dicomsql completion zsh`.
_dicomsql() {{
    local at= i
    local -a found
    for ((i = 2; i < CURRENT; i++)); do
        case ${{words[i]}} in
            {taking}) ((i++)); continue ;;
        esac
        case "$at ${{words[i]}}" in
            {paths}) at="$at ${{words[i]}}" ;;
        esac
    done
    case "$at:${{words[CURRENT - 1]}}" in
{values}
    esac
    if [[ ${{words[CURRENT]}} == -* ]]; then
        case $at in
{options}
        esac
        _describe -o option found
        return
    fi
    case $at in
{arguments}
    esac
}}
if [[ $funcstack[1] == _dicomsql ]]; then _dicomsql "$@"; else compdef _dicomsql dicomsql; fi
"""


def _zsh(commands: tuple[Command, ...]) -> str:
    paths = [f'" {" ".join(c.words)}"' for c in commands if c.words]
    values, options, arguments = [], [], []
    for command in commands:
        at = "".join(f" {word}" for word in command.words)
        for option in command.options:
            if option.value.kind != "none":
                where = "|".join(f'"{at}:{name}"' for name in option.names)
                values.append(f"        {where}) {_zsh_value(option.value)}; return ;;")
        pairs = " ".join(
            _zsh_pair(name, option.help) for option in command.options for name in option.names
        )
        options.append(f'            "{at}") found=({pairs}) ;;')
        if command.commands:
            pairs = " ".join(_zsh_pair(name, text) for name, text in command.commands)
            arguments.append(f'        "{at}") found=({pairs}); _describe command found ;;')
        elif command.value.kind not in {"none", "any"}:
            arguments.append(f'        "{at}") {_zsh_value(command.value)} ;;')
    return _ZSH.format(
        taking=_taking(commands),
        paths="|".join(paths),
        values="\n".join(values),
        options="\n".join(options),
        arguments="\n".join(arguments),
    )


def _zsh_pair(name: str, text: str) -> str:
    return shlex.quote(f"{name}:{_plain(text)}")


def _zsh_value(value: Value) -> str:
    if value.kind == "names":
        return f'compadd -- ${{(f)"$(dicomsql completion {value.words[0]} 2>/dev/null)"}}'
    if value.kind in {"file", "folder"}:
        return "_files" if value.kind == "file" else "_files -/"
    return f"compadd -- {' '.join(value.words)}" if value.words else ":"


# -- fish ----------------------------------------------------------------------------------------

_FISH = """\
# fish completion of dicomsql, made by `dicomsql completion fish`.
function __dicomsql_at
    set -l at
    set -l skip 0
    for word in (commandline -opc)[2..-1]
        if test $skip = 1
            set skip 0
            continue
        end
        switch $word
            case {taking}
                set skip 1
                continue
        end
        switch "$at $word"
            case {paths}
                set at "$at $word"
        end
    end
    test "$at" = "$argv[1]"
end
complete -c dicomsql -f
"""


def _fish(commands: tuple[Command, ...]) -> str:
    paths = " ".join(f"' {' '.join(c.words)}'" for c in commands if c.words)
    lines = [_FISH.format(taking=_taking(commands).replace("|", " "), paths=paths)]
    for command in commands:
        at = "".join(f" {word}" for word in command.words)
        place = _fish_quoted(f"__dicomsql_at '{at}'")
        when = f"complete -c dicomsql -n {place}"
        for option in command.options:
            names = " ".join(
                f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}"
                for name in option.names
            )
            told = f" -d {_fish_quoted(_plain(option.help))}"
            lines.append(f"{when} {names}{_fish_value(option.value)}{told}\n")
        for name, text in command.commands:
            lines.append(f"{when} -a {name} -d {_fish_quoted(_plain(text))}\n")
        if not command.commands and command.value.kind not in {"none", "any"}:
            lines.append(f"{when}{_fish_value(command.value).replace(' -r', '')}\n")
    return "".join(lines)


def _fish_value(value: Value) -> str:
    if value.kind == "none":
        return ""
    if value.kind == "names":
        return f" -x -a '(dicomsql completion {value.words[0]} 2>/dev/null)'"
    if value.kind == "folder":
        return " -x -a '(__fish_complete_directories)'"
    if value.kind == "file":
        return " -r -F"
    return f" -x -a '{' '.join(value.words)}'" if value.words else " -x"


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _plain(text: str) -> str:
    """A help text in one line, without what shells read as signs."""
    return re.sub(r"\s+", " ", text.replace("`", "'").replace("%%", "%")).replace(":", ",")


_SCRIPTS: dict[str, Callable[[tuple[Command, ...]], str]] = {
    "bash": _bash,
    "zsh": _zsh,
    "fish": _fish,
}
