from __future__ import annotations

import contextlib
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegw.config.positions import MAX_DEPTH, KeyPath, NestingError, positions

DOCUMENT = '''# first
top = 1
[gateway] # why
id = "x"
"q.u\\u00e9" = { a = 1, b.c = [1, 2, {d = 5}] }
text = """
[not.a.table]
no = 1
"""
raw = \'\'\'
# 'no'
\'\'\'
list = [
 1, # ]
 [2, "]",
  {k = 1}],
]
[[points]]
x = 1
[[points]]
y = 1979-05-27 07:32:00
[points.inner]
z = 0.1
[sensor.air-1]
port = "a\\"b"
'''


def test_each_table_and_key_has_the_line_on_which_it_stands() -> None:
    assert positions(DOCUMENT) == {
        ("top",): 2,
        ("gateway",): 3,
        ("gateway", "id"): 4,
        ("gateway", "q.ué"): 5,
        ("gateway", "q.ué", "a"): 5,
        ("gateway", "q.ué", "b"): 5,
        ("gateway", "q.ué", "b", "c"): 5,
        ("gateway", "q.ué", "b", "c", 2): 5,
        ("gateway", "q.ué", "b", "c", 2, "d"): 5,
        ("gateway", "text"): 6,
        ("gateway", "raw"): 10,
        ("gateway", "list"): 13,
        ("gateway", "list", 1): 15,
        ("gateway", "list", 1, 2): 16,
        ("gateway", "list", 1, 2, "k"): 16,
        ("points",): 18,
        ("points", 0): 18,
        ("points", 0, "x"): 19,
        ("points", 1): 20,
        ("points", 1, "y"): 21,
        ("points", 1, "inner"): 22,
        ("points", 1, "inner", "z"): 23,
        ("sensor",): 24,
        ("sensor", "air-1"): 24,
        ("sensor", "air-1", "port"): 25,
    }


def test_windows_line_ends_count_once() -> None:
    assert positions(DOCUMENT.replace("\n", "\r\n")) == positions(DOCUMENT)


def paths(values: Any, path: KeyPath = ()) -> set[KeyPath]:
    found: set[KeyPath] = set()
    if isinstance(values, dict):
        for name, value in values.items():
            found |= {(*path, name)} | paths(value, (*path, name))
    elif isinstance(values, list):
        for number, value in enumerate(values):
            found |= ({(*path, number)} if isinstance(value, dict | list) else set()) | paths(
                value, (*path, number)
            )
    return found


def test_the_scan_and_tomllib_see_the_same_keys() -> None:
    assert set(positions(DOCUMENT)) == paths(tomllib.loads(DOCUMENT))


def _quoted(name: str) -> str:
    escaped = "".join(
        f"\\U{ord(char):08x}" if char in '"\\' or ord(char) < 32 or ord(char) == 127 else char
        for char in name
    )
    return f'"{escaped}"'


NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=6).map(_quoted) | st.from_regex(
    r"[A-Za-z0-9_-]{1,6}", fullmatch=True
)
SCALARS = st.one_of(
    st.sampled_from(["1", "0x1F", "1.5e3", "true", "1979-05-27", "1979-05-27 07:32:00", "inf"]),
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8).map(_quoted),
    st.sampled_from(["'a # ]'", '"""\n"quoted" ] }\n"""', "'''\n[x]\n'''", '"""a\\"""b"""', '""""x"""""']),
)


def _list(elements: list[str]) -> str:
    return "[\n" + "".join(f" {each}, # ] comment\n" for each in elements) + "]"


def _table(pairs: list[tuple[str, str]]) -> str:
    return "{" + ", ".join(f"{name} = {value}" for name, value in pairs) + "}"


VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3).map(_list) | st.lists(st.tuples(NAMES, inner), max_size=3).map(_table)
    ),
    max_leaves=6,
)
PAIRS = st.tuples(st.lists(NAMES, min_size=1, max_size=2).map(".".join), VALUES).map(" = ".join)
HEADERS = st.lists(NAMES, min_size=1, max_size=3).map(".".join)
LINES = st.one_of(
    PAIRS,
    HEADERS.map(lambda path: f"[{path}]"),
    HEADERS.map(lambda path: f"[[{path}]]"),
    st.just("# note"),
    st.just(""),
)


@given(st.lists(LINES, max_size=12).map("\n".join))
def test_every_key_of_a_valid_document_has_a_line(text: str) -> None:
    try:
        expected = paths(tomllib.loads(text))
        found = positions(text)
    except (tomllib.TOMLDecodeError, NestingError):
        return
    assert set(found) == expected
    assert all(1 <= line <= text.count("\n") + 1 for line in found.values())


@given(st.text(st.sampled_from("a.[]{}=\"'#,\n 1\\\r")))
def test_no_text_makes_the_scan_fail(text: str) -> None:
    with contextlib.suppress(NestingError):
        positions(text)


@pytest.mark.parametrize(
    "text",
    [
        "\n" + ".".join("a" * (MAX_DEPTH + 1)) + " = 1",
        "\n[" + ".".join("a" * (MAX_DEPTH + 1)) + "]",
        "\na = " + "[" * (MAX_DEPTH + 1),
        "\na = " + "{a = " * (MAX_DEPTH + 1),
    ],
)
def test_nesting_beyond_the_limit_is_refused_with_its_line(text: str) -> None:
    with pytest.raises(NestingError, match="more than 10 levels") as refusal:
        positions(text)
    assert refusal.value.line == 2


def test_nesting_up_to_the_limit_is_taken() -> None:
    assert len(positions(".".join("a" * MAX_DEPTH) + " = 1")) == MAX_DEPTH


@pytest.mark.parametrize(
    "text", ['a = "' + "x" * 400_000, "a = [" + "1," * 200_000, "#" * 400_000, "a." * 200_000, "\n" * 400_000]
)
@pytest.mark.timeout(60)  # a second or two; quadratic would be many minutes
def test_large_input_is_scanned_in_one_go(text: str) -> None:
    with contextlib.suppress(NestingError):
        positions(text)
