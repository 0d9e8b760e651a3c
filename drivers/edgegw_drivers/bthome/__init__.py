"""BTHome v2: devices of any maker that advertise their values in one open format, encrypted or plain."""

from edgegw_drivers.bthome.driver import Bthome

__all__ = ["Bthome"]
