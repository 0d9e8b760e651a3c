"""Rules between keys: what no single key can know.

Each rule looks at the tables and notes mistakes (the daemon will not start so) or notes (it will, but somebody
should know; `edgegw check --strict` refuses them).
"""

from __future__ import annotations

import dataclasses
import os
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from edgegw import registry
from edgegw.config.documents import check_document
from edgegw.config.kinds import SECRET, Multiple, suggest
from edgegw.config.models import DEFAULT_INTERVAL, Quality, Sensor, Uplink, fields
from edgegw.config.units import show_seconds
from edgegw.driver import AskDriver, MessageDriver, PollDriver, StreamDriver
from edgegw.registry import BrokenDriverError, DriverError, OptionsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from edgegw.config.models import Endpoint
    from edgegw.config.sources import Tree
    from edgegw.driver import Driver

# sun_path of unix(7) has 108 bytes, the last one zero.
MAX_SOCKET_PATH = 107

# What to write where neither port nor host stands: for a serial device, for a Modbus device.
_MISSING_WIRE = (
    'needs port = "/dev/serial/by-id/…": {} is on a serial line (or host = "10.0.0.5:4001" behind a serial server)',
    'needs port = "/dev/serial/by-id/…" (RTU) or host = "10.0.0.5:502" (TCP)',
)

Note = tuple[tuple[str, ...], str]


def settle_uplink(tree: Tree, uplink: Uplink) -> tuple[Uplink, list[Note]]:
    """`uplink` with `servers` holding every broker; mistakes go to the tree, notes are returned."""
    if not tree.clean("uplink"):
        return uplink, []
    if uplink.server is not None and uplink.servers:
        tree.mistake(("uplink", "servers"), "stands beside server; write one of the two")
    servers = uplink.servers or ((uplink.server,) if uplink.server is not None else ())
    uplink = dataclasses.replace(uplink, servers=servers, server=servers[0] if servers else None)
    if uplink.retry.min > uplink.retry.max:
        tree.mistake(("uplink", "retry"), "has a min that is longer than its max")
    if not servers:
        return uplink, [(("uplink",), "no server: readings are stored here and sent nowhere")]
    if uplink.ca is None:
        tree.mistake(
            ("uplink", "ca"), 'is missing: the CA of the broker, "file:ca.crt"; no other CA is trusted'
        )
    if uplink.receipts == "none":
        return uplink, [
            (("uplink", "receipts"), "none: a PUBACK frees a batch; a broker that is killed then has lost it")
        ]
    if not uplink.receipt_keys:
        tree.mistake(
            ("uplink", "receipt_keys"),
            'is missing: the public key of the upstream store, ["file:city.pub"]; '
            'without one no batch can ever be freed (or say receipts = "none")',
        )
    return uplink, []


def check_store(tree: Tree, values: Mapping[str, Any]) -> list[Note]:
    """Rules of `[store]`, `[control]`, `[metrics]`, `[gateway]` and `[receive]`."""
    store, socket, textfile = values["store"], values["control"].socket, values["metrics"].textfile
    if tree.clean("store") and store.max_size < 8 * store.batch.max_bytes:
        tree.mistake(("store", "max_size"), "must hold at least eight batches of batch.max_bytes")
    if len(os.fsencode(socket)) > MAX_SOCKET_PATH:
        tree.mistake(
            ("control", "socket"), f"is longer than {MAX_SOCKET_PATH} bytes, the limit for a Unix socket"
        )
    if textfile is not None and textfile.suffix != ".prom":
        tree.mistake(("metrics", "textfile"), "must end in .prom, or node_exporter does not read it")
    receive = values.get("receive")
    if (
        receive is not None
        and "@" in receive.store
        and ":" in receive.store.partition("://")[2].partition("@")[0]
    ):
        tree.mistake(
            ("receive", "store"), "holds a password; put it into ~/.pgpass (mode 0600) and take it out here"
        )
    gateway = values.get("gateway")
    if gateway is not None and gateway.simulated:
        return [(("gateway", "simulated"), "readings are marked as simulated")]
    return []


def settle_sensors(
    tree: Tree,
    sensors: Mapping[str, Sensor],
    quality: Quality,
    make: Callable[[str, Mapping[str, Any]], Driver],
    *,
    strict: bool = False,
    endpoint: Endpoint | None = None,
) -> tuple[dict[str, Sensor], list[Note]]:
    """The sensors with `stale_after` in seconds; their options, wires and shared ports checked.

    `make(driver, options)` gives the driver, or raises DriverError or OptionsError as the registry does. A broken
    driver package is a note; when `strict`, a mistake. `endpoint` is None where it is not known.
    """
    settled = {
        name: _with_references(tree, name, _with_silence(sensor, quality)) for name, sensor in sensors.items()
    }
    notes: list[Note] = []
    drivers: dict[str, Driver] = {}
    for name, sensor in settled.items():
        if not tree.clean("sensor", name, "driver"):
            continue
        driver = _make(tree, name, sensor, make, None if strict else notes)
        if driver is not None:
            drivers[name] = driver
            if all(
                tree.clean("sensor", name, key) for key in ("port", "host", "unit", "interval", "average")
            ):
                notes += _check_wire(tree, name, sensor, driver)
                if isinstance(driver, MessageDriver):
                    notes += check_document(tree, name, driver, endpoint)
    _check_ports(tree, {name: settled[name] for name in drivers if settled[name].enabled}, drivers)
    return settled, notes


def _with_silence(sensor: Sensor, quality: Quality) -> Sensor:
    own: Any = sensor.stale_after  # as read: seconds, a multiple, or None for what [quality] says
    asked = quality.stale_after if own is None else own
    if isinstance(asked, Multiple):
        # A mean appears once in its own window; "all" has no interval, a talker's usual one stands in for it.
        asked = asked.factor * max(sensor.interval or DEFAULT_INTERVAL, sensor.average or 0.0)
    return dataclasses.replace(sensor, stale_after=float(asked))


def _with_references(tree: Tree, name: str, sensor: Sensor) -> Sensor:
    """The sensor with references and paths among its options that hold everywhere; a pasted secret is taken out."""
    options = dict(sensor.options)
    for key, prefix in registry.paths(sensor.driver).items() if options else ():
        given = options.get(key)
        if isinstance(given, str) and given.startswith(prefix):
            base = tree.origin(("sensor", name, key)).base
            options[key] = f"{prefix}{base / given.removeprefix(prefix)}"
    for key in registry.secrets(sensor.driver) & options.keys():
        where = ("sensor", name, key)
        try:
            options[key] = str(SECRET.read(options[key], tree.origin(where).base))
        except ValueError as fault:
            tree.mistake(where, str(fault))
            del options[key]  # so that nothing can print it
    return dataclasses.replace(sensor, options=MappingProxyType(options))


def _make(
    tree: Tree,
    name: str,
    sensor: Sensor,
    make: Callable[[str, Mapping[str, Any]], Driver],
    notes: list[Note] | None,
) -> Driver | None:
    where = ("sensor", name, "driver")
    try:
        driver = make(sensor.driver, sensor.options)
        # What it would fail with at its first poll is a mistake of the configuration, and said now.
        return None if isinstance(driver, PollDriver) and not _polls(tree, name, driver) else driver
    except DriverError as fault:
        if notes is not None and isinstance(fault, BrokenDriverError):
            notes.append((where, str(fault)))
        else:
            tree.mistake(where, str(fault))
    except OptionsError as fault:
        for path, text in fault.mistakes:
            tree.mistake(("sensor", name, *path), _or_common(path, text))
    return None


def _polls(tree: Tree, name: str, driver: PollDriver) -> bool:
    """Whether a polled driver knows what it asks and on which line."""
    try:
        driver.blocks()
        driver.lines()
        return True
    except ValueError as fault:
        key, colon, sentence = str(fault).partition(": ")
        if not (colon and key.isidentifier()):
            key, sentence = "driver", str(fault)
        tree.mistake(("sensor", name, key), sentence)
        return False


def _or_common(path: tuple[str | int, ...], text: str) -> str:
    """The registry's words; for an unknown option that resembles a key of every sensor, that key instead."""
    if text.startswith("unknown option") and "did you mean" not in text:
        near = suggest(str(path[0]), list(fields(Sensor)))
        return f"unknown option{near}" if near else text
    return text


def _check_wire(tree: Tree, name: str, sensor: Sensor, driver: Driver) -> list[Note]:
    """A sensor has the wire that its driver speaks on."""
    here = ("sensor", name)
    if sensor.port is not None and sensor.host is not None:
        tree.mistake((*here, "host"), "stands beside port; a sensor has one of the two")
    elif not isinstance(driver, StreamDriver | AskDriver | PollDriver):
        for key in ("port", "host"):
            if getattr(sensor, key) is not None:
                tree.mistake((*here, key), f"has no meaning for {sensor.driver}, which is on no such wire")
    elif sensor.port is None and sensor.host is None:
        tree.mistake(here, _MISSING_WIRE[isinstance(driver, PollDriver)].format(sensor.driver))
    elif sensor.host is not None and not isinstance(driver, PollDriver) and not _names_port(tree, name):
        # Only Modbus TCP has a usual port: any other one would be a guess, and 502 the wrong one.
        tree.mistake(
            (*here, "host"),
            f'needs its port number: host = "{sensor.host._replace(port=4001)}", as the device is set to',
        )
    # Beyond 247 addresses are reserved (Serial Line, section 2.2), and a few makers use one all the same.
    if (
        isinstance(driver, PollDriver)
        and sensor.port is not None
        and not 1 <= sensor.unit <= 247
        and sensor.unit not in driver.units
    ):
        tree.mistake((*here, "unit"), "must be from 1 to 247 on a serial line")
    if sensor.average is not None and sensor.interval is not None and sensor.average < 2 * sensor.interval:
        tree.mistake(
            (*here, "average"), f"must be at least twice the interval of {show_seconds(sensor.interval)}"
        )
    if sensor.port is not None and str(sensor.port).startswith("/dev/ttyUSB"):
        return [
            (
                (*here, "port"),
                "/dev/ttyUSB… changes when adapters are plugged in another order; use /dev/serial/by-id/…",
            )
        ]
    return []


def _names_port(tree: Tree, name: str) -> bool:
    """Whether the host of a sensor was written with its port; an IPv6 address stands in brackets."""
    return ":" in str(tree.values["sensor"][name]["host"]).rpartition("]")[2]


def _check_ports(tree: Tree, sensors: Mapping[str, Sensor], drivers: Mapping[str, Driver]) -> None:
    """A serial port serves one device, or several Modbus units with one line setting; so does a host."""
    owners: dict[str, list[str]] = {}
    for name, sensor in sensors.items():
        if sensor.port is not None:
            owners.setdefault(_device(sensor.port), []).append(name)
        if sensor.host is not None:
            owners.setdefault(str(sensor.host), []).append(name)
    for names in owners.values():
        first, *others = names
        for name in others:
            _check_shared(tree, first, name, "port" if sensors[name].port is not None else "host", drivers)


def _device(port: Path) -> str:
    """The device behind a port: two names of one adapter are one port."""
    return os.path.realpath(port)


def _check_shared(tree: Tree, first: str, name: str, key: str, drivers: Mapping[str, Driver]) -> None:
    here = ("sensor", name, key)
    place = tree.origin(("sensor", first, key))
    ours, theirs = drivers[name], drivers[first]
    if not isinstance(ours, PollDriver) or not isinstance(theirs, PollDriver):
        tree.mistake(here, f"is the {key} of sensor {first} too ({place}); only Modbus sensors can share one")
    elif key == "port" and not set(ours.lines()) & set(theirs.lines()):
        tree.mistake(here, f"is shared with sensor {first} ({place}), which has other line settings")
