"""The command `completion`: its options, help and examples."""

from __future__ import annotations

import argparse

from dicomsql.cli.arguments import groups

SHELLS = ("bash", "zsh", "fish")
# What the scripts ask for as they complete.
NAMES = ("profiles", "connections", "keys")

NAME = "completion"
HELP = "write a script that completes this command line in bash, zsh or fish"
DESCRIPTION = (
    "Write a script to standard output by which a shell completes commands, options, formats, "
    "profiles, connections and files."
)
EXAMPLES = """\
examples:
  source <(dicomsql completion bash)        # in ~/.bashrc
  source <(dicomsql completion zsh)         # in ~/.zshrc, after compinit
  dicomsql completion fish > ~/.config/fish/completions/dicomsql.fish
"""


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "shell",
        choices=(*SHELLS, *NAMES),
        metavar="SHELL",
        help="bash, zsh or fish; or profiles, connections or keys, for the names that the scripts "
        "complete, one a line",
    )
    groups.debugging(parser)
