"""EIO and ENOSPC at a write, a sync or a cut of length: nothing is acknowledged that is not on the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import store_trace
from disk_errors import DiskError, any_error, suffered
from power_cuts import record, worst

if TYPE_CHECKING:
    from pathlib import Path

SEED = 20261122
pytestmark = pytest.mark.skipif(bool(store_trace.why_not()), reason=store_trace.why_not() or "traced")

NAMED = [
    DiskError("fdatasync", "EIO", 13, 1),  # a commit
    DiskError("fdatasync", "EIO", 20, 4),  # a commit, and all that reopening tries
    DiskError("fdatasync", "ENOSPC", 12, 3),
    DiskError("fdatasync", "EIO", 1, 3),  # the first start
    DiskError("pwrite64", "EIO", 40, 5),
    DiskError("pwrite64", "ENOSPC", 40, 12),
    DiskError("ftruncate", "EIO", 1, 2),
]


@pytest.mark.parametrize("error", [*NAMED, *(any_error(SEED, number) for number in range(8))], ids=str)
def test_after_an_error_everything_taken_in_is_accepted_once_and_survives_a_power_cut(
    tmp_path: Path, error: DiskError
) -> None:
    verdict, struck = suffered(error, tmp_path, states=40, seed=SEED)
    assert not verdict.findings, "\n".join(verdict.findings)
    assert (verdict.lost, verdict.twice, verdict.wrong) == (0, 0, 0)
    if error in NAMED:
        assert struck, "the error was not met"


def test_a_store_that_trusts_a_sync_that_follows_a_failed_one_is_found_out(tmp_path: Path) -> None:
    errors = [DiskError("fdatasync", "EIO", first, 4) for first in (13, 15, 20)]
    verdicts = [
        worst(record("stubborn+trusting", tmp_path / str(each.first), each.option)) for each in errors
    ]
    assert sum(verdict.lost for verdict in verdicts) > 0
