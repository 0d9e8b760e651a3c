"""OmniPreSense OPS243: the speed of traffic by Doppler radar."""

from edgegw_drivers.ops243.driver import Ops243

__all__ = ["Ops243"]
