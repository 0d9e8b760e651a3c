"""What a disk may hold after a power cut, from a recorded trace. Pure and seeded: the same numbers, the same disk.

The model, meant to allow more than ext4 (data=ordered) and f2fs do, never less:

- Writes. What was written to a file before a sync of that file began is durable when the sync returned. Of the rest
  any subset is there, in any mixture: a write wholly, not at all, some of its 512-byte sectors, or as zeros (the new
  length reached the disk, the data did not). Cuts of a file's length are writes in this sense.
- Names. A sync of the directory makes all names durable; a sync of a file only the change that gave it its present
  name. Of the rest a prefix is there (a journal of metadata, as in ext4) or any subset (f2fs brings a synchronised
  file back under its name without what happened before to others: whatever had that name is then gone). A rename is
  there as a whole or not at all.
- A sync that failed makes nothing durable, and what was pending then is never made durable by a later sync: Linux marks
  the pages clean all the same (PostgreSQL's "fsyncgate", 2018). Only writing it anew helps.
- What SQLite shares between processes (`-shm`) is absent, or rubbish: nobody synchronises it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

from store_trace import DirectorySync, Mark, Name, Sync, Trace, Truncate, Write

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet

SECTOR_BYTES: Final = 512
NEVER: Final = 1 << 60


class Disk(NamedTuple):
    """The files after a cut, by name; the cut came just before operation `cut`."""

    cut: int
    files: Mapping[str, bytes]


class CrashStates:
    """Everything that can be on the disk after the power fails within a trace."""

    def __init__(self, trace: Trace) -> None:
        self.operations = trace.operations
        self._before = list(trace.before.items())
        self._durable = self._durable_from()

    def __len__(self) -> int:
        """How many places there are for a cut: before each operation, and after the last."""
        return len(self.operations) + 1

    def killed(self, cut: int) -> Disk:
        """What the next process finds when this one is killed before operation `cut`: everything that was written."""
        return Disk(cut, self._built(cut, [None] * cut, set(range(cut))))

    def least(self, cut: int) -> Disk:
        """The least that a power cut before operation `cut` leaves: what is durable, and nothing else."""
        durable = {number for number in range(cut) if self._durable[number] < cut}
        return Disk(cut, self._built(cut, [None] * cut, durable, set(range(cut)) - durable))

    def cut(self, cut: int, chance: random.Random) -> Disk:
        """One of the states that a power cut before operation `cut` can leave."""
        kept = chance.choice((0.0, 0.1, 0.5, 0.9, 1.0))
        torn = chance.choice((0.0, 0.2, 0.8))
        fates: list[bytes | None] = [None] * cut
        gone = set[int]()
        for number in range(cut):
            operation = self.operations[number]
            if not isinstance(operation, Write | Truncate) or self._durable[number] < cut:
                continue
            if chance.random() >= kept:
                gone.add(number)
            elif isinstance(operation, Write) and chance.random() < torn:
                fates[number] = _sectors(operation, chance)
        names = self._names(cut, chance)
        files = self._built(cut, fates, names, gone)
        if chance.random() < 0.125:
            files |= {f"{name}-shm": chance.randbytes(32768) for name in list(files) if name.endswith(".db")}
        return Disk(cut, files)

    def _durable_from(self) -> list[int]:
        """For each operation the number of the sync that made it durable; NEVER where none did."""
        durable = [NEVER] * len(self.operations)
        pending: dict[int, list[int]] = defaultdict(list)
        names: list[int] = []
        named: dict[int, int] = {}
        for number, operation in enumerate(self.operations):
            if isinstance(operation, Write | Truncate):
                pending[operation.file].append(number)
            elif isinstance(operation, Name):
                names.append(number)
                named[operation.file] = number
            elif isinstance(operation, Sync):
                covered = bisect_left(pending[operation.file], operation.began)
                done = pending[operation.file][:covered]
                del pending[operation.file][:covered]
                if operation.failed:
                    continue
                own = named.get(operation.file, NEVER)
                for each in (*done, *([own] if own < operation.began else [])):
                    durable[each] = min(durable[each], number)
            elif isinstance(operation, DirectorySync):
                for each in names[: bisect_left(names, operation.began)]:
                    durable[each] = min(durable[each], number)
        return durable

    def _names(self, cut: int, chance: random.Random) -> set[int]:
        """Which changes of names are on the disk."""
        changes = [number for number in range(cut) if isinstance(self.operations[number], Name)]
        found = {number for number in changes if self._durable[number] < cut}
        left = [number for number in changes if number not in found]
        if chance.random() < 0.5:
            found.update(left[: chance.randint(0, len(left))])
        else:
            found.update(number for number in left if chance.random() < 0.5)
        return found

    def _built(
        self,
        cut: int,
        fates: Sequence[bytes | None],
        names: AbstractSet[int],
        gone: AbstractSet[int] = frozenset(),
    ) -> dict[str, bytes]:
        contents = defaultdict(bytearray, {n: bytearray(data) for n, (_, data) in enumerate(self._before)})
        there = {name: number for number, (name, _) in enumerate(self._before)}
        for number in range(cut):
            operation = self.operations[number]
            if number in gone:
                continue
            if isinstance(operation, Write):
                _put(contents[operation.file], operation, fates[number])
            elif isinstance(operation, Truncate):
                content = contents[operation.file]
                del content[operation.size :]
                content.extend(bytes(operation.size - len(content)))
            elif isinstance(operation, Name) and number in names:
                there.pop(operation.gone, None)
                if operation.made:
                    there[operation.made] = operation.file
        return {name: bytes(contents[number]) for name, number in there.items()}

    def marks(self, cut: int) -> list[str]:
        """What the program had said of itself before the cut."""
        return [each.text for each in self.operations[:cut] if isinstance(each, Mark)]


def _sectors(write: Write, chance: random.Random) -> bytes:
    """One byte for each sector that the write touches: 0 it is as before, 1 it is written, 2 it holds zeros."""
    first = write.offset // SECTOR_BYTES
    count = (write.offset + len(write.data) - 1) // SECTOR_BYTES - first + 1
    if chance.random() < 0.5:  # cut somewhere, as a disk that writes in order leaves it
        written = chance.randint(0, count)
        return b"\1" * written + bytes(count - written)
    return bytes(chance.choices((0, 1, 2), (4, 5, 1), k=count))


def _put(content: bytearray, write: Write, sectors: bytes | None) -> None:
    end = write.offset + len(write.data)
    if sectors is None:
        content.extend(bytes(max(0, write.offset - len(content))))
        content[write.offset : end] = write.data
        return
    begin = write.offset
    for fate in sectors:
        stop = min(end, (begin // SECTOR_BYTES + 1) * SECTOR_BYTES)
        if fate:
            content.extend(bytes(max(0, begin - len(content))))
            data = write.data[begin - write.offset : stop - write.offset]
            # Zeros come only where the file grew: what was there stays until it is written over.
            if fate == 1:
                content[begin:stop] = data
            else:
                content.extend(bytes(max(0, stop - len(content))))
        begin = stop
