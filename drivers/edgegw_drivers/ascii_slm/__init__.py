"""Class 1 sound level meters that answer in lines of text: Svantek, NTi XL2, Rion NL-43 and NL-53."""

from edgegw_drivers.ascii_slm.driver import AsciiSlm

__all__ = ["AsciiSlm"]
