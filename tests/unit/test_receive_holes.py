from __future__ import annotations

from itertools import pairwise, repeat

from edgegw.receive.holes import LONGEST_S, MAX_RECORDS, PATIENCE_S, Ask, Hole, Holes

HOLE = Hole(1, 10, 20)


def middle() -> float:
    return 0.5


def watching(hole: Hole = HOLE, *, boot: str | None = "boot-1") -> Holes:
    holes = Holes(middle)
    if boot:
        holes.runs("gw-1", boot, 0.0)
    holes.seen("gw-1", hole, 0.0, progress=False)
    return holes


def test_a_hole_is_asked_for_when_nothing_filled_it_for_a_while() -> None:
    holes = watching()
    assert holes.due(PATIENCE_S - 0.1) == []
    assert holes.due(PATIENCE_S) == [Ask("gw-1", "boot-1", HOLE, opened=True)]
    assert holes.due(PATIENCE_S) == []


def test_progress_puts_the_question_off() -> None:
    holes = watching()
    for now in range(1, 20):
        holes.seen("gw-1", Hole(1, 10 + now, 40), float(now), progress=True)
        assert holes.due(now + 0.9) == []
    assert [ask.hole for ask in holes.due(21.0)] == [Hole(1, 29, 40)]


def test_news_that_does_not_fill_it_does_not_put_it_off() -> None:
    holes = watching()
    holes.seen("gw-1", HOLE, 1.9, progress=False)
    assert len(holes.due(PATIENCE_S)) == 1


def test_without_an_answer_the_pauses_double_up_to_the_longest() -> None:
    holes = watching()
    asked = [now / 10 for now in range(30_000) if holes.due(now / 10)]
    pauses = [later - earlier for earlier, later in pairwise(asked)]
    assert [round(pause) for pause in pauses[:8]] == [2, 4, 8, 16, 32, 64, 128, 256]
    assert {round(pause) for pause in pauses[8:]} == {LONGEST_S}


def test_the_pauses_are_jittered_by_a_quarter() -> None:
    for number, pause in ((0.0, 0.75), (1.0, 1.25)):
        holes = Holes(repeat(number).__next__)
        holes.runs("gw-1", "b", 0.0)
        holes.seen("gw-1", HOLE, 0.0, progress=False)
        assert holes.due(2.0)
        assert not holes.due(2.0 + PATIENCE_S * pause - 0.01)
        assert holes.due(2.0 + PATIENCE_S * pause)


def test_a_large_hole_is_asked_for_piece_by_piece_without_waiting_in_between() -> None:
    holes = watching(Hole(1, 0, 3 * MAX_RECORDS))
    assert [ask.hole for ask in holes.due(2.0)] == [Hole(1, 0, MAX_RECORDS)]
    holes.seen("gw-1", Hole(1, MAX_RECORDS - 100, 3 * MAX_RECORDS), 2.1, progress=True)
    assert holes.due(2.1) == []
    holes.seen("gw-1", Hole(1, MAX_RECORDS, 3 * MAX_RECORDS), 2.2, progress=True)
    assert [ask.hole for ask in holes.due(2.2)] == [Hole(1, MAX_RECORDS, 2 * MAX_RECORDS)]


def test_a_new_run_of_the_gateway_is_asked_at_once() -> None:
    holes = watching()
    now = 0.0
    while now < 1000:
        holes.due(now)
        now += 1
    holes.runs("gw-1", "boot-1", now)  # the same run said so again
    assert holes.due(now) == []
    holes.runs("gw-1", "boot-2", now)
    assert [ask.boot for ask in holes.due(now)] == ["boot-2"]


def test_a_gateway_whose_run_is_unknown_is_spoken_of_and_asked_later() -> None:
    holes = watching(boot=None)
    assert holes.due(2.0) == [Ask("gw-1", None, HOLE, opened=True)]
    holes.runs("gw-1", "boot-1", 2.5)
    assert holes.due(2.5) == [Ask("gw-1", "boot-1", HOLE, opened=False)]


def test_it_says_that_a_hole_is_closed_only_when_it_was_spoken_of() -> None:
    holes = watching()
    assert holes.seen("gw-1", None, 1.0, progress=True) is False
    holes.seen("gw-1", HOLE, 2.0, progress=False)
    holes.due(4.0)
    assert holes.seen("gw-1", None, 5.0, progress=True) is True
    assert holes.seen("gw-1", None, 6.0, progress=True) is False


def test_only_the_hole_of_the_newest_log_is_followed() -> None:
    holes = watching()
    for log in range(2, 1000):
        holes.seen("gw-1", Hole(log, 0, 1), 1.0, progress=False)
    assert [ask.hole.log for ask in holes.due(10.0)] == [999]


def test_gateways_that_lost_their_keys_are_forgotten() -> None:
    holes = watching()
    holes.keep({"gw-2"})
    assert holes.due(10.0) == []
