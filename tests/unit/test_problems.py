from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegw.problems import PROBLEMS, Exit, GatewayError, entry, printable


def test_the_exit_codes_are_the_contract() -> None:
    assert {word.name: int(word) for word in Exit} == {
        "DONE": 0,
        "PROBLEMS": 1,
        "USAGE": 2,
        "NOT_RUNNING": 3,
        "CONFIGURATION": 4,
        "PERMISSION": 5,
        "SENSOR": 6,
        "UPLINK": 7,
        "IDENTITY": 8,
        "STORE": 9,
        "VERIFICATION_FAILED": 10,
        "VERIFICATION_INCOMPLETE": 11,
        "TIMEOUT": 12,
        "REFUSED": 13,
        "INTERRUPTED": 130,
    }


@pytest.mark.parametrize("code", sorted(PROBLEMS))
def test_every_problem_says_what_why_and_what_to_do(code: str) -> None:
    problem = PROBLEMS[code]
    assert re.fullmatch(r"EG-[A-Z]+(-[A-Z]+)*", code)
    assert problem.code == code
    assert problem.title
    assert not problem.title.endswith(".")  # it stands inside longer lines
    assert problem.why.endswith(".")
    assert problem.todo or code == "EG-INTERRUPTED"
    assert problem.exit_code is not Exit.DONE


def test_an_error_uses_the_words_of_the_table_where_nothing_is_said() -> None:
    error = GatewayError("EG-NOT-RUNNING")
    assert str(error) == error.what == PROBLEMS["EG-NOT-RUNNING"].title
    assert error.todo == PROBLEMS["EG-NOT-RUNNING"].todo
    assert error.exit_code is Exit.NOT_RUNNING


def test_text_says_what_why_what_to_do_and_what_is_safe_in_this_order() -> None:
    error = GatewayError(
        "EG-STORE-FAILED",
        "the card refused a write",
        why="Input/output error",
        todo=("replace the card",),
        safe="no data is lost: 48 211 readings are stored",
    )
    assert error.text().splitlines() == [
        "error: the card refused a write [EG-STORE-FAILED]",
        "  Input/output error",
        "  do:   replace the card",
        "  safe: no data is lost: 48 211 readings are stored",
    ]


def test_json_is_one_line_with_the_promised_keys() -> None:
    line = GatewayError("EG-TIMEOUT", "two\nlines").json()
    assert "\n" not in line
    assert json.loads(line) == {
        "type": "error",
        "code": "EG-TIMEOUT",
        "exit_code": 12,
        "what": "two\nlines",
        "why": PROBLEMS["EG-TIMEOUT"].why,
        "todo": list(PROBLEMS["EG-TIMEOUT"].todo),
    }


def test_a_code_that_is_not_in_the_table_is_a_defect() -> None:
    with pytest.raises(KeyError):
        GatewayError("EG-NONSENSE")
    with pytest.raises(KeyError):
        entry("EG-NONSENSE")


def test_a_problem_of_status_has_code_severity_text_and_todo() -> None:
    assert entry("EG-SENSOR-STALE", "air-1: silent for 40 s") == {
        "code": "EG-SENSOR-STALE",
        "severity": "warning",
        "text": "air-1: silent for 40 s",
        "todo": list(PROBLEMS["EG-SENSOR-STALE"].todo),
    }


@given(st.text())
def test_no_input_reaches_the_terminal_as_a_control_character(text: str) -> None:
    shown = GatewayError("EG-FILE", text, why=text, todo=(text,), safe=text).text()
    assert all(char == "\n" or char.isprintable() for char in shown)
    assert GatewayError("EG-FILE", text).json().isascii()


def test_printable_keeps_letters_of_every_language() -> None:
    assert printable("Київ, Škoda\tß\x1b[2J") == "Київ, Škoda\\tß\\x1b[2J"


def test_problems_import_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import edgegw.problems, sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert not {"typer", "rich", "pydantic", "cryptography", "asyncio"} & set(done.stdout.split())
