"""From documents to readings, by a map. Pure; the state is which device spoke, what counters stood at, what was seen."""

from __future__ import annotations

import base64
import binascii
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from edgegw.driver import QUANTITIES, FrameError, Notice, Reading
from edgegw_drivers.json_map import document as documents
from edgegw_drivers.json_map import milesight, path
from edgegw_drivers.json_map.map import Map, Read, as_number
from edgegw_drivers.json_map.path import Row

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from decimal import Decimal

    from edgegw.driver import Message, Outcome
    from edgegw_drivers.json_map.map import Payload
    from edgegw_drivers.json_map.path import Path

#: Rows that are remembered, so that a repetition is known: a Xovis sensor with eight lines sends 480 an hour.
SEEN: Final = 1024
# Rows of one document; 64 KiB hold fewer than this of anything real.
ROWS: Final = 1000
# A text about the device is shown so far.
LONGEST_NOTE: Final = 200
#: What a document says that has no quantity: the shell shows it, nothing else ever sees it.
BARE: Final = QUANTITIES["targets"]._replace(name="meta", unit="/")

_Totals: TypeAlias = "dict[tuple[int, str], int]"


@dataclass
class Decoder:
    """Decodes the documents of one device, in order.

    `device` is the only identity that is accepted, `name` the only row; empty ones let any. `checks` goes to every
    reading. `totals` gives running totals as they stand instead of what was added: for a document that is alone.
    """

    plan: Map
    device: str = ""
    name: str = ""
    checks: tuple[str, ...] = ()
    totals: bool = False
    _identity: str = ""
    _boots: Decimal | None = None
    _counted: _Totals = field(default_factory=dict)
    _fitted: set[int] = field(default_factory=set)
    _seen: OrderedDict[tuple[str, ...], None] = field(default_factory=OrderedDict)

    def decode(self, message: Message, now: float) -> Sequence[Outcome]:
        """Readings, notices and refusals of one document; FrameError when it is none of this map's."""
        del now
        document = documents.parse(message.body)
        if not self.plan.fits(document):
            raise FrameError("malformed")
        if self.plan.payload is None:
            return self._of(document, {})
        found = self._payload(document, self.plan.payload)
        return self._of({**document, "payload": _named(found)}, documents.plain(found))

    def payload(self, data: bytes, model: str) -> Sequence[Outcome]:
        """The same of bare bytes that would stand inside a document."""
        found = milesight.decode(data, model)
        return self._of({"payload": _named(found)}, documents.plain(found))

    def _payload(self, document: Mapping[str, Any], about: Payload) -> dict[str, Any]:
        text = _first(about.paths, Row(document, (), document))
        if text is None:
            raise FrameError("no_data")  # a network server also tells of joins and acknowledgements
        if not isinstance(text, str):
            raise FrameError("malformed")
        try:
            data = bytes.fromhex(text) if about.encoding == "hex" else base64.b64decode(text, validate=True)
        except (ValueError, binascii.Error):
            raise FrameError("malformed") from None
        return milesight.decode(data, about.model)

    def _of(self, document: Mapping[str, Any], payload: Mapping[str, Any]) -> Sequence[Outcome]:
        """What a document says; `payload` are values that are shown beside its readings."""
        whole = Row(document, (), document)
        found: list[Outcome] = [*self._who(whole)]
        meta = {**payload, **self._meta(whole)}
        refused: dict[str, FrameError] = {}
        values = self._values(whole, refused)
        for read, numbers in values.items():
            quantity = self.plan.reads[read].quantity
            if len(numbers) > 1 and quantity.mean != "sum":
                refused.setdefault("ambiguous", FrameError("ambiguous"))
            else:
                found.append(Reading(quantity, sum(numbers), None, self.checks, meta))
        found += refused.values()
        if not any(isinstance(each, Reading | FrameError) for each in found):
            # What has no quantity (stored records, a scenario of any name) is shown by the shell all the same.
            shows = payload or any(note.number and note.name in meta for note in self.plan.notes)
            bare = Reading(BARE, float(len(meta)), meta=meta)
            found.append(bare if self.totals and shows else FrameError("no_data"))
        return found

    def _who(self, whole: Row) -> list[Notice]:
        """What is to be told of the device; FrameError `wrong_device` when it is not ours."""
        found = []
        identity = _text(_first(self.plan.identity, whole))
        if self.device and identity != self.device:
            raise FrameError("wrong_device")
        if identity and identity != self._identity:
            if self._identity:
                text = f"another device answers: {identity} in place of {self._identity}"
                found.append(Notice("device", text))
            self._identity = identity
            self._forget()
        try:
            boots = as_number(_first(self.plan.restart, whole))
        except FrameError:
            boots = None
        if boots is not None:
            if self._boots is not None and boots < self._boots:
                found.append(
                    Notice("restart", f"the device started again: {boots} in place of {self._boots}")
                )
                self._counted.clear()
            self._boots = boots
        return found

    def _forget(self) -> None:
        """Another device has other totals."""
        self._counted.clear()
        self._fitted.clear()
        self._boots = None

    def _meta(self, whole: Row) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for note in self.plan.notes:
            value = _first(note.paths, whole)
            if note.number:
                try:
                    value = as_number(value)
                except FrameError:
                    value = None
                if value is not None:
                    value = int(value) if value == int(value) else value
            if isinstance(value, str):
                value = value[:LONGEST_NOTE]
            if value is not None and not isinstance(value, list | dict):
                found[note.name] = documents.plain(value)
        return found

    def _values(self, whole: Row, refused: dict[str, FrameError]) -> dict[int, list[float]]:
        """Values by read, one for each row; a read that any row refuses has none."""
        found: dict[int, list[float]] = {}
        spoiled: set[int] = set()
        for row, name in self._rows(whole, refused):
            for index, read in enumerate(self.plan.reads):
                if not all(condition.holds(row) for condition in read.when):
                    continue
                try:
                    value = self._value(index, read, row, name)
                except FrameError as error:
                    refused.setdefault(error.reason, error)
                    spoiled.add(index)
                else:
                    if value is not None:
                        found.setdefault(index, []).append(value)
        return {index: numbers for index, numbers in found.items() if index not in spoiled}

    def _rows(self, whole: Row, refused: dict[str, FrameError]) -> list[tuple[Row, str]]:
        """The rows that are wanted and new, each with its name."""
        about = self.plan.rows
        rows = [whole] if about.path is None else path.walk(whole, about.path.steps)
        if len(rows) > ROWS:
            raise FrameError("too_long")
        found = []
        for row in rows:
            name = _text(about.name.first(row)) if about.name else ""
            if self.name and name != self.name:
                continue
            if about.unique and not self.totals:  # a document that is alone repeats nothing
                key = tuple(_text(each.first(row)) for each in about.unique)
                if not all(key):
                    refused.setdefault("malformed", FrameError("malformed"))
                    continue
                if key in self._seen:
                    refused.setdefault("repeated", FrameError("repeated"))
                    continue
                self._seen[key] = None
                if len(self._seen) > SEEN:
                    self._seen.popitem(last=False)
            found.append((row, name))
        return found

    def _value(self, index: int, read: Read, row: Row, name: str) -> float | None:
        """What a read gives of a row; None when it is optional and was never there."""
        number = read.raw(row)
        if number is None:
            if read.optional and index not in self._fitted:
                return None
            raise FrameError("not_available")
        self._fitted.add(index)
        if read.counter is None:
            return read.scaled(number)
        count = read.count(number)
        if self.totals:
            return read.scaled(number)
        before = self._counted.get((index, name))
        if before is not None or len(self._counted) < SEEN:
            self._counted[index, name] = count
        added = read.counter.added(before, count)
        return read.scaled(type(number)(added))


def _named(payload: dict[str, Any]) -> dict[str, Any]:
    """What paths of a map find under `payload`: its values, and `lines` where it tells lines apart."""
    return {**payload, "lines": milesight.by_line(payload)}


def _first(paths: Sequence[Path], row: Row) -> Any:
    """What the first path that leads somewhere leads to; None where none does, or to several values."""
    for each in paths:
        found = each.find(row)
        if found:
            return found[0] if len(found) == 1 else None
    return None


def _text(value: object) -> str:
    """A text or number of the document as text, for comparing; empty for anything else."""
    return str(value)[:LONGEST_NOTE] if isinstance(value, str | int) and not isinstance(value, bool) else ""
