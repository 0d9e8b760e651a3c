"""What to send next. Pure: positions in the log and monotonic seconds in, decisions out.

The store is the only queue, so the outbox remembers positions, never messages:

    0 ── receipted ══ cursor ── gap_end ══ live ── size          ══ sent, ── to be sent

Four lanes share the link: the newest head, once what it covers went out; live batches, those committed since the
connection began, in order; what is to be sent again because somebody asked or the broker refused it; and the
backlog, in log order from the receipted size on, which passes over what went out live. The last two take turns
in what live data leaves of the link.

Only a receipt moves the receipted size (or a PUBACK in the declared weaker mode). What was sent and is not receipted
in time is sent again from the receipted size on; so is everything on each new connection. How refusals slow it
down is in `edgegw.refusals`.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

from edgegw.pace import Pace
from edgegw.refusals import NO_SUBSCRIBERS, SUCCESS, TOO_LARGE, Refusals
from edgegw.stretches import Again, Stretch, Unreceipted

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgegw.stretches import Span

__all__ = ["NO_SUBSCRIBERS", "SUCCESS", "TOO_LARGE", "Lane", "Outbox", "Want"]

MAX_IN_FLIGHT: Final = 500
"""Batches sent and not receipted at most (INTERFACE §1): stock brokers queue 1,000 for a slow subscriber."""

RESEND_S: Final = (10.0, 300.0)
"""Wait for a receipt after a PUBACK before sending again: first and longest (WIRE §5), seconds."""

JUST_SENT_S: Final = 5.0
"""What went out more recently is on its way: a request for it is answered by patience."""

MAX_ACKED: Final = 64
"""Runs of acknowledged batches behind one that is not, in the weaker mode: a gap for each message on its way."""


class Lane(Enum):
    """Which queue an item comes from."""

    HEAD = "head"
    LIVE = "live"
    REQUEST = "request"
    BACKLOG = "backlog"


class Want(NamedTuple):
    """Send what is stored from `position` on, up to `end`, by this lane. Heads: position and end are 0."""

    lane: Lane
    position: int
    end: int


class _Sent(NamedTuple):
    """What a handle stands for: its lane, log positions [begin, end) (none: a head), and when it went."""

    lane: Lane
    begin: int
    end: int
    at: float


class Outbox:
    """The sending side's memory of one log. All times are monotonic seconds, sizes bytes, positions log indices.

    `window` is our own limit of messages without PUBACK, `in_flight` of bytes without receipt. `random` gives
    numbers in [0, 1). `drain_rate` in bytes a second holds for everything but live data and heads.
    """

    def __init__(
        self,
        *,
        size: int,
        receipted: int,
        window: int,
        in_flight: int,
        random: Callable[[], float],
        wait_for_receipts: bool = True,
        drain_rate: int | None = None,
    ) -> None:
        self.size = size
        self.receipted = receipted
        self._own_window = self._window = window
        self._in_flight = in_flight
        self._random = random
        self._wait_for_receipts = wait_for_receipts
        self._pace = Pace(drain_rate)
        self._connected = False
        self._unacked: dict[int, _Sent] = {}
        self._prefix = Unreceipted()
        self._ahead = Unreceipted()
        self._again = Again()
        self._again_first = False
        self._refusals = Refusals(random)
        self._cursor = self._gap_end = receipted
        self._live = size
        self._head_at: int | None = None
        self._resend_s = RESEND_S[0]
        self._resend_at: float | None = None
        self._moved = False
        self._live_since_move = Unreceipted()
        self._acked: list[Span] = []

    # -- what happens

    def connected(self, now: float, receive_maximum: int) -> None:
        """A connection is there: everything not receipted counts as unsent."""
        self._connected = True
        self._window = min(self._own_window, receive_maximum)
        self._unacked.clear()
        self._acked.clear()
        self._live = self._gap_end = self.size
        self._ahead.clear()
        self._head_at = 0
        self._refusals.connected()
        self._pace.connected(now)
        self._rewind()

    def disconnected(self, now: float = 0.0, *, poisoned: bool = False) -> None:
        """The connection is gone, and with it every PUBACK that was still to come.

        `poisoned` says that the broker ended it over a message: brokers answer in order, so it was the oldest
        that waited for its PUBACK.
        """
        if poisoned:
            for sent in self._unacked.values():
                if sent.end:
                    self._refusals.set_aside((sent.begin, sent.end), now)
                    break
        self._connected = False
        self._unacked.clear()

    def committed(self, size: int) -> None:
        """The log grew to `size` records."""
        self.size = max(self.size, size)

    def new_head(self) -> None:
        """A head was made; it covers what was committed before it."""
        self._head_at = self.size

    def restarted(self, size: int) -> None:
        """A new log began: nothing of the old one is sent any more."""
        self.size = self._live = self._gap_end = size
        self.receipted = 0
        self._again.clear()
        self._acked.clear()
        self._ahead.clear()
        self._refusals.forget()
        self._unacked = {handle: sent._replace(end=0) for handle, sent in self._unacked.items()}
        self._head_at = 0
        self._rewind()

    def progress(self, size: int, now: float) -> None:
        """A receipt covers the first `size` records."""
        size = min(size, self.size)
        if size <= self.receipted:
            return
        self.receipted = size
        self._moved = True
        self._live_since_move.clear()
        self._prefix.drop(size)
        self._ahead.drop(size)
        self._live = max(self._live, size)
        self._advance(size)
        self._refusals.progress(size)
        self._resend_s = RESEND_S[0]
        self._resend_at = now + self._jittered() if self._prefix else None

    def heard(self) -> None:
        """The upstream repeated its receipt, as it does when it connects: what nobody took until now goes again."""
        if self.refusal == NO_SUBSCRIBERS and self._prefix:
            self._refusals.accepted(SUCCESS)
            self._rewind()

    def requested(self, first: int, end: int, now: float) -> None:
        """The upstream lacks records [first, end): send again what of them went out, unless it only just did."""
        self._resend_s = RESEND_S[0]
        if self._resend_at is not None:
            self._resend_at = min(self._resend_at, now + self._jittered())
        went = [
            (0, self.receipted),
            *self._prefix.sent_before(self.receipted, now - JUST_SENT_S),
            *self._ahead.sent_before(self._gap_end, now - JUST_SENT_S),
        ]
        self._again.add((max(first, a), min(end, b)) for a, b in _merged(went) if a < end and b > first)

    def sent(self, want: Want, begin: int, end: int, length: int, handle: int, now: float) -> None:
        """An item of a lane was handed to the connection under `handle`; it covers [begin, end) of the log."""
        if want.lane is Lane.HEAD:
            self._unacked[handle] = _Sent(want.lane, 0, 0, now)
            self._head_at = None
            return
        self._unacked[handle] = _Sent(want.lane, begin, end, now)
        if want.lane is Lane.REQUEST:
            self._again.sent(want.position, end)
        elif want.lane is Lane.LIVE:
            self._went_live(Stretch(end, 1, length, now))
        else:
            self._prefix.add(Stretch(end, 1, length, now))
            self._advance(end)
        if want.lane is not Lane.LIVE:
            self._pace.spend(length, now)

    def sent_old_head(self, handle: int, length: int, now: float) -> None:
        """A head of the backlog was handed over."""
        self._unacked[handle] = _Sent(Lane.HEAD, 0, 0, now)
        self._pace.spend(length, now)

    def nothing_there(self, want: Want) -> None:
        """The store holds nothing in the wanted range (it was dropped, or is receipted and removed)."""
        if want.lane is Lane.HEAD:
            self._head_at = None
        else:
            self.skipped(want, want.end)

    def skipped(self, want: Want, end: int) -> None:
        """A lane passes over what lies before `end`: it is not stored, or set aside."""
        if want.lane is Lane.REQUEST:
            self._again.sent(want.position, end)
        elif want.lane is Lane.LIVE:
            caught_up = self._cursor == self._live
            self._live = max(self._live, end)
            if caught_up:
                self._cursor = self._gap_end = self._live
        else:
            self._advance(end)

    def refused_for_good(self, begin: int, end: int, now: float) -> None:
        """The batch [begin, end) cannot be sent to this broker; it stays stored and is named as a problem."""
        self._refusals.set_aside((begin, end), now)

    def acknowledged(self, handle: int, code: int, now: float) -> int | None:
        """The broker's answer to a publication; the new receipted size in the weaker mode, else None."""
        sent = self._unacked.pop(handle, None)
        if sent is None:
            return None
        if not sent.end:
            self._refusals.head_answered(code)
            return None
        if code not in (SUCCESS, NO_SUBSCRIBERS):
            self._refusals.refused(code, (sent.begin, sent.end), now)
            if not self.quarantined(sent.end):
                self._again.put_back((sent.begin, sent.end))
            return None
        self._refusals.accepted(code)
        if sent.lane is not Lane.LIVE:
            self._pace.answered(sent.at, now, self._window)
        if self._resend_at is None and self._prefix and sent.end > self.receipted:
            self._resend_at = now + self._jittered()
        if self._stuck:
            self._moved = True
            self._live_since_move.clear()
        if not self._wait_for_receipts and code == SUCCESS:
            return self._free(sent, now)
        return None

    # -- what to do

    def next(self, now: float) -> Want | None:
        """What to send now; None when nothing may or need be sent."""
        self._look_at_clock(now)
        if not self._connected or len(self._unacked) >= self._refusals.window(self._window, now):
            return None
        live = self._live < self.size and self._live_may_go()
        if self._head_at is not None and self.size and (self._head_at <= self._live or not live):
            return Want(Lane.HEAD, 0, 0)
        if live:
            return Want(Lane.LIVE, self._live, self.size)
        if len(self._unacked) >= self._pace.on_their_way(self._window) or not self._pace.allowed(now):
            return None
        backlog = self._cursor < self._gap_end and not self._prefix_is_full()
        if self._again.next is not None and (self._again_first or not backlog):
            self._again_first = False
            return Want(Lane.REQUEST, *self._again.next)
        self._again_first = True
        return Want(Lane.BACKLOG, self._cursor, self._gap_end) if backlog else None

    def wake_at(self, now: float) -> float | None:
        """When `next` may answer otherwise although nothing happens; None for never."""
        times = [self._resend_at, self._refusals.wake_at(now)]
        if self._again.next or self._cursor < self._gap_end:
            times.append(self._pace.wake_at())
        return min((time for time in times if time is not None), default=None)

    def quarantined(self, end: int) -> bool:
        """Whether the batch that ends there was refused for good."""
        return self._refusals.is_aside(end)

    @property
    def poison(self) -> int:
        """Batches that the broker refuses for good."""
        return len(self._refusals)

    @property
    def refusal(self) -> int | None:
        """Reason code of the newest refused publication; None after one that was accepted."""
        return self._refusals.code

    def busy(self) -> bool:
        """Whether something waits to be sent or acknowledged."""
        return bool(self._unacked) or self._head_at is not None or self._live < self.size

    @property
    def in_flight(self) -> int:
        """Batches sent and not receipted."""
        return self._prefix.batches + self._ahead.batches

    # -- inside

    @property
    def _stuck(self) -> bool:
        """A batch that is passed over holds up the receipts: then the broker's PUBACK has to do as a measure."""
        return self._refusals.hold(self.receipted)

    def _prefix_is_full(self) -> bool:
        """Until the first receipt comes, live data and backlog have half of what may be in flight each."""
        share = 1 if self._moved else 2
        used = self._prefix.batches * share >= MAX_IN_FLIGHT or self._prefix.bytes * share >= self._in_flight
        return used and not self._stuck

    def _live_may_go(self) -> bool:
        """Within the limit, or beyond it while receipts come: a long drain must not hold up what is new."""
        if self._stuck:
            return True
        used = self.in_flight, self._prefix.bytes + self._ahead.bytes
        if self._cursor == self._live:
            return used[0] < MAX_IN_FLIGHT and used[1] < self._in_flight
        if not self._moved:
            used = self._ahead.batches * 2, self._ahead.bytes * 2
        elif used[0] >= MAX_IN_FLIGHT or used[1] >= self._in_flight:
            used = self._live_since_move.batches * 2, self._live_since_move.bytes * 2
        return used[0] < MAX_IN_FLIGHT and used[1] < self._in_flight

    def _went_live(self, run: Stretch) -> None:
        if self._cursor == self._live:
            self._prefix.add(run)
            self._cursor = self._gap_end = self._live = max(self._live, run.end)
        else:
            self._ahead.add(run)
            self._live_since_move.add(run)
            self._live = max(self._live, run.end)

    def _advance(self, end: int) -> None:
        """The backlog is sent up to `end`; where it meets what went out live, both become one."""
        self._cursor = max(self._cursor, end)
        if self._cursor >= self._gap_end:
            self._prefix.append(self._ahead)
            self._cursor = self._gap_end = self._live

    def _rewind(self) -> None:
        """Begin again at the receipted size; what went out live beyond the backlog still counts as sent."""
        self._cursor = self.receipted
        self._prefix.clear()
        self._live_since_move.clear()
        self._moved = False
        self._resend_at = None
        self._advance(self._cursor)

    def _look_at_clock(self, now: float) -> None:
        self._again.add(self._refusals.due(now))
        if self._resend_at is not None and now >= self._resend_at:
            self._resend_s = min(RESEND_S[1], self._resend_s * 2)
            if self._stuck:
                self._resend_at = (
                    None  # going back would repeat the same stretch; the upstream asks for what it lacks
                )
            else:
                self._rewind()

    def _jittered(self) -> float:
        # Up to a tenth more: gateways that wait for the same receiver do not send again in step.
        return self._resend_s * (1 + 0.1 * self._random())

    def _free(self, sent: _Sent, now: float) -> int | None:
        """The weaker mode: the acknowledged prefix counts as receipted."""
        acked = _merged([*self._acked, (sent.begin, sent.end)])
        size = self.receipted
        while acked and acked[0][0] <= size:
            size = max(size, acked.pop(0)[1])
        self._acked = acked[
            :MAX_ACKED
        ]  # what is dropped is sent again, because the receipted size stays below
        if size == self.receipted:
            return None
        self.progress(size, now)
        return self.receipted


def _merged(spans: list[Span]) -> list[Span]:
    """The same positions in order, with touching spans joined."""
    found: list[Span] = []
    for first, end in sorted(spans):
        if found and first <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], end)
        else:
            found.append((first, end))
    return found
