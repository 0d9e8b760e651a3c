"""The schema of profiles: from TOML text to a Profile, with every mistake at once. Data only, no expressions."""

from __future__ import annotations

import hashlib
import re
import tomllib
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from edgegw.driver import Block, FrameError, Reading
from edgegw_drivers.modbus import parts
from edgegw_drivers.modbus.decoder import Decoder
from edgegw_drivers.modbus.profile import Example, Profile, Read, Status, planned
from edgegw_drivers.modbus.table import Mistakes, Table, is_integer, is_number, nearest, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

# The largest profile; the longest that ship are below 8 KiB.
TEXT_BYTES: Final = 65536
# The most quantities of one device: the table of quantities has fewer than 64.
READS: Final = 64
# The most requests of one poll: at 9600 baud they take about a second.
BLOCKS: Final = 16
# The most settings, and registers that tell who a device is: each is a request of its own at the start.
MARKS: Final = 16
# Silence and answer times of devices; a bus cannot wait longer for one of them.
LONGEST_MS: Final = 10_000
# Repeated polls: after three lost answers in a row a fourth try is not what helps.
RETRIES: Final = 3
_PLACE: Final = re.compile(r" \(at line (\d+), column \d+\)$")


class ProfileError(ValueError):
    """A profile with mistakes; `mistakes` holds a sentence for each, with file and line where they are known."""

    def __init__(self, name: str, mistakes: list[str]) -> None:
        self.mistakes = tuple(mistakes)
        count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        super().__init__(f"{name} has {count}:\n  " + "\n  ".join(mistakes))


def parse(name: str, text: str) -> Profile:
    """The profile that `text` spells; `name` is what messages call it. ProfileError with every mistake."""
    if len(text) > TEXT_BYTES:
        raise ProfileError(name, [f"it has {len(text)} characters, at most {TEXT_BYTES} are read"])
    try:
        data = tomllib.loads(text, parse_float=Decimal)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        place = _PLACE.search(str(error))
        where = f"{name}:{place[1]}: " if place else ""
        raise ProfileError(name, [f"{where}it is no TOML: {error}"]) from error
    mistakes = Mistakes(name, text)
    profile = _profile(Table("", data, mistakes), mistakes, hashlib.sha256(text.encode()).hexdigest())
    if not mistakes.found:
        _prove(profile, mistakes)
    if mistakes.found:
        raise ProfileError(name, mistakes.found)
    return profile


def aliases(text: str) -> list[str]:
    """Other names of the profile that `text` spells, its model's among them; none where it spells none."""
    try:
        device = tomllib.loads(text).get("device", {})
        model, found = device.get("model"), device.get("aliases", [])
    except (ValueError, AttributeError, RecursionError):
        return []
    return [alias for alias in (model, *(found if isinstance(found, list) else ())) if isinstance(alias, str)]


def _profile(table: Table, mistakes: Mistakes, sha256: str) -> Profile:
    about: dict[str, Any] = _device(Table("device", table.any("device", {}), mistakes))
    link = Table("link", table.any("link", {}), mistakes)
    wire: dict[str, Any] = {
        "lines": parts.lines(link),
        "min_gap_s": link.integer("min_gap_ms", 0, LONGEST_MS, 0) / 1000,
        "timeout_s": link.integer("timeout_ms", 1, LONGEST_MS, 500) / 1000,
        "retries": link.integer("retries", 0, RETRIES, 1),
    }
    gap = link.integer("gap", 0, 124, 0)
    link.finish()
    statuses: dict[str, Status] = {}
    for part in _tables(table, "status", mistakes, MARKS):
        parts.status(part, statuses)
    reads: list[Read] = []
    for part in _tables(table, "read", mistakes, READS):
        parts.read(part, list(statuses), reads)
    if not reads:
        table.wrong("it reads nothing: write at least one [[read]]")
    names = list(statuses)
    metas = [parts.mark(part, names) for part in _tables(table, "meta", mistakes, MARKS)]
    names = []
    identity = [parts.mark(part, names) for part in _tables(table, "identity", mistakes, MARKS)]
    names = []
    choices = [parts.choice(part, names) for part in _tables(table, "setting", mistakes, MARKS)]
    blocks = planned(reads, list(statuses.values()), metas, gap)
    if len(blocks) > BLOCKS:
        table.wrong(
            f"one poll would take {len(blocks)} requests, at most {BLOCKS}: gap = N reads across gaps"
        )
    discover = (
        parts.discover(Table("discover", table.any("discover"), mistakes)) if table.has("discover") else None
    )
    known = [read.quantity.name for read in reads]
    examples = [_example(part, blocks, known) for part in _tables(table, "example", mistakes, READS)]
    if not examples:
        table.wrong("it has no [[example]]: write one with known registers and their values")
    table.finish()
    return Profile(
        **about,
        **wire,
        blocks=blocks,
        reads=reads,
        statuses=list(statuses.values()),
        metas=metas,
        identity=identity,
        choices=choices,
        discover=discover,
        examples=examples,
        sha256=sha256,
    )


def _device(table: Table) -> dict[str, Any]:
    about = {"model": table.text("model", needed=True), "description": table.text("description")}
    table.texts("sources")
    table.texts("aliases")
    units = table.values("units", alone=True) or [1]
    if not all(is_integer(unit) and 1 <= unit <= 254 for unit in units):
        table.wrong(f"units are {shown(units)}, not addresses from 1 to 254", "units")
        units = [1]
    table.finish()
    return {**about, "units": tuple(units)}


def _tables(table: Table, key: str, mistakes: Mistakes, most: int) -> list[Table]:
    found = table.values(key)
    if len(found) > most:
        table.wrong(f"it has more than {most} [[{key}]]")
    return [Table(f"{key} {index}", part, mistakes) for index, part in enumerate(found[:most], 1)]


def _example(table: Table, blocks: Sequence[Block], names: list[str]) -> Example:
    table.text("name")
    words = _words(table, "registers", blocks)
    before = _words(table, "before", blocks) if table.has("before") else ()
    expect: dict[str, float | str] = {}
    for name, value in table.items("expect"):
        if name not in names:
            table.wrong(f"expect has {shown(name)}{nearest(name, names)}")
        elif isinstance(value, str) or is_number(value):
            expect[name] = value if isinstance(value, str) else float(value)
        else:
            table.wrong(f"expect has {name} = {shown(value)}, neither a number nor a reason")
    if not expect:
        table.wrong("expect is missing: the value, or the reason for none, by quantity")
    table.finish()
    return Example(words, expect, before)


def _words(table: Table, key: str, blocks: Sequence[Block]) -> list[list[int]]:
    words = table.values(key)
    if len(blocks) == 1 and all(map(is_integer, words)):
        words = [words]
    shape = [len(part) if isinstance(part, list) else -1 for part in words]
    if shape == [block.count for block in blocks] and all(
        is_integer(word) and 0 <= word <= 0xFFFF for part in words for word in part
    ):
        return words
    wanted = ", ".join(f"{block.count} from {block.address} (function {block.function})" for block in blocks)
    table.wrong(f"{key} do not fit what one poll reads: {wanted}")
    return []


def _prove(profile: Profile, mistakes: Mistakes) -> None:
    """Decode the examples: a profile that does not do what it says of itself is a mistake."""
    for number, example in enumerate(profile.examples, 1):
        decoder = Decoder(profile)
        if example.before:
            decoder.decode(example.before, 0.0)
        found = decoder.decode(example.words, 0.0)
        values = {each.quantity.name: each.value for each in found if isinstance(each, Reading)}
        reasons = [each.reason for each in found if isinstance(each, FrameError)]
        for name, wanted in example.expect.items():
            value = values.get(name)
            if value is None and wanted in reasons:
                continue
            if value is None or isinstance(wanted, str) or not _equal(value, wanted):
                said = f"{value:g}" if value is not None else " or ".join(reasons)
                mistakes.add(
                    f"example {number}: {name} gives {said}, and {shown(wanted)} is expected",
                    f"example {number}",
                    "expect",
                )


def _equal(value: float, wanted: float) -> bool:
    """Whether they are the same to the six digits that a float of four bytes holds."""
    return abs(value - wanted) <= 1e-6 * max(abs(value), abs(wanted))
