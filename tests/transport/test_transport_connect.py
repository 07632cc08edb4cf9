"""From settings to a transport, and the log of its calls."""

from __future__ import annotations

import io
import ipaddress
import json
import re
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
import respx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from dicomsql import embedded
from dicomsql.config import Settings
from dicomsql.errors import CredentialsError, EndpointError, InterfaceError
from dicomsql.transport.base import Request, Transport
from dicomsql.transport.connect import base_url_for, gate_for, open_transport
from dicomsql.transport.gate import Gate
from dicomsql.transport.log import HttpLog
from dicomsql.transport.wire import Sockets

# Where the sockets are our own, answers are made before httpx chooses a transport.
pytestmark = pytest.mark.respx(using="httpx")

HOSTS = ("healthcare.googleapis.com",)
SCOPES = ("https://www.googleapis.com/auth/cloud-healthcare",)
GOOGLE = "https://healthcare.googleapis.com"
ENDPOINT = "http://127.0.0.1:8123"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("GOOGLE_OAUTH_ACCESS_TOKEN", "tok")


def get(base_url: str) -> Request:
    return Request(
        "GET", base_url, "/v1/{a}", path_values=(("a", "Doe"),), query=(("PatientID", "7"),)
    )


@pytest.mark.parametrize(
    ("settings", "servers", "base_url"),
    [
        (Settings(), (GOOGLE + "/",), GOOGLE),
        (Settings(endpoint=ENDPOINT + "/"), (GOOGLE,), ENDPOINT),
        (Settings(local=Path("x")), (GOOGLE,), embedded.BASE_URL),
        (Settings(endpoint="http://[::1]:80/dicom-web"), (), "http://[::1]:80/dicom-web"),
    ],
)
def test_the_base_url(settings: Settings, servers: tuple[str, ...], base_url: str) -> None:
    assert base_url_for(settings, servers) == base_url


@pytest.mark.parametrize("endpoint", ["http://h:port", "http://", "http://[::1", "http://h?x=1"])
def test_an_endpoint_that_is_none(endpoint: str) -> None:
    with pytest.raises(InterfaceError, match="is no base URL"):
        base_url_for(Settings(endpoint=endpoint), ())


def test_an_endpoint_that_is_none_is_not_repeated_where_it_may_hold_a_password() -> None:
    with pytest.raises(InterfaceError, match="is no base URL") as caught:
        base_url_for(Settings(endpoint="http://user:hunter/2@host"), ())
    assert "hunter" not in str(caught.value)


def test_no_server_at_all() -> None:
    with pytest.raises(InterfaceError, match="--endpoint"):
        base_url_for(Settings(), ())


def test_the_gate() -> None:
    assert gate_for(Settings()) == Gate.closed()
    assert gate_for(Settings(show_phi=True)) == Gate.open()


def test_google_gets_the_token(respx_mock: respx.MockRouter) -> None:
    route = respx_mock.get(f"{GOOGLE}/v1/Doe").respond(json={})
    sender: Transport
    with open_transport(Settings(), hosts=HOSTS, scopes=SCOPES) as sender:
        assert sender.send(get(GOOGLE)).read() == b"{}"
        with pytest.raises(CredentialsError):
            sender.send(get("https://other.example"))
    sent = route.calls.last.request
    assert sent.headers["authorization"] == "Bearer tok"
    assert sent.headers["user-agent"] == "dicomsql"


@pytest.mark.parametrize(
    ("settings", "scopes", "base_url"),
    [
        (Settings(endpoint=ENDPOINT), SCOPES, ENDPOINT),
        (Settings(endpoint="https://pacs.example"), SCOPES, "https://pacs.example"),
        (Settings(anonymous=True), SCOPES, GOOGLE),
        (Settings(), (), GOOGLE),
    ],
)
def test_no_credentials_go_where_none_were_asked_for(
    respx_mock: respx.MockRouter, settings: Settings, scopes: tuple[str, ...], base_url: str
) -> None:
    route = respx_mock.get(f"{base_url}/v1/Doe").respond(json={})
    with open_transport(settings, hosts=HOSTS, scopes=scopes) as sender:
        sender.send(get(base_url))
    assert "authorization" not in route.calls.last.request.headers


def test_an_endpoint_gets_credentials_that_were_given_with_it(
    respx_mock: respx.MockRouter,
) -> None:
    info = {"type": "authorized_user", "client_id": "i", "client_secret": "s", "refresh_token": "r"}
    tokens = respx_mock.post("https://oauth2.googleapis.com/token").respond(
        json={"access_token": "fresh", "expires_in": 3600}
    )
    route = respx_mock.get(f"{ENDPOINT}/v1/Doe").respond(json={})
    settings = Settings(endpoint=ENDPOINT, credentials=json.dumps(info))
    with open_transport(settings, hosts=HOSTS, scopes=SCOPES) as sender:
        sender.send(get(ENDPOINT))
        with pytest.raises(CredentialsError):
            sender.send(get(GOOGLE))
    assert route.calls.last.request.headers["authorization"] == "Bearer fresh"
    assert tokens.call_count == 1


def test_the_users_parallel_and_cancel_are_kept() -> None:
    cancel = threading.Event()
    with open_transport(Settings(endpoint=ENDPOINT, parallel=3), parallel=9, cancel=cancel) as one:
        assert one._parallel == 3
        assert one.cancel is cancel
    with open_transport(Settings(endpoint=ENDPOINT), parallel=9) as other:
        assert other._parallel == 9


def test_a_proxy_and_a_ca_bundle_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(InterfaceError, match="proxy cannot be used") as caught:
        open_transport(Settings(proxy="ftp://user:hunter2@h"))
    assert "hunter2" not in str(caught.value)
    with pytest.raises(InterfaceError, match=r"ca\.pem cannot be used: No such file"):
        open_transport(Settings(ca_bundle=str(tmp_path / "ca.pem")))
    (tmp_path / "ca.pem").write_text("nonsense", encoding="utf-8")
    with pytest.raises(InterfaceError, match=r"ca\.pem cannot be used"):
        open_transport(Settings(ca_bundle=str(tmp_path / "ca.pem")))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1, with its key, that it signed itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "here")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    file = tmp_path_factory.mktemp("tls") / "here.pem"
    file.write_bytes(
        made.public_bytes(pem)
        + key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return file


class Secure(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self.headers.get("authorization", "none").encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def https(certificate: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Secure)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    # The handshake belongs into the connection's own thread, where its failure is nobody's.
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"https://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_server_that_nobody_vouches_for_is_tried_once(https: str) -> None:
    with (
        open_transport(Settings(endpoint=https)) as sender,
        pytest.raises(EndpointError, match=r"not trusted .*--ca-bundle, after 1 attempt\.$"),
    ):
        sender.send(get(https))


def test_a_ca_bundle_vouches_for_a_server(https: str, certificate: Path) -> None:
    with open_transport(Settings(endpoint=https, ca_bundle=str(certificate))) as sender:
        assert sender.send(get(https)).read() == b"none"
        sockets = sender._interruptible
        assert isinstance(sockets, Sockets)
        assert any(isinstance(found, ssl.SSLSocket) for found in sockets._sockets)
        sender.abort()
        sender.cancel.clear()
        assert sender.send(get(https)).read() == b"none"


def test_a_proxy_is_used() -> None:
    with open_transport(Settings(proxy="http://127.0.0.1:9999")) as sender:
        transport = sender._http._transport_for_url(httpx.URL(GOOGLE))
        assert "HTTPProxy" in type(transport._pool).__name__  # type: ignore[attr-defined]


def test_without_proxies_the_sockets_are_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def kind(url: str) -> str:
        with open_transport(Settings()) as sender:
            return type(sender._http._transport_for_url(httpx.URL(url))).__name__

    assert kind(GOOGLE) == "DirectTransport"
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9999")
    monkeypatch.setenv("NO_PROXY", "pacs.example")
    assert kind(GOOGLE) == kind("https://pacs.example") == "HTTPTransport"


def test_the_emulator_in_this_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[dict[bytes, bytes]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        seen.append(dict(scope["headers"]))
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"local"})

    for name, member in (("create_app", lambda root: app), ("EmulatorError", ValueError)):
        module = ModuleType("app" if name == "create_app" else "errors")
        setattr(module, name, member)
        monkeypatch.setitem(sys.modules, f"dicomsql.emulator.{module.__name__}", module)
    settings = Settings(local=tmp_path)
    with open_transport(settings, hosts=HOSTS, scopes=SCOPES) as sender:
        assert sender.send(get(base_url_for(settings, ()))).read() == b"local"
    assert b"authorization" not in seen[0]
    assert seen[0][b"accept-encoding"] == b"identity"


def test_the_log_and_the_hook_are_both_told(
    respx_mock: respx.MockRouter, capsys: pytest.CaptureFixture[str]
) -> None:
    respx_mock.get(f"{ENDPOINT}/v1/Doe").respond(content=b"four")
    told: list[tuple[int, int]] = []

    def hook(request: Request, status: int, received: int, seconds: float, attempt: int) -> None:
        told.append((status, received))

    settings = Settings(endpoint=ENDPOINT, log_http=True)
    with open_transport(settings, on_response=hook) as sender:
        sender.send(get(ENDPOINT))
    with open_transport(settings) as sender:
        sender.send(get(ENDPOINT))
    out, err = capsys.readouterr()
    assert out == ""
    assert told == [(200, 4)]
    line = r"GET http://127\.0\.0\.1:8123/v1/\{a\}\?PatientID=… 200 \d+ ms"
    assert re.fullmatch(f"{line}\n{line}\n", err)


def test_the_lines_of_the_log() -> None:
    stream = io.StringIO()
    HttpLog(stream, Gate.closed())(get(ENDPOINT), 0, 0, 0.0123, 2)
    HttpLog(stream, Gate.open())(get(ENDPOINT), 404, 9, 1.5, 1)
    assert stream.getvalue() == (
        "GET http://127.0.0.1:8123/v1/{a}?PatientID=… no answer 12 ms, attempt 2\n"
        "GET http://127.0.0.1:8123/v1/Doe?PatientID=7 404 1500 ms\n"
    )


def test_nothing_heavy_is_imported_before_a_transport_is_opened() -> None:
    program = (
        "import sys\n"
        "from dicomsql.transport import base, connect, gate, log, pace, retry, auth\n"
        "heavy = {'httpx', 'ssl', 'google.auth', 'starlette', 'pydicom', 'yaml', 'pyarrow'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
