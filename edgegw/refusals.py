"""What a broker's refusals mean for what is sent next: slow down, stop, or pass over one batch. Pure.

No refusal ever frees a batch. A quota slows down, missing rights stop (and are tried again rarely), a batch that is
too large or of the wrong content is set aside at once, and so is one that fails again and again while others
are accepted. When nothing is accepted, the broker is in trouble, not the batch: then everything waits a little.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgegw.stretches import Span

# Reason codes of PUBACK (OASIS MQTT 5.0 §3.4.2.1); mosquitto answers 0x95, which is not among them.
SUCCESS: Final = 0x00
NO_SUBSCRIBERS: Final = 0x10
NOT_AUTHORISED: Final = 0x87
TOO_LARGE: Final = 0x95
QUOTA_EXCEEDED: Final = 0x97
PAYLOAD_INVALID: Final = 0x99

PAUSE_S: Final = (1.0, 60.0)
"""Nothing is sent after a refusal for so long: first and longest, in seconds, doubling, with jitter."""

RIGHTS_S: Final = (10.0, 300.0)
"""The same where rights are missing: somebody has to give them, which takes minutes at best."""

STRIKES: Final = 3
"""Refusals of one batch, with others accepted in between, after which it is the batch and not the broker."""

MAX_ASIDE: Final = 64
"""Batches that are passed over; beyond them the oldest is tried again, so that no list grows for ever."""

ASIDE_S: Final = 3600.0
"""After this long a batch that was set aside is tried once more: somebody may have raised the broker's limits."""


class _Strikes(NamedTuple):
    number: int
    accepted: int


class _Aside(NamedTuple):
    begin: int
    until: float


class Refusals:
    """What the broker refused lately. `code` is the newest refusal's reason code, None after an acceptance."""

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._batch_code: int | None = None
        self._head_code: int | None = None
        self._accepted = 0
        self._pauses = 0
        self._paused_until = float("-inf")
        self._strikes: dict[int, _Strikes] = {}
        self._aside: dict[int, _Aside] = {}

    def __len__(self) -> int:
        return len(self._aside)

    @property
    def code(self) -> int | None:
        """Reason code of the newest refused batch, else head; None when the newest were accepted."""
        return self._head_code if self._batch_code is None else self._batch_code

    def connected(self) -> None:
        """A new connection may be to another broker: nothing is held against it, but what is aside stays so."""
        self._batch_code = self._head_code = None
        self._paused_until = float("-inf")
        self._pauses = 0
        self._strikes.clear()

    def forget(self) -> None:
        """A new log began."""
        self._strikes.clear()
        self._aside.clear()

    def progress(self, size: int) -> None:
        """Everything below `size` arrived, whatever the broker said."""
        self._aside = {end: each for end, each in self._aside.items() if end > size}
        self._strikes = {end: each for end, each in self._strikes.items() if end > size}

    def accepted(self, code: int) -> None:
        """A batch was accepted; the code tells whether anybody is subscribed."""
        self._batch_code = code or None
        self._accepted += 1
        self._pauses = 0
        self._paused_until = float("-inf")

    def head_answered(self, code: int) -> None:
        """A head was accepted or refused; another one comes within a minute."""
        self._head_code = code if code >= 0x80 else None

    def refused(self, code: int, span: Span, now: float) -> None:
        """The batch `span` was refused with this code."""
        self._batch_code = code
        if code in (TOO_LARGE, PAYLOAD_INVALID):
            self.set_aside(span, now)
        elif code in (QUOTA_EXCEEDED, NOT_AUTHORISED):
            self._pause(RIGHTS_S if code == NOT_AUTHORISED else PAUSE_S, now)
        else:
            self._strike(span, now)

    def _strike(self, span: Span, now: float) -> None:
        before = self._strikes.get(span[1])
        if before is not None and before.accepted == self._accepted:
            self._pause(PAUSE_S, now)  # nothing else was accepted either
            return
        number = before.number + 1 if before is not None else 1
        if number >= STRIKES:
            self.set_aside(span, now)
            return
        if before is None and len(self._strikes) >= MAX_ASIDE:
            del self._strikes[next(iter(self._strikes))]
        self._strikes[span[1]] = _Strikes(number, self._accepted)

    def _pause(self, bounds: tuple[float, float], now: float) -> None:
        if now < self._paused_until:
            return  # the rest of the same window
        ceiling = min(bounds[1], bounds[0] * 2.0 ** min(self._pauses, 32))
        self._pauses += 1
        # Between half and all of it: gateways that one broker refused together must not come back together.
        self._paused_until = now + ceiling * (0.5 + 0.5 * self._random())

    def window(self, full: int, now: float) -> int:
        """How many messages may wait for their PUBACK: none in a pause, one to try after it, else all."""
        if now < self._paused_until:
            return 0
        return 1 if self._pauses else full

    def wake_at(self, now: float) -> float | None:
        """When the pause ends; None when there is none."""
        return self._paused_until if now < self._paused_until else None

    # -- batches that are passed over

    def set_aside(self, span: Span, now: float) -> None:
        """Pass over this batch from now on."""
        self._strikes.pop(span[1], None)
        if span[1] not in self._aside and len(self._aside) >= MAX_ASIDE:
            del self._aside[next(iter(self._aside))]
        self._aside[span[1]] = _Aside(span[0], now + ASIDE_S)

    def is_aside(self, end: int) -> bool:
        """Whether the batch that ends there is passed over."""
        return end in self._aside

    def hold(self, position: int) -> bool:
        """Whether a batch that is passed over holds up the receipts at this log position."""
        return any(each.begin <= position < end for end, each in self._aside.items())

    def due(self, now: float) -> list[Span]:
        """Batches that were passed over long enough to be tried once more."""
        found = [(each.begin, end) for end, each in self._aside.items() if each.until <= now]
        for _, end in found:
            del self._aside[end]
        return found
