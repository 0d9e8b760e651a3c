"""One named thread in which everything happens that can block on one device, call after call.

It is a daemon thread and not an executor on purpose: closing a serial adapter can block for seconds, or for
ever with a broken driver, and must hold up neither the event loop nor the end of the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
Args = TypeVarTuple("Args")


class PortThread:
    """A thread that runs calls in the order in which they were made."""

    def __init__(self, name: str) -> None:
        """Name it; it starts with its first call."""
        self.name = name
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def call(self, function: Callable[[*Args], T], *args: *Args) -> asyncio.Future[T]:
        """Run `function(*args)` in the thread; the future has its result, or what it raised.

        A call whose future was cancelled before its turn is skipped; one that runs is not interrupted.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def run() -> None:
            if future.cancelled():
                return
            result, error = _outcome(function, *args)
            # The loop is closed at the end of the process: then nobody waits for the answer any more.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(_settle, future, result, error)

        self._calls.put(run)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=self.name, daemon=True)
            self._thread.start()
        return future

    def stop(self) -> None:
        """End the thread after the calls made so far; returns at once."""
        self._calls.put(None)

    def _work(self) -> None:
        while (run := self._calls.get()) is not None:
            run()


def _outcome(function: Callable[[*Args], T], *args: *Args) -> tuple[T | None, BaseException | None]:
    try:
        return function(*args), None
    except BaseException as error:  # noqa: BLE001 - nothing is swallowed: the caller gets it
        return None, error


def _settle(future: asyncio.Future[Any], result: object, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
