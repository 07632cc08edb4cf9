"""What `harlequin -a dicomsql` takes: options, and a connection string that names a place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harlequin.exception import HarlequinConfigError
from harlequin.options import AbstractOption, FlagOption, PathOption, TextOption

__all__ = ["OPTIONS", "connect_arguments"]

# The parts of a connection string, in their order.
_PLACE = ("project", "location", "dataset", "dicom_store")

_SCHEME = "dicomsql://"
_TITLE = "dicomsql cannot connect with these options."

# A password is none of them: other users of the machine see the arguments of programs, and
# Harlequin offers to keep them in its configuration.
OPTIONS: list[AbstractOption] = [
    TextOption("project", "The project that statements are about where they name none."),
    TextOption("location", "The location, such as us-central1."),
    TextOption("dataset", "The dataset."),
    TextOption("dicom-store", "The DICOM store."),
    TextOption("endpoint", "Base URL of a server to use instead of the service's own."),
    TextOption("connection", "A server of dicomsql's configuration file, by its name there."),
    TextOption("profile", "A profile of dicomsql's configuration file, by its name there."),
    PathOption("local", "Folder of the embedded emulator to use instead of a server."),
    PathOption("database", "File of the local tables; without it they are in memory."),
    TextOption("user", "Whom the endpoint is asked as; the password is DICOMSQL_PASSWORD."),
    PathOption("token-file", "File that holds a bearer token for the endpoint."),
    PathOption("credentials", "A file of Google credentials."),
    TextOption("impersonate", "Service account to act as."),
    TextOption("quota-project", "Project that is billed for the calls."),
    FlagOption("anonymous", "Send no credentials, whatever there is."),
    TextOption("cache", "How long answers are kept on disk and used again, such as 10m."),
    TextOption("max-bytes", "Bytes of answers that one statement may receive, such as 2GB."),
]

_NAMES = tuple(option.name.replace("-", "_") for option in OPTIONS)


def connect_arguments(conn_str: Sequence[str], options: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `dicomsql.connect` for what Harlequin was called with.

    Args:
        conn_str: nothing, or one `PROJECT/LOCATION/DATASET/STORE`, of which the last parts may be
            left out; `dicomsql://` may stand before it.
        options: by their names; those of other adapters are passed over.

    Raises:
        HarlequinConfigError: the connection string is none, or repeats an option.
    """
    given = {n: options[n] for n in _NAMES if options.get(n) not in {None, "", False}}
    if len(conn_str) > 1:
        raise HarlequinConfigError("dicomsql takes one PROJECT/LOCATION/DATASET/STORE.", _TITLE)
    for text in conn_str:
        parts = text.removeprefix(_SCHEME).rstrip("/").split("/")
        if len(parts) > len(_PLACE) or ":" in text.removeprefix(_SCHEME):
            raise HarlequinConfigError(
                "The connection string is PROJECT/LOCATION/DATASET/STORE, or its first parts; a "
                "server is given by --endpoint.",
                _TITLE,
            )
        for name, part in zip(_PLACE, parts, strict=False):
            if part and name in given:
                option = name.replace("_", "-")
                raise HarlequinConfigError(
                    f"The connection string and --{option} both give the {option}.", _TITLE
                )
            if part:
                given[name] = part
    return given
