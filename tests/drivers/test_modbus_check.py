"""What `edgegw check` says of Modbus sensors: a broken profile is a mistake of the configuration, with its lines."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from edgegw.config import ConfigError, load

if TYPE_CHECKING:
    from pathlib import Path

GOOD = """
[device]
model = "acme-th"
[[read]]
quantity = "temperature"
function = 4
register = 1
type = "s16"
scale = 0.1
[[example]]
registers = [231]
expect = { temperature = 23.1 }
"""


def checked(folder: Path, *keys: str) -> list[str]:
    """The mistakes of a configuration with one sensor."""
    lines = ['[gateway]\nid = "box-1"', "[sensor.a]", 'driver = "modbus"', 'port = "/dev/ttyS7"', *keys]
    file = folder / "edgegw.toml"
    file.write_text("\n".join(lines) + "\n")
    try:
        load(file, {})
    except ConfigError as error:
        return [str(mistake).removeprefix(f"{folder}/") for mistake in error.mistakes]
    return []


def test_a_file_is_looked_for_beside_the_configuration_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "acme.toml").write_text(GOOD)
    with contextlib.chdir("/"):
        assert checked(tmp_path, 'profile = "file:acme.toml"') == []


def test_every_mistake_of_a_profile_comes_with_the_profiles_own_lines(tmp_path: Path) -> None:
    (tmp_path / "acme.toml").write_text(GOOD.replace("scale = 0.1", "scale = 0").replace("231", "x"))
    (said,) = checked(tmp_path, 'profile = "file:acme.toml"')
    assert said.startswith("edgegw.toml:6: sensor.a.profile: ")
    assert "acme.toml:11: it is no TOML" in said
    (tmp_path / "acme.toml").write_text(GOOD.replace("scale = 0.1", "scale = 0").replace("[231]", "[1, 2]"))
    (said,) = checked(tmp_path, 'profile = "file:acme.toml"')
    assert f"{tmp_path}/acme.toml:9: read 1 (temperature): scale is 0" in said
    assert f"{tmp_path}/acme.toml:11: example 1: registers do not fit" in said


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (['profile = ""'], "edgegw.toml:6: sensor.a.profile: name one: "),
        (['profile = "renke-nose"'], "edgegw.toml:6: sensor.a.profile: there is no profile 'renke-nose'"),
        (
            ['profile = "senseair"', "settings = { abc = 0 }"],
            'edgegw.toml:7: sensor.a.settings: there is no setting "abc"',
        ),
        (['profile = "renke-noise"', "unit = 254"], "edgegw.toml:7: sensor.a.unit: must be from 1 to 247"),
    ],
)
def test_what_would_fail_at_the_first_poll_is_a_mistake_now(
    tmp_path: Path, keys: list[str], said: str
) -> None:
    (found,) = checked(tmp_path, *keys)
    assert found.startswith(said)


def test_a_reserved_address_is_good_for_the_device_that_answers_to_it(tmp_path: Path) -> None:
    assert checked(tmp_path, 'profile = "senseair"', "unit = 254", "settings = { abc_hours = 0 }") == []
