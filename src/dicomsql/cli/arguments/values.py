"""What the values of options have to be; one that is not is told and ends the command line."""

from __future__ import annotations

import argparse
import re

_NAMED_DELIMITERS = {"tab": "\t", "\\t": "\t"}


def delimiter(text: str) -> str:
    delimiter = _NAMED_DELIMITERS.get(text, text)
    if len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n':
        raise argparse.ArgumentTypeError(
            f"{text!r} is no delimiter; it is one ASCII character other than a quote, or `tab`"
        )
    return delimiter


def count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of 1 or more")
    return int(text)


def size(text: str) -> int:
    from dicomsql.config import bytes_of
    from dicomsql.errors import InterfaceError

    try:
        return bytes_of(text)
    except InterfaceError as error:
        raise argparse.ArgumentTypeError(f"it {error}") from None


def seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds greater than 0")
    return seconds


def latency(text: str) -> float:
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(ms|s)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; write it as 20ms or 1.5s")
    return float(match[1]) / (1000 if match[2] == "ms" else 1)


def port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; it is a number from 0 to 65535")
    return int(text)
