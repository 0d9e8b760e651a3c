"""JSON text from a stranger as plain values: bounded, exact, and with one meaning only."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any, Final

from edgegw.driver import FrameError

#: The longest document, in bytes: a Xovis push of a day is below 32 KiB.
DOCUMENT_BYTES: Final = 64 * 1024
#: The deepest nesting; the devices at hand need eight.
DEPTH: Final = 16
# A string with its escapes, or a bracket.
_STRUCTURE: Final = re.compile(rb'"(?:[^"\\]|\\.)*"?|[\[\]{}]', re.DOTALL)


def parse(text: bytes) -> Any:
    """The document; numbers are int or Decimal, NaN and Infinity become None.

    FrameError: `too_long`, `too_deep`, or `malformed` for what is no JSON, no UTF-8 or names a key twice (two
    readers would then see two documents).
    """
    if len(text) > DOCUMENT_BYTES:
        raise FrameError("too_long")
    if _is_deep(text):
        raise FrameError("too_deep")
    try:
        # A byte order mark in front is usual for devices that were programmed on Windows.
        return json.loads(
            text.decode("utf-8-sig"),
            parse_float=Decimal,
            parse_constant=lambda _: None,
            object_pairs_hook=_object,
        )
    except (ValueError, RecursionError, ArithmeticError):
        raise FrameError("malformed") from None


def plain(value: Any) -> Any:
    """`value` with its Decimals as floats, so that `json.dumps` takes it."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _is_deep(text: bytes) -> bool:
    """Whether it nests deeper than DEPTH, without parsing: the parser itself is recursive."""
    depth = 0
    for match in _STRUCTURE.finditer(text):
        if match[0] in b"[{":
            depth += 1
            if depth > DEPTH:
                return True
        elif match[0] in b"]}":
            depth -= 1
    return False
