"""Cheap sound level meters: CEM DT-8852 on a serial line; GM1356 and UT353BT in the shell."""

from edgegw_drivers.usb_slm.driver import UsbSlm

__all__ = ["UsbSlm"]
