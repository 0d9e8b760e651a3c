"""The power fails anywhere in a recorded life of the log: nothing accepted is lost, nothing comes twice.

A slice with a seed; `scripts/faults --only power-cuts --runs 100000` runs as many as wanted. A finding names its
recording and its number: `cuts(recording, SEED, [number])` shows the same state again.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import power_cuts
import pytest
import store_trace
from power_cuts import SCENES, Recording, cuts, kills, record
from recorded_daemon import record_daemon
from store_trace import DirectorySync, Name, Sync

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SEED = 20261122
# States of each recording: all of this file takes less than a minute on two cores.
CUTS = 200
KILLS = 60
pytestmark = pytest.mark.skipif(bool(store_trace.why_not()), reason=store_trace.why_not() or "traced")


def none_lost(verdict: power_cuts.Verdict) -> None:
    assert not verdict.findings, "\n".join(verdict.findings)
    assert (verdict.lost, verdict.twice, verdict.wrong) == (0, 0, 0)
    assert verdict.states > 0


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Recording]:
    """Each scene is recorded once."""
    return cache(lambda scene: record(scene, tmp_path_factory.mktemp(scene)))


@pytest.mark.parametrize("scene", SCENES)
def test_a_power_cut_anywhere_loses_repeats_and_invents_nothing(
    recorded: Callable[[str], Recording], scene: str
) -> None:
    none_lost(cuts(recorded(scene), SEED, range(CUTS)))


@pytest.mark.parametrize("scene", SCENES)
def test_a_kill_anywhere_loses_repeats_and_invents_nothing(
    recorded: Callable[[str], Recording], scene: str
) -> None:
    places = len(recorded(scene).states)
    none_lost(kills(recorded(scene), range(0, places, places // KILLS)))


# The numbers of the sync: within the first start, in the first commits, later; each life counts anew.
@pytest.mark.parametrize("sync", [2, 4, 7, 14])
def test_a_kill_between_write_and_sync_and_then_a_power_cut_lose_nothing_that_the_next_run_sent(
    tmp_path: Path, sync: int
) -> None:
    recording = record("killed", tmp_path, f"--inject=fdatasync:signal=SIGKILL:retval=0:when={sync}")
    assert recording.injected, "no life was killed"
    none_lost(cuts(recording, SEED, range(CUTS)))


def test_the_whole_daemon_killed_and_started_again_keeps_what_it_accepted(tmp_path: Path) -> None:
    recording = record_daemon(tmp_path)
    said = [mark.split(" ")[0] for mark in recording.states.marks(len(recording.states))]
    assert said.count("accepted") >= 12
    none_lost(cuts(recording, SEED, range(CUTS)))
    none_lost(kills(recording, range(0, len(recording.states), 3)))


@pytest.mark.parametrize("scene", ["life", "full"])
def test_a_scene_holds_what_it_is_for(recorded: Callable[[str], Recording], scene: str) -> None:
    """Without checkpoints, heads, removals and a WAL that goes with a clean stop it would prove little."""
    states = recorded(scene).states
    assert {mark.split(" ")[0] for mark in states.marks(len(states))} >= {
        "sealed",
        "accepted",
        "head",
        "goes",
    }
    database = next(
        each.file for each in states.operations if isinstance(each, Name) and each.made == "edgegw.db"
    )
    syncs = [each for each in states.operations if isinstance(each, Sync) and each.file == database]
    assert len(syncs) > 5, "the WAL was folded in only a few times"
    assert any(isinstance(each, Name) and each.gone == "edgegw.db-wal" for each in states.operations)


def test_a_database_is_set_aside_for_certain_before_another_takes_its_name(
    recorded: Callable[[str], Recording],
) -> None:
    for scene in ("damaged", "rolled-back"):
        operations = recorded(scene).states.operations
        moved = next(
            number
            for number, each in enumerate(operations)
            if isinstance(each, Name) and each.gone == "edgegw.db"
        )
        following = next(each for each in operations[moved + 1 :] if isinstance(each, DirectorySync | Name))
        assert isinstance(following, DirectorySync)


@pytest.mark.parametrize("wrong", ["normal", "early"])
def test_a_store_that_is_set_wrong_is_found_out(tmp_path: Path, wrong: str) -> None:
    """synchronous=NORMAL, or a commit that comes after its acknowledgement: the rig can fail."""
    verdict = cuts(record(f"life+{wrong}", tmp_path), SEED, range(100))
    assert verdict.lost > 0
    assert verdict.twice > 0, "an index that was given away is given away again"
    assert verdict.wrong > 20
