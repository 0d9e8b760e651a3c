"""What the drivers of advertising devices share: what they make of values, repetitions and keys. No driver itself."""

from edgegw_drivers.ble.device import SENDER, OneDevice, check_sender
from edgegw_drivers.ble.keys import cipher, key_of
from edgegw_drivers.ble.readings import MISSING, PLAIN, reading
from edgegw_drivers.ble.repeats import Repeats

__all__ = [
    "MISSING",
    "PLAIN",
    "SENDER",
    "OneDevice",
    "Repeats",
    "check_sender",
    "cipher",
    "key_of",
    "reading",
]
