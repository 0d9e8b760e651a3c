"""Any Modbus device that a TOML profile describes."""

from edgegw_drivers.modbus.driver import Modbus

__all__ = ["Modbus"]
