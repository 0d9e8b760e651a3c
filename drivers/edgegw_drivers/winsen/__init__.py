"""Winsen's nine-byte family: MH-Z19 (CO2), gas boards of DFRobot, ZH03 (dust)."""

from edgegw_drivers.winsen.driver import Winsen

__all__ = ["Winsen"]
