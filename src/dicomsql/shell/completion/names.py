"""Names that may be typed, from the provider documents, the tag table and the query itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from dicomsql.errors import Error
from dicomsql.shell.completion.match import Candidate, Form

if TYPE_CHECKING:
    from dicomsql.catalog.load import Catalog
    from dicomsql.catalog.model import DicomTable, Method, Resource

__all__ = ["Names", "about_text", "functions_of_ours", "required_word"]

# Functions of our own that give rows or values of DICOM.
_OWN_FUNCTIONS = (
    ("read_dicom", "local files as a table: read_dicom('folder/**')", True),
    ("private", "a private attribute: private('CREATOR', '0019', '01')", False),
)
_ABOUT = 60


class Names:
    """What names there are.

    Parameters:
        catalog: gives the provider documents.
        prefix: gives what USE has named.
        service: the service that the session is connected to, whose resources stand first; empty
            for none in particular.
    """

    def __init__(
        self,
        catalog: Callable[[], Catalog],
        prefix: Callable[[], tuple[str, ...]],
        service: str = "",
    ) -> None:
        self._open = catalog
        self._prefix = prefix
        self._service = service
        self._known: dict[tuple[tuple[str, ...], tuple[str, ...]], Resource | None] = {}
        self._every_known: tuple[tuple[str, Resource], ...] | None = None
        self._offered_known: dict[tuple[str, str], tuple[Resource, ...]] = {}

    @property
    def catalog(self) -> Catalog:
        """The provider documents."""
        return self._open()

    # -- resources and methods -------------------------------------------------------------------

    def resource(self, parts: Sequence[str]) -> Resource | None:
        """The resource of a name, whole or behind USE; None where there is none."""
        key = tuple(parts), self._prefix()
        if key not in self._known:
            try:
                self._known[key] = self.catalog.resolve(*key)
            except Error:
                self._known[key] = None
        return self._known[key]

    def paths(self, path: Sequence[str], verb: str, depth: int = 3) -> Iterator[Candidate]:
        """Providers, services and resources behind the parts of a name.

        Args:
            verb: the resources have it; empty for any, `copy` for those that COPY stores into.
            depth: parts that the name has at most.
        """
        prefix = self._prefix()
        if not path:
            if len(prefix) == 2 and depth == 3:
                yield from self._resources(prefix, verb, 1)
            yield from self._providers()
            if len(prefix) == 1 and depth > 1:
                yield from self._services(prefix[0], 2)
        elif len(path) == 1 and depth > 1:
            yield from self._services(path[0], 0)
            if len(prefix) == 1 and depth > 2:
                yield from self._resources((prefix[0], path[0]), verb, 1)
        elif len(path) == 2 and depth > 2:
            yield from self._resources(tuple(path), verb, 0)

    def whole_names(self, verb: str, depth: int = 3, *, others: bool) -> Iterator[Candidate]:
        """Resources by their whole names, which are found by their last parts.

        Args:
            others: those too of services that are not the session's own.
        """
        if depth < 3:
            return
        first = self.services()[0]
        for name, resource in self._every():
            if _takes(resource, verb):
                is_first = (resource.provider, resource.service) == first
                if not (is_first or others):
                    continue
                rank = 5 if is_first else 6
                about = _short(resource.description or resource.title)
                yield Candidate(name, about, rank, Form.RAW, resource.name, loose=False)

    def methods(self, path: Sequence[str]) -> Iterator[Candidate]:
        """What EXEC may name behind the parts of a name."""
        prefix = self._prefix()
        full = (*prefix[: max(0, 3 - len(path))], *path)
        if path and (resource := self.resource(path)) is not None:
            for method in resource.methods.values():
                yield Candidate(method.name, _short(method.description), 0, form=Form.METHOD)
        elif len(full) == 3 and (resource := self.resource(full)) is not None:
            for method in resource.methods.values():
                yield Candidate(method.name, _short(method.description), 1, form=Form.METHOD)
        yield from self.paths(path, "")
        if not path:
            yield from self.whole_names("", others=True)

    def method(self, name: Sequence[str]) -> Method | None:
        """The method of a name; None where there is none."""
        try:
            return self.catalog.resolve_method(tuple(name), self._prefix())
        except Error:
            return None

    def variables(
        self, name: Sequence[str], given: frozenset[str], defaults: Mapping[str, str]
    ) -> Iterator[Candidate]:
        """The variables that EXEC of a method takes, required ones first."""
        method = self.method(name)
        if method is None:
            return
        for parameter in method.parameters:
            if f"@{parameter.name}".lower() in given:
                continue
            needed = parameter.required
            has_default = parameter.name in defaults
            rank = (2 if has_default else 0) if needed else 3
            yield Candidate(
                f"@{parameter.name} =",
                about_text(
                    required_word(needed=needed, has_default=has_default),
                    parameter.description or parameter.type,
                ),
                rank,
                form=Form.RAW,
                key=f"@{parameter.name}",
            )
        if method.body and "@@json" not in given:
            yield Candidate("@@json =", "the body, as JSON", 1, Form.RAW, "@@json")
        if method.body_media and "@@file" not in given:
            yield Candidate("@@file =", "the body, from a file", 3, Form.RAW, "@@file")

    # -- the documents as lists ------------------------------------------------------------------

    def _providers(self) -> Iterator[Candidate]:
        for provider in self.catalog.providers():
            yield Candidate(provider.name, about_text("provider", provider.title), 2)

    def _services(self, provider: str, rank: int) -> Iterator[Candidate]:
        try:
            entries = self.catalog.entries(provider)
        except Error:
            return
        for entry in entries:
            yield Candidate(
                entry.name, about_text("service", entry.title or entry.description), rank
            )

    def _resources(self, service: Sequence[str], verb: str, rank: int) -> Iterator[Candidate]:
        try:
            found = self.catalog.service(service[0], service[1])
        except Error:
            return
        for name in found.resource_names:
            resource = self.catalog.resource(found.provider, found.name, name)
            if _takes(resource, verb):
                yield Candidate(name, _short(resource.description or resource.title), rank)

    def _every(self) -> tuple[tuple[str, Resource], ...]:
        if self._every_known is None:
            found = []
            for provider, service in self.services():
                try:
                    names = self.catalog.service(provider, service).resource_names
                    found += [self.catalog.resource(provider, service, name) for name in names]
                except Error:
                    continue
            self._every_known = tuple((resource.full_name, resource) for resource in found)
        return self._every_known

    def services(self) -> Sequence[tuple[str, str]]:
        """All services; that which the session asks first, then those with servers of their own."""
        found = [
            (provider.name, entry.name)
            for provider in sorted(self.catalog.providers(), key=lambda p: p.auth == "none")
            for entry in self.catalog.entries(provider.name)
        ]
        first = self._service or ".".join(self._prefix()[:2])
        return sorted(found, key=lambda pair: ".".join(pair) != first)

    def tables_of_level(self, level: str) -> list[DicomTable]:
        """The searches of a level of DICOM: `study`, `series` or `instance`."""
        tables = [resource.dicom for _, resource in self._every()]
        return [t for t in tables if t and t.level == level and t.source == "search"]

    def owners(self, name: str, services: Sequence[tuple[str, str]]) -> Iterator[Resource]:
        """The resources whose ids a parameter takes, and may be offered: of its service first."""
        looked: set[tuple[str, str]] = set()
        others = [s for s in self.services() if s[0] in {p for p, _ in services}]
        for provider, service in (*services, *others):
            if (provider, service) in looked:
                continue
            looked.add((provider, service))
            for resource in self._offered(provider, service):
                if resource.own_id.lower() == name:
                    yield resource

    def _offered(self, provider: str, service: str) -> tuple[Resource, ...]:
        key = provider, service
        if key not in self._offered_known:
            try:
                names = self.catalog.service(provider, service).resource_names
                all_ = [self.catalog.resource(provider, service, name) for name in names]
            except Error:
                all_ = []
            # A table of datasets is never offered, whatever a document says.
            self._offered_known[key] = tuple(r for r in all_ if r.offered and r.dicom is None)
        return self._offered_known[key]


def functions_of_ours(*, tables: bool) -> Iterator[Candidate]:
    """Functions that are not the engine's."""
    for name, about, is_table in _OWN_FUNCTIONS:
        if is_table == tables:
            yield Candidate(f"{name}(", about, 4, Form.RAW, name)


def _takes(resource: Resource, verb: str) -> bool:
    if verb == "copy":
        return resource.dicom is not None and resource.dicom.moves is not None
    return not verb or bool(resource.for_verb(verb))


def required_word(*, needed: bool, has_default: bool) -> str:
    """A word on a parameter that has to have a value; empty where it need not."""
    if not needed:
        return ""
    return "required, has a default" if has_default else "required"


def about_text(what: str, description: str) -> str:
    """What something is, and its description, in a line."""
    return _short(f"{what}: {description}" if what and description else what or description)


def _short(text: str) -> str:
    """The first sentence of a text, on one line, cut where it is long."""
    line = " ".join(text.split()).split(". ")[0].removesuffix(".")
    return line if len(line) <= _ABOUT else f"{line[: _ABOUT - 1].rstrip()}…"
