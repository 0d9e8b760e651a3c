"""Commands of devices by their names, as whoever writes to a device spells them."""

from __future__ import annotations

import pytest

from edgegw import registry
from edgegw.driver import spelt


def made(driver: str, command: str, **options: object) -> str:
    given = dict(registry.load(driver).decode_options)
    return registry.make(driver, given).encode(command, options).hex()


@pytest.mark.parametrize("command", ["set_query", "set query", "Set-Query", " SET  QUERY "])
def test_a_name_may_be_joined_and_capitalised_in_any_way(command: str) -> None:
    assert spelt(command, ("set_active", "set_query")) == "set_query"


@pytest.mark.parametrize("command", ["", "set", "query_set", "set_querys"])
def test_another_name_is_refused_with_those_that_there_are(command: str) -> None:
    with pytest.raises(ValueError, match=f"no command {command!r}; there are set_active, set_query"):
        spelt(command, ("set_active", "set_query"))


@pytest.mark.parametrize(
    ("driver", "command", "content"),
    [
        ("ld2450", "bluetooth_off", "fdfcfbfa0400a400000004030201"),
        ("plantower", "Passive read", "424de200000171"),
        ("terabee", "Text output", "006102ee"),
        ("winsen", "read_all", "ff0188000000000077"),
        ("winsen", "set_range_10000", "ff019900000027102f"),
        ("sps30", "wake", "7e007d3100ee7e"),
        ("sps30", "status", "7e00d201002c7e"),
        ("sps30", "read_version", "7e00d1002e7e"),
        ("ops243", "json output", b"OJ".hex()),
        ("ops243", "Oj", b"Oj".hex()),
    ],
)
def test_drivers_know_their_commands_by_such_names(driver: str, command: str, content: str) -> None:
    assert made(driver, command) == content
    if driver == "sps30":
        interval = made(driver, "Set auto-clean interval", seconds=604_800)
        assert interval == "7e0080050000093a80b77e"
