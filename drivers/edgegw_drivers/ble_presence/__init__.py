"""A crowd index from the number of radio senders nearby, which nobody can be recognised in."""

from edgegw_drivers.ble_presence.driver import BlePresence

__all__ = ["BlePresence"]
