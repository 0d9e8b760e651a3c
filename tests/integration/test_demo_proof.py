"""The proof of a demonstration holds for an honest run and names the reading of every dishonest one."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from edgegw.simulate import numbers
from edgegw.simulate.radar import ParadeRadar
from edgegw.wire import batch, cose, log, merkle, senml

if TYPE_CHECKING:
    from collections.abc import Callable

PROOF = Path(__file__).parents[2] / "scripts" / "proof.py"
ISS = "urn:dev:ops:32473-virtual-street"
T0 = 1_790_000_000.0
KILLED, STARTED, STOPPED = 20.0, 23.0, 40.0


@dataclass
class World:
    """One run of a gateway: killed once, started again, stopped. Seconds of the scenario are monotonic seconds."""

    directory: Path
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    ledgers: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    moments: list[dict[str, Any]] = field(default_factory=list)
    rows: list[tuple[str, str, float | str, float]] = field(default_factory=list)
    upstream: list[list[Any]] = field(default_factory=list)
    receipted: int | None = None

    def live(self) -> None:
        """An honest run: air once a second, radar ten times a second."""
        air = [(float(n), dict(zip(("pm2_5", "pm10"), numbers.air(n), strict=True))) for n in range(1, 40)]
        self.ledgers["air-1"] = [
            self._entry("air-1", n, t, {q: v / 10 for q, v in values.items()})
            for n, (t, values) in enumerate(air)
        ]
        radar = ParadeRadar()
        self.ledgers["flow-1"] = []
        for number in range(10, 400):
            t = number / 10
            leg = radar.leg(t)
            entry = self._entry("flow-1", number, t, {"targets": len(radar.targets(number, t))})
            self.ledgers["flow-1"].append(entry | {"leg": leg.number, "passes": leg.quantity})
        self.moments = [
            {"what": "kill", "began": KILLED - 0.001, "mono": KILLED},
            {"what": "stop", "began": STOPPED, "mono": STOPPED + 0.3},
        ]
        self._accept()

    @staticmethod
    def _entry(sensor: str, number: int, t: float, values: dict[str, float]) -> dict[str, Any]:
        deaf = KILLED < t < STARTED
        fate = "unheard" if deaf else "sent"
        return {"sensor": sensor, "number": number, "mono": t, "wall": T0 + t, "fate": fate, "values": values}

    def _accept(self) -> None:
        """What a gateway makes of it; the last 0.6 s before the kill are lost with it."""
        entries = sorted((e for book in self.ledgers.values() for e in book), key=lambda e: e["mono"])
        counted: set[int] = set()
        self.rows = [("_gateway", "start", "0.1.0", T0 + 0.5)]
        for entry in entries:
            t = T0 + entry["mono"] + 0.002
            if entry["fate"] != "sent" or KILLED - 0.6 < entry["mono"] < STARTED:
                continue
            if entry["mono"] >= STARTED and sum(row[1] == "start" for row in self.rows) == 1:
                self.rows.append(("_gateway", "start", "0.1.0", T0 + STARTED - 0.1))
            self.rows += [(entry["sensor"], q, v, t) for q, v in entry["values"].items()]
            if "leg" in entry:
                leg, radar = entry["leg"], ParadeRadar()
                seen = entry["mono"] - leg * radar.leg_s > 0.5 * radar.leg_s and leg not in counted
                counted |= {leg} if seen else set()
                for quantity in ("count_in", "count_out"):
                    passed = int(seen and quantity == entry["passes"])
                    self.rows.append(("flow-1", quantity, passed, t))

    def write(self) -> None:
        """Ledgers, store and upstream on disk, as the real ones lie there."""
        for folder in ("ledger", "store", "receiver/keys"):
            (self.directory / folder).mkdir(parents=True)
        settings = '[gateway]\nid = "virtual-street"\n[store]\nbatch = { max_age = "1s" }\n'
        (self.directory / "edgegw.toml").write_text(settings)
        for sensor, book in self.ledgers.items():
            (self.directory / "ledger" / f"{sensor}.jsonl").write_text(lines(book))
        (self.directory / "moments.jsonl").write_text(lines(self.moments))
        pem = self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (self.directory / "receiver" / "keys" / "virtual-street.pem").write_bytes(pem)
        self._write_store()
        self._write_upstream()

    def _write_store(self) -> None:
        writer, tree = senml.RecordWriter(ISS), merkle.Range.empty(0)
        by = cose.signer(self.key)
        with closing(sqlite3.connect(self.directory / "store" / "edgegw.db")) as db, db:
            db.execute("CREATE TABLE batch(first INTEGER PRIMARY KEY, count INTEGER, message BLOB)")
            for first in range(0, len(self.rows), 50):
                records = [
                    writer.event(q, v, round(t, 3), {})
                    if isinstance(v, str)
                    else writer.reading(s, q, "/", v, round(t, 3))
                    for s, q, v, t in self.rows[first : first + 50]
                ]
                message, added = batch.seal(
                    log.LogId(ISS, "0123abcd"),
                    tree,
                    records,
                    secret=b"s" * 32,
                    by=by,
                    clock=(1, 3),
                    issued=int(T0),
                    simulated=True,
                )
                tree = tree.join(added)
                db.execute("INSERT INTO batch VALUES (?, ?, ?)", (first, len(records), message))

    def _write_upstream(self) -> None:
        rows: list[list[Any]] = [
            [n, s, q, None if isinstance(v, str) else v, v if isinstance(v, str) else None, round(t, 3), 1]
            for n, (s, q, v, t) in enumerate(self.rows)
        ]
        self.upstream = self.upstream or rows
        size = len(self.rows) if self.receipted is None else self.receipted
        with closing(sqlite3.connect(self.directory / "receiver" / "readings.db")) as db, db:
            db.execute(
                "CREATE TABLE readings(gateway, idx, sensor, quantity, value REAL, text, t REAL, proven)"
            )
            db.execute("CREATE TABLE gateways(gateway, receipted)")
            db.execute("INSERT INTO gateways VALUES ('virtual-street', ?)", (size,))
            db.executemany(
                "INSERT INTO readings VALUES ('virtual-street', ?, ?, ?, ?, ?, ?, ?)", self.upstream
            )


def lines(entries: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(entry) + "\n" for entry in entries)


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    made.live()
    return made


def prove(directory: Path) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-I", str(PROOF), str(directory)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert not done.stderr
    return done.returncode, done.stdout


def test_an_honest_run_is_proven(world: World) -> None:
    world.write()
    code, said = prove(world.directory)
    assert code == 0, said
    assert "PROVEN" in said
    assert "kill 1: 7 frames were not committed yet, the oldest 0.50 s old" in said


def upstream_only(change: Callable[[list[list[Any]]], None]) -> Callable[[World], None]:
    def apply(world: World) -> None:
        world.write()
        with closing(sqlite3.connect(world.directory / "receiver" / "readings.db")) as db, db:
            db.execute("DELETE FROM readings")
            change(world.upstream)
            db.executemany(
                "INSERT INTO readings VALUES ('virtual-street', ?, ?, ?, ?, ?, ?, ?)", world.upstream
            )

    return apply


def change_row(number: int, column: int, value: object) -> Callable[[World], None]:
    return upstream_only(lambda rows: rows[number].__setitem__(column, value))


def in_store(statement: str, *values: object) -> Callable[[World], None]:
    def apply(world: World) -> None:
        world.write()
        with closing(sqlite3.connect(world.directory / "store" / "edgegw.db")) as db, db:
            assert db.execute(statement, values).rowcount == 1

    return apply


def before(change: Callable[[World], None]) -> Callable[[World], None]:
    def apply(world: World) -> None:
        change(world)
        world.write()

    return apply


def flip(world: World) -> None:
    """One bit of one value of a signed message."""
    world.write()
    with closing(sqlite3.connect(world.directory / "store" / "edgegw.db")) as db, db:
        (message,) = db.execute("SELECT message FROM batch WHERE first = 50").fetchone()
        at = len(message) - 100
        bad = message[:at] + bytes([message[at] ^ 1]) + message[at + 1 :]
        db.execute("UPDATE batch SET message = ? WHERE first = 50", (bad,))


def of(world: World, sensor: str, number: int) -> dict[str, Any]:
    return next(entry for entry in world.ledgers[sensor] if entry["number"] == number)


def drop(sensor: str, *monos: float) -> Callable[[World], None]:
    def apply(world: World) -> None:
        gone = {round(T0 + mono + 0.002, 3) for mono in monos}
        world.rows = [row for row in world.rows if not (row[0] == sensor and round(row[3], 3) in gone)]

    return before(apply)


def empty(world: World) -> None:
    world.ledgers.clear()
    del world.rows[1:]


DISHONEST: dict[str, tuple[Callable[[World], None], str]] = {
    "another value upstream": (change_row(5, 3, 77.0), "reading 5 (flow-1 count_out"),
    "another time upstream": (change_row(5, 5, T0), "reading 5 (flow-1 count_out"),
    "another sensor upstream": (change_row(5, 1, "flow-2"), "reading 5 (flow-1"),
    "not proven upstream": (change_row(5, 6, 0), "upstream, but not proven"),
    "missing upstream": (upstream_only(lambda rows: rows.__delitem__(7)), "was accepted and is not upstream"),
    "twice upstream": (upstream_only(lambda rows: rows.append(rows[9])), "index 9 is upstream 2 times"),
    "invented upstream": (
        upstream_only(lambda rows: rows.append([99_999, "air-1", "pm10", 1.0, None, T0, 1])),
        "index 99999 (air-1 pm10 1.0) is upstream and not in the gateway's log",
    ),
    "a flipped bit": (flip, "the batch that should begin at index 50 has a wrong signature"),
    "a hole in the log": (in_store("DELETE FROM batch WHERE first = 100"), "should begin at index 100"),
    "not receipted": (before(lambda w: setattr(w, "receipted", 900)), "900 are receipted"),
    "a value that was never sent": (
        before(lambda w: of(w, "air-1", 9)["values"].update(pm10=1.0)),
        "is not what the ledger says comes next",
    ),
    "an old value again": (
        before(lambda w: w.rows.insert(900, (*w.rows[100][:3], w.rows[899][3]))),
        "is not what the ledger says comes next",
    ),
    "a damaged frame that was taken": (
        before(lambda w: of(w, "air-1", 9).update(fate="damaged")),
        "is not what the ledger says comes next",
    ),
    "a frame that went missing": (drop("flow-1", 12.0), "is not what the ledger says"),
    "a kill that took too much": (
        drop("air-1", 16.0, 17.0, 18.0, 19.0),
        "air-1: frame 15 was sent 4.00 s before the kill and not accepted",
    ),
    "a slow start": (
        drop("air-1", 23.0, 24.0),
        "air-1: 2 frames from number 22 on were sent and not accepted",
    ),
    "a passage that was not counted": (
        before(lambda w: setattr(w, "rows", [uncounted(row, 10.0, 12.0) for row in w.rows])),
        "over the line is one count_",
    ),
    "a start that nobody knows of": (
        before(lambda w: w.rows.append(("_gateway", "start", "0.1.0", T0 + 41))),
        "started 3 times and ended 2 times",
    ),
    "a loss": (
        before(lambda w: w.rows.append(("_gateway", "lost", 3, T0 + 41))),
        "it lost 3 accepted readings",
    ),
    "a sensor without a ledger": (
        before(lambda w: w.rows.append(("air-9", "pm10", 3.0, T0 + 41))),
        "readings of sensors without a ledger: air-9",
    ),
    "a gateway that took nothing": (
        before(lambda w: w.rows.__delitem__(slice(1, None))),
        "frame 0 was sent 19",
    ),
    "an empty run": (before(empty), "nothing was accepted"),
}


def uncounted(row: tuple[str, str, float | str, float], since: float, until: float) -> Any:
    hit = row[1].startswith("count_") and since <= row[3] - T0 <= until
    return (*row[:2], 0, row[3]) if hit else row


@pytest.mark.parametrize("name", DISHONEST)
def test_a_dishonest_run_is_named(world: World, name: str) -> None:
    change, named = DISHONEST[name]
    change(world)
    code, said = prove(world.directory)
    assert code == 1, said
    assert "PROVEN" not in said
    assert named in said, said


def test_the_proof_imports_nothing_of_the_gateway() -> None:
    code = (
        f"import runpy, sys; runpy.run_path({str(PROOF)!r}); print([m for m in sys.modules if 'edgegw' in m])"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
