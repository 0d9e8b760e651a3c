"""What every format gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class Sample(NamedTuple):
    """What one advertisement says: values by quantity, the rest, the sample's number, and where it comes from.

    `number` is None where the format has none. `provenance` are the checks that say how far the sender is proven.
    """

    values: Mapping[str, float]
    meta: Mapping[str, Any]
    number: int | None
    provenance: tuple[str, ...]
