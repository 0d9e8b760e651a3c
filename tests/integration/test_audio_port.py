"""A microphone through the real ALSA library: what arrives, what goes wrong, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, NoReturn

import pytest
from sound_card import CHUNK_BYTES, SoundCard

from edgegw.ports.audio import Microphone, alsa, faults, microphone
from edgegw.ports.errors import PortError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
    from pathlib import Path

PATIENCE_S = 60
RATE = 48_000
# Three quarters of a second: what a card may be ahead of the clock without being wrong.
SAID = bytes(range(256)) * (3 * CHUNK_BYTES // 256)
SAID += bytes(-len(SAID) % CHUNK_BYTES)

with contextlib.suppress(OSError):
    alsa.library()
pytestmark = pytest.mark.skipif(not alsa.library.cache_info().currsize, reason="no libasound.so.2")


@pytest.fixture
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SoundCard]:
    with SoundCard(tmp_path) as card:
        monkeypatch.setenv("ALSA_CONFIG_PATH", str(card.configuration))
        # A machine that stands still for seconds makes a card overrun, which a pipe does not: it only looks slow.
        monkeypatch.setattr(microphone, "SLACK_S", 60.0)
        # It is not waited for what a pipe holds up, see `listening`.
        monkeypatch.setattr(microphone, "CLOSE_S", 0.05)
        yield card


class Heard:
    """What the listeners were given."""

    def __init__(self) -> None:
        self.samples = b""
        self.lost = 0
        self.chunks = 0
        self.switches: Sequence[str] | None = None
        self.threads: set[int] = set()
        self._more = asyncio.Event()

    def port(self, device: str = "microphone") -> Microphone:
        return Microphone(device, RATE, on_samples=self, on_open=self._opened)

    def _opened(self, switches: Sequence[str]) -> None:
        self.switches = switches
        self._more.set()

    def __call__(self, samples: bytes, lost: int, seconds: float) -> None:
        assert seconds > 0
        self.samples += samples
        self.lost += lost
        self.chunks += 1
        self.threads.add(threading.get_ident())
        self._more.set()

    async def open(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while self.switches is None:
                self._more.clear()
                await self._more.wait()

    async def bytes(self, size: int) -> bytes:
        async with asyncio.timeout(PATIENCE_S):
            while len(self.samples) < size:
                self._more.clear()
                await self._more.wait()
        return self.samples


@contextlib.asynccontextmanager
async def listening(port: Microphone, card: SoundCard) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(port.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        # The pipe, unlike a card, holds its reader until something comes; now it knows that it shall stop.
        with contextlib.suppress(OSError):
            card.say(bytes(CHUNK_BYTES))


async def failure(run: Awaitable[None]) -> PortError:
    with pytest.raises(PortError) as error:
        await asyncio.wait_for(run, PATIENCE_S)
    return error.value


async def until_no_thread_is_left() -> None:
    async with asyncio.timeout(PATIENCE_S):
        while any(thread.name.startswith("audio ") for thread in threading.enumerate()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_samples_arrive_unchanged_in_order_and_on_the_loop(card: SoundCard) -> None:
    heard = Heard()
    card.plug()
    async with listening(heard.port(), card):
        card.say(SAID)
        assert await heard.bytes(len(SAID)) == SAID
    assert heard.lost == 0
    assert heard.switches == []
    assert heard.threads == {threading.get_ident()}


async def test_a_card_that_was_closed_can_be_opened_again_at_once(card: SoundCard) -> None:
    card.plug()
    for _ in range(3):
        heard = Heard()
        async with listening(heard.port(), card):
            card.say(SAID[:CHUNK_BYTES])
            await heard.bytes(CHUNK_BYTES)
        await until_no_thread_is_left()


async def test_what_the_listener_raises_ends_the_port(card: SoundCard) -> None:
    def refuse(samples: bytes, lost: int, seconds: float) -> NoReturn:
        del samples, lost, seconds
        raise ZeroDivisionError("a defect")

    card.plug()
    async with listening(Microphone("microphone", RATE, on_samples=refuse), card) as running:
        card.say(SAID[: 2 * CHUNK_BYTES])
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(running, PATIENCE_S)


@pytest.mark.parametrize(
    ("device", "reason", "why"),
    [
        ("absent", "missing", "There is no sound card absent (No such file or directory)."),
        ("hw:CARD=Device", "missing", "There is no sound card hw:CARD=Device"),
        ("microphone", "missing", "There is no sound card microphone"),
        ("other_rate", "rate", "other_rate has no 48000 samples a second; resampled sound is not measured."),
        ("floats", "settings", "floats does not give 48000 samples a second of 32 bits on one channel"),
        # Nobody hears faster than time: it counts what never sounded.
        ("endless", "wrong_rate", "endless says 48000 samples a second and gives "),
    ],
)
async def test_what_does_not_open_or_lies_is_refused_in_words(
    card: SoundCard, capfd: pytest.CaptureFixture[str], device: str, reason: str, why: str
) -> None:
    del card  # its microphone is not plugged in
    error = await failure(Heard().port(device).run())
    assert error.reason == reason
    assert error.why.startswith(why)
    assert error.todo
    await until_no_thread_is_left()
    # The library prints nothing beside.
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("card")
async def test_channels_and_bits_are_converted_where_the_name_says_so() -> None:
    heard = Heard()
    error = await failure(heard.port("two_channels").run())  # opened well; it is endless like the other
    assert error.reason == "wrong_rate"
    assert heard.switches == []


@pytest.mark.parametrize(
    ("code", "reason"),
    [(-13, "permission"), (-1, "permission"), (-16, "busy"), (-11, "busy"), (-5, "missing")],
)
def test_each_refusal_of_the_kernel_has_its_own_words(code: int, reason: str) -> None:
    error = faults.refused("hw:0", RATE, code)
    assert error.reason == reason
    assert "hw:0" in error.why
    assert error.todo


async def test_a_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> NoReturn:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    monkeypatch.setattr(alsa, "library", alsa.library.__wrapped__)
    error = await failure(Heard().port().run())
    assert error.reason == "no_library"
    assert "libasound.so.2" in error.why
    assert "alsa-utils" in error.todo


async def test_a_card_that_falls_silent_is_found(card: SoundCard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(microphone, "STALLED_S", 0.2)
    heard = Heard()
    card.plug()
    card.say(SAID)  # it lies ready: heard at once when opened
    error = await failure(heard.port().run())
    assert error.reason == "stalled"
    card.say(SAID[:CHUNK_BYTES])  # lets the thread go
    await until_no_thread_is_left()


async def test_a_card_that_is_pulled_out_ends_the_port_and_heals_when_it_is_back(card: SoundCard) -> None:
    for _ in range(2):
        card.plug()
        heard = Heard()
        async with listening(heard.port(), card) as running:
            card.say(SAID)
            await heard.bytes(len(SAID))
            # A pipe without a writer repeats itself as fast as it can, which no card does.
            card.unplug()
            error = await failure(asyncio.shield(running))
        assert error.reason == "wrong_rate"
        assert (await failure(Heard().port().run())).reason == "missing"


# As MemoryDenyWriteExecute of the unit: PR_SET_MDWE with PR_MDWE_REFUSE_EXEC_GAIN (prctl(2)).
HARDENED = """
import ctypes, sys
if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0):
    sys.exit(77)
from edgegw import registry
from edgegw.ports.audio.alsa import Card
from edgegw.ports.errors import PortError
print(len(registry.make("alsa_slm", {}).decoder(1.0).decode(bytes(8 * 48000), 0, 0.0)))
try:
    Card("absent", 48000)
except PortError as error:
    print(error.reason)
"""


def test_it_works_where_no_memory_may_become_code() -> None:
    done = subprocess.run([sys.executable, "-c", HARDENED], capture_output=True, text=True, check=False)
    if done.returncode == 77:
        pytest.skip("this kernel knows no PR_SET_MDWE (Linux 6.3)")
    assert (done.stdout, done.stderr) == ("2\nmissing\n", "")
