"""Hi-Link LD2410: a radar that says whether somebody is there."""

from edgegw_drivers.ld2410.driver import Ld2410

__all__ = ["Ld2410"]
