from __future__ import annotations

import asyncio
import ctypes
import errno
import struct
import subprocess
import sys
import textwrap
import time
import uuid
from typing import TYPE_CHECKING

import pytest
from fakes_clock import FakeClock

from edgegw import clock as clock_module
from edgegw.clock import (
    BOOT_ID_VARIABLE,
    NO_IDEA_S,
    UNREADABLE,
    Discipline,
    Sync,
    SystemClock,
    _boot_id,
    _Timex,
    look,
)

if TYPE_CHECKING:
    from pathlib import Path

KERNEL_BOOT_ID = "0b54ff6a-9d10-4b2c-ba0b-8237796c9aad"


@pytest.fixture(autouse=True)
def _fresh_boot_id() -> None:
    _boot_id.cache_clear()


def answer(monkeypatch: pytest.MonkeyPatch, *, status: int, maxerror_us: int, result: int = 0) -> None:
    """Let the kernel answer with the bytes of `struct timex` as adjtimex(2) lays them out."""

    def adjtimex(timex: _Timex) -> int:
        assert timex.modes == 0, "the clock is read, never set"
        raw = struct.pack("<I4x4qi4x6q", 0, 0, 0, maxerror_us, 0, status, 0, 1, 0, 0, 0, 10_000)
        ctypes.memmove(ctypes.byref(timex), raw, len(raw))
        return result

    monkeypatch.setattr(clock_module, "_adjtimex", adjtimex)


def test_struct_timex_has_the_208_bytes_of_every_64_bit_linux() -> None:
    assert ctypes.sizeof(_Timex) == 208
    assert (_Timex.maxerror.offset, _Timex.status.offset, _Timex.time.offset) == (24, 40, 72)
    assert _Timex.tai.offset == 160


def test_the_kernel_of_this_machine_answers_and_what_it_answers_agrees_with_its_time() -> None:
    timex = _Timex(modes=0)
    told = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    if told == -1 and ctypes.get_errno() == errno.EPERM:
        pytest.skip("this container forbids adjtimex")
    assert clock_module._adjtimex(timex) >= 0
    assert abs(timex.time[0] - time.time()) < 60
    assert 9_000 <= timex.tick <= 11_000  # the kernel allows 10 % around 10 ms
    discipline = SystemClock().discipline()
    assert discipline.sync in {Sync.FREE_RUNNING, Sync.SYNCHRONISED}
    assert 0 <= discipline.error_s <= NO_IDEA_S
    assert discipline.problem == ""


def test_a_clock_without_sta_unsync_is_synchronised_within_maxerror(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, status=0x2001, maxerror_us=250_500)
    assert SystemClock().discipline() == Discipline(Sync.SYNCHRONISED, 0.2505)


def test_a_clock_with_sta_unsync_is_free_running(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, status=0x40, maxerror_us=16_000_000, result=5)
    assert SystemClock().discipline() == Discipline(Sync.FREE_RUNNING, NO_IDEA_S)


def test_a_refused_call_is_unknown_with_a_problem_code_and_not_unsynchronised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer(monkeypatch, status=0x40, maxerror_us=0, result=-1)
    assert SystemClock().discipline() == Discipline(Sync.UNKNOWN, NO_IDEA_S, UNREADABLE)


def test_a_system_call_filter_that_refuses_gives_unknown_in_a_real_process() -> None:
    program = """
        import ctypes, struct, platform
        from edgegw.clock import SystemClock
        # a seccomp filter: EPERM for adjtimex and clock_adjtime, all else allowed
        numbers = {"x86_64": (159, 305), "aarch64": (171, 266)}[platform.machine()]
        code = [(0x20, 0, 0, 0), (0x15, 2, 0, numbers[0]), (0x15, 1, 0, numbers[1]),
                (0x06, 0, 0, 0x7FFF0000), (0x06, 0, 0, 0x00050001)]
        raw = b"".join(struct.pack("HBBI", *c) for c in code)
        buffer = ctypes.create_string_buffer(raw)
        class Program(ctypes.Structure):
            _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_void_p)]
        p = Program(len(code), ctypes.addressof(buffer))
        prctl = ctypes.CDLL(None).prctl
        assert prctl(38, 1, 0, 0, 0) == 0 and prctl(22, 2, ctypes.byref(p), 0, 0) == 0
        print(SystemClock().discipline())
    """
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=False
    )
    if "AssertionError" in ran.stderr:
        pytest.skip("this machine does not let a process set a seccomp filter for itself")
    assert ran.returncode == 0, ran.stderr
    assert f"problem='{UNREADABLE}'" in ran.stdout
    assert "UNKNOWN" in ran.stdout


def test_the_three_clocks_of_the_system_go_on_and_sleep_uses_the_monotonic_one() -> None:
    clock = SystemClock()
    before = clock.monotonic(), clock.boottime(), clock.wall()
    asyncio.run(clock.sleep(0.001))
    assert clock.monotonic() > before[0]
    assert clock.boottime() > before[1]
    assert clock.boottime() >= clock.monotonic() - 1


def test_the_boot_id_is_the_kernels(tmp_path: Path) -> None:
    kernel = tmp_path / "boot_id"
    kernel.write_text(KERNEL_BOOT_ID + "\n")
    assert _boot_id(kernel) == KERNEL_BOOT_ID


def test_where_proc_sys_is_hidden_the_boot_id_is_the_one_that_systemd_hands_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(BOOT_ID_VARIABLE, KERNEL_BOOT_ID.replace("-", ""))  # %b has no hyphens
    assert _boot_id(tmp_path / "absent") == KERNEL_BOOT_ID


@pytest.mark.parametrize("handed", ["", "not-an-id", "0" * 31, "%b"])
def test_without_a_usable_boot_id_the_run_makes_one_and_keeps_it(
    handed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(BOOT_ID_VARIABLE, handed)
    made = _boot_id(tmp_path / "absent")
    assert str(uuid.UUID(made)) == made
    assert _boot_id(tmp_path / "absent") == made


class ClockSetMidway(FakeClock):
    """Is set by a decade between two of the reads of one look, from the given read on."""

    def __init__(self, at: int, *, becomes: Sync) -> None:
        super().__init__()
        self._reads, self._at, self._becomes = 0, at, becomes
        if becomes is Sync.SYNCHRONISED:
            self.set_wall(self.truth - 315_360_000)

    def _read(self) -> None:
        self._reads += 1
        if self._reads == self._at:
            if self._becomes is Sync.SYNCHRONISED:
                self.synchronise()
            else:
                self.set_wall(self.truth + 315_360_000)

    def boottime(self) -> float:
        self._read()
        return super().boottime()

    def wall(self) -> float:
        self._read()
        return super().wall()

    def discipline(self) -> Discipline:
        self._read()
        return super().discipline()


@pytest.mark.parametrize("becomes", [Sync.SYNCHRONISED, Sync.FREE_RUNNING])
@pytest.mark.parametrize("at", range(1, 7))
def test_a_look_never_pairs_a_wrong_wall_clock_with_a_synchronised_discipline(at: int, becomes: Sync) -> None:
    clock = ClockSetMidway(at, becomes=becomes)
    moment = look(clock)
    assert moment.discipline.sync is Sync.FREE_RUNNING or moment.wall == clock.truth


def test_a_look_that_was_interrupted_is_taken_again() -> None:
    class Interrupted(FakeClock):
        pauses = 2

        def wall(self) -> float:
            wall = super().wall()
            if self.pauses:
                self.pauses -= 1
                self.advance(3.0)
            return wall

    clock = Interrupted()
    moment = look(clock)
    assert moment.wall - moment.boottime == pytest.approx(clock.wall() - clock.boottime(), abs=1e-6)


def test_a_machine_that_interrupts_every_look_still_gets_its_tightest_one() -> None:
    class Busy(FakeClock):
        def wall(self) -> float:
            self.advance(0.25)
            return super().wall()

    moment = look(Busy())
    assert moment.wall - moment.boottime == pytest.approx(Busy().wall() - Busy().boottime(), abs=0.25)
