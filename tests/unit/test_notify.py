from __future__ import annotations

import contextlib
import os
import socket
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegw.notify import Notifier, Watchdog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A service manager's socket and what `$NOTIFY_SOCKET` says of it."""
    said = str(tmp_path / "notify") if request.param == "path" else f"@edgegw-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(said.replace("@", "\0"))
        listener.settimeout(10)
        yield listener, said


def lines(manager: tuple[socket.socket, str], say: Callable[[Notifier], bool]) -> list[str]:
    listener, address = manager
    assert say(Notifier({"NOTIFY_SOCKET": address}))
    return listener.recv(4096).decode().split("\n")


def test_ready_comes_with_a_status(manager: tuple[socket.socket, str]) -> None:
    assert lines(manager, lambda n: n.ready("ok")) == ["READY=1", "STATUS=ok"]


def test_a_status_stands_alone_too(manager: tuple[socket.socket, str]) -> None:
    assert lines(manager, lambda n: n.status("degraded: sound-1 unplugged")) == [
        "STATUS=degraded: sound-1 unplugged"
    ]


def test_alive_feeds_the_watchdog(manager: tuple[socket.socket, str]) -> None:
    assert lines(manager, Notifier.alive) == ["WATCHDOG=1"]


def test_a_reload_says_when_it_began_on_the_monotonic_clock(manager: tuple[socket.socket, str]) -> None:
    before = time.monotonic_ns() // 1000
    reloading, since = lines(manager, Notifier.reloading)
    assert reloading == "RELOADING=1"
    name, value = since.split("=")
    assert name == "MONOTONIC_USEC"
    assert before <= int(value) <= time.monotonic_ns() // 1000


def test_a_stop_is_announced(manager: tuple[socket.socket, str]) -> None:
    assert lines(manager, lambda n: n.stopping("draining")) == ["STOPPING=1", "STATUS=draining"]


def test_a_long_start_asks_for_more_time(manager: tuple[socket.socket, str]) -> None:
    assert lines(manager, lambda n: n.extend(1.5)) == ["EXTEND_TIMEOUT_USEC=1500000"]


@given(text=st.text(max_size=2000))
def test_no_status_can_say_anything_else_and_none_is_too_long_for_the_manager(
    text: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    address = tmp_path_factory.getbasetemp() / "notify-any"
    address.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(address))
        assert Notifier({"NOTIFY_SOCKET": str(address)}).ready(text)
        said = listener.recv(65536)
    assert len(said) < 4096
    assert said.count(b"\n") == (1 if text else 0)
    said.decode("utf-8")


@pytest.mark.parametrize(
    "address",
    ["", "relative", "vsock:2:1234", "/nowhere/at/all", "@nobody-listens", "/" + "x" * 200, "/a\0b"],
)
def test_without_a_manager_that_listens_nothing_happens_and_nothing_is_raised(address: str) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": address})
    said = [
        notifier.ready("x"),
        notifier.status("x"),
        notifier.alive(),
        notifier.reloading(),
        notifier.stopping(),
        notifier.extend(1),
    ]
    assert not any(said)


def test_a_manager_that_does_not_read_is_given_up_after_a_moment(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(address)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as flood:
            flood.setblocking(False)
            flood.connect(address)
            with contextlib.suppress(BlockingIOError):
                while True:
                    flood.send(b"x")
            assert not Notifier({"NOTIFY_SOCKET": address}).alive()


def test_the_watchdog_interval_is_the_one_that_systemd_gives_to_this_process() -> None:
    assert Notifier({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}).watchdog_s == 60
    assert Notifier({"WATCHDOG_USEC": "3000000"}).watchdog_s == 3


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "-5"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "٣"},
        {"WATCHDOG_USEC": ""},
        {"WATCHDOG_USEC": "9" * 5000},
    ],
)
def test_a_watchdog_that_is_absent_foreign_or_nonsense_is_none(environment: dict[str, str]) -> None:
    assert Notifier(environment).watchdog_s is None


def test_the_daemon_is_alive_while_loop_and_store_both_advance() -> None:
    watchdog = Watchdog(60)
    assert watchdog.period_s == 15
    assert watchdog.deserved(loop=1.0, store=0.5)
    assert watchdog.deserved(loop=16.0, store=15.5)


def test_a_store_that_stands_still_is_not_covered_by_a_loop_that_runs() -> None:
    watchdog = Watchdog(60)
    assert watchdog.deserved(loop=1, store=1)
    assert not any(watchdog.deserved(loop=1 + n, store=1) for n in range(1, 9))
    assert watchdog.deserved(loop=20, store=19)


def test_a_loop_that_stands_still_is_not_covered_by_a_store_that_runs() -> None:
    watchdog = Watchdog(60)
    assert watchdog.deserved(loop=1, store=1)
    assert not watchdog.deserved(loop=1, store=2)


@given(turns=st.lists(st.tuples(st.booleans(), st.booleans()), max_size=30))
def test_it_is_fed_exactly_when_both_did_something_since_it_was_fed_last(
    turns: list[tuple[bool, bool]],
) -> None:
    watchdog = Watchdog(8)
    loop = store = 0.0
    assert watchdog.deserved(loop=loop, store=store)
    loop_moved = store_moved = False
    for now, (loop_turns, store_turns) in enumerate(turns, start=1):
        loop, loop_moved = (now, True) if loop_turns else (loop, loop_moved)
        store, store_moved = (now, True) if store_turns else (store, store_moved)
        fed = watchdog.deserved(loop=loop, store=store)
        assert fed == (loop_moved and store_moved)
        if fed:
            loop_moved = store_moved = False
