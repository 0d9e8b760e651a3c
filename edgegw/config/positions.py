"""On which line of a TOML document each key stands.

`tomllib` gives values without positions, and the libraries that keep positions are made for editing and many
times slower. So one linear scan walks the document beside `tomllib`, which alone judges whether it is valid
TOML: this scan stops in silence at the first thing that it does not know. It runs first and refuses nesting
beyond `MAX_DEPTH`, because `tomllib` needs a minute for 60,000 dots in one key and overruns the stack on
nested brackets. Grammar: TOML 1.0.0, https://toml.io/en/v1.0.0.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from contextlib import suppress

KeyPath = tuple[str | int, ...]

# The deepest key that this configuration has is `sensor.ID.line[0][1]`: 5. Twice that leaves room for drivers.
MAX_DEPTH = 10

_BLANK = re.compile(r"[ \t]*")
_BETWEEN = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"[^,\]}#\r\n]+")
_STRINGS = (
    re.compile(r'"""(?:[^\\]|\\.)*?"""(?:"{0,2})', re.DOTALL),
    re.compile(r"'''.*?'''(?:'{0,2})", re.DOTALL),
    re.compile(r'"(?:[^"\\\n]|\\.)*"'),
    re.compile(r"'[^'\n]*'"),
)


class NestingError(ValueError):
    """A key or value lies deeper than `MAX_DEPTH`; `line` says where."""

    def __init__(self, line: int) -> None:
        super().__init__(f"is nested more than {MAX_DEPTH} levels deep")
        self.line = line


class _StopScan(Exception):  # noqa: N818 -- not an error: the rest of the document is tomllib's to judge
    """The scan met something that is not TOML as it knows it."""


def positions(text: str) -> dict[KeyPath, int]:
    """Line, from 1, of each table and key of `text`; elements of arrays of tables carry their number.

    Plain elements of arrays have no entry of their own. Of a document that is not valid TOML the part before
    the fault is given. Raises NestingError.
    """
    scan = _Scan(text)
    with suppress(_StopScan):  # tomllib says what is wrong there
        scan.document()
    return scan.lines


class _Scan:
    """One pass over a document; `at` is the offset that comes next."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[KeyPath, int] = {}
        self._starts = [0, *(found.end() for found in re.finditer("\n", text))]
        self._elements: dict[KeyPath, int] = {}

    def document(self) -> None:
        """Scan `text` to its end."""
        table: KeyPath = ()
        while True:
            self._skip(_BETWEEN)
            if self.at >= len(self.text):
                return
            if self._take("[["):
                table = self._header("]]", array=True)
            elif self._take("["):
                table = self._header("]", array=False)
            else:
                self._pair(table)

    def _skip(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self.text, self.at)
        if found is None:
            raise _StopScan
        self.at = found.end()
        return found.group()

    def _take(self, word: str) -> bool:
        taken = self.text.startswith(word, self.at)
        self.at += len(word) * taken
        return taken

    def _note(self, path: KeyPath, start: int) -> None:
        line = bisect_right(self._starts, start)
        if len(path) > MAX_DEPTH:
            raise NestingError(line)
        self.lines.setdefault(path, line)

    def _key(self) -> KeyPath:
        parts: list[str] = []
        while True:
            self._skip(_BLANK)
            char = self.text[self.at : self.at + 1]
            if char in ('"', "'"):
                parts.append(self._quoted(_STRINGS[2] if char == '"' else _STRINGS[3]))
            else:
                parts.append(self._skip(_BARE_KEY))
            if len(parts) > MAX_DEPTH:
                raise NestingError(bisect_right(self._starts, self.at))
            self._skip(_BLANK)
            if not self._take("."):
                return tuple(parts)

    def _quoted(self, pattern: re.Pattern[str]) -> str:
        quoted = self._skip(pattern)
        try:
            return str(tomllib.loads(f"k = {quoted}")["k"])
        except tomllib.TOMLDecodeError:
            raise _StopScan from None

    def _header(self, end: str, *, array: bool) -> KeyPath:
        start = self.at
        *parents, last = self._key()
        if not self._take(end):
            raise _StopScan
        path: KeyPath = ()
        for part in parents:
            path += (part,)
            self._note(path, start)
            if path in self._elements:
                path += (self._elements[path],)
        path += (last,)
        self._note(path, start)
        if array:
            self._elements[path] = self._elements.get(path, -1) + 1
        if path in self._elements:
            path += (self._elements[path],)
            self._note(path, start)
        return path

    def _pair(self, table: KeyPath) -> None:
        start = self.at
        key = self._key()
        if not self._take("="):
            raise _StopScan
        for count in range(1, len(key) + 1):
            self._note(table + key[:count], start)
        self._value(table + key)

    def _value(self, path: KeyPath) -> None:
        self._skip(_BLANK)
        start = self.at
        if self._take("["):
            self._array(path)
        elif self._take("{"):
            self._inline(path)
        elif self.text.startswith(('"', "'"), start):
            for pattern in _STRINGS:
                if found := pattern.match(self.text, start):
                    self.at = found.end()
                    return
            raise _StopScan
        else:
            self._skip(_SCALAR)

    def _array(self, path: KeyPath) -> None:
        number = 0
        while True:
            self._skip(_BETWEEN)
            if self._take("]"):
                return
            inner = (*path, number)
            if self.text.startswith(("[", "{"), self.at):
                self._note(inner, self.at)
            self._value(inner)
            number += 1
            self._skip(_BETWEEN)
            if not self._take(",") and not self.text.startswith("]", self.at):
                raise _StopScan

    def _inline(self, path: KeyPath) -> None:
        while True:
            self._skip(_BLANK)
            if self._take("}"):
                return
            self._pair(path)
            self._skip(_BLANK)
            if not self._take(",") and not self.text.startswith("}", self.at):
                raise _StopScan
