"""Sensirion SPS30 on its serial line (SHDLC): particulate matter by mass and by number."""

from edgegw_drivers.sps30.driver import Sps30

__all__ = ["Sps30"]
