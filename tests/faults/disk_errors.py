"""Writes and syncs that fail, by strace, under the real recorder and keeper; and then a power cut on top.

A failed sync leaves bytes that later syncs do not save (see `crash_states`), so a cut shows whether anything was
acknowledged that stood on them.
"""

from __future__ import annotations

import random
from contextlib import closing
from typing import TYPE_CHECKING, Final, NamedTuple

from power_cuts import Recording, Verdict, batches, cuts, kills, record, records_of, worst
from recorded import READINGS

if TYPE_CHECKING:
    from pathlib import Path

#: Calls and what they may return: EIO of a worn card, ENOSPC of a full one (a sync can report it: delayed allocation).
CALLS: Final = {"fdatasync": ("EIO", "ENOSPC"), "pwrite64": ("EIO", "ENOSPC"), "ftruncate": ("EIO",)}
# What a whole scene has of each call, without a fault: errors fall anywhere in it.
_LATEST: Final = {"fdatasync": 70, "pwrite64": 180, "ftruncate": 8}


class DiskError(NamedTuple):
    """From the `first` such call on, `many` of them fail."""

    call: str
    error: str
    first: int
    many: int

    @property
    def option(self) -> str:
        """The option of strace that does it."""
        return f"--inject={self.call}:error={self.error}:when={self.first}..{self.first + self.many - 1}"


def any_error(seed: int, number: int) -> DiskError:
    """The error with this number."""
    chance = random.Random(f"disk error {seed} {number}")
    call = chance.choice(list(CALLS))
    return DiskError(
        call, chance.choice(CALLS[call]), chance.randint(1, _LATEST[call]), chance.choice((1, 1, 2, 3, 5, 9))
    )


def suffered(error: DiskError, directory: Path, *, states: int, seed: int) -> tuple[Verdict, bool]:
    """One error: everything taken in is accepted in the end, once; and cuts of the power around it. Whether it struck."""
    recording = record("stubborn", directory / "recorded", error.option)
    found = worst(recording)
    found.add(cuts(recording, seed, range(states)))
    last = len(recording.states) - 1
    found.add(kills(recording, [last]))
    there = readings(recording, last, directory / "whole")
    if len(there) != READINGS or len(set(there)) != READINGS:
        found.wrong += 1
        found.lost += READINGS - len(set(there))
        found.findings.append(f"{recording.name}: {len(there)} readings of {READINGS}")
    return found, recording.injected > 0


def readings(recording: Recording, cut: int, directory: Path) -> list[object]:
    """The readings in the log that the next start finds."""
    directory.mkdir()
    for name, data in recording.states.killed(cut).files.items():
        (directory / name).write_bytes(data)
    with closing(recording.owner.open(directory)) as log:
        return [record for each in batches(log) for record in records_of(each.message)]
