"""The command `auth`: logs in to Google, and shows who the servers are asked as."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from dicomsql.cli.failures import UsageError
from dicomsql.cli.opening import resolution_of
from dicomsql.errors import CredentialsError

if TYPE_CHECKING:
    from dicomsql.config import Settings
    from dicomsql.session.logins import GoogleLogin, ServerLogin

_WITHOUT_GCLOUD = """\
gcloud, which logs in to Google for all programs, is not installed. Either
- install the Google Cloud CLI (https://cloud.google.com/sdk/docs/install) and run this again, or
- name a credentials file: --credentials FILE, or `dicomsql config set credentials FILE`, or
- put an access token into GOOGLE_OAUTH_ACCESS_TOKEN.\
"""

_OWN_SERVER = """\
{server} is asked with what the configuration file names; dicomsql keeps no secret. For a user:
  dicomsql config set connections.{name}.auth basic connections.{name}.user NAME \\
      connections.{name}.password_env VARIABLE
for a token:
  dicomsql config set connections.{name}.auth bearer connections.{name}.token_file FILE
`dicomsql auth status` says whether the secret is there.\
"""


def run(arguments: argparse.Namespace) -> int:
    """Run one of the commands of `auth`.

    Raises:
        UsageError: an option or the configuration does not fit, or there is nothing to log in to.
        CredentialsError: there is no account.
    """
    settings = resolution_of(arguments).settings
    return _ACTIONS[arguments.action](arguments, settings)


def _login(_: argparse.Namespace, settings: Settings) -> int:
    if settings.connection is not None or settings.endpoint is not None:
        server = settings.connection or settings.endpoint or ""
        name = settings.connection or "NAME"
        sys.stdout.write(_OWN_SERVER.format(server=server, name=name) + "\n")
        return 0
    gcloud = shutil.which("gcloud")
    if gcloud is None:
        raise CredentialsError(_WITHOUT_GCLOUD)
    command = [gcloud, "auth", "application-default", "login"]
    if settings.impersonate:
        command.append(f"--impersonate-service-account={settings.impersonate}")
    sys.stderr.write(f"running: {' '.join(['gcloud', *command[1:]])}\n")
    code = subprocess.run(command, check=False).returncode
    if code == 0 and settings.quota_project:
        quota = [gcloud, "auth", "application-default", "set-quota-project"]
        code = subprocess.run([*quota, settings.quota_project], check=False).returncode
    if code:
        raise CredentialsError(f"gcloud ended with exit code {code}; nothing was changed by us.")
    sys.stderr.write("Logged in. `dicomsql auth status` shows the account and its scopes.\n")
    return 0


def _status(arguments: argparse.Namespace, settings: Settings) -> int:
    from dicomsql.session.logins import (
        TOKEN_INFO,
        google_is_asked,
        google_login,
        server_logins,
    )

    if arguments.call and not arguments.json and google_is_asked(settings):
        sys.stderr.write(f"Asks {TOKEN_INFO} about the token; --no-call does not.\n")
    google = google_login(settings, call=arguments.call)
    servers = server_logins(settings)
    if arguments.json:
        found = {"google": asdict(google), "servers": [asdict(server) for server in servers]}
        sys.stdout.write(json.dumps(found) + "\n")
    else:
        sys.stdout.write("\n".join([*_google(google), *map(_server, servers)]) + "\n")
    return 1 if _is_missing(google, servers) else 0


def _is_missing(google: GoogleLogin, servers: tuple[ServerLogin, ...]) -> bool:
    """Whether something is missing; Google's login is not, of somebody with other servers alone."""
    if any(server.problem for server in servers):
        return True
    if not google.needed:
        return False
    return bool(google.problem) and (bool(google.place) or not servers)


def _google(google: GoogleLogin) -> list[str]:
    if not google.needed:
        return [f"Google: {google.problem}"]
    stands = {True: "stands", False: "does not stand", None: "was not asked about"}
    minutes = "" if google.seconds is None else f", for {google.seconds // 60} more minutes"
    facts = {
        "account": google.account or "not known",
        "credentials": f"{google.kind}, from {google.place}",
        "scopes": " ".join(google.scopes) or "not known",
        "quota project": google.quota_project or "the account's own",
        "token": f"{stands[google.stands]}{minutes}",
    }
    lines = ["Google"]
    if google.place:
        lines += [f"  {name}: {value}" for name, value in facts.items()]
    return [*lines, *([f"  problem: {google.problem}"] if google.problem else [])]


def _server(server: ServerLogin) -> str:
    name = f"connection {server.name} ({server.service})" if server.name else "the endpoint"
    who = {"none": "nobody in particular", "bearer": "the bearer of a token"}.get(
        server.auth, f"user {server.user}"
    )
    place = f", secret from {server.place}" if server.place else ""
    state = f"problem: {server.problem}" if server.problem else "nothing is missing; not called"
    return f"{name}\n  server: {server.endpoint}\n  asked as: {who}{place}\n  {state}"


def _print_identity(_: argparse.Namespace, settings: Settings) -> int:
    from dicomsql.session.logins import google_login

    google = google_login(settings, call=False)
    if not google.needed:
        raise UsageError(f"There is no account: {google.problem}.")
    if not google.account:
        # Neither a user's file nor a machine's own account says whose it is; the token does.
        google = google_login(settings, call=True)
    if not google.account:
        raise CredentialsError(google.problem or "The credentials do not say whose they are.")
    sys.stdout.write(f"{google.account}\n")
    return 0


_ACTIONS = {"login": _login, "status": _status, "print-identity": _print_identity}
