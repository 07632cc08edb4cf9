"""The command `provider`: its commands, options, help and examples."""

from __future__ import annotations

import argparse

from dicomsql.cli.arguments import groups

NAME = "provider"
HELP = "list, show, check and build provider documents"
DESCRIPTION = (
    "Provider documents say what a server can do and how it is asked; docs/providers.md describes "
    "them."
)
EXAMPLES = """\
examples:
  dicomsql provider list
  dicomsql provider show dicomweb.orthanc
  dicomsql provider show google.healthcare.dicom_stores
  dicomsql provider check ./providers/src/pacs/v1/services/archive.yaml
  dicomsql provider build openapi.yaml --name pacs.archive --into ./providers
"""


def add(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="COMMAND", title="commands")
    actions.required = True
    listed = actions.add_parser(
        "list",
        help="list the providers with their services, and where they come from",
        description="List the providers with their services and versions, and where they "
        "come from.",
    )
    show = actions.add_parser(
        "show",
        help="show the services, resources or methods that a name stands for",
        description="Show what a name stands for: the services of a provider, the resources of a "
        "service, the methods of a resource with their parameters.",
    )
    show.add_argument("name", metavar="NAME", help="PROVIDER[.SERVICE[.RESOURCE]]")
    check = actions.add_parser(
        "check",
        help="check a document, and say what is wrong in it and where",
        description="Check a provider's or a service's document against its JSON Schema, then "
        "whether its parts fit together. What is wrong is told with its place in the file; the "
        "exit code is 1 then.",
    )
    check.add_argument(
        "files", nargs="+", metavar="FILE", help="a document, or a folder of documents"
    )
    build = actions.add_parser(
        "build",
        help="make provider documents of an OpenAPI or a Google discovery document",
        description="Make provider documents of an OpenAPI 3 document or a Google discovery "
        "document: a resource for each collection of its paths, a method for each operation, and "
        "verbs of SQL where the form of an operation leaves no doubt. What was left out is told. "
        "The documents are checked before they are written; read them before you use them.",
    )
    build.add_argument("file", metavar="FILE", help="the document, as JSON or YAML")
    build.add_argument(
        "--name", required=True, metavar="PROVIDER.SERVICE", help="what SQL is to call it"
    )
    build.add_argument(
        "--into",
        required=True,
        metavar="DIR",
        help="the registry to write to, as --providers takes it; nothing there is overwritten",
    )
    for one in (listed, show):
        one.add_argument("--json", action="store_true", help="as JSON")
        group = one.add_argument_group("configuration")
        groups.documents(group)
        groups.configuration(group)
    for one in (listed, show, check, build):
        groups.debugging(one)
