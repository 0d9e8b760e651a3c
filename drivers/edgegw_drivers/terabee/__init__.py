"""TeraRanger Evo People Counter: passages over a serial line."""

from edgegw_drivers.terabee.driver import Terabee

__all__ = ["Terabee"]
