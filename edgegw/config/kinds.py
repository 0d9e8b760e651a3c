"""What a value in the configuration may be: one `Kind` for each, which reads it or says what is wanted.

A kind reads the plain TOML value and raises ValueError with the end of a sentence whose start is the key
("must be …", "has no unit; …"). Values of secrets are never part of a sentence.
"""

# ruff: noqa: TRY004 -- every mistake is a ValueError, whatever the type of the value was

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from edgegw.config import units

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

T = TypeVar("T")

#: MQTT over TLS, registered with IANA as secure-mqtt.
MQTTS_PORT = 8883
#: Modbus TCP, registered with IANA as mbap.
MODBUS_PORT = 502
# Longest text value: a line on a terminal twice over; names, sites and addresses are far shorter.
MAX_TEXT = 200
# Linux PATH_MAX.
MAX_PATH = 4096
# A host name: RFC 1123 labels, or an IPv4 address; an IPv6 address stands in brackets.
_HOST = re.compile(
    r"(?=.{1,253}\Z)[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*"
)
_IPV6 = re.compile(r"[0-9A-Fa-f:.]{2,45}(%[A-Za-z0-9_.-]{1,15})?")


@dataclass(frozen=True)
class Kind(Generic[T]):
    """One sort of value. `read(raw, base)` gives it; `base` is the directory that relative paths start from.

    `textual` kinds take the text of an environment variable as it stands; the others take it as TOML.
    """

    read: Callable[[Any, Path], T]
    textual: bool = True


class Address(NamedTuple):
    """A host and a TCP port; an IPv6 address is written in brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Server(NamedTuple):
    """A broker that is spoken to with MQTT over TLS."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"mqtts://{Address(self.host, self.port)}"


class Multiple(NamedTuple):
    """A duration given as a multiple of the sensor's interval."""

    factor: float

    def __str__(self) -> str:
        return f"{self.factor:g}x"


@dataclass(frozen=True)
class Reference:
    """Where a secret or a certificate lies, never what it is.

    `scheme` is `file` (then `target` is an absolute path) or `cred` (then `target` is the name of a systemd
    credential, found in the directory that `$CREDENTIALS_DIRECTORY` names).
    """

    scheme: str
    target: str

    def __str__(self) -> str:
        return f"{self.scheme}:{self.target}"

    def path(self, env: Mapping[str, str]) -> Path:
        """The file behind the reference; LookupError for a credential when systemd gave no directory."""
        if self.scheme == "file":
            return Path(self.target)
        directory = env.get("CREDENTIALS_DIRECTORY", "")
        if not directory:
            raise LookupError(
                f"{self} is a systemd credential, and $CREDENTIALS_DIRECTORY is not set: "
                "only a unit with LoadCredential= has it"
            )
        return Path(directory) / self.target


def suggest(word: str, known: Sequence[str]) -> str:
    """`; did you mean 'x'?` for the nearest of the known words, or the empty string."""
    near = get_close_matches(word, known, n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


def _text(raw: object, limit: int = MAX_TEXT) -> str:
    if not isinstance(raw, str):
        raise ValueError(f"must be a text in quotes, not {_what(raw)}")
    if len(raw) > limit:
        raise ValueError(f"is longer than {limit} characters")
    if not raw.isprintable():
        raise ValueError("holds a control character")
    return raw


def _what(raw: object) -> str:
    names = {bool: "true or false", int: "a number", float: "a number", dict: "a table", list: "a list"}
    return names.get(type(raw), "a date") if not isinstance(raw, str) else "a text"


def text(pattern: str = "", wanted: str = "", limit: int = MAX_TEXT) -> Kind[str]:
    """A printable text of at most `limit` characters; one that matches `pattern`, which `wanted` says in words."""
    compiled = re.compile(pattern) if pattern else None

    def read(raw: object, base: Path) -> str:
        del base
        found = _text(raw, limit)
        if compiled is not None and compiled.fullmatch(found) is None:
            raise ValueError(f"is {found!r}, but must be {wanted}")
        return found

    return Kind(read)


def choice(*words: str) -> Kind[str]:
    """One of a few words."""

    def read(raw: object, base: Path) -> str:
        del base
        found = _text(raw)
        if found not in words:
            raise ValueError(f"is {found!r}, but must be one of: {', '.join(words)}{suggest(found, words)}")
        return found

    return Kind(read)


def whole(low: int, high: int) -> Kind[int]:
    """A whole number from `low` to `high`."""

    def read(raw: object, base: Path) -> int:
        del base
        if not isinstance(raw, int) or isinstance(raw, bool):
            raise ValueError(f"must be a whole number, not {_what(raw)}")
        if not low <= raw <= high:
            raise ValueError(f"must be from {low} to {high}")
        return raw

    return Kind(read, textual=False)


def _flag(raw: object, base: Path) -> bool:
    del base
    if not isinstance(raw, bool):
        raise ValueError(f"must be true or false without quotes, not {_what(raw)}")
    return raw


#: `true` or `false`.
FLAG = Kind(_flag, textual=False)


def _in_unit(raw: object, example: str) -> str:
    if isinstance(raw, (int, float)) and not isinstance(raw, bool):
        raise ValueError(f"has no unit; write {example}")
    return _text(raw)


def duration(low: str, high: str) -> Kind[float]:
    """A duration in seconds from `low` to `high`, which are written as in the configuration."""
    least, most = units.seconds(low), units.seconds(high)

    def read(raw: object, base: Path) -> float:
        del base
        found = units.seconds(_in_unit(raw, '"10s", "500ms", "5m", "2h" or "7d"'))
        if not least <= found <= most:
            raise ValueError(f"must be from {low} to {high}")
        return found

    return Kind(read)


def size(low: str, high: str) -> Kind[int]:
    """A number of bytes from `low` to `high`."""
    least, most = units.size(low), units.size(high)

    def read(raw: object, base: Path) -> int:
        del base
        found = units.size(_in_unit(raw, '"64KiB", "256MiB" or "2GiB"'))
        if not least <= found <= most:
            raise ValueError(f"must be from {low} to {high}")
        return found

    return Kind(read)


def rate(low: str, high: str) -> Kind[int]:
    """Bytes per second from `low` to `high`."""
    least, most = units.rate(low), units.rate(high)

    def read(raw: object, base: Path) -> int:
        del base
        found = units.rate(_in_unit(raw, '"64KiB/s"'))
        if not least <= found <= most:
            raise ValueError(f"must be from {low} to {high}")
        return found

    return Kind(read)


def optional(kind: Kind[T]) -> Kind[T | None]:
    """`kind`, or the empty text for None: off."""

    def read(raw: object, base: Path) -> T | None:
        return None if raw == "" else kind.read(raw, base)

    return Kind(read, kind.textual)


def word_or(word: str, kind: Kind[T]) -> Kind[T | None]:
    """`kind`, or one word that stands for None."""

    def read(raw: object, base: Path) -> T | None:
        return None if raw == word else kind.read(raw, base)

    return Kind(read, kind.textual)


def multiple_or(kind: Kind[float]) -> Kind[float | Multiple]:
    """`kind`, or a multiple of the sensor's interval such as `3x`, from 1 to 1000."""

    def read(raw: object, base: Path) -> float | Multiple:
        if isinstance(raw, str) and (found := re.fullmatch(r"(\d{1,4}(?:\.\d{1,3})?)\s*x", raw, re.ASCII)):
            factor = float(found[1])
            if not 1 <= factor <= 1000:
                raise ValueError('must be from "1x" to "1000x"')
            return Multiple(factor)
        return kind.read(raw, base)

    return Kind(read)


def list_of(kind: Kind[T], most: int) -> Kind[tuple[T, ...]]:
    """A list of at most `most` values of one kind."""

    def read(raw: object, base: Path) -> tuple[T, ...]:
        if not isinstance(raw, list):
            raise ValueError(f"must be a list in brackets, not {_what(raw)}")
        if len(raw) > most:
            raise ValueError(f"has more than {most} elements")
        found: list[T] = []
        for number, element in enumerate(raw, 1):
            try:
                found.append(kind.read(element, base))
            except ValueError as fault:
                raise ValueError(f"element {number} {fault}") from None
        return tuple(found)

    return Kind(read, textual=False)


def _path(raw: object, base: Path) -> Path:
    found = _text(raw, MAX_PATH)
    if not found:
        raise ValueError("is empty; name a file or directory")
    return base / found


#: A path; a relative one starts from the directory of the file that names it.
PATH = Kind(_path)


def _reference(raw: object, base: Path, schemes: tuple[str, ...]) -> Reference:
    forms = " or ".join({"file": '"file:PATH"', "cred": '"cred:NAME"'}[scheme] for scheme in schemes)
    if not isinstance(raw, str):
        raise ValueError(f"must be {forms}, not {_what(raw)}")
    scheme, colon, target = raw.partition(":")
    if not colon or scheme not in schemes or not target or len(raw) > MAX_PATH or not raw.isprintable():
        raise ValueError(f"must be a reference, {forms}; what stands there is not shown, it may be a secret")
    if scheme == "file":
        return Reference("file", str(base / target))
    # A name without a slash cannot leave the directory of credentials (systemd.exec(5), LoadCredential=).
    if "/" in target or target in (".", ".."):
        raise ValueError("must name a credential without a slash")
    return Reference("cred", target)


#: A secret: `file:PATH` or `cred:NAME`.
SECRET: Kind[Reference] = Kind(lambda raw, base: _reference(raw, base, ("file", "cred")))
#: Something public that is still a file: `file:PATH`.
FILE: Kind[Reference] = Kind(lambda raw, base: _reference(raw, base, ("file",)))


def _host_and_port(raw: str, default_port: int) -> tuple[str, int]:
    host, port = raw, str(default_port)
    if raw.startswith("["):
        host, _, rest = raw[1:].partition("]")
        port = rest[1:] if rest.startswith(":") else port if not rest else ""
        good = _IPV6.fullmatch(host) is not None
    else:
        if ":" in raw:
            host, _, port = raw.rpartition(":")
        good = _HOST.fullmatch(host) is not None
    if not good:
        raise ValueError("is not HOST:PORT; an IPv6 address stands in brackets: [2001:db8::1]:8883")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65535):
        raise ValueError("has a port that is not a number from 1 to 65535")
    return host, int(port)


def _server(raw: object, base: Path) -> Server:
    del base
    found = _text(raw, 300)
    scheme, separator, rest = found.partition("://")
    if separator and scheme in ("mqtt", "tcp", "ws", "http"):
        raise ValueError(f"is {scheme}://, which is not encrypted; only mqtts:// is spoken")
    if not separator or scheme not in ("mqtts", "ssl", "tls"):
        raise ValueError('must look like "mqtts://broker.example:8883"')
    if scheme != "mqtts":
        raise ValueError(f"is {scheme}://; write mqtts://")
    if "@" in rest:
        raise ValueError("holds a name or password; the client certificate says who this gateway is")
    return Server(*_host_and_port(rest.removesuffix("/"), MQTTS_PORT))


#: A broker: `mqtts://HOST[:PORT]`.
SERVER = Kind(_server)

#: A Modbus TCP device: `HOST[:PORT]`.
ADDRESS: Kind[Address] = Kind(lambda raw, _base: Address(*_host_and_port(_text(raw, 300), MODBUS_PORT)))


def _listen(raw: object, base: Path) -> Address:
    del base
    found = Address(*_host_and_port(_text(raw, 300), 0))
    try:
        ipaddress.ip_address(found.host.partition("%")[0])
    except ValueError:
        raise ValueError(
            "must be an address of this machine and a port, 192.168.4.1:8080; a name could come to mean another"
        ) from None
    return found


#: Where something listens: `ADDRESS:PORT`.
LISTEN: Kind[Address] = Kind(_listen)


def _position(raw: object, base: Path) -> tuple[float, ...]:
    del base
    if not isinstance(raw, list) or len(raw) not in (0, 3):
        raise ValueError("must be [latitude, longitude, height in metres]")
    bounds = (("latitude", -90, 90), ("longitude", -180, 180), ("height", -500, 9000))
    for number, (name, low, high) in zip(raw, bounds, strict=False):
        if isinstance(number, bool) or not isinstance(number, (int, float)) or not low <= number <= high:
            raise ValueError(f"has a {name} that is not a number from {low} to {high}")
    return tuple(float(number) for number in raw)


#: Latitude and longitude in degrees (WGS 84), height in metres; empty when it is not given.
POSITION = Kind(_position, textual=False)
