"""`edgegw sensors scan`: what hangs on this box."""

# ruff: noqa: PLC0415 -- a command imports what it needs when it runs: --help starts at once

import ipaddress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgegw.cli import printing
from edgegw.cli.options import Options
from edgegw.cli.probe import configured
from edgegw.problems import Exit, GatewayError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgegw.config import Config
    from edgegw.ports.errors import PortError


def scan(
    options: Options,
    *,
    bluetooth: Annotated[
        bool, typer.Option("--bluetooth/--no-bluetooth", help="Listen for Bluetooth tags, for 10 s.")
    ] = True,
    modbus: Annotated[bool, typer.Option("--modbus", help="Ask for Modbus devices on free ports.")] = False,
    network: Annotated[
        str,
        typer.Option(
            "--network",
            metavar="CIDR",
            help="Ask these hosts for JSON, as 192.168.4.0/24.",
            show_default=False,
        ),
    ] = "",
) -> Exit:
    """Find what hangs on this box: ports, sound cards, Bluetooth tags, Modbus units, JSON devices.

    Only --modbus and --network send anything, and only requests for data.
    """
    from edgegw.probe.ports import serial_ports
    from edgegw.probe.sound import sound_cards

    settings = configured(options)
    sensors = settings.sensor if settings else {}
    hosts = _hosts(network)
    ports = serial_ports(sensors)
    free = [each.name for each in ports if not each.sensors]
    found: dict[str, Any] = {
        "serial": [each._asdict() for each in ports],
        "sound": [each._asdict() for each in sound_cards(sensors)],
    }
    troubles: dict[str, str] = {}
    if bluetooth:
        found["bluetooth"] = _bluetooth(options, settings, troubles)
    if modbus:
        found["modbus"] = _modbus(options, free, troubles)
    if network:
        found["network"] = _network(options, hosts)
    if options.json:
        printing.document({**found, "troubles": troubles})
        return Exit.DONE
    _show(found)
    for what, text in troubles.items():
        printing.say(options, f"{what}: {text}")
    _say_next(options, found)
    return Exit.DONE


def _hosts(network: str) -> list[str]:
    """The addresses of a network; GatewayError for none, or too many."""
    from edgegw.probe.network import MOST_HOSTS

    if not network:
        return []
    try:
        found = ipaddress.ip_network(network, strict=False)
    except ValueError as error:
        raise GatewayError("EG-USAGE", f"--network {network}: {error}") from None
    if found.num_addresses > MOST_HOSTS:
        raise GatewayError("EG-USAGE", f"--network {network} has more than {MOST_HOSTS} addresses")
    return [str(host) for host in found.hosts()] or [str(found.network_address)]


def _bluetooth(options: Options, settings: "Config | None", troubles: dict[str, str]) -> list[dict[str, Any]]:
    """Tags in earshot, each with the sensors that read it."""
    import asyncio

    from edgegw.ports.errors import PortError
    from edgegw.probe import radio
    from edgegw.probe.progress import timed

    readers: dict[str, list[str]] = {}
    for name, sensor in settings.sensor.items() if settings else ():
        readers.setdefault(str(sensor.options.get("address", "")).upper().replace("-", ":"), []).append(name)

    async def listen() -> list[radio.Heard]:
        with printing.progress(options) as said:
            async with timed(said, "listening for Bluetooth tags", radio.LISTEN_S):
                return await radio.listen(adapter=settings.bluetooth.adapter if settings else "")

    try:
        heard = asyncio.run(listen())
    except PortError as error:
        troubles["bluetooth"] = _said(error)
        return []
    return [{**each.as_dict(), "sensors": readers.get(each.neighbour.address, [])} for each in heard]


def _modbus(options: Options, ports: "Sequence[str]", troubles: dict[str, str]) -> list[dict[str, Any]]:
    import asyncio

    from edgegw.ports.errors import PortError
    from edgegw.probe import modbus
    from edgegw.probe.guess import best_first, devices

    found = []
    for port in ports:
        try:
            with printing.progress(options) as said:
                said(f"asking for Modbus devices on {port}")
                guesses = best_first(asyncio.run(modbus.ask(port, said)))
        except PortError as error:
            troubles[port] = _said(error)
            continue
        found += [{"port": port, **each.as_dict()} for each in devices(guesses)]
    return found


def _network(options: Options, hosts: "Sequence[str]") -> list[dict[str, Any]]:
    import asyncio

    from edgegw.probe import network

    with printing.progress(options) as said:
        return [{"url": url, **guess.as_dict()} for url, guess in asyncio.run(network.sweep(hosts, said))]


def _said(error: "PortError") -> str:
    return f"{error.why} {error.todo}".strip()


def _show(found: dict[str, Any]) -> None:
    """A table for each way on which something was found."""
    printing.table(
        ("port", "what", "sensor"),
        [(each["name"], each["what"], _sensors(each)) for each in found["serial"]],
    )
    printing.table(
        ("sound card", "what", "sensor"),
        [(each["name"], each["what"], _sensors(each)) for each in found["sound"]],
    )
    rows = []
    for each in found.get("bluetooth", ()):
        if each["guesses"]:
            best = each["guesses"][0]
            values = _values(best) or "encrypted: it needs its key"
            rows.append((each["address"], best["driver"], f"{each['rssi']} dBm", _sensors(each), values))
    printing.table(("address", "driver", "signal", "sensor", "values"), rows)
    printing.table(
        ("port", "unit", "driver", "sure", "values"),
        [
            (each["port"], str(each["unit"]), _name(each), each["sure"], _values(each))
            for each in found.get("modbus", ())
        ],
    )
    printing.table(
        ("url", "driver", "sure", "values"),
        [(each["url"], _name(each), each["sure"], _values(each)) for each in found.get("network", ())],
    )


def _sensors(each: dict[str, Any]) -> str:
    return ", ".join(each["sensors"]) or "free"


def _name(guess: dict[str, Any]) -> str:
    return " ".join((guess["driver"], *(str(each) for key, each in guess["options"].items() if key != "url")))


def _values(guess: dict[str, Any]) -> str:
    """A few values, enough to know the device by."""
    most = 4
    shown = [f"{each['quantity']} {printing.number(each['value'])}" for each in guess["readings"]]
    return " ".join(shown[:most]) + (" …" if len(shown) > most else "")


def _say_next(options: Options, found: dict[str, Any]) -> None:
    """The command for the first free thing of each kind."""
    places = [
        next((each["name"] for each in found["serial"] if not each["sensors"]), ""),
        next((each["name"] for each in found["sound"] if not each["sensors"]), ""),
        next((each["address"] for each in found.get("bluetooth", ()) if not each["sensors"]), ""),
        next((each["url"] for each in found.get("network", ())), ""),
    ]
    if not found["serial"]:
        printing.say(
            options, "no serial port: plug an adapter in; `dmesg | tail` says what the kernel thinks of it"
        )
    head = "next:"
    for place in filter(None, places):
        printing.say(options, f"{head} edgegw sensors probe {place}")
        head = "     "
