"""The model of a power cut itself: what it may take, what it never takes, and that a trace is read exactly or not."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from crash_states import CrashStates
from store_trace import DirectorySync, Name, Operation, Sync, Trace, TraceError, Truncate, Write, read

HERE = Path("/store")


def states(
    *operations: Operation, before: dict[str, bytes] | None = None
) -> set[tuple[tuple[str, bytes], ...]]:
    """Everything that a cut at the end was seen to leave."""
    model = CrashStates(Trace(before or {}, operations))
    found = (model.cut(len(operations), random.Random(number)).files for number in range(400))
    return {
        tuple(sorted((n, data) for n, data in files.items() if not n.endswith("-shm"))) for files in found
    }


def test_what_was_synchronised_is_always_there_and_the_rest_in_any_mixture() -> None:
    left = states(Write(0, 0, b"aa"), Sync(0, 1), Write(0, 0, b"b"), Write(0, 1, b"c"), before={"f": b""})
    assert {(("f", data),) for data in (b"aa", b"ba", b"ac", b"bc")} <= left
    assert all(data[0][1][:1] in (b"a", b"b") for data in left)


def test_what_was_written_after_a_sync_began_is_not_covered_by_it() -> None:
    assert (("f", b""),) in states(Write(0, 0, b"a"), Sync(0, 0), before={"f": b""})


def test_a_write_is_torn_at_sectors() -> None:
    left = states(Write(0, 0, b"n" * 1024), before={"f": b"o" * 1024})
    halves = {data[0][1][:512] + data[0][1][512:] for data in left}
    assert {b"n" * 512 + b"o" * 512, b"o" * 512 + b"n" * 512} <= halves
    assert all(len(set(half[:512])) == len(set(half[512:])) == 1 for half in halves)


def test_a_failed_sync_saves_nothing_and_no_later_one_saves_what_it_had() -> None:
    left = states(Write(0, 0, b"a"), Sync(0, 1, failed=True), Sync(0, 2), before={"f": b""})
    assert (("f", b""),) in left
    again = states(
        Write(0, 0, b"a"), Sync(0, 1, failed=True), Write(0, 0, b"a"), Sync(0, 3), before={"f": b""}
    )
    assert again == {(("f", b"a"),)}


def test_a_cut_of_the_length_is_lost_like_a_write() -> None:
    assert states(Truncate(0, 0), before={"f": b"a"}) == {(("f", b"a"),), (("f", b""),)}


def test_names_come_with_a_sync_of_the_directory_and_of_the_file_that_has_them() -> None:
    made = Name("", "f", 0)
    assert states(made) == {(), (("f", b""),)}
    assert states(made, DirectorySync(1)) == states(made, Sync(0, 1)) == {(("f", b""),)}


def test_a_rename_is_there_or_not_and_a_new_file_under_the_old_name_may_take_the_old_one_away() -> None:
    moved = Name("f", "g", 0)
    assert states(moved, before={"f": b"a"}) == {(("f", b"a"),), (("g", b"a"),)}
    over = states(moved, Name("", "f", 1), Sync(1, 2), before={"f": b"a"})
    assert over == {(("f", b""),), (("f", b""), ("g", b"a"))}


def test_a_kill_takes_nothing() -> None:
    operations = (Name("", "f", 0), Write(0, 0, b"a"))
    assert CrashStates(Trace({}, operations)).killed(2).files == {"f": b"a"}


def hexed(text: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in text.encode())


def trace(*lines: str) -> list[Operation]:
    return list(read(lines, HERE, Path("/marks"), {"f": b""}).operations)


def test_a_sync_counts_from_where_it_began() -> None:
    file, begun = hexed("/store/f"), f"1 fdatasync(3<{hexed('/store/f')}> <unfinished ...>"
    found = trace(begun, f'2 pwrite64(3<{file}>, "\\x61", 1, 0) = 1', "1 <... fdatasync resumed>) = 0")
    assert found == [Write(0, 0, b"a"), Sync(0, 0)]


@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        f'1 pwrite64(3<{hexed("/store/f")}>, "\\x61"..., 100, 0) = 100',
        f"1 writev(3<{hexed('/store/f')}>, [], 1) = 1",
        f'1 rename("{hexed("/elsewhere/g")}", "{hexed("/store/f")}") = 0',
    ],
)
def test_what_cannot_be_read_exactly_is_refused(line: str) -> None:
    with pytest.raises(TraceError):
        trace(line)


def test_what_failed_or_was_made_up_by_strace_did_not_happen() -> None:
    file = hexed("/store/f")
    assert trace(
        f'1 pwrite64(3<{file}>, "\\x61", 1, 0) = -1 EIO (Input/output error) (INJECTED)',
        f"1 fdatasync(3<{file}>) = 0 (INJECTED)",
        f"1 fdatasync(3<{file}>) = -1 EIO (Input/output error) (INJECTED)",
    ) == [Sync(0, 0, failed=True)]
