"""What every driver keeps to, whoever wrote it: the rules of `edgegw.contract`, over all that are installed.

Each rule is a test of each driver and of each device whose bytes are known: the facts beside this file, every Modbus
profile, every JSON map (see `contract_subjects.py`). What no rule can know without naming drivers is here.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from contract_subjects import FACTS, FILES, UNCHECKED, devices, usable
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgegw import contract, registry
from edgegw.contract.inputs import it_brings_a_fact_that_is_refused

if TYPE_CHECKING:
    from collections.abc import Iterable
    from random import Random

    from edgegw.contract import Rule, Subject

DRIVERS, FAULTS = usable()
DEVICES = devices()
# Facts that are refused: a driver brings one, not each of its devices.
OF_DRIVERS = (*contract.PAPERS, it_brings_a_fact_that_is_refused)
OF_DEVICES = [rule for rule in contract.DECODING if rule is not it_brings_a_fact_that_is_refused]
# What is published of these two holds no refused input: numbers of a calculation, and addresses.
NOTHING_REFUSED = {"alsa_slm", "ble_presence"}


def cases(subjects: Iterable[Subject], rules: Iterable[Rule], *, random: bool) -> list[Any]:
    return [
        pytest.param(subject, rule, id=f"{subject}-{rule.name.replace(' ', '_')}")
        for rule in rules
        for subject in subjects
        if rule.is_for(subject)
        and rule.is_random == random
        and not (rule is it_brings_a_fact_that_is_refused and subject.name in NOTHING_REFUSED)
    ]


def test_every_installed_driver_can_be_used_and_tested() -> None:
    assert [found.error for found in registry.installed() if found.error] == []
    assert FAULTS == []


@pytest.mark.parametrize(
    ("subject", "rule"),
    [*cases(DRIVERS, OF_DRIVERS, random=False), *cases(DEVICES, OF_DEVICES, random=False)],
)
def test_the_rule(subject: Subject, rule: Rule) -> None:
    assert rule.broken(subject) == []


@pytest.mark.parametrize(("subject", "rule"), cases(DEVICES, OF_DEVICES, random=True))
@given(random=st.randoms(use_true_random=True))
@settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.differing_executors],
    deadline=None,
)
def test_the_rule_whatever_comes(subject: Subject, rule: Rule, random: Random) -> None:
    assert list(rule.once(subject, random)) == []


def test_every_file_of_facts_is_of_a_driver_and_every_driver_that_ships_has_one() -> None:
    assert {file.stem for file in FACTS.glob("*.json")} == set(FILES)
    shipped = {found.name for found in registry.installed() if found.package == "edgegw"}
    assert shipped == {name for name, _ in FILES.values()}


def test_a_device_without_a_checksum_is_known_to_have_none() -> None:
    # A device is held to its checksum by its facts: where none of them names it, that is said, and is no oversight.
    known = {
        file: subject for subject in DEVICES for file in FILES if subject.label == f"{subject.name}-{file}"
    }
    unchecked = {file for file, subject in known.items() if not subject.checked}
    with_key = {file for file in unchecked if any("key" in fact.context for fact in known[file].facts)}
    assert unchecked - with_key == UNCHECKED


def test_edgegw_check_accepts_the_samples_of_all_drivers_together(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    for driver in DRIVERS:
        text = (driver.folder / "sample.toml").read_text(encoding="utf-8")
        (tmp_path / "conf.d" / f"{driver.name}.toml").write_text(text)
    file = tmp_path / "edgegw.toml"
    file.write_text('[gateway]\nid = "box-1"\n')
    done = subprocess.run(
        [sys.executable, "-m", "edgegw.cli", "check", "--json", str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = {sensor["driver"] for sensor in json.loads(done.stdout)["sensors"]}
    assert found == {driver.name for driver in DRIVERS}


def test_neither_the_daemon_nor_the_command_line_carries_the_suite_in_its_memory() -> None:
    program = "import edgegw.daemon, edgegw.cli.main, sys; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert "edgegw.daemon" in loaded
    assert not [name for name in loaded if name.startswith("edgegw.contract")]


def test_the_suite_is_small_and_needs_nothing_but_the_gateway_and_its_drivers_kinds() -> None:
    folder = Path(contract.__file__).parent
    # It goes into every wheel: what grows beyond this belongs into the tests.
    assert sum(file.stat().st_size for file in folder.glob("*.py")) < 72 << 10
    program = "import edgegw.contract, sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"pytest", "hypothesis", "edgegw_drivers", "typer"} & set(done.stdout.split())
