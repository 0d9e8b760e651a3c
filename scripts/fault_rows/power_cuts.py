"""Row `power-cuts` (S2): legal crash states of recorded lives of the log, shared out over all recordings."""

from __future__ import annotations

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor

import recorded_daemon
import store_trace
from power_cuts import SCENES, Recording, Verdict, cuts, kills, record

from scripts.fault_rows.row import Order, Result, row

# A life killed between a write and its sync, and what its successor makes of it.
_SHOT = "--inject=fdatasync:signal=SIGKILL:retval=0:when=14"
#: Cuts that one process judges at a time.
_PORTION = 250
_FORK = multiprocessing.get_context("fork")
_open: list[Recording] = []


def recordings(order: Order) -> list[Recording]:
    """Every scene, a kill before a sync, and the whole daemon."""
    found = [record(scene, order.directory / scene) for scene in SCENES]
    found.append(record("killed", order.directory / "shot", _SHOT))
    (order.directory / "daemon").mkdir()
    found.append(recorded_daemon.record_daemon(order.directory / "daemon"))
    return found


@row("power-cuts", runs=100_000, missing=store_trace.why_not)
def power_cuts(order: Order) -> Result:
    """Every recording gets its share of the cuts."""
    return _shared_out(order, "power cut", kill=False)


@row("kill-points", runs=5_000, missing=store_trace.why_not)
def kill_points(order: Order) -> Result:
    """A kill before each write, sync and change of names of the recordings, at most so many in all (S1)."""
    return _shared_out(order, "kill before each operation", kill=True)


def _shared_out(order: Order, fault: str, *, kill: bool) -> Result:
    made = recordings(order)
    began = time.monotonic()
    total = Verdict()
    # Forked: the recordings hold keys, which do not travel between processes.
    _open[:] = made
    with ProcessPoolExecutor(order.jobs, mp_context=_FORK) as pool:
        waiting = [
            pool.submit(_portion, number, order.seed, first, min(first + _PORTION, end), kill)
            for number, each in enumerate(made)
            for end in [min(len(each.states), order.runs // len(made)) if kill else order.runs // len(made)]
            for first in range(0, end, _PORTION)
        ]
        for each in waiting:
            total.add(each.result())
    rate = total.states / (time.monotonic() - began)
    note = f"{len(made)} recordings, {rate:.0f} a second in {order.jobs} processes"
    return Result(
        fault, total.states, total.lost, total.twice, total.wrong, total.worst_s, total.findings, note
    )


def _portion(recording: int, seed: int, first: int, end: int, kill: bool) -> Verdict:
    numbers = range(first, end)
    return kills(_open[recording], numbers) if kill else cuts(_open[recording], seed, numbers)
