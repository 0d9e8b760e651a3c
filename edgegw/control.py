"""The control socket: how the command line asks the running daemon. A Unix socket of mode 0660, no network port.

One JSON object per line. A request is `{"op": NAME, ...}`; the answer is `{"result": ...}`, or for a stream many
`{"item": ...}` and a last `{"end": true}`, or `{"error": {...}}` with the keys of a GatewayError.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from typing import TYPE_CHECKING, Any, Final

from edgegw.problems import PROBLEMS, GatewayError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator, Mapping
    from pathlib import Path

# A request names an operation and a few arguments; more is not one of ours.
REQUEST_BYTES: Final = 16 * 1024
# An answer is at most a status with 64 sensors or a megabyte of batches in base64.
ANSWER_BYTES: Final = 8 * 1024 * 1024
# Technicians, a monitor and a tail or two; the limit keeps file descriptors for sensors.
CONNECTIONS: Final = 16
# A client that says nothing for so long, or does not read what it asked for, is gone. Seconds.
PATIENCE_S: Final = 30.0
# Reading commands answer within 5 s or say that the daemon does not.
ANSWER_S: Final = 5.0

Handler = "Callable[[Mapping[str, Any]], Awaitable[Any]]"


class ControlServer:
    """Answers on a Unix socket.

    `answers` maps an operation to a coroutine function of the request; `streams` to an async generator function.
    A GatewayError that they raise becomes the answer; any other exception is told as EG-INTERNAL.
    """

    def __init__(
        self,
        path: Path,
        answers: Mapping[str, Callable[[Mapping[str, Any]], Awaitable[Any]]],
        streams: Mapping[str, Callable[[Mapping[str, Any]], AsyncGenerator[Any, None]]],
    ) -> None:
        self._path = path
        self._answers = answers
        self._streams = streams
        self._serving: set[asyncio.Task[Any]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen; GatewayError when the socket cannot be made."""
        try:
            self._path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                self._path.unlink()
            mask = os.umask(0o117)  # 0660 from its first moment on
            try:
                self._server = await asyncio.start_unix_server(
                    self._serve, str(self._path), limit=REQUEST_BYTES
                )
            finally:
                os.umask(mask)
        except OSError as error:
            raise GatewayError(
                "EG-PERMISSION", f"the control socket {self._path} cannot be made: {error.strerror or error}"
            ) from error

    async def stop(self) -> None:
        """Stop listening, end the connections and remove the socket."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        with contextlib.suppress(OSError):
            self._path.unlink()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)
        try:
            while len(self._serving) <= 2 * CONNECTIONS:
                async with asyncio.timeout(PATIENCE_S):
                    line = await reader.readline()
                if not line:
                    return
                if len(self._serving) > CONNECTIONS:  # said only now: an unread request would undo the answer
                    busy = GatewayError("EG-TIMEOUT", "too many commands at once")
                    await _say(writer, {"error": busy.as_dict()})
                    return
                await self._answer(line, writer)
        except (TimeoutError, ConnectionError, ValueError):
            return  # silent, gone, or a request longer than the limit
        except asyncio.CancelledError:
            return  # the daemon stops; asyncio's streams complain about a handler that ends cancelled
        finally:
            writer.close()

    async def _answer(self, line: bytes, writer: asyncio.StreamWriter) -> None:
        try:
            request = _request(line)
            operation = request["op"]
            if operation in self._streams:
                items = self._streams[operation](request)
                # Closed also when the one who asked is gone: what the stream holds is given back at once.
                async with contextlib.aclosing(items):
                    async for item in items:
                        await _say(writer, {"item": item})
                await _say(writer, {"end": True})
            elif operation in self._answers:
                await _say(writer, {"result": await self._answers[operation](request)})
            else:
                raise GatewayError("EG-USAGE", "the daemon does not know this operation")
        except GatewayError as error:
            await _say(writer, {"error": error.as_dict()})
        except (ConnectionError, TimeoutError):
            raise
        except Exception as error:  # noqa: BLE001 -- told to the one who asked; the daemon goes on
            await _say(
                writer, {"error": GatewayError("EG-INTERNAL", f"{type(error).__name__}: {error}").as_dict()}
            )


def _request(line: bytes) -> dict[str, Any]:
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        request = None
    if not isinstance(request, dict) or not isinstance(request.get("op"), str):
        raise GatewayError("EG-USAGE", "a request is one line of JSON with an `op`")
    return request


async def _say(writer: asyncio.StreamWriter, answer: dict[str, Any]) -> None:
    writer.write(json.dumps(answer, separators=(",", ":")).encode() + b"\n")
    async with asyncio.timeout(PATIENCE_S):
        await writer.drain()


def request(path: Path, operation: str, **arguments: Any) -> Any:
    """Ask the daemon once, blocking for at most ANSWER_S seconds.

    Raises GatewayError: EG-NOT-RUNNING, EG-PERMISSION, EG-TIMEOUT, or what the daemon answered.
    """
    with _connected(path) as (send, lines):
        send({"op": operation, **arguments})
        return _value(next(lines, None), "result")


def stream(
    path: Path, operation: str, *, patience: float | None = None, **arguments: Any
) -> Generator[Any, None, None]:
    """The items of a stream, each as it comes; raises like `request`.

    `patience` is the longest wait for an item in seconds, then EG-TIMEOUT; None waits for ever.
    """
    with _connected(path, patience=patience) as (send, lines):
        send({"op": operation, **arguments})
        for line in lines:
            if line.get("end"):
                return
            yield _value(line, "item")


@contextlib.contextmanager
def held(path: Path, operation: str, **arguments: Any) -> Iterator[Any]:
    """The first item of a stream; the daemon keeps to it until the context ends. Raises like `request`."""
    with _connected(path) as (send, lines):
        send({"op": operation, **arguments})
        yield _value(next(lines, None), "item")


@contextlib.contextmanager
def _connected(
    path: Path, patience: float | None = ANSWER_S
) -> Iterator[tuple[Callable[[dict[str, Any]], None], Iterator[dict[str, Any]]]]:
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    link.settimeout(ANSWER_S)
    try:
        link.connect(str(path))
        link.settimeout(patience)
        with link.makefile("rwb") as file:

            def send(message: dict[str, Any]) -> None:
                file.write(json.dumps(message).encode() + b"\n")
                file.flush()

            yield send, (json.loads(line) for line in iter(lambda: file.readline(ANSWER_BYTES), b""))
    except PermissionError as error:
        raise GatewayError("EG-PERMISSION", f"{path}: not allowed") from error
    except TimeoutError as error:
        raise GatewayError("EG-TIMEOUT", "the daemon took the request and did not answer in time") from error
    except ConnectionResetError as error:
        raise GatewayError("EG-TIMEOUT", "the daemon has too many connections now", why=str(path)) from error
    except (OSError, ValueError) as error:
        why = f"{path}: {getattr(error, 'strerror', None) or error}"
        raise GatewayError("EG-NOT-RUNNING", why=f"{why}. {PROBLEMS['EG-NOT-RUNNING'].why}") from error
    finally:
        link.close()


def _value(answer: dict[str, Any] | None, key: str) -> Any:
    if answer is None:
        raise GatewayError("EG-NOT-RUNNING", "the daemon closed the connection")
    error = answer.get("error")
    if error is not None:
        raise GatewayError(
            # A newer daemon may know problems that this program does not.
            error["code"] if error["code"] in PROBLEMS else "EG-INTERNAL",
            error["what"],
            why=error["why"],
            todo=tuple(error["todo"]),
            safe=error.get("safe", ""),
        )
    return answer[key]
