"""The configuration as the rest of the gateway sees it: frozen tables whose fields are named as in TOML.

Durations are seconds, sizes are bytes. Each field stands with its kind, its default as it is written in TOML
and, where it has a limit, the reason for it. A field without a default must be given.
"""

# ruff: noqa: RUF009 -- `setting` and `_table` return dataclass fields, which are made for each class

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from edgegw.config import kinds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgegw.config.kinds import Address, Kind, Multiple, Reference, Server

T = TypeVar("T")

#: Where the configuration lies; relative paths of the defaults start from its directory.
DEFAULT_FILE: Final = Path("/etc/edgegw/edgegw.toml")
#: How often a sensor is read where nothing is said, in seconds.
DEFAULT_INTERVAL: Final = 10.0

ID: Final = "lower-case letters, digits and -, which is neither first nor last"
# MQTT 5 §4.7: no wildcards, no level that is empty, nothing that starts with $ (the broker's own topics).
_PREFIX = r"(?!\$)[^+#/\x00]+(/[^+#/\x00]+)*"


class _Required:
    def __repr__(self) -> str:
        return "REQUIRED"


#: Stands where a key has no default.
REQUIRED: Final = _Required()


def setting(kind: Kind[T], default: object = REQUIRED) -> T:
    """A field of `kind`; `default` as it is written in TOML."""
    about = {"kind": kind, "default": default}
    if default is REQUIRED:
        found: T = field(metadata=about)
        return found
    return field(default=kind.read(default, DEFAULT_FILE.parent), metadata=about)


def _table(model: type[T]) -> T:
    return field(default_factory=model, metadata={"table": model})


@dataclass(frozen=True, kw_only=True)
class Gateway:
    """`[gateway]`: who this is."""

    # It is the CN of a certificate, a level of a topic and a part of a URN at once.
    id: str = setting(kinds.text(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]", f"3 to 63 {ID}"))
    # Private enterprise numbers are below 2^32 (RFC 9371); 32473 is for documentation (RFC 5612).
    pen: int = setting(kinds.whole(0, 2**32 - 1), 32473)
    simulated: bool = setting(kinds.FLAG, False)


@dataclass(frozen=True, kw_only=True)
class Identity:
    """`[identity]`: where keys and certificate lie."""

    tls_cert: Reference = setting(kinds.SECRET, "file:tls.crt")
    tls_key: Reference = setting(kinds.SECRET, "file:tls.key")
    signing_key: Reference = setting(kinds.SECRET, "file:sign.key")


@dataclass(frozen=True, kw_only=True)
class Retry:
    """`uplink.retry`: the ceiling of the wait before an attempt, from the first to the last."""

    min: float = setting(kinds.duration("10ms", "1h"), "1s")
    max: float = setting(kinds.duration("10ms", "1d"), "5m")


@dataclass(frozen=True, kw_only=True)
class Uplink:
    """`[uplink]`: where readings go. After loading `servers` holds every broker, also a single `server`."""

    server: Server | None = setting(kinds.optional(kinds.SERVER), "")
    # Eight brokers at 30 s each are tried within four minutes.
    servers: tuple[Server, ...] = setting(kinds.list_of(kinds.SERVER, 8), [])
    ca: Reference | None = setting(kinds.optional(kinds.FILE), "")
    prefix: str = setting(
        kinds.text(_PREFIX, "levels of a topic, without + and #, not beginning with $"), "edgegw/1"
    )
    # MQTT's keep-alive is 16 bits of seconds; below 2 s an idle link costs more than the readings.
    keepalive: float = setting(kinds.duration("2s", "18h"), "15s")
    # MQTT's Receive Maximum is 16 bits.
    window: int = setting(kinds.whole(1, 65535), 20)
    # One batch of the largest size must fit.
    in_flight: int = setting(kinds.size("256KiB", "1GiB"), "4MiB")
    retry: Retry = _table(Retry)
    receipts: str = setting(kinds.choice("required", "none"), "required")
    # An old and a new key of a few stores; each costs a signature check for each receipt.
    receipt_keys: tuple[Reference, ...] = setting(kinds.list_of(kinds.FILE, 16), [])
    # Below one batch of 240 KiB in four minutes a backlog never drains.
    drain_rate: int | None = setting(kinds.optional(kinds.rate("1KiB/s", "1GiB/s")), "")


@dataclass(frozen=True, kw_only=True)
class Batch:
    """`store.batch`: when a batch is closed."""

    max_readings: int = setting(kinds.whole(1, 1000), 100)  # the wire contract's limit
    # What a power cut can take: an hour of readings is more than anybody wants to lose.
    max_age: float = setting(kinds.duration("1ms", "1h"), "1s")
    # The wire contract's limit above; below, one record with its header would not fit.
    max_bytes: int = setting(kinds.size("4KiB", "240KiB"), "64KiB")


@dataclass(frozen=True, kw_only=True)
class Store:
    """`[store]`: where readings are kept, how many and how long."""

    path: Path = setting(kinds.PATH, "/var/lib/edgegw")
    # SQLite with its log needs a few batches of room to be able to delete at all.
    max_size: int = setting(kinds.size("1MiB", "16TiB"), "2GiB")
    keep_free: int = setting(kinds.size("0B", "16TiB"), "256MiB")
    keep: float = setting(kinds.duration("0s", "3650d"), "7d")
    batch: Batch = _table(Batch)
    when_full: str = setting(kinds.choice("drop-oldest", "stop"), "drop-oldest")
    require_persistent: bool = setting(kinds.FLAG, True)


@dataclass(frozen=True, kw_only=True)
class Clock:
    """`[clock]`: when the time is trusted."""

    max_error: float = setting(kinds.duration("1ms", "1h"), "500ms")
    holdover: float = setting(kinds.duration("0s", "365d"), "48h")


@dataclass(frozen=True, kw_only=True)
class Quality:
    """`[quality]`: defaults of the checks; a sensor may override them."""

    stale_after: float | Multiple = setting(kinds.multiple_or(kinds.duration("100ms", "30d")), "3x")


@dataclass(frozen=True, kw_only=True)
class Log:
    """`[log]`: how much the daemon says, and how. `auto`: journal fields under systemd, else text."""

    level: str = setting(kinds.choice("debug", "info", "warning", "error"), "info")
    format: str = setting(kinds.choice("auto", "text", "json"), "auto")


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """`[metrics]`: a file for node_exporter; None is off."""

    textfile: Path | None = setting(kinds.optional(kinds.PATH), "")


@dataclass(frozen=True, kw_only=True)
class Control:
    """`[control]`: the Unix socket of the daemon."""

    socket: Path = setting(kinds.PATH, "/run/edgegw/control.sock")


@dataclass(frozen=True, kw_only=True)
class Bluetooth:
    """`[bluetooth]`: the radio of the sensors that advertise; "" is the first one.

    `scanning`: `passive` only listens, `active` also asks each device for more, `auto` is passive where BlueZ
    allows it and where that hears the sensors.
    """

    adapter: str = setting(
        kinds.text(r"(hci[0-9]{1,3})?", "a name such as hci0; `bluetoothctl list` shows them"), ""
    )
    scanning: str = setting(kinds.choice("auto", "passive", "active"), "auto")


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """`[endpoint]`: where devices of the local network post their documents; None is off.

    `any_address` allows an address that stands for all of this machine's, 0.0.0.0 or [::].
    """

    listen: Address | None = setting(kinds.optional(kinds.LISTEN), "")
    any_address: bool = setting(kinds.FLAG, False)


@dataclass(frozen=True, kw_only=True)
class Sensor:
    """`[sensor.ID]`: one sensor. `options` are the keys that only its driver knows.

    `interval` is None when every frame is a reading (`"all"`), `average` None when it is off. `stale_after`
    is in seconds, also where it was a multiple of the interval.
    """

    driver: str = setting(kinds.text(r"[a-z0-9][a-z0-9_]{0,62}", "lower-case letters, digits and _"))
    port: Path | None = setting(kinds.optional(kinds.PATH), "")
    host: Address | None = setting(kinds.optional(kinds.ADDRESS), "")
    # Unit 0 is a broadcast, which nobody answers; 248 to 255 are reserved on serial lines, and 255 is usual
    # for a device that has its own TCP address (Modbus application protocol over TCP, guide V1.0b §4.4.2).
    unit: int = setting(kinds.whole(0, 255), 1)
    interval: float | None = setting(kinds.word_or("all", kinds.duration("50ms", "7d")), "10s")
    average: float | None = setting(kinds.optional(kinds.duration("1s", "7d")), "")
    stale_after: float = field(
        default=3 * DEFAULT_INTERVAL,
        metadata={
            "kind": kinds.optional(kinds.multiple_or(kinds.duration("100ms", "30d"))),
            "default": "",  # what [quality] says
        },
    )
    site: str = setting(kinds.text(), "")
    position: tuple[float, ...] = setting(kinds.POSITION, [])
    calibration: str = setting(kinds.text(), "")
    allow_setup: bool = setting(kinds.FLAG, False)
    enabled: bool = setting(kinds.FLAG, True)
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}), metadata={"rest": True})


@dataclass(frozen=True, kw_only=True)
class Receive:
    """`[receive]`: the upstream side, `edgegw receive`."""

    server: Server = setting(kinds.SERVER)
    ca: Reference = setting(kinds.FILE)
    cert: Reference = setting(kinds.SECRET)
    key: Reference = setting(kinds.SECRET)
    keys: Path = setting(kinds.PATH)
    signing_key: Reference = setting(kinds.SECRET)
    store: str = setting(
        kinds.text(r"(sqlite|postgres|postgresql)://.+", "sqlite:///PATH or postgresql://…", limit=4096)
    )
    prefix: str = setting(
        kinds.text(_PREFIX, "levels of a topic, without + and #, not beginning with $"), "edgegw/1"
    )
    accept_simulated: bool = setting(kinds.FLAG, False)


@dataclass(frozen=True, kw_only=True)
class Tables:
    """Every table of the configuration."""

    gateway: Gateway = field(metadata={"table": Gateway})
    identity: Identity = _table(Identity)
    uplink: Uplink = _table(Uplink)
    store: Store = _table(Store)
    clock: Clock = _table(Clock)
    quality: Quality = _table(Quality)
    log: Log = _table(Log)
    metrics: Metrics = _table(Metrics)
    control: Control = _table(Control)
    bluetooth: Bluetooth = _table(Bluetooth)
    endpoint: Endpoint = _table(Endpoint)
    sensor: Mapping[str, Sensor] = field(
        default_factory=lambda: MappingProxyType({}), metadata={"each": Sensor}
    )
    receive: Receive | None = field(default=None, metadata={"table": Receive})


def fields(model: type) -> dict[str, Mapping[str, Any]]:
    """What is known of each key of a table: `kind` and `default`, or `table`, `each`, or `rest`."""
    return {each.name: each.metadata for each in dataclasses.fields(model)}
