"""The scanner against a virtual BlueZ on a real D-Bus, through the real bleak."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING

import pytest
from fake_bluez import BRISK, COMPANY, NERVOUS, PATIENCE_S, SERVICE, SUSPICIOUS, TAG, Ear, listening, until

from edgegw.ports.ble import Scanner
from edgegw.simulate.bluez import Bluez
from edgegw.simulate.radio import VARIABLE, Radio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

OTHER = "C0:FF:EE:00:00:02"


@pytest.fixture
async def radio(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Radio]:
    async with Radio() as found:
        monkeypatch.setenv(VARIABLE, found.address)
        yield found


def send(radio: Radio, data: bytes = b"data", address: str = TAG) -> bool:
    return radio.advertise(address, random=True, rssi=-50, companies={COMPANY: data}, services={})


def changes(scanner: Scanner) -> Callable[[], bool]:
    """Whether the scanner has begun anew, or failed, since now."""

    def count() -> int:
        facts = scanner.facts()
        return int(facts["restarts"] + facts["failures"])

    before = count()
    return lambda: count() > before


# -- what is heard


async def test_an_advertisement_arrives_as_it_was_sent(radio: Radio) -> None:
    ear = Ear(COMPANY, services=(SERVICE,))
    async with listening(Scanner(pace=BRISK), ear):
        await until(lambda: radio.bluez.listened)
        radio.advertise(
            TAG.lower(), random=False, rssi=-71, companies={COMPANY: b"\x05"}, services={SERVICE: b"\x40"}
        )
        await until(lambda: ear.adverts)
    assert ear.hears
    assert ear.adverts[0]._asdict() == {
        "address": TAG,
        "random": False,
        "rssi": -71,
        "companies": {COMPANY: b"\x05"},
        "services": {SERVICE: b"\x40"},
    }


async def test_a_passive_scan_lets_through_what_any_sensor_wants(radio: Radio) -> None:
    tag, thermometer = Ear(COMPANY), Ear(services=(SERVICE,))
    scanner = Scanner(pace=BRISK)
    async with listening(scanner, tag, thermometer):
        await until(lambda: radio.bluez.listened == "passive")
        assert not radio.advertise(OTHER, True, -50, {0x004C: b"phone"}, {0xFEAA: b"beacon"})
        assert send(radio)
        assert radio.advertise(OTHER, True, -50, {}, {SERVICE: b"\x40"})
        await until(lambda: len(thermometer.adverts) == 2)
        await until(lambda: scanner.facts()["scanning"] == "passive")
    assert (
        [each.address for each in tag.adverts]
        == [each.address for each in thermometer.adverts]
        == [TAG, OTHER]
    )
    assert tag.said("Scanning is passive")


async def test_all_sensors_share_one_scan_which_ends_with_the_last(radio: Radio) -> None:
    scanner = Scanner(pace=BRISK, scanning="active")
    first, second = Ear(COMPANY), Ear(COMPANY)
    async with listening(scanner, first):
        async with listening(scanner, second):
            await until(lambda: radio.bluez.discovery)
            send(radio)
            await until(lambda: first.adverts and second.adverts)
        send(radio, b"more")
        await until(lambda: len(first.adverts) == 2)
        assert len(second.adverts) == 1
        assert radio.bluez.calls.count("StartDiscovery") == 1
    assert not radio.bluez.discovery
    assert scanner.facts()["scanning"] == "none"


async def test_it_scans_again_after_the_last_had_gone(radio: Radio) -> None:
    scanner, ear = Scanner(pace=BRISK, scanning="active"), Ear(COMPANY)
    for _ in range(3):
        async with listening(scanner, ear):
            await until(lambda: radio.bluez.discovery)
            send(radio)
            await until(lambda: ear.adverts)
            ear.adverts.clear()
        assert not radio.bluez.discovery


async def test_a_newcomer_is_heard_although_the_scan_before_hangs_at_its_end(
    radio: Radio, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A reload removes the last sensor and the next one adds another, while bluetoothd does not answer.
    monkeypatch.setattr("edgegw.ports.ble.scans.SCAN_S", 5.0)
    monkeypatch.setattr("edgegw.ports.ble.scanner.CLOSE_S", 0.1)
    scanner, ear = Scanner(pace=BRISK, scanning="active"), Ear(COMPANY)
    async with listening(scanner, Ear(COMPANY)):
        await until(lambda: radio.bluez.discovery)
        before = scanner._task
        radio.bluez.hang.add("StopDiscovery")
    assert before is not None
    assert not before.done(), "the end of the scan was waited for"
    async with listening(scanner, ear):
        await until(before.done)
        radio.bluez.hang.clear()
        await until(lambda: send(radio) and ear.adverts)


async def test_a_newcomer_that_wants_something_else_changes_the_patterns(radio: Radio) -> None:
    scanner, tag, beacon = Scanner(pace=BRISK), Ear(COMPANY), Ear(services=(SERVICE,))
    async with listening(scanner, tag):
        await until(lambda: radio.bluez.listened == "passive")
        assert not radio.advertise(OTHER, True, -50, {}, {SERVICE: b"\x40"})
        async with listening(scanner, beacon):
            await until(lambda: radio.advertise(OTHER, True, -50, {}, {SERVICE: b"\x40"}))
            await until(lambda: beacon.adverts)
        assert tag.hears
        assert not tag.errors
        await until(lambda: len(radio.bluez.monitors) == 1)


async def test_more_kinds_than_one_monitor_takes_get_several(radio: Radio) -> None:
    ear = Ear(*range(1, 40))
    async with listening(Scanner(pace=BRISK), ear):
        await until(lambda: len(radio.bluez.monitors) == 3 and all(radio.bluez.monitors.values()))
        assert max(len(each) for each in radio.bluez.monitors.values()) <= 16
        radio.advertise(TAG, True, -50, {39: b"last"}, {})
        await until(lambda: ear.adverts)
        radio.advertise(OTHER, True, -50, {1: b"first"}, {})
        await until(lambda: len(ear.adverts) == 2)
    assert not radio.bluez.monitors


async def test_who_wants_everything_hears_phones_passively_and_is_told_what_stays_unheard(
    radio: Radio,
) -> None:
    ear = Ear(everything=True)
    async with listening(Scanner(pace=BRISK), ear):
        await until(lambda: radio.bluez.listened == "passive")
        assert radio.advertise(TAG, True, -50, {0x004C: b"phone"}, {})
        assert radio.advertise(OTHER, True, -50, {}, {})  # nothing but flags
        assert not radio.bluez.advertise("C0:FF:EE:00:00:03", companies={0xABCD: b"rare"}, flags=None)
        await until(lambda: len(ear.adverts) == 2 and ear.said("stay unheard"))


async def test_an_active_scan_loses_no_repetition(radio: Radio) -> None:
    ear = Ear(COMPANY)
    async with listening(Scanner(pace=BRISK, scanning="active"), ear):
        await until(lambda: radio.bluez.discovery)
        assert all(send(radio) for _ in range(50))
        await until(lambda: len(ear.adverts) == 50 and ear.said("as it is configured"))


async def test_what_changes_without_an_advertisement_is_none(radio: Radio) -> None:
    ear = Ear(COMPANY)
    async with listening(Scanner(pace=BRISK, scanning="active"), ear):
        await until(lambda: radio.bluez.discovery)
        radio.bluez.remember(TAG, {COMPANY: b"cached"})
        send(radio, address=OTHER)
        await until(lambda: ear.adverts)
    assert [each.address for each in ear.adverts] == [OTHER]


# -- which scan


@pytest.mark.parametrize("experimental", [True, False])
async def test_auto_is_passive_where_bluez_allows_it(radio: Radio, experimental: bool) -> None:
    radio.bluez.passive = experimental
    ear, scanner = Ear(COMPANY), Scanner(pace=BRISK)
    async with listening(scanner, ear):
        await until(lambda: radio.bluez.listened)
        await until(lambda: scanner.facts()["scanning"] != "none")
        assert (
            scanner.facts()["scanning"] == radio.bluez.listened == ("passive" if experimental else "active")
        )
        send(radio)
        await until(lambda: ear.adverts and ear.aloud)
    assert not ear.errors
    assert ear.said("Scanning is passive" if experimental else "--experimental")
    assert len(ear.aloud) == 1


async def test_passive_alone_is_refused_with_what_to_do(radio: Radio) -> None:
    radio.bluez.passive = False
    ear = Ear(COMPANY)
    async with listening(Scanner(pace=BRISK, scanning="passive"), ear):
        await until(lambda: len(ear.errors) >= 2)
        assert ear.errors[0] is not None
        assert "--experimental" in ear.errors[0].todo
        assert not radio.bluez.discovery
        radio.bluez.passive = True
        await until(lambda: ear.hears)
    assert set(ear.reasons) == {"passive"}


async def test_auto_finds_out_that_a_passive_scan_tells_each_device_only_once(radio: Radio) -> None:
    radio.bluez.once = True
    ear, scanner = Ear(COMPANY), Scanner(pace=SUSPICIOUS)
    number = 0

    def sent() -> bool:
        nonlocal number
        number += 1
        send(radio, number.to_bytes(2, "big"))
        return scanner.facts()["scanning"] == "active" and ear.said("keeps unchanged data back")

    async with listening(scanner, ear):
        await until(sent)
        before = len(ear.adverts)
        await until(lambda: sent() and len(ear.adverts) > before + 20)


async def test_auto_finds_out_that_a_passive_scan_keeps_a_sensor_back_whose_values_stand_still(
    radio: Radio,
) -> None:
    ear, scanner = Ear(COMPANY), Scanner(pace=SUSPICIOUS)
    number = 0

    def sent() -> bool:
        nonlocal number
        number += 1
        send(radio, b"constant")
        send(radio, number.to_bytes(2, "big"), OTHER)
        return ear.said("keeps unchanged data back")

    async with listening(scanner, ear):
        await until(sent)
        before = sum(each.address == TAG for each in ear.adverts)
        await until(lambda: sent() and sum(each.address == TAG for each in ear.adverts) > before + 20)


async def test_auto_stays_passive_where_a_device_has_only_gone(radio: Radio) -> None:
    ear, scanner = Ear(COMPANY), Scanner(pace=SUSPICIOUS)
    number = 0

    def sent() -> bool:
        nonlocal number
        number += 1
        send(radio, number.to_bytes(2, "big"), OTHER)
        return bool(scanner.facts()["scanning"] == "passive")

    async with listening(scanner, ear):
        await until(lambda: sent() and send(radio))
        await until(lambda: not sent() and scanner.facts()["scanning"] == "active")
        await until(sent)
    assert not ear.said("keeps unchanged data back")


# -- what goes wrong, and heals


async def test_a_restart_of_bluetoothd_is_noticed_and_healed(radio: Radio) -> None:
    ear, scanner = Ear(COMPANY), Scanner(pace=BRISK)
    async with listening(scanner, ear):
        for _ in range(3):
            await until(lambda: radio.bluez.listened and send(radio))
            await until(lambda: ear.adverts)
            ear.adverts.clear()
            noticed = changes(scanner)
            await radio.bluez.stop()
            await radio.bluez.start(radio.address)
            await until(noticed)
        await until(lambda: radio.bluez.listened and send(radio))
        await until(lambda: ear.adverts)
    assert set(ear.reasons) <= {"no_bluez", "missing"}  # asked while it was away


async def test_bluetoothd_away_and_back(radio: Radio) -> None:
    ear = Ear(COMPANY)
    async with listening(Scanner(pace=BRISK), ear):
        await until(lambda: radio.bluez.listened)
        await radio.bluez.stop()
        await until(lambda: ear.reasons)
        assert not ear.hears
        await radio.bluez.start(radio.address)
        await until(lambda: ear.hears and radio.bluez.listened)
        send(radio)
        await until(lambda: ear.adverts)
    assert ear.reasons[0] == "no_bluez"
    assert "systemctl status bluetooth" in str(ear.errors[0])


async def test_an_adapter_that_is_unplugged_and_comes_back(radio: Radio) -> None:
    ear = Ear(COMPANY)
    async with listening(Scanner("hci0", pace=BRISK), ear):
        await until(lambda: radio.bluez.listened and send(radio))
        radio.bluez.unplug()
        await until(lambda: "missing" in ear.reasons)
        assert not ear.hears
        assert "hci0" in str(ear.errors[0])
        radio.bluez.plug()
        await until(lambda: ear.hears and radio.bluez.listened)
        ear.adverts.clear()
        send(radio)
        await until(lambda: ear.adverts)


async def test_an_adapter_that_does_not_exist_is_named(radio: Radio) -> None:
    ear = Ear(COMPANY)
    async with listening(Scanner("hci7", pace=BRISK), ear):
        await until(lambda: ear.reasons)
    assert "no Bluetooth adapter hci7" in str(ear.errors[0])
    assert "RegisterMonitor" not in radio.bluez.calls


async def test_an_adapter_that_is_off_is_switched_on_and_that_is_said(radio: Radio) -> None:
    ear, scanner = Ear(COMPANY), Scanner(pace=BRISK)
    radio.bluez.powered = False
    async with listening(scanner, ear):
        await until(lambda: radio.bluez.listened)
        assert radio.bluez.powered
        assert ear.said("has been switched on")
        radio.bluez.power(on=False)
        await until(lambda: ear.hears and radio.bluez.listened)
    assert not ear.errors


async def test_an_adapter_that_does_not_switch_on_is_reported_until_it_does(radio: Radio) -> None:
    radio.bluez.powered = False
    radio.bluez.refuse["Powered"] = ("org.bluez.Error.Failed", "Failed")
    ear = Ear(COMPANY)
    async with listening(Scanner(pace=BRISK), ear):
        await until(lambda: len(ear.reasons) >= 2)
        assert set(ear.reasons) == {"off"}
        radio.bluez.refuse.clear()
        await until(lambda: ear.hears)


async def test_restarting_dbus_is_healed(radio: Radio) -> None:
    ear = Ear(COMPANY)
    async with listening(Scanner(pace=BRISK), ear):
        await until(lambda: radio.bluez.listened)
        await radio.bluez.stop()
        await radio.stop_bus()
        await until(lambda: "no_dbus" in ear.reasons)
        await radio.start_bus()
        await radio.bluez.start(radio.address)
        await until(lambda: ear.hears and radio.bluez.listened)
        send(radio)
        await until(lambda: ear.adverts)


async def test_a_bus_that_keeps_us_from_bluez_names_the_right_that_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with Radio(denied=True) as radio:
        monkeypatch.setenv(VARIABLE, radio.address)
        ear = Ear(COMPANY)
        async with listening(Scanner(pace=BRISK), ear):
            await until(lambda: ear.reasons)
        assert ear.reasons[0] == "permission"
        assert "bluetooth.conf" in str(ear.errors[0])


async def test_no_bus_at_all_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "unix:path=/nonexistent/bus")
    ear = Ear(COMPANY)
    async with listening(Scanner(pace=BRISK), ear):
        await until(lambda: len(ear.reasons) >= 3)
    assert set(ear.reasons) == {"no_dbus"}


async def test_another_program_that_holds_the_scan(radio: Radio) -> None:
    radio.bluez.refuse["StartDiscovery"] = ("org.bluez.Error.InProgress", "Operation already in progress")
    ear, scanner = Ear(COMPANY), Scanner(pace=BRISK, scanning="active")
    async with listening(scanner, ear):
        await until(lambda: len(ear.reasons) >= 2)
        assert set(ear.reasons) == {"busy"}
        assert "another program" in str(ear.errors[0])
        radio.bluez.refuse.clear()
        await until(lambda: ear.hears and radio.bluez.discovery)
        assert scanner.facts()["failures"] == len(ear.reasons)


async def test_a_scan_that_is_stuck_in_bluez_is_freed_by_a_power_cycle(radio: Radio) -> None:
    radio.bluez.refuse["StartDiscovery"] = ("org.bluez.Error.InProgress", "Operation already in progress")
    ear, scanner = Ear(COMPANY), Scanner(pace=NERVOUS, scanning="active")
    async with listening(scanner, ear):
        await until(lambda: scanner.facts()["power_cycles"])
        assert radio.bluez.calls.count("Powered") >= 1
        radio.bluez.refuse.clear()
        await until(lambda: radio.bluez.discovery and send(radio))
        await until(lambda: ear.adverts and ear.hears)


async def test_a_bluetoothd_that_hangs_is_left_alone_after_a_while(
    radio: Radio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgegw.ports.ble.scans.SCAN_S", 0.2)
    monkeypatch.setattr("edgegw.ports.ble.bluez.ANSWER_S", 0.2)
    radio.bluez.hang |= {"StartDiscovery", "StopDiscovery"}
    ear = Ear(COMPANY)
    async with listening(Scanner(pace=BRISK, scanning="active"), ear):
        await until(lambda: "timeout" in ear.reasons)
        radio.bluez.hang = {"GetManagedObjects"}
        count = len(ear.reasons)
        await until(lambda: len(ear.reasons) > count + 1)
        radio.bluez.hang.clear()
        await until(lambda: ear.hears)
    assert set(ear.reasons) == {"timeout"}


# -- silence


@pytest.mark.parametrize(("stuck", "cycles"), [("scan", 0), ("power", 1)])
async def test_a_silent_radio_is_restarted_and_then_powered_off_and_on(
    radio: Radio, stuck: str, cycles: int
) -> None:
    ear, scanner = Ear(COMPANY), Scanner(pace=SUSPICIOUS, scanning="active")
    async with listening(scanner, ear):
        await until(lambda: radio.bluez.discovery)
        radio.bluez.stuck = stuck
        await until(lambda: send(radio))
        await until(lambda: ear.adverts and ear.hears)
        facts = scanner.facts()
    assert facts["restarts"] == 1
    assert facts["power_cycles"] == cycles
    assert None in ear.errors  # the silence was doubtful meanwhile
    assert not ear.reasons
    assert sum("Nobody was heard" in text for text in ear.aloud) == 1 + cycles


async def test_a_radio_that_nothing_helps_is_reported_and_not_cycled_for_ever(radio: Radio) -> None:
    radio.bluez.stuck = "ever"
    pace = NERVOUS.__class__(
        quiet=0.1, longest_quiet=3600, check=0.05
    )  # and the usual pause between power cycles
    ear, scanner = Ear(COMPANY), Scanner(pace=pace, scanning="active")
    async with listening(scanner, ear):
        await until(lambda: "silent" in ear.reasons)
        await until(lambda: scanner.facts()["restarts"] >= 3)
        assert scanner.facts()["power_cycles"] == 1
        assert not ear.hears
        radio.bluez.stuck = ""
        await until(lambda: send(radio))
        await until(lambda: ear.hears)
    assert "antenna" in str(ear.errors[-1])


async def test_a_flood_of_made_up_addresses_is_left_to_itself_for_a_while(radio: Radio) -> None:
    pace = dataclasses.replace(BRISK, most_devices=200, flood_pause=0.5)
    ear, scanner = Ear(COMPANY), Scanner(pace=pace, scanning="active")
    number = 0

    async def flood() -> None:
        nonlocal number
        for _ in range(50):
            number += 1
            send(radio, address="C1:00:00:00:" + number.to_bytes(2, "big").hex(":").upper())
        await radio.bluez.flush()

    async with listening(scanner, ear):
        await until(lambda: radio.bluez.discovery)
        async with asyncio.timeout(PATIENCE_S):
            while "flood" not in ear.reasons:
                await flood()
        await until(lambda: not radio.bluez.discovery)
        assert "200" in str(ear.errors[0])
        assert len(ear.adverts) < number
        await until(lambda: ear.hears and radio.bluez.discovery)
        send(radio)
        await until(lambda: ear.adverts[-1].address == TAG)


async def test_a_cancelled_listener_leaves_nothing_behind(radio: Radio) -> None:
    scanner = Scanner(pace=BRISK)
    for ear in (Ear(COMPANY), Ear(COMPANY), Ear(COMPANY)):
        task = asyncio.create_task(scanner.listen(ear))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert not radio.bluez.monitors
    assert scanner.facts()["scanning"] == "none"


async def test_two_bluez_in_one_street_are_two_adapters(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Radio(Bluez("hci1")) as radio:
        monkeypatch.setenv(VARIABLE, radio.address)
        scanner, ear = Scanner(pace=BRISK), Ear(COMPANY)
        async with listening(scanner, ear):
            await until(lambda: radio.bluez.listened)
            assert scanner.facts()["adapter"] == "hci1"
