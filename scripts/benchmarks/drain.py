"""Rows 2 and 4: how fast a backlog goes out, and what memory that takes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

from scripts.benchmarks import machine
from scripts.benchmarks.cabinet import SDS011, until
from scripts.benchmarks.table import Row
from scripts.benchmarks.talker import Talker

if TYPE_CHECKING:
    from scripts.benchmarks.bench import Bench

#: What a city's broker that serves gateways with a backlog is given (mosquitto.conf(5)): stock mosquitto queues
#: 1,000 messages for a subscriber and has 20 on their way to it.
WIDE_BROKER: Final = ("max_queued_messages 20000", "max_inflight_messages 100")
#: And what its gateways are given under [uplink].
WIDE_UPLINK: Final = 'in_flight = "64MiB"\nwindow = 100'
#: Seconds of live operation after which memory without a backlog is looked at.
LIVE_S: Final = 10.0


@dataclass(frozen=True)
class Drained:
    """One drain: readings a second, CPU seconds of each process, peak memory of the gateway."""

    per_s: float
    cpu: dict[str, float]
    peak_mb: float
    arrived: int


@cache
def _drained(bench: Bench, uplink: str, broker: tuple[str, ...], *, receiver: bool) -> Drained:
    backlog = bench.backlog
    backlog.restore()
    with backlog.cabinet as cabinet:
        pids = {"broker": cabinet.start_broker(*broker)}
        if receiver:
            pids["receiver"] = cabinet.start_receiver()
        else:
            pids["subscriber"] = _subscribe(bench)
        cabinet.configure("", uplink=uplink if receiver else f'receipts = "none"\n{uplink}')
        pids["gateway"] = gateway = cabinet.start_gateway()
        until("the link is up", cabinet.online, every_s=0.01)
        began = time.monotonic()

        def done() -> bool:
            log = cabinet.status().get("log", {})
            return int(log.get("receipted", 0)) >= backlog.records

        until("the backlog is drained", done, every_s=0.05)
        if receiver:
            until("everything is proven", lambda: cabinet.proven() >= backlog.records, every_s=0.05)
        took = time.monotonic() - began
        cpu = {name: machine.cpu_s(pid) for name, pid in pids.items()}
        peak = machine.peak_mb(gateway)
        arrived = cabinet.stored() if receiver else _arrived(bench)
    return Drained(backlog.records / took, cpu, peak, arrived)


def _subscribe(bench: Bench) -> int:
    """A subscriber that counts: one line with the length of each message."""
    cabinet = bench.backlog.cabinet
    folder, log = cabinet.layout.receiver, cabinet.layout.log("subscriber")
    log.unlink(missing_ok=True)
    command = ["mosquitto_sub", "-V", "mqttv5", "-h", "localhost", "-p", str(cabinet.port), "-q", "1"]
    command += ["--cafile", f"{folder}/ca.crt", "--cert", f"{folder}/tls.crt", "--key", f"{folder}/tls.key"]
    return cabinet.start("subscriber", [*command, "-t", "edgegw/1/+/main/batch", "-F", "%l"])


def _arrived(bench: Bench) -> int:
    """Batches that the subscriber got; it may still be printing."""
    time.sleep(1.0)
    return len(bench.backlog.cabinet.layout.log("subscriber").read_text().split())


def _note(found: Drained, settings: str, arrived: str) -> str:
    cpu = ", ".join(f"{name} {seconds:.1f}" for name, seconds in found.cpu.items())
    return f"{settings}: {found.per_s:,.0f}/s, CPU seconds {cpu}; {found.arrived:,} {arrived}"


def drain(bench: Bench) -> list[Row]:
    """To the broker alone, and through one receiver; each with stock settings and with documented ones."""
    backlog = bench.backlog
    count = max(100, backlog.records // 500)
    with backlog.cabinet as cabinet:
        cabinet.start_broker()
        _subscribe(bench)
        time.sleep(0.5)
        folder, size = cabinet.layout.directory, backlog.message_bytes
        bare = bench.program("bare", "publishing", cabinet.port, folder, size, count, 20)["per_s"] * 100
    rows = []
    for receiver, aim in ((False, 200_000), (True, 50_000)):
        stock = _drained(bench, "", (), receiver=receiver)
        arrived = "readings in the receiver's database" if receiver else "batches at the subscriber"
        notes = [_note(stock, "stock mosquitto, default [uplink]", arrived)]
        best = stock.per_s
        if bench.sizes.both:
            wide = _drained(bench, WIDE_UPLINK, WIDE_BROKER, receiver=receiver)
            settings = f"{', '.join(WIDE_BROKER)}; {WIDE_UPLINK.replace(chr(10), ', ')}"
            notes.append(_note(wide, settings, arrived))
            best = max(best, wide.per_s)
        what = "through a receiver, verified and stored" if receiver else 'to the broker, receipts = "none"'
        rows.append(
            Row(
                "drain",
                f"{backlog.records:,} {what}",
                "/s",
                best,
                bare,
                "paho QoS 1 alone",
                aim,
                more=True,
                notes=notes,
            )
        )
    made = f"made by the daemon from a pty, link down: {backlog.cpu_per_10_000:.2f} CPU seconds per 10,000 readings"
    rows[0].notes.append(made)
    return rows


def memory(bench: Bench) -> list[Row]:
    """Peak memory of the daemon while it lives, while it stores a backlog, and while it drains it."""
    with bench.cabinet("memory") as cabinet, Talker(200) as talker:
        cabinet.start_broker()
        cabinet.start_receiver()
        cabinet.configure(f'[sensor.air-1]\n{SDS011}\nport = "{talker.path}"\n')
        pid = cabinet.start_gateway()
        until("readings are upstream", lambda: cabinet.proven() > 0)
        time.sleep(min(LIVE_S, bench.sizes.seconds))
        live = machine.peak_mb(pid)
    drained = _drained(bench, "", (), receiver=True)
    bare = bench.program("imports")["peak_mb"]
    name = "interpreter with paho, pymodbus, cryptography, asyncio"
    return [
        Row("memory", "peak without a backlog", "MB", live, bare, name, 55),
        Row(
            "memory",
            "peak while draining the backlog",
            "MB",
            drained.peak_mb,
            live,
            "without",
            55,
            notes=[f"while the backlog was stored: {bench.backlog.peak_mb:.1f} MB"],
        ),
    ]
