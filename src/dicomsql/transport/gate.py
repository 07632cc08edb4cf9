"""The one gate for patients' data and secrets: what of a request people may see, and what not.

Logs, errors, EXPLAIN, statistics and the audit log show a call through a `Gate` and in no other
way. A closed gate, the default, lets out the names of parameters and no value of an attribute; an
open one, made for `--show-phi`, lets values out too. Tokens and keys pass neither.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from urllib.parse import quote

from dicomsql.embedded import shown_call
from dicomsql.transport.base import Request, encode_query

HIDDEN = "…"

# Parameters that hold no attribute of a patient: the names of places, and how an answer is cut.
# A server's message may repeat their values.
PLAIN_PARAMETERS = frozenset(
    {
        *("projectsId", "locationsId", "datasetsId", "operationsId"),
        *("dicomStoresId", "fhirStoresId", "hl7V2StoresId", "consentStoresId"),
        *("datasetId", "dicomStoreId", "fhirStoreId", "hl7V2StoreId", "consentStoreId"),
        *("project", "servicesId", "topicsId", "subscriptionsId", "snapshotsId", "schemasId"),
        *("bucket", "sourceBucket", "destinationBucket", "tablesId", "jobsId", "queriesId"),
        *("pageSize", "maxResults", "limit", "offset", "view", "alt", "updateMask", "fields"),
        *("includefield", "fuzzymatching", "prettyPrint", "uploadType", "$.xgafv"),
    }
)

# Query parameters whose value is a secret, whoever asks.
SECRET_PARAMETERS = frozenset({"access_token", "oauth_token", "key", "callback"})

# What looks like a secret in a text, whoever asks: bearer tokens, users with passwords as basic
# authentication writes them, Google's access tokens and API keys, JSON web tokens, private keys.
_SECRETS = re.compile(
    r"(?i:\bbearer\s+)[\w.~+/=-]+"
    r"|(?i:\bbasic\s+)(?=[A-Za-z]*(?:[0-9+/=]|[a-z][A-Z]))[A-Za-z0-9+/]{4,}={0,2}"
    r"|\bya29\.[\w.~+/=-]+"
    r"|\bAIza[\w-]{20,}"
    r"|\beyJ[\w-]+\.[\w-]+\.[\w-]*"
    r"|\b1//[\w-]{20,}"
    r"|(?i:\b(?:access_token|refresh_token|oauth_token|id_token|client_secret|assertion|key)=)[^&\s]+"
    r"|-----BEGIN [^-]*PRIVATE KEY-----.*?(?:-----END [^-]*PRIVATE KEY-----|\Z)",
    re.DOTALL,
)

# A DICOM UID in a text. Those under DICOM's own root name classes and encodings, not patients
# (PS3.6, annex A). Three components are enough for one: those made of a UUID have no more
# (PS3.5, B.2).
_UID = re.compile(r"(?<![\d.])(?!1\.2\.840\.10008\.)[0-2](?:\.\d+){2,}")

# User and password before a URL's host.
_USER = re.compile(r"//[^/?#]*@")

# Where a value falls into parts that a server may repeat one by one: the components of a person's
# name, the members of a list, the ends of a range, a pattern's fixed text.
_PART_BREAKS = re.compile(r"[\^=\\,*?\s]+|(?<=\d)-(?=\d)")

# Bodies of this media type are settings of stores; every other kind may be about a patient.
_SETTINGS_MEDIA = "application/json"
# Longer bodies are not looked through for values that an error might repeat.
_BODY_LIMIT = 1_000_000


class Reveal(Enum):
    """How much a gate lets out."""

    NAMES = "names"
    VALUES = "values"


@dataclass(frozen=True, slots=True)
class Gate:
    """What people may see of requests and of what servers say about them."""

    reveal: Reveal = Reveal.NAMES

    @classmethod
    def closed(cls) -> Gate:
        """A gate that lets out names only."""
        return cls(Reveal.NAMES)

    @classmethod
    def open(cls) -> Gate:
        """A gate that lets values of attributes out too, since the user asked for them."""
        return cls(Reveal.VALUES)

    def show_url(self, request: Request) -> str:
        """The request's URL for people.

        Closed: the path template and the names of the query's parameters, each once
        (`https://host/v1/projects/{projectsId}/studies?PatientID=…`). Open: the values as they are
        sent, but for those of secret parameters. The embedded emulator has a name instead of an
        address.
        """
        base = without_user(request.base_url)
        if self.reveal is Reveal.NAMES:
            names = dict.fromkeys(name for name, _ in request.query)
            query = "&".join(f"{quote(name, safe='$.')}={HIDDEN}" for name in names)
            return shown_call(base, request.path + (f"?{query}" if query else ""))
        path = request.url.removeprefix(request.base_url).partition("?")[0]
        pairs = (
            f"{quote(name, safe='$.')}="
            + (HIDDEN if name in SECRET_PARAMETERS else encode_query(value))
            for name, value in request.query
        )
        query = "&".join(pairs)
        return shown_call(base, path + (f"?{query}" if query else ""))

    def show_value(self, name: str, value: str) -> str:
        """One parameter's value for people: itself, or `…`."""
        if name in SECRET_PARAMETERS:
            return HIDDEN
        if self.reveal is Reveal.VALUES or name in PLAIN_PARAMETERS:
            return value
        return HIDDEN

    def scrub(self, text: str, request: Request) -> str:
        """A server's words about a request, without what the gate keeps back.

        Closed: every value that the request sent is replaced by `…`, and its parts with it, be it
        in the path, in the query or in a body that may be about a patient; so is every DICOM UID
        that names a study, a series or an instance. Names of places (projects, stores) stay.
        Open or closed: whatever looks like a token or a key is replaced.
        """
        text = scrub_secrets(text)
        secrets = [value for name, value in request.query if name in SECRET_PARAMETERS]
        text = _replace(text, secrets)
        if self.reveal is Reveal.VALUES:
            return text
        return _UID.sub(HIDDEN, _replace(text, _kept_back(request)))

    def knows(self, request: Request) -> bool:
        """Whether a server's words about the request can be freed of the values that it sent.

        Not where it sent instances, or other data that are not looked through: then no free text
        of the server's may be shown by a closed gate. An open one shows everything.
        """
        return self.reveal is Reveal.VALUES or _content(request) is not None


def scrub_secrets(text: str) -> str:
    """The text with everything that looks like a token, a key or a password replaced by `…`."""
    return _SECRETS.sub(HIDDEN, text)


def without_user(url: str) -> str:
    """The URL without the user and password that may stand before its host."""
    return _USER.sub("//", url, count=1)


def _kept_back(request: Request) -> Iterator[str]:
    """Every value of the request that may be about a patient, whole and in parts."""
    for name, value in (*request.path_values, *request.query):
        if name not in PLAIN_PARAMETERS:
            yield from _with_parts(value)
    for value in _leaves(_content(request)):
        yield from _with_parts(value)


def _content(request: Request) -> object | None:
    """What the body of a request says about a patient; None where that is not known."""
    body = request.body
    if not body or _is_settings(request):
        return {}
    if not isinstance(body, bytes) or len(body) > _BODY_LIMIT:
        return None
    try:
        content: object = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return content if content is not None else {}


def _is_settings(request: Request) -> bool:
    media = next((v for k, v in request.headers if k.lower() == "content-type"), "")
    return media.partition(";")[0].strip().lower() == _SETTINGS_MEDIA


def _leaves(value: object) -> Iterator[str]:
    """The values inside a JSON document, its numbers as text."""
    if isinstance(value, dict):
        for member in value.values():
            yield from _leaves(member)
    elif isinstance(value, list):
        for member in value:
            yield from _leaves(member)
    elif isinstance(value, str):
        yield value
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield str(value)


def _with_parts(value: str) -> Iterator[str]:
    yield value
    # As it stands in a path, and as it stands in a query.
    yield from {quote(value, safe=""), encode_query(value)} - {value}
    # A part of one character would take letters out of the message and tell nobody anything.
    yield from (part for part in _PART_BREAKS.split(value) if len(part) > 1)


def _replace(text: str, values: Iterable[str]) -> str:
    """The text with each of the values replaced where it stands as a word of its own."""
    wanted = sorted({v for v in values if v.strip()}, key=len, reverse=True)
    if not wanted:
        return text
    # A value inside a longer word is another word: replacing `M` must leave `Method` alone.
    pattern = "|".join(
        (r"(?<!\w)" if v[0].isalnum() else "")
        + re.escape(v)
        + (r"(?!\w)" if v[-1].isalnum() else "")
        for v in wanted
    )
    return re.sub(pattern, HIDDEN, text, flags=re.IGNORECASE)
