"""Sound cards without hardware: the real ALSA library, whose configuration makes a microphone of a named pipe."""

from __future__ import annotations

import fcntl
import os
import struct
import termios
import threading
import time
from typing import TYPE_CHECKING, Self

from edgegw.ports.audio.alsa import READ_SAMPLES

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

RATE = 48_000
# The library reads a pipe in whole reads, and takes what is missing for sound.
CHUNK_BYTES = 4 * READ_SAMPLES
# Reads that lie in the pipe: a second, which a card's buffer holds too. Twelve pages each, and the pipe has 64.
MOST_WAITING = 4

CONFIGURATION = """
pcm.microphone {{
    type file
    file "/dev/null"
    infile "{pipe}"
    format raw
    slave {{ pcm {{ type null }} }}
}}
pcm.endless {{ type null }}
pcm.other_rate {{ type plug slave {{ pcm {{ type null }} rate 47000 }} }}
pcm.two_channels {{ type plug slave {{ pcm {{ type null }} channels 2 format S16_LE }} }}
pcm.floats {{ type lfloat slave {{ pcm {{ type null }} format S16_LE }} }}
"""


class SoundCard:
    """A microphone that says what a test plays to it; `plug` and `unplug` it at will."""

    def __init__(self, folder: Path) -> None:
        self._pipe = folder / "microphone.pipe"
        #: What `ALSA_CONFIG_PATH` has to name.
        self.configuration = folder / "asound.conf"
        self.configuration.write_text(CONFIGURATION.format(pipe=self._pipe))
        self._fd = -1
        self._playing = threading.Event()
        self._thread: threading.Thread | None = None

    def plug(self) -> None:
        """From now on it can be opened."""
        os.mkfifo(self._pipe)
        # Open on both sides: opening does not block, and no reader sees an end.
        self._fd = os.open(self._pipe, os.O_RDWR | os.O_NONBLOCK)
        fcntl.fcntl(self._fd, fcntl.F_SETPIPE_SZ, 1 << 18)

    def say(self, samples: bytes) -> None:
        """Samples in whole reads; BlockingIOError when MOST_WAITING of them wait already, OSError when unplugged."""
        if self._fd < 0:
            raise BrokenPipeError
        assert len(samples) % CHUNK_BYTES == 0
        for at in range(0, len(samples), CHUNK_BYTES):
            (waiting,) = struct.unpack("i", fcntl.ioctl(self._fd, termios.FIONREAD, bytes(4)))
            if waiting > (MOST_WAITING - 1) * CHUNK_BYTES:
                raise BlockingIOError
            assert os.write(self._fd, samples[at : at + CHUNK_BYTES]) == CHUNK_BYTES

    def play(self, samples: bytes) -> None:
        """Say them again and again, as fast as a card does, until it is unplugged."""
        self._playing.set()
        self._thread = threading.Thread(target=self._play, args=(samples,), name="sound card")
        self._thread.start()

    def _play(self, samples: bytes) -> None:
        begun, said = time.monotonic(), 0
        while self._playing.is_set():
            at = said * CHUNK_BYTES % len(samples)
            try:
                self.say(samples[at : at + CHUNK_BYTES])
                said += 1
            except BlockingIOError:
                begun += READ_SAMPLES / RATE  # nobody listens: a card does not wait either
            pause = begun + said * READ_SAMPLES / RATE - time.monotonic()
            if pause > 0:
                time.sleep(pause)

    def unplug(self) -> None:
        """It is gone: who reads gets no more, and it cannot be opened."""
        self._playing.clear()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._fd >= 0:
            os.close(self._fd)
            self._pipe.unlink()
        self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.unplug()
