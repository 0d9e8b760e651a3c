"""From the answers of one poll to readings. Pure; the state is what counters counted last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgegw.driver import FrameError, Quality, Reading
from edgegw_drivers.modbus.profile import Profile, Read, place

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgegw.driver import Answer


class Decoder:
    """Decodes the polls of one device, in order."""

    def __init__(self, profile: Profile) -> None:
        """Begin without a memory: a counter's first value gives no reading."""
        self._profile = profile
        self._places = [place(profile.blocks, read.block) for read in profile.reads]
        self._status_places = [place(profile.blocks, status.block) for status in profile.statuses]
        self._meta_places = [place(profile.blocks, mark.block) for mark in profile.metas]
        self._counted: dict[int, int] = {}

    def decode(self, answers: Sequence[Answer], now: float) -> Sequence[Reading | FrameError]:
        """A reading or a refusal for each read of the profile; one refusal for all reads of a lost block."""
        del now
        found: list[Reading | FrameError] = []
        needed: FrameError | None = None
        meta = self._meta(answers)
        for index, read in enumerate(self._profile.reads):
            try:
                value, checks = self._value(index, read, answers)
                flag = Quality.SUSPECT if checks else None
                found.append(Reading(read.quantity, value, flag, checks, meta))
            except FrameError as error:
                if read.needed and needed is None:
                    needed = error
                if error not in found:
                    found.append(error)
        return found if needed is None else [needed]

    def _value(self, index: int, read: Read, answers: Sequence[Answer]) -> tuple[float, tuple[str, ...]]:
        words = words_of(answers, self._places[index], read.block.count)
        checks: tuple[str, ...] = ()
        if read.status is not None:
            (word,) = words_of(answers, self._status_places[read.status], 1)
            checks = self._profile.statuses[read.status].check(word)
        value = read.value.of(words) if read.max_step is None else self._added(index, read, words)
        return value, checks

    def _added(self, index: int, read: Read, words: Sequence[int]) -> float:
        """What a counter counted since its last value."""
        count = read.value.raw(words)
        before = self._counted.get(index)
        self._counted[index] = count
        if before is None:
            raise FrameError("first_count")
        return read.value.scaled(added(before, count, read.value.size, read.max_step or 0))

    def _meta(self, answers: Sequence[Answer]) -> dict[str, Any] | None:
        """What the device says besides, as far as it came."""
        found: dict[str, Any] = {}
        for status, where in zip(self._profile.statuses, self._status_places, strict=True):
            if not isinstance(answers[where[0]], FrameError):
                found[status.name] = words_of(answers, where, 1)[0]
        for mark, where in zip(self._profile.metas, self._meta_places, strict=True):
            if not isinstance(answers[where[0]], FrameError):
                try:
                    found[mark.name] = mark.of(words_of(answers, where, mark.block.count))
                except FrameError:  # a float that is no number
                    continue
        return found or None


def added(before: int, count: int, width: int, most: int) -> int:
    """What a counter of `width` bits counted between two values, over its wrap.

    FrameError `counter_reset` when it fell further than a wrap of up to `most` counts explains, `implausible`
    when it rose by more than `most`: in both cases nobody knows how many it were.
    """
    step = (count - before) % (1 << width)
    if step > most:
        raise FrameError("counter_reset" if count < before else "implausible")
    return step


def words_of(answers: Sequence[Answer], where: tuple[int, int], count: int) -> Sequence[int]:
    """The words at a place in the answers; the answer's own FrameError, or `byte_count`, when they are not there."""
    block, offset = where
    answer = answers[block]
    if isinstance(answer, FrameError):
        raise answer
    words = answer[offset : offset + count]
    if len(words) != count:
        raise FrameError("byte_count")
    return words
