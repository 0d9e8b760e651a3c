from __future__ import annotations

import io
import json
import os
from contextlib import suppress

from edgegw.receive.notes import MAX_KEYS, Note, Seldom, Voice


def test_a_script_reads_one_json_object_a_line_from_the_data() -> None:
    data, talk = io.StringIO(), io.StringIO()
    Voice(data, talk, as_json=True).say(Note("gap", "kyiv: a hole\nof two lines", {"first": 3}, "warning"))
    assert json.loads(data.getvalue()) == {
        "type": "gap",
        "level": "warning",
        "text": "kyiv: a hole\nof two lines",
        "first": 3,
    }
    assert data.getvalue().count("\n") == 1
    assert talk.getvalue() == ""


def test_a_person_reads_sentences_that_move_no_cursor() -> None:
    data, talk = io.StringIO(), io.StringIO()
    Voice(data, talk, as_json=False).say(Note("refused", "gw-\x1b[2J: no\nkey", {}, "error"))
    assert talk.getvalue() == "error: gw-\\x1b[2J: no key\n"
    assert data.getvalue() == ""


def test_a_reader_that_went_away_does_not_stop_it() -> None:
    read, write = os.pipe()
    os.close(read)
    pipe = os.fdopen(write, "w")
    voice = Voice(pipe, pipe, as_json=True)
    for _ in range(3):
        voice.say(Note("progress", "1 reading", {}))
    with suppress(BrokenPipeError):
        pipe.close()
    voice = Voice(pipe, pipe, as_json=False)
    voice.say(Note("progress", "into a closed stream", {}))


def test_what_happens_often_is_said_seldom_with_its_count() -> None:
    seldom = Seldom(60.0)
    assert seldom.happened("a", 0.0) == 1
    assert [seldom.happened("a", now) for now in (1.0, 59.0)] == [0, 0]
    assert seldom.happened("b", 59.0) == 1
    assert seldom.happened("a", 60.0, 5) == 7
    assert seldom.happened("a", 121.0) == 1


def test_its_memory_is_bounded_whatever_happens() -> None:
    seldom = Seldom(60.0)
    for number in range(MAX_KEYS + 100):
        seldom.happened(number, 0.0)
    assert len(seldom._said) == MAX_KEYS
    assert seldom.happened(MAX_KEYS + 99, 1.0) == 0
    assert seldom.happened(0, 1.0) == 1  # forgotten, so said again
