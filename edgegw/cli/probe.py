"""`edgegw sensors scan` and `sensors probe`: what hangs on this box, and which driver reads it."""

# ruff: noqa: PLC0415 -- a command imports what it needs when it runs: --help starts at once

import ipaddress
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgegw.cli import printing
from edgegw.cli.options import Options
from edgegw.problems import Exit, GatewayError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgegw.config import Config
    from edgegw.ports.errors import PortError
    from edgegw.probe.find import Target
    from edgegw.probe.guess import Guess


def scan(
    options: Options,
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
    """Find what hangs on this box: ports, Modbus units, Bluetooth tags, JSON devices.

    Only --modbus and --network send anything, and only requests for data.
    """
    from edgegw.probe.ports import serial_ports

    settings = _settings(options)
    hosts = _hosts(network)
    ports = serial_ports(settings.sensor if settings else {})
    found: dict[str, Any] = {"serial": [each._asdict() for each in ports]}
    troubles: dict[str, str] = {}
    if bluetooth:
        found["bluetooth"] = _bluetooth(options, troubles)
    if modbus:
        found["modbus"] = _modbus(options, [each.name for each in ports if not each.sensors], troubles)
    if network:
        found["network"] = _network(options, hosts)
    if options.json:
        printing.document({**found, "troubles": troubles})
    else:
        _show_found(found)
        for what, text in troubles.items():
            printing.say(options, f"{what}: {text}")
    free = [each.name for each in ports if not each.sensors]
    if free:
        printing.say(options, f"next: edgegw sensors probe {free[0]}")
    elif not ports:
        printing.say(
            options, "no serial port: plug an adapter in; `dmesg | tail` says what the kernel thinks of it"
        )
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


def _bluetooth(options: Options, troubles: dict[str, str]) -> list[dict[str, Any]]:
    import asyncio

    from edgegw.ports.errors import PortError
    from edgegw.probe import radio

    printing.say(options, f"listening for Bluetooth tags, {radio.LISTEN_S:.0f} s …")
    try:
        return [each.as_dict() for each in asyncio.run(radio.listen())]
    except PortError as error:
        troubles["bluetooth"] = _said(error)
        return []


def _modbus(options: Options, ports: "Sequence[str]", troubles: dict[str, str]) -> list[dict[str, Any]]:
    import asyncio

    from edgegw.ports.errors import PortError
    from edgegw.probe import modbus

    found = []
    for port in ports:
        printing.say(options, f"asking for Modbus devices on {port} …")
        try:
            found += [
                {"port": port, **each.as_dict()} for each in asyncio.run(modbus.ask(port, lambda _: None))
            ]
        except PortError as error:
            troubles[port] = _said(error)
    return found


def _network(options: Options, hosts: "Sequence[str]") -> list[dict[str, Any]]:
    import asyncio

    from edgegw.probe import network

    printing.say(options, f"asking {printing.of(len(hosts), 'host', 'hosts')} …")
    said = _teller(options)
    return [{"url": url, **guess.as_dict()} for url, guess in asyncio.run(network.sweep(hosts, said))]


def _said(error: "PortError") -> str:
    return f"{error.why} {error.todo}".strip()


def _teller(options: Options) -> Callable[[str], None]:
    """Tells what is being tried, each thing once; on a terminal in one line."""
    last = ""

    def tell(text: str) -> None:
        nonlocal last
        if text != last:
            last = text
            printing.step(options, f"{text} …")

    return tell


def _show_found(found: dict[str, Any]) -> None:
    printing.table(
        ("port", "what", "sensor"),
        [(each["name"], each["what"], ", ".join(each["sensors"]) or "free") for each in found["serial"]],
    )
    for kind, place in (("bluetooth", "address"), ("modbus", "port"), ("network", "url")):
        rows = []
        for each in found.get(kind, ()):
            best = (each["guesses"] or [None])[0] if kind == "bluetooth" else each
            if best is not None:
                rows.append((str(each[place]), _name(best), best["sure"], _values(best)))
        printing.table((place, "driver", "sure", "values"), rows)


def _name(guess: dict[str, Any]) -> str:
    unit = f" unit={guess['unit']}" if guess["unit"] is not None else ""
    keys = (f"{key}={value}" for key, value in guess["options"].items() if key not in {"address", "url"})
    return " ".join((guess["driver"], *keys)) + unit


def _values(guess: dict[str, Any]) -> str:
    return " ".join(f"{each['quantity']} {printing.number(each['value'])}" for each in guess["readings"])


def _settings(options: Options) -> "Config | None":
    """The configuration; None when there is none yet, as on a new box."""
    from edgegw import config

    try:
        return config.load(options.config or config.DEFAULT_FILE)
    except GatewayError as error:
        if options.config is None and error.code == "EG-CONFIG-MISSING":
            return None
        raise


def probe(
    options: Options,
    where: Annotated[
        str,
        typer.Argument(
            metavar="PORT",
            help="A serial port; or HOST:PORT (Modbus TCP), http://HOST, a Bluetooth address.",
            show_default=False,
        ),
    ],
    ask: Annotated[
        bool, typer.Option("--ask/--listen", help="Ask devices for data too, or only listen.")
    ] = True,
    driver: Annotated[
        str, typer.Option("--driver", metavar="D", help="Try only this driver.", show_default=False)
    ] = "",
    write: Annotated[
        str,
        typer.Option(
            "--write", metavar="ID", help="Write a drop-in for a sensor of this id.", show_default=False
        ),
    ] = "",
) -> Exit:
    """Guess which device is there, with its driver and line settings.

    On a serial port it listens first, then asks for data as each driver does. Nothing is changed in a device.
    """
    from edgegw.probe.find import find, target

    settings = _settings(options)
    _refuse_unknown(driver)
    wanted = target(where)
    _refuse_used(settings, wanted)
    found = find(wanted, _teller(options), ask=ask, only=driver)
    if not found:
        raise GatewayError(
            "EG-SENSOR-NO-ANSWER",
            f"no driver recognises what is on {where}",
            todo=(
                "check power, and that RX and TX (or A and B) are not swapped",
                "edgegw drivers list: is there a driver for the device?",
            ),
        )
    if options.json:
        printing.document([each.as_dict() for each in found])
    else:
        _show(found)
    if write:
        _write(options, settings, write, wanted.keys, found[0])
    else:
        printing.say(options, f"next: edgegw sensors probe {where} --write ID")
    return Exit.DONE


def _refuse_unknown(driver: str) -> None:
    """GatewayError when there is no such driver."""
    from edgegw import registry

    try:
        if driver:
            registry.load(driver)
    except registry.DriverError as error:
        raise GatewayError("EG-DRIVER-UNKNOWN", str(error)) from None


def _refuse_used(settings: "Config | None", wanted: "Target") -> None:
    """GatewayError when a sensor of the configuration has the port: the daemon reads it."""
    import os

    if wanted.kind != "serial" or settings is None:
        return
    device = os.path.realpath(wanted.text)
    for name, sensor in settings.sensor.items():
        if sensor.enabled and sensor.port is not None and os.path.realpath(sensor.port) == device:
            raise GatewayError(
                "EG-PORT-BUSY",
                f"{wanted.text} belongs to sensor {name}",
                why="The daemon reads it.",
                todo=(f"edgegw sensors test {name}", "or set enabled = false for it, and reload"),
            )


def _show(found: "Sequence[Guess]") -> None:
    """A row for each guess."""
    rows = []
    for guess in found:
        values = (f"{name} {printing.number(each.value)}" for name, each in guess.sample.items())
        how = " ".join(f"{key}={value}" for key, value in guess.options.items())
        unit = f" unit {guess.unit}" if guess.unit is not None else ""
        line = f"{guess.line.baudrate} baud{unit}" if guess.line else ""
        rows.append(
            (f"{guess.driver} {how}".strip(), str(guess.sureness), line, " ".join(values), guess.about)
        )
    printing.table(("driver", "sure", "line", "values", "because"), rows)


def _write(
    options: Options, settings: "Config | None", name: str, where: "Mapping[str, Any]", guess: "Guess"
) -> None:
    """A drop-in beside the configuration, checked before it stays."""
    from edgegw import config
    from edgegw.probe import dropin

    main = options.config or config.DEFAULT_FILE
    keys: dict[str, Any] = {"driver": guess.driver, **where}
    if guess.unit is not None:
        keys["unit"] = guess.unit
    keys |= guess.options
    file = main.parent / "conf.d" / f"{name}.toml"
    text = dropin.table(name, keys, f"{guess.driver}: {guess.about} ({guess.sureness})")
    # Without a configuration yet, the drop-in is checked by itself.
    check = (lambda: config.load(main)) if settings else (lambda: config.load(file, role="drop-in"))
    dropin.write(file, text, check)
    printing.say(options, f"wrote {file}; next: systemctl reload edgegw, then: edgegw sensors test {name}")
