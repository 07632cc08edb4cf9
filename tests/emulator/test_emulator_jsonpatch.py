"""JSON Patch, by the examples of RFC 6902's appendix A and what a patch may get wrong."""

from __future__ import annotations

from typing import Any

import pytest

from dicomsql.emulator.jsonpatch import InvalidPatch, PatchFailed, apply, read


def op(name: str, path: str, **more: Any) -> dict[str, Any]:
    return {"op": name, "path": path, **more}


@pytest.mark.parametrize(
    ("document", "patch", "result"),
    [
        ({"foo": "bar"}, op("add", "/baz", value="qux"), {"foo": "bar", "baz": "qux"}),
        ({"foo": ["a", "c"]}, op("add", "/foo/1", value="b"), {"foo": ["a", "b", "c"]}),
        ({"baz": 1, "foo": 2}, op("remove", "/baz"), {"foo": 2}),
        ({"foo": ["a", "b", "c"]}, op("remove", "/foo/1"), {"foo": ["a", "c"]}),
        ({"baz": 1}, op("replace", "/baz", value=2), {"baz": 2}),
        ({"a": [1, 2]}, op("replace", "/a/1", value=3), {"a": [1, 3]}),
        (
            {"a": {"x": 1}, "b": {}},
            op("move", "/b/y", **{"from": "/a/x"}),
            {"a": {}, "b": {"y": 1}},
        ),
        ({"foo": [1, 2, 3]}, op("move", "/foo/2", **{"from": "/foo/0"}), {"foo": [2, 3, 1]}),
        ({"foo": 1}, op("copy", "/bar", **{"from": "/foo"}), {"foo": 1, "bar": 1}),
        ({"baz": "qux"}, op("test", "/baz", value="qux"), {"baz": "qux"}),
        ({"foo": "bar"}, op("add", "/child", value={"g": {}}), {"foo": "bar", "child": {"g": {}}}),
        ({"foo": "bar"}, op("add", "/baz", value=None, xyz=1), {"foo": "bar", "baz": None}),
        ({"/": 9, "~1": 10}, op("test", "/~01", value=10.0), {"/": 9, "~1": 10}),
        ({"foo": ["bar"]}, op("add", "/foo/-", value=["x"]), {"foo": ["bar", ["x"]]}),
        ({"foo": 1}, op("replace", "", value=[1]), [1]),
        ({"": 1}, op("replace", "/", value=2), {"": 2}),
    ],
)
def test_operations(document: Any, patch: dict[str, Any], result: Any) -> None:
    before = repr(document)
    assert apply(read([patch]), document) == result
    assert repr(document) == before


@pytest.mark.parametrize(
    "patch",
    [
        op("test", "/baz", value="bar"),
        op("test", "/one", value=True),
        op("test", "/list", value=[2, 1]),
        op("remove", "/nothing"),
        op("replace", "/nothing", value=1),
        op("add", "/nothing/below", value=1),
        op("add", "/baz/0", value=1),
        op("add", "/list/3", value=1),
        op("add", "/list/01", value=1),
        op("add", "/list/x", value=1),
        op("remove", "/list/-"),
        op("remove", "/list/2"),
        op("move", "/x", **{"from": "/nothing"}),
        op("remove", ""),
    ],
)
def test_what_does_not_fit_the_document(patch: dict[str, Any]) -> None:
    with pytest.raises(PatchFailed):
        apply(read([patch]), {"baz": "qux", "list": [1, 2], "one": 1})


@pytest.mark.parametrize(
    "patch",
    [
        {},
        [1],
        [{}],
        [{"op": "merge", "path": "/a"}],
        [{"op": ["add"], "path": "/a"}],
        [{"op": "add", "path": "/a"}],
        [{"op": "add", "value": 1}],
        [{"op": "copy", "path": "/a"}],
        [{"op": "remove", "path": "a"}],
        [{"op": "remove", "path": "/a~2"}],
        [{"op": "remove", "path": 1}],
        [{"op": "move", "path": "/a/b", "from": "/a"}],
    ],
)
def test_what_is_no_patch(patch: Any) -> None:
    with pytest.raises(InvalidPatch):
        read(patch)


def test_all_operations_or_none() -> None:
    document = {"a": [1]}
    patch = read([op("add", "/a/-", value=2), op("remove", "/b")])
    with pytest.raises(PatchFailed, match="operation 2"):
        apply(patch, document)
    assert document == {"a": [1]}
