"""Every word that is counted for a sensor says in a sentence what it means."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from edgegw import reasons

ROOT = Path(__file__).parents[2]
# Where such words are made; what is simulated or tested makes its own.
SOURCES = [
    file
    for folder in ("drivers", "edgegw")
    for file in sorted((ROOT / folder).rglob("*.py"))
    if not {"simulate", "contract", "skeletons"} & set(file.relative_to(ROOT).parts)
]


def counted(file: Path) -> set[str]:
    """The reasons that a module names: the first word of a FrameError or PortError, and what a view counts."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            text = node.args[0].value
            if name in {"FrameError", "PortError"} and isinstance(text, str):
                found.add(text)
        if isinstance(node, ast.keyword) and node.arg == "checks":
            found |= {
                each.value
                for each in ast.walk(node.value)
                if isinstance(each, ast.Constant) and isinstance(each.value, str)
            }
    return found


def test_every_reason_and_check_of_the_catalogue_is_explained() -> None:
    words = {word for file in SOURCES for word in counted(file)}
    assert len(words) > 40
    assert sorted(word for word in words if not reasons.meaning(word)[0]) == []


@pytest.mark.parametrize(
    ("word", "part"),
    [
        ("modbus_exception_2", "exception 2"),
        ("device_state_43", "0x43"),
        ("sensor_status_0A0F", "0x0A0F"),
        ("http_404", "404"),
    ],
)
def test_a_word_that_ends_with_a_code_is_explained_with_its_code(word: str, part: str) -> None:
    assert part in reasons.meaning(word)[0]


def test_a_word_of_a_foreign_driver_has_no_meaning_here() -> None:
    assert reasons.meaning("flux_capacitor") == ("", "")
    assert reasons.meaning("flux_capacitor_7") == ("", "")


def test_the_most_frequent_reason_comes_first() -> None:
    found = reasons.explained({"crc": 2, "no_reply": 40})
    assert [(each.name, each.times) for each in found] == [("no_reply", 40), ("crc", 2)]
    assert found[0].as_dict()["todo"].startswith("check power")


def test_each_meaning_is_a_part_of_a_sentence_for_a_terminal() -> None:
    for name in reasons.names():
        text, todo = reasons.meaning(name.removesuffix("_N") + "_1" if name.endswith("_N") else name)
        assert text, name
        assert not text.endswith("."), name
        assert len(text) <= 120, name
        assert len(todo) <= 140, name
