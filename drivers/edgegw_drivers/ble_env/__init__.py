"""Small thermometers and air monitors that advertise: Qingping, ATC and pvvx firmware, Sensirion gadgets."""

from edgegw_drivers.ble_env.driver import BleEnv

__all__ = ["BleEnv"]
