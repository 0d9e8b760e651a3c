"""What the shell can decode besides polls: one whole RTU message, bare registers, a row of numbers. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from edgegw.driver import QUANTITIES, Block, FrameError, Reading
from edgegw_drivers.modbus import asked
from edgegw_drivers.modbus.adu import answer
from edgegw_drivers.modbus.decoder import Decoder
from edgegw_drivers.modbus.profile import Mark, Profile, inside, most

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from edgegw.driver import Outcome

# Registers that no profile names have no quantity: the shell shows them as bare numbers, and nothing but the
# shell ever sees them.
BARE: Final = QUANTITIES["targets"]._replace(name="value", unit="/")
# Who answers to these need not be who was asked: 255 is nobody's address, and asks whoever is there.
ANYBODY: Final = frozenset({0, 255})


def rtu(profile: Profile | None, message: bytes, options: Mapping[str, Any]) -> Sequence[Outcome]:
    """Outcomes of one whole answer; FrameError when it gives none, ValueError for wrong options."""
    asked_of = asked.whole(options, "address", range(256)) if "address" in options else None
    unit, function, words = answer(message)
    told = profile is not None and _tells_address(profile, unit, function, words)
    if asked_of is not None:
        anybody = asked_of in ANYBODY or (told and profile is not None and _is_asked(profile, asked_of))
        right = anybody or unit == asked_of
    else:
        right = told or unit in (profile.units if profile else (1,))
    if not right:
        raise FrameError("wrong_address")
    if isinstance(words, FrameError):
        raise words
    if function != asked.whole(options, "function", range(1, 5), function):
        raise FrameError("wrong_function")
    if "count" in options and not _counts(
        function, asked.whole(options, "count", range(1, 2001)), len(words)
    ):
        raise FrameError("byte_count")
    if profile is None:
        return bare(words, options)
    return _profiled(profile, function, words, options)


def registers(profile: Profile | None, data: bytes, options: Mapping[str, Any]) -> Sequence[Outcome]:
    """Outcomes of registers, two bytes each, high byte first; errors as in `rtu`."""
    words = asked.integers(data, 16)
    if profile is None:
        return bare(words, options)
    function = asked.whole(options, "function", range(1, 5)) if "function" in options else None
    return _profiled(profile, function, words, options)


def bare(words: Sequence[int], options: Mapping[str, Any]) -> Sequence[Outcome]:
    """The numbers that words are; a refusal stands in the place of one that is none."""
    value = asked.value(options)
    if len(words) % value.width or not words:
        raise FrameError("truncated")
    found: list[float | FrameError] = []
    for begin in range(0, len(words), value.width):
        try:
            found.append(value.of(words[begin : begin + value.width]))
        except FrameError as error:
            found.append(error)
    values = [None if isinstance(each, FrameError) else each for each in found]
    return [
        each if isinstance(each, FrameError) else Reading(BARE, each, meta={"values": values})
        for each in found
    ]


def _tells_address(profile: Profile, unit: int, function: int, words: Sequence[int] | FrameError) -> bool:
    """Whether this is a device's answer to the question who it is, and says the address that it comes from."""
    if profile.discover is None or isinstance(words, FrameError):
        return False
    block, at = profile.discover.discovery.block, profile.discover.discovery.address_at
    return (block.function, block.count) == (function, len(words)) and at is not None and words[at] == unit


def _is_asked(profile: Profile, unit: int) -> bool:
    return profile.discover is not None and profile.discover.discovery.unit == unit


def _counts(function: int, count: int, found: int) -> bool:
    """Whether an answer has as many registers, or bits in whole bytes, as were asked for."""
    return found == (count if function in {3, 4} else -(-count // 8) * 8)


def _profiled(
    profile: Profile, function: int | None, words: Sequence[int], options: Mapping[str, Any]
) -> Sequence[Outcome]:
    """Which of the profile's questions this answers is told by function and register, or else by the count."""
    register = asked.whole(options, "register", range(0x10000)) if "register" in options else None
    for block in _windows(profile, len(words)):
        if function not in {None, block.function} or register not in {None, block.address}:
            continue
        if any(inside(read.block, block) for read in profile.reads):
            return _within(profile, block, words[: block.count])
        marks = [mark for mark in profile.identity if mark.block == block]
        if marks:
            return [_marked(mark, words) for mark in marks]
        if profile.discover is not None and profile.discover.discovery.block == block:
            meta = dict(zip(profile.discover.meta, words, strict=False))
            return [Reading(BARE._replace(name=name), float(word), meta=meta) for name, word in meta.items()]
    raise FrameError("byte_count")


def _windows(profile: Profile, count: int) -> Iterator[Block]:
    """Questions that have an answer of `count` values: what is polled first, then parts of it, then who it is."""

    def fits(block: Block) -> bool:
        # Bits come in whole bytes, whatever was asked for.
        return _counts(block.function, block.count, count)

    parts = [read.block for read in profile.reads]
    yield from (block for block in profile.blocks if fits(block) and any(inside(p, block) for p in parts))
    parts += [status.block for status in profile.statuses] + [mark.block for mark in profile.metas]
    for first in parts:
        for last in parts:
            span = Block(first.function, first.address, last.address + last.count - first.address)
            if first.function == last.function and 1 <= span.count <= most(span.function) and fits(span):
                yield span
    yield from (mark.block for mark in profile.identity if fits(mark.block))
    if profile.discover is not None and fits(profile.discover.discovery.block):
        yield profile.discover.discovery.block
    # Somebody may have asked for more than the profile reads.
    for block in profile.blocks:
        if block.function in {3, 4} and count > block.count:
            yield Block(block.function, block.address, count)


def _within(profile: Profile, block: Block, words: Sequence[int]) -> Sequence[Outcome]:
    """What the profile makes of one answer alone: statuses that are not in it forbid nothing here."""
    statuses = [status for status in profile.statuses if inside(status.block, block)]
    reads = [
        replace(
            read,
            status=statuses.index(profile.statuses[read.status])
            if read.status is not None and profile.statuses[read.status] in statuses
            else None,
        )
        for read in profile.reads
        if inside(read.block, block)
    ]
    part = replace(
        profile,
        blocks=(block,),
        reads=[read for read in reads if read.max_step is None],
        statuses=statuses,
        metas=[mark for mark in profile.metas if inside(mark.block, block)],
    )
    found: list[Outcome] = list(Decoder(part).decode([words], 0.0))
    # One answer says what a counter stands at, and not what it counted: that is what the shell shows.
    for read in reads:
        if read.max_step is not None:
            begin = read.block.address - block.address
            try:
                raw = read.value.raw(words[begin : begin + read.block.count])
                found.append(Reading(read.quantity, read.value.scaled(raw), meta={"total": True}))
            except FrameError as error:
                found.append(error)
    if not any(isinstance(each, Reading) for each in found):
        raise next(each for each in found if isinstance(each, FrameError))
    return found


def _marked(mark: Mark, words: Sequence[int]) -> Reading:
    number = int.from_bytes(b"".join(word.to_bytes(2, "big") for word in words), "big")
    return Reading(BARE._replace(name=mark.name), float(number), meta={mark.name: mark.of(words)})
