"""Hi-Link LD2450: a radar that follows up to three people; passages over a line."""

from edgegw_drivers.ld2450.driver import Ld2450

__all__ = ["Ld2450"]
