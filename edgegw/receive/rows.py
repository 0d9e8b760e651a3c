"""A record as a row of the upstream store.

| SenML value | `value` | `text` |
| --- | --- | --- |
| v, a number | the number | NULL |
| vs, a text | NULL | the text |
| vb, a boolean | NULL | `true` or `false` |
| vd, bytes | NULL | base64url without padding, as SenML's own JSON form writes them (RFC 8428 §5) |

What a record says beyond its columns, the names of its checks (`qc`) and the fields of an event, becomes one
JSON object. The signed message is kept beside it: a row is a view and proves nothing.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from edgegw.wire.senml import Record

#: log, index, name, time, value, text, quality flag
Row = tuple[int, int, int, float, float | None, str | None, int | None]


class Name(NamedTuple):
    """What the records of one quantity of one sensor have in common; no unit is the empty text."""

    name: str
    unit: str
    sensor: str
    quantity: str


def name_of(record: Record, iss: str) -> Name:
    """The name of a record of the gateway `iss`, `<iss>:<sensor>:<quantity>`, taken apart."""
    sensor, _, quantity = record.name[len(iss) + 1 :].rpartition(":")
    return Name(record.name, record.unit or "", sensor, quantity)


def rows(
    log: int, first: int, records: Sequence[Record], ids: Mapping[tuple[str, str | None], int]
) -> list[Row]:
    """A row for each record; `first` is the index of the first one, `ids` has each name and unit.

    Numbers become floats: whole ones of the wire are below 2^53, so none changes.
    """
    found: list[Row] = []
    for idx, (name, unit, value, t, q, _, _) in enumerate(records, first):
        if type(value) is float or type(value) is int:
            found.append((log, idx, ids[name, unit], t, float(value), None, q))
        else:
            found.append((log, idx, ids[name, unit], t, None, _text(value), q))
    return found


def details(log: int, first: int, records: Sequence[Record]) -> Iterator[tuple[int, int, str]]:
    """Log, index and JSON object of each record that says more than fits its columns."""
    for idx, record in enumerate(records, first):
        if record.checks or record.extra:
            fields = dict(record.extra or {})
            if record.checks:
                fields["qc"] = list(record.checks)
            yield log, idx, json.dumps(_plain(fields), ensure_ascii=False)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return _base64(value) if isinstance(value, bytes) else str(value)


def _base64(value: bytes) -> str:
    return urlsafe_b64encode(value).rstrip(b"=").decode()


def _plain(value: Any) -> Any:
    """A decoded CBOR value (depth ≤ 8, no tags) in the types of JSON."""
    if isinstance(value, bytes):
        return _base64(value)
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return value
