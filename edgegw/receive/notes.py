"""What the receiver says: one line for each thing worth knowing, for a person or for a script."""

from __future__ import annotations

import json
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from edgegw.problems import printable

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping
    from typing import TextIO

# Keys that are remembered with the time they were said: a few reasons for each of a thousand gateways.
MAX_KEYS: Final = 4096


class Note(NamedTuple):
    """One thing to say: `type` is a word that stays, `text` a sentence, `fields` what a script wants of it."""

    type: str
    text: str
    fields: Mapping[str, Any]
    level: str = "info"


class Voice:
    """Says notes: JSON lines on `data`, or, without `as_json`, sentences on `talk`."""

    def __init__(self, data: TextIO, talk: TextIO, *, as_json: bool) -> None:
        self._json = as_json
        self._stream = data if as_json else talk

    def say(self, note: Note) -> None:
        """One line, at once; whoever reads it may have gone, which does not stop the receiver."""
        if self._json:
            line = json.dumps({"type": note.type, "level": note.level, "text": note.text, **note.fields})
        else:
            line = printable(f"{note.level}: {note.text}".replace("\n", " "))
        try:
            print(line, file=self._stream, flush=True)
        except (BrokenPipeError, ValueError):  # ValueError: the stream is closed
            self._stream = _NOWHERE


class _Nowhere:
    """A stream that forgets."""

    def write(self, _text: str) -> None:
        """Forget it."""

    def flush(self) -> None:
        """Nothing waits."""


_NOWHERE: Any = _Nowhere()


class Seldom:
    """Lets each thing be said once in `period_s` seconds, and counts how often it happened in between.

    Memory is bounded by MAX_KEYS: of the keys beyond that, those that were said longest ago are forgotten.
    """

    def __init__(self, period_s: float) -> None:
        self._period = period_s
        self._said: OrderedDict[Hashable, tuple[float, int]] = OrderedDict()

    def happened(self, key: Hashable, now: float, times: int = 1) -> int:
        """How often it happened since it was said last, when it is to be said now; else 0."""
        said, count = self._said.get(key, (now - self._period, 0))
        if now - said < self._period:
            self._said[key] = (said, count + times)
            return 0
        self._said[key] = (now, 0)
        self._said.move_to_end(key)
        if len(self._said) > MAX_KEYS:
            self._said.popitem(last=False)
        return count + times
