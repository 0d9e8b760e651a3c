"""Rain since the last reading, out of a total that counts up in tenths of a millimetre and wraps at 16 bits."""

from __future__ import annotations

from typing import Final

from edgegw.driver import FrameError

_WRAP: Final = 1 << 16
# More between two advertisements (100 mm) is no rain: the heaviest hour on record had 305 mm.
MOST: Final = 1000


class Rain:
    """The device's newest total."""

    def __init__(self) -> None:
        self._last: int | None = None

    def since(self, total: int) -> float | FrameError:
        """Millimetres since the total before; `first_value`, `counter_reset` or `implausible` where nobody knows."""
        last, self._last = self._last, total
        if last is None:
            return FrameError("first_value")
        fallen = (total - last) % _WRAP
        if fallen <= MOST:
            return fallen / 10
        return FrameError("counter_reset" if total < last else "implausible")
