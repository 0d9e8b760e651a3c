"""The driver of the radio presence index."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final

from edgegw.driver import QUANTITIES, SECONDS, AdvertDriver, FrameError, Quality, Reading, amount
from edgegw_drivers.ble_presence.addresses import class_of
from edgegw_drivers.ble_presence.window import Window, wipe

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgegw.driver import Advert, Outcome

INDEX: Final = QUANTITIES["presence_index"]
# Shorter, and a sender that speaks every ten seconds is seldom heard twice; longer, and phones have changed their
# addresses within the window (they do so about every 15 minutes). Seconds.
SHORTEST_S: Final = 60.0
LONGEST_S: Final = 900.0
# Fewer than three would be a person and a companion. Above, a quiet place would never say anything.
LEAST_COUNT: Final = 3
MOST_COUNT: Final = 1000
WEAKEST_DBM: Final = -127
KEY_BYTES: Final = 32
# A window that ran over by more than this share of itself was longer than the others: its number means another thing.
OVERRUN: Final = 0.1
# Instruments, not people: Ruuvi, Aranet, Sensirion; BTHome, Qingping, ATC and pvvx.
INSTRUMENTS: Final = (frozenset({0x0499, 0x0702, 0x06D5}), frozenset({0xFCD2, 0xFDCD, 0x181A}))
# What the shell shows of an address: that it is one. Its class stands in `meta`.
_ADDRESSES: Final = QUANTITIES["targets"]._replace(name="addresses")


@dataclass(frozen=True)
class BlePresence(AdvertDriver):
    """How many radio senders move about here: an index, never a number of people, and nobody in it."""

    layer: ClassVar[str] = "ble-address"
    quantities: ClassVar[Sequence[str]] = ("presence_index",)

    address: str = field(default="", metadata={"doc": "stays empty: the index is of all that is heard"})
    window: str = field(
        default="5m", metadata={"doc": "how long senders are counted for one index, 60s to 15m"}
    )
    min_count: int = field(default=5, metadata={"doc": "an index below this is not given, 3 to 1000"})
    min_rssi: int = field(
        default=-90, metadata={"doc": "weaker frames, in dBm, come from too far away to count"}
    )

    def __post_init__(self) -> None:
        """ValueError for what cannot be, and for one address, whose owner could be watched so."""
        if self.address:
            raise ValueError(
                "address: must stay empty; to watch one sender is not what an index of presence is for"
            )
        try:
            length_s = amount(self.window, SECONDS)
        except ValueError as error:
            raise ValueError(f"window: {error}") from error
        if not SHORTEST_S <= length_s <= LONGEST_S:
            raise ValueError(f"window: 60s to 15m, not {self.window!r}")
        if not LEAST_COUNT <= self.min_count <= MOST_COUNT:
            raise ValueError(f"min_count: {LEAST_COUNT} to {MOST_COUNT}, not {self.min_count}")
        if not WEAKEST_DBM <= self.min_rssi <= 0:
            raise ValueError(f"min_rssi: {WEAKEST_DBM} to 0 dBm, not {self.min_rssi}")

    def decoder(self) -> Decoder:
        """A decoder without a key: it counts from the moment that it is given one."""
        return Decoder(self)

    def decode_layer(self, layer: str, data: bytes, options: Mapping[str, Any]) -> Sequence[Outcome] | None:
        """The class of an address, six octets as printed; `options` say whether it is `random`."""
        if layer != "ble-address":
            return None
        if len(data) != 6:
            raise FrameError("truncated" if len(data) < 6 else "unsupported_length")
        said = str(options.get("random", "")).lower()
        random = {"true": True, "1": True, "false": False, "0": False}.get(said)
        return (Reading(_ADDRESSES, 1, None, (), {"address_class": class_of(data[0], random)}),)


class Decoder:
    """The open window, and the key of the one that follows."""

    def __init__(self, driver: BlePresence) -> None:
        self._length_s = amount(driver.window, SECONDS)
        self._min_count = driver.min_count
        self._min_rssi = driver.min_rssi
        self._next_key: bytearray | None = None
        self._window: Window | None = None

    def rekey(self, key: bytearray) -> None:
        """Take the key of the next window; the one that was waiting is overwritten. ValueError if it is short."""
        if len(key) != KEY_BYTES:
            raise ValueError(f"a key has {KEY_BYTES} bytes, not {len(key)}")
        if self._next_key is not None:
            wipe(self._next_key)
        self._next_key = key

    def decode(self, advert: Advert, now: float) -> Sequence[Outcome]:
        """Count the sender; nothing comes of it before the window's end. FrameError `key_missing` without a key."""
        window = self._window or self._open(now)
        if window is None:
            raise FrameError("key_missing")
        instruments = not INSTRUMENTS[0].isdisjoint(advert.companies) or not INSTRUMENTS[1].isdisjoint(
            advert.services
        )
        if advert.rssi >= self._min_rssi and not instruments:
            window.hear(advert.address, advert.random, advert.rssi, now)
        return ()

    def due(self, now: float) -> Sequence[Outcome]:
        """The index of a window that is over, or why there is none: `below_minimum`, or `late`."""
        window = self._window or self._open(now)
        if window is None or now < window.start + self._length_s:
            return ()
        heard = window.close()
        self._window = None
        self._open(now)
        if now > window.start + self._length_s * (1 + OVERRUN):
            return (FrameError("late"),)
        index = heard.senders.total()
        if index < self._min_count:
            return (FrameError("below_minimum"),)
        meta = {
            "window_s": self._length_s,
            "frames": heard.frames,
            # What is below the minimum is said nowhere, not even on the gateway itself.
            **{kind: count for kind, count in heard.senders.items() if count >= self._min_count},
        }
        checks = ("unauthenticated", "saturated") if heard.full else ("unauthenticated",)
        return (Reading(INDEX, index, Quality.SUSPECT if heard.full else None, checks, meta),)

    def forget(self) -> None:
        """Overwrite the keys, and drop the open window."""
        if self._window is not None:
            self._window.close()
            self._window = None
        if self._next_key is not None:
            wipe(self._next_key)
            self._next_key = None

    def _open(self, now: float) -> Window | None:
        if self._next_key is not None:
            self._window = Window(self._next_key, now, self._length_s)
            self._next_key = None
        return self._window
