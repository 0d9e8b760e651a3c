"""Time: the clocks of the machine, whether the kernel vouches for them, and the times that records carry.

Three clocks, three uses. `monotonic` is for timers and nothing else. `boottime` goes on through a suspend
and is never set: readings are stamped with it. `wall` is what people mean, and on a board without a clock
chip it is wrong until the network comes. `Timeline` turns boot times into record times (WIRE §6): nothing
is discarded, nothing is rewritten, and what turns out later is a new signed record.

Outside facts: adjtimex(2) for the call, `struct timex`, `STA_UNSYNC` and microseconds of `maxerror`;
Linux kernel/time/ntp.c for `maxerror` growing by 500 ppm (MAXFREQ) and ending at 16 s (NTP_PHASE_LIMIT).
"""

from __future__ import annotations

import asyncio
import ctypes
import math
import os
import time
import uuid
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple, Protocol

RELEASED: Final = 1_795_305_600
"""2026-11-22T00:00:00Z, when this version was made: no reading of it is older. Moved with each release."""

EARLIEST: Final = 2**28
"""RFC 8428 §4.5.3: a SenML time below this is relative to now; no record is ever below it."""

LATEST: Final = 253_402_300_799
"""The end of year 9999, the last that RFC 3339 can write: a floor or stretch beyond it is a damaged value."""

DRIFT: Final = 500e-6
"""Seconds by which an undisciplined clock may go wrong in a second: the kernel's own assumption (MAXFREQ)."""

NO_IDEA_S: Final = 16.0
"""The error that stands for "no idea", in seconds: the kernel's `maxerror` stops there (NTP_PHASE_LIMIT)."""

UNREADABLE: Final = "EG-CLOCK-UNKNOWN"
"""Problem code: the kernel would not say whether the clock is synchronised."""

UNTRUSTED: Final = "EG-CLOCK-UNTRUSTED"
"""Problem code: the times are free-running, or the clock's source is wrong (it lies before the release)."""

BOOT_ID_VARIABLE: Final = "EDGEGW_BOOT_ID"
"""Environment variable that the unit sets to systemd's `%b`: /proc/sys is hidden by `ProcSubset=pid`."""


class Sync(IntEnum):
    """The clock state of the batch header (WIRE §3, field 7)."""

    FREE_RUNNING = 0
    SYNCHRONISED = 1
    UNKNOWN = 2  # the kernel would not say; never to be read as "unsynchronised"


class Discipline(NamedTuple):
    """What the kernel says of its clock: `error_s` is its bound in seconds, `problem` a code or empty."""

    sync: Sync
    error_s: float
    problem: str = ""


class Clock(Protocol):
    """Where time comes from. All values are seconds; tests own an implementation."""

    def monotonic(self) -> float:
        """CLOCK_MONOTONIC, for timers: never set, stands still in a suspend."""

    def boottime(self) -> float:
        """CLOCK_BOOTTIME, for readings: never set, goes on in a suspend, starts with the boot."""

    def wall(self) -> float:
        """CLOCK_REALTIME, POSIX seconds: may be wrong by decades and may jump."""

    def discipline(self) -> Discipline:
        """Whether the kernel counts the wall clock as synchronised. Never raises."""

    def boot_id(self) -> str:
        """A UUID in lower case with hyphens: the same for all runs within one boot."""

    async def sleep(self, seconds: float) -> None:
        """Wait that long on the monotonic clock."""


class _Timex(ctypes.Structure):
    """`struct timex` of adjtimex(2) on 64-bit Linux: 208 bytes, the same on x86_64 and aarch64."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("constant", ctypes.c_long),
        ("precision", ctypes.c_long),
        ("tolerance", ctypes.c_long),
        ("time", ctypes.c_long * 2),
        ("tick", ctypes.c_long),
        ("pps", ctypes.c_long * 2),
        ("shift", ctypes.c_int),
        ("pps_counts", ctypes.c_long * 5),
        ("tai", ctypes.c_int),
        ("padding", ctypes.c_int * 11),
    )


_STA_UNSYNC: Final = 0x40


@cache
def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def _adjtimex(timex: _Timex) -> int:
    """The system call: -1 when it is refused, else the kernel's clock state."""
    return int(_library().adjtimex(ctypes.byref(timex)))


class SystemClock:
    """The clocks of this machine. Reading the discipline needs no privilege (adjtimex with modes 0)."""

    def monotonic(self) -> float:
        """CLOCK_MONOTONIC in seconds."""
        return time.monotonic()

    def boottime(self) -> float:
        """CLOCK_BOOTTIME in seconds."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def wall(self) -> float:
        """CLOCK_REALTIME in POSIX seconds."""
        return time.time()

    def discipline(self) -> Discipline:
        """Ask the kernel, changing nothing; a refusal (seccomp, a foreign kernel) is `Sync.UNKNOWN`."""
        timex = _Timex(modes=0)
        if _adjtimex(timex) == -1:
            return Discipline(Sync.UNKNOWN, NO_IDEA_S, UNREADABLE)
        sync = Sync.FREE_RUNNING if timex.status & _STA_UNSYNC else Sync.SYNCHRONISED
        return Discipline(sync, max(timex.maxerror, 0) / 1e6)

    def boot_id(self) -> str:
        """The kernel's boot id, else the one that systemd put into the environment, else one for this run.

        With the last, each run counts as a boot of its own: true, only less helpful, because a stretch of
        free-running time is then not continued by the next run.
        """
        return _boot_id()

    async def sleep(self, seconds: float) -> None:
        """Wait that long; asyncio's timers run on the monotonic clock."""
        await asyncio.sleep(seconds)


@cache  # one answer per run, also when it had to be made up
def _boot_id(kernel: Path = Path("/proc/sys/kernel/random/boot_id")) -> str:
    try:
        text = kernel.read_text("ascii").strip()
    except OSError:
        text = os.environ.get(BOOT_ID_VARIABLE, "")
    try:
        return str(uuid.UUID(hex=text))
    except ValueError:
        return str(uuid.uuid4())


class Moment(NamedTuple):
    """The clocks and the discipline, read together: seconds since boot, POSIX seconds."""

    boottime: float
    wall: float
    discipline: Discipline


def look(clock: Clock) -> Moment:
    """Read the clocks together, so that a task switch or a clock that is set meanwhile does no harm.

    The discipline is read before and after: a clock that was set between two of the reads would otherwise
    leave an offset that is wrong and counts as synchronised. Of up to four tries the tightest counts.
    """
    width, moment = _look_once(clock)
    for _ in range(3):  # one look is nearly always enough; four in a row interrupted has not been seen
        if width < 0.001:  # a record time has 1 ms
            break
        width, moment = min((width, moment), _look_once(clock), key=lambda look: look[0])
    return moment


def _look_once(clock: Clock) -> tuple[float, Moment]:
    before, start = clock.discipline(), clock.boottime()
    wall, end = clock.wall(), clock.boottime()
    after = clock.discipline()
    discipline = after if before.sync == after.sync else min(before, after, key=lambda d: d.sync)
    return end - start, Moment((start + end) / 2, wall, discipline)


class ClockState(NamedTuple):
    """The clock field of a batch header: state and estimated error in milliseconds, rounded up.

    In state 0 that was never synchronised, and in state 2, the error is the kernel's "no idea" (16000).
    """

    sync: Sync
    error_ms: int


class Stretch(NamedTuple):
    """A stretch of free-running time: record time = boot time + `offset_s`; it began at `since_s` (boot time).

    Kept on disk beside the index of its first record, so that the next run within the same boot continues
    it and one anchor covers both.
    """

    boot_id: str
    offset_s: float
    since_s: float


class Anchor(NamedTuple):
    """A stretch ended: what to add to its record times, and how wrong the sum may be, both in seconds.

    `error_s` holds the kernel's error now and the drift (500 ppm) since the stretch began.
    """

    stretch: Stretch
    seconds_to_add: float
    error_s: float


@dataclass(frozen=True)
class ClockSettings:
    """`[clock]`: the largest error that counts as synchronised; how long a lost synchronisation counts."""

    max_error_s: float = 0.5
    holdover_s: float = 48 * 3600.0


class Timeline:
    """Turns boot times into record times. Pure: it is told the moments, once a second or so.

    * Synchronised within `max_error_s`: follows the wall clock, also when that is stepped; a batch sorts its
      records, so a step back shows as times that repeat, which is the truth.
    * Synchronisation lost, or its error grown beyond `max_error_s` (systemd-timesyncd lets it grow to 1 s
      between two polls): still state 1 for `holdover_s`, with the error as it grows. A wall clock for which
      the kernel no longer vouches is not followed; the last good offset is.
    * Free-running: from a fixed offset, whatever the wall clock does, until it is synchronised again.
    * Unknown: the wall clock, never below the floor.

    A synchronised clock before `released` is not believed: its source is wrong.
    """

    def __init__(
        self,
        start: Moment,
        *,
        boot_id: str,
        floor: float,
        saved: Stretch | None = None,
        settings: ClockSettings | None = None,
        released: float = RELEASED,
    ) -> None:
        """Begin at `start`; call `observe` right after, it may report the anchor of a saved stretch.

        Args:
            start: the clocks now.
            boot_id: of this boot.
            floor: POSIX seconds, the newest of the last persisted time and the newest signed record (newest
                by index, so that an anchor also corrects the floor); `released` is added here.
            saved: the open stretch of an earlier run; used when it is of this boot.
            settings: `[clock]`.
            released: no clock before this is believed.
        """
        self._boot_id = boot_id
        self._settings = settings or ClockSettings()
        self._released = released
        floor = max(floor if floor <= LATEST else released, released, EARLIEST)  # NaN fails the comparison
        self._floor_offset = floor - start.boottime
        self._offset = max(start.wall, floor) - start.boottime
        self._now = start
        self._good: Moment | None = None  # when the clock last was synchronised within max_error_s
        self.stretch: Stretch | None = None
        """The open free-running stretch, to be kept on disk; None while there is none."""
        if saved is not None and _continues(saved, boot_id, start):
            self._offset, self.stretch = saved.offset_s, saved
        else:
            self.observe(start)

    def time(self, boottime: float) -> float:
        """The record time of what happened at `boottime`: POSIX seconds, rounded to 1 ms, at least 2^28."""
        return round(max(boottime + self._offset, EARLIEST), 3)

    @property
    def state(self) -> ClockState:
        """State and error for the header of a batch whose records are stamped from now on."""
        if self._now.discipline.sync is Sync.UNKNOWN:
            sync, error_s = Sync.UNKNOWN, NO_IDEA_S
        elif self.stretch is None and self._vouched(self._now):
            sync, error_s = Sync.SYNCHRONISED, self._now.discipline.error_s
        else:
            sync = Sync.SYNCHRONISED if self.stretch is None else Sync.FREE_RUNNING
            good = self._good
            grown = DRIFT * (self._now.boottime - good.boottime) if good else 0.0
            error_s = good.discipline.error_s + grown if good else NO_IDEA_S
        return ClockState(sync, math.ceil(error_s * 1000))

    @property
    def problem(self) -> str:
        """The problem code that the clock has now, or an empty text."""
        now = self._now
        impossible = now.discipline.sync is Sync.SYNCHRONISED and not self._vouched(now)
        return UNTRUSTED if impossible or self.stretch else now.discipline.problem

    def observe(self, now: Moment) -> Anchor | Stretch | None:
        """Take in the clocks; call it about once a second, moments in order.

        Returns:
            An `Anchor` when a free-running stretch ended (exactly once for each), the new `Stretch` when one
            began because the holdover ran out, else None. On either the caller seals the open batch, with
            the state that it was opened with, before it stamps the next record.
        """
        self._now = now
        offset = now.wall - now.boottime
        if now.discipline.sync is Sync.UNKNOWN:  # a stretch without an end: bracketed like an unknown boot
            self.stretch = self._good = None
            self._offset = max(offset, self._floor_offset)
            return None
        vouched = self._vouched(now)
        if vouched and now.discipline.error_s <= self._settings.max_error_s:
            ended, self.stretch = self.stretch, None
            self._good, self._offset = now, offset
            return _anchor(ended, now) if ended else None
        if self.stretch is not None:
            return None
        if self._good and now.boottime - self._good.boottime <= self._settings.holdover_s:
            if vouched:
                self._offset = offset
            return None
        self.stretch = Stretch(self._boot_id, self._offset, now.boottime)
        return self.stretch

    def _vouched(self, moment: Moment) -> bool:
        return moment.discipline.sync is Sync.SYNCHRONISED and moment.wall >= self._released


def _continues(saved: Stretch, boot_id: str, start: Moment) -> bool:
    """Whether a saved stretch is of this boot and makes sense (it comes from a disk)."""
    believable = EARLIEST <= saved.offset_s + start.boottime <= LATEST  # false for NaN
    return saved.boot_id == boot_id and 0 <= saved.since_s <= start.boottime and believable


def _anchor(ended: Stretch, now: Moment) -> Anchor:
    drift = DRIFT * (now.boottime - ended.since_s)
    return Anchor(ended, now.wall - now.boottime - ended.offset_s, now.discipline.error_s + drift)
