"""A serial port on real ptys: what arrives, what is sent, what goes wrong, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import threading
import tty
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edgegw.driver import SerialLine
from edgegw.ports import serial as ports_serial
from edgegw.ports.errors import PortError
from edgegw.ports.serial import CHUNK_BYTES, SerialPort
from edgegw.ports.tty import WRITE_BYTES, Tty

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

LINE = SerialLine(9600)
PATIENCE_S = 20


class Device:
    """The other end of a pty: what a sensor is on a real line."""

    def __init__(self) -> None:
        self.fd, slave = pty.openpty()
        tty.setraw(self.fd)
        self.path = os.ttyname(slave)
        os.close(slave)

    def say(self, data: bytes) -> None:
        while data:
            data = data[os.write(self.fd, data) :]

    def unplug(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1


@pytest.fixture
def device() -> Iterator[Device]:
    device = Device()
    yield device
    device.unplug()


class Heard:
    """What `on_data` was given."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.times: list[float] = []
        self._more = asyncio.Event()
        self._open = asyncio.Event()

    def port(self, path: str, line: SerialLine = LINE) -> SerialPort:
        return SerialPort(path, line, on_data=self, on_open=self._open.set)

    async def opened(self) -> None:
        await asyncio.wait_for(self._open.wait(), PATIENCE_S)

    def __call__(self, chunk: bytes, seconds: float) -> None:
        self.chunks.append(chunk)
        self.times.append(seconds)
        self._more.set()

    async def bytes(self, size: int) -> bytes:
        async with asyncio.timeout(PATIENCE_S):
            while len(data := b"".join(self.chunks)) < size:
                self._more.clear()
                await self._more.wait()
        return data


@contextlib.asynccontextmanager
async def running(port: SerialPort) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(port.run())
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, PortError, ArithmeticError):
            await task


async def failure(port: SerialPort) -> PortError:
    with pytest.raises(PortError) as caught:
        async with asyncio.timeout(PATIENCE_S):
            await port.run()
    return caught.value


async def test_what_a_device_says_arrives_on_the_loop_with_the_second_of_its_arrival(device: Device) -> None:
    heard = Heard()
    async with running(heard.port(device.path)):
        await heard.opened()
        before = asyncio.get_running_loop().time()
        device.say(b"\xaa\xc0 frame")
        assert await heard.bytes(8) == b"\xaa\xc0 frame"
        assert before <= heard.times[0] <= asyncio.get_running_loop().time()


async def test_an_odd_baud_rate_such_as_a_radars_256000_works(device: Device) -> None:
    heard = Heard()
    async with running(heard.port(device.path, SerialLine(256000))):
        await heard.opened()
        device.say(b"radar")
        assert await heard.bytes(5) == b"radar"


async def test_a_flood_arrives_whole_and_in_order_in_few_bounded_chunks(device: Device) -> None:
    flood = b"".join(b"%09d\n" % n for n in range(100_000))
    heard = Heard()
    async with running(heard.port(device.path)):
        await heard.opened()
        talker = threading.Thread(target=device.say, args=(flood,))
        talker.start()
        assert await heard.bytes(len(flood)) == flood
        talker.join()
    assert max(map(len, heard.chunks)) <= CHUNK_BYTES
    assert len(heard.chunks) < len(flood) / 500
    assert heard.times == sorted(heard.times)


async def test_a_loop_that_is_behind_stops_the_reading_at_a_bound_and_loses_nothing(device: Device) -> None:
    flood = os.urandom(1_000_000)
    heard = Heard()
    async with running(heard.port(device.path)) as task:
        await heard.opened()
        talker = threading.Thread(target=device.say, args=(flood,))
        talker.start()
        talker.join(0.5)  # the loop stands still meanwhile
        assert talker.is_alive(), "the port took a megabyte that nobody fetched"
        assert await heard.bytes(len(flood)) == flood
        talker.join()
        assert not task.done()


async def test_a_request_is_written_and_its_answer_read(device: Device) -> None:
    heard = Heard()
    port = heard.port(device.path)
    async with running(port):
        await heard.opened()
        await port.write(b"measure?")
        assert os.read(device.fd, 100) == b"measure?"
        device.say(b"71.3 dB")
        assert await heard.bytes(7) == b"71.3 dB"


async def test_a_write_is_refused_while_the_port_is_closed(device: Device) -> None:
    port = SerialPort(device.path, LINE, on_data=Heard())
    with pytest.raises(PortError) as caught:
        await port.write(b"x")
    assert caught.value.reason == "closed"


async def test_a_write_longer_than_the_kernels_buffer_is_refused(device: Device) -> None:
    port = SerialPort(device.path, LINE, on_data=Heard())
    with pytest.raises(ValueError, match="4097 bytes in one write, at most 4096"):
        await port.write(bytes(WRITE_BYTES + 1))


async def test_a_device_that_is_not_there_is_missing(tmp_path: Path) -> None:
    error = await failure(SerialPort(f"{tmp_path}/ttyUSB0", LINE, on_data=Heard()))
    assert error.reason == "missing"
    assert "ttyUSB0 is not there" in error.why
    assert "by-id" in error.todo


@pytest.mark.parametrize("name", ["/dev/null", "/etc/hostname", "/tmp"])
async def test_a_path_that_is_no_serial_device_is_named_so(name: str) -> None:
    error = await failure(SerialPort(name, LINE, on_data=Heard()))
    assert error.reason == "not_serial"


async def test_a_device_that_somebody_else_has_open_is_busy(device: Device) -> None:
    first, second = Heard(), Heard()
    async with running(first.port(device.path)):
        await first.opened()
        error = await failure(second.port(device.path))
    assert error.reason == "busy"
    assert "fuser" in error.todo


async def test_a_line_setting_that_does_not_exist_is_named(device: Device) -> None:
    error = await failure(SerialPort(device.path, SerialLine(9600, parity="X"), on_data=Heard()))
    assert error.reason == "settings"


async def test_an_adapter_that_is_pulled_out_ends_the_run(device: Device) -> None:
    heard = Heard()
    async with running(heard.port(device.path)) as task:
        await heard.opened()
        device.unplug()
        with pytest.raises(PortError) as caught:
            await asyncio.wait_for(task, PATIENCE_S)
    assert caught.value.reason == "unplugged"


async def test_what_was_said_before_the_plug_was_pulled_is_heard(device: Device) -> None:
    heard = Heard()
    async with running(heard.port(device.path)) as task:
        await heard.opened()
        device.say(b"last words")
        assert await heard.bytes(10) == b"last words"
        device.unplug()
        await asyncio.wait([task], timeout=PATIENCE_S)


async def test_cancelling_closes_the_device_so_that_it_can_be_opened_again_at_once(device: Device) -> None:
    for _ in range(3):
        heard = Heard()
        async with running(heard.port(device.path)):
            await heard.opened()
    Tty(device.path, LINE).close()


async def test_a_close_that_blocks_holds_up_neither_the_loop_nor_the_cancelled_task(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, closing, close = threading.Event(), threading.Event(), Tty.close

    def slow(self: Tty) -> None:
        closing.set()
        release.wait(PATIENCE_S)
        close(self)

    monkeypatch.setattr(Tty, "close", slow)
    monkeypatch.setattr(ports_serial, "CLOSE_S", 0.01)
    heard = Heard()
    async with running(heard.port(device.path)) as task:
        await heard.opened()
        task.cancel()
        await asyncio.wait([task], timeout=PATIENCE_S)
        assert task.cancelled()
        assert closing.is_set()
        assert not release.is_set()
    error = await failure(heard.port(device.path))
    assert error.reason == "busy"
    release.set()


async def test_what_the_receiver_raises_ends_the_run_and_is_not_swallowed(device: Device) -> None:
    def on_data(chunk: bytes, seconds: float) -> None:
        raise ArithmeticError(f"{chunk!r} at {seconds > 0}")

    async with running(SerialPort(device.path, LINE, on_data=on_data)) as task:
        while not task.done():
            device.say(b"1")
            await asyncio.wait([task], timeout=0.01)
        with pytest.raises(ArithmeticError):
            task.result()


async def test_a_write_that_waits_when_the_adapter_goes_is_told_so(device: Device) -> None:
    heard = Heard()
    port = heard.port(device.path)
    async with running(port) as task:
        await heard.opened()
        device.unplug()
        with pytest.raises(PortError) as caught:
            await asyncio.wait_for(port.write(b"measure?"), PATIENCE_S)
        assert caught.value.reason in {"unplugged", "closed"}
        await asyncio.wait([task], timeout=PATIENCE_S)


async def test_two_ports_do_not_share_a_thread_and_threads_are_named_after_their_device() -> None:
    one, two = Device(), Device()
    heard_one, heard_two = Heard(), Heard()
    async with (
        running(heard_one.port(one.path)),
        running(heard_two.port(two.path)),
    ):
        await heard_one.opened()
        await heard_two.opened()
        names = {thread.name for thread in threading.enumerate()}
        assert {f"serial {Path(path).name}" for path in (one.path, two.path)} <= names
    one.unplug()
    two.unplug()
