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


#: What a device without a value makes the driver count; nothing of it may become a reading.
WITHOUT_VALUES = {
    "airgradient": "not_available",
    "airrohr": "no_data",
    "mh-z19": "implausible",
    "dfrobot-no2": "unknown_gas",
    "nsrt": "not_a_number",
    "nti-xl2": "undefined",
    "pms7003": "warming_up",
    "renke-rtu": "not_available",
    "ruuvi": "not_available",
    "sds011": "warming_up",
    "senseair-s8": "sensor_status_0010",
    "sps30": "no_data",
    "svantek": "not_available",
    "weather-station": "not_available",
    "xy-md02": "not_available",
}


def test_a_device_that_has_no_value_gives_no_reading_and_a_counted_reason(tmp_path: Path) -> None:
    models = tuple(sorted(name for name in WITHOUT_VALUES if NEEDS.get(name, "nothing")))
    faults = tuple(f"sentinel:{model}-1@0+3600" for model in models)
    options = Options(tmp_path, sensors=models, faults=faults, numbered=True, broker=False)
    with Simulation(options) as simulation:
        deadline = time.monotonic() + DEADLINE_S
        while True:
            simulation.check()
            sensors = {each["id"]: each for each in simulation.status()["sensors"]}
            quiet = [model for model in models if not sensors[f"{model}-1"]["errors"]]
            if not quiet:
                break
            assert time.monotonic() < deadline, f"no reason counted for {quiet}"
            threading.Event().wait(0.1)
    found = stored(tmp_path)
    for model in models:
        seen = sensors[f"{model}-1"]
        assert WITHOUT_VALUES[model] in seen["errors"], (model, seen)
        # The rain gauge of the station is its own.
        assert set(found[f"{model}-1"]) <= {"precipitation"}, (model, seen)
