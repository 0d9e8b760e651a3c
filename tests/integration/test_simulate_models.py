"""Every virtual device of the catalogue is read by the real gateway, and every stored value is one that it said."""

from __future__ import annotations

import json
import shutil
import sqlite3
import threading
import time
from collections import defaultdict
from contextlib import closing
from ctypes.util import find_library
from typing import TYPE_CHECKING, Any

import cbor2

from edgegw.simulate.broker import find_mosquitto
from edgegw.simulate.models import MODELS
from edgegw.simulate.simulation import Options, Simulation
from edgegw.wire import cose

if TYPE_CHECKING:
    from pathlib import Path

DEADLINE_S = 180.0
#: A device that is asked, with a pause between two questions, has said enough by then.
ENOUGH = 3
#: Its levels are computed from sound; they are held to figures elsewhere.
WITHOUT_A_LEDGER = frozenset(("microphone",))
#: Its first index comes after a window of a minute, which is short already.
SLOW = frozenset(("phones",))
#: What of the machine a model needs besides Python.
NEEDS = {
    "microphone": find_library("asound"),
    "axis-camera": find_mosquitto(),
    **{name: shutil.which("dbus-daemon") for name, model in MODELS.items() if model.wire in {"address", ""}},
}


def said(directory: Path, sensor: str) -> dict[str, set[float]]:
    """What a virtual device put on its wire whole, by quantity."""
    found: dict[str, set[float]] = defaultdict(set)
    for line in (directory / "ledger" / f"{sensor}.jsonl").read_text().splitlines():
        entry: dict[str, Any] = json.loads(line)
        if entry["fate"] == "sent":
            for quantity, value in entry["values"].items():
                found[quantity].add(value)
    return found


def stored(directory: Path) -> dict[str, dict[str, list[float]]]:
    """What the gateway stored, by sensor and quantity."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    with closing(sqlite3.connect(directory / "store" / "edgegw.db")) as db:
        messages = [message for (message,) in db.execute("SELECT message FROM batch ORDER BY first")]
    for message in messages:
        for record in cbor2.loads(cose.parse(message).payload or b""):
            _, sensor, quantity = record[0].rsplit(":", 2)
            if sensor != "_gateway":
                found[sensor][quantity].append(record[2])
    return found


def test_every_virtual_device_is_read_and_no_value_is_another_than_it_said(tmp_path: Path) -> None:
    models = tuple(sorted(name for name in MODELS if NEEDS.get(name, "nothing") and name not in SLOW))
    with Simulation(Options(tmp_path, sensors=models, numbered=True, broker=False)) as simulation:
        deadline = time.monotonic() + DEADLINE_S
        while True:
            simulation.check()
            sensors = simulation.status()["sensors"]
            late = [each["id"] for each in sensors if each["readings"] < ENOUGH]
            if not late:
                break
            assert time.monotonic() < deadline, f"no {ENOUGH} readings of {late}: {sensors}"
            threading.Event().wait(0.1)
    found = stored(tmp_path)
    assert set(found) == {f"{model}-1" for model in models}
    for model in set(models) - WITHOUT_A_LEDGER:
        book = said(tmp_path, f"{model}-1")
        for quantity, values in found[f"{model}-1"].items():
            if quantity in book:
                assert set(values) <= book[quantity], (model, quantity)
        assert set(book) & set(found[f"{model}-1"]), f"{model} says nothing that the gateway stores"
