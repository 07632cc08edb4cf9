"""An emulator that misbehaves on purpose: what is drawn, and what a client meets on its socket."""

from __future__ import annotations

import asyncio
import queue
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from dicomsql.emulator.errors import EmulatorError
from dicomsql.emulator.faults import Behaviour, Fault, Faults, Misbehaving
from dicomsql.emulator.library import Emulator, Store

LOCATION = "/v1/projects/p/locations/us-central1"


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("rate=0.01", Faults(0.01)),
        ("rate=1,kinds=429", Faults(1, (Fault.BUSY,))),
        (
            " rate=0.25 , kinds=503,reset, stall,503,seed=7",
            Faults(0.25, (Fault.DOWN, Fault.RESET, Fault.STALL), 7),
        ),
        ("seed=-3,kinds=truncate,rate=0", Faults(0, ("truncate", "truncate"), -3)),
    ],
)
def test_faults_are_read(text: str, faults: Faults) -> None:
    assert Faults.parse(text) == faults


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "'' stands alone"),
        ("0.01", "'0.01' stands alone"),
        ("kinds=429", "there is no rate"),
        ("rate=often", "'often' is no rate"),
        ("rate=1.01", "it goes from 0 to 1"),
        ("rate=nan", "it goes from 0 to 1"),
        ("rate=0.1,rate=0.2", "'rate' is unknown, or there twice"),
        ("rate=0.1,speed=3", "'speed' is unknown"),
        ("rate=0.1,kinds=", "'' is no kind; the kinds are 429, 503, reset, stall, truncate"),
        ("rate=0.1,kinds=429,seed=7,503", "'503' stands alone"),
        ("rate=0.1,seed=x", "'x' is no seed"),
    ],
)
def test_faults_that_are_none(text: str, said: str) -> None:
    with pytest.raises(EmulatorError, match="aults"):
        Faults.parse(text)
    with pytest.raises(EmulatorError) as caught:
        Faults.parse(text)
    assert said in str(caught.value)


@pytest.mark.parametrize("wrong", [{"latency": -1}, {"latency": float("inf")}, {"quota": 0}])
def test_a_behaviour_out_of_range(wrong: dict[str, Any]) -> None:
    with pytest.raises(EmulatorError):
        Behaviour(**wrong)


async def _answer(scope: Any, receive: Callable[[], Awaitable[Any]], send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"x" * 100})


def statuses(misbehaving: Misbehaving, requests: int) -> list[int]:
    """What that many requests are answered; 0 where the connection breaks, -1 where it ends."""
    found: list[int] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def ask() -> int:
        status, ended = -1, False

        async def send(message: dict[str, Any]) -> None:
            nonlocal status, ended
            status = message.get("status", status)
            ended = message["type"] == "http.response.body" and not message.get("more_body")

        try:
            await misbehaving({"type": "http", "method": "GET"}, receive, send)
        except ConnectionResetError:
            return 0
        return status if ended else -1

    async def main() -> None:
        found.extend([await ask() for _ in range(requests)])

    asyncio.run(main())
    return found


def test_the_rate_and_the_kinds_are_those_asked_for() -> None:
    def drawn(seed: int) -> list[int]:
        return statuses(Misbehaving(_answer, Behaviour(Faults(0.2, seed=seed))), 2000)

    first = drawn(7)
    assert drawn(7) == first != drawn(8)
    count = Counter(first)
    assert set(count) == {200, 429, 503, 0, -1}
    assert 1500 < count[200] < 1700
    assert all(50 < count[status] < 110 for status in (429, 503, -1))
    assert 100 < count[0] < 220  # resets, and stalls whose client has gone
    assert set(statuses(Misbehaving(_answer, Behaviour(Faults(0))), 100)) == {200}
    busy = Misbehaving(_answer, Behaviour(Faults(1, (Fault.BUSY,))))
    assert set(statuses(busy, 100)) == {429}
    assert busy.struck == {"429": 100}


def test_a_quota_is_renewed_after_a_minute_and_refusals_do_not_count() -> None:
    now = 1000.0
    misbehaving = Misbehaving(_answer, Behaviour(quota=3), clock=lambda: now)
    assert statuses(misbehaving, 5) == [200, 200, 200, 429, 429]
    now += 59.9
    assert statuses(misbehaving, 1) == [429]
    now += 0.2
    assert statuses(misbehaving, 4) == [200, 200, 200, 429]
    assert misbehaving.struck == {"quota": 4}


def port_of(emulator: Emulator) -> int:
    return int(emulator.url.rpartition(":")[2])


def datasets_of(emulator: Emulator) -> int:
    """How many datasets there are, as an honest server on the same folder says."""
    with Emulator(emulator.root) as honest:
        answer = httpx.get(f"{honest.url}{LOCATION}/datasets", trust_env=False)
        return len(answer.json().get("datasets", []))


@contextmanager
def failing(kind: str) -> Iterator[tuple[Emulator, Store, httpx.Client]]:
    """An emulator all of whose requests fail in one way, a store, and a client."""
    log: list[str] = []
    with (
        Emulator(fault=f"rate=1,kinds={kind}", log=log.append) as emulator,
        httpx.Client(base_url=emulator.url, trust_env=False, timeout=10) as client,
    ):
        yield emulator, emulator.make_store("s"), client
        assert any(f"fails on purpose: {kind}" in line for line in log)
        assert not any("secret" in line for line in log)


@pytest.mark.parametrize(("kind", "code"), [("429", "RESOURCE_EXHAUSTED"), ("503", "UNAVAILABLE")])
def test_a_refusal_is_googles(kind: str, code: str) -> None:
    with failing(kind) as (emulator, _, client):
        answer = client.get(LOCATION + "?key=secret")
        error = answer.json()["error"]
        assert (str(answer.status_code), str(error["code"]), error["status"]) == (kind, kind, code)
        assert "retry-after" not in answer.headers
        # The connection goes on, also where the body was not looked at.
        assert str(client.post(LOCATION, content=b"x" * 300_000).status_code) == kind
        for number in range(20):
            client.post(f"{LOCATION}/datasets?datasetId=d{number}", json={})
        assert emulator.faults == {kind: 22}
        # One that is refused for its rate is never carried out; of the others nobody knows.
        made = datasets_of(emulator)
        assert made == 0 if kind == "429" else 0 < made < 20


def test_a_reset_is_one_and_may_come_before_or_after_the_work() -> None:
    with failing("reset") as (emulator, _, _client):
        for number in range(20):
            with socket.create_connection(("127.0.0.1", port_of(emulator))) as raw:
                raw.sendall(
                    f"POST {LOCATION}/datasets?datasetId=secret{number} HTTP/1.1\r\n"
                    "Host: localhost\r\nContent-Length: 2\r\n\r\n{}".encode()
                )
                with pytest.raises(ConnectionResetError):
                    raw.recv(1)
        assert repr(emulator.faults) == "Counter({'reset': 20})"
        assert 0 < datasets_of(emulator) < 20


def test_a_stall_lasts_until_the_client_goes_and_does_not_keep_the_server() -> None:
    struck: queue.SimpleQueue[str] = queue.SimpleQueue()
    emulator = Emulator(fault="rate=1,kinds=stall", log=struck.put).start()
    try:
        with pytest.raises(httpx.ReadTimeout):
            httpx.get(emulator.url + LOCATION, timeout=0.05, trust_env=False)
        assert "stall" in struck.get(timeout=10)
        with socket.create_connection(("127.0.0.1", port_of(emulator))) as waiting:
            waiting.sendall(f"GET {LOCATION} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            while "stall" not in struck.get(timeout=10):
                pass
            emulator.close()
            with pytest.raises(ConnectionResetError):
                waiting.recv(1)
    finally:
        emulator.close()


def test_an_answer_is_truncated(make_dicom: Any) -> None:
    file = make_dicom(EncapsulatedDocument=bytes(range(256)) * 2000)
    with failing("truncate") as (emulator, store, client):
        lengths: list[int] = []
        kind = {"content-type": "application/dicom"}
        with pytest.raises(httpx.RemoteProtocolError):
            client.post(store.url + "/studies", content=file, headers=kind)
        accept = {"accept": "application/dicom; transfer-syntax=*"}
        for _ in range(8):
            got = 0
            with (
                pytest.raises(httpx.RemoteProtocolError),
                client.stream(
                    "GET",
                    store.url + "/studies/1.1/series/1.1.1/instances/1.1.1.1",
                    headers=accept,
                ) as answer,
            ):
                assert answer.status_code == 200
                for piece in answer.iter_raw():
                    got += len(piece)
            lengths.append(got)
        assert len(set(lengths)) > 4
        assert max(lengths) < len(file)
        # Of an answer without a body nothing comes at all.
        with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
            client.get(emulator.make_store("empty").url + "/studies")
        assert emulator.faults == {"truncate": 10}


def test_latency_and_quota_of_an_emulator() -> None:
    with (
        Emulator(latency=0.001, quota=2) as emulator,
        httpx.Client(base_url=emulator.url, trust_env=False) as client,
    ):
        answers = [client.get(LOCATION) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        detail = answers[2].json()["error"]["details"][0]
        assert detail["reason"] == "RATE_LIMIT_EXCEEDED"
        assert detail["metadata"]["quota_limit_value"] == "2"
        assert emulator.faults == {"quota": 1}


def test_what_waits_for_its_latency_ends_with_the_server() -> None:
    misbehaving = Misbehaving(_answer, Behaviour(latency=3600))

    async def main() -> list[Any]:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        asyncio.get_running_loop().call_soon(misbehaving.release)
        await misbehaving({"type": "http", "method": "GET"}, lambda: asyncio.sleep(0), send)
        return sent

    assert asyncio.run(main())[0]["status"] == 200


def test_an_unknown_kind_is_named_before_a_missing_rate() -> None:
    with pytest.raises(EmulatorError, match="'foo' is no kind"):
        Faults.parse("kinds=foo")
