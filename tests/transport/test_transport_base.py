"""A request's URL: a value stays inside its own segment, whatever it holds."""

from __future__ import annotations

import pytest

from dicomsql.errors import ProgrammingError
from dicomsql.transport.base import Request


def url(path: str, *values: tuple[str, str], query: tuple[tuple[str, str], ...] = ()) -> str:
    return Request("GET", "https://h", path, path_values=values, query=query).url


@pytest.mark.parametrize(
    ("value", "segment"),
    [("a", "a"), ("../x", "..%2Fx"), ("a/b?c#d%2e", "a%2Fb%3Fc%23d%252e"), ("ü", "%C3%BC")],
)
def test_a_value_is_one_segment(value: str, segment: str) -> None:
    assert url("/v1/{a}/end", ("a", value)) == f"https://h/v1/{segment}/end"


def test_a_name_keeps_its_slashes_but_not_its_dots() -> None:
    assert url("/v1/{+name}", ("name", "projects/p q")) == "https://h/v1/projects/p%20q"
    with pytest.raises(ProgrammingError, match="another path"):
        url("/v1/{+name}", ("name", "projects/../q"))


@pytest.mark.parametrize("value", ["", ".", "..", "a\nb", "a\x7f"])
def test_what_could_be_another_path_is_refused(value: str) -> None:
    with pytest.raises(ProgrammingError, match="The parameter studiesId"):
        url("/v1/{studiesId}", ("studiesId", value))


def test_query_pairs_keep_their_order() -> None:
    pairs = (("b", "1&2"), ("a", "x,y"), ("b", "3"))
    assert url("/v1", query=pairs) == "https://h/v1?b=1%262&a=x,y&b=3"
