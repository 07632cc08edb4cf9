"""The client: attempts, waits, redirects, cancelling, what is told. Time is injected."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
import respx

from dicomsql.errors import (
    ApiError,
    CancelledError,
    ConflictError,
    EndpointError,
    InterfaceError,
    NotFoundError,
    PermissionDeniedError,
    QuotaError,
)
from dicomsql.transport.base import Request
from dicomsql.transport.client import Client
from dicomsql.transport.wire import Sockets

HOST = "https://example.org"
GET = Request("GET", HOST, "/v1/{name}", path_values=(("name", "a/b"),), query=(("q", "x,y"),))
POST = Request("POST", HOST, "/v1/x", body=b"{}")


class Waits(list[float]):
    """Notes each wait instead of waiting."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


class Told(list[tuple[str, int, int, int]]):
    """Notes what `on_response` is told."""

    def __call__(
        self, request: Request, status: int, received: int, seconds: float, attempt: int
    ) -> None:
        assert seconds >= 0
        self.append((request.method, status, received, attempt))


Answer = Callable[[httpx.Request], httpx.Response]


def client(*answers: httpx.Response | Exception | Answer, **options: object) -> Client:
    """A client whose server gives these answers one after the other."""
    left = iter(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        request.read()
        given = next(left)
        if isinstance(given, Exception):
            raise given
        return given if isinstance(given, httpx.Response) else given(request)

    http = httpx.Client(transport=httpx.MockTransport(answer))
    options.setdefault("wait", Waits())
    options.setdefault("chance", lambda: 1.0)
    # The pace keeps real time: so wide, a refusal costs it milliseconds.
    options.setdefault("parallel", 1000)
    return Client(http, **options)  # type: ignore[arg-type]


def test_the_request_is_sent_as_it_is() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, content=b"[]", headers={"ETag": "e"})

    request = Request(
        "POST",
        HOST,
        "/v1/{name}",
        path_values=(("name", "a/b ü"),),
        query=(("q", "x,y&z"), ("q", "2")),
        headers=(("accept", "application/dicom+json"), ("content-type", "application/json")),
        body=b"{}",
    )
    told = Told()
    with client(answer, on_response=told) as sender, sender.send(request) as response:
        assert response.status == 200
        assert response.header("etag") == "e"
        assert response.header("absent") == ""
        assert response.read() == b"[]"
        assert list(response.iter_bytes()) == [b"[]"]
    sent = seen[0]
    assert sent.url.raw_path == b"/v1/a%2Fb%20%C3%BC?q=x,y%26z&q=2"
    assert sent.headers["accept"] == "application/dicom+json"
    assert sent.content == b"{}"
    assert "authorization" not in sent.headers
    assert told == [("POST", 200, 2, 1)]


def test_what_may_pass_is_tried_again_with_growing_waits() -> None:
    waits, told = Waits(), Told()
    statuses = [503, 500, 408, 429]
    announced: list[tuple[int, float]] = []
    sender = client(
        *(httpx.Response(s) for s in statuses),
        httpx.Response(204),
        wait=waits,
        on_response=told,
        on_wait=lambda *wait: announced.append(wait),
    )
    response = sender.send(GET)
    assert response.status == 204
    assert list(response.iter_bytes()) == []
    assert waits == [0.5, 1.0, 2.0, 4.0]
    assert announced == [*zip(statuses, waits, strict=True)]
    assert [(status, attempt) for _, status, _, attempt in told] == [
        *zip(statuses, (1, 2, 3, 4), strict=True),
        (204, 5),
    ]


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_five_attempts_are_all(status: int) -> None:
    with pytest.raises(ApiError) as caught:
        client(*(httpx.Response(status) for _ in range(5))).send(GET)
    assert caught.value.failure.attempts == 5
    assert "5 attempts" in str(caught.value)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, ApiError), (403, PermissionDeniedError), (404, NotFoundError), (409, ConflictError)],
)
def test_what_will_not_pass_is_tried_once(status: int, kind: type[ApiError]) -> None:
    with pytest.raises(kind) as caught:
        client(httpx.Response(status, json={"error": {"message": "no"}})).send(GET)
    assert caught.value.failure.attempts == 1
    assert caught.value.failure.message == "no"


def test_a_post_is_tried_once_unless_the_document_says_otherwise() -> None:
    with pytest.raises(ApiError):
        client(httpx.Response(503)).send(POST)
    with pytest.raises(EndpointError, match=r"after 1 attempt\.$"):
        client(httpx.ConnectError("no")).send(POST)
    with pytest.raises(EndpointError, match="whether it took effect is not known"):
        client(httpx.ReadTimeout("no")).send(POST)
    repeatable = Request("POST", HOST, "/v1/x", body=b"{}", repeatable=True)
    assert client(httpx.Response(503), httpx.Response(200)).send(repeatable).status == 200


@pytest.mark.parametrize(
    ("headers", "waited"),
    [
        ({"retry-after": "3"}, 3.5),
        ({"retry-after": "nonsense"}, 0.5),
        ({}, 0.5),
    ],
)
def test_a_wait_that_is_asked_for_is_obeyed(headers: dict[str, str], waited: float) -> None:
    waits = Waits()
    answers = (httpx.Response(429, headers=headers), httpx.Response(200))
    client(*answers, wait=waits).send(GET)
    assert waits == [waited]


def test_a_date_to_return_at_is_obeyed() -> None:
    waits = Waits()
    when = format_datetime(datetime.now(UTC) + timedelta(seconds=20), usegmt=True)
    answers = (httpx.Response(503, headers={"retry-after": when}), httpx.Response(200))
    client(*answers, wait=waits, chance=lambda: 0.0).send(GET)
    assert 17 < waits[0] <= 20


def test_a_server_that_asks_for_an_hour_is_not_waited_for() -> None:
    waits = Waits()
    answer = httpx.Response(429, headers={"retry-after": "3600"})
    with pytest.raises(QuotaError, match="asks to wait 3600 s"):
        client(answer, wait=waits).send(GET)
    assert waits == []


def test_a_refused_rate_cuts_the_pace() -> None:
    sender = client(httpx.Response(429), httpx.Response(200), parallel=64)
    sender.send(GET)
    (pace,) = sender._paces.values()
    assert pace.throttle.limit < 64
    assert pace.throttle.rate is not None
    assert pace.throttle.running == 0


def test_each_attempt_gets_the_body_anew() -> None:
    bodies: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        bodies.append(request.content)
        return httpx.Response(503 if len(bodies) < 2 else 200)

    def parts() -> Iterator[bytes]:
        yield b"a" * 3
        yield b"b"

    put = Request("PUT", HOST, "/v1/x", body=parts, headers=(("content-length", "4"),))
    client(answer, answer).send(put)
    assert bodies == [b"aaab", b"aaab"]


def test_a_bodys_own_failure_is_the_callers() -> None:
    def parts() -> Iterator[bytes]:
        yield b"a"
        raise FileNotFoundError("gone.dcm")

    with pytest.raises(FileNotFoundError, match=r"gone\.dcm"):
        client(httpx.Response(200)).send(Request("PUT", HOST, "/v1/x", body=parts))


def test_no_connection_says_which_url_and_how_often() -> None:
    waits, told = Waits(), Told()
    sender = client(*(httpx.ConnectError("x") for _ in range(5)), wait=waits, on_response=told)
    with pytest.raises(EndpointError) as caught:
        sender.send(GET)
    assert str(caught.value) == (
        "GET https://example.org/v1/{name}?q=…: no connection, after 5 attempts."
    )
    assert sum(waits) == 3.5
    assert [t[1] for t in told] == [0] * 5


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (httpx.ConnectTimeout("x"), "no connection within 7 s"),
        (httpx.ReadTimeout("x"), "no answer within 7 s"),
        (httpx.WriteTimeout("x"), "did not take the request within 7 s"),
        (httpx.ReadError("x"), "the connection broke"),
        (httpx.RemoteProtocolError("x"), "the server broke off"),
        (httpx.ProxyError("x"), "the proxy refused"),
    ],
)
def test_what_went_wrong_is_said(error: Exception, said: str) -> None:
    with pytest.raises(EndpointError, match=said):
        client(*[error] * 5, timeout=7.0).send(GET)


def test_a_kind_of_url_that_nobody_knows_is_tried_once() -> None:
    with pytest.raises(EndpointError, match="after 1 attempt"):
        client(httpx.UnsupportedProtocol("x")).send(GET)


class Broken(httpx.SyncByteStream):
    """A body that breaks off, or takes its time."""

    def __init__(self, then: Callable[[], None]) -> None:
        self.then = then

    def __iter__(self) -> Iterator[bytes]:
        yield b"[1,"
        self.then()
        yield b"2]"


def breaks() -> None:
    raise httpx.ReadError("broken")


def test_a_body_that_breaks_off_is_fetched_again() -> None:
    told = Told()
    sender = client(
        httpx.Response(200, stream=Broken(breaks)),
        httpx.Response(200, content=b"[1,2]"),
        on_response=told,
    )
    assert sender.send(GET).read() == b"[1,2]"
    assert told == [("GET", 200, 3, 1), ("GET", 200, 5, 2)]


def test_a_streamed_body_that_breaks_off_is_an_error_of_its_reader() -> None:
    response = client(httpx.Response(200, stream=Broken(breaks))).send(GET, stream=True)
    pieces = response.iter_bytes()
    assert next(pieces) == b"[1,"
    with pytest.raises(EndpointError, match="the connection broke, after 1 attempt"):
        next(pieces)


def test_the_time_of_an_attempt_bounds_its_body_but_not_a_stream() -> None:
    now = [0.0]

    def slow() -> None:
        now[0] += 100.0

    def slow_answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=Broken(slow))

    sender = client(*[slow_answer] * 5, timeout=30.0, clock=lambda: now[0])
    with pytest.raises(EndpointError, match="no answer within 30 s, after 5 attempts"):
        sender.send(GET)
    streamed = client(slow_answer, timeout=30.0, clock=lambda: now[0]).send(GET, stream=True)
    assert streamed.read() == b"[1,2]"


def test_the_time_that_a_streamed_body_took_to_send_is_not_that_of_its_answer() -> None:
    now = [0.0]

    def body() -> Iterator[bytes]:
        for _ in range(10):
            now[0] += 25.0
            yield b"x"

    upload = Request("POST", HOST, "/v1/x", body=body)
    sender = client(httpx.Response(200, content=b"ok"), timeout=30.0, clock=lambda: now[0])
    assert sender.send(upload).read() == b"ok"


def test_a_stream_is_told_of_once_when_it_is_closed() -> None:
    told = Told()
    with client(httpx.Response(200, content=b"abc"), on_response=told).send(
        GET, stream=True
    ) as response:
        assert told == []
        assert b"".join(response.iter_bytes()) == b"abc"
    response.close()
    assert told == [("GET", 200, 3, 1)]


def test_gzip_is_undone() -> None:
    body = httpx.Response(
        200, stream=httpx.ByteStream(gzip.compress(b"x" * 9)), headers={"content-encoding": "gzip"}
    )
    assert client(body).send(GET).read() == b"x" * 9


def test_long_explanations_are_cut() -> None:
    told = Told()
    with pytest.raises(ApiError):
        client(httpx.Response(400, content=b"x" * 3_000_000), on_response=told).send(GET)
    assert told[0][2] <= 3_000_000


class Tokens:
    """An authorizer whose tokens are numbered."""

    sent = "a number"

    def __init__(self) -> None:
        self.number = 1

    def headers(self, url: str) -> Mapping[str, str]:
        return {"authorization": f"Bearer t{self.number}"}

    def identity(self) -> str:
        return "tokens"

    def renew(self, refused: Mapping[str, str]) -> bool:
        assert refused == self.headers("")
        self.number += 1
        return True


def test_a_401_is_worth_one_new_token() -> None:
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["authorization"])
        return httpx.Response(401 if seen[-1] == "Bearer t1" else 200)

    sender = client(answer, answer, authorizer=Tokens())
    assert sender.send(POST).status == 200
    assert seen == ["Bearer t1", "Bearer t2"]


def test_a_second_401_is_an_error() -> None:
    with pytest.raises(PermissionDeniedError):
        client(httpx.Response(401), httpx.Response(401), authorizer=Tokens()).send(GET)
    with pytest.raises(PermissionDeniedError):
        client(httpx.Response(401)).send(GET)


def redirect(target: str, status: int = 302) -> httpx.Response:
    return httpx.Response(status, headers={"location": target})


def test_a_redirect_on_the_same_server_is_followed_for_reads() -> None:
    seen: list[str] = []

    def final(request: httpx.Request) -> httpx.Response:
        seen.append(str(request.url))
        return httpx.Response(200, content=b"there")

    assert client(redirect("/v2/z?a=1"), final, authorizer=Tokens()).send(GET).read() == b"there"
    assert seen == ["https://example.org/v2/z?a=1"]


@pytest.mark.parametrize(
    ("request_", "target"),
    [
        (GET, "https://evil.example/v1"),
        (GET, "http://example.org/v1"),
        (GET, "https://example.org:8443/v1"),
        (GET, ""),
        (GET, "http://[broken"),
        (POST, "/v2"),
    ],
)
def test_no_other_redirect_is_followed(request_: Request, target: str) -> None:
    with pytest.raises(ApiError, match="redirects") as caught:
        client(redirect(target)).send(request_)
    assert caught.value.failure.status == 302


def test_redirects_in_a_circle_end() -> None:
    def circle() -> httpx.Response:
        # A body that is not there yet, as from the network.
        headers = {"location": "/v1/a"}
        return httpx.Response(302, headers=headers, stream=Broken(lambda: None))

    with pytest.raises(ApiError, match=r"redirects this call more than 5 times.*circle"):
        client(*(circle() for _ in range(9))).send(GET)


def test_cancelling_ends_waits_and_calls() -> None:
    cancel = threading.Event()

    def wait(_seconds: float) -> None:
        cancel.set()

    sender = client(httpx.Response(503), httpx.Response(200), cancel=cancel, wait=wait)
    with pytest.raises(CancelledError):
        sender.send(GET)
    with pytest.raises(CancelledError):
        sender.send(GET)
    cancel.clear()
    assert sender.send(GET).status == 200


def test_cancelling_ends_bodies() -> None:
    cancel = threading.Event()
    down = client(httpx.Response(200, stream=Broken(cancel.set)), cancel=cancel)
    with pytest.raises(CancelledError):
        down.send(GET)
    cancel.clear()

    def parts() -> Iterator[bytes]:
        yield b"a"
        cancel.set()
        yield b"b"

    with pytest.raises(CancelledError):
        client(httpx.Response(200), cancel=cancel).send(Request("PUT", HOST, "/v1/x", body=parts))


def test_over_httpx_itself(respx_mock: respx.MockRouter) -> None:
    route = respx_mock.get("https://example.org/v1/a%2Fb", params={"q": "x,y"})
    route.side_effect = [httpx.ConnectError("down"), httpx.Response(200, json=[])]
    with Client(httpx.Client(), wait=Waits(), interruptible=Sockets()) as sender:
        assert sender.send(GET).read() == b"[]"
    assert route.call_count == 2


class Handler(BaseHTTPRequestHandler):
    """Answers /ok at once; begins to answer /slow and never ends until told to."""

    protocol_version = "HTTP/1.1"
    begun = threading.Event()
    end = threading.Event()

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "4")
        self.end_headers()
        if self.path.startswith("/ok"):
            self.wfile.write(b"good")
        else:
            self.wfile.flush()
            self.begun.set()
            self.end.wait(10)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    Handler.begun.clear()
    Handler.end.clear()
    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{running.server_port}"
    Handler.end.set()
    running.shutdown()
    thread.join()
    running.server_close()


def test_the_libraries_log_nothing_of_our_calls(
    server: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    with Client(httpx.Client()) as sender:
        sender.send(Request("GET", server, "/ok", query=(("PatientName", "Doe"),)))
    assert "Doe" not in caplog.text
    assert "headers" not in caplog.text
    with httpx.Client() as another:
        another.get(f"{server}/ok?PatientName=Roe")
    assert "Roe" in caplog.text


def test_a_closed_client_says_so() -> None:
    sender = client()
    sender.close()
    with pytest.raises(InterfaceError, match="closed"):
        sender.send(GET)


def test_abort_wakes_a_thread_that_waits_for_a_server(server: str) -> None:
    caught: list[BaseException] = []
    with Client(httpx.Client(), interruptible=Sockets()) as sender:
        assert sender.send(Request("GET", server, "/ok")).read() == b"good"

        def work() -> None:
            try:
                sender.send(Request("GET", server, "/slow"))
            except CancelledError as error:
                caught.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        assert Handler.begun.wait(5)
        sender.abort()
        thread.join(5)
        assert not thread.is_alive()
        assert len(caught) == 1
        sender.cancel.clear()
        assert sender.send(Request("GET", server, "/ok")).read() == b"good"


def test_nobody_comes_to_wait_after_an_abort(server: str) -> None:
    with Client(httpx.Client(), interruptible=Sockets()) as sender:

        def abort(event: str, info: Mapping[str, object]) -> None:
            note(event, info)
            if event.endswith("connect_tcp.complete"):
                sender.abort()

        sockets = sender._interruptible
        assert isinstance(sockets, Sockets)
        note, sockets.note = sockets.note, abort  # type: ignore[method-assign]
        with pytest.raises(CancelledError):
            sender.send(Request("GET", server, "/slow"))
        assert not Handler.begun.is_set()


def test_a_server_that_is_silent_is_given_up(server: str) -> None:
    with (
        Client(httpx.Client(), timeout=0.05, wait=Waits()) as sender,
        pytest.raises(EndpointError, match=r"no answer within 0\.05 s, after 5 attempts"),
    ):
        sender.send(Request("GET", server, "/slow"))


def test_nobody_listens() -> None:
    with (
        Client(httpx.Client(), wait=Waits()) as sender,
        pytest.raises(EndpointError, match=r"no connection \(Connection refused\), after 5"),
    ):
        sender.send(Request("GET", "http://127.0.0.1:1", "/v1"))


def test_what_finishes_goes_out_after_the_end() -> None:
    cancel = threading.Event()
    cancel.set()
    sender = client(httpx.Response(503), httpx.Response(200, content=b"x"), cancel=cancel)
    assert sender.send(replace(GET, finishing=True)).read() == b"x"
    with pytest.raises(CancelledError):
        sender.send(GET)
