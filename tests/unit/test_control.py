from __future__ import annotations

import asyncio
import json
import socket
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgegw import control
from edgegw.control import CONNECTIONS, REQUEST_BYTES, ControlServer
from edgegw.problems import GatewayError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping


async def echo(request: Mapping[str, Any]) -> Any:
    return request.get("what")


async def defect(request: Mapping[str, Any]) -> Any:
    raise ZeroDivisionError(request["op"])


async def refuse(request: Mapping[str, Any]) -> Any:
    del request
    raise GatewayError("EG-SENSOR-UNKNOWN", "there is no sensor 'x'", safe="nothing was changed")


async def count(request: Mapping[str, Any]) -> AsyncGenerator[int, None]:
    for number in range(request["to"]):
        yield number


@pytest.fixture
async def path(tmp_path: Path) -> AsyncIterator[Path]:
    found = tmp_path / "control.sock"
    server = ControlServer(found, {"echo": echo, "defect": defect, "refuse": refuse}, {"count": count})
    await server.start()
    yield found
    await server.stop()
    assert not found.exists()


async def ask(path: Path, *lines: bytes) -> list[Any]:
    reader, writer = await asyncio.open_unix_connection(str(path))
    try:
        writer.writelines(lines)
        writer.write_eof()
        return [json.loads(line) async for line in reader]
    finally:
        writer.close()
        await writer.wait_closed()


async def test_a_question_gets_its_answer(path: Path) -> None:
    assert await asyncio.to_thread(control.request, path, "echo", what=[1, "ä"]) == [1, "ä"]


async def test_a_stream_ends_when_it_has_no_more(path: Path) -> None:
    assert await asyncio.to_thread(lambda: list(control.stream(path, "count", to=3))) == [0, 1, 2]


async def test_a_refusal_arrives_as_it_was_raised(path: Path) -> None:
    with pytest.raises(GatewayError, match="no sensor 'x'") as error:
        await asyncio.to_thread(control.request, path, "refuse")
    assert (error.value.code, error.value.safe) == ("EG-SENSOR-UNKNOWN", "nothing was changed")


async def test_a_defect_is_told_and_the_next_question_is_answered(path: Path) -> None:
    answers = await ask(path, b'{"op":"defect"}\n', b'{"op":"echo","what":1}\n')
    assert [answer.get("error", {}).get("code") for answer in answers] == ["EG-INTERNAL", None]


async def test_only_owner_and_group_may_speak(path: Path) -> None:
    status = await asyncio.to_thread(path.stat)
    assert stat.S_IMODE(status.st_mode) == 0o660


async def test_a_request_beyond_the_limit_ends_the_connection_and_nothing_else(path: Path) -> None:
    assert await ask(path, b'{"op":"' + b"x" * REQUEST_BYTES + b'"}\n') == []
    assert await ask(path, b'{"op":"echo","what":2}\n') == [{"result": 2}]


async def test_connections_are_bounded_and_those_that_leave_make_room(path: Path) -> None:
    idle = [await asyncio.open_unix_connection(str(path)) for _ in range(CONNECTIONS)]
    (answer,) = await ask(path, b'{"op":"echo"}\n')
    assert answer["error"]["code"] == "EG-TIMEOUT"
    for _, writer in idle:
        writer.close()
        await writer.wait_closed()

    async with asyncio.timeout(30):
        while await ask(path, b'{"op":"echo","what":3}\n') != [{"result": 3}]:
            pass  # each question is a turn of the server, which hears of the closed ones


@given(st.lists(st.binary(max_size=200), max_size=30))
@settings(max_examples=10, deadline=None)
def test_garbage_is_answered_with_an_error_or_silence(lines: list[bytes]) -> None:
    async def talk(path: Path) -> None:
        server = ControlServer(path, {"echo": echo}, {})
        await server.start()
        for line in lines:
            for answer in await ask(path, line + b"\n"):
                assert answer["error"]["code"] == "EG-USAGE"
        assert await ask(path, b'{"op":"echo","what":4}\n') == [{"result": 4}]
        await server.stop()

    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(talk(Path(directory) / "control.sock"))


def test_without_a_daemon_the_error_says_so(tmp_path: Path) -> None:
    with pytest.raises(GatewayError) as error:
        control.request(tmp_path / "nothing.sock", "status")
    assert (error.value.code, error.value.exit_code) == ("EG-NOT-RUNNING", 3)


def test_a_daemon_that_talks_nonsense_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "nonsense.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def answer() -> None:
            there, _ = listener.accept()
            with there:
                there.recv(100)
                there.sendall(b"hello\n")

        import threading

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(GatewayError) as error:
            control.request(path, "status")
        thread.join()
    assert error.value.code == "EG-NOT-RUNNING"
