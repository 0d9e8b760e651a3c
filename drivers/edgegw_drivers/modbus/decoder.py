"""From the answers of one poll to readings. Pure; the state is what counters counted last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgegw.driver import FrameError, Reading
from edgegw_drivers.modbus.profile import Profile, Read, place
from edgegw_drivers.modbus.words import bits_of

if TYPE_CHECKING:
    from collections.abc import Sequence


class Decoder:
    """Decodes the polls of one device, in order."""

    def __init__(self, profile: Profile) -> None:
        """Begin without a memory: a counter's first value gives no reading."""
        self._profile = profile
        self._places = [place(profile.blocks, read.block) for read in profile.reads]
        self._status_places = [place(profile.blocks, status.block) for status in profile.statuses]
        self._counted: dict[int, int] = {}

    def decode(
        self, answers: Sequence[Sequence[int] | FrameError], now: float
    ) -> Sequence[Reading | FrameError]:
        """A reading or a refusal for each read of the profile; one refusal for all reads of a lost block."""
        del now
        found: list[Reading | FrameError] = []
        for index, read in enumerate(self._profile.reads):
            try:
                found.append(Reading(read.quantity, self._value(index, read, answers)))
            except FrameError as error:
                if error not in found:
                    found.append(error)
        return found

    def _value(self, index: int, read: Read, answers: Sequence[Sequence[int] | FrameError]) -> float:
        words = _words(answers, self._places[index], read.block.count)
        if read.status is not None:
            (word,) = _words(answers, self._status_places[read.status], 1)
            self._profile.statuses[read.status].check(word)
        return read.value.of(words) if read.max_step is None else self._added(index, read, words)

    def _added(self, index: int, read: Read, words: Sequence[int]) -> float:
        """What a counter counted since its last value, over its wrap but not over a reset."""
        count = read.value.raw(words)
        before = self._counted.get(index)
        self._counted[index] = count
        if before is None:
            raise FrameError("first_count")
        added = (count - before) % (1 << bits_of(read.value.kind))
        if read.max_step is not None and added > read.max_step:
            raise FrameError("counter_reset")
        return read.value.scaled(added)


def _words(
    answers: Sequence[Sequence[int] | FrameError], where: tuple[int, int], count: int
) -> Sequence[int]:
    block, offset = where
    answer = answers[block]
    if isinstance(answer, FrameError):
        raise answer
    words = answer[offset : offset + count]
    if len(words) != count:
        raise FrameError("byte_count")
    return words
