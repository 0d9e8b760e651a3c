"""Row `disk-errors` (S6): EIO and ENOSPC at random writes, syncs and cuts of length, each with power cuts on top."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import disk_errors
import store_trace
from power_cuts import Verdict

from scripts.fault_rows.row import Order, Result, row

# Cuts of the power that follow each error, besides the worst one behind each acceptance.
_CUTS = 30


@row("disk-errors", runs=1_000, missing=store_trace.why_not)
def errors(order: Order) -> Result:
    """One recording for each run."""

    def one(number: int) -> tuple[Verdict, bool]:
        directory = order.directory / str(number)
        error = disk_errors.any_error(order.seed, number)
        return disk_errors.suffered(error, directory, states=_CUTS, seed=order.seed)

    total, struck = Verdict(), 0
    with ThreadPoolExecutor(order.jobs) as pool:
        for verdict, met in pool.map(one, range(order.runs)):
            total.add(verdict)
            struck += met
    note = f"{struck:,} met their error, {total.states:,} power cuts"
    return Result(
        "EIO, ENOSPC on write and sync",
        order.runs,
        total.lost,
        total.twice,
        total.wrong,
        total.worst_s,
        total.findings,
        note,
    )
