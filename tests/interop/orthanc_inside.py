"""Run in a network namespace of its own: starts Orthanc and forwards connections to it.

Orthanc 1.10 listens on all interfaces whatever its configuration says, so it gets a network that
has nothing but a loopback. The listening socket comes from the parent and belongs to the parent's
network; what it accepts is carried over to Orthanc's.

    unshare -n -- python orthanc_inside.py FD ORTHANC CONFIGURATION LOG

A line `ready` says that Orthanc answers. All ends when standard input does, so also when the parent
dies.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

PORT = 8042
_SECONDS_TO_START = 60

_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1
_PR_SET_PDEATHSIG = 1


def main(listening: int, program: str, configuration: str, log: str) -> int:
    loopback_up()
    with Path(log).open("wb") as output:
        orthanc = subprocess.Popen(
            [program, configuration],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            preexec_fn=end_with_parent,  # noqa: PLW1509 - no other thread runs yet
        )
    try:
        if not wait_for(orthanc):
            return 1
        print("ready", flush=True)
        listener = socket.socket(fileno=listening)
        threading.Thread(target=accept, args=(listener,), daemon=True).start()
        sys.stdin.buffer.read()
    finally:
        orthanc.kill()  # it would wait for its connections, and what it stores is thrown away
        orthanc.wait()
    return 0


def loopback_up() -> None:
    """A new namespace has its loopback down (netdevice(7))."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        request = struct.pack("16sh14x", b"lo", 0)
        (flags,) = struct.unpack_from("h", fcntl.ioctl(handle, _SIOCGIFFLAGS, request), 16)
        fcntl.ioctl(handle, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _IFF_UP))


def end_with_parent() -> None:
    """Ask the kernel to end this process when the one that started it is gone."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def wait_for(orthanc: subprocess.Popen[bytes]) -> bool:
    """Whether Orthanc takes connections before it ends or the time is over."""
    until = time.monotonic() + _SECONDS_TO_START
    while orthanc.poll() is None and time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", PORT), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return True
    return False


def accept(listener: socket.socket) -> None:
    while True:
        outer, _ = listener.accept()
        inner = socket.create_connection(("127.0.0.1", PORT))
        for one, other in ((outer, inner), (inner, outer)):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=pump, args=(one, other), daemon=True).start()


def pump(source: socket.socket, sink: socket.socket) -> None:
    """Carry bytes one way until there are no more."""
    try:
        while data := source.recv(1 << 16):
            sink.sendall(data)
    except OSError:
        pass  # the other side is gone; so is then this one
    finally:
        for end, how in ((sink, socket.SHUT_WR), (source, socket.SHUT_RD)):
            with suppress(OSError):
                end.shutdown(how)


if __name__ == "__main__":
    _, fd, *rest = sys.argv
    os.set_inheritable(int(fd), False)
    sys.exit(main(int(fd), *rest))
