"""Plantower PMS sensors: particulate matter over a serial line."""

from edgegw_drivers.plantower.driver import Plantower

__all__ = ["Plantower"]
