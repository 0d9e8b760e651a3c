"""What a card drops is counted, by the clock. A stand-in for the library, which drops nothing without hardware."""

from __future__ import annotations

import asyncio
import errno
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from edgegw.ports.audio import Microphone, alsa, microphone
from edgegw.ports.audio.alsa import READ_SAMPLES
from edgegw.ports.errors import PortError

if TYPE_CHECKING:
    from collections.abc import Sequence

RATE = 48_000
READ_S = READ_SAMPLES / RATE
GONE = -errno.ENODEV
OVERRUN = -errno.EPIPE
PATIENCE_S = 60


class Library:
    """A card whose every read comes from the test: seconds that pass, and samples or an error.

    At the end of the script the card is gone.
    """

    def __init__(self, *script: tuple[float, int]) -> None:
        self._script = list(script)
        self.now = 1000.0
        self.calls: list[str] = []
        #: Switches of its mixer: their name, whether they are on, whether they are for capture.
        self.switches: list[tuple[str, bool, bool]] = []
        self.mixer = 0

    def monotonic(self) -> float:
        return self.now

    def snd_pcm_wait(self, pcm: Any, timeout: int) -> int:
        del pcm, timeout
        seconds, result = self._script[0] if self._script else (0.0, GONE)
        self.now += seconds
        if result < 0:
            del self._script[:1]
            return result
        return 1

    def snd_pcm_readi(self, pcm: Any, buffer: Any, count: int) -> int:
        del pcm
        _, result = self._script.pop(0)
        assert result <= count
        buffer.raw = b"\1" * len(buffer.raw)
        return result

    def snd_pcm_info_get_card(self, info: Any) -> int:
        del info
        return 3 if self.switches else -1

    def snd_mixer_attach(self, mixer: Any, name: bytes) -> int:
        del mixer
        assert name == b"hw:3"
        return self.mixer

    def snd_mixer_first_elem(self, mixer: Any) -> int | None:
        del mixer
        return 1 if self.switches else None

    def snd_mixer_elem_next(self, element: int) -> int | None:
        return element + 1 if element < len(self.switches) else None

    def snd_mixer_selem_get_name(self, element: int) -> bytes:
        return self.switches[element - 1][0].encode()

    def snd_mixer_selem_has_capture_switch(self, element: int) -> int:
        return self.switches[element - 1][2]

    def snd_mixer_selem_has_playback_switch(self, element: int) -> int:
        return not self.switches[element - 1][2]

    def _get(self, element: int, channel: int, state: Any) -> int:
        assert channel == 0
        state._obj.value = self.switches[element - 1][1]
        return 0

    snd_mixer_selem_get_capture_switch = snd_mixer_selem_get_playback_switch = _get

    def __getattr__(self, name: str) -> Any:
        """All else succeeds, and is noted."""
        if not name.startswith("snd_"):
            raise AttributeError(name)
        self.calls.append(name)
        return lambda *_: 0


class Heard:
    def __init__(self) -> None:
        self.chunks: list[tuple[int, int, float]] = []
        self.switches: Sequence[str] | None = None

    def samples(self, samples: bytes, lost: int, seconds: float) -> None:
        self.chunks.append((len(samples) // 4, lost, round(seconds - 1000, 3)))

    def opened(self, switches: Sequence[str]) -> None:
        self.switches = switches


async def heard(library: Library, monkeypatch: pytest.MonkeyPatch) -> Heard:
    """What a microphone hands over until its card is gone."""
    monkeypatch.setattr(alsa, "library", lambda: library)
    monkeypatch.setattr(microphone, "time", SimpleNamespace(monotonic=library.monotonic))
    found = Heard()
    port = Microphone("hw:3", RATE, on_samples=found.samples, on_open=found.opened)
    with pytest.raises(PortError, match=r"hw:3 went away \(No such device\)"):
        await asyncio.wait_for(port.run(), PATIENCE_S)
    assert library.calls[-1] == "snd_pcm_close"
    return found


async def test_an_overrun_is_told_with_the_next_samples_as_long_as_the_clock_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    library = Library(
        (READ_S, READ_SAMPLES), (1.5, OVERRUN), (READ_S, READ_SAMPLES), (READ_S, READ_SAMPLES), (0, GONE)
    )
    found = await heard(library, monkeypatch)
    # What the card held of that time is gone too: from the last read to the new start nothing is known.
    assert found.chunks == [(12000, 0, 0.25), (12000, 72000, 2.0), (12000, 0, 2.25)]
    assert library.calls.count("snd_pcm_prepare") == 1
    assert library.calls.count("snd_pcm_start") == 2


async def test_a_board_that_slept_lost_as_much_as_it_slept(monkeypatch: pytest.MonkeyPatch) -> None:
    library = Library((READ_S, READ_SAMPLES), (3600, -errno.ESTRPIPE), (READ_S, READ_SAMPLES), (0, GONE))
    found = await heard(library, monkeypatch)
    assert found.chunks[1] == (12000, 3600 * RATE, 3600.5)


async def test_overruns_one_after_the_other_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    library = Library((1.0, OVERRUN), (1.0, OVERRUN), (0.1, 0), (0.15, READ_SAMPLES), (0, GONE))
    found = await heard(library, monkeypatch)
    assert found.chunks == [(12000, 96000, 2.25)]


async def test_a_read_that_finds_nothing_is_no_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    library = Library((0.1, -errno.EAGAIN), (0.15, READ_SAMPLES), (0.0, GONE))
    found = await heard(library, monkeypatch)
    assert found.chunks == [(12000, 0, 0.25)]


async def test_a_card_whose_clock_lies_is_found_after_half_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    # 44,100 samples in each second that it calls 48,000.
    library = Library(*[(READ_SAMPLES / 44_100, READ_SAMPLES)] * 1000)
    monkeypatch.setattr(alsa, "library", lambda: library)
    monkeypatch.setattr(microphone, "time", SimpleNamespace(monotonic=library.monotonic))
    monkeypatch.setattr(microphone, "PENDING", 10_000)
    found = Heard()
    with pytest.raises(PortError, match=r"says 48000 samples a second and gives 44[01]\d\d: ") as error:
        await asyncio.wait_for(Microphone("hw:3", RATE, on_samples=found.samples).run(), PATIENCE_S)
    assert error.value.reason == "wrong_rate"
    assert 20 < library.now - 1000 < 60


async def test_a_clock_that_is_a_little_off_is_let_pass_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    # An hour with a crystal ten times worse than any.
    await heard(Library(*[(READ_S * 1.001, READ_SAMPLES)] * 14_400, (0, GONE)), monkeypatch)


async def test_what_a_busy_loop_does_not_fetch_is_bounded_and_counted_as_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    library = Library(*[(READ_S, READ_SAMPLES)] * 40)
    drained = threading.Event()
    monkeypatch.setattr(alsa, "library", lambda: library)
    monkeypatch.setattr(microphone, "time", SimpleNamespace(monotonic=library.monotonic))
    chunks: list[tuple[int, int]] = []

    def on_samples(samples: bytes, lost: int, seconds: float) -> None:
        del seconds
        if not chunks:
            assert drained.wait(PATIENCE_S)  # the loop stands still
        chunks.append((len(samples) // 4, lost))

    script = library._script

    def snd_pcm_wait(pcm: Any, timeout: int) -> int:
        del pcm, timeout
        library.now += READ_S
        if len(script) == 1:
            drained.set()
            # The last comes when all that waited was handed over.
            while len(chunks) < 8 and not stop.wait(0.001):
                pass
        return 1 if script else GONE

    stop = threading.Event()
    monkeypatch.setattr(library, "snd_pcm_wait", snd_pcm_wait, raising=False)
    # One chunk may be with the listener while eight wait.
    with pytest.raises(PortError, match="went away"):
        await asyncio.wait_for(Microphone("hw:3", RATE, on_samples=on_samples).run(), PATIENCE_S)
    stop.set()
    assert len(chunks) <= 1 + microphone.PENDING + 1
    assert sum(count + lost for count, lost in chunks) <= 40 * READ_SAMPLES
    assert max(lost for _, lost in chunks) >= 30 * READ_SAMPLES


@pytest.mark.parametrize(
    ("name", "meddles"),
    [
        ("Auto Gain Control", True),
        ("Mic AGC", True),
        ("ALC", True),
        ("Noise Suppression", True),
        ("Noise Gate", True),
        ("Microphone Automatic Gain", True),
        ("Mic Capture", False),
        ("Talc", False),
        ("Noise", False),
    ],
)
async def test_a_switch_that_changes_the_level_by_what_it_is_is_told_when_it_is_on(
    monkeypatch: pytest.MonkeyPatch, name: str, meddles: bool
) -> None:
    library = Library((0, GONE))
    library.switches = [
        ("Speaker", True, False),
        (name, True, False),
        (name, True, True),
        (name, False, True),
    ]
    found = await heard(library, monkeypatch)
    assert found.switches == ([name, name] if meddles else [])
    assert "snd_mixer_close" in library.calls


async def test_a_mixer_that_does_not_open_is_no_reason_not_to_measure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    library = Library((READ_S, READ_SAMPLES), (0, GONE))
    library.switches, library.mixer = [("AGC", True, True)], -errno.ENOENT
    found = await heard(library, monkeypatch)
    assert found.switches == []
    assert len(found.chunks) == 1
