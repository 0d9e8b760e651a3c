"""The TCP bus against pymodbus's own server and against servers that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from typing import TYPE_CHECKING, Any

import pytest
from modbus_device import Slave
from pymodbus.server import ModbusTcpServer

from edgegw.driver import Block, FrameError
from edgegw.ports.errors import PortError
from edgegw.ports.modbus import TcpBus

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

FOUR = Block(3, 0, 4)
PATIENCE_S = 60
#: What goes over a wire instead of the bytes that came in: seconds from now, and bytes.
Parts = list[tuple[float, bytes]]


@contextlib.asynccontextmanager
async def tcp_slave(*units: int, port: int = 0) -> AsyncIterator[tuple[Slave, int]]:
    slave = Slave(*units)
    server = ModbusTcpServer(slave.devices, address=("127.0.0.1", port))
    await server.serve_forever(background=True)
    assert isinstance(server.transport, asyncio.Server)
    try:
        yield slave, server.transport.sockets[0].getsockname()[1]
    finally:
        await server.shutdown()  # type: ignore[no-untyped-call]  # pymodbus has no types here


def reasons(answers: object) -> list[str]:
    assert isinstance(answers, list)
    return [answer.reason if isinstance(answer, FrameError) else "answer" for answer in answers]


async def ask(bus: TcpBus, unit: int, *blocks: Block, timeout_s: float = 0.2) -> Any:
    return await bus.poll(unit, blocks, timeout_s=timeout_s, min_gap_s=0.0)


class Server:
    """A TCP server that answers each question with what `answer` makes of it; None closes the connection."""

    def __init__(self, answer: Callable[[bytes], Parts | None]) -> None:
        self.answer = answer
        self.questions: list[bytes] = []
        self.asked = asyncio.Event()
        self.connections = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._tasks.add(asyncio.create_task(self._talk(reader, writer)))

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.closing(writer), contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                question = await reader.readexactly(12)
                self.questions.append(question)
                self.asked.set()
                parts = self.answer(question)
                if parts is None:
                    return
                for delay_s, part in parts:
                    if delay_s:
                        loop.call_later(delay_s, writer.write, part)
                    else:
                        writer.write(part)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def serving(answer: Callable[[bytes], Parts | None]) -> AsyncIterator[tuple[Server, TcpBus]]:
    server = Server(answer)
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listening:
        bus = TcpBus("127.0.0.1", listening.sockets[0].getsockname()[1])
        try:
            async with asyncio.timeout(PATIENCE_S):
                yield server, bus
        finally:
            await bus.close()
            await server.stop()


def right(question: bytes, number: int = 0) -> bytes:
    """The true answer: its registers are the address and, last, the number of the question."""
    count = int.from_bytes(question[10:12], "big")
    first = int.from_bytes(question[8:10], "big")
    words = [*range(first, first + count - 1), number]
    data = b"".join(word.to_bytes(2, "big") for word in words)
    return question[:4] + (3 + len(data)).to_bytes(2, "big") + question[6:8] + bytes([len(data)]) + data


async def test_tcp_reads_registers_and_bits_of_all_four_functions_over_one_connection() -> None:
    async with tcp_slave(1, 7) as (slave, port):
        bus = TcpBus("127.0.0.1", port)
        for unit in (1, 7):
            for block in (FOUR, Block(4, 100, 3), Block(3, 20, 125)):
                assert await ask(bus, unit, block, timeout_s=5) == [slave.expect(unit, block)]
        assert await ask(bus, 1, Block(1, 3, 5), Block(2, 0, 9), timeout_s=5) == [
            [1, 0, 0, 1, 0],
            [1, 0, 0, 1, 0, 0, 1, 0, 0],
        ]
        assert reasons(await ask(bus, 1, Block(3, 5000, 1), FOUR, timeout_s=5)) == [
            "modbus_exception_2",
            "answer",
        ]
        await bus.close()


async def test_a_host_name_is_looked_up_and_one_that_does_not_exist_is_named() -> None:
    async with tcp_slave(1) as (slave, port):
        bus = TcpBus("localhost", port)
        assert await ask(bus, 1, FOUR, timeout_s=5) == [slave.expect(1, FOUR)]
        await bus.close()
    with pytest.raises(PortError) as caught:
        await ask(TcpBus("no-such-host.invalid", 502), 1, FOUR)
    assert caught.value.reason in {"unknown_host", "unreachable"}
    assert "no-such-host.invalid" in caught.value.why


async def test_a_device_with_ipv4_alone_is_found_where_its_name_has_ipv6_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with tcp_slave(1) as (slave, port):
        found = [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
        ]
        monkeypatch.setattr("edgegw.ports.modbus.connect.socket.getaddrinfo", lambda *_, **__: found)
        bus = TcpBus("device.example", port)
        assert await ask(bus, 1, FOUR, timeout_s=5) == [slave.expect(1, FOUR)]
        await bus.close()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda _: [], "no_reply"),
        (lambda q: [(0, right(q)[:9])], "truncated"),
        (lambda q: [(0, q[:6] + b"\x02" + right(q)[7:])], "wrong_address"),
        (lambda q: [(0, right(q)[:4] + b"\0\x0b" + q[6:7] + b"\x04" + right(q)[8:])], "wrong_function"),
        (lambda q: [(0, q[:4] + b"\0\x05" + q[6:8] + b"\x02\x00\x01")], "byte_count"),
        (lambda q: [(0, b"\0\0" + right(q)[2:])], "no_reply"),  # transaction 0 is not ours
        (lambda q: [(0, b"\xff\xff" + right(q)[2:]), (0, right(q))], "answer"),
        (lambda q: [(0, right(q)), (0, right(q))], "answer"),
        (lambda q: [(0, right(q)[:3]), (0.02, right(q)[3:8]), (0.04, right(q)[8:])], "answer"),
        (lambda q: [(0, q[:4] + b"\0\x03" + q[6:7] + b"\x83\x0b")], "modbus_exception_11"),
    ],
)
async def test_what_a_bad_tcp_device_says_has_its_word(answer: Callable[[bytes], Parts], reason: str) -> None:
    async with serving(answer) as (_, bus):
        assert reasons(await ask(bus, 1, FOUR, timeout_s=0.3)) == [reason]


async def test_a_thousand_hostile_tcp_answers_give_no_wrong_register() -> None:
    chooser = random.Random(20260101)

    def hostile(question: bytes) -> Parts | None:
        answer = right(question, len(server.questions) & 0xFFFF)
        other = int.from_bytes(question[:2], "big") - chooser.randrange(1, 5) & 0xFFFF
        tricks: list[Parts | None] = [
            [(0, answer)],
            [(0, answer), (chooser.choice((0, 0.02)), answer)],
            [(chooser.uniform(0.02, 0.1), answer)],
            [(0, other.to_bytes(2, "big") + answer[2:]), (0, answer)],
            [(0, answer[:5]), (chooser.uniform(0.0, 0.1), answer[5:])],
            [(0, answer[: chooser.randrange(1, 12)])],
            [(0, chooser.randbytes(chooser.randrange(1, 40)))],
            [(0, answer + chooser.randbytes(3))],
            [],
            None,
        ]
        return chooser.choice(tricks) if chooser.random() < 0.8 else tricks[0]

    async with serving(hostile) as (server, bus):
        good = 0
        for _ in range(1000):
            bus._connector.worked()  # the pauses after failures are another test's
            bus._connector._next_at = 0.0
            block = Block(3, chooser.randrange(1000), chooser.choice((2, 4)))
            try:
                (answer,) = await ask(bus, 1, block, timeout_s=0.01)
            except PortError:
                continue
            if not isinstance(answer, FrameError):
                good += 1
                assert answer[:-1] == [*range(block.address, block.address + block.count - 1)]
                assert answer[-1] == len(server.questions), "an answer to another question"
        assert good > 250


async def test_a_connection_that_closes_on_the_question_is_made_anew_once() -> None:
    async with serving(lambda q: [(0, right(q))] if len(server.questions) != 2 else None) as (server, bus):
        assert reasons(await ask(bus, 1, FOUR, FOUR, timeout_s=5)) == ["answer", "answer"]
        assert server.connections == 2


async def test_a_device_that_always_closes_without_an_answer_is_named_and_not_hammered() -> None:
    async with serving(lambda _: None) as (server, bus):
        for _ in range(20):
            with pytest.raises(PortError) as caught:
                await ask(bus, 1, FOUR)
            assert caught.value.reason == "disconnected"
        assert server.connections == 1


async def test_two_timeouts_in_a_row_make_a_new_connection() -> None:
    async with serving(lambda q: [(0, right(q))] if server.connections == 2 else []) as (server, bus):
        answers = await ask(bus, 1, FOUR, FOUR, FOUR, timeout_s=0.05)
        assert reasons(answers) == ["no_reply", "no_reply", "answer"]


async def test_a_device_that_floods_is_cut_off_in_bounded_memory() -> None:
    async with serving(lambda q: [(0, right(q)), *[(0, right(q))] * 10_000]) as (server, bus):
        assert reasons(await ask(bus, 1, FOUR, timeout_s=5)) == ["answer"]
        assert bus._link is not None
        async with asyncio.timeout(PATIENCE_S):
            while not bus._link.lost:  # noqa: ASYNC110 - the link tells nobody that it is lost
                await asyncio.sleep(0.01)
        assert server.connections == 1


async def test_a_server_that_is_not_modbus_ends_the_connection() -> None:
    async with serving(lambda _: [(0, b"HTTP/1.1 400 Bad Request\r\n\r\n")]) as (_, bus):
        with pytest.raises(PortError) as caught:
            await ask(bus, 1, FOUR, timeout_s=5)
        assert caught.value.reason == "disconnected"


async def test_a_refused_connection_is_named_and_is_back_by_itself(unused_port: int) -> None:
    bus = TcpBus("127.0.0.1", unused_port)
    with pytest.raises(PortError) as caught:
        await ask(bus, 1, FOUR)
    assert caught.value.reason == "refused"
    assert "502" in caught.value.todo
    async with tcp_slave(1, port=unused_port) as (slave, _), asyncio.timeout(PATIENCE_S):
        while True:
            with contextlib.suppress(PortError):
                assert await ask(bus, 1, FOUR, timeout_s=5) == [slave.expect(1, FOUR)]
                break
            await asyncio.sleep(0.05)
        await bus.close()


async def test_a_dead_unit_behind_a_gateway_rests_and_its_neighbours_do_not() -> None:
    async with serving(lambda q: [(0, right(q))] if q[6] != 9 else []) as (server, bus):
        for _ in range(8):
            assert reasons(await ask(bus, 1, FOUR, timeout_s=5)) == ["answer"]
            assert reasons(await ask(bus, 9, FOUR, timeout_s=0.2)) == ["no_reply"]
        assert sum(question[6] == 9 for question in server.questions) == 2


async def test_questions_take_their_turns_in_the_order_of_asking() -> None:
    async with serving(lambda q: [(0, right(q))]) as (server, bus):
        units = [3, 1, 2, 3, 2, 1]
        await asyncio.gather(*(ask(bus, unit, FOUR, timeout_s=5) for unit in units))
        assert [question[6] for question in server.questions] == units


async def test_a_cancelled_question_leaves_the_connection_in_step() -> None:
    async with serving(lambda q: [(0.05, right(q, len(server.questions)))]) as (server, bus):
        for number in range(1, 20, 2):
            cancelled = asyncio.create_task(ask(bus, 1, FOUR, timeout_s=5))
            server.asked.clear()
            await server.asked.wait()
            cancelled.cancel()
            (answer,) = await ask(bus, 1, FOUR, timeout_s=5)
            assert answer[-1] == number + 1
        assert server.connections == 1


async def test_a_closed_tcp_bus_says_so() -> None:
    async with serving(lambda q: [(0, right(q))]) as (_, bus):
        await ask(bus, 1, FOUR, timeout_s=5)
        await bus.close()
        with pytest.raises(PortError) as caught:
            await ask(bus, 1, FOUR)
        assert caught.value.reason == "closed"


@pytest.fixture
def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.mark.parametrize("function", [0, 5, 6, 8, 15, 16, 22, 23, 43, 131])
async def test_nothing_but_reads_leaves_the_port(function: int) -> None:
    async with serving(lambda q: [(0, right(q))]) as (server, bus):
        with pytest.raises(ValueError, match="not a read"):
            await ask(bus, 1, FOUR, Block(function, 0, 1))
        assert server.connections == 0
