"""Cloud Storage in the emulator: buckets, objects, uploads of each kind, ranges, lists."""

from __future__ import annotations

import base64
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dicomsql.emulator.neighbours.base import NeighbourError
from dicomsql.emulator.neighbours.crc32c import Crc32c
from dicomsql.emulator.neighbours.objects import Conditions, Shelf

BUCKETS = "/storage/v1/b"
OBJECTS = BUCKETS + "/bucket/o"
UPLOAD = "/upload/storage/v1/b/bucket/o"


@pytest.fixture
def client(tmp_path: Path, open_emulator: Callable[..., Any]) -> Iterator[Any]:
    """An emulator with an empty bucket `bucket`."""
    with open_emulator(tmp_path / "root", environment={}) as client:
        assert client.post(f"{BUCKETS}?project=p", json={"name": "bucket"}).status_code == 200
        yield client


def put(client: Any, name: str, content: bytes = b"x", **options: Any) -> Any:
    params = {"uploadType": "media", "name": name, **options}
    return client.post(UPLOAD, params=params, content=content)


def names(client: Any, **params: Any) -> list[str]:
    return [item["name"] for item in client.get(OBJECTS, params=params).json().get("items", [])]


def test_buckets(client: Any) -> None:
    for name in ("aaa", "bbb", "ccc"):
        assert client.post(f"{BUCKETS}?project=q", json={"name": name}).status_code == 200
    first = client.get(f"{BUCKETS}?project=q&maxResults=2").json()
    assert [bucket["name"] for bucket in first["items"]] == ["aaa", "bbb"]
    rest = client.get(f"{BUCKETS}?project=q&pageToken={first['nextPageToken']}").json()
    assert [bucket["name"] for bucket in rest["items"]] == ["ccc"]
    assert "nextPageToken" not in rest
    assert client.get(f"{BUCKETS}/aaa").json()["id"] == "aaa"
    assert client.delete(f"{BUCKETS}/aaa").status_code == 204
    assert client.get(f"{BUCKETS}/aaa").status_code == 404


@pytest.mark.parametrize(
    ("verb", "path", "body", "status"),
    [
        ("POST", f"{BUCKETS}?project=p", {"name": "bucket"}, 409),
        ("POST", f"{BUCKETS}?project=p", {"name": "../x"}, 400),
        ("POST", BUCKETS, {"name": "other"}, 400),
        ("POST", f"{BUCKETS}?project=p", {"name": "v1v", "versioning": {"enabled": True}}, 501),
        ("GET", f"{BUCKETS}/missing/o", None, 404),
        ("GET", f"{OBJECTS}/missing", None, 404),
        ("GET", f"{OBJECTS}/not/encoded", None, 404),
        ("GET", f"{OBJECTS}?pageToken=x", None, 400),
        ("GET", f"{OBJECTS}?versions=true", None, 501),
        ("GET", f"{BUCKETS}/bucket/iam", None, 501),
        ("POST", "/upload/storage/v1/b/missing/o?uploadType=media&name=a", {}, 404),
        ("POST", f"{UPLOAD}?uploadType=media", {}, 400),
        ("POST", f"{UPLOAD}?uploadType=other&name=a", {}, 400),
        ("PUT", f"{UPLOAD}?uploadType=resumable&upload_id=none", {}, 404),
    ],
)
def test_refusals(client: Any, verb: str, path: str, body: Any, status: int) -> None:
    answer = client.request(verb, path, json=body)
    assert answer.status_code == status
    error = answer.json()["error"]
    assert error["code"] == status and error["message"] and error["errors"][0]["reason"]


@pytest.mark.parametrize(
    "name", ["a", "a/b", "../../escape", "folder/", "/root", "ä ö%2F?#", "x" * 1024, ".hidden"]
)
def test_any_name_is_a_name_and_no_path(client: Any, tmp_path: Path, name: str) -> None:
    put(client, "a/b/c")
    outside = {path for path in tmp_path.iterdir() if path.name != "root"}
    made = put(client, name, b"content").json()
    assert made["name"] == name
    encoded = made["selfLink"].partition("/o/")[2]
    assert client.get(f"{OBJECTS}/{encoded}?alt=media").content == b"content"
    assert names(client) == sorted({"a/b/c", name})
    assert {path for path in tmp_path.iterdir() if path.name != "root"} == outside
    assert client.delete(f"{OBJECTS}/{encoded}").status_code == 204
    assert names(client) == ["a/b/c"]


def test_names_that_none_can_have(client: Any) -> None:
    for name in ("..", "x" * 1025, "a\nb"):
        assert put(client, name).status_code == 400


def test_sums_and_metadata(client: Any) -> None:
    content = os.urandom(200_000)
    made = put(client, "sums", content).json()
    assert made["md5Hash"] == base64.b64encode(hashlib.md5(content).digest()).decode()
    sum_ = Crc32c()
    for byte in content:
        sum_.update(bytes([byte]))
    assert made["crc32c"] == sum_.encoded()
    got = client.get(f"/download/storage/v1/b/bucket/o/sums?generation={made['generation']}")
    assert got.content == content
    assert got.headers["x-goog-hash"] == f"crc32c={made['crc32c']},md5={made['md5Hash']}"


def test_the_check_value_of_crc32c() -> None:
    sum_ = Crc32c()
    sum_.update(b"123456789")
    assert sum_.encoded() == base64.b64encode(bytes.fromhex("e3069283")).decode()


@pytest.mark.parametrize(
    ("asked", "status", "content", "span"),
    [
        ("bytes=0-3", 206, b"0123", "bytes 0-3/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=-2", 206, b"89", "bytes 8-9/10"),
        ("bytes=5-99", 206, b"56789", "bytes 5-9/10"),
        ("bytes=0-9", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=10-", 416, b"", "bytes */10"),
        ("bytes=0-1,4-5", 200, b"0123456789", None),
        ("lines=0-1", 200, b"0123456789", None),
    ],
)
def test_ranges(client: Any, asked: str, status: int, content: bytes, span: str | None) -> None:
    put(client, "ten", b"0123456789")
    got = client.get(f"{OBJECTS}/ten?alt=media", headers={"range": asked})
    assert (got.status_code, got.content) == (status, content)
    assert got.headers.get("content-range") == span


@pytest.mark.parametrize("line", ["\r\n", "\n"])
def test_an_upload_of_two_parts(client: Any, line: str) -> None:
    head = f"--x{line}Content-Type: application/json{line}{line}"
    said = '{"name": "two", "contentType": "application/dicom", "metadata": {"k": "v"}}'
    body = f"{head}{said}{line}--x{line}Content-Type: text/plain{line}{line}".encode()
    content = b"--y\r\n\n--x" + b"-" * 3
    content = content.replace(b"\n--x", b"\n-x")
    end = f"{line}--x--".encode()
    header = {"content-type": "multipart/related; boundary=x"}
    made = client.post(
        f"{UPLOAD}?uploadType=multipart", content=body + content + end, headers=header
    ).json()
    assert (made["contentType"], made["metadata"]) == ("application/dicom", {"k": "v"})
    assert client.get(f"{OBJECTS}/two?alt=media").content == content
    broken = client.post(
        f"{UPLOAD}?uploadType=multipart",
        content=(body + content).replace(b'"two"', b'"cut"'),
        headers=header,
    )
    assert broken.status_code == 400
    assert names(client) == ["two"]


def test_a_resumable_upload_goes_on_after_a_break(client: Any) -> None:
    content = os.urandom(1000)
    begun = client.post(f"{UPLOAD}?uploadType=resumable&name=big", json={})
    place = begun.headers["location"]
    assert place.startswith("http://emulator/upload/")

    def send(start: int, part: bytes, total: str) -> Any:
        span = f"bytes {start}-{start + len(part) - 1}/{total}"
        return client.request("PUT", place, content=part, headers={"content-range": span})

    first = send(0, content[:400], "*")
    assert (first.status_code, first.headers["range"]) == (308, "bytes=0-399")
    assert send(500, content[500:], "1000").status_code == 400
    asked = client.request("PUT", place, headers={"content-range": "bytes */*"})
    assert (asked.status_code, asked.headers["range"]) == (308, "bytes=0-399")
    assert names(client) == []
    done = send(300, content[300:], "1000")
    assert (done.status_code, done.json()["size"]) == (200, "1000")
    again = client.request("PUT", place, headers={"content-range": "bytes */1000"})
    assert again.json()["generation"] == done.json()["generation"]
    assert client.get(f"{OBJECTS}/big?alt=media").content == content


def test_a_sum_that_is_wrong_stores_nothing(client: Any) -> None:
    begun = client.post(f"{UPLOAD}?uploadType=resumable&name=bad", json={"md5Hash": "AAAA"})
    assert client.request("PUT", begun.headers["location"], content=b"abc").status_code == 400
    assert names(client) == []


def test_lists(client: Any) -> None:
    for name in ("a/1", "a/2", "a/b/3", "b", "c/4", "é"):
        put(client, name)
    listed = client.get(OBJECTS, params={"delimiter": "/"}).json()
    assert listed["prefixes"] == ["a/", "c/"]
    assert [item["name"] for item in listed["items"]] == ["b", "é"]
    below = client.get(OBJECTS, params={"delimiter": "/", "prefix": "a/"}).json()
    assert below["prefixes"] == ["a/b/"]
    assert names(client, startOffset="a/2", endOffset="c") == ["a/2", "a/b/3", "b"]
    found, token = [], ""
    for _ in range(4):
        page = client.get(
            OBJECTS, params={"delimiter": "/", "maxResults": 1, "pageToken": token}
        ).json()
        found += page.get("prefixes", []) + [item["name"] for item in page.get("items", [])]
        token = page.get("nextPageToken", "")
    assert (found, token) == (["a/", "b", "c/", "é"], "")


def test_conditions(client: Any) -> None:
    first = put(client, "o", b"1", ifGenerationMatch=0).json()
    assert put(client, "o", b"2", ifGenerationMatch=0).status_code == 412
    second = put(client, "o", b"2", ifGenerationMatch=first["generation"]).json()
    assert int(second["generation"]) > int(first["generation"])
    same = client.get(f"{OBJECTS}/o", params={"ifGenerationNotMatch": second["generation"]})
    assert same.status_code == 304
    gone = client.get(f"{OBJECTS}/o", params={"generation": first["generation"]})
    assert gone.status_code == 404
    old = {"ifGenerationMatch": first["generation"]}
    assert client.delete(f"{OBJECTS}/o", params=old).status_code == 412
    assert client.delete(f"{BUCKETS}/bucket").status_code == 409
    assert client.delete(f"{OBJECTS}/o").status_code == 204
    assert client.delete(f"{BUCKETS}/bucket").status_code == 204


def test_two_processes_share_a_folder(tmp_path: Path) -> None:
    first, second = Shelf(tmp_path), Shelf(tmp_path)
    first.add_bucket("bucket", "p", {})
    second.write("bucket", "o", [b"a", b"b"], "text/plain")
    _, held = first.open("bucket", "o")
    second.write("bucket", "o", [b"new"], "text/plain")
    with held:
        assert held.read() == b"ab"
    assert b"".join(first.read("bucket", "o")) == b"new"
    assert [path.stat().st_mode & 0o077 for path in tmp_path.rglob("*")] == [0] * len(
        list(tmp_path.rglob("*"))
    )
    assert len(list((tmp_path / "objects").glob("*/*"))) == 1
    assert not list((tmp_path / "uploads").iterdir())
    first.close()
    second.close()


def test_what_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    shelf.add_bucket("bucket", "p", {})

    def broken() -> Iterator[bytes]:
        yield b"half"
        raise ConnectionError

    with pytest.raises(ConnectionError):
        shelf.put("bucket", "o", broken(), {}, Conditions())
    with pytest.raises(NeighbourError):
        shelf.item("bucket", "o")
    assert not list((tmp_path / "uploads").iterdir())
    number = shelf.begin("bucket", "o", {}, Conditions())
    old = time.time() - 8 * 24 * 3600
    os.utime(tmp_path / "uploads" / number, (old, old))
    shelf.begin("bucket", "p", {}, Conditions())
    assert not (tmp_path / "uploads" / number).exists()
    shelf.close()


def test_copies(client: Any) -> None:
    assert client.post(f"{BUCKETS}?project=p", json={"name": "other"}).status_code == 200
    made = put(client, "in/a b.dcm", b"content").json()
    path = f"{OBJECTS}/in%2Fa%20b.dcm"
    copied = client.post(f"{path}/copyTo/b/other/o/c%2Fd").json()
    assert (copied["bucket"], copied["name"], copied["size"]) == ("other", "c/d", "7")
    assert copied["md5Hash"] == made["md5Hash"]
    assert client.get(f"{BUCKETS}/other/o/c%2Fd?alt=media").content == b"content"
    said = {"contentType": "application/dicom", "metadata": {"k": "v"}}
    written = client.post(f"{path}/rewriteTo/b/bucket/o/e", json=said).json()
    assert (written["done"], written["totalBytesRewritten"]) == (True, "7")
    assert written["resource"]["metadata"] == {"k": "v"}
    itself = client.post(f"{path}/rewriteTo/b/bucket/o/in%2Fa%20b.dcm", json={}).json()
    assert itself["resource"]["md5Hash"] == made["md5Hash"]
    assert client.get(path + "?alt=media").content == b"content"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("none/copyTo/b/bucket/o/b", 404),
        ("a/copyTo/b/missing/o/b", 404),
        ("a/copyTo/b/bucket/o/b?ifSourceGenerationMatch=1", 412),
        ("a/copyTo/b/bucket/o/a?ifGenerationMatch=0", 412),
        ("a/copyTo/b/bucket/o/b?sourceGeneration=1", 404),
        ("a/rewriteTo/b/bucket/o/b?destinationKmsKeyName=k", 501),
        ("a/compose", 501),
        ("a/copyTo/b/bucket", 501),
    ],
)
def test_copies_that_are_refused(client: Any, path: str, status: int) -> None:
    put(client, "a")
    assert client.post(f"{OBJECTS}/{path}", json={}).status_code == status
    assert names(client) == ["a"]
