"""Profiles: where they are found, and what is said about their mistakes."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegw.driver import Block
from edgegw_drivers.modbus import Modbus, find
from edgegw_drivers.modbus.schema import BLOCKS, READS, TEXT_BYTES, ProfileError, parse

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


def mistakes(text: str) -> tuple[str, ...]:
    with pytest.raises(ProfileError) as caught:
        parse("acme.toml", text)
    return caught.value.mistakes


def changed(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


def test_a_profile_that_says_only_what_it_must_has_the_usual_line() -> None:
    profile = parse("acme.toml", GOOD)
    assert profile.lines[0].baudrate == 9600
    assert (profile.min_gap_s, profile.timeout_s) == (0.0, 0.5)
    assert profile.blocks == (Block(4, 1, 1),)


def test_all_mistakes_are_named_at_once_with_their_place() -> None:
    text = """
    [device]
    modell = "acme"
    [link]
    baud = [9600, 1]
    parity = "even"
    timeout_ms = 0
    [[read]]
    quantity = "temprature"
    register = 70000
    function = 6
    [[example]]
    registers = [1]
    """
    assert mistakes(text) == (
        "acme.toml:2: device: model is missing",
        'acme.toml:3: device: unknown key "modell"; did you mean "model"?',
        'acme.toml:6: link: parity is "even"; there are N, E, O',
        "acme.toml:5: link: baud is 1, not 300 to 4000000",
        "acme.toml:7: link: timeout_ms is 0, not a whole number from 1 to 10000",
        'acme.toml:9: read 1 (temprature): there is no quantity "temprature"; did you mean "temperature"?',
        "acme.toml:11: read 1 (temprature): function is 6, not a whole number from 1 to 4",
        "acme.toml:10: read 1 (temprature): register is 70000, not a whole number from 0 to 65535",
        (
            "acme.toml:8: read 1 (temprature): functions 1 and 2 read bits, 3 and 4 registers: "
            "type and function do not fit"
        ),
        "acme.toml:12: example 1: expect is missing: the value, or the reason for none, by quantity",
    )


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("function = 4", "function = 5", "function is 5"),
        ("function = 4", "function = 16", "function is 16"),
        ("function = 4", "function = true", "function is True"),
        ("function = 4", "", "function is missing: 1 to 4"),
        ("register = 1", "", "register is missing: 0 to 65535"),
        ("register = 1", "regster = 1", 'unknown key "regster"; did you mean "register"'),
        ("register = 1", 'register = "1 + 1"', 'register is "1 + 1"'),
        ('"s16"', '"s17"', 'type is "s17"; did you mean "s16"'),
        ('"s16"', '"bit"', "functions 1 and 2 read bits"),
        ('"s16"', '"u32"\nregister = 2', "is no TOML"),
        ('"temperature"', '"temperature"\nunit = "degF"', 'temperature has the unit "Cel"'),
        ('"temperature"', '"temperature"\nstatus = "ok"', 'there is no status "ok"'),
        ('"temperature"', '"temperature"\nmax_step = 5', "max_step belongs to counted quantities"),
        ("scale = 0.1", "scale = 0", "scale is 0"),
        ("scale = 0.1", 'scale = "raw * 2"', 'scale is "raw * 2"'),
        ("scale = 0.1", "scale = 1e300", "scale is 1E+300"),
        ("scale = 0.1", "scale = nan", "scale is NaN"),
        ("scale = 0.1", "valid = [1, 0]", "valid is [1, 0], not [lowest, highest]"),
        ("scale = 0.1", "valid = 5", "valid is 5"),
        ("scale = 0.1", "invalid_raw = [70000]", "invalid_raw has 70000, which is no s16"),
        ("scale = 0.1", "bits = [0, 3]", "bits are [0, 3]"),
        ("scale = 0.1", 'order = "ACBD"', 'order is "ACBD"'),
        ("[[read]]", '[link]\nparity = "NE"\n[[read]]', 'parity is "NE"'),
        ("[[read]]", "[link]\nparity = []\n[[read]]", "parity is []"),
        ("[231]", "[231, 232]", "registers do not fit what one poll reads: 1 from 1 (function 4)"),
        ("[231]", "[-1]", "registers do not fit"),
        ("temperature = 23.1", "humidity = 5", 'expect has "humidity"'),
        ("temperature = 23.1", "temperature = true", "neither a number nor a reason"),
        ("[device]", "[[device]]", "device: is no table"),
        ('model = "acme-th"', "model = 5", "model is 5, not a string"),
        ("[[read]]", "[read]", "not a list"),
    ],
)
def test_a_mistake_is_named_in_words(old: str, new: str, said: str) -> None:
    assert any(said in mistake for mistake in mistakes(changed(old, new)))


def test_a_profile_without_an_example_is_refused() -> None:
    (said,) = mistakes(GOOD.partition("[[example]]")[0])
    assert "no [[example]]" in said


def test_a_counted_quantity_must_say_how_far_it_can_jump() -> None:
    (said,) = mistakes(GOOD.replace("temperature", "count_in"))
    assert "max_step is the most that can be" in said


def test_a_quantity_cannot_be_read_twice_by_one_sensor() -> None:
    read = GOOD[GOOD.index("[[read]]") : GOOD.index("[[example]]")]
    said = mistakes(GOOD.replace("[[example]]", read + "[[example]]"))
    assert any("read twice" in mistake for mistake in said)


def test_a_status_says_either_faults_or_good_states() -> None:
    status = '[[status]]\nname = "s"\nfunction = 4\nregister = 0\n'
    assert any("needs either" in said for said in mistakes(status + GOOD))
    assert any("not a bit" in said for said in mistakes(status + 'faults = { 16 = "x" }\n' + GOOD))
    both = status + 'faults = { 1 = "x" }\nstates = [1]\n'
    assert any("needs either" in said for said in mistakes(both + GOOD))


def test_states_that_are_not_good_forbid_the_value() -> None:
    text = '[[status]]\nname = "s"\nfunction = 4\nregister = 0\nstates = [1, 2]\n' + GOOD.replace(
        "[231]", "[1, 231]"
    ).replace("scale", 'status = "s"\nscale')
    profile = parse("acme.toml", text)
    for state, reason in ((0, "sensor_status_0000"), (3, "sensor_status_0003")):
        with pytest.raises(Exception, match=reason):
            profile.statuses[0].check(state)
    profile.statuses[0].check(2)


def test_registers_further_apart_than_the_gap_are_read_apart_and_never_more_than_fit_one_request() -> None:
    quantities = ("temperature", "humidity", "pressure")
    reads = "".join(
        f'[[read]]\nquantity = "{name}"\nfunction = 3\nregister = {register}\n'
        for name, register in zip(quantities, (0, 124, 125), strict=True)
    )
    example = "[[example]]\nregisters = [{}]\nexpect = {{ temperature = 0 }}\n"
    head = '[device]\nmodel = "x"\n'
    apart = parse("x", head + reads + example.format("[0], [0, 0]"))
    assert apart.blocks == (Block(3, 0, 1), Block(3, 124, 2))
    zeros = ",".join(["0"] * 125)
    near = parse("x", head + "[link]\ngap = 124\n" + reads + example.format(f"[{zeros}], [0]"))
    assert near.blocks == (Block(3, 0, 125), Block(3, 125, 1))


def test_a_profile_is_bounded_in_size_reads_and_requests() -> None:
    assert f"at most {TEXT_BYTES}" in mistakes("#" * (TEXT_BYTES + 1))[0]
    many = GOOD.replace("[[example]]", '[[read]]\nquantity = "x"\n' * READS + "[[example]]")
    assert any(f"more than {READS}" in said for said in mistakes(many))
    names = [
        "pm1",
        "pm2_5",
        "pm4",
        "pm10",
        "pm100",
        "co2",
        "co",
        "no",
        "no2",
        "o3",
        "so2",
        "nh3",
        "h2s",
        "h2",
        "hcl",
        "cl2",
        "humidity",
    ]
    far = "".join(
        f'[[read]]\nquantity = "{name}"\nfunction = 3\nregister = {10 * index}\n'
        for index, name in enumerate(names)
    )
    assert any(f"at most {BLOCKS}" in said for said in mistakes(GOOD + far))


@given(st.text(max_size=300))
def test_hostile_text_gives_a_profile_or_its_mistakes_and_nothing_else(text: str) -> None:
    with contextlib.suppress(ProfileError):
        parse("hostile", text)


values = st.recursive(
    st.one_of(st.integers(-5, 70000), st.booleans(), st.just(0.5), st.just("u16"), st.text(max_size=5)),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)


FULL = """
[device]
model = "acme-th"
[link]
baud = 9600
parity = "N"
data_bits = 8
stop_bits = 1
min_gap_ms = 0
timeout_ms = 500
retries = 2
gap = 0
[discover]
address = 255
function = 3
register = 7
meta = ["address"]
[[status]]
name = "s"
function = 4
register = 0
faults = { 1 = "x" }
flags = { 2 = "y" }
states = [1]
reason = "no_data"
apart = true
[[read]]
quantity = "temperature"
unit = "Cel"
function = 4
register = 1
type = "s16"
order = "ABCD"
scale = 0.1
offset = 0
valid = [0, 1]
invalid_raw = [0]
bits = [0, 1]
status = "s"
max_step = 1
needed = true
[[meta]]
name = "m"
function = 4
register = 2
type = "u32"
format = "hex"
[[identity]]
name = "serial"
function = 3
register = 16
format = "text"
count = 4
[[setting]]
name = "interval_s"
function = 6
register = 5
allowed = [0, 9]
default = 1
read_function = 4
read_register = 6
shows = 1
settle_s = 2
[[example]]
name = "x"
before = [231]
registers = [231]
expect = { temperature = 23.1 }
"""
LINES = FULL.splitlines()


@given(st.sampled_from([n for n, line in enumerate(LINES) if "=" in line]), values)
def test_any_value_of_any_key_gives_a_profile_or_its_mistakes(number: int, value: object) -> None:
    key = LINES[number].partition("=")[0]
    written = repr(value).replace("True", "true").replace("False", "false")
    with contextlib.suppress(ProfileError):
        parse("hostile", "\n".join([*LINES[:number], f"{key}= {written}", *LINES[number + 1 :]]))


# --- where profiles are found


def test_a_profile_is_named_by_a_path_in_three_ways(tmp_path: Path) -> None:
    file = tmp_path / "acme.toml"
    file.write_text(GOOD)
    for name in (f"file:{file}", str(file)):
        assert Modbus(name).emits() == ["temperature"]


def test_the_sites_folder_comes_before_what_ships(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(find.VARIABLE, str(tmp_path))
    assert Modbus("renke-noise").emits() == ["la_sampled"]
    (tmp_path / "acme-th.toml").write_text(GOOD)
    (tmp_path / "renke-noise.toml").write_text(GOOD)
    assert Modbus("acme-th").emits() == ["temperature"]
    assert Modbus("renke-noise").emits() == ["temperature"]
    assert find.names()[0] == "acme-th"
    assert find.names().count("renke-noise") == 1


def test_a_profile_is_read_once_and_a_later_change_of_the_file_changes_no_driver(tmp_path: Path) -> None:
    file = tmp_path / "acme.toml"
    file.write_text(GOOD)
    driver = Modbus(str(file))
    file.write_text("nonsense")
    assert driver.blocks() == (Block(4, 1, 1),)


def test_an_unknown_name_comes_with_what_was_meant() -> None:
    with pytest.raises(ValueError, match=r'^profile: there is no profile .* did you mean "renke-noise"'):
        Modbus("renke-nose")


@pytest.mark.parametrize("name", ["..", "Renke", "a b", "-x", "x" * 64])
def test_a_name_that_is_no_name_is_looked_up_nowhere(name: str) -> None:
    with pytest.raises(ValueError, match=r"^profile: there is no profile"):
        Modbus(name)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for name in (f"{tmp_path}/none.toml", str(tmp_path), f"file:{tmp_path}\0.toml"):
        with pytest.raises(ValueError, match=r"^profile: .* cannot be read"):
            Modbus(f"file:{name}".replace("file:file:", "file:"))


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"^profile: .* cannot be read"):
        Modbus(f"{tmp_path}/x.toml")


def test_the_mistakes_of_a_file_are_told_with_its_name(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text(changed("scale = 0.1", "scale = 0"))
    with pytest.raises(ValueError, match=f"^profile: {file} has 1 mistake:\n  {file}:9: read 1"):
        Modbus(str(file))


def test_a_file_may_be_named_by_what_is_printed_on_the_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(find.VARIABLE, str(tmp_path))
    (tmp_path / "acme.toml").write_text(GOOD.replace("[device]", '[device]\naliases = ["th-1"]'))
    (tmp_path / "broken.toml").write_text("[device")
    for name in ("th-1", "TH_1", "th 1", "acme-th"):
        assert Modbus(name).emits() == ["temperature"]


# --- examples are proven when a profile is read


@pytest.mark.parametrize(
    ("expect", "said"),
    [
        ("temperature = 23.2", "temperature gives 23.1, and 23.2 is expected"),
        ('temperature = "not_available"', 'temperature gives 23.1, and "not_available" is expected'),
    ],
)
def test_an_example_that_is_not_true_is_a_mistake_with_its_line(expect: str, said: str) -> None:
    assert mistakes(changed("temperature = 23.1", expect)) == (f"acme.toml:12: example 1: {said}",)


def test_an_example_of_a_counter_needs_the_poll_before() -> None:
    text = GOOD.replace('"temperature"', '"count_in"').replace('"s16"', '"u16"\nmax_step = 100')
    text = text.replace("temperature = 23.1", "count_in = 0.3").replace("[231]", "[3]")
    assert mistakes(text) == ("acme.toml:13: example 1: count_in gives first_count, and 0.3 is expected",)
    assert parse("acme.toml", text.replace("registers", "before = [0]\nregisters")).examples[0].before == [
        [0]
    ]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('[[meta]]\nname = "m"\nfunction = 2\nregister = 1\n', "function is 3 or 4"),
        (
            '[[meta]]\nname = "m"\nfunction = 3\nregister = 1\nformat = "version"\ntype = "u32"\n',
            "a version is one u16",
        ),
        ('[[identity]]\nname = "s"\nfunction = 3\nregister = 1\nformat = "text"\n', "count is missing"),
        ('[[setting]]\nname = "x"\nregister = 1\n', "allowed is missing"),
        ('[[setting]]\nname = "x"\nregister = 1\nallowed = [0, 9]\nfunction = 3\n', "function is 3: 5 sets"),
        ('[[setting]]\nname = "x"\nregister = 1\nallowed = [0, 9]\ndefault = 10\n', "default is 10"),
        (
            '[[setting]]\nname = "x"\nregister = 1\nallowed = [0, 9]\ntype = "u32"\n',
            "function 6 sets one register",
        ),
        (
            '[[setting]]\nname = "x"\nregister = 1\nallowed = [0, 1]\nfunction = 5\nread_function = 3\n',
            "a coil is read with functions 1 and 2",
        ),
        ('[[status]]\nname = "s"\nfunction = 3\nregister = 1\n', "needs either faults"),
        (
            '[[status]]\nname = "s"\nfunction = 3\nregister = 1\nstates = [1]\nreason = "no data"\n',
            "reason is",
        ),
    ],
)
def test_mistakes_in_the_other_tables_are_named_with_their_line(table: str, said: str) -> None:
    found = [mistake for mistake in mistakes(table + GOOD) if said in mistake]
    assert found
    assert all(mistake.startswith("acme.toml:") for mistake in found)


def test_a_status_is_read_in_the_request_of_the_values_tied_to_it_however_far_it_is() -> None:
    status = '[[status]]\nname = "s"\nfunction = 4\nregister = 0\nfaults = { 0 = "x" }\n'
    far = GOOD.replace("register = 1", 'register = 60\nstatus = "s"')
    zeros = ", ".join("0" * 60)
    near = parse("x", status + far.replace("[231]", f"[{zeros}, 231]"))
    assert near.blocks == (Block(4, 0, 61),)
    apart = parse("x", status + "apart = true\n" + far.replace("[231]", "[[0], [231]]"))
    assert apart.blocks == (Block(4, 0, 1), Block(4, 60, 1))
