"""Maps of JSON devices: those that ship say what their examples say; a bad one is refused with every mistake."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegw import registry
from edgegw.driver import FrameError, Message, Outcome, Reading
from edgegw_drivers.json_map import document, find, path
from edgegw_drivers.json_map.decoder import Decoder
from edgegw_drivers.json_map.schema import MapError, parse

if TYPE_CHECKING:
    from pathlib import Path

    from edgegw_drivers.json_map.map import Example, Map

SHIPPED = sorted(file.stem for file in find.SHIPPED.glob("*.toml"))

GOOD = """
[device]
model = "acme"
identity = "serial"
[match]
present = ["serial", ["temp", "temperature"]]
[[read]]
quantity = "temperature"
path = ["temp", "temperature"]
scale = 0.1
[[example]]
document = '{"serial": "A1", "temp": 523}'
expect = { temperature = 52.3 }
"""


def outcomes(plan: Map, example: Example) -> list[Outcome]:
    """What the last document of an example gives; one that is alone is decoded as the shell does."""
    decoder = Decoder(plan, totals=len(example.documents) <= 1)
    found: list[Outcome] = []
    try:
        if example.payload is not None:
            assert plan.payload is not None
            return list(decoder.payload(example.payload, plan.payload.model))
        for text in example.documents:
            found = []
            found = list(decoder.decode(Message(text), 0.0))
    except FrameError as error:
        return [error]
    return found


def works(plan: Map) -> None:
    for number, example in enumerate(plan.examples, 1):
        found = outcomes(plan, example)
        values = {each.quantity.name: each.value for each in found if isinstance(each, Reading)}
        reasons = tuple(each.reason for each in found if isinstance(each, FrameError))
        assert (number, values, reasons) == (number, example.expect, example.reasons)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_map_that_ships_gives_what_its_examples_say(name: str) -> None:
    plan = find.load(name)
    works(plan)
    given_by_examples = {quantity for example in plan.examples for quantity in example.expect}
    assert given_by_examples == {read.quantity.name for read in plan.reads} or name.startswith(
        ("airrohr", "milesight", "axis-object")
    )
    assert any(example.reasons for example in plan.examples)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_document_is_recognised_as_that_of_its_map(name: str) -> None:
    plan = find.load(name)
    for example in plan.examples:
        for text in example.documents:
            parsed = document.parse(text)
            assert plan.fits(parsed)
            if plan.payload is None:
                assert find.recognised(parsed) == plan


def test_a_document_of_nobody_is_refused() -> None:
    for text in (b"{}", b"[]", b"7", b'"x"', b'{"pm02": 7}'):
        with pytest.raises(FrameError, match="malformed"):
            find.recognised(document.parse(text))


def test_a_map_of_the_site_stands_for_the_one_that_ships(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "airgradient.toml").write_text(GOOD)
    (tmp_path / "broken.toml").write_text("[device")
    monkeypatch.setenv(find.VARIABLE, str(tmp_path))
    assert find.load("airgradient").model == "acme"
    assert find.load("xovis").model == "xovis"
    assert "broken" in find.names()
    assert find.recognised({"serial": "A1", "temp": 1}).model == "acme"
    assert find.load(f"file:{tmp_path}/airgradient.toml").sha256 == find.load("airgradient").sha256


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("airgradeint", "there is no map 'airgradeint'; did you mean \"airgradient\""),
        ("../airgradient", "cannot be read"),
        ("file:/nowhere.toml", "cannot be read"),
        ("file:\0", "cannot be read"),
    ],
)
def test_a_map_that_is_not_there_is_said_in_words(name: str, words: str) -> None:
    with pytest.raises(registry.OptionsError, match="map: ") as refused:
        registry.make("json_http", {"map": name})
    assert words in str(refused.value)


def test_the_smallest_map_works() -> None:
    works(parse("acme", GOOD))


def test_the_map_in_the_readme_works() -> None:
    readme = (find.SHIPPED.parents[1] / "json_http" / "README.md").read_text()
    (block,) = re.findall(r"```toml\n(.*?)```", readme, re.DOTALL)
    works(parse("README", block))


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ('model = "acme"', "", "model is missing"),
        ('identity = "serial"', "identity = 5", "identity is 5, not a path"),
        ("[match]", "[metch]", 'unknown key "metch"'),
        ('present = ["serial", ["temp", "temperature"]]', "", "[match] is missing"),
        ('quantity = "temperature"', 'quantity = "temperatur"', 'did you mean "temperature"'),
        ('quantity = "temperature"', 'quantity = "temperature"\nunit = "K"', "has the unit"),
        ('path = ["temp", "temperature"]', "", "path is missing"),
        ('path = ["temp", "temperature"]', 'path = "a..b"', "cannot be understood"),
        ("scale = 0.1", "scale = 0", "every value would be the same"),
        ("scale = 0.1", 'scale = "0.1"', "scale is"),
        ("scale = 0.1", "valid = [5, 1]", "not [lowest, highest]"),
        ("scale = 0.1", "optional = 1", "optional is 1"),
        ("scale = 0.1", "missing = [[]]", "neither a number nor a text"),
        ("scale = 0.1", "counter = { max_step = 5 }", "no quantity that is counted"),
        ("scale = 0.1", "when = { serial = [1.5] }", "neither a text or whole number"),
        ('document = \'{"serial": "A1", "temp": 523}\'', "", "document is missing"),
        ("expect = { temperature = 52.3 }", "expect = { co2 = 5 }", 'expect has "co2"'),
        ("expect = { temperature = 52.3 }", "", "expect is missing"),
        ("expect = { temperature = 52.3 }", 'payload = "0g"\nreasons = ["x"]', "not 1 to 512 bytes"),
        ("[[example]]", "[payload]\n[[example]]", "where the bytes stand"),
        ("[[example]]", '[rows]\npath = ["a", "b"]\n[[example]]', "one path each"),
        ("[[example]]", '[[read]]\nquantity = "temperature"\npath = "t"\n[[example]]', "is read twice"),
        ("[[read]]", "[[raed]]", "it needs 1 to 100 [[read]]"),
    ],
)
def test_a_mistake_in_a_map_is_said_where_it_is(before: str, after: str, words: str) -> None:
    assert before in GOOD
    with pytest.raises(MapError) as refused:
        parse("acme", GOOD.replace(before, after))
    assert words in str(refused.value)


def test_all_mistakes_are_said_at_once() -> None:
    with pytest.raises(MapError) as refused:
        parse("acme", "[device]\nmodel = 5\n[[read]]\nquantity = 'x'\n")
    assert len(refused.value.mistakes) >= 5


@given(st.text(max_size=300) | st.sampled_from(GOOD.splitlines()).map(lambda line: GOOD.replace(line, "")))
def test_any_text_is_a_map_or_is_refused_in_words(text: str) -> None:
    with suppress(MapError):
        parse("acme", text)


# Paths and documents


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a", [{"b": 1}]),
        ("a.b", [1]),
        ("list[1].v", [2]),
        ("list[9].v", []),
        ("list[].v", [1, 2, 3]),
        ("list[k=x].v", [1, 3]),
        ("list[n=5].v", [2]),
        ("list[k=nobody].v", []),
        ("'d.o.t'", [7]),
        ("a.b.c", []),
        ("list.v", []),
        ("a[0]", []),
        ("/a.b", [1]),
        ("nothing", []),
    ],
)
def test_a_path_leads_to_every_value_that_fits(text: str, found: list[Any]) -> None:
    whole = {
        "a": {"b": 1},
        "list": [{"k": "x", "v": 1}, {"k": "y", "n": 5, "v": 2}, {"k": "x", "v": 3}, "no object"],
        "d.o.t": 7,
    }
    assert path.parse(text).find(path.Row(whole, (), whole)) == found


def test_a_path_of_a_row_starts_at_the_row_and_may_leave_it() -> None:
    whole = {"id": "A", "lines": [{"name": "n", "steps": [{"v": 1}, {"v": 2}]}]}
    first, second = path.walk(path.Row(whole, (), whole), path.parse("lines[].steps[]").steps)
    assert [path.parse("v").first(row) for row in (first, second)] == [1, 2]
    assert path.parse("^.name").first(second) == "n"
    assert path.parse("/id").first(second) == "A"
    assert path.parse("^^^.name").find(second) == []


def test_a_hostile_list_is_looked_through_once_and_not_for_each_path() -> None:
    class Counted(dict[str, int]):
        asked = 0

        def get(self, *_: object) -> None:  # type: ignore[override]  # nobody asks for more here
            Counted.asked += 1

    elements = [Counted() for _ in range(1000)]
    whole = path.Row({"sensordatavalues": elements}, (), None)
    for read in find.load("airrohr").reads:
        for each in read.paths:
            assert each.find(whole) == []
    assert Counted.asked == len(elements)


@pytest.mark.parametrize("text", ["", "a.", ".a", "a[", "a[]b", "a[x]", "a[12345]", "x" * 201])
def test_what_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no path"):
        path.parse(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "malformed"),
        (b"{", "malformed"),
        (b"\xff", "malformed"),
        (b'{"a": 1} x', "malformed"),
        (b'{"a": 1, "a": 2}', "malformed"),
        (b'{"a": 1' + b"0" * 5000 + b"}", "malformed"),
        (b"[" * 17 + b"]" * 17, "too_deep"),
        (b"[" * 60000, "too_deep"),
        (b'"' + b"x" * 65535 + b'"', "too_long"),
    ],
)
def test_a_document_that_cannot_be_read_is_refused_by_a_word(text: bytes, reason: str) -> None:
    with pytest.raises(FrameError) as refused:
        document.parse(text)
    assert refused.value.reason == reason


def test_brackets_in_a_text_are_no_nesting_and_a_byte_order_mark_does_no_harm() -> None:
    inner = "[" * 100 + '\\"' + "{" * 100
    assert document.parse(b'\xef\xbb\xbf{"a": "' + inner.encode() + b'"}') == {"a": inner.replace("\\", "")}
    assert document.parse(b'{"a": NaN, "b": [-Infinity]}') == {"a": None, "b": [None]}
