from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from edgegw import registry
from edgegw.config import load
from edgegw.config.models import REQUIRED, Receive, Tables, fields

CONFIG = Path(__file__).parents[2] / "config"
# What the person sets: the sample shows an example instead of the default.
YOURS = {("gateway", "id"), ("uplink", "server"), ("uplink", "ca"), ("uplink", "receipt_keys")}


def uncommented(path: Path) -> dict[str, Any]:
    return tomllib.loads(re.sub(r"^# (?=[\[a-z])", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE))


def expected(model: type) -> dict[str, Any]:
    return {
        name: expected(about["table"]) if "table" in about else about["default"]
        for name, about in fields(model).items()
        if "rest" not in about
    }


def test_the_sample_has_every_key_with_its_default() -> None:
    shown = uncommented(CONFIG / "edgegw.toml")
    for name, about in fields(Tables).items():
        if name == "receive":
            continue
        table = shown[name]["air-1"] if "each" in about else shown[name]
        wanted = expected(about["each"] if "each" in about else about["table"])
        assert list(table) == list(wanted), name
        for key, default in wanted.items():
            if (name, key) not in YOURS and default is not REQUIRED:
                assert table[key] == default, (name, key)


def test_the_receiver_sample_has_every_key_with_its_default() -> None:
    shown = uncommented(CONFIG / "receive.toml")["receive"]
    wanted = expected(Receive)
    assert list(shown) == list(wanted)
    assert {key: shown[key] for key, default in wanted.items() if default is not REQUIRED} == {
        key: default for key, default in wanted.items() if default is not REQUIRED
    }


def test_the_samples_are_valid_as_they_stand() -> None:
    assert load(CONFIG / "edgegw.toml", {}).gateway.id == "city-example-0001"
    receive = load(CONFIG / "receive.toml", {}, role="receiver").receive
    assert receive is not None
    assert receive.keys == CONFIG / "gateways"


@pytest.mark.parametrize("sample", sorted((CONFIG / "conf.d").glob("*.sample")), ids=lambda path: path.name)
def test_each_drop_in_is_valid_as_it_stands(sample: Path) -> None:
    assert len(load(sample, {}, role="drop-in").sensor) == 1


def test_the_drop_ins_show_every_kind_of_sensor() -> None:
    shown = {
        registry.load(sensor.driver).kind
        for sample in (CONFIG / "conf.d").glob("*.sample")
        for sensor in load(sample, {}, role="drop-in").sensor.values()
    }
    assert shown == {kind.kind for kind in registry.KINDS}
