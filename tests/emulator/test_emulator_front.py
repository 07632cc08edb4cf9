"""Who may ask, how long a request's head may be, and the parameters that every method takes."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from dicomsql.emulator import Emulator
from dicomsql.emulator.errors import EmulatorError
from dicomsql.emulator.front import LARGEST_HEAD, LONGEST_HEADERS, LONGEST_URL, is_local, origin_of

LOCATIONS = "/v1/projects/p/locations"
DATASET = LOCATIONS + "/us-central1/datasets/d"
STORE = DATASET + "/dicomStores/s"
FORM = {"content-type": "application/x-www-form-urlencoded"}


@pytest.fixture
def guarded(tmp_path: Path, open_emulator: Callable[..., Any]) -> Iterator[Any]:
    with open_emulator(tmp_path / "root", hosts={"devbox"}) as client:
        yield client


@pytest.mark.parametrize(
    ("authority", "local"),
    [
        ("127.0.0.1", True),
        ("127.0.0.1:8085", True),
        ("127.8.9.10:1", True),
        ("localhost:8085", True),
        ("LocalHost.:8085", True),
        ("a.localhost", True),
        ("[::1]:8085", True),
        ("[::1]", True),
        ("192.168.1.5:8085", True),
        ("DevBox:8085", True),
        ("8.8.8.8", False),
        ("[2001:4860:4860::8888]:80", False),
        ("localhost.example.com", False),
        ("127.0.0.1.example.com", False),
        ("notlocalhost", False),
        ("emulator", False),
        ("2130706433", False),
        ("user@127.0.0.1", False),
        ("", False),
    ],
)
def test_which_hosts_are_local(guarded: Any, authority: str, local: bool) -> None:
    assert is_local(authority, {"devbox"}) is local
    answer = guarded.get(LOCATIONS, headers={"host": authority})
    assert answer.status_code == (200 if local else 403)
    if not local:
        assert answer.json()["error"]["status"] == "PERMISSION_DENIED"
        assert "Host" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "http://localhost:3000"}, 200),
        ({"origin": "https://127.0.0.1"}, 200),
        ({"origin": "http://devbox"}, 200),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": ""}, 403),
        ({"origin": "http://localhost.evil.example"}, 403),
        ({"origin": "http://[bad"}, 403),
        ({"sec-fetch-site": "same-origin"}, 200),
        ({"sec-fetch-site": "cross-site", "sec-fetch-dest": "document"}, 200),
        ({"sec-fetch-site": "cross-site", "sec-fetch-dest": "image"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
    ],
)
def test_which_pages_are_answered(guarded: Any, headers: dict[str, str], status: int) -> None:
    answer = guarded.get(LOCATIONS, headers={"host": "localhost", **headers})
    assert answer.status_code == status
    assert "access-control-allow-origin" not in answer.headers


def test_a_page_changes_nothing(guarded: Any) -> None:
    """A form needs no leave of the browser, and a page of another site can send one."""
    path = LOCATIONS + "/us-central1/datasets"
    headers = {"host": "localhost", "content-type": "text/plain"}
    for more in ({"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}, {}):
        answer = guarded.post(path + "?datasetId=x", headers={**headers, **more}, content=b"{}")
        assert answer.status_code == (403 if more else 400)
    followed = {"sec-fetch-site": "cross-site", "sec-fetch-dest": "document"}
    assert guarded.post(path + "?datasetId=x", headers={**headers, **followed}).status_code == 403
    assert guarded.get(path, headers={"host": "localhost"}).json() == {}


@pytest.mark.parametrize(
    "path",
    [
        DATASET.replace("/datasets/d", "/datasets%2Fd"),
        STORE + "/dicomWeb/studies/1%2f2",
        STORE + "/dicomWeb/studies/..%2F..%2F..%2Fetc/metadata",
        STORE + "/dicomWeb/studies/..%5C..",
        "/v1%2Fprojects/p/locations",
        "/v1beta1/projects/p%2flocations/us",
    ],
)
def test_an_encoded_slash_is_in_no_path(emulator: Any, path: str) -> None:
    answer = emulator.get(path)
    assert answer.status_code == 400
    assert "encoded slash" in answer.json()["error"]["message"]


def test_how_long_a_head_may_be(emulator: Any) -> None:
    for question in ("x" * 60_000, "pageToken=" + "x" * LONGEST_URL):
        answer = emulator.get(f"{LOCATIONS}?{question}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (414, 414)
    assert emulator.get(f"{LOCATIONS}/{'x' * 60_000}").status_code == 414
    fits = emulator.get(f"{LOCATIONS}?quotaUser={'x' * (LONGEST_URL - 100)}")
    assert fits.status_code == 200
    long = emulator.get(LOCATIONS, headers={"x-long": "x" * LONGEST_HEADERS})
    assert long.status_code == 431


class TestOverriddenVerbs:
    """Google's clients send a GET with a long URL as a POST of a form."""

    def test_a_get_whose_parameters_are_a_form(self, emulator: Any) -> None:
        headers = {"x-http-method-override": "GET", **FORM}
        answer = emulator.post(LOCATIONS, headers=headers, content=b"pageSize=2&fields=locations")
        assert list(answer.json()) == ["locations"]
        assert len(answer.json()["locations"]) == 2
        both = emulator.post(LOCATIONS + "?fields=a", headers=headers, content=b"pageSize=x")
        assert both.status_code == 400
        searched = emulator.post(
            STORE + "/dicomWeb/studies", headers=headers, content=b"includefield=PatientAge&" * 2000
        )
        assert searched.status_code == 204

    def test_a_patch(self, emulator: Any) -> None:
        labels = {"labels": {"a": "b"}}
        headers = {"x-http-method-override": "PATCH"}
        patched = emulator.post(STORE + "?updateMask=labels", headers=headers, json=labels)
        assert patched.json()["labels"] == {"a": "b"}

    def test_what_is_refused(self, emulator: Any) -> None:
        wrong = emulator.post(LOCATIONS, headers={"x-http-method-override": "TRACE"})
        assert wrong.status_code == 400
        headers = {"x-http-method-override": "GET", **FORM}
        assert emulator.post(LOCATIONS, headers=headers, content=b"x" * 2**21).status_code == 413


class TestSystemParameters:
    def test_the_form_of_an_answer(self, emulator: Any) -> None:
        long, short = emulator.get(STORE), emulator.get(STORE + "?prettyPrint=false")
        assert long.json() == short.json()
        assert "\n" in long.text
        assert "\n" not in short.text
        assert " " not in short.text

    def test_what_is_taken_and_changes_nothing(self, emulator: Any) -> None:
        plain = emulator.get(STORE).text
        for question in ("alt=json", "$alt=json", "key=k", "quotaUser=u", "access_token=t",
                         "oauth_token=t", "uploadType=media", "upload_protocol=raw",
                         "$.xgafv=1", "$.xgafv=2", "alt=media"):  # fmt: skip
            assert emulator.get(f"{STORE}?{question}").text == plain

    @pytest.mark.parametrize(
        ("question", "status"),
        [("alt=xml", 400), ("$.xgafv=3", 400), ("prettyPrint=maybe", 400), ("callback=f", 400),
         ("$callback=f", 400), ("alt=proto", 501)],
    )  # fmt: skip
    def test_what_is_refused(self, emulator: Any, question: str, status: int) -> None:
        for path in (STORE, STORE + "/dicomWeb/studies"):
            answer = emulator.get(f"{path}?{question}")
            assert answer.status_code == status
            assert answer.headers["content-type"].startswith("application/json")

    def test_failures_in_the_first_form(self, emulator: Any) -> None:
        for path, reason in (
            (DATASET + "/dicomStores/x", "notFound"),
            (DATASET + "x", "forbidden"),
            (DATASET + "/dicomStores?pageSize=x", "badRequest"),
            (DATASET + "/fhirStores", "notImplemented"),
            ("/v3", "notFound"),
        ):
            question = "&" if "?" in path else "?"
            error = emulator.get(f"{path}{question}$.xgafv=1").json()["error"]
            (listed,) = error.pop("errors")
            assert listed == {"message": error["message"], "domain": "global", "reason": reason}
            assert emulator.get(f"{path}{question}$.xgafv=2").json()["error"] == error
        again = emulator.post(DATASET + "/dicomStores?dicomStoreId=s&$.xgafv=1").json()["error"]
        assert again["errors"][0]["reason"] == "alreadyExists"


@pytest.mark.parametrize(
    ("media_type", "status"),
    [
        ("application/json", 200),
        ("application/JSON; charset=utf-8", 200),
        ("application/vnd.x+json", 200),
        ("text/plain", 400),
        ("application/x-www-form-urlencoded", 400),
        ("application/jsonp", 400),
        ("", 200),
    ],
)
def test_the_type_of_a_body(emulator: Any, media_type: str, status: int) -> None:
    path = DATASET + "/dicomStores?dicomStoreId=t"
    answer = emulator.post(path, content=b"{}", headers={"content-type": media_type})
    assert answer.status_code == status


def test_a_socket(tmp_path: Path) -> None:
    """Over a real server: what is too long is answered, and what comes after it too."""
    head = "GET /v1/projects/p/locations{} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n"
    with Emulator(tmp_path / "root") as served:
        address = (urlsplit(served.url).hostname, urlsplit(served.url).port)

        def ask(question: str = "", host: str = "localhost") -> tuple[int, str]:
            with socket.create_connection(address) as connection:
                connection.sendall(head.format(question, host).encode())
                answer = b"".join(iter(lambda: connection.recv(65536), b""))
            top, _, body = answer.partition(b"\r\n\r\n")
            return int(top.split()[1]), body.decode()

        assert ask()[0] == 200
        status, body = ask("?" + "x" * 100_000)
        assert (status, json.loads(body)["error"]["code"]) == (414, 414)
        assert ask(host="evil.example")[0] == 403
        with contextlib.suppress(ConnectionError):  # it need not be read to its end
            assert ask("?" + "x" * 2 * LARGEST_HEAD)[0] == 400
        assert ask()[0] == 200


def test_pages_of_an_allowed_origin(tmp_path: Path, open_emulator: Callable[..., Any]) -> None:
    viewer = "http://viewer.test:3000"
    with open_emulator(tmp_path, hosts=set(), origins=[viewer + "/"]) as client:

        def ask(verb: str, origin: str, **headers: str) -> Any:
            said = {"origin": origin, "host": "127.0.0.1", "sec-fetch-site": "cross-site"}
            path = "/v1/projects/p/locations/us-central1/datasets"
            return client.request(verb, path, headers={**said, **headers})

        question = {
            "access-control-request-method": "PATCH",
            "access-control-request-headers": "content-type",
        }
        allowed = ask("OPTIONS", viewer, **question)
        assert allowed.status_code == 200
        assert "PATCH" in allowed.headers["access-control-allow-methods"]
        assert "content-type" in allowed.headers["access-control-allow-headers"]
        answer = ask("GET", viewer)
        assert answer.headers["access-control-allow-origin"] == viewer
        assert answer.status_code == 200
        for other in ("http://viewer.test", "https://viewer.test:3000", "http://localhost:3000"):
            assert ask("OPTIONS", other, **question).status_code == 400
            refused = ask("GET", other)
            assert (refused.status_code, "access-control-allow-origin" in refused.headers) == (
                403,
                False,
            )
        assert (
            client.get(
                "/v1/projects/p/locations", headers={"host": "evil.test", "origin": viewer}
            ).status_code
            == 403
        )


@pytest.mark.parametrize(
    "text", ["*", "null", "localhost:3000", "http://a/b", "http://", "ftp://a"]
)
def test_what_is_no_origin(text: str, tmp_path: Path) -> None:
    with pytest.raises(EmulatorError, match="is no origin"):
        origin_of(text)
    with pytest.raises(EmulatorError, match="is no origin"):
        Emulator(tmp_path / "root", origins=[text]).start()


def test_an_origin_is_as_browsers_send_it() -> None:
    assert origin_of("HTTP://LocalHost:80/") == "http://localhost"
    assert origin_of("https://[::1]:8443") == "https://[::1]:8443"
