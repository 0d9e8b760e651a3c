"""Rules about single inputs: known ones, damaged ones, and whatever else may arrive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edgegw import decode
from edgegw.contract.hostile import mangled
from edgegw.contract.rule import rule
from edgegw.contract.subject import comparable, is_refused, unsound
from edgegw.driver import QUANTITIES, AskDriver, FrameError, Reading

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from random import Random

    from edgegw.contract.subject import Fact, Subject
    from edgegw.driver import Outcome

# What a technician types is whole: numbers and registers, and the answer of a meter in text, which a cut makes
# another number. On the wire the framing holds them together.
_TYPED: Final = frozenset({"modbus-registers", "numeric"})
# Bits of one input that are flipped where nothing checks them: all of a frame, some of a document.
MOST_FLIPPED: Final = 512


@rule()
def it_brings_a_fact_that_gives_a_reading(subject: Subject, _: Random) -> Iterator[str]:
    """A driver without a known input is a driver that nobody knows to be right."""
    if not any(fact.expect is not None for fact in subject.facts):
        yield "there is no fact that gives a reading: add one to facts.json, with its source"


@rule()
def it_brings_a_fact_that_is_refused(subject: Subject, _: Random) -> Iterator[str]:
    """What it must not take for a value is known as well as what it must."""
    if not any(fact.error for fact in subject.facts):
        yield "there is no fact that is refused: add one to facts.json, with the reason"


@rule()
def every_fact_is_decoded_to_what_it_says(subject: Subject, _: Random) -> Iterator[str]:
    """By the very code behind `edgegw drivers decode`."""
    for fact in subject.facts:
        text = decode.is_text(fact.layer)
        given = fact.data.decode("utf-8", "surrogateescape") if text else fact.data.hex()
        options = {**subject.shell, **fact.context}
        lines = list(decode.decode(subject.name, [given], layer=fact.layer, options=options))
        yield from (f"{fact.name}: {sentence}" for sentence in _differs(fact, lines))


def _differs(fact: Fact, lines: list[dict[str, object]]) -> Iterator[str]:
    errors = [line["error"] for line in lines if "error" in line]
    found = {str(line["quantity"]): line for line in lines if "error" not in line}
    if fact.expect is None:
        if fact.error not in errors or found:
            yield f"should be refused as {fact.error}, and gives {lines}"
        return
    if not found:
        yield f"should be a reading, and gives {lines}"
    for name, (value, unit) in fact.expect.items():
        if name not in QUANTITIES:
            yield f"expects {name}, which is no quantity of the gateway"
        elif name not in found:
            yield f"should give {name}, and gives {lines}"
        elif not _is_near(found[name]["value"], value, fact.tolerance) or unit not in {
            None,
            found[name]["unit"],
        }:
            yield (
                f"{name} should be {value} {unit or ''}, and is {found[name]['value']} {found[name]['unit']}"
            )


def _is_near(found: object, value: float, tolerance: float) -> bool:
    return isinstance(found, int | float) and abs(found - value) <= tolerance + 1e-9 * abs(value)


def _damaged(subject: Subject) -> Iterator[Fact]:
    """Facts whose every part is needed."""
    for fact in subject.facts:
        answer = fact.layer == "ascii-line" and issubclass(subject.kind, AskDriver)
        if fact.is_good and not answer and fact.layer not in _TYPED:
            yield fact


@rule()
def every_truncation_of_a_good_input_is_refused_and_so_is_one_byte_more(
    subject: Subject, _: Random
) -> Iterator[str]:
    """Length decides first (DEVICES §2)."""
    for fact in _damaged(subject):
        for data in (*(fact.data[:length] for length in range(len(fact.data))), fact.data + b"\0"):
            found = subject.outcomes(fact.layer, data, fact.context)
            refused = is_refused(found) or len(data) in subject.lengths
            refused = refused or (subject.divisible and _is_part(subject, fact, data, found))
            if not refused:
                yield f"{fact.layer} {_shown(data)}, damaged from {_shown(fact.data)}, gives {found}"


def _is_part(subject: Subject, fact: Fact, data: bytes, found: Sequence[Outcome]) -> bool:
    """Whether a message of objects says nothing that the whole one does not say, and what is too much is refused."""
    whole = subject.outcomes(fact.layer, fact.data, fact.context)
    said = [(each.quantity.name, each.value) for each in whole if isinstance(each, Reading)]
    known = all(
        (each.quantity.name, each.value) in said or each.quantity.name not in QUANTITIES
        for each in found
        if isinstance(each, Reading)
    )
    return known and (len(data) < len(fact.data) or any(isinstance(each, FrameError) for each in found))


@rule()
def every_flipped_bit_is_refused_where_the_device_has_a_checksum(
    subject: Subject, _: Random
) -> Iterator[str]:
    """A sum that is not looked at is none. What is encrypted is checked by its key."""
    for fact in _damaged(subject):
        if fact.layer in subject.checked or "key" in fact.context:
            for data in _flipped(fact.data):
                found = subject.outcomes(fact.layer, data, fact.context)
                if not is_refused(found):
                    yield f"{fact.layer} {_shown(data)}, one bit off {_shown(fact.data)}, gives {found}"


@rule()
def a_flipped_bit_is_refused_or_read_as_something_that_can_be(subject: Subject, _: Random) -> Iterator[str]:
    """A device without a checksum may say anything that it could have said."""
    for fact in subject.facts:
        if fact.layer != "uart-stream":
            for data in _flipped(fact.data, MOST_FLIPPED):
                yield from _unsound(subject, fact, data)


@rule(tries=100)
def any_bytes_give_readings_or_a_frame_error_and_nothing_else(
    subject: Subject, random: Random
) -> Iterator[str]:
    """A genuine input with a part overwritten gets deeper into a decoder than noise does."""
    facts = [fact for fact in subject.facts if fact.layer != "uart-stream"]
    if not facts:
        return
    fact = random.choice(facts)
    for data in (mangled(random, fact.data), random.randbytes(random.randint(0, 64))):
        yield from _unsound(subject, fact, data)


@rule()
def the_same_inputs_give_the_same_outcomes_again(subject: Subject, _: Random) -> Iterator[str]:
    """Nothing but the input decides: no clock, no chance, nothing left over from another sensor."""
    for fact in subject.facts:
        if fact.layer != "uart-stream":
            one = comparable(subject.outcomes(fact.layer, fact.data, fact.context))
            if one != comparable(subject.outcomes(fact.layer, fact.data, fact.context)):
                yield f"{fact.layer} {_shown(fact.data)} gives something else the second time"


def _unsound(subject: Subject, fact: Fact, data: bytes) -> Iterator[str]:
    """What is wrong with what an input gives, with the input."""
    found = subject.outcomes(fact.layer, data, fact.context)
    for sentence in unsound(subject.shown(fact.context), found, strict=False):
        yield f"{fact.layer} {_shown(data)}: {sentence}"


def _flipped(data: bytes, most: int = 1 << 16) -> Iterator[bytes]:
    for bit in range(0, 8 * len(data), 1 + 8 * len(data) // most):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        yield bytes(flipped)


def _shown(data: bytes) -> str:
    return data.hex() or "(nothing)"


RULES: Final = (
    it_brings_a_fact_that_gives_a_reading,
    it_brings_a_fact_that_is_refused,
    every_fact_is_decoded_to_what_it_says,
    every_truncation_of_a_good_input_is_refused_and_so_is_one_byte_more,
    every_flipped_bit_is_refused_where_the_device_has_a_checksum,
    a_flipped_bit_is_refused_or_read_as_something_that_can_be,
    any_bytes_give_readings_or_a_frame_error_and_nothing_else,
    the_same_inputs_give_the_same_outcomes_again,
)
