"""The folder with the public keys of the gateways that may speak: `<gateway>.pem`, read again when it changes.

A file holds one key or several (an old and a new one), as PEM public keys or certificates. What is removed is
refused from the next look on. A file that cannot be used is reported and speaks for no key; the others go on.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from edgegw import keys
from edgegw.problems import GatewayError
from edgegw.receive.notes import Note
from edgegw.wire import cose, log
from edgegw.wire.verify import KeyRing

if TYPE_CHECKING:
    from pathlib import Path


#: Gateways of one receiver: 3 KB of memory each, and a look at all of them takes a tenth of a second.
MAX_GATEWAYS: Final = 20_000
#: Keys of one gateway: the present one, the next one, and a few that signed what is still under way.
MAX_KEYS: Final = 8

_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)
_SUFFIX: Final = ".pem"


class _Seen(NamedTuple):
    """What tells that a file is another one now, and the keys that it held then."""

    mark: tuple[int, int, int]
    keys: tuple[cose.VerifyKey, ...]


class KeyFolder:
    """The keys in `folder`; `ring` is what they were at the last look."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: dict[str, _Seen] = {}
        self._missing = False
        self._first = True
        self.ring = KeyRing({})

    def look(self) -> list[Note]:
        """Read what changed; what there is to say about it. Never raises for what lies in the folder."""
        try:
            with os.scandir(self._folder) as entries:
                files = {e.name: e for e in entries if e.name.endswith(_SUFFIX) and e.name[0] != "."}
        except OSError as error:
            return self._without_folder(error)
        self._missing = False
        notes = []
        if len(files) > MAX_GATEWAYS:
            text = f"{self._folder} holds more than {MAX_GATEWAYS} files: the rest may not speak"
            notes.append(Note("keys", text, {"files": len(files)}, "error"))
        found: dict[str, _Seen] = {}
        for name in sorted(files)[:MAX_GATEWAYS]:
            seen, note = self._file(name, files[name])
            found[name] = seen
            notes += [note] if note else []
        if found != self._seen:
            notes += [self._removed(name) for name in self._seen.keys() - found.keys()]
            self._seen = found
            self.ring = KeyRing({_gateway(name): seen.keys for name, seen in found.items() if seen.keys})
        if self._first:  # one line for all of them instead of one each
            self._first = False
            count = len(self.ring.gateways())
            text = f"{count} gateway{'' if count == 1 else 's'} may speak, as {self._folder} says"
            notes = [note for note in notes if note.level == "error"]
            notes.append(Note("keys", text, {"gateways": count}))
        return notes

    def _file(self, name: str, entry: os.DirEntry[str]) -> tuple[_Seen, Note | None]:
        try:
            status = entry.stat()
            mark = (status.st_mtime_ns, status.st_size, status.st_ino)
        except OSError:
            mark = (0, 0, 0)  # it vanished, or is a link to nothing: reading it will say so
        before = self._seen.get(name)
        if before and before.mark == mark:
            return before, None
        gateway = _gateway(name)
        try:
            if log.gateway_of(log.urn(0, gateway)) is None:
                raise ValueError(f"{gateway!r} is not the id of a gateway")
            held = _read(self._folder / name)
        except (GatewayError, ValueError) as error:
            why = error.why if isinstance(error, GatewayError) else str(error)
            text = f"{self._folder / name} cannot be used, so {gateway} may not speak: {why}"
            return _Seen(mark, ()), Note("keys", text, {"gateway": gateway, "keys": 0}, "error")
        text = f"{gateway} may speak with {len(held)} key{'s' if len(held) > 1 else ''}"
        return _Seen(mark, held), Note("keys", text, {"gateway": gateway, "keys": len(held)})

    def _removed(self, name: str) -> Note:
        gateway = _gateway(name)
        text = f"{gateway} may no longer speak: its keys were removed; what is stored stays valid"
        return Note("keys", text, {"gateway": gateway, "keys": 0}, "warning")

    def _without_folder(self, error: OSError) -> list[Note]:
        if self._missing:
            return []
        self._missing = True
        self._seen, self.ring = {}, KeyRing({})
        why = (error.strerror or str(error)).lower()
        return [Note("keys", f"{self._folder}: {why}: no gateway may speak", {"keys": 0}, "error")]


def _gateway(name: str) -> str:
    return name.removesuffix(_SUFFIX)


def _read(path: Path) -> tuple[cose.VerifyKey, ...]:
    """The keys in a file, at least one; ValueError or GatewayError says why not."""
    data = keys.read_public(path)
    found = []
    for block in _BLOCK.finditer(data):
        if b"PRIVATE" in block[1]:
            raise ValueError("it holds a private key, which is no longer secret; a public one belongs here")
        if block[1] in (b"PUBLIC KEY", b"CERTIFICATE"):
            found.append(cose.verify_key(keys.parse_public(block[0])))
    if not 1 <= len(found) <= MAX_KEYS:
        raise ValueError(
            f"it holds {len(found)} public keys or certificates in PEM; 1 to {MAX_KEYS} are wanted"
        )
    return tuple(found)
