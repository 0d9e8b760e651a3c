"""Convergence Instruments NSRT_mk3 and mk4: sound level meters in a microphone's body, on USB."""

from edgegw_drivers.nsrt.driver import Nsrt

__all__ = ["Nsrt"]
