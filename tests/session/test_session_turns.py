"""Turns, and the engine's thread: Ctrl-C at any moment leaves nothing taken.

Who waits for a turn gives up, or gets it.
"""

from __future__ import annotations

import dis
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, thread
from types import FrameType, ModuleType
from typing import Any

import pytest

from dicomsql.engine import worker
from dicomsql.engine.worker import Worker
from dicomsql.session import turns
from dicomsql.session.turns import Turn

# After these the interpreter looks for signals.
_LOOKS = ("CALL", "RESUME", "JUMP_BACKWARD")


class CtrlC:
    """Comes at the n-th moment in modules at which the interpreter would notice it."""

    def __init__(self, moment: int, *modules: ModuleType) -> None:
        self.left = moment
        self._files = {module.__file__ for module in modules}
        self._before: dict[FrameType, str] = {}
        self._names: dict[Any, dict[int, str]] = {}

    def __call__(self, frame: FrameType, event: str, _: object) -> Any:
        if frame.f_code.co_filename not in self._files:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            code = frame.f_code
            if code not in self._names:
                self._names[code] = {i.offset: i.opname for i in dis.get_instructions(code)}
            before = self._before.get(frame, "")
            self._before[frame] = self._names[code][frame.f_lasti]
            if before.startswith(_LOOKS):
                self.left -= 1
                if self.left == 0:
                    raise KeyboardInterrupt
        return self


def use(turn: Turn) -> None:
    with turn.taken(lambda: False) as mine:
        assert mine
        with turn.taken(lambda: False) as again:
            assert again


def ask(engine_thread: Worker) -> None:
    task = engine_thread.begin(lambda: 7)
    while not task.is_done(20):
        pass
    assert task.result() == 7


def moments_in(work: Callable[[], None], *modules: ModuleType) -> int:
    """Do the work with Ctrl-C at one moment after the other, and in another thread after each.

    Returns:
        how many moments there were.
    """
    moment = 0
    with ThreadPoolExecutor(1) as other:
        while True:
            moment += 1
            came, before = CtrlC(moment, *modules), sys.gettrace()
            sys.settrace(came)
            try:
                work()
            except KeyboardInterrupt:
                pass
            finally:
                sys.settrace(before)
            other.submit(work).result(timeout=20)
            if came.left > 0:
                return moment


def test_ctrl_c_leaves_no_turn_taken() -> None:
    turn = Turn()
    assert moments_in(lambda: use(turn), turns) > 5


def test_ctrl_c_leaves_the_thread_of_an_engine_at_work() -> None:
    engine_thread = Worker("test")
    ask(engine_thread)
    assert moments_in(lambda: ask(engine_thread), worker, thread, threading) > 15
    engine_thread.end()


def test_who_waits_may_give_up_and_the_next_one_gets_the_turn() -> None:
    turn, ready, asked = Turn(), threading.Event(), threading.Event()

    def given_up() -> bool:
        asked.set()
        return ready.is_set()

    def wait() -> bool:
        with turn.taken(given_up) as mine:
            return mine

    def stopped() -> bool:
        raise InterruptedError

    def fail() -> None:
        with turn.taken(stopped):
            pass

    with ThreadPoolExecutor(2) as others:
        with turn.taken(lambda: False):
            with pytest.raises(InterruptedError):
                others.submit(fail).result(timeout=20)
            waits = others.submit(wait)
            assert asked.wait(20)
            ready.set()
            assert waits.result(timeout=20) is False
            ready.clear()
            asked.clear()
            waits = others.submit(wait)
            assert asked.wait(20)
        assert waits.result(timeout=20) is True
